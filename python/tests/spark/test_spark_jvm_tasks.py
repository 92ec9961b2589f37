"""The data source in the JVM: answers that are lost, memory that is given back, and the wheel with its jar."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import pytest
from conftest import ROOT, Database, Server, losing_replies_to
from pyspark.sql import DataFrame, SparkSession

pytestmark = pytest.mark.skipif(
    "PGFLIGHT_SPARK_JAR" not in os.environ, reason="PGFLIGHT_SPARK_JAR names no jar"
)


def save(df: DataFrame, url: str, mode: str = "append") -> None:
    df.write.format("pgflight").mode(mode).option("url", url).save("t")


def test_a_commit_whose_answers_are_lost_lands_once(
    spark: SparkSession, server: Server, database: Database
) -> None:
    database.run("CREATE TABLE t (id int8)")
    with losing_replies_to(b"CommitRequest", server) as url:
        save(spark.range(0, 100, 1, 4), url)
    assert database.rows("SELECT count(*), count(DISTINCT id) FROM t") == [(100, 100)]


@pytest.mark.parametrize("mode", ["append", "overwrite"])
def test_an_attempt_whose_answer_is_lost_lands_once(
    spark: SparkSession, server: Server, database: Database, mode: str
) -> None:
    database.run("CREATE TABLE t (id int8)")
    with losing_replies_to(b"EndRecord", server, b"Receipt", times=2) as url:
        save(spark.range(0, 100, 1, 4), url, mode)
    assert database.rows("SELECT count(*), count(DISTINCT id) FROM t") == [(100, 100)]


def test_500_tasks_give_all_memory_back(
    spark: SparkSession, server: Server, database: Database
) -> None:
    arrow = spark._jvm.org.apache.spark.sql.util.ArrowUtils.rootAllocator()
    direct = spark._jvm.io.netty.util.internal.PlatformDependent.usedDirectMemory
    database.run("CREATE TABLE t (id int8, s text)")
    used, held = [], []
    done = threading.Event()

    def sample() -> None:
        while not done.wait(0.01):
            held.append(arrow.getAllocatedMemory())

    sampling = threading.Thread(target=sample)
    sampling.start()
    for partitions in (20, 500):
        df = spark.range(0, 500_000, 1, partitions).selectExpr("id", "repeat('x', 200) AS s")
        save(df, server.url)
        assert arrow.getAllocatedMemory() == 0
        used.append(direct())
    done.set()
    sampling.join()
    assert database.count("t") == 1_000_000
    # Two tasks at a time, each with a batch of 2 MiB in buffers of powers of two.
    assert 1 << 20 < max(held) < 2 * (8 << 20)
    # Netty keeps what it has once allocated for the next task.
    assert used[1] <= used[0] + (1 << 24), used


def test_a_wheel_carries_the_jar(tmp_path: Path) -> None:
    jar = os.environ["PGFLIGHT_SPARK_JAR"]
    command = [str(ROOT / "scripts/wheel"), "--jar", jar, str(tmp_path)]
    environment = {**os.environ, "PYTHON": sys.executable}
    made = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    zipfile.ZipFile(made.stdout.strip()).extractall(tmp_path / "installed")
    program = "import pgflight; print(pgflight.spark_jar())"
    environment["PYTHONPATH"] = str(tmp_path / "installed")
    found = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    )
    assert Path(found.stdout.strip()).read_bytes() == Path(jar).read_bytes()
