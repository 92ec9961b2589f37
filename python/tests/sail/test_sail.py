"""Sail: the interface of Spark Connect, without a JVM, and without the context of a task."""

from __future__ import annotations

import datetime
import decimal
from typing import Any, Callable, Iterator

import pysail.spark
import pytest
from conftest import Database, Server
from pyspark.sql import DataFrame, SparkSession

import pgflight


@pytest.fixture(scope="module")
def sail() -> Iterator[SparkSession]:
    server = pysail.spark.SparkConnectServer()
    server.start(background=True)
    _, port = server.listening_address
    session = SparkSession.builder.remote(f"sc://localhost:{port}").getOrCreate()
    pgflight.register(session)
    yield session
    session.stop()
    server.stop()


def by_format(df: DataFrame, server: Server, mode: str, **options: Any) -> None:
    spark_mode = mode if mode in ("append", "overwrite") else "append"
    writer = df.write.format("pgflight").mode(spark_mode).options(url=server.url, dbtable="t")
    if spark_mode != mode:
        writer = writer.option("writeMode", mode)
    if "keys" in options:
        writer = writer.option("keys", ", ".join(options["keys"]))
    writer.save()


def by_function(df: DataFrame, server: Server, mode: str, **options: Any) -> None:
    pgflight.write_dataframe(df, server.url, "t", mode=mode, **options)


both_ways = pytest.mark.parametrize("save", [by_format, by_function])
Save = Callable[..., None]


@both_ways
def test_rows_of_all_partitions_land_once(
    sail: SparkSession, server: Server, database: Database, save: Save
) -> None:
    database.run("CREATE TABLE t (s text, id int8)")
    df = sail.range(0, 10_000, 1, 7).selectExpr("id", "concat('row ', id) AS s")
    save(df, server, "append")
    assert database.rows("SELECT count(*), count(DISTINCT id) FROM t") == [(10_000, 10_000)]
    assert database.value("SELECT bool_and(s = 'row ' || id) FROM t")


@both_ways
def test_types_keep_their_values(
    sail: SparkSession, server: Server, database: Database, save: Save
) -> None:
    database.run(
        "CREATE TABLE t (b bool, i int4, f float8, d numeric(10, 2), s text, x bytea, day date, at timestamptz,"
        " numbers int8[], pair jsonb)"
    )
    df = sail.sql(
        "SELECT true AS b, 7 AS i, 1.5D AS f, CAST(12.25 AS DECIMAL(10, 2)) AS d, 'é' AS s, X'00ff' AS x,"
        " DATE '2026-02-28' AS day, TIMESTAMP '2026-02-28 12:30:00 UTC' AS at, array(1L, 2L) AS numbers,"
        " named_struct('a', 1) AS pair"
    )
    save(df, server, "append")
    at = datetime.datetime(2026, 2, 28, 12, 30, tzinfo=datetime.timezone.utc)
    day, cents = datetime.date(2026, 2, 28), decimal.Decimal("12.25")
    expected = (True, 7, 1.5, cents, "é", b"\x00\xff", day, at, [1, 2], {"a": 1})
    assert database.rows("SELECT * FROM t") == [expected]


@both_ways
def test_an_overwrite_replaces_the_rows_also_with_nothing(
    sail: SparkSession, server: Server, database: Database, save: Save
) -> None:
    database.run("CREATE TABLE t (id int8); INSERT INTO t VALUES (77)")
    save(sail.range(3), server, "overwrite")
    assert database.rows("SELECT id FROM t ORDER BY id") == [(0,), (1,), (2,)]
    save(sail.range(0), server, "overwrite")
    assert database.count("t") == 0


@both_ways
def test_an_upsert_replaces_the_rows_with_the_same_keys(
    sail: SparkSession, server: Server, database: Database, save: Save
) -> None:
    database.run(
        "CREATE TABLE t (id int8 PRIMARY KEY, s text); INSERT INTO t VALUES (1, 'old'), (9, 'kept')"
    )
    df = sail.range(3).selectExpr("id", "'new' AS s")
    save(df, server, "upsert", keys=["id"])
    expected = [(0, "new"), (1, "new"), (2, "new"), (9, "kept")]
    assert database.rows("SELECT id, s FROM t ORDER BY id") == expected


@both_ways
def test_a_rejected_row_keeps_all_rows_out(
    sail: SparkSession, server: Server, database: Database, save: Save
) -> None:
    database.run("CREATE TABLE t (id int8 CHECK (id < 900))")
    with pytest.raises(pgflight.DataRejected) as raised, pgflight.errors.raised_by_spark():
        save(sail.range(0, 1000, 1, 4), server, "append")
    assert raised.value.constraint == "t_id_check"
    assert database.count("t") == 0


def test_a_write_id_is_written_once(sail: SparkSession, server: Server, database: Database) -> None:
    database.run("CREATE TABLE t (id int8)")
    results = [
        pgflight.write_dataframe(sail.range(5), server.url, "t", mode="append", write_id="w")
        for _ in range(2)
    ]
    assert [result.already_committed_at is None for result in results] == [True, False]
    assert database.count("t") == 5
