"""Structured Streaming through foreachBatch, on every Spark: each batch is written exactly once."""

from __future__ import annotations

from typing import Any, Callable

from pgflight.errors import InvalidCommand
from pgflight.spark import write_dataframe


def foreach_batch(
    url: str, table: str, *, sink_id: str, mode: str = "append", **options: Any
) -> Callable[[Any, int], None]:
    """Makes the function for `df.writeStream.foreachBatch(…)`.

    Spark runs a batch again after a failure or a restart. The write of a batch is named by the sink
    and the number of the batch, so that a batch that was committed is recognised and not written
    twice::

        (df.writeStream
            .foreachBatch(pgflight.foreach_batch(url, "public.trips", sink_id="trips-v1"))
            .option("checkpointLocation", "s3://…/trips-v1")
            .start())

    Args:
        url: The pgflight server, as the executors reach it.
        table: As in `write_dataframe`.
        sink_id: Names this stream's output for as long as its checkpoint lives; a new checkpoint
            counts its batches from 0 again and needs a new one. At most 100 bytes.
        mode: As in `write_dataframe`.
        options: The other arguments of `write_dataframe`, without `write_id`.

    Returns:
        A function of a frame and a batch number.

    Raises:
        InvalidCommand: without a `sink_id`, or with a `write_id`.
    """
    if not sink_id or len(sink_id.encode()) > 100:
        raise InvalidCommand("sink_id must name the stream's output, in at most 100 bytes")
    if "write_id" in options:
        raise InvalidCommand("foreach_batch makes the write_id of each batch: leave it out")

    def write(df: Any, batch_id: int) -> None:
        write_dataframe(df, url, table, mode, write_id=f"{sink_id}:{batch_id}", **options)

    return write
