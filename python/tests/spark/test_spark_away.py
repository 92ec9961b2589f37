"""Spark jobs while PostgreSQL or all servers are away for seconds, on the installed PySpark."""

from __future__ import annotations

import os
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Callable, Iterator

import psycopg
import pyarrow as pa
import pytest
from conftest import Cluster, Server, own_postgres, wait_until
from pyspark import TaskContext
from pyspark.sql import DataFrame, SparkSession

import pgflight

#: `save` is the data source in the JVM, if PGFLIGHT_SPARK_JAR names its jar.
WAYS = ["save" if "PGFLIGHT_SPARK_JAR" in os.environ else "write_dataframe"]

PARTITIONS = 8
BATCHES = 30
ROWS_PER_BATCH = 500
ROWS = PARTITIONS * BATCHES * ROWS_PER_BATCH

#: Seconds for which PostgreSQL or the server is away: more than Spark needs to use up all tries of a task.
AWAY = 5


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with own_postgres() as cluster:
        with psycopg.connect(cluster.url, autocommit=True) as connection:
            connection.execute("CREATE TABLE t (id int8)")
        yield cluster


def ask(cluster: Cluster, sql: str) -> Any:
    with psycopg.connect(cluster.url) as connection:
        return connection.execute(sql).fetchone()


def slow_rows(spark: SparkSession) -> DataFrame:
    """Rows that take some ten seconds to compute, in more partitions than cores."""

    def slowly(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        context = TaskContext.get()
        assert context is not None
        first = context.partitionId() * BATCHES * ROWS_PER_BATCH
        for batch in range(BATCHES):
            time.sleep(0.1)
            start = first + batch * ROWS_PER_BATCH
            yield pa.RecordBatch.from_pydict({"id": pa.array(range(start, start + ROWS_PER_BATCH))})

    return spark.range(0, PARTITIONS, 1, PARTITIONS).mapInArrow(slowly, "id long")


def write(way: str, df: DataFrame, server: Server) -> None:
    # A crash loses staged rows and keeps prepared transactions.
    if way == "save":
        writer = df.write.format("pgflight").mode("append").option("publish", "two_phase")
        writer.option("url", server.url).save("t")
    else:
        pgflight.write_dataframe(df, server.url, "t", publish="two_phase")


def check(cluster: Cluster, writing: Future[None]) -> None:
    writing.result(300)
    found = ask(cluster, "SELECT count(*), count(DISTINCT id) FROM t")
    assert found == (ROWS, ROWS)
    assert ask(cluster, "SELECT count(*) FROM pg_prepared_xacts") == (0,)


def copies(cluster: Cluster) -> Callable[[], bool]:
    return lambda: ask(cluster, "SELECT count(*) FROM pg_stat_progress_copy")[0] > 0


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("moment", ["before the first row", "while rows are on their way"])
def test_a_job_goes_on_after_postgresql_was_away(
    spark: SparkSession, cluster: Cluster, moment: str, way: str
) -> None:
    with Server(cluster.url) as server, ThreadPoolExecutor(1) as pool:
        if moment == "before the first row":
            cluster.halt()
        writing = pool.submit(write, way, slow_rows(spark), server)
        if moment != "before the first row":
            wait_until(copies(cluster), 120)
            cluster.halt()
        time.sleep(AWAY)
        cluster.restart()
        check(cluster, writing)


@pytest.mark.parametrize("way", WAYS)
def test_a_job_goes_on_after_its_server_was_away(
    spark: SparkSession, cluster: Cluster, way: str
) -> None:
    with Server(cluster.url) as server, ThreadPoolExecutor(1) as pool:
        writing = pool.submit(write, way, slow_rows(spark), server)
        wait_until(copies(cluster), 120)
        server.stop(kill=True)
        time.sleep(AWAY)
        with Server(cluster.url, port=int(server.url.rsplit(":", 1)[1])):
            check(cluster, writing)
