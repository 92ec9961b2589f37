"""Tasks of the data source in the JVM: answers that are lost, and memory that is given back."""

from __future__ import annotations

import os

import pytest
from conftest import Database, Server, losing_replies_to
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
    used = []
    for partitions in (20, 500):
        df = spark.range(0, 200_000, 1, partitions).selectExpr("id", "repeat('x', 200) AS s")
        save(df, server.url)
        assert arrow.getAllocatedMemory() == 0
        used.append(direct())
    print(used, arrow.getPeakMemoryAllocation())
    assert database.count("t") == 400_000
    # Netty keeps what it has once allocated for the next task.
    assert used[1] <= used[0] + (1 << 24), used
