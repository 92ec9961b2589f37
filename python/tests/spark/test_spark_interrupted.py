"""Spark jobs whose driver is interrupted or killed while tasks send rows, on the installed PySpark."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from typing import Any, Iterator

import pyspark
import pytest
from conftest import Database, Server, in_process, wait_until

PROGRAM = """
import os, sys, time
import pyarrow as pa
from pyspark.sql import SparkSession
import pgflight

url, way, rows = sys.argv[1:]
jar = os.environ.get("PGFLIGHT_SPARK_JAR", "")
spark = (
    SparkSession.builder.master("local[2]")
    .config("spark.ui.enabled", "false")
    .config("spark.jars", jar)
    .config("spark.sql.execution.arrow.maxRecordsPerBatch", "1")
    .getOrCreate()
)

def slowly(batches):
    for number in range(int(rows)):
        time.sleep(0.2)
        yield pa.RecordBatch.from_pydict({"id": [number], "s": ["x" * 200_000]})

df = spark.range(0, 2, 1, 2).mapInArrow(slowly, "id long, s string")
if way == "save":
    if not jar:
        pgflight.register(spark)
    writer = df.write.format("pgflight").mode("append").option("url", url).option("writeId", "w")
    writer.option("publish", "staged").save("t")
else:
    pgflight.write_dataframe(df, url, "t", write_id="w", publish="staged")
"""

COPIES = "SELECT count(*) FROM pg_stat_progress_copy WHERE datname = current_database()"
STAGING = (
    "SELECT count(*) FROM pg_tables WHERE schemaname = 'pgflight' AND tablename LIKE 'staging%%'"
)

#: `save` is the data source in the JVM, if PGFLIGHT_SPARK_JAR names its jar, and else the Python source of Spark 4.
if "PGFLIGHT_SPARK_JAR" in os.environ:
    WAYS = ["save"]
elif pyspark.__version__ >= "4":
    WAYS = ["write_dataframe", "save"]
else:
    WAYS = ["write_dataframe"]


def has_members(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.fixture
def hearing(database: Database) -> Iterator[Server]:
    """A server that aborts a write seconds after the last heartbeat of its driver."""
    database.run("CREATE TABLE t (id int8, s text)")
    server = Server(database.url, "--driver-ttl", "10s", "--reaper-interval", "200ms")
    yield server
    server.stop()
    print("".join(server.log))


@pytest.mark.parametrize("ends_by", ["SIGINT", "SIGINT to all", "SIGTERM", "SIGKILL"])
@pytest.mark.parametrize("way", WAYS)
def test_a_job_that_is_interrupted_leaves_nothing(
    hearing: Server,
    database: Database,
    way: str,
    ends_by: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PYSPARK_PYTHON", sys.executable)
    process = in_process(PROGRAM, hearing.url, way, "600")
    try:
        wait_until(lambda: process.poll() is not None or database.value(COPIES) == 2, 240)
        assert process.poll() is None
        if ends_by == "SIGKILL":
            beats = "SELECT count(*) FROM pgflight.heartbeat"
            wait_until(lambda: database.value(beats) == 1)
        number = getattr(signal, ends_by.split()[0])
        if ends_by.endswith("to all"):
            # A terminal sends the signal to the whole process group.
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)

        def is_aborted() -> Any:
            return database.rows("SELECT 1 FROM pgflight.write WHERE state = 'aborted'")

        # The driver itself aborts the write within seconds. If the driver was killed, the server
        # aborts it later.
        wait_until(is_aborted, 40 if ends_by == "SIGKILL" else 20)
        wait_until(lambda: database.value(STAGING) == 0, 20)
        # The program ends by itself, and its JVM after it.
        process.wait(120)
        if ends_by != "SIGKILL":
            wait_until(lambda: not has_members(process.pid), 60)
    finally:
        # Spark's JVM and workers are in the process group.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    _, said = process.communicate(timeout=60)
    assert database.count("t") == 0
    if ends_by != "SIGKILL" and way == "save":
        assert "write w is aborted" in said, said


@pytest.mark.parametrize("way", WAYS)
def test_a_job_runs_again_with_the_write_id_of_a_killed_driver(
    server: Server, database: Database, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    database.run("CREATE TABLE t (id int8, s text)")
    monkeypatch.setenv("PYSPARK_PYTHON", sys.executable)
    killed = in_process(PROGRAM, server.url, way, "600")
    try:
        wait_until(lambda: killed.poll() is not None or database.value(COPIES) == 2, 240)
        assert killed.poll() is None
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(killed.pid, signal.SIGKILL)
        killed.communicate(timeout=60)
    for _ in range(2):
        again = in_process(PROGRAM, server.url, way, "3")
        _, said = again.communicate(timeout=240)
        assert again.returncode == 0, said
        assert database.count("t") == 6
