"""Spark jobs while PostgreSQL or all servers are away for seconds, on the installed PySpark."""

from __future__ import annotations

import time
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any, Callable, Iterator

import psycopg
import pyarrow as pa
import pytest
from conftest import Cluster, Server, own_postgres, wait_until
from pyspark import TaskContext
from pyspark.sql import DataFrame, SparkSession

import pgflight

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


def check(cluster: Cluster, writing: Future[Any]) -> None:
    assert writing.result(300).row_count == ROWS
    found = ask(cluster, "SELECT count(*), count(DISTINCT id) FROM t")
    assert found == (ROWS, ROWS)
    assert ask(cluster, "SELECT count(*) FROM pg_prepared_xacts") == (0,)


def copies(cluster: Cluster) -> Callable[[], bool]:
    return lambda: ask(cluster, "SELECT count(*) FROM pg_stat_progress_copy")[0] > 0


@pytest.mark.parametrize("moment", ["before the first row", "while rows are on their way"])
def test_a_job_goes_on_after_postgresql_was_away(
    spark: SparkSession, cluster: Cluster, moment: str
) -> None:
    # A crash loses staged rows and keeps prepared transactions.
    write = partial(pgflight.write_dataframe, publish="two_phase")
    with Server(cluster.url) as server, ThreadPoolExecutor(1) as pool:
        if moment == "before the first row":
            cluster.halt()
        writing = pool.submit(write, slow_rows(spark), server.url, "t")
        if moment != "before the first row":
            wait_until(copies(cluster), 120)
            cluster.halt()
        time.sleep(AWAY)
        cluster.restart()
        check(cluster, writing)


def test_a_job_goes_on_after_its_server_was_away(spark: SparkSession, cluster: Cluster) -> None:
    with Server(cluster.url) as server, ThreadPoolExecutor(1) as pool:
        writing = pool.submit(pgflight.write_dataframe, slow_rows(spark), server.url, "t")
        wait_until(copies(cluster), 120)
        server.stop(kill=True)
        time.sleep(AWAY)
        with Server(cluster.url, port=int(server.url.rsplit(":", 1)[1])):
            check(cluster, writing)
