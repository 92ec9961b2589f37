"""The data source in the JVM: lost answers, several servers, memory, Spark's own pages, and the wheel with the jar."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import zipfile
from pathlib import Path
from typing import Iterator, List

import pytest
from cases.jar import needs_jar
from conftest import ROOT, Database, Server, in_process, losing_replies_to
from pyspark.sql import DataFrame, SparkSession

pytestmark = needs_jar


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


# ── several servers ──────────────────────────────────────────────────────────


def attempts(server: Server) -> int:
    """The attempts that a server has received."""
    return sum('event="attempt" outcome="done"' in line for line in server.log)


@pytest.mark.parametrize("others", ["another replica", "an address where nothing listens"])
def test_tasks_spread_over_the_addresses_of_a_url(
    spark: SparkSession, server: Server, database: Database, closed_port: int, others: str
) -> None:
    database.run("CREATE TABLE t (id int8)")
    with Server(database.url) as replica:
        second = replica.url[7:] if others == "another replica" else f"127.0.0.1:{closed_port}"
        save(spark.range(0, 1000, 1, 40), f"{server.url},{second}")
    assert database.rows("SELECT count(*), count(DISTINCT id) FROM t") == [(1000, 1000)]
    # By chance one server gets all 40 once in a million million runs.
    found = [attempts(server), attempts(replica)]
    assert sum(found) == 40
    assert (min(found) > 0) == (others == "another replica"), found


PROGRAM = """
import os, sys
from pyspark.sql import SparkSession
import pgflight

url, hosts, table = sys.argv[1:]
spark = (
    SparkSession.builder.master("local[2]")
    .config("spark.ui.enabled", "false")
    .config("spark.jars", os.environ["PGFLIGHT_SPARK_JAR"])
    .config("spark.driver.host", "127.0.0.1")
    .config("spark.driver.extraJavaOptions", f"-Djdk.net.hosts.file={hosts}")
    .getOrCreate()
)
# A session with both sources, where it can have both.
if hasattr(spark, "dataSource"):
    pgflight.register(spark)
df = spark.range(0, 1000, 1, 40)
df.write.format("pgflight").mode("append").option("url", url).option("writeId", "w").save(table)
print("by", spark._jvm.io.pgflight.spark.LastResult.get().status().writeId())
print("result", pgflight.last_result(spark).row_count)
"""


def test_the_jar_goes_before_the_python_source_and_spreads_over_the_addresses_of_a_name(
    database: Database, tmp_path: Path
) -> None:
    database.run("CREATE TABLE t (id int8)")
    hosts = tmp_path / "hosts"
    hosts.write_text("127.0.0.1 localhost\n127.0.0.1 replicas.test\n127.0.0.2 replicas.test\n")
    with Server(database.url) as first:
        port = int(first.url.rsplit(":", 1)[1])
        with Server(database.url, port=port, host="127.0.0.2") as second:
            url = f"grpc://replicas.test:{port}"
            process = in_process(PROGRAM, url, str(hosts), "t")
            said, errors = process.communicate(timeout=240)
            assert process.returncode == 0, errors
    assert "by w\nresult 1000\n" in said
    assert database.rows("SELECT count(*), count(DISTINCT id) FROM t") == [(1000, 1000)]
    assert min(attempts(first), attempts(second)) > 0


# ── memory and metrics ───────────────────────────────────────────────────────


def test_spark_shows_the_write_with_its_rows_and_bytes(
    spark: SparkSession, server: Server, database: Database
) -> None:
    database.run("CREATE TABLE t (id int8)")
    writer = spark.range(0, 1000, 1, 4).write.format("pgflight").mode("append")
    writer.option("url", server.url).option("writeId", "shown").save("t")
    spark._jsc.sc().listenerBus().waitUntilEmpty()
    store = spark._jsparkSession.sharedState().statusStore()
    execution = store.executionsList().last()
    assert "(write shown)" in execution.physicalPlanDescription()
    values = store.executionMetrics(execution.executionId())
    metrics = execution.metrics()
    shown = {}
    for index in range(metrics.size()):
        metric = metrics.apply(index)
        if "pgflight" in metric.name():
            shown[metric.name()] = values.get(metric.accumulatorId()).get()
    assert shown["rows sent to pgflight"] == "1000"
    assert int(shown["bytes sent to pgflight"]) > 8 * 1000
    assert int(shown["milliseconds of waiting for pgflight"]) >= 0


@contextlib.contextmanager
def measured(spark: SparkSession) -> Iterator[List[int]]:
    """Yields a list that gets the bytes of Spark's Arrow memory again and again."""
    arrow = spark._jvm.org.apache.spark.sql.util.ArrowUtils.rootAllocator()
    held: List[int] = []
    done = threading.Event()

    def sample() -> None:
        while not done.wait(0.005):
            held.append(arrow.getAllocatedMemory())

    sampling = threading.Thread(target=sample)
    sampling.start()
    try:
        yield held
    finally:
        done.set()
        sampling.join()
    assert arrow.getAllocatedMemory() == 0


#: Columns, and rows of two partitions.
SHAPES = {
    "one column": (["id"], 2_000_000),
    "1000 numbers": ([f"id + {number} AS c{number}" for number in range(1000)], 2000),
    "1000 texts": ([f"'x' AS c{number}" for number in range(1000)], 2000),
    "arrays": (["array_repeat(id, 50) AS a", "array_repeat('x', 20) AS b"], 50_000),
    "long texts": (["repeat('x', 100000) AS s"], 200),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_a_task_holds_at_most_8_mib(
    spark: SparkSession, server: Server, database: Database, shape: str
) -> None:
    columns, rows = SHAPES[shape]
    df = spark.range(0, rows, 1, 2).selectExpr(*columns)
    with measured(spark) as held:
        writer = df.write.format("pgflight").mode("append").option("url", server.url)
        writer.option("createTable", "true").save("t")
    assert database.count("t") == rows
    assert 0 < max(held) <= 2 * (8 << 20)


def test_500_tasks_give_all_memory_back(
    spark: SparkSession, server: Server, database: Database
) -> None:
    direct = spark._jvm.io.netty.util.internal.PlatformDependent.usedDirectMemory
    database.run("CREATE TABLE t (id int8, s text)")
    used = []
    with measured(spark) as held:
        for partitions in (20, 500):
            df = spark.range(0, 500_000, 1, partitions).selectExpr("id", "repeat('x', 200) AS s")
            save(df, server.url)
            used.append(direct())
    assert database.count("t") == 1_000_000
    assert max(held) > 1 << 20
    # Netty keeps what it has once allocated for the next task.
    assert used[1] <= used[0] + (1 << 24), used


# ── the jar ──────────────────────────────────────────────────────────────────


def test_the_jar_holds_the_locked_dependencies_with_their_licenses() -> None:
    with zipfile.ZipFile(os.environ["PGFLIGHT_SPARK_JAR"]) as jar:
        parts = json.loads(jar.read("META-INF/sbom/pgflight-spark.cdx.json"))["components"]
        listed = jar.read("META-INF/THIRD-PARTY.txt").decode()
        names = jar.namelist()
        versions = {jar.read(name)[7] for name in names if name.endswith(".class")}
        assert b"Apache License" in jar.read("META-INF/LICENSE")
    found = {}
    for part in parts:
        name = f"{part['group']}:{part['name']}:{part['version']}"
        (found[name],) = (h["content"] for h in part["hashes"] if h["alg"] == "SHA-256")
        assert [entry["license"]["id"] for entry in part["licenses"]] == ["Apache-2.0"]
        assert name in listed
    lines = "".join(f"{name} {digest}\n" for name, digest in sorted(found.items()))
    locked = ROOT / "spark/dependencies.txt"
    assert locked.read_text() == lines, f"if the change is meant, {locked} is to be:\n{lines}"
    # The class files are for Java 8.
    assert max(versions) <= 52
    # Spark's own classes are Spark's, and so is its Arrow.
    ours = ("META-INF/", "io/pgflight/")
    assert [name for name in names if not name.startswith(ours) and not name.endswith("/")] == []


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
