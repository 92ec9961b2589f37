"""Structured Streaming through foreachBatch, on every Spark: each batch is written exactly once."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, Callable, Dict, Optional, Set, Union

from pgflight import command
from pgflight.connection import Endpoint
from pgflight.errors import InvalidCommand, PgFlightWarning
from pgflight.spark import write_frame

#: Sinks of which it was said that their query is not known.
_warned: Set[str] = set()


def foreach_batch(
    url: str,
    table: str,
    *,
    sink_id: str,
    resume: bool = False,
    mode: str = "append",
    token: Optional[str] = None,
    token_file: Union[str, Path, None] = None,
    tls_root_certs: Union[bytes, str, Path, None] = None,
    retry_timeout: Union[None, int, float, str] = None,
    **options: Any,
) -> Callable[[Any, int], None]:
    """Makes the function for `df.writeStream.foreachBatch(…)`.

    Spark runs a batch again after a failure or a restart. The write of a batch is named by the sink
    and the number of the batch, so that a batch that was committed is recognised and not written
    twice::

        (df.writeStream
            .foreachBatch(pgflight.foreach_batch(url, "public.trips", sink_id="trips-v1"))
            .option("checkpointLocation", "s3://…/trips-v1")
            .start())

    A new checkpoint is another query, which counts its batches from 0 again. The server remembers which query
    writes to a sink, and refuses the batches of another one: they would be taken for batches that are there.

    Args:
        url: The pgflight server, as the executors reach it.
        table: As in `write_dataframe`.
        sink_id: Names this stream's output for as long as its checkpoint lives. At most 100 bytes.
        resume: Let the query take the place of the one that wrote to the sink before, as after its
            checkpoint was lost: all its batches are new ones, whatever their number.
        mode: As in `write_dataframe`.
        token: As in `write_dataframe`.
        token_file: As in `write_dataframe`.
        tls_root_certs: As in `write_dataframe`.
        retry_timeout: As in `write_dataframe`.
        options: The other arguments of `write_dataframe`, without `write_id`.

    Returns:
        A function of a frame and a batch number. It raises `Conflict` for a batch of another query.

    Raises:
        InvalidCommand: without a `sink_id`, or with a `write_id`.

    Warns:
        PgFlightWarning: once, where Spark does not say which query it is, as on Spark Connect: then batches are
            identified by their number alone, and a new checkpoint needs a new `sink_id`.
    """
    if not sink_id or len(sink_id.encode()) > 100:
        raise InvalidCommand("sink_id must name the stream's output, in at most 100 bytes")
    if "write_id" in options:
        raise InvalidCommand("foreach_batch makes the write_id of each batch: leave it out")
    endpoint = Endpoint.parse(
        url, token, tls_root_certs, token_file=token_file, retry_timeout=retry_timeout
    )

    def write(df: Any, batch_id: int) -> None:
        sink = sink_batch(sink_id, _query_id(df.sparkSession), batch_id, resume)
        write_frame(df, endpoint, table, mode, sink=sink, **options)

    return write


def sink_batch(
    sink_id: str, query_id: Optional[str], batch_id: int, resume: bool
) -> Dict[str, Any]:
    """A `SinkBatch`; warns, once for a sink, where the query is not known.

    Raises:
        InvalidCommand: for `resume` without a query.
    """
    if not query_id:
        if resume:
            raise InvalidCommand(
                "resume adopts a query, and Spark does not say which query this is: use another sink_id"
            )
        if sink_id not in _warned:
            _warned.add(sink_id)
            warnings.warn(
                f"Spark does not say which query writes to sink {sink_id!r}: its batches are identified by "
                "their number alone, and a new checkpoint needs a new sink_id",
                PgFlightWarning,
                stacklevel=3,
            )
    return command.sink_batch(sink_id, query_id or "", batch_id, resume)


def _query_id(spark: Any) -> Optional[str]:
    """The id of the streaming query whose batch this thread handles."""
    if type(spark).__module__.startswith("pyspark.sql.connect"):
        return None
    query_id: Optional[str] = spark.sparkContext.getLocalProperty("sql.streaming.queryId")
    return query_id
