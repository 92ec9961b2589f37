"""The ways that begin in Spark. All read the same Parquet files, one per partition."""

from __future__ import annotations

import functools
import os
from typing import TYPE_CHECKING, Any, Callable, Iterator

import pyarrow as pa

if TYPE_CHECKING:
    from bench.rig.job import Job

Run = Callable[[], None]


@functools.cache
def _session() -> Any:
    from pyspark.sql import SparkSession

    # A file that is never split and never shares a partition.
    whole = str(1 << 40)
    builder = (
        SparkSession.builder.master("local[*]")
        .config("spark.ui.enabled", "false")
        .config("spark.driver.memory", "2g")
        .config("spark.driver.extraJavaOptions", "-Duser.timezone=UTC")
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.sql.files.maxPartitionBytes", whole)
        .config("spark.sql.files.openCostInBytes", whole)
        .config("spark.ui.showConsoleProgress", "false")
    )
    jars = [os.environ.get(name) for name in ("BENCH_JDBC_JAR", "BENCH_SPARK_JAR")]
    builder = builder.config("spark.driver.extraClassPath", os.pathsep.join(filter(None, jars)))
    spark = builder.getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    return spark


def _frame(job: Job) -> Any:
    frame = _session().read.parquet(str(job.files.parquet(job.width)))
    found = frame.rdd.getNumPartitions()
    if found != job.width:
        raise RuntimeError(f"Spark made {found} partitions of {job.width} files")
    return frame


def _in_arrow(job: Job, consume: Callable[[Iterator[pa.RecordBatch]], None]) -> Run:
    """Consumes each partition's batches in Spark's Python processes."""
    frame = _frame(job)

    def task(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        consume(batches)
        yield pa.record_batch({"done": pa.array([1], pa.int32())})

    return lambda: _check(frame.mapInArrow(task, "done int").collect(), job)


def _check(rows: list, job: Job) -> None:
    if len(rows) != job.width:
        raise RuntimeError(f"{len(rows)} of {job.width} partitions are done")


def nothing(job: Job) -> Run:
    """The cost of Spark itself: rows reach Python and are dropped."""

    def consume(batches: Iterator[pa.RecordBatch]) -> None:
        for _ in batches:
            pass

    return _in_arrow(job, consume)


def pgpq(job: Job) -> Run:
    """Each partition by pgpq and psycopg, in a transaction of its own."""
    postgres, table = job.postgres, job.table

    def consume(batches: Iterator[pa.RecordBatch]) -> None:
        import itertools

        from bench.rig.ways import pgpq_copy

        first = next(batches, None)
        if first is not None:
            pgpq_copy(postgres, table, first.schema, itertools.chain([first], batches))

    return _in_arrow(job, consume)


def arrow_csv(job: Job) -> Run:
    """Each partition as CSV by Arrow's writer, sent by pg8000."""
    postgres, table = job.postgres, job.table

    def consume(batches: Iterator[pa.RecordBatch]) -> None:
        from bench.rig import ways

        held = list(batches)
        if held:
            ways.pg8000_copy(postgres, table, ways.arrow_csv(held, held[0].schema))

    return _in_arrow(job, consume)


def pg8000(job: Job) -> Run:
    """Each partition's rows as CSV by Python's writer, sent by pg8000."""
    frame, postgres, table = _frame(job), job.postgres, job.table

    def send(rows: Iterator[tuple]) -> None:
        from bench.rig import ways

        ways.pg8000_copy(postgres, table, ways.row_csv(rows))

    return lambda: frame.foreachPartition(send)


def jdbc(job: Job) -> Run:
    """Spark's own JDBC source, with its fastest options."""
    from urllib.parse import urlsplit

    frame, parts = _frame(job), urlsplit(job.postgres)
    url = (
        f"jdbc:postgresql://{parts.hostname}:{parts.port}{parts.path}"
        "?reWriteBatchedInserts=true&stringtype=unspecified"
    )
    writer = (
        frame.write.format("jdbc")
        .mode("append")
        .option("url", url)
        .option("dbtable", job.table)
        .option("user", parts.username or "postgres")
        .option("driver", "org.postgresql.Driver")
        .option("batchsize", 10_000)
    )
    if parts.password:
        writer = writer.option("password", parts.password)
    return lambda: writer.save()


def pgflight_create(job: Job) -> Run:
    """Exactly once, into a new table."""
    return _pgflight(job, mode="create")


def pgflight_append(job: Job) -> Run:
    """Exactly once, into an existing table."""
    return _pgflight(job, mode="append")


def datasource(job: Job) -> Run:
    """The data source in Python, in two phases."""
    from pgflight.spark.datasource import PgFlightDataSource

    class InPython(PgFlightDataSource):
        @classmethod
        def name(cls) -> str:
            return "pgflight_in_python"  # The jar has the short name.

    _session().dataSource.register(InPython)
    return _saved(job, "pgflight_in_python")


def jvm_append(job: Job) -> Run:
    """The data source in the JVM, in two phases."""
    return _saved(job, "pgflight")


def jvm_create(job: Job) -> Run:
    """The data source in the JVM, into a new table."""
    return _saved(job, "pgflight", ifExists="fail")


def _saved(job: Job, source: str, **options: str) -> Run:
    frame = _frame(job)

    def run() -> None:
        writer = frame.write.format(source).mode("append").options(url=job.pgflight, **options)
        writer.save(job.table)

    return run


def arrow_nothing(job: Job) -> Run:
    """Rows into Arrow within the JVM, which then drops them."""
    frame = _frame(job)
    return lambda: frame._jdf.toArrowBatchRdd().count()


def pgflight_direct(job: Job) -> Run:
    """Straight into the table, without the promise."""
    return _pgflight(job, mode="append", publish="direct")


def _pgflight(job: Job, **how: Any) -> Run:
    import pgflight

    frame = _frame(job)

    def run() -> None:
        result = pgflight.write_dataframe(frame, job.pgflight, job.table, **how)
        if result.row_count != job.used_rows:
            raise RuntimeError(f"pgflight says {result.row_count} rows")

    return run
