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

from pgflight import command, stream
from pgflight.connection import DEFAULT_MESSAGE_BYTES, Connection, Endpoint
from pgflight.errors import Conflict, PgFlightError
from pgflight.result import WriteStatus

#: Seconds for which an action is tried again while the server is away or busy. A mistyped address
#: should not look like a slow start, and a commit is worth waiting for.
_BEGIN_RETRY_SECONDS = 10.0
_COMMIT_RETRY_SECONDS = 60.0
_ABORT_RETRY_SECONDS = 10.0

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

        Raises:
            PgFlightError: what the server refuses.
        """
        name = write_id or str(uuid.uuid4())
        with _connected(endpoint) as connection:
            for number in itertools.count(1):
                # An aborted write stays aborted, so that whatever is left of it can do no harm.
                this_id = name if number == 1 else f"{name}#{number}"
                fields = {
                    "writeId": this_id,
                    "spec": spec,
                    "arrowSchema": command.schema_bytes(schema),
                }
                try:
                    answer = connection.action(
                        "begin", "BeginRequest", fields, retry_seconds=_BEGIN_RETRY_SECONDS
                    )
                except Conflict:
                    if write_id is None or number == _MOST_RUNS:
                        raise
                    continue
                status = WriteStatus.from_json(answer)
                return cls(endpoint, this_id, schema, status, spec.get("target", ""))
        raise AssertionError("the loop ends by itself")

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
            PgFlightError: when the server refused or was lost.
            Exception: whatever `batches` raised, as it is.
        """
        attempt_id = f"{attempt_name}-{uuid.uuid4().hex}"
        descriptor = command.attempt_command(self.write_id, partition_id, attempt_id, self.target)
        limit = self.status.max_message_bytes or DEFAULT_MESSAGE_BYTES
        # The batches know better than the driver what they are: Spark labels timestamps with the
        # session's time zone, which the driver's side of a data source cannot see.
        rows = iter(batches)
        first = list(itertools.islice(rows, 1))
        schema = first[0].schema if first else self.schema
        # A connection of the task's own: it does not survive pickling or a fork.
        with _connected(self.endpoint, limit) as connection:
            return stream.send(
                connection,
                descriptor,
                schema,
                itertools.chain(first, rows),
                max_message_bytes=limit,
            )

    def commit(self, receipts: List[Dict[str, Any]]) -> WriteStatus:
        """Publishes exactly the attempts that the receipts name. Doing it again is harmless.

        Raises:
            PgFlightError: when the write is not committed, or it is not known whether it is.
        """
        fields = command.at(self.target, {"writeId": self.write_id, "receipts": receipts})
        try:
            with _connected(self.endpoint) as connection:
                answer = connection.action(
                    "commit", "CommitRequest", fields, retry_seconds=_COMMIT_RETRY_SECONDS
                )
        except PgFlightError as error:
            # It was tried again and again: that PostgreSQL refused the last try, perhaps for a lock that an
            # earlier one holds, says nothing of those whose answers were lost.
            if error.retryable:
                error.write_id = self.write_id
                error.message += (
                    f"; it is not known whether write {self.write_id!r} was committed: ask for its "
                    "status, or run the job again with this write id"
                )
            raise
        return WriteStatus.from_json(answer)

    def abort(self, reason: str = "aborted by a client") -> WriteStatus:
        """Ends the write without publishing, and shuts out attempts that still run.

        Returns:
            The write's state: "aborted", or "committed" when a commit came first.
        """
        fields = command.at(self.target, {"writeId": self.write_id, "reason": reason})
        with _connected(self.endpoint) as connection:
            answer = connection.action(
                "abort", "AbortRequest", fields, retry_seconds=_ABORT_RETRY_SECONDS
            )
        return WriteStatus.from_json(answer)

    def abort_quietly(self, reason: str) -> Optional[WriteStatus]:
        """As `abort`, where another exception is under way; None when the server was not reached.

        The server's lease ends the write in that case.
        """
        try:
            return self.abort(reason)
        except PgFlightError:
            return None


@contextlib.contextmanager
def _connected(endpoint: Endpoint, max_message_bytes: Optional[int] = None) -> Iterator[Connection]:
    connection = endpoint.connect(max_message_bytes)
    try:
        yield connection
    finally:
        connection.close()
