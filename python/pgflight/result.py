"""What a write returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Mapping, Optional

_STATES = {
    "WRITE_STATE_OPEN": "open",
    "WRITE_STATE_COMMITTED": "committed",
    "WRITE_STATE_ABORTED": "aborted",
}


@dataclass(frozen=True)
class WriteResult:
    """A write that is committed.

    Attributes:
        table: The table as the catalog has it, quoted where SQL needs it.
        row_count: Rows that the write put into the table.
        byte_count: Bytes of binary COPY that PostgreSQL received for them.
        seconds: Wall-clock time that the call took here.
        write_id: The id of a write of many partitions; None for a write of one stream.
    """

    table: str
    row_count: int
    byte_count: int
    seconds: float
    write_id: Optional[str] = None


@dataclass(frozen=True)
class WriteStatus:
    """What the server's ledger says of a write of many partitions.

    Attributes:
        write_id: The id that the write was begun with.
        state: "open", "committed" or "aborted".
        table: The table as the catalog has it, quoted where SQL needs it.
        mode: "append", "create" or "overwrite".
        row_count: Committed: rows published. Open: rows in the recorded attempts so far.
        byte_count: The same in bytes of binary COPY.
        attempt_count: Recorded attempts.
        reason: Aborted: why.
        max_message_bytes: Largest message that the server takes, in bytes; 0 when it did not say.
    """

    write_id: str
    state: str
    table: str
    mode: str
    row_count: int
    byte_count: int
    attempt_count: int
    reason: str
    max_message_bytes: int

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> WriteStatus:
        """Reads the server's answer, where a field that has its default may be absent."""
        state = fields.get("state", "")
        return cls(
            write_id=fields.get("writeId", ""),
            state=_STATES.get(state, state),
            table=fields.get("table", ""),
            mode=fields.get("mode", "").replace("MODE_", "", 1).lower(),
            row_count=int(fields.get("rowCount", 0)),
            byte_count=int(fields.get("byteCount", 0)),
            attempt_count=int(fields.get("attemptCount", 0)),
            reason=fields.get("reason", ""),
            max_message_bytes=int(fields.get("maxMessageBytes", 0)),
        )

    def result(self, seconds: float) -> WriteResult:
        """The result of a committed write that took `seconds` here."""
        return WriteResult(self.table, self.row_count, self.byte_count, seconds, self.write_id)
