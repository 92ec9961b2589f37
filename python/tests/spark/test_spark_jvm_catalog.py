"""The catalog of the data source in the JVM, on Spark 3.3 and later."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, Optional, Tuple

import pytest
from cases.jar import described, needs_jar
from conftest import Database, Server
from documented import Block, blocks, trips
from pyspark.sql import SparkSession
from pyspark.sql.functions import expr

pytestmark = needs_jar


@pytest.fixture
def pg(spark: SparkSession, server: Server, database: Database) -> Iterator[str]:
    """The name of a catalog of the test's own."""
    name = f"pg{abs(hash(server.url))}"
    spark.conf.set(f"spark.sql.catalog.{name}", "io.pgflight.spark.PgCatalog")
    spark.conf.set(f"spark.sql.catalog.{name}.url", server.url)
    yield name
    spark.conf.unset(f"spark.sql.catalog.{name}")
    spark.conf.unset(f"spark.sql.catalog.{name}.url")


def test_sql_inserts_and_overwrites(spark: SparkSession, database: Database, pg: str) -> None:
    database.run(
        "CREATE TABLE t (id int8, at timestamp, u uuid, j jsonb, tags text[], n numeric(10, 2))"
    )
    values = (
        "SELECT id, timestamp'2024-05-01 12:30:00', '00000000-0000-0000-0000-00000000000a',"
        " '{\"a\": 1}', array('x', 'y'), id / 4 FROM range(10)"
    )
    spark.sql(f"INSERT INTO {pg}.public.t {values}")
    assert database.rows(
        "SELECT count(*), sum(n)::text, min(at)::text, min(u::text), bool_and(j @> '{\"a\": 1}'), max(tags) FROM t"
    ) == [
        (
            10,
            "11.25",
            "2024-05-01 12:30:00",
            "00000000-0000-0000-0000-00000000000a",
            True,
            ["x", "y"],
        )
    ]
    spark.sql(f"INSERT OVERWRITE {pg}.public.t {values} WHERE id < 3")
    assert database.count("t") == 3


def test_a_condition_or_partitions_are_overwritten(
    spark: SparkSession, database: Database, pg: str
) -> None:
    database.run('CREATE TABLE t (id int8, "Day" date, note text, ok boolean, n numeric(10, 2))')
    days = "SELECT id, date'2026-01-01' + int(id) AS Day, 'it''s' AS note, id > 2 AS ok, id / 4 AS n FROM range(5)"
    days = days.replace("int(id) AS Day", "cast(id AS int) AS Day")
    writer = spark.sql(days)
    writer.writeTo(f"{pg}.public.t").append()
    for condition, left in [
        ("Day = date'2026-01-02' AND note = 'it''s'", "1"),
        ("Day >= date'2026-01-04' OR n <= 0.25", "0+1+3+4"),
        ("Day IN (date'2026-01-02', date'2026-01-03') AND NOT ok = true", "1+2"),
        ("note <=> 'it''s' AND id BETWEEN 1 AND 2", "1+2"),
        ("note IS NOT NULL AND id > 3", "4"),
    ]:
        before = database.count("t")
        rows = spark.sql(f"SELECT * FROM ({days}) WHERE {condition}")
        rows.writeTo(f"{pg}.public.t").overwrite(expr(condition))
        assert database.count("t") == before
        found = "SELECT string_agg(id::text, '+' ORDER BY id) FROM t WHERE xmin = (SELECT xmin FROM t ORDER BY age(xmin) LIMIT 1)"
        assert database.value(found) == left, condition
    rows = spark.sql(f"SELECT * FROM ({days}) WHERE id < 2")
    rows.writeTo(f"{pg}.public.t").option("replaceBy", "Day").overwritePartitions()
    assert database.count("t") == 5
    wrong: dict[str, Callable[[Any], None]] = {
        "option replaceBy": lambda writer: writer.overwritePartitions(),
        # Spark 3.3 says that it cannot translate the condition.
        r"not support overwrite|cannot translate": lambda writer: writer.overwrite(
            expr("length(note) = 2")
        ),
        "leave them out": lambda writer: writer.option("replaceBy", "Day").overwrite(
            expr("id = 1")
        ),
    }
    for hint, write in wrong.items():
        with pytest.raises(Exception) as raised:
            write(rows.writeTo(f"{pg}.public.t"))
        assert re.search(hint, str(raised.value))


def test_tables_and_columns_are_shown(spark: SparkSession, database: Database, pg: str) -> None:
    database.run("CREATE SCHEMA sales; CREATE TABLE sales.orders (id int8, note text)")
    tables = [row["tableName"] for row in spark.sql(f"SHOW TABLES IN {pg}.sales").collect()]
    assert tables == ["orders"]
    columns = spark.sql(f"DESCRIBE {pg}.sales.orders").collect()
    assert [(row["col_name"], row["data_type"]) for row in columns[:2]] == [
        ("id", "bigint"),
        ("note", "string"),
    ]
    namespaces = [row[0] for row in spark.sql(f"SHOW NAMESPACES IN {pg}").collect()]
    assert "sales" in namespaces


def test_create_table_as_is_all_or_nothing(
    spark: SparkSession, database: Database, pg: str
) -> None:
    spark.sql(f"CREATE TABLE {pg}.public.t AS SELECT id, 'a' AS s FROM range(100)")
    assert database.count("t") == 100
    with pytest.raises(Exception, match="already exists"):
        spark.sql(f"CREATE TABLE {pg}.public.t AS SELECT 1 AS id")
    fails = "SELECT id, IF(id > 90, raise_error('stop'), 'b') AS s FROM range(0, 100, 1, 4)"
    for name in ("t", "new"):
        with pytest.raises(Exception, match="stop"):
            spark.sql(f"CREATE OR REPLACE TABLE {pg}.public.{name} AS {fails}")
    assert database.rows("SELECT count(*), max(s) FROM t") == [(100, "a")]
    assert database.value("SELECT to_regclass('new')") is None
    spark.sql(f"CREATE OR REPLACE TABLE {pg}.public.t AS SELECT id, 'c' AS s FROM range(7)")
    assert database.rows("SELECT count(*), max(s) FROM t") == [(7, "c")]


#: Ways to make an empty or a filled table, and the rows of a table that was there, and of a missing one: None for none.
MAKES: Dict[str, Tuple[Callable[[SparkSession, str, Any], Any], int, Optional[int]]] = {
    "CREATE TABLE": (lambda spark, t, _: spark.sql(f"CREATE TABLE {t} (id bigint)"), 1, 0),
    "CREATE TABLE IF NOT EXISTS": (
        lambda spark, t, _: spark.sql(f"CREATE TABLE IF NOT EXISTS {t} (id bigint)"),
        1,
        0,
    ),
    "CREATE TABLE IF NOT EXISTS AS": (
        lambda spark, t, _: spark.sql(f"CREATE TABLE IF NOT EXISTS {t} AS SELECT 7L AS id"),
        1,
        1,
    ),
    "create": (lambda _, t, df: df.writeTo(t).create(), 1, 3),
    "createOrReplace": (lambda _, t, df: df.writeTo(t).createOrReplace(), 3, 3),
    "replace": (lambda _, t, df: df.writeTo(t).replace(), 3, None),
    "append": (lambda _, t, df: df.writeTo(t).append(), 4, None),
    "saveAsTable": (lambda _, t, df: df.write.mode("append").saveAsTable(t), 4, 3),
}


@pytest.mark.parametrize("way", MAKES)
def test_a_table_is_made_or_kept(
    spark: SparkSession, database: Database, pg: str, way: str
) -> None:
    make, kept, made = MAKES[way]
    database.run("CREATE TABLE old (id int8); INSERT INTO old VALUES (9)")
    for table, rows in (("old", kept), ("new", made)):
        refusal = "already exists"
        try:
            make(spark, f"{pg}.public.{table}", spark.range(3))
        # Spark or the catalog rejects it; PostgreSQL says what is there.
        except Exception as raised:  # noqa: BLE001
            refusal = str(raised)
        assert re.search(
            "already exists|cannot be found|not found|did not exist", refusal, re.IGNORECASE
        )
        exists = database.value("SELECT to_regclass(%s)", table) is not None
        assert (database.count(table) if exists else None) == rows, table


def test_a_table_is_written_by_its_name(spark: SparkSession, database: Database, pg: str) -> None:
    database.run("CREATE TABLE t (id int8 PRIMARY KEY, s text); INSERT INTO t VALUES (1, 'old')")
    df = spark.range(3).selectExpr("id", "'new' AS s")
    df.writeTo(f"{pg}.public.t").option("writeMode", "upsert").option("keys", "id").append()
    assert database.rows("SELECT id, s FROM t ORDER BY id") == [(0, "new"), (1, "new"), (2, "new")]


@pytest.mark.parametrize(
    ("statement", "hint"),
    [
        ("SELECT * FROM {t}", "format('jdbc')"),
        ("DELETE FROM {t} WHERE id = 1", "writeMode"),
        ("DROP TABLE {t}", "in PostgreSQL"),
        ("ALTER TABLE {t} ADD COLUMN x int", "schemaEvolution=add_columns"),
        (
            "MERGE INTO {t} t USING (SELECT 1L AS id) s ON t.id = s.id WHEN MATCHED THEN DELETE",
            "writeMode",
        ),
    ],
)
def test_what_the_catalog_cannot_do_names_what_does(
    spark: SparkSession, database: Database, pg: str, statement: str, hint: str
) -> None:
    database.run("CREATE TABLE t (id int8)")
    with pytest.raises(Exception) as raised:
        spark.sql(statement.format(t=f"{pg}.public.t")).collect()
    assert hint in str(described(raised.value).hint)


@pytest.mark.parametrize("block", blocks("jvm"), ids=lambda block: block.place)
def test_a_block_of_the_docs_writes_its_rows(
    block: Block, spark: SparkSession, server: Server, database: Database, tmp_path: Path
) -> None:
    df = trips(spark, block, tmp_path)
    df.createOrReplaceTempView("new_trips")
    block.run(server, database, tmp_path, spark=spark, df=df)
