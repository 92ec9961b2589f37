"""Writes Spark frames, on Spark 3.3 and later.

All releases take the same path: `mapInArrow` passes the batches of a partition to a function, which sends them as one
attempt and returns the receipt as the partition's only row. The driver collects the receipts and commits.
"""

from __future__ import annotations

import contextlib
import json
import time
import warnings
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Mapping, Optional, Tuple, Union

import pyarrow as pa

from pgflight import errors
from pgflight.distributed import DistributedWrite, decided
from pgflight.errors import PgFlightError, PgFlightWarning, Unsupported
from pgflight.flight.connection import Endpoint
from pgflight.options import WriteOptions, collect
from pgflight.result import WriteResult
from pgflight.spark import task
from pgflight.spark.schema import (
    TIME_ZONE,
    arrow_schema,
    has_day_time_interval,
    in_session,
    matching,
)

_RECEIPT_DDL = "receipt string"
# The same in Arrow. If it differed, Spark would notice only after the rows were written, and run the task again.
_RECEIPT_SCHEMA = pa.schema([("receipt", pa.string())])

#: Spark 3 crashes in the JVM on batches of more than about 4,000 rows with a day-time interval.
_MAX_INTERVAL_ROWS = 4000


def write_dataframe(
    df: Any,
    url: str,
    table: str,
    mode: Optional[str] = None,
    *,
    options: Optional[WriteOptions] = None,
    write_id: Optional[str] = None,
    token: Optional[str] = None,
    token_file: Union[str, Path, None] = None,
    tls_root_certs: Union[bytes, str, Path, None] = None,
    tls_client_cert: Union[bytes, str, Path, None] = None,
    tls_client_key: Union[bytes, str, Path, None] = None,
    retry_timeout: Union[None, int, float, str] = None,
    **keywords: Any,
) -> WriteResult:
    """Writes all rows of a Spark frame to PostgreSQL or none, each row once, however often Spark runs a task.

    The executors must be able to import pgflight, and `mapInArrow` requires pyarrow everywhere and pandas on the
    driver.

    Args:
        df: A Spark DataFrame. In Structured Streaming, the frame that `foreachBatch` passes.
        url: The pgflight server, as the executors reach it: `grpc://host:8815`.
        table: `name` or `schema.name`, with double quotes around a name that holds a dot or a double quote. Names
            keep their case.
        mode: The mode, as `WriteOptions` has it; "append" by default.
        options: How to write. Pass either this or keywords.
        write_id: A name for this write, at most 128 bytes. If the write of this name was committed, a call with the
            same arguments writes nothing and returns its result, with `already_committed_at` and a `PgFlightWarning`.
            A job that failed may run again under its name. The server remembers a name for its `--retention` after
            the write has ended, seven days by default.
        token: The token, sent with every call as `authorization: Bearer …`. It travels to the tasks. Without it and
            `token_file`, the driver's environment variable PGFLIGHT_TOKEN.
        token_file: A file that holds the token. Driver and tasks read it where they run, for every connection, and
            the token itself does not travel.
        tls_root_certs: PEM certificates to trust, as bytes or as the path of a file on the driver.
        tls_client_cert: The driver's certificate, for servers that know a principal by its certificate; likewise.
        tls_client_key: Its key; likewise. Certificate and key travel to the tasks.
        retry_timeout: How long driver and tasks wait while servers or PostgreSQL are away: seconds, or text such as
            "90s" or "2min"; 60 seconds by default. A task that has sent rows and lost its connection fails, and
            Spark runs it again.
        keywords: The fields of `WriteOptions`: `keys`, `column_types` and so on.

    Returns:
        The rows and bytes that PostgreSQL received, the seconds that the call took, and the write's id. In keyed
        modes these are the rows of the frame, however many rows of the table changed.

    Raises:
        PreparedLost: when the commit was decided, and another session had ended prepared transactions with rows of
            the write.
        PgFlightError: one of its other subclasses. What is wrong with table, columns, types or permissions is raised
            before the first task. An error of a task is raised as the task raised it, with Spark's exception as its
            cause.
        Exception: Spark's exception, when the job failed for another reason. Nothing is written then.

    Warns:
        PgFlightWarning: when the write of this `write_id` was committed before.
    """
    return write_frame(
        df,
        Endpoint.parse(
            url,
            token,
            tls_root_certs,
            token_file=token_file,
            retry_timeout=retry_timeout,
            tls_client_cert=tls_client_cert,
            tls_client_key=tls_client_key,
        ),
        table,
        collect(options, mode, keywords),
        write_id=write_id,
    )


def write_frame(
    df: Any,
    endpoint: Endpoint,
    table: str,
    options: WriteOptions,
    *,
    write_id: Optional[str] = None,
    sink: Optional[Mapping[str, Any]] = None,
) -> WriteResult:
    """Writes a frame; `write_dataframe` describes what it returns and raises.

    Args:
        df: The frame.
        endpoint: The server.
        table: The table.
        options: How to write.
        write_id: A name for the write.
        sink: In place of a `write_id`, the batch of a streaming query that the frame is, as `command.sink_batch`
            makes it.
    """
    started = time.monotonic()
    if df.isStreaming:
        raise Unsupported(
            "a streaming frame cannot be written at once",
            hint="use df.writeStream.foreachBatch(pgflight.foreach_batch(...))",
        )
    spark = df.sparkSession
    time_zone = spark.conf.get(TIME_ZONE, "UTC")
    options = in_session(options, lambda: time_zone)
    schema = arrow_schema(
        df.schema,
        time_zone=time_zone,
        large_types=spark.conf.get("spark.sql.execution.arrow.useLargeVarTypes", "false") == "true",
    )
    write = DistributedWrite.begin_here(
        endpoint, table, schema, matching(options, schema.names), write_id, sink=sink
    )
    if write.is_committed:
        if write.status.is_repeated and sink is None:
            warnings.warn(write.status.repeated_line, PgFlightWarning, stacklevel=3)
        return write.status.result(time.monotonic() - started)
    try:
        with _described(spark, write), _small_batches(spark, schema):
            receipts = _run(df, write)
        # A frame without partitions runs no task.
        status = write.commit(receipts, allow_no_receipts=not receipts)
    except BaseException as error:
        after = write.abort_quietly(_reason(error))
        if isinstance(error, PgFlightError) and after is not None:
            if after.state == "committed":
                # The commit succeeded and its answer was lost.
                return after.result(time.monotonic() - started)
            if after.state == "committing" and not error.decided:
                raise decided(write.write_id) from error
        found = None if isinstance(error, PgFlightError) else errors.from_text(str(error))
        if found is not None:
            raise found from error
        raise
    return status.result(time.monotonic() - started)


def register(spark: Any) -> None:
    """Registers `df.write.format("pgflight")` in a session of Spark 4.0 or later.

    A session finds the data source by itself if pgflight is installed in the driver's Python. It needs this call in all
    other cases, such as with `--py-files`. A second call changes nothing.

    The call also makes this process the driver of the session's saves. It sends heartbeats while a save runs, and
    aborts open saves when it ends, also by Ctrl-C or SIGTERM. Without the call, and on Spark Connect, the server aborts
    them when it has heard nothing of them for its `--write-ttl`.

    Args:
        spark: A SparkSession, classic or Spark Connect.

    Raises:
        Unsupported: before Spark 4.0, which has no data sources in Python.
    """
    try:
        from pgflight.spark import planner
        from pgflight.spark.datasource import PgFlightDataSource
    except ImportError as error:
        import pyspark

        raise Unsupported(
            f"PySpark {pyspark.__version__} has no Arrow data sources in Python",
            hint="call pgflight.write_dataframe(df, url, table)",
        ) from error
    try:
        spark.dataSource.register(PgFlightDataSource)
    except Exception as error:
        # Spark has found it by itself, and rejects a second registration.
        if "DATA_SOURCE_ALREADY_EXISTS" not in str(error):
            raise
    jvm = planner.process_of_jvm(spark)
    if jvm is not None:
        planner.listen(jvm, spark)


def last_result(spark: Any) -> Optional[WriteResult]:
    """Returns the result of the last save by `df.write.format("pgflight")`.

    Args:
        spark: The session that saved, after `register`.

    Returns:
        What `write_dataframe` would have returned; None before the first save, and on Spark Connect. Saves of several
        threads follow each other in the order of their commits.
    """
    from pgflight.spark import planner

    if type(spark).__module__.startswith("pyspark.sql.connect"):
        return None
    found = [result for result in (planner.last_result(), _last_result_of_jvm(spark)) if result]
    return max(found, key=lambda kept: kept[0])[1] if found else None


def _last_result_of_jvm(spark: Any) -> Optional[Tuple[float, WriteResult]]:
    """Returns the last result of the data source in the JVM, and when, as `time.time()` has it."""
    from py4j.protocol import Py4JError

    try:
        last = spark._jvm.io.pgflight.spark.LastResult.get()
    except (Py4JError, TypeError):
        return None  # The session has no jar of pgflight.
    if last is None:
        return None
    status = last.status()
    at = status.finishedAt() if status.isRepeated() else None
    result = WriteResult(
        status.table(), status.rowCount(), status.byteCount(), last.seconds(), status.writeId(), at
    )
    return last.keptAt() / 1000, result


def _run(df: Any, write: DistributedWrite) -> List[Dict[str, Any]]:
    """Runs the job once, to its end."""
    # The lazy frame stays in this function, since every action on it would write again. Columns travel under their
    # numbers, since mapInArrow looks columns up by name and fails for names with a dot or a back quote.
    numbered = df.toDF(*[f"_{number}" for number in range(len(write.schema))])
    rows = numbered.mapInArrow(_task(write), _RECEIPT_DDL).collect()
    return [json.loads(row["receipt"]) for row in rows]


def _task(
    write: DistributedWrite,
) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    def send(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        renamed = (_renamed(batch, write.schema.names) for batch in batches)
        receipt = write.attempt(*task.identity(), renamed)
        column = pa.array([json.dumps(receipt)], pa.string())
        yield pa.RecordBatch.from_arrays([column], schema=_RECEIPT_SCHEMA)

    return send


def _renamed(batch: pa.RecordBatch, names: List[str]) -> pa.RecordBatch:
    fields = [field.with_name(name) for field, name in zip(batch.schema, names)]
    return pa.RecordBatch.from_arrays(batch.columns, schema=pa.schema(fields))


@contextlib.contextmanager
def _described(spark: Any, write: DistributedWrite) -> Iterator[None]:
    """Sets the job's description in Spark to the write's table and id."""
    if type(spark).__module__.startswith("pyspark.sql.connect"):
        yield  # It has no SparkContext.
        return
    context = spark.sparkContext
    before = context.getLocalProperty("spark.job.description")
    context.setJobDescription(f"pgflight {write.status.table} {write.write_id}")
    try:
        yield
    finally:
        context.setJobDescription(before)


@contextlib.contextmanager
def _small_batches(spark: Any, schema: pa.Schema) -> Iterator[None]:
    name = "spark.sql.execution.arrow.maxRecordsPerBatch"
    before = spark.conf.get(name)
    fits = 0 < int(before) <= _MAX_INTERVAL_ROWS
    if fits or not has_day_time_interval(schema) or not spark.version.startswith("3."):
        yield
        return
    spark.conf.set(name, str(_MAX_INTERVAL_ROWS))
    try:
        yield
    finally:
        spark.conf.set(name, before)


def _reason(error: BaseException) -> str:
    """Returns the reason of an abort for the server's ledger, without Spark's text, which may hold data."""
    if isinstance(error, PgFlightError):
        return f"{error.reason}: {error.message}"[:500]
    return f"the Spark job failed with {type(error).__name__}"
