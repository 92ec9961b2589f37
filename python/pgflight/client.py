"""The client for one process: no Spark, one stream a write."""

from __future__ import annotations

import base64
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Callable, Mapping, Optional, Sequence, Tuple, Type, Union

import pyarrow as pa

from pgflight import command, driver, stream
from pgflight.connection import DEFAULT_MESSAGE_BYTES, Connection, Endpoint
from pgflight.distributed import DistributedWrite
from pgflight.driver import Place
from pgflight.frames import frame
from pgflight.progress import Progress, Reporter
from pgflight.result import WritePlan, WriteResult, WriteStatus
from pgflight.rows import Rows


def connect(
    url: str,
    *,
    token: Optional[str] = None,
    token_file: Union[str, Path, None] = None,
    username: Optional[str] = None,
    password: Optional[str] = None,
    tls_root_certs: Union[bytes, str, Path, None] = None,
    retry_timeout: Union[None, int, float, str] = None,
) -> Client:
    """Makes a client of a pgflight server. Nothing is sent before its first call.

    Args:
        url: `grpc://host:port`, `grpc+tls://host:port`, `grpc+unix:///path` or `host:port`.
        token: Sent with every call as `authorization: Bearer …`; unless who calls is said otherwise, the
            environment's PGFLIGHT_TOKEN.
        token_file: A file that holds the token, read for every connection.
        username: The principal, for servers that are to give a session for a token.
        password: The principal's token, with `username`; taken over TLS alone.
        tls_root_certs: PEM certificates to trust, as bytes or as the path of a file.
        retry_timeout: For how long writes wait while servers or PostgreSQL are away: seconds, or text
            such as "90s" or "2min"; 60 seconds unless given, 0 for not at all.

    Raises:
        InvalidCommand: when `url` is no such address, `retry_timeout` no time, or who calls is said twice.
    """
    endpoint = Endpoint.parse(
        url,
        token,
        tls_root_certs,
        token_file=token_file,
        username=username,
        password=password,
        retry_timeout=retry_timeout,
    )
    return Client(endpoint)


class Client:
    """Writes tables to PostgreSQL through a pgflight server. Made by `connect`."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._control = endpoint.connect()
        self._data: Optional[Connection] = None
        self._max_message_bytes = 0

    def write(
        self,
        data: Any,
        table: str,
        mode: str = "append",
        *,
        if_exists: Optional[str] = None,
        overwrite_with: Optional[str] = None,
        create_if_missing: bool = False,
        column_types: Optional[Mapping[str, str]] = None,
        primary_key: Optional[Sequence[str]] = None,
        table_options: Optional[str] = None,
        keys: Optional[Sequence[str]] = None,
        order_by: Optional[str] = None,
        conversions: Optional[Mapping[str, Mapping[str, Any]]] = None,
        schema_evolution: Optional[str] = None,
        sync_sequences: bool = False,
        target: Optional[str] = None,
        progress: Union[bool, Callable[[Progress], None]] = False,
    ) -> WriteResult:
        """Writes a table: all of its rows or none, in one transaction.

        It waits for servers and for PostgreSQL while they are away, up to `retry_timeout`. Data that are
        held in memory are sent again after an error that is retryable; rows of a generator or reader,
        which can be had once, only as long as no more than its first batch was taken.

        Args:
            data: A pyarrow Table, RecordBatch, RecordBatchReader, Dataset or Scanner; a pandas
                (without its index) or polars DataFrame; an iterable of RecordBatches, which may
                be a generator; anything else that has `__arrow_c_stream__`.
            table: `name` or `schema.name`, with double quotes around a name that holds a dot or a
                double quote. Names keep their case.
            mode: "append" adds to a table that exists; "create" makes it; "overwrite" replaces its
                rows, and makes it when it is missing. Keyed modes look at the rows that have the
                same keys: "upsert" replaces them or adds; "insert_if_absent" only adds;
                "update_only" only changes; "delete_by_key" removes them.
            if_exists: mode "create" only, when the table is there: "fail" (default), "append", or
                "ignore", which leaves it as it is and writes nothing.
            overwrite_with: mode "overwrite" only: "truncate" (default); "delete", which never blocks
                readers but leaves dead rows for vacuum; or "swap", which fills and indexes another
                table and puts it in the place of the old one, so that readers wait for a moment.
            create_if_missing: modes "append", "upsert" and "insert_if_absent" only: make the table when
                it is missing; in the latter two the keys are its primary key.
            column_types: PostgreSQL types for columns of a table that is made, as in
                {"fare": "numeric(12,2)"}; the other types follow from the data.
            primary_key: the columns of the primary key of a table that is made.
            table_options: what stands behind the columns where a table is made, as in
                "WITH (fillfactor = 70) TABLESPACE fast": storage parameters and a tablespace.
            keys: keyed modes only, and there needed: the columns that identify a row. They
                must be in the data, and NULL in none of its rows.
            order_by: keyed modes only: of several rows with the same keys, the one with the greatest
                value in this column counts. Unless given, such rows are an error.
            conversions: what may be changed in values that do not fit, by column, as in
                {"at": {"rounding": "floor", "zone": "UTC"}, "note": {"nul": "remove"}}. rounding, of
                digits that the column does not keep: "floor" or "nearest"; zone, "UTC" or an offset
                such as "+02:00", of local times where one of both sides has a zone; nul: "remove".
                docs/types.md has the others: overflow, form, unit and so on. Unless asked for, such
                values are rejected and nothing is written.
            schema_evolution: what happens to columns that the table lacks: "refuse" (default) the
                write; "add_columns" to the table, which the server's role must own, together with the
                rows (column_types says of which types); or "ignore" them.
            sync_sequences: moves the sequences of serial and identity columns on to the greatest value in
                their column, when the rows are committed; otherwise a later INSERT may be given a
                value that is there already.
            target: the database, by a name that the server was configured with; its default unless
                given.
            progress: True: tells on standard error how far it is. A callable is called with a
                `Progress` instead.

        Returns:
            Rows and bytes that PostgreSQL took, and the seconds it took. In keyed modes these are
            the rows of the data, whatever became of them.

        Raises:
            OutcomeUnknown: when the server was lost after it had all rows: they are in the table or not.
            PgFlightError: one of its other subclasses, when the server refused or was lost. Nothing was
                written then, unless the message says that it is unknown.
            TypeError: when `data` is nothing that can be written.
            ValueError: when `data` is an iterable without a batch, and so has no schema.
            Exception: whatever an iterable raised, as it is. Nothing was written then.
        """
        started = time.monotonic()
        spec = command.write_spec(
            table,
            mode,
            if_exists=if_exists,
            overwrite_with=overwrite_with,
            create_if_missing=create_if_missing,
            column_types=column_types,
            primary_key=primary_key,
            table_options=table_options,
            keys=keys,
            order_by=order_by,
            conversions=conversions,
            schema_evolution=schema_evolution,
            sync_sequences=sync_sequences,
            target=target,
        )
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
            byte_count=int(receipt.get("byteCount", 0)),
            seconds=time.monotonic() - started,
            write_id=receipt.get("writeId") or None,
        )

    def begin(
        self,
        table: str,
        schema: pa.Schema,
        mode: str = "append",
        *,
        write_id: Optional[str] = None,
        keep_alive: bool = True,
        **arguments: Any,
    ) -> DistributedWrite:
        """Begins a write whose partitions are sent by several processes, of Dask, Ray or one's own.

        Each process calls `attempt` of what this returns, which can be pickled, and gives the receipt
        back; then one calls `commit` with all receipts. Until then nothing is to be seen, and a
        partition may be sent again, by anybody. `abort` ends it, or else the server does, some time
        after the last sign of life.

        Args:
            table: As in `write`.
            schema: The Arrow schema of the data.
            mode: As in `write`.
            write_id: A name for the write, so that it is committed once, however often the program runs.
            keep_alive: This process sends heartbeats until the write is committed or aborted here: the
                server aborts it minutes after this process was killed, and this process when it ends.
                False: the write outlives this process, for another one to commit; what is left open is
                aborted when nothing was heard of it for the server's `--write-ttl`.
            arguments: What else `write_dataframe` would be given: keys, column_types, publish…

        Raises:
            PgFlightError: what is wrong with table, columns, types or rights, before any row is sent.
        """
        spec = command.write_spec(table, mode, **arguments)
        begin = DistributedWrite.begin_here if keep_alive else DistributedWrite.begin
        return begin(self._endpoint, spec, schema, write_id)

    def plan(
        self, schema: pa.Schema, table: str, mode: str = "append", **arguments: Any
    ) -> WritePlan:
        """Tells what `write` would do with data of this schema, by column. Nothing is written.

        Args:
            schema: The Arrow schema of the data.
            table: As in `write`.
            mode: As in `write`.
            arguments: What else `write` would be given: keys, column_types, conversions…

        Returns:
            True where the write would be accepted; prints as a table.

        Raises:
            PgFlightError: where there is nothing to plan against, such as a missing table.
        """
        fields = {
            "spec": command.write_spec(table, mode, **arguments),
            "arrowSchema": base64.b64encode(schema.serialize().to_pybytes()).decode("ascii"),
        }
        return WritePlan.from_json(self._control.action("plan", "PlanRequest", fields))

    def table_schema(self, table: str, *, target: Optional[str] = None) -> pa.Schema:
        """The columns of a table as Arrow types.

        Raises:
            NotFound: when there is no such table.
        """
        return self._control.table_schema(table, target)

    def tables(self, *, target: Optional[str] = None) -> Tuple[str, ...]:
        """The names of the tables that the server offers, as `write` takes them.

        Without a target, those of all that the server was configured with.
        """
        return self._control.tables(target)

    def status(self, write_id: str, *, target: Optional[str] = None) -> WriteStatus:
        """What became of a write of many partitions.

        Raises:
            NotFound: when the server knows no such write (any more).
        """
        fields = command.at(target, {"writeId": write_id})
        answer = self._control.action("status", "StatusRequest", fields)
        return WriteStatus.from_json(answer)

    def abort(
        self,
        write_id: str,
        reason: str = "aborted by a client",
        *,
        target: Optional[str] = None,
    ) -> WriteStatus:
        """Ends a write of many partitions without publishing it.

        Its tasks, if any still run, are refused from now on. A write that was already committed
        stays so, and the answer says it.
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
        # A connection refuses messages above the size it was made with, and only the server knows
        # that size: so streams have another connection than the call that asks.
        if self._data is None:
            info = self._control.action(
                "info", "InfoRequest", {}, retry_seconds=self._endpoint.retry_seconds
            )
            self._max_message_bytes = int(info.get("maxMessageBytes", 0)) or DEFAULT_MESSAGE_BYTES
            self._data = self._endpoint.connect(self._max_message_bytes)
        return self._data
