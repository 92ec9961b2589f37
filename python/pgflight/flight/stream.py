"""Sends one stream: the rows once the server is ready, then the end record. Returns the receipt."""

from __future__ import annotations

import contextlib
import math
import threading
from typing import Any, Callable, Dict, Iterator, List, Optional

import pyarrow as pa
from pyarrow import flight

from pgflight import errors
from pgflight.errors import (
    DataRejected,
    OutcomeUnknown,
    PgFlightError,
    ReceiptMissing,
    SchemaMismatch,
)
from pgflight.flight import command
from pgflight.flight.connection import Connection
from pgflight.flight.patience import Patience
from pgflight.flight.rows import Rows

#: Largest batch that is sent, in bytes, if the server accepts it: large enough for speed, small enough not to block its
#: connection or fill the server's memory.
MAX_BATCH_BYTES = 8 * 1024 * 1024

#: Bytes of a message that are kept free for what is not the batch: descriptor, headers, gRPC's framing.
_HEADROOM_BYTES = 64 * 1024

#: Seconds that the end of a stream may take to arrive after a write has failed because of it.
_END_SECONDS = 5.0

_NOT_WRITTEN = "treat the rows as not written"
_ONE_SCHEMA = "give all batches the schema of the first"


def send(
    connection: Connection,
    descriptor: bytes,
    schema: pa.Schema,
    rows: Rows,
    *,
    max_message_bytes: int,
    is_write: bool = False,
    on_sent: Optional[Callable[[int, int], None]] = None,
    on_again: Optional[Callable[[], None]] = None,
) -> Dict[str, Any]:
    """Sends one stream and returns its receipt.

    It sends no row before the server says that PostgreSQL takes rows. After a retryable error it sends the stream
    again, for up to the connection's `retry_seconds` and while `rows` still has all its batches.

    Args:
        connection: The connection; other calls may use it at the same time. It is renewed before the stream is sent
            again.
        descriptor: The command, as `pgflight.flight.command` makes it, with `announce_ready`.
        schema: The schema of the stream.
        rows: The rows, all of one schema. Batches without rows are not sent.
        max_message_bytes: Largest message that the server accepts, in bytes.
        is_write: Whether the stream commits its rows itself. Such a stream is never sent again when the client cannot
            know whether it was committed.
        on_sent: Called after each piece that was sent, with its rows and bytes.
        on_again: Called before the stream is sent again.

    Returns:
        The fields of the receipt. It confirms every row that was sent, or says that the write was `skipped`.

    Raises:
        OutcomeUnknown: for `is_write`, when the connection was lost between the end record and the receipt.
        PgFlightError: when the server rejected the stream or was lost. Nothing of the stream is kept then.
        Exception: whatever `rows` raised, unchanged. Nothing of the stream is kept then.
    """
    patience = Patience(connection.retry_seconds)
    while True:
        try:
            return _send_once(
                connection, descriptor, schema, rows, max_message_bytes, is_write, on_sent
            )
        except PgFlightError as error:
            if not rows.is_whole or not patience.allows(error):
                raise
        connection.renew()
        if on_again is not None:
            on_again()


def _send_once(
    connection: Connection,
    descriptor: bytes,
    schema: pa.Schema,
    rows: Rows,
    max_message_bytes: int,
    is_write: bool,
    on_sent: Optional[Callable[[int, int], None]],
) -> Dict[str, Any]:
    stream = _Stream(connection, descriptor, schema, max_message_bytes, is_write)
    try:
        receipt = stream.wait_until_ready()
        if receipt is not None:
            return receipt
        for batch in rows:
            for size in stream.write(batch):
                if on_sent is not None:
                    on_sent(*size)
        return stream.finish()
    except BaseException:
        # Without an end record the server keeps nothing. pyarrow's `with writer` would do the same, but raise the
        # error of closing in place of this one.
        stream.close_quietly()
        raise


class _Stream:
    def __init__(
        self,
        connection: Connection,
        descriptor: bytes,
        schema: pa.Schema,
        max_message_bytes: int,
        is_write: bool,
    ) -> None:
        self._url = connection.url
        self._is_write = is_write
        self._schema = schema
        self._max_message_bytes = max_message_bytes
        self._limit = max(min(MAX_BATCH_BYTES, max_message_bytes - _HEADROOM_BYTES), 1)
        self._row_count = 0
        self._batch_count = 0
        self._empty: Optional[pa.RecordBatch] = None
        self._end_sent = False
        self._writer, self._reader = connection.put(descriptor, schema)
        # Reads from the start. When a write fails, this shows whether the server has ended the stream. And pyarrow
        # drops an answer that arrives while no thread reads.
        self._answers: List[bytes] = []
        self._has_answer = threading.Event()
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def wait_until_ready(self) -> Optional[Dict[str, Any]]:
        """Waits until PostgreSQL takes rows. Returns the receipt if the server needs no rows."""
        self._has_answer.wait()
        if self._answers and command.is_ready(self._answers[0]):
            self._answers.pop(0)
            return None
        try:
            self._writer.done_writing()
            receipts = self._receipts()
        except errors.TRANSPORT_ERRORS as error:
            raise self._failure(error) from None
        if len(receipts) == 1 and (receipts[0].get("skipped") or receipts[0].get("attemptId")):
            return receipts[0]
        raise self._early_end()

    def write(self, batch: pa.RecordBatch) -> Iterator[Any]:
        """Sends a batch in pieces. Yields the rows and bytes of each piece after it was sent."""
        self._check_schema(batch)
        if self._empty is None:
            self._empty = batch.slice(0, 0)
        if batch.num_rows == 0:
            return
        waiting = list(reversed(list(pieces(batch, self._limit))))
        while waiting:
            piece = waiting.pop()
            try:
                self._writer.write_batch(piece)
            except flight.FlightWriteSizeExceededError:
                # pyarrow raises this before it sends anything.
                waiting.extend(reversed(self._halves(piece)))
                continue
            except errors.TRANSPORT_ERRORS as error:
                raise self._failure(error) from None
            self._row_count += piece.num_rows
            self._batch_count += 1
            yield piece.num_rows, piece.nbytes

    def finish(self) -> Dict[str, Any]:
        """Sends the end record and waits for the receipt."""
        record = command.end_record(self._row_count, self._batch_count)
        empty = self._empty if self._empty is not None else empty_batch(self._schema)
        try:
            self._writer.write_with_metadata(empty, record)
            self._end_sent = True
            self._writer.done_writing()
            receipts = self._receipts()
        except errors.TRANSPORT_ERRORS as error:
            raise self._failure(error) from None
        return self._checked(receipts)

    def close_quietly(self) -> None:
        # The exception that is being handled says more than the error of closing.
        with contextlib.suppress(*errors.TRANSPORT_ERRORS):
            self._writer.done_writing()
        # A server whose stream waits for a turn to copy does not see this end yet.
        self._listener.join(_END_SECONDS)
        if not self._listener.is_alive():
            with contextlib.suppress(*errors.TRANSPORT_ERRORS):
                self._writer.close()

    def _listen(self) -> None:
        try:
            with contextlib.suppress(*errors.TRANSPORT_ERRORS):
                while (answer := self._reader.read()) is not None:
                    self._answers.append(answer.to_pybytes())
                    self._has_answer.set()
        finally:
            self._has_answer.set()

    def _receipts(self) -> List[Dict[str, Any]]:
        """Waits until the server ends the stream. Returns its answers, or raises its error."""
        # pyarrow cannot close while a read is under way.
        self._listener.join()
        # Only this raises the server's error: to `read` it looks like the end of the stream.
        self._writer.close()
        return [command.parse(answer) for answer in self._answers]

    def _checked(self, receipts: List[Dict[str, Any]]) -> Dict[str, Any]:
        if len(receipts) != 1:
            raise ReceiptMissing(
                f"the server at {self._url} sent {len(receipts)} receipts instead of one for {self._row_count} rows",
                hint=_NOT_WRITTEN,
            )
        receipt = receipts[0]
        confirmed = int(receipt.get("rowCount", 0)) + int(receipt.get("rejectedCount", 0))
        if confirmed != self._row_count and not receipt.get("skipped"):
            raise ReceiptMissing(
                f"the server's receipt is for {confirmed} rows, but {self._row_count} were sent",
                hint=_NOT_WRITTEN,
                table=receipt.get("table"),
            )
        return receipt

    def _failure(self, error: BaseException) -> PgFlightError:
        """Returns the error of a stream: a failed write only shows that it is closed, and its end has the reason."""
        if not errors.has_details(error):
            self._listener.join(_END_SECONDS)
            if self._listener.is_alive():
                # The stream still runs, so pyarrow itself could not write this batch.
                return errors.from_transport(error, self._url)
            try:
                self._receipts()
            except errors.TRANSPORT_ERRORS as better:
                error = better
            else:
                return self._early_end()
        failure = errors.from_transport(error, self._url)
        if self._is_write and self._end_sent and not errors.has_details(error):
            return OutcomeUnknown(
                f"lost the connection after all rows were sent: {failure.message}",
                hint="look whether the rows are in the table before sending them again",
            )
        return failure

    def _early_end(self) -> PgFlightError:
        return ReceiptMissing(
            f"the server at {self._url} ended the stream after {self._row_count} rows and gave no reason",
            hint=_NOT_WRITTEN,
        )

    def _check_schema(self, batch: pa.RecordBatch) -> None:
        if batch.schema.equals(self._schema):
            return
        theirs, ours = batch.schema, self._schema
        for number, field in enumerate(ours):
            if number >= len(theirs) or not theirs.field(number).equals(field):
                found = theirs.field(number) if number < len(theirs) else "missing"
                raise SchemaMismatch(
                    f"batch {self._batch_count} has another schema than the stream: "
                    f"field {number} is {found}, not {field}",
                    hint=_ONE_SCHEMA,
                    column=field.name,
                )
        raise SchemaMismatch(
            f"batch {self._batch_count} has {len(theirs)} columns, but the stream has {len(ours)}",
            hint=_ONE_SCHEMA,
        )

    def _halves(self, piece: pa.RecordBatch) -> List[pa.RecordBatch]:
        if piece.num_rows == 1:
            raise DataRejected(
                f"a row of {message_bytes(piece)} bytes exceeds the server's limit of "
                f"{self._max_message_bytes} bytes for a message",
                hint="raise the server's --max-message-size",
                row=self._row_count,
            )
        half = piece.num_rows // 2
        return [piece.slice(0, half), piece.slice(half)]


def pieces(batch: pa.RecordBatch, limit: int) -> Iterator[pa.RecordBatch]:
    """Cuts a batch into pieces of at most `limit` bytes, or of one row."""
    size = message_bytes(batch)
    if size <= limit or batch.num_rows <= 1:
        yield batch
        return
    count = min(math.ceil(size / limit), batch.num_rows)
    rows = math.ceil(batch.num_rows / count)
    for start in range(0, batch.num_rows, rows):
        # Rows differ in size, so a piece may still be too large.
        yield from pieces(batch.slice(start, rows), limit)


def message_bytes(batch: pa.RecordBatch) -> int:
    """Returns the size of a batch as it is sent, in bytes.

    `nbytes` counts a shared dictionary in every slice, so no slice would ever be small enough. This size is exact, and
    it was also faster when measured.
    """
    return pa.ipc.get_record_batch_size(batch)


def empty_batch(schema: pa.Schema) -> pa.RecordBatch:
    """Returns a batch without rows."""
    # `schema.empty_table()` fails for extension types and dictionaries within other types.
    return pa.RecordBatch.from_arrays([pa.nulls(0, type_) for type_ in schema.types], schema=schema)
