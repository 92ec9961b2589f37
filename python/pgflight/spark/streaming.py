"""Structured Streaming through `foreachBatch`, on every Spark: each batch is written exactly once."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, Callable, Dict, Optional, Set, Union

from pgflight.errors import InvalidCommand, PgFlightWarning
from pgflight.flight import command
from pgflight.flight.connection import Endpoint
from pgflight.options import WriteOptions, collect
from pgflight.spark.write import write_frame

#: Sinks that a warning was given for.
_warned: Set[str] = set()


def foreach_batch(
    url: str,
    table: str,
    *,
    sink_id: str,
    resume: bool = False,
    mode: Optional[str] = None,
    options: Optional[WriteOptions] = None,
    token: Optional[str] = None,
    token_file: Union[str, Path, None] = None,
    tls_root_certs: Union[bytes, str, Path, None] = None,
    tls_client_cert: Union[bytes, str, Path, None] = None,
    tls_client_key: Union[bytes, str, Path, None] = None,
    retry_timeout: Union[None, int, float, str] = None,
    **keywords: Any,
) -> Callable[[Any, int], None]:
    """Makes the function for `df.writeStream.foreachBatch(…)`.

    Spark runs a batch again after a failure or a restart. The write of a batch is named after the sink and the
    batch's number, so that the server recognises a committed batch and does not write it twice::

        (df.writeStream
            .foreachBatch(pgflight.foreach_batch(url, "public.trips", sink_id="trips-v1"))
            .option("checkpointLocation", "s3://…/trips-v1")
            .start())

    A query with a new checkpoint counts its batches from 0 again. The server remembers which query writes to a sink and
    rejects the batches of another query, since it would mistake them for batches that it has written.

    Args:
        url: The pgflight server, as the executors reach it.
        table: As in `write_dataframe`.
        sink_id: The name of this stream's output, the same for as long as its checkpoint lives. At most 100 bytes.
        resume: Whether this query replaces the one that wrote to the sink before, for example after its checkpoint
            was lost. All its batches are new then.
        mode: As in `write_dataframe`.
        options: As in `write_dataframe`.
        token: As in `write_dataframe`.
        token_file: As in `write_dataframe`.
        tls_root_certs: As in `write_dataframe`.
        tls_client_cert: As in `write_dataframe`.
        tls_client_key: As in `write_dataframe`.
        retry_timeout: As in `write_dataframe`.
        keywords: As in `write_dataframe`.

    Returns:
        A function of a frame and a batch number. It raises `Conflict` for a batch of another query.

    Raises:
        InvalidCommand: without a `sink_id`, with a `write_id`, and for wrong options.

    Warns:
        PgFlightWarning: once per sink, when Spark does not name the query, as on Spark Connect. Batches are then
            identified by their number alone, and a new checkpoint needs a new `sink_id`.
    """
    if not sink_id or len(sink_id.encode()) > 100:
        raise InvalidCommand(
            "sink_id is empty or longer than 100 bytes", hint="name the stream's output with it"
        )
    if "write_id" in keywords:
        raise InvalidCommand(
            "foreach_batch names the write of each batch itself", hint="leave write_id out"
        )
    asked = collect(options, mode, keywords)
    endpoint = Endpoint.parse(
        url,
        token,
        tls_root_certs,
        token_file=token_file,
        retry_timeout=retry_timeout,
        tls_client_cert=tls_client_cert,
        tls_client_key=tls_client_key,
    )

    def write(df: Any, batch_id: int) -> None:
        sink = sink_batch(sink_id, _query_id(df.sparkSession), batch_id, resume)
        write_frame(df, endpoint, table, asked, sink=sink)

    return write


def sink_batch(
    sink_id: str, query_id: Optional[str], batch_id: int, resume: bool
) -> Dict[str, Any]:
    """Returns a `SinkBatch`. Warns once per sink when the query is unknown.

    Raises:
        InvalidCommand: for `resume` when the query is unknown.
    """
    if not query_id:
        if resume:
            raise InvalidCommand(
                "resume needs the id of the query, which Spark does not give here",
                hint="use another sink_id",
            )
        if sink_id not in _warned:
            _warned.add(sink_id)
            warnings.warn(
                f"Spark does not say which query writes to sink {sink_id!r}. Its batches are identified by "
                "their number alone, and a new checkpoint needs a new sink_id",
                PgFlightWarning,
                stacklevel=3,
            )
    return command.sink_batch(sink_id, query_id or "", batch_id, resume)


def _query_id(spark: Any) -> Optional[str]:
    """Returns the id of the streaming query whose batch this thread handles."""
    if type(spark).__module__.startswith("pyspark.sql.connect"):
        return None
    query_id: Optional[str] = spark.sparkContext.getLocalProperty("sql.streaming.queryId")
    return query_id
