"""A write of many partitions: begin, attempts, and commit or abort.

Each partition is sent as an attempt of its own, in whatever process has its rows; the server keeps
attempts apart and publishes, all or nothing, exactly those whose receipts the driver names.
That is why an attempt needs no proof that it is the last or even the whole of its partition: Spark
may end a failing task's rows early without a word, and run a task twice.
"""

from __future__ import annotations

import contextlib
import itertools
import uuid
from dataclasses import dataclass
from typing import Any, Dict, Iterable, Iterator, List, Mapping, Optional

import pyarrow as pa

from pgflight import command, driver, stream
from pgflight.connection import DEFAULT_MESSAGE_BYTES, Connection, Endpoint
from pgflight.driver import Place
from pgflight.errors import Conflict, PgFlightError, PreparedLost, Unavailable
from pgflight.result import WriteStatus
from pgflight.rows import Rows

#: A commit is worth waiting for: it is tried again for so many seconds, also where the caller says less.
_LEAST_COMMIT_SECONDS = 60.0
#: The longest that an abort may hold up the exception because of which it is made.
_LONGEST_ABORT_SECONDS = 10.0

#: A job that failed so often under one name is better looked at.
_MOST_RUNS = 1000


@dataclass(frozen=True)
class DistributedWrite:
    """A write that was begun. Can be pickled: the driver makes it, its tasks and the driver use it.

    Attributes:
        endpoint: The server.
        write_id: The write's id.
        schema: The schema that the attempts send.
        status: What begin answered.
        target: The database, of those that the server was configured with; empty: its default.
    """

    endpoint: Endpoint
    write_id: str
    schema: pa.Schema
    status: WriteStatus
    target: str = ""

    @classmethod
    def begin(
        cls,
        endpoint: Endpoint,
        spec: Mapping[str, Any],
        schema: pa.Schema,
        write_id: Optional[str] = None,
        *,
        sink: Optional[Mapping[str, Any]] = None,
        driver: str = "",
    ) -> DistributedWrite:
        """Opens a write: the server checks table, columns, types and rights before any row moves.

        Args:
            endpoint: The server.
            spec: A `WriteSpec`, as `command.write_spec` makes it.
            schema: The schema that the attempts will send.
            write_id: An id that was used before takes up that write again: the result of one that
                was committed, the open one, or, when it was aborted, the next of its name
                (`name`, `name#2`, `name#3`, …): a job that failed may be run again under its
                name, and at most one write of a name is ever committed. A new id unless given.
            sink: The batch of a streaming query that the write is, as `command.sink_batch` makes it,
                in place of a `write_id`.
            driver: The id under which heartbeats are sent for it; empty: none are.

        Raises:
            PgFlightError: what the server refuses.
        """
        fields: Dict[str, Any] = {"spec": spec, "arrowSchema": command.schema_bytes(schema)}
        if driver:
            fields["driver"] = driver
        name = write_id or str(uuid.uuid4())
        with _connected(endpoint) as connection:
            if sink is not None:
                fields["sink"] = dict(sink)
                return cls._begun(connection, endpoint, fields, schema)
            for number in itertools.count(1):
                # An aborted write stays aborted, so that whatever is left of it can do no harm.
                this_id = name if number == 1 else f"{name}#{number}"
                try:
                    return cls._begun(connection, endpoint, {**fields, "writeId": this_id}, schema)
                except Conflict:
                    if write_id is None or number == _MOST_RUNS:
                        raise
        raise AssertionError("the loop ends by itself")

    @classmethod
    def begin_here(
        cls,
        endpoint: Endpoint,
        spec: Mapping[str, Any],
        schema: pa.Schema,
        write_id: Optional[str] = None,
        *,
        sink: Optional[Mapping[str, Any]] = None,
    ) -> DistributedWrite:
        """As `begin`, with this process as the driver: it keeps the write alive until it commits or aborts it."""
        driver.end_on_sigterm()
        this = driver.this_driver()
        write = cls.begin(endpoint, spec, schema, write_id, sink=sink, driver=this.id)
        if write.needs_heartbeats:
            this.begun(write.place, write.write_id, write.status.heartbeat_seconds)
        return write

    @classmethod
    def _begun(
        cls,
        connection: Connection,
        endpoint: Endpoint,
        fields: Mapping[str, Any],
        schema: pa.Schema,
    ) -> DistributedWrite:
        def begin() -> WriteStatus:
            status = WriteStatus.from_json(connection.action("begin", "BeginRequest", fields))
            if status.state == "committing":
                raise decided(status.write_id)
            return status

        status = connection.patiently(endpoint.retry_seconds, begin)
        return cls(endpoint, status.write_id, schema, status, fields["spec"].get("target", ""))

    @classmethod
    def of(
        cls, endpoint: Endpoint, write_id: str, schema: pa.Schema, target: str = ""
    ) -> DistributedWrite:
        """A write that somebody else has begun, to commit or abort it."""
        status = WriteStatus(write_id, "open", "", "", 0, 0, 0, "", 0)
        return cls(endpoint, write_id, schema, status, target)

    @property
    def is_committed(self) -> bool:
        """Whether there is nothing to do.

        This very write was committed before, or the mode rules that the table stays as it is.
        """
        return self.status.state == "committed"

    @property
    def place(self) -> Place:
        """Where the write is."""
        return Place(self.endpoint, self.target)

    @property
    def needs_heartbeats(self) -> bool:
        """Whether the write is open, and its server takes heartbeats."""
        return self.status.state == "open" and self.status.heartbeat_seconds > 0

    def attempt(
        self, partition_id: int, attempt_name: str, batches: Iterable[pa.RecordBatch]
    ) -> Dict[str, Any]:
        """Sends one attempt of one partition.

        Args:
            partition_id: Which part of the write.
            attempt_name: The caller's own name for this run; made unique here.
            batches: The rows; none at all is legal.

        Returns:
            The receipt, for `commit`.

        Raises:
            PgFlightError: when the server refused or was lost, for longer than the endpoint's
                `retry_seconds` or after batches were taken that are not kept.
            Exception: whatever `batches` raised, as it is.
        """
        attempt_id = f"{attempt_name}-{uuid.uuid4().hex}"
        descriptor = command.attempt_command(self.write_id, partition_id, attempt_id, self.target)
        limit = self.status.max_message_bytes or DEFAULT_MESSAGE_BYTES
        rows = Rows(batches)
        # A connection of the task's own: it does not survive pickling or a fork.
        with _connected(self.endpoint, limit) as connection:
            return stream.send(
                connection, descriptor, rows.schema or self.schema, rows, max_message_bytes=limit
            )

    def commit(
        self, receipts: List[Dict[str, Any]], allow_no_receipts: bool = False
    ) -> WriteStatus:
        """Publishes exactly the attempts that the receipts name. Doing it again is harmless.

        Args:
            receipts: What `attempt` returned, one for each partition.
            allow_no_receipts: Publish nothing where there are no receipts, also when attempts were
                sent: the server refuses that otherwise, since a list may be empty by mistake.

        Raises:
            PreparedLost: when it is decided that the write is committed, and rows of it are lost.
            PgFlightError: when the write is not committed, or it is not known whether it is; `decided`
                when it is, and the server will make its rows visible.
        """
        fields = command.at(self.target, {"writeId": self.write_id, "receipts": receipts})
        if allow_no_receipts:
            fields["allowNoReceipts"] = True
        seconds = max(self.endpoint.retry_seconds, _LEAST_COMMIT_SECONDS)
        with _connected(self.endpoint) as connection:

            def commit() -> WriteStatus:
                answer = connection.action("commit", "CommitRequest", fields)
                return self._published(WriteStatus.from_json(answer))

            try:
                status = connection.patiently(seconds, commit)
            except PreparedLost as error:
                driver.ended(self.place, self.write_id)
                raise self._with_lost(error) from None
            except PgFlightError as error:
                self._say_what_is_known(error)
                raise
        driver.ended(self.place, self.write_id)
        return status

    def _published(self, status: WriteStatus) -> WriteStatus:
        if status.state == "prepared_lost":
            raise PreparedLost(
                f"write {self.write_id!r} was decided, and another session had ended prepared "
                "transactions with rows of it: they are lost, and the others are in the table",
                table=status.table,
            )
        if status.state == "committing":
            raise decided(self.write_id)
        return status

    def _with_lost(self, error: PreparedLost) -> PreparedLost:
        """Adds what is lost, as far as the server can be asked."""
        with contextlib.suppress(PgFlightError):
            lost = self.find_status().lost
            error.lost = lost
            if lost and "partition" not in error.message:
                rows = ", ".join(f"{count} rows of partition {part}" for part, count in lost)
                error.message += f"; missing are {rows}"
        error.write_id = self.write_id
        return error

    def _say_what_is_known(self, error: PgFlightError) -> None:
        """Says how the write stands, where a commit was tried again and again in vain.

        That PostgreSQL refused the last try, perhaps for a lock that an earlier one holds, says nothing of
        those whose answers were lost.
        """
        if not error.retryable:
            return
        error.write_id = self.write_id
        if error.decided:
            error.message += (
                f"; write {self.write_id!r} is committed all the same, and the server makes its rows "
                "visible: do not write them again, ask for its status"
            )
        else:
            error.message += (
                f"; it is not known whether write {self.write_id!r} was committed: ask for its "
                "status, or run the job again with this write id"
            )

    def find_status(self) -> WriteStatus:
        """What the server's ledger says of the write now."""
        fields = command.at(self.target, {"writeId": self.write_id})
        with _connected(self.endpoint) as connection:
            return WriteStatus.from_json(connection.action("status", "StatusRequest", fields))

    def abort(self, reason: str = "aborted by a client") -> WriteStatus:
        """Ends the write without publishing, and shuts out attempts that still run.

        Returns:
            The write's state: "aborted"; or, when a commit came first, "committed", "committing" or
            "prepared_lost".
        """
        return self._abort(reason, self.endpoint.retry_seconds)

    def abort_quietly(self, reason: str) -> Optional[WriteStatus]:
        """As `abort`, where another exception is under way; None when the server was not reached.

        The server ends the write in that case, some time later.
        """
        try:
            return self._abort(reason, min(self.endpoint.retry_seconds, _LONGEST_ABORT_SECONDS))
        except PgFlightError:
            return None

    def _abort(self, reason: str, retry_seconds: float) -> WriteStatus:
        fields = command.at(self.target, {"writeId": self.write_id, "reason": reason})
        with _connected(self.endpoint) as connection:
            answer = connection.action("abort", "AbortRequest", fields, retry_seconds=retry_seconds)
        driver.ended(self.place, self.write_id)
        return WriteStatus.from_json(answer)


def decided(write_id: str) -> Unavailable:
    """Says that the commit of a write is under way, and cannot fail any more."""
    return Unavailable(
        f"it is decided that write {write_id!r} is committed, and its last rows are being made visible",
        write_id=write_id,
        decided=True,
    )


@contextlib.contextmanager
def _connected(endpoint: Endpoint, max_message_bytes: Optional[int] = None) -> Iterator[Connection]:
    connection = endpoint.connect(max_message_bytes)
    try:
        yield connection
    finally:
        connection.close()
