"""Sends one stream: when the server is ready the rows, then the end record; gives back the receipt."""

from __future__ import annotations

import contextlib
import math
import threading
from typing import Any, Callable, Dict, Iterator, List, Optional

import pyarrow as pa
from pyarrow import flight

from pgflight import command, errors
from pgflight.connection import Connection
from pgflight.errors import (
    DataRejected,
    OutcomeUnknown,
    PgFlightError,
    ReceiptMissing,
    SchemaMismatch,
)
from pgflight.patience import Patience
from pgflight.rows import Rows

#: Largest batch that is sent, in bytes, where the server takes as much: large enough for speed,
#: small enough that a message does not hold up its connection or the server's memory.
MAX_BATCH_BYTES = 8 * 1024 * 1024

#: Left free of a message for what is not the batch: descriptor, headers, gRPC's framing.
_HEADROOM_BYTES = 64 * 1024

#: How long the end of a stream may take to arrive after a write has failed because of it.
_END_SECONDS = 5.0


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

    No row is sent before the server says that PostgreSQL takes rows. After an error that is retryable the stream is
    sent again, for as long as the connection's `retry_seconds` and while `rows` still has all its batches.

    Args:
        connection: A connection of its own or shared; calls on it may run beside the stream. It is
            renewed before the stream is sent again.
        descriptor: The command, as `pgflight.command` makes it: one that asks for a `Ready`.
        schema: The schema of the stream.
        rows: What to send, all of one schema. Batches without rows are left out.
        max_message_bytes: Largest message that the server takes, in bytes.
        is_write: Whether the stream commits its rows itself: then it is never sent again when it is not
            known whether it did.
        on_sent: Called after each piece that was sent, with its rows and its bytes.
        on_again: Called before the stream is sent again.

    Returns:
        The fields of the receipt, which confirms every row that was sent, or says that the write
        was `skipped`.

    Raises:
        OutcomeUnknown: `is_write`, and the connection was lost between the end record and the receipt.
        PgFlightError: when the server refused or was lost. Nothing of the stream is kept then.
        Exception: whatever `rows` raised, as it is. Nothing of the stream is kept.
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
        # No end record: so the server keeps nothing. pyarrow's `with writer` would do the same,
        # but raise what closing raised in place of what went wrong.
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
        # Read from the start: when a write fails, this tells a stream that the server has ended from
        # one that is sound, and pyarrow drops an answer that nobody was reading for by then.
        self._answers: List[bytes] = []
        self._has_answer = threading.Event()
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def wait_until_ready(self) -> Optional[Dict[str, Any]]:
        """Waits until PostgreSQL takes rows; gives the receipt where the server needs none."""
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
        """Sends a batch in pieces; yields rows and bytes of each piece after it was sent."""
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
                # Raised before anything was sent.
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
        # There is an exception under way that says more than what closing raises.
        with contextlib.suppress(*errors.TRANSPORT_ERRORS):
            self._writer.done_writing()
        # A server that waits for a turn to copy does not see this end yet.
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
        """Waits for the server's end of the stream: what it answered; raises what it raised."""
        # Closing with a read under way would be refused.
        self._listener.join()
        # A refusal shows here alone: to `read` it looks like the end of the stream.
        self._writer.close()
        return [command.parse(answer) for answer in self._answers]

    def _checked(self, receipts: List[Dict[str, Any]]) -> Dict[str, Any]:
        if len(receipts) != 1:
            raise ReceiptMissing(
                f"the server at {self._url} ended the stream with {len(receipts)} receipts "
                f"instead of one for the {self._row_count} rows sent: they do not count as written"
            )
        receipt = receipts[0]
        confirmed = int(receipt.get("rowCount", 0))
        if confirmed != self._row_count and not receipt.get("skipped"):
            raise ReceiptMissing(
                f"the server's receipt is for {confirmed} rows, but {self._row_count} were sent",
                table=receipt.get("table"),
            )
        return receipt

    def _failure(self, error: BaseException) -> PgFlightError:
        """What went wrong: writing may only say that the stream is closed; its end says why."""
        if not errors.has_details(error):
            self._listener.join(_END_SECONDS)
            if self._listener.is_alive():
                # The stream is sound: it is pyarrow that could not write this batch.
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
                f"{failure.message}; all rows had been sent, so they may be in the table or not: "
                "look before sending them again"
            )
        return failure

    def _early_end(self) -> PgFlightError:
        return ReceiptMissing(
            f"the server at {self._url} ended the stream early and gave no reason; "
            f"the {self._row_count} rows sent so far do not count as written"
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
                    f"column {number} is {found}, not {field}",
                    column=field.name,
                )
        raise SchemaMismatch(
            f"batch {self._batch_count} has {len(theirs)} columns, but the stream {len(ours)}"
        )

    def _halves(self, piece: pa.RecordBatch) -> List[pa.RecordBatch]:
        if piece.num_rows == 1:
            raise DataRejected(
                f"a row of {message_bytes(piece)} bytes does not fit into the "
                f"{self._max_message_bytes} bytes of a message that the server takes: "
                "raise the server's message limit",
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
        # Rows differ in size, so a piece may still be too large: again.
        yield from pieces(batch.slice(start, rows), limit)


def message_bytes(batch: pa.RecordBatch) -> int:
    """Size of a batch as it is sent, in bytes.

    `nbytes` would count a shared dictionary anew in every slice, so that no slice were ever small
    enough; this one is exact, and was also the faster of the two when measured.
    """
    return pa.ipc.get_record_batch_size(batch)


def empty_batch(schema: pa.Schema) -> pa.RecordBatch:
    """A batch of no rows."""
    # Not `schema.empty_table()`, which makes no extension types or dictionaries within others.
    return pa.RecordBatch.from_arrays([pa.nulls(0, type_) for type_ in schema.types], schema=schema)
