"""`pgflight load` with the files that Spark writes, in both calendars of its history."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from conftest import Database, Server, binary
from pyspark.sql import SparkSession

ROWS = """
    VALUES (1, DATE'0001-01-01', TIMESTAMP'0001-01-01 00:00:00', 'a b'),
           (2, DATE'1582-10-04', TIMESTAMP'1582-10-04 12:00:00.123456', NULL),
           (3, DATE'2026-01-01', TIMESTAMP'9999-12-31 23:59:59', 'c')
    AS t (id, day, at, kind)"""


@pytest.fixture
def session(spark: SparkSession) -> SparkSession:
    """A session whose settings are its own."""
    session = spark.newSession()
    session.conf.set("spark.sql.session.timeZone", "UTC")
    return session


@pytest.mark.parametrize("times", ["INT96", "TIMESTAMP_MICROS", "TIMESTAMP_MILLIS"])
@pytest.mark.parametrize("calendar", ["CORRECTED", "LEGACY"])
def test_folders_of_spark_keep_days_and_times(
    session: SparkSession,
    database: Database,
    server: Server,
    tmp_path: Path,
    times: str,
    calendar: str,
) -> None:
    session.conf.set("spark.sql.parquet.outputTimestampType", times)
    session.conf.set("spark.sql.parquet.datetimeRebaseModeInWrite", calendar)
    session.conf.set("spark.sql.parquet.int96RebaseModeInWrite", calendar)
    frame = session.sql(f"SELECT * FROM {ROWS}")
    frame.repartition(3).write.partitionBy("kind").parquet(str(tmp_path / "t"))
    assert (tmp_path / "t/_SUCCESS").exists()
    database.run("CREATE TABLE t (id int, day date, at timestamptz, kind text)")
    command = [binary(), "load", "--server", server.url, "--to", "t", str(tmp_path / "t")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    fraction = {"TIMESTAMP_MILLIS": ".123"}.get(times, ".123456")
    at = "to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US')"
    assert database.rows(f"SELECT id, day::text, {at}, kind FROM t ORDER BY id") == [
        (1, "0001-01-01", "0001-01-01 00:00:00.000000", "a b"),
        (2, "1582-10-04", f"1582-10-04 12:00:00{fraction:0<7}", None),
        (3, "2026-01-01", "9999-12-31 23:59:59.000000", "c"),
    ]


@pytest.mark.parametrize("header", [True, False])
def test_csv_and_json_of_spark_are_loaded(
    session: SparkSession, database: Database, server: Server, tmp_path: Path, header: bool
) -> None:
    frame = session.sql("SELECT * FROM VALUES (1, ''), (2, NULL), (3, 'x\"y,\nz') AS t (id, a)")
    written = frame.coalesce(1).write.option("escape", '"').option("header", header)
    written.option("compression", "gzip").csv(str(tmp_path / "csv"))
    frame.coalesce(1).write.option("compression", "gzip").json(str(tmp_path / "json"))
    database.run("CREATE TABLE t (id int, a text)")
    options = [] if header else ["--no-header", "--columns", "id,a"]
    for folder in ["csv", "json"]:
        command = [binary(), "load", "--server", server.url, "--to", "t", str(tmp_path / folder)]
        done = subprocess.run([*command, *options], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        rows = "SELECT id, a FROM t ORDER BY id"
        assert database.rows(rows) == [(1, ""), (2, None), (3, 'x"y,\nz')], folder
        database.run("TRUNCATE t")
