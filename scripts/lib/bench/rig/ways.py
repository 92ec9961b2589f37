"""The ways that are compared. Each prepares its rows and returns a function to time."""

from __future__ import annotations

import csv as text_csv
import io
import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Callable, Iterator, Sequence

import pyarrow as pa
from pyarrow import csv

from bench.rig import ways_spark
from bench.rig.job import Job

Run = Callable[[], None]


@dataclass(frozen=True)
class Way:
    """A way to write rows into a table."""

    name: str
    #: Its name in tables and pictures.
    title: str
    prepare: Callable[[Job], Run]
    #: Number of connections, streams or partitions.
    width: int = 1
    #: Share of the rows that it writes; its times are scaled up.
    share: float = 1.0
    #: Whether the table exists before.
    existing: bool = True
    #: Whether it runs in the Spark session that all such ways share.
    spark: bool = False
    #: Whether it writes rows at all.
    lands: bool = True
    #: Returns what is missing to run it; empty if nothing.
    missing: Callable[[], str] = lambda: ""


# ── PostgreSQL's own client ──────────────────────────────────────────────────


def _psql(job: Job) -> Run:
    parts = ["whole"] if job.width == 1 else ["first", "second"]

    def copy(part: str) -> subprocess.Popen[bytes]:
        path = job.files.binary(part)
        command = f"\\copy {job.table} FROM '{path}' (FORMAT binary)"
        arguments = [os.environ.get("PSQL", "psql"), "--no-psqlrc", "--quiet", "-c", command]
        return subprocess.Popen([*arguments, job.postgres], stdin=subprocess.DEVNULL)

    def run() -> None:
        for process in [copy(part) for part in parts]:
            if process.wait() != 0:
                raise RuntimeError("psql failed")

    return run


# ── drivers ──────────────────────────────────────────────────────────────────


def _rows(job: Job) -> pa.Table:
    """The rows, read once so that they come from memory."""
    table = job.files.table().slice(0, job.used_rows)
    for column in table.columns:
        for chunk in column.chunks:
            for buffer in chunk.buffers():
                if buffer is not None:
                    sum(memoryview(buffer)[::4096])
    return table


def _import(*modules: str) -> None:
    """Imports what a way needs before its time counts."""
    for module in modules:
        import_module(module)


def _tuples(job: Job) -> list[tuple]:
    return list(zip(*(column.to_pylist() for column in _rows(job).columns)))


def _adbc(job: Job) -> Run:
    from adbc_driver_postgresql import dbapi

    table = _rows(job)

    def run() -> None:
        with dbapi.connect(job.postgres) as connection, connection.cursor() as cursor:
            cursor.adbc_ingest(job.table, table.to_reader(), mode="append")
            connection.commit()

    return run


def _flightsql_adbc(job: Job) -> Run:
    from adbc_driver_flightsql import dbapi

    table = _rows(job)

    def run() -> None:
        with (
            dbapi.connect(job.pgflight, autocommit=True) as connection,
            connection.cursor() as cursor,
        ):
            cursor.adbc_ingest(job.table, table.to_reader(), mode="append")

    return run


def pgpq_copy(postgres: str, table: str, schema: pa.Schema, batches: Iterator) -> None:
    """Encodes batches by pgpq and sends them by psycopg."""
    import psycopg
    from pgpq import ArrowToPostgresBinaryEncoder

    encoder = ArrowToPostgresBinaryEncoder(schema)
    with (
        psycopg.connect(postgres) as connection,
        connection.cursor().copy(f"COPY {table} FROM STDIN (FORMAT binary)") as copy,
    ):
        copy.write(encoder.write_header())
        for batch in batches:
            copy.write(encoder.write_batch(batch))
        copy.write(encoder.finish())


def _pgpq(job: Job) -> Run:
    _import("psycopg", "pgpq")
    table = _rows(job)
    return lambda: pgpq_copy(job.postgres, job.table, table.schema, iter(table.to_batches()))


def _psycopg_tuples(job: Job, binary: bool) -> Run:
    import psycopg

    rows = _tuples(job)
    types = [
        kind.partition("(")[0].replace("double precision", "float8")
        for kind in job.columns.values()
    ]

    def run() -> None:
        form = "(FORMAT binary)" if binary else ""
        with (
            psycopg.connect(job.postgres) as connection,
            connection.cursor().copy(f"COPY {job.table} FROM STDIN {form}") as copy,
        ):
            if binary:
                copy.set_types(types)
            for row in rows:
                copy.write_row(row)

    return run


def pg8000_copy(postgres: str, table: str, stream: io.IOBase) -> None:
    """Sends CSV by pg8000."""
    from urllib.parse import urlsplit

    import pg8000.dbapi

    parts = urlsplit(postgres)
    connection = pg8000.dbapi.connect(
        parts.username or "postgres",
        host=parts.hostname or "127.0.0.1",
        port=parts.port or 5432,
        password=parts.password,
        database=parts.path.lstrip("/"),
    )
    try:
        connection.cursor().execute(f"COPY {table} FROM STDIN (FORMAT csv)", stream=stream)
        connection.commit()
    finally:
        connection.close()


def arrow_csv(batches: Sequence[pa.RecordBatch], schema: pa.Schema) -> io.BytesIO:
    """Batches as CSV, by Arrow's writer."""
    stream = io.BytesIO()
    with csv.CSVWriter(stream, schema, write_options=csv.WriteOptions(include_header=False)) as out:
        for batch in batches:
            out.write_batch(batch)
    stream.seek(0)
    return stream


def row_csv(rows: Iterator[tuple]) -> io.StringIO:
    """Rows as CSV, by Python's writer."""
    stream = io.StringIO()
    text_csv.writer(stream).writerows(rows)
    stream.seek(0)
    return stream


def _pg8000_csv(job: Job) -> Run:
    _import("pg8000.dbapi")
    table = _rows(job)
    return lambda: pg8000_copy(job.postgres, job.table, arrow_csv(table.to_batches(), table.schema))


def _pg8000_tuples(job: Job) -> Run:
    _import("pg8000.dbapi")
    rows = _tuples(job)
    return lambda: pg8000_copy(job.postgres, job.table, row_csv(iter(rows)))


def _duckdb_extension() -> Path | None:
    package = find_spec("duckdb_extension_postgres_scanner")
    if package is None or package.origin is None:
        return None
    return next(Path(package.origin).parent.rglob("*.duckdb_extension"), None)


def _duckdb(job: Job) -> Run:
    import duckdb

    rows = _rows(job)
    connection = duckdb.connect(config={"allow_unsigned_extensions": "true"})
    connection.execute("SET TimeZone = 'UTC'")
    connection.load_extension(str(_duckdb_extension()))
    connection.register("rows", rows)

    def run() -> None:
        connection.execute(f"ATTACH '{job.postgres}' AS pg (TYPE postgres)")
        connection.execute(f"INSERT INTO pg.public.{job.table} SELECT * FROM rows")
        connection.execute("DETACH pg")

    return run


# ── pgflight, without Spark ──────────────────────────────────────────────────


def _pgflight(job: Job, mode: str = "append") -> Run:
    import pgflight

    table = _rows(job)
    rows, width = table.num_rows, job.width
    parts = [
        table.slice(rows * n // width, rows * (n + 1) // width - rows * n // width)
        for n in range(width)
    ]

    def send(part: pa.Table) -> None:
        with pgflight.connect(job.pgflight) as client:
            client.write(part, job.table, mode=mode)

    def run() -> None:
        with ThreadPoolExecutor(width) as pool:
            list(pool.map(send, parts))

    return run


# ── all of them ──────────────────────────────────────────────────────────────


def _no_duckdb() -> str:
    return "" if _duckdb_extension() else "DuckDB's postgres extension is in no package here"


def _no_jdbc() -> str:
    return "" if os.environ.get("BENCH_JDBC_JAR") else "there is no JDBC driver for PostgreSQL here"


def _no_jar() -> str:
    return "" if os.environ.get("BENCH_SPARK_JAR") else "there is no Maven to build spark/ here"


def _spark(name: str, title: str, prepare: Callable[[Job], Run], **more: Any) -> list[Way]:
    return [
        Way(
            f"{name}-{width}",
            f"{title}, {width} partitions",
            prepare,
            width=width,
            spark=True,
            **more,
        )
        for width in (2, 4)
    ]


#: The first one is the baseline.
WAYS = {
    way.name: way
    for way in [
        Way("psql-1", "psql, ready-made binary file", _psql),
        Way("psql-2", "psql, ready-made binary files, 2 connections", _psql, width=2),
        Way("pgflight-1", "pyarrow + pgflight, one stream", _pgflight),
        Way("pgflight-2", "pyarrow + pgflight, 2 streams", _pgflight, width=2),
        Way(
            "pgflight-create",
            "pyarrow + pgflight, one stream, new table",
            lambda job: _pgflight(job, "create"),
            existing=False,
        ),
        Way("flightsql-adbc", "ADBC's Flight SQL driver + pgflight", _flightsql_adbc),
        Way("duckdb", "DuckDB's postgres extension", _duckdb, missing=_no_duckdb),
        Way("pgpq", "pgpq + psycopg COPY", _pgpq),
        Way("adbc", "ADBC's PostgreSQL driver", _adbc),
        Way(
            "psycopg-binary",
            "psycopg, binary COPY of tuples",
            lambda job: _psycopg_tuples(job, True),
            share=0.1,
        ),
        Way(
            "psycopg-text",
            "psycopg, text COPY of tuples",
            lambda job: _psycopg_tuples(job, False),
            share=0.1,
        ),
        Way("pg8000-csv", "pg8000 COPY of Arrow's CSV", _pg8000_csv),
        Way("pg8000-tuples", "pg8000 COPY of tuples as CSV", _pg8000_tuples, share=0.1),
        *_spark("spark-nothing", "Spark mapInArrow into nothing", ways_spark.nothing, lands=False),
        *_spark(
            "spark-pgflight",
            "Spark + pgflight, exactly-once create",
            ways_spark.pgflight_create,
            existing=False,
        ),
        *_spark(
            "spark-pgflight-append",
            "Spark + pgflight, exactly-once append",
            ways_spark.pgflight_append,
        ),
        *_spark(
            "spark-arrow-nothing",
            "Spark rows into Arrow in the JVM, into nothing",
            ways_spark.arrow_nothing,
            lands=False,
        ),
        *_spark("spark-datasource", "Spark + pgflight's source in Python", ways_spark.datasource),
        *_spark(
            "spark-jvm",
            "Spark + pgflight's source in the JVM, exactly-once create",
            ways_spark.jvm_create,
            existing=False,
            missing=_no_jar,
        ),
        *_spark(
            "spark-jvm-append",
            "Spark + pgflight's source in the JVM, exactly-once append",
            ways_spark.jvm_append,
            missing=_no_jar,
        ),
        *_spark("spark-pgflight-direct", "Spark + pgflight, direct", ways_spark.pgflight_direct),
        *_spark("spark-pgpq", "Spark mapInArrow + pgpq + psycopg", ways_spark.pgpq),
        *_spark("spark-csv", "Spark mapInArrow + pg8000 COPY of CSV", ways_spark.arrow_csv),
        *_spark(
            "spark-jdbc", "Spark JDBC, reWriteBatchedInserts", ways_spark.jdbc, missing=_no_jdbc
        ),
        *_spark("spark-pg8000", "Spark rows + pg8000 COPY of CSV", ways_spark.pg8000),
    ]
}
