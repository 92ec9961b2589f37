"""What a write returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Mapping, Optional, Tuple

_STATES = {
    "WRITE_STATE_OPEN": "open",
    "WRITE_STATE_COMMITTING": "committing",
    "WRITE_STATE_COMMITTED": "committed",
    "WRITE_STATE_ABORTED": "aborted",
    "WRITE_STATE_PREPARED_LOST": "prepared_lost",
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
        already_committed_at: When an earlier call committed the write, in UTC as RFC 3339 has it; this call has
            written nothing then. None: this call has written the rows.
    """

    table: str
    row_count: int
    byte_count: int
    seconds: float
    write_id: Optional[str] = None
    already_committed_at: Optional[str] = None


@dataclass(frozen=True)
class PlannedColumn:
    """What would happen to one column of the data.

    Attributes:
        name: Its name.
        arrow_type: Its Arrow type.
        postgresql_type: The column's type; empty where the table has no such column.
        encoding: How values would be written.
        problem: Why the column would be refused; empty when it would not.
    """

    name: str
    arrow_type: str
    postgresql_type: str
    encoding: str
    problem: str


@dataclass(frozen=True)
class WritePlan:
    """What a write would do.

    Attributes:
        table: The table, quoted where SQL needs it.
        columns: One for each column of the data.
        problems: Why the write would be refused as a whole; of a column it is said there.
        warnings: What happens beside the plain writing of values: triggers, row-level security,
            values that may be changed since that was asked for, columns that PostgreSQL casts.
        statements: SQL that would make the table.
    """

    table: str
    columns: Tuple[PlannedColumn, ...]
    problems: Tuple[str, ...]
    warnings: Tuple[str, ...]
    statements: Tuple[str, ...]

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> WritePlan:
        """Reads the server's answer, where a field that has its default may be absent."""
        names = ("name", "arrowType", "postgresqlType", "encoding", "problem")
        return cls(
            table=fields.get("table", ""),
            columns=tuple(
                PlannedColumn(*(column.get(name, "") for name in names))
                for column in fields.get("columns", ())
            ),
            problems=tuple(fields.get("problems", ())),
            warnings=tuple(fields.get("warnings", ())),
            statements=tuple(fields.get("statements", ())),
        )

    def __bool__(self) -> bool:
        """Whether the write would be accepted, as far as its schema says."""
        return not self.problems and not any(column.problem for column in self.columns)

    def __str__(self) -> str:
        """For people, like EXPLAIN."""
        lines = [self.table]
        for column in self.columns:
            pair = f"{column.arrow_type} -> {column.postgresql_type or 'nothing'}"
            outcome = f"REFUSED: {column.problem}" if column.problem else column.encoding
            lines.append(f"  {column.name}: {pair} {outcome}")
        lines.extend(f"refused: {problem}" for problem in self.problems)
        lines.extend(f"warning: {warning}" for warning in self.warnings)
        lines.extend(f"{statement};" for statement in self.statements)
        return "\n".join(lines)


@dataclass(frozen=True)
class WriteStatus:
    """What the server's ledger says of a write of many partitions.

    Attributes:
        write_id: The id that the write was begun with.
        state: "open", "committed" or "aborted"; "committing" for a moment, when it is decided that it
            is committed and the last rows are being made visible; "prepared_lost" when it was decided and
            another session had ended prepared transactions that held some of the rows.
        table: The table as the catalog has it, quoted where SQL needs it.
        mode: "append", "create" or "overwrite".
        row_count: Committed: rows published. Open: rows in the recorded attempts so far.
        byte_count: The same in bytes of binary COPY.
        attempt_count: Recorded attempts.
        reason: Aborted: why.
        max_message_bytes: Largest message that the server takes, in bytes; 0 when it did not say.
        heartbeat_seconds: Seconds between two heartbeats of a driver; 0: the server takes none.
        finished_at: When the write ended, in UTC as RFC 3339 has it; empty while it is open.
        existed: Answer to begin: the write was there before.
        lost: Prepared_lost: the partitions whose rows are missing, each with its number of rows.
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
    heartbeat_seconds: int = 0
    finished_at: str = ""
    existed: bool = False
    lost: Tuple[Tuple[int, int], ...] = ()

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
            heartbeat_seconds=int(fields.get("heartbeatSeconds", 0)),
            finished_at=fields.get("finishedAt", ""),
            existed=bool(fields.get("existed", False)),
            lost=tuple(
                (int(lost.get("partitionId", 0)), int(lost.get("rowCount", 0)))
                for lost in fields.get("lost", ())
            ),
        )

    @property
    def is_repeated(self) -> bool:
        """Answer to begin: an earlier call has committed this very write."""
        return self.existed and self.state == "committed"

    @property
    def repeated_line(self) -> str:
        """Says that the write `is_repeated`."""
        return f"write {self.write_id!r} was already committed at {self.finished_at}; nothing was written"

    def result(self, seconds: float) -> WriteResult:
        """The result of a committed write that took `seconds` here."""
        at = self.finished_at if self.is_repeated else None
        return WriteResult(self.table, self.row_count, self.byte_count, seconds, self.write_id, at)
