"""A write of many partitions: begin, attempts, and commit or abort.

The process that has the rows of a partition sends them as an attempt. The server keeps attempts apart and publishes,
all or nothing, exactly those whose receipts the driver names. So an attempt may lack rows of its partition, and a
partition may have several attempts: Spark may silently cut the rows of a failing task short, and may run a task twice.
"""

from __future__ import annotations

import contextlib
import itertools
import uuid
from dataclasses import dataclass
from typing import Any, Dict, Iterable, Iterator, List, Mapping, Optional

import pyarrow as pa

from pgflight import driver
from pgflight.driver import Place
from pgflight.errors import Conflict, PgFlightError, PreparedLost, Unavailable
from pgflight.flight import command, stream
from pgflight.flight.connection import DEFAULT_MESSAGE_BYTES, Connection, Endpoint
from pgflight.flight.rows import Rows
from pgflight.options import WriteOptions
from pgflight.result import WriteStatus

#: The least time, in seconds, for which a commit is retried, even if `retry_timeout` is shorter.
_MIN_COMMIT_SECONDS = 60.0
#: Seconds for which an abort may delay the exception that caused it.
_MAX_ABORT_SECONDS = 10.0

#: The number of aborted writes of one name after which the client fails.
_MAX_RUNS = 1000


@dataclass(frozen=True)
class DistributedWrite:
    """A write that was begun. It can be pickled, so that the driver can pass it to its tasks.

    Attributes:
        endpoint: The server.
        write_id: The write's id.
        schema: The schema that the attempts send.
        status: The server's answer to begin.
        target: The database, by its name in the server's configuration; empty for the server's default.
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
        table: str,
        schema: pa.Schema,
        options: Optional[WriteOptions] = None,
        write_id: Optional[str] = None,
        *,
        sink: Optional[Mapping[str, Any]] = None,
        driver: str = "",
    ) -> DistributedWrite:
        """Begins a write: the server checks table, columns, types and permissions before any row moves.

        Args:
            endpoint: The server.
            table: The table, as in `Client.write`.
            schema: The schema that the attempts will send.
            options: How to write; an append by default.
            write_id: A name for the write; a new one by default. A name that was used before continues its write: a
                committed one returns its result, and an open one goes on. After an aborted one the next id of the
                name is used (`name`, `name#2`, `name#3`, …), so that a failed job may run again under its name. At
                most one write of a name is ever committed.
            sink: In place of a `write_id`, the batch of a streaming query that the write is, as
                `command.sink_batch` makes it.
            driver: The id under which heartbeats are sent for the write; empty if none are.

        Raises:
            PgFlightError: any error that the server reports.
        """
        spec = command.write_spec(table, options or WriteOptions())
        fields: Dict[str, Any] = {"spec": spec, "arrowSchema": command.schema_bytes(schema)}
        if driver:
            fields["driver"] = driver
        name = write_id or str(uuid.uuid4())
        with _connected(endpoint) as connection:
            if sink is not None:
                fields["sink"] = dict(sink)
                return cls._begun(connection, endpoint, fields, schema)
            for number in itertools.count(1):
                # An aborted write stays aborted, so that tasks of it that still run change nothing.
                this_id = name if number == 1 else f"{name}#{number}"
                try:
                    return cls._begun(connection, endpoint, {**fields, "writeId": this_id}, schema)
                except Conflict:
                    if write_id is None or number == _MAX_RUNS:
                        raise
        raise AssertionError("the loop ends by itself")

    @classmethod
    def begin_here(
        cls,
        endpoint: Endpoint,
        table: str,
        schema: pa.Schema,
        options: Optional[WriteOptions] = None,
        write_id: Optional[str] = None,
        *,
        sink: Optional[Mapping[str, Any]] = None,
    ) -> DistributedWrite:
        """Begins a write with this process as its driver, which keeps it alive until it commits or aborts it."""
        driver.end_on_sigterm()
        this = driver.this_driver()
        write = cls.begin(endpoint, table, schema, options, write_id, sink=sink, driver=this.id)
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
        """Returns a write that another process began, to commit or abort it."""
        status = WriteStatus(write_id, "open", "", "", 0, 0, 0, "", 0)
        return cls(endpoint, write_id, schema, status, target)

    @property
    def is_committed(self) -> bool:
        """Whether nothing is left to do: the write was committed before, or its mode leaves the table as it is."""
        return self.status.state == "committed"

    @property
    def place(self) -> Place:
        """The server and target of the write."""
        return Place(self.endpoint, self.target)

    @property
    def needs_heartbeats(self) -> bool:
        """Whether the write is open and its server takes heartbeats."""
        return self.status.state == "open" and self.status.heartbeat_seconds > 0

    def attempt(
        self, partition_id: int, attempt_name: str, batches: Iterable[pa.RecordBatch]
    ) -> Dict[str, Any]:
        """Sends one attempt of one partition.

        Args:
            partition_id: The partition's number within the write.
            attempt_name: The caller's name for this run. The client makes it unique.
            batches: The rows; there may be none.

        Returns:
            The receipt, for `commit`.

        Raises:
            PgFlightError: when the server rejected the attempt, when it was lost for longer than the endpoint's
                `retry_seconds`, or when it was lost after more batches were taken than can be sent again.
            Exception: whatever `batches` raised, unchanged.
        """
        attempt_id = f"{attempt_name}-{uuid.uuid4().hex}"
        descriptor = command.attempt_command(self.write_id, partition_id, attempt_id, self.target)
        limit = self.status.max_message_bytes or DEFAULT_MESSAGE_BYTES
        rows = Rows(batches)
        # Each task opens its own connection, which does not survive pickling or a fork.
        with _connected(self.endpoint, limit) as connection:
            return stream.send(
                connection, descriptor, rows.schema or self.schema, rows, max_message_bytes=limit
            )

    def commit(
        self, receipts: List[Dict[str, Any]], allow_no_receipts: bool = False
    ) -> WriteStatus:
        """Publishes exactly the attempts that the receipts name. A second call changes nothing.

        Args:
            receipts: The results of `attempt`, one for each partition.
            allow_no_receipts: Whether the list may be empty when attempts were sent. The server rejects such a list
                otherwise, since it may be empty by mistake.

        Raises:
            PreparedLost: when the commit is decided and rows of the write are lost.
            PgFlightError: when the write is not committed, or the client could not learn whether it is. If
                `decided`, it is committed, and the server makes its rows visible.
        """
        fields = command.at(self.target, {"writeId": self.write_id, "receipts": receipts})
        if allow_no_receipts:
            fields["allowNoReceipts"] = True
        seconds = max(self.endpoint.retry_seconds, _MIN_COMMIT_SECONDS)
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
                if not error.retryable:
                    raise
                raise self._unfinished(error) from None
        driver.ended(self.place, self.write_id)
        return status

    def _published(self, status: WriteStatus) -> WriteStatus:
        if status.state == "prepared_lost":
            raise PreparedLost(
                "another session ended prepared transactions with rows of the write after its commit was decided",
                hint="write the lost partitions again; the other rows are in the table",
                table=status.table,
            )
        if status.state == "committing":
            raise decided(self.write_id)
        return status

    def _with_lost(self, error: PreparedLost) -> PreparedLost:
        """Adds the lost partitions, if the server can be asked for them."""
        with contextlib.suppress(PgFlightError):
            error.lost = self.find_status().lost
        error.write_id = self.write_id
        return error

    def _unfinished(self, error: PgFlightError) -> PgFlightError:
        """Returns the error of a commit that was retried until its time was over.

        The last try may have failed, perhaps on a lock that an earlier try holds, although an earlier try succeeded
        and its answer was lost.
        """
        error.write_id = self.write_id
        if error.decided:
            error.hint = "do not write the rows again: the server makes them visible; ask for the write's status"
            return error
        return error.caused(
            "could not learn whether the write is committed",
            "ask for the write's status, or run the job again with this write id",
        )

    def find_status(self) -> WriteStatus:
        """Returns the write's state in the server's ledger."""
        fields = command.at(self.target, {"writeId": self.write_id})
        with _connected(self.endpoint) as connection:
            return WriteStatus.from_json(connection.action("status", "StatusRequest", fields))

    def abort(self, reason: str = "aborted by a client") -> WriteStatus:
        """Ends the write without publishing it. The server rejects attempts that still run.

        Returns:
            The write's status. Its state is "aborted"; or, if a commit came first, "committed", "committing" or
            "prepared_lost".
        """
        return self._abort(reason, self.endpoint.retry_seconds)

    def abort_quietly(self, reason: str) -> Optional[WriteStatus]:
        """Aborts the write while another exception is handled. Returns None if no server was reached.

        The server then ends the write some time later.
        """
        try:
            return self._abort(reason, min(self.endpoint.retry_seconds, _MAX_ABORT_SECONDS))
        except PgFlightError:
            return None

    def _abort(self, reason: str, retry_seconds: float) -> WriteStatus:
        fields = command.at(self.target, {"writeId": self.write_id, "reason": reason})
        with _connected(self.endpoint) as connection:
            answer = connection.action("abort", "AbortRequest", fields, retry_seconds=retry_seconds)
        driver.ended(self.place, self.write_id)
        return WriteStatus.from_json(answer)


def decided(write_id: str) -> Unavailable:
    """Returns the error for a write whose commit is decided, so that it can no longer fail."""
    return Unavailable(
        "the commit is decided, and the server is making the last rows visible",
        hint="do not write the rows again; ask for the write's status",
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
