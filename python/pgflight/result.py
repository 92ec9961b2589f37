"""The results of a write."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Iterable, Mapping, Optional, Tuple

_STATES = {
    "WRITE_STATE_OPEN": "open",
    "WRITE_STATE_COMMITTING": "committing",
    "WRITE_STATE_COMMITTED": "committed",
    "WRITE_STATE_ABORTED": "aborted",
    "WRITE_STATE_PREPARED_LOST": "prepared_lost",
}


@dataclass(frozen=True)
class RowCounts:
    """The numbers of rows that a write changed.

    A number is None if the write does not do this, or does not count it: `truncate` does not count the rows that it
    removes. Triggers and rules of the table change what PostgreSQL counts.

    Attributes:
        inserted: Rows that are new in the table.
        updated: Rows that existed and have new values.
        deleted: Rows that were deleted because the data says so.
        replaced: Rows that were deleted to make room for the data.
        ignored: Rows of the data that changed nothing.
    """

    inserted: Optional[int] = None
    updated: Optional[int] = None
    deleted: Optional[int] = None
    replaced: Optional[int] = None
    ignored: Optional[int] = None

    @classmethod
    def from_json(cls, counts: Mapping[str, Any]) -> RowCounts:
        """Reads the server's answer, which leaves out numbers that it has not."""
        return cls(**{f.name: int(counts[f.name]) for f in fields(cls) if f.name in counts})


@dataclass(frozen=True)
class RejectReason:
    """A reason for which rows were rejected.

    Attributes:
        kind: The kind of the error, as in `reject_kinds`.
        column: The column; empty if it is not known.
        constraint: The constraint; empty if there is none.
        row_count: The number of rows.
    """

    kind: str
    column: str
    constraint: str
    row_count: int

    @classmethod
    def all_from_json(cls, reasons: Iterable[Mapping[str, Any]]) -> Tuple[RejectReason, ...]:
        """Reads the server's answer, which leaves out fields that have their default."""
        return tuple(
            cls(
                reason.get("kind", ""),
                reason.get("column", ""),
                reason.get("constraint", ""),
                int(reason.get("rowCount", 0)),
            )
            for reason in reasons
        )


@dataclass(frozen=True)
class WriteResult:
    """A write that is committed.

    Attributes:
        table: The table as the catalog has it, quoted where SQL needs it.
        row_count: Rows that the write put into the table.
        byte_count: Bytes of binary COPY that PostgreSQL received for them.
        seconds: Wall-clock time of the call.
        write_id: The id of a write of many partitions, or of one stream with rejected rows; otherwise None.
        already_committed_at: When an earlier call committed the write, in UTC as RFC 3339 has it; this call wrote
            nothing then. None if this call wrote the rows.
        counts: Numbers of rows that the write changed.
        remark: A remark about the result, such as that late changes can bring deleted rows back; empty without one.
        rejected_count: Rows that were rejected, which `row_count` does not include.
        reject_reasons: The commonest reasons, at most ten.
    """

    table: str
    row_count: int
    byte_count: int
    seconds: float
    write_id: Optional[str] = None
    already_committed_at: Optional[str] = None
    counts: RowCounts = RowCounts()
    remark: str = ""
    rejected_count: int = 0
    reject_reasons: Tuple[RejectReason, ...] = ()


@dataclass(frozen=True)
class PlannedColumn:
    """The plan for one column of the data.

    Attributes:
        name: Its name.
        arrow_type: Its Arrow type.
        postgresql_type: The column's type; empty where the table has no such column.
        encoding: How values would be written.
        problem: Why the server would reject the column; empty if it would not.
    """

    name: str
    arrow_type: str
    postgresql_type: str
    encoding: str
    problem: str


@dataclass(frozen=True)
class WritePlan:
    """The plan of a write.

    Attributes:
        table: The table, quoted where SQL needs it.
        columns: One for each column of the data.
        problems: Why the server would reject the whole write. Problems of a column are in the column.
        warnings: What happens besides writing the values: triggers, row-level security, conversions that may change
            values, columns that PostgreSQL casts.
        statements: SQL that would make the table.
        keys: In keyed modes, the columns that identify a row: those of the write, or of the table's primary key. Empty
            if there is a problem.
    """

    table: str
    columns: Tuple[PlannedColumn, ...]
    problems: Tuple[str, ...]
    warnings: Tuple[str, ...]
    statements: Tuple[str, ...]
    keys: Tuple[str, ...] = ()

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> WritePlan:
        """Reads the server's answer, which leaves out fields that have their default."""
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
            keys=tuple(fields.get("keys", ())),
        )

    def __bool__(self) -> bool:
        """Whether the server would accept the write, judging by its schema."""
        return not self.problems and not any(column.problem for column in self.columns)

    def __str__(self) -> str:
        """Formats the plan for people, like EXPLAIN."""
        lines = [self.table]
        for column in self.columns:
            pair = f"{column.arrow_type} -> {column.postgresql_type or 'nothing'}"
            outcome = f"REJECTED: {column.problem}" if column.problem else column.encoding
            lines.append(f"  {column.name}: {pair} {outcome}")
        if self.keys:
            lines.append(f"  keys: {', '.join(self.keys)}")
        lines.extend(f"rejected: {problem}" for problem in self.problems)
        lines.extend(f"warning: {warning}" for warning in self.warnings)
        lines.extend(f"{statement};" for statement in self.statements)
        return "\n".join(lines)


@dataclass(frozen=True)
class WriteStatus:
    """The state of a write of many partitions in the server's ledger.

    Attributes:
        write_id: The id that the write was begun with.
        state: "open", "committed" or "aborted". "committing" for a moment, while the commit is decided and the server
            makes the last rows visible. "prepared_lost" if the commit was decided and another session had ended
            prepared transactions that held some of the rows.
        table: The table as the catalog has it, quoted where SQL needs it.
        mode: The mode, as `WriteOptions` has it.
        row_count: Rows that were published; of an open write, the rows of the recorded attempts so far.
        byte_count: The same in bytes of binary COPY.
        attempt_count: Recorded attempts.
        reason: Why the write was aborted; empty otherwise.
        max_message_bytes: Largest message that the server accepts, in bytes; 0 if it did not say.
        heartbeat_seconds: Seconds between two heartbeats of a driver; 0 if the server takes none.
        finished_at: When the write ended, in UTC as RFC 3339 has it; empty while it is open.
        existed: In the answer to begin, whether the write existed before.
        lost: In state "prepared_lost", the partitions whose rows are missing, each with its number of rows.
        counts: Once it is committed, numbers of rows that it changed.
        rejected_count: Rows of the same attempts that were rejected, which `row_count` does not include.
        reject_reasons: Once it is committed, the commonest reasons, at most ten.
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
    counts: RowCounts = RowCounts()
    rejected_count: int = 0
    reject_reasons: Tuple[RejectReason, ...] = ()

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> WriteStatus:
        """Reads the server's answer, which leaves out fields that have their default."""
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
            counts=RowCounts.from_json(fields.get("counts", {})),
            rejected_count=int(fields.get("rejectedCount", 0)),
            reject_reasons=RejectReason.all_from_json(fields.get("rejectReasons", ())),
        )

    @property
    def is_repeated(self) -> bool:
        """Whether, in the answer to begin, an earlier call had committed this write."""
        return self.existed and self.state == "committed"

    @property
    def repeated_line(self) -> str:
        """A line for people about a write that `is_repeated`."""
        return f"write {self.write_id!r} was already committed at {self.finished_at}; nothing was written"

    def result(self, seconds: float) -> WriteResult:
        """Returns the result of a committed write whose call took `seconds`."""
        at = self.finished_at if self.is_repeated else None
        return WriteResult(
            self.table,
            self.row_count,
            self.byte_count,
            seconds,
            self.write_id,
            at,
            self.counts,
            self.reason,
            self.rejected_count,
            self.reject_reasons,
        )
