"""Writes Spark frames, on Spark 3.3 and later.

One path for every release: `mapInArrow` hands the batches of a partition to a function of ours,
which sends them as one attempt and gives back the receipt as the partition's only row. The driver
collects the receipts and commits.
"""

from __future__ import annotations

import contextlib
import json
import time
import warnings
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Mapping, Optional, Sequence, Union

import pyarrow as pa

from pgflight import command, errors
from pgflight.connection import Endpoint
from pgflight.distributed import DistributedWrite, decided
from pgflight.errors import PgFlightError, PgFlightWarning, Unsupported
from pgflight.result import WriteResult
from pgflight.spark_schema import arrow_schema, has_day_time_interval, match_columns

_RECEIPT_DDL = "receipt string"
# The same in Arrow. Spark checks it only after the rows were written, and then runs the task again.
_RECEIPT_SCHEMA = pa.schema([("receipt", pa.string())])

#: Spark 3 crashes in the JVM on batches of more than about 4,000 rows with a day-time interval.
_MAX_INTERVAL_ROWS = 4000


def write_dataframe(
    df: Any,
    url: str,
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
    publish: Optional[str] = None,
    conversions: Optional[Mapping[str, Mapping[str, Any]]] = None,
    schema_evolution: Optional[str] = None,
    sync_sequences: bool = False,
    target: Optional[str] = None,
    write_id: Optional[str] = None,
    token: Optional[str] = None,
    token_file: Union[str, Path, None] = None,
    tls_root_certs: Union[bytes, str, Path, None] = None,
    retry_timeout: Union[None, int, float, str] = None,
) -> WriteResult:
    """Writes a Spark frame to PostgreSQL: all of its rows or none, however often tasks are retried.

    pgflight must be importable on the executors, and PySpark's own requirements for `mapInArrow`
    must be met: pyarrow everywhere, pandas on the driver.

    Args:
        df: A Spark DataFrame; in Structured Streaming, the one that foreachBatch hands over.
        url: The pgflight server, as the executors reach it: `grpc://host:8815`.
        table: `name` or `schema.name`, with double quotes around a name that holds a dot or a
            double quote. Names keep their case.
        mode: "append" adds to a table that exists; "create" makes it; "overwrite" replaces its
            rows, and makes it when it is missing. Keyed modes look at the rows that have the same
            keys: "upsert" replaces them or adds; "insert_if_absent" only adds; "update_only" only
            changes; "delete_by_key" removes them.
        if_exists: mode "create" only, when the table is there: "fail" (default), "append", or
            "ignore", which leaves it as it is and writes nothing.
        overwrite_with: mode "overwrite" only: "truncate" (default); "delete", which never blocks
            readers but leaves dead rows for vacuum; or "swap", which fills and indexes another table
            and puts it in the place of the old one, so that readers wait for a moment.
        create_if_missing: modes "append", "upsert" and "insert_if_absent" only: make the table when
            it is missing; in the latter two the keys are its primary key.
        column_types: PostgreSQL types for columns of a table that is made, as in
            {"fare": "numeric(12,2)"}; the other types follow from the frame.
        primary_key: the columns of the primary key of a table that is made.
        table_options: what stands behind the columns where a table is made, as in
            "WITH (fillfactor = 70) TABLESPACE fast": storage parameters and a tablespace.
        keys: keyed modes only, and there needed: the columns that identify a row. They
            must be in the data, and NULL in none of its rows.
        order_by: keyed modes only: of several rows with the same keys, the one with the greatest
            value in this column counts. Unless given, such rows are an error.
        publish: How the rows of the tasks reach the table. "staged": by way of a staging table, all at
            one moment. "two_phase", mode "append" only: they wait in the table itself, unseen, which
            costs no second write; partitions become visible within milliseconds of each other. Unless
            said, two_phase where the table and PostgreSQL's max_prepared_transactions allow it, else
            staged. "direct", mode "append" only: each task's rows are visible at once, which breaks
            the promise above: rows of a task that failed afterwards, or ran twice, stay there.
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
        target: The database, by a name that the server was configured with; its default unless given.
        write_id: A name of your own for this write, at most 128 bytes. Calling again with the same
            name and arguments writes nothing if the write was committed and returns its result, with
            `already_committed_at` and a `PgFlightWarning`: a job that is run again does not write
            twice. A job that failed may be run again under its name. The server remembers names for its `--retention` after the write has ended,
            seven days unless set otherwise.
        token: Sent with every call as `authorization: Bearer …`; it travels to the tasks. Without it and
            `token_file`, the driver's PGFLIGHT_TOKEN.
        token_file: A file that holds the token, read by driver and tasks wherever they run, for every
            connection; the token itself does not travel.
        tls_root_certs: PEM certificates to trust, as bytes or as the path of a file here.
        retry_timeout: For how long driver and tasks wait while servers or PostgreSQL are away: seconds,
            or text such as "90s" or "2min"; 60 seconds unless given. A task that has sent rows and
            lost them is not helped by that: Spark runs it again.

    Returns:
        Rows and bytes that PostgreSQL took, the seconds it took, and the write's id. In keyed modes
        these are the rows of the frame, whatever became of them.

    Raises:
        PreparedLost: when the commit was decided and another session had ended prepared transactions
            with rows of it.
        PgFlightError: one of its other subclasses. What is wrong with table, columns, types or rights is
            raised before the first task; what a task ran into is raised as it was there, with
            Spark's own exception as its cause.

    Warns:
        PgFlightWarning: when the write of this `write_id` was committed before.
        Exception: whatever Spark raised when the job failed of something else. Nothing was written.
    """
    return write_frame(
        df,
        Endpoint.parse(
            url, token, tls_root_certs, token_file=token_file, retry_timeout=retry_timeout
        ),
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
        publish=publish,
        conversions=conversions,
        schema_evolution=schema_evolution,
        sync_sequences=sync_sequences,
        target=target,
        write_id=write_id,
    )


def write_frame(
    df: Any,
    endpoint: Endpoint,
    table: str,
    mode: str,
    *,
    write_id: Optional[str] = None,
    sink: Optional[Mapping[str, Any]] = None,
    column_types: Optional[Mapping[str, str]] = None,
    conversions: Optional[Mapping[str, Mapping[str, Any]]] = None,
    **arguments: Any,
) -> WriteResult:
    """As `write_dataframe`.

    Args:
        df: The frame.
        endpoint: The server.
        table: As in `write_dataframe`.
        mode: As in `write_dataframe`.
        write_id: As in `write_dataframe`.
        sink: In place of a `write_id`: which batch of a streaming query the frame is, as
            `command.sink_batch` makes it.
        column_types: As in `write_dataframe`.
        conversions: As in `write_dataframe`.
        arguments: The other arguments of `write_dataframe` that say how to write.
    """
    started = time.monotonic()
    if df.isStreaming:
        raise Unsupported(
            "a streaming frame cannot be written at once: call write_dataframe within "
            "df.writeStream.foreachBatch(...)"
        )
    spark = df.sparkSession
    schema = arrow_schema(
        df.schema,
        time_zone=spark.conf.get("spark.sql.session.timeZone", "UTC"),
        large_types=spark.conf.get("spark.sql.execution.arrow.useLargeVarTypes", "false") == "true",
    )
    spec = command.write_spec(
        table,
        mode,
        column_types=match_columns(column_types or {}, schema.names),
        conversions=match_columns(conversions or {}, schema.names),
        **arguments,
    )
    write = DistributedWrite.begin_here(endpoint, spec, schema, write_id, sink=sink)
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
                # The commit worked and its answer was lost.
                return after.result(time.monotonic() - started)
            if after.state == "committing" and not error.decided:
                raise decided(write.write_id) from error
        found = None if isinstance(error, PgFlightError) else errors.from_text(str(error))
        if found is not None:
            raise found from error
        raise
    return status.result(time.monotonic() - started)


def register(spark: Any) -> None:
    """Makes `df.write.format("pgflight")` known to a session of Spark 4.0 or later.

    Sessions find it by themselves where pgflight is installed in the driver's Python; calling this
    is the sure way everywhere else, such as with `--py-files`. Calling it again does no harm.

    It also makes this process the driver of the session's saves: it sends heartbeats while a save runs, and aborts
    saves that are open when it ends, by Ctrl-C or SIGTERM as well. Without it, and on Spark Connect, the server aborts
    them when nothing was heard of them for its `--write-ttl`.

    Args:
        spark: A SparkSession, classic or Spark Connect.

    Raises:
        Unsupported: where Spark has no data sources in Python, as before 4.0.
    """
    try:
        from pgflight import planner
        from pgflight.datasource import PgFlightDataSource
    except ImportError as error:
        import pyspark

        raise Unsupported(
            f"PySpark {pyspark.__version__} has no Arrow data sources in Python: "
            "call pgflight.write_dataframe(df, url, table), which does the same"
        ) from error
    try:
        spark.dataSource.register(PgFlightDataSource)
    except Exception as error:
        # Spark has found it by itself, and refuses to hear of it again.
        if "DATA_SOURCE_ALREADY_EXISTS" not in str(error):
            raise
    jvm = planner.process_of_jvm(spark)
    if jvm is not None:
        planner.listen(jvm)


def _run(df: Any, write: DistributedWrite) -> List[Dict[str, Any]]:
    """Runs the job, once and to its end."""
    # The lazy frame never leaves this function: every action on it would write again.
    # mapInArrow looks columns up by name, which fails for a name with a dot or a back quote: so
    # they travel under their numbers.
    numbered = df.toDF(*[f"_{number}" for number in range(len(write.schema))])
    rows = numbered.mapInArrow(_task(write), _RECEIPT_DDL).collect()
    return [json.loads(row["receipt"]) for row in rows]


def _task(
    write: DistributedWrite,
) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    def send(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        from pyspark import TaskContext

        context = TaskContext.get()
        receipt = write.attempt(
            context.partitionId(),
            str(context.taskAttemptId()),
            (_renamed(batch, write.schema.names) for batch in batches),
        )
        column = pa.array([json.dumps(receipt)], pa.string())
        yield pa.RecordBatch.from_arrays([column], schema=_RECEIPT_SCHEMA)

    return send


def _renamed(batch: pa.RecordBatch, names: List[str]) -> pa.RecordBatch:
    fields = [field.with_name(name) for field, name in zip(batch.schema, names)]
    return pa.RecordBatch.from_arrays(batch.columns, schema=pa.schema(fields))


@contextlib.contextmanager
def _described(spark: Any, write: DistributedWrite) -> Iterator[None]:
    """Names the write in Spark's list of jobs, so that both sides can be matched."""
    if type(spark).__module__.startswith("pyspark.sql.connect"):
        yield  # There is no SparkContext to tell.
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
    """Why a write was aborted, for the server's ledger: never Spark's text, which may hold data."""
    if isinstance(error, PgFlightError):
        return f"{error.reason}: {error.message}"[:500]
    return f"the Spark job failed with {type(error).__name__}"
