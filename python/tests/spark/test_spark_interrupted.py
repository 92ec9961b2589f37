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

IS_SPARK_4 = int(pyspark.__version__.partition(".")[0]) >= 4

PROGRAM = """
import sys, time
import pyarrow as pa
from pyspark.sql import SparkSession
import pgflight

url, way = sys.argv[1:]
spark = (
    SparkSession.builder.master("local[2]")
    .config("spark.ui.enabled", "false")
    .config("spark.sql.execution.arrow.maxRecordsPerBatch", "1")
    .getOrCreate()
)

def slowly(batches):
    for number in range(600):
        time.sleep(0.2)
        yield pa.RecordBatch.from_pydict({"id": [number], "s": ["x" * 200_000]})

df = spark.range(0, 2, 1, 2).mapInArrow(slowly, "id long, s string")
if way == "save":
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

WAYS = ["write_dataframe", *(["save"] if IS_SPARK_4 else [])]


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
    process = in_process(PROGRAM, hearing.url, way)
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
        # The program ends by itself, after its last output.
        process.wait(120)
    finally:
        # Spark's JVM and workers are in the process group.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    _, said = process.communicate(timeout=60)
    assert database.count("t") == 0
    if ends_by != "SIGKILL" and way == "save":
        assert "write w is aborted" in said, said
