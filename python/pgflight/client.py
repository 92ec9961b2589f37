"""The client for one process, which sends each write as one stream."""

from __future__ import annotations

import time
from pathlib import Path
from types import TracebackType
from typing import Any, Callable, Optional, Tuple, Type, Union

import pyarrow as pa

from pgflight import driver
from pgflight.distributed import DistributedWrite
from pgflight.driver import Place
from pgflight.errors import InvalidCommand
from pgflight.flight import command, stream
from pgflight.flight.connection import DEFAULT_MESSAGE_BYTES, Connection, Endpoint
from pgflight.flight.rows import Rows
from pgflight.frames import frame
from pgflight.options import WriteOptions, collect
from pgflight.progress import Progress, Reporter
from pgflight.result import RejectReason, RowCounts, WritePlan, WriteResult, WriteStatus


def connect(
    url: str,
    *,
    token: Optional[str] = None,
    token_file: Union[str, Path, None] = None,
    username: Optional[str] = None,
    password: Optional[str] = None,
    tls_root_certs: Union[bytes, str, Path, None] = None,
    retry_timeout: Union[None, int, float, str] = None,
    tls_client_cert: Union[bytes, str, Path, None] = None,
    tls_client_key: Union[bytes, str, Path, None] = None,
) -> Client:
    """Makes a client of a pgflight server. It sends nothing before its first call.

    Args:
        url: `grpc://host:port`, `grpc+tls://host:port`, `grpc+unix:///path` or `host:port`.
        token: The token, sent with every call as `authorization: Bearer …`. Without any credentials here, the
            environment variable PGFLIGHT_TOKEN.
        token_file: A file that holds the token. It is read for every connection.
        username: The principal, for servers that exchange a token for a session.
        password: The principal's token, with `username`. Servers accept it over TLS only.
        tls_root_certs: PEM certificates to trust, as bytes or as the path of a file.
        retry_timeout: How long writes wait while servers or PostgreSQL are away: seconds, or text such as "90s" or
            "2min". 60 seconds by default; 0 does not wait.
        tls_client_cert: This client's certificate, for servers that know a principal by its certificate; as PEM, in
            bytes or as the path of a file.
        tls_client_key: The key of that certificate; likewise.

    Raises:
        InvalidCommand: for a wrong `url` or `retry_timeout`, and for credentials that are given twice.
    """
    endpoint = Endpoint.parse(
        url,
        token,
        tls_root_certs,
        token_file=token_file,
        username=username,
        password=password,
        retry_timeout=retry_timeout,
        tls_client_cert=tls_client_cert,
        tls_client_key=tls_client_key,
    )
    return Client(endpoint)


class Client:
    """Writes tables to PostgreSQL through a pgflight server. `connect` makes one."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._control = endpoint.connect()
        self._data: Optional[Connection] = None
        self._max_message_bytes = 0

    def write(
        self,
        data: Any,
        table: str,
        mode: Optional[str] = None,
        *,
        options: Optional[WriteOptions] = None,
        progress: Union[bool, Callable[[Progress], None]] = False,
        **keywords: Any,
    ) -> WriteResult:
        """Writes all rows of a table or none, in one transaction.

        It waits up to `retry_timeout` while servers or PostgreSQL are away. After a retryable error it sends data
        that are in memory again. A generator or reader gives its rows once, so they are sent again only while no
        more than the first batch has been taken.

        Args:
            data: A pyarrow Table, RecordBatch, RecordBatchReader, Dataset or Scanner; a pandas (without its index) or
                polars DataFrame; an iterable of RecordBatches, which may be a generator; anything else that has
                `__arrow_c_stream__`.
            table: `name` or `schema.name`, with double quotes around a name that holds a dot or a double quote.
                Names keep their case.
            mode: The mode, as `WriteOptions` has it; "append" by default.
            options: How to write. Pass either this or keywords.
            progress: True prints the progress to standard error. A callable is called with a `Progress` instead.
            keywords: The fields of `WriteOptions`: `keys`, `column_types` and so on. `publish` is for writes of many
                partitions.

        Returns:
            The rows and bytes that PostgreSQL received, and the seconds that the call took. In keyed modes these are
            the rows of the data, however many rows of the table changed.

        Raises:
            InvalidCommand: for options that are wrong or contradict each other.
            OutcomeUnknown: when the connection is lost after all rows were sent. The rows are in the table, or none
                is.
            PgFlightError: one of its other subclasses, when the server rejected the write or was lost. Nothing is
                written then.
            TypeError: when `data` cannot be written, or a keyword is no option.
            ValueError: when `data` is an iterable without a batch, which has no schema.
            Exception: whatever an iterable raised, unchanged. Nothing is written then.
        """
        started = time.monotonic()
        asked = collect(options, mode, keywords)
        if asked.publish is not None:
            raise InvalidCommand(
                "publish has no effect on a write of one stream",
                hint="leave it out, or write by begin or write_dataframe",
            )
        spec = command.write_spec(table, asked)
        schema, batches = frame(data)
        rows = Rows(batches)
        reporter = Reporter(table, progress) if progress else None
        try:
            receipt = stream.send(
                self._data_connection(),
                command.write_command(spec),
                schema,
                rows,
                max_message_bytes=self._max_message_bytes,
                is_write=True,
                on_sent=reporter.sent if reporter else None,
                on_again=reporter.again if reporter else None,
            )
        except BaseException:
            if reporter:
                reporter.failed()
            raise
        if reporter:
            reporter.finished()
        return WriteResult(
            table=receipt.get("table", table),
            row_count=int(receipt.get("rowCount", 0)),
            counts=RowCounts.from_json(receipt.get("counts", {})),
            remark=receipt.get("remark", ""),
            byte_count=int(receipt.get("byteCount", 0)),
            seconds=time.monotonic() - started,
            write_id=receipt.get("writeId") or None,
            rejected_count=int(receipt.get("rejectedCount", 0)),
            reject_reasons=RejectReason.all_from_json(receipt.get("rejectReasons", ())),
        )

    def begin(
        self,
        table: str,
        schema: pa.Schema,
        mode: Optional[str] = None,
        *,
        options: Optional[WriteOptions] = None,
        write_id: Optional[str] = None,
        keep_alive: bool = True,
        **keywords: Any,
    ) -> DistributedWrite:
        """Begins a write whose partitions several processes send, for example those of Dask or Ray.

        Each process calls `attempt` of the returned value, which can be pickled, and passes the receipt back. Then one
        process calls `commit` with all receipts. Until then no row is visible, and any process may send a partition
        again. `abort` ends the write; otherwise the server ends it when it has heard nothing of it for some time.

        Args:
            table: As in `write`.
            schema: The Arrow schema of the data.
            mode: As in `write`.
            options: As in `write`.
            write_id: A name for the write. However often the program runs, the write of this name is committed once.
            keep_alive: Whether this process sends heartbeats until it commits or aborts the write. If it is killed,
                the server aborts the write minutes later; if it ends in order, it aborts the write itself. False
                lets the write outlive this process, for another process to commit. The server aborts it when it has
                heard nothing of it for `--write-ttl`.
            keywords: As in `write`, and `publish`.

        Raises:
            PgFlightError: for what is wrong with table, columns, types or permissions, before any row is sent.
        """
        begin = DistributedWrite.begin_here if keep_alive else DistributedWrite.begin
        return begin(self._endpoint, table, schema, collect(options, mode, keywords), write_id)

    def plan(
        self,
        schema: pa.Schema,
        table: str,
        mode: Optional[str] = None,
        *,
        options: Optional[WriteOptions] = None,
        **keywords: Any,
    ) -> WritePlan:
        """Returns what `write` would do with data of this schema, by column. Writes nothing.

        Args:
            schema: The Arrow schema of the data.
            table: As in `write`.
            mode: As in `write`.
            options: As in `write`.
            keywords: As in `write`, and `publish`.

        Returns:
            The plan. It is true if the server would accept the write, and prints as a table.

        Raises:
            PgFlightError: when there is nothing to plan for, such as a missing table.
        """
        fields = {
            "spec": command.write_spec(table, collect(options, mode, keywords)),
            "arrowSchema": command.schema_bytes(schema),
        }
        return WritePlan.from_json(self._control.action("plan", "PlanRequest", fields))

    def table_schema(self, table: str, *, target: Optional[str] = None) -> pa.Schema:
        """Returns the columns of a table as Arrow types.

        Raises:
            NotFound: when the table does not exist.
        """
        return self._control.table_schema(table, target)

    def tables(self, *, target: Optional[str] = None) -> Tuple[str, ...]:
        """Returns the names of the tables that the server offers, as `write` takes them.

        Without a target, it returns the tables of all targets.
        """
        return self._control.tables(target)

    def status(self, write_id: str, *, target: Optional[str] = None) -> WriteStatus:
        """Returns the state of a write of many partitions.

        Raises:
            NotFound: when the server does not know the write, or no longer does.
        """
        fields = command.at(target, {"writeId": write_id})
        answer = self._control.action("status", "StatusRequest", fields)
        return WriteStatus.from_json(answer)

    def rejects(self, write_id: str, *, target: Optional[str] = None) -> pa.Table:
        """Returns the rejected rows of a committed write, in the order of partition and row.

        Each has `partition_id`, `attempt_id`, `row_number` (within its stream, from 0), `kind`, `sqlstate`,
        `column_name`, `constraint_name` and `message`; `keys` and `row` as JSON, and `ipc`, the row as a stream of Arrow
        IPC, as far as `reject_values` kept them.

        Args:
            write_id: The write, as its result names it.
            target: The target of the write.

        Raises:
            NotFound: when the server does not know the write, or no longer does.
            Conflict: when the write is not committed, or its rejected rows are in its `reject_table`.
        """
        fields = command.at(target, {"writeId": write_id})
        return self._control.fetch(command.message("RejectsRequest", fields))

    def abort(
        self,
        write_id: str,
        reason: str = "aborted by a client",
        *,
        target: Optional[str] = None,
    ) -> WriteStatus:
        """Ends a write of many partitions without publishing it.

        From then on the server rejects its tasks. A write that is already committed stays committed, and the returned
        status says so.
        """
        fields = command.at(target, {"writeId": write_id, "reason": reason})
        answer = self._control.action(
            "abort", "AbortRequest", fields, retry_seconds=self._endpoint.retry_seconds
        )
        driver.ended(Place(self._endpoint, target or ""), write_id)
        return WriteStatus.from_json(answer)

    def close(self) -> None:
        """Closes the client's connections. Calling it again does nothing."""
        for connection in (self._control, self._data):
            if connection is not None:
                connection.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        self.close()

    def _data_connection(self) -> Connection:
        # A connection rejects messages above the size that it was made with, and only the server knows that size. So
        # streams use another connection than the call that asks for it.
        if self._data is None:
            info = self._control.action(
                "info", "InfoRequest", {}, retry_seconds=self._endpoint.retry_seconds
            )
            self._max_message_bytes = int(info.get("maxMessageBytes", 0)) or DEFAULT_MESSAGE_BYTES
            self._data = self._endpoint.connect(self._max_message_bytes)
        return self._data
