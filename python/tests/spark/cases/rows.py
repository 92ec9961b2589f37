"""Tests of every way to write a Spark frame. Classes that inherit them run them."""

from __future__ import annotations

import datetime
import time
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any, Dict, Iterator, Optional, Tuple

import psutil
import pyarrow as pa
import pytest
from conftest import Database, Server, wait_until
from flights import COLUMNS as FLIGHTS
from flights import differences, flights_csv, make_flights
from pyspark import TaskContext
from pyspark.sql import DataFrame, SparkSession

import pgflight


class SparkCases:
    """Subclasses define how a frame is written and how an error reaches the caller."""

    def save(self, df: DataFrame, server: Server, table: str, mode: str, **options: Any) -> None:
        """Writes a frame, with the options of `write_dataframe`."""
        raise NotImplementedError

    def refusal(self, df: DataFrame, server: Server, table: str, mode: str, **options: Any) -> Any:
        """Writes a frame that must be rejected, and returns pgflight's exception."""
        raise NotImplementedError

    # ── rows ─────────────────────────────────────────────────────────────────

    def test_all_rows_of_all_partitions_land_once(
        self, spark: SparkSession, server: Server, database: Database
    ) -> None:
        database.run("CREATE TABLE t (name text, id int8)")
        # The table has the columns in another order, since they are matched by name.
        df = spark.range(0, 100_000, 1, 7).selectExpr("id", "concat('row ', id) AS name")
        self.save(df, server, "public.t", "append")
        assert database.rows("SELECT count(*), count(DISTINCT id), sum(id) FROM t") == [
            (100_000, 100_000, 99_999 * 50_000)
        ]
        assert database.value("SELECT bool_and(name = 'row ' || id) FROM t")

    def test_rows_go_to_the_target_that_is_named(
        self, spark: SparkSession, targets: Server, database: Database, other: Database
    ) -> None:
        for made in (database, other):
            made.run("CREATE TABLE t (id int8)")
        self.save(spark.range(0, 10, 1, 3), targets, "t", "append", target="other")
        assert (database.count("t"), other.count("t")) == (0, 10)
        found = self.refusal(spark.range(1), targets, "t", "append", target="third")
        assert "first, other" in str(found)

    def test_changes_in_an_envelope_are_applied(
        self, spark: SparkSession, server: Server, database: Database
    ) -> None:
        database.run(
            "CREATE TABLE t (id int8 PRIMARY KEY, s text); INSERT INTO t VALUES (0, 'x'), (1, 'x')"
        )
        rows = "struct<id: bigint, s: string>"
        df = spark.range(0, 4, 1, 2).selectExpr(
            f"CAST(IF(id < 2, named_struct('id', id, 's', NULL), NULL) AS {rows}) AS before",
            f"CAST(IF(id > 0, named_struct('id', id, 's', 'new'), NULL) AS {rows}) AS after",
            "CASE WHEN id = 0 THEN 'd' WHEN id = 1 THEN 'u' ELSE 'c' END AS op",
            "named_struct('lsn', id) AS source",
        )
        self.save(df, server, "t", "upsert", envelope="debezium")
        expected = [(1, "new"), (2, "new"), (3, "new")]
        assert database.rows("SELECT id, s FROM t ORDER BY id") == expected

    def test_statements_run_around_the_rows(
        self, spark: SparkSession, with_statements: Server, database: Database
    ) -> None:
        database.run(
            "CREATE TABLE t (id int8); CREATE TABLE log (n int8);"
            "CREATE MATERIALIZED VIEW totals AS SELECT count(*) AS n FROM t"
        )
        df = spark.range(0, 10, 1, 3)
        around = {"before": ["log"], "after": ["log", "refresh"]}
        self.save(df, with_statements, "t", "append", **around)
        assert database.rows("SELECT n FROM log ORDER BY n") == [(0,), (10,)]
        assert database.value("SELECT n FROM totals") == 10

    def test_every_type_keeps_its_value(
        self, spark: SparkSession, server: Server, database: Database
    ) -> None:
        types = dict(TYPES)
        if spark.version.startswith("3.3."):
            # It has no such literals yet.
            del types["at_ntz"]
        row = ", ".join(f"{value} AS {name}" for name, (value, _, _) in types.items())
        df = spark.sql(f"SELECT {row} UNION ALL SELECT 2{', NULL' * (len(types) - 1)}")
        self.save(df, server, "t", "append", create_if_missing=True)
        landed = tuple(value for _, _, value in types.values())
        empty = (2,) + (None,) * (len(types) - 1)
        assert database.rows("SELECT * FROM t ORDER BY id") == [landed, empty]
        made = database.rows(
            "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute"
            " WHERE attrelid = 't'::regclass AND attnum > 0 ORDER BY attnum"
        )
        assert made == [(name, kind) for name, (_, kind, _) in types.items()]

    def test_flights_land_as_postgresql_reads_them(
        self, spark: SparkSession, server: Server, database: Database, tmp_path: Path
    ) -> None:
        text = flights_csv()
        make_flights(database, text)
        path = tmp_path / "flights.csv"
        path.write_text(text)
        kinds = {"integer": "INT", "text": "STRING", "double precision": "DOUBLE"}
        schema = ", ".join(
            f"{name} {kinds.get(kind, 'TIMESTAMP')}" for name, kind in FLIGHTS.items()
        )
        reader = spark.read.schema(schema).option("nullValue", "NA").option("mode", "FAILFAST")
        df = reader.option("header", True).csv(str(path)).repartition(3)
        self.save(df, server, "flights", "append")
        assert differences(database) == 0

    def test_types_may_be_named_in_any_case(
        self, spark: SparkSession, server: Server, database: Database
    ) -> None:
        df = spark.sql("SELECT 'x' AS Code, 1.50 AS fare")
        self.save(
            df, server, "t", "overwrite", column_types={"code": "varchar(8)", "fare": "numeric"}
        )
        assert database.rows('SELECT "Code", fare FROM t') == [("x", Decimal("1.50"))]

    def test_columns_may_have_any_name(
        self, spark: SparkSession, server: Server, database: Database
    ) -> None:
        df = spark.range(1).toDF("a.b").selectExpr("`a.b`", "2 AS `tick``s`", '3 AS `say "x"`')
        self.save(df, server, "t", "append", create_if_missing=True)
        assert database.rows('SELECT "a.b", "tick`s", "say ""x""" FROM t') == [(0, 2, 3)]

    def test_wide_rows_are_cut_to_the_size_of_a_message(
        self, spark: SparkSession, server: Server, database: Database
    ) -> None:
        # 100 MB in one batch.
        df = spark.range(0, 10_000, 1, 1).selectExpr("id", "repeat('x', 10000) AS s")
        self.save(df, server, "t", "append", create_if_missing=True)
        assert database.rows("SELECT count(*), sum(length(s)) FROM t") == [(10_000, 100_000_000)]

    def test_day_time_intervals_pass_in_large_batches(
        self, spark: SparkSession, server: Server, database: Database
    ) -> None:
        df = spark.range(0, 20_000, 1, 2).selectExpr("make_dt_interval(0, 0, 0, id) AS i")
        self.save(df, server, "t", "append", create_if_missing=True)
        assert database.rows("SELECT count(*), sum(i) FROM t") == [
            (20_000, datetime.timedelta(seconds=19_999 * 10_000))
        ]

    # ── frames without rows ──────────────────────────────────────────────────

    def test_an_empty_frame_appends_nothing(
        self, spark: SparkSession, server: Server, database: Database
    ) -> None:
        database.run("CREATE TABLE t (id int8); INSERT INTO t VALUES (1)")
        self.save(spark.range(10).where("id < 0"), server, "t", "append")
        assert database.rows("SELECT id FROM t") == [(1,)]

    def test_an_empty_frame_makes_a_missing_table(
        self, spark: SparkSession, server: Server, database: Database
    ) -> None:
        self.save(spark.range(0), server, "t", "append", create_if_missing=True)
        assert database.rows("SELECT id FROM t") == []

    @pytest.mark.parametrize("partitions", ["empty", "none"])
    def test_overwriting_with_nothing_empties_the_table(
        self, spark: SparkSession, server: Server, database: Database, partitions: str
    ) -> None:
        database.run("CREATE TABLE t (id int8); INSERT INTO t VALUES (1)")
        nothing = spark.range(10).where("id < 0")
        if partitions == "none":
            empty = spark.sparkContext.emptyRDD()
            nothing = spark.createDataFrame(empty, nothing.schema)
            assert nothing.rdd.getNumPartitions() == 0
        self.save(nothing, server, "t", "overwrite")
        assert database.count("t") == 0

    # ── modes ────────────────────────────────────────────────────────────────

    @pytest.mark.parametrize("overwrite_with", ["truncate", "delete", "swap"])
    def test_overwrite_replaces_the_rows_and_keeps_the_table(
        self, spark: SparkSession, server: Server, database: Database, overwrite_with: str
    ) -> None:
        database.run("CREATE TABLE t (id int8 PRIMARY KEY); INSERT INTO t VALUES (-1)")
        oid = database.value("SELECT 't'::regclass::oid")
        df = spark.range(0, 10, 1, 3)
        self.save(df, server, "t", "overwrite", overwrite_with=overwrite_with)
        assert database.rows("SELECT id FROM t ORDER BY id") == [(n,) for n in range(10)]
        assert (database.value("SELECT 't'::regclass::oid") == oid) == (overwrite_with != "swap")
        assert database.value("SELECT indexname FROM pg_indexes WHERE tablename = 't'") == "t_pkey"

    @pytest.mark.parametrize(
        "part",
        [{"replace_by": ["day", "part"]}, {"replace_where": "day = 1 AND part IN ('a', 'b')"}],
    )
    def test_overwrite_of_a_part_keeps_the_other_rows(
        self, spark: SparkSession, server: Server, database: Database, part: Dict[str, Any]
    ) -> None:
        database.run("CREATE TABLE t (day int8, part text, n int8)")
        database.run(
            "INSERT INTO t SELECT d, p, 1000 FROM generate_series(1, 2) d, unnest(ARRAY['a', 'b', 'c', NULL]) p"
        )
        df = spark.range(0, 100, 1, 4).selectExpr(
            "1L AS day", "IF(id % 2 = 0, 'a', 'b') AS part", "id AS n"
        )
        self.save(df, server, "t", "overwrite", **part)
        self.save(df, server, "t", "overwrite", **part)
        assert database.rows(
            "SELECT count(*), count(*) FILTER (WHERE n = 1000), sum(n) FILTER (WHERE n < 1000) FROM t"
        ) == [(106, 6, 4950)]

    def test_an_overwrite_that_fails_leaves_the_old_rows(
        self, spark: SparkSession, server: Server, database: Database
    ) -> None:
        database.run("CREATE TABLE t (id int8 CHECK (id < 50)); INSERT INTO t VALUES (-1)")
        refusal = self.refusal(spark.range(0, 100, 1, 4), server, "t", "overwrite")
        assert (refusal.reason, refusal.sqlstate) == ("DATA_REJECTED", "23514")
        assert database.rows("SELECT id FROM t") == [(-1,)]

    def test_the_same_write_id_writes_once(
        self, spark: SparkSession, server: Server, database: Database
    ) -> None:
        database.run("CREATE TABLE t (id int8)")
        for _ in range(2):
            self.save(spark.range(0, 10, 1, 2), server, "t", "append", write_id="job-7")
        assert database.count("t") == 10
        with pgflight.connect(server.url) as client:
            status = client.status("job-7")
        assert (status.state, status.row_count, status.mode) == ("committed", 10, "append")

    def test_upsert_replaces_the_rows_with_the_same_keys(
        self, spark: SparkSession, server: Server, database: Database
    ) -> None:
        old = spark.createDataFrame([(1, "old"), (99, "old")], "id bigint, s string")
        # The first one makes the table.
        self.save(old, server, "t", "upsert", keys=["id"], create_if_missing=True)
        df = spark.range(0, 10, 1, 3).selectExpr("id", "'new' AS s")
        self.save(df, server, "t", "upsert", keys=["id"], create_if_missing=True)
        assert database.rows("SELECT s, count(*) FROM t GROUP BY s ORDER BY s") == [
            ("new", 10),
            ("old", 1),
        ]

    def test_changes_are_applied(
        self, spark: SparkSession, server: Server, database: Database
    ) -> None:
        database.run("CREATE TABLE t (id int8 PRIMARY KEY, at int8, n text, gone boolean)")
        database.run("INSERT INTO t SELECT i, 10, 'old' FROM generate_series(0, 9) i")
        df = spark.range(0, 20, 1, 3).selectExpr(
            "id", "id * 2 AS at", "'new' AS n", "IF(id % 2 = 0, 'd', 'u') AS `my op`"
        )
        rules: Dict[str, Any] = {"delete_when": {"my op": ["d", "D"]}, "newer_by": "at"}
        rules.update(tombstone="gone", update_columns=["n"])
        self.save(df, server, "t", "upsert", **rules)
        found = "SELECT count(*), count(*) FILTER (WHERE gone), count(*) FILTER (WHERE n = 'old'), sum(at) FROM t"
        # Rows 0 to 5 keep their value, 6 and 8 are marked with their old text, and so are 10, 12 and so on.
        assert database.rows(found) == [(20, 7, 8, 60 + sum(range(12, 40, 2)))]

    def test_direct_publishing_puts_rows_straight_into_the_table(
        self, spark: SparkSession, server: Server, database: Database
    ) -> None:
        database.run("CREATE TABLE t (id int8)")
        self.save(spark.range(0, 1000, 1, 3), server, "t", "append", publish="direct")
        assert database.rows("SELECT count(*), count(DISTINCT id) FROM t") == [(1000, 1000)]

    # ── tasks that fail ──────────────────────────────────────────────────────

    def test_a_task_that_fails_and_is_retried_leaves_each_row_once(
        self, spark: SparkSession, server: Server, database: Database
    ) -> None:
        database.run("CREATE TABLE t (id int8)")
        self.save(attempts(spark, fail_in_python_at=45_000), server, "t", "append")
        assert database.rows("SELECT count(*), count(DISTINCT id) FROM t") == [(120_000, 120_000)]

    def test_a_task_cut_short_by_spark_writes_each_row_once(
        self, spark: SparkSession, server: Server, database: Database
    ) -> None:
        # The task fails in the JVM. Spark 4 then ends the rows without an error, so the first attempt looks complete to
        # all but Spark.
        database.run("CREATE TABLE t (id int8)")
        df = attempts(spark).selectExpr(
            "if(id = 45000 AND attempt = 0, raise_error('the file is cut short'), id) AS id"
        )
        self.save(df, server, "t", "append")
        assert database.rows("SELECT count(*), count(DISTINCT id) FROM t") == [(120_000, 120_000)]

    def test_a_job_with_killed_workers_writes_each_row_once(
        self, spark: SparkSession, server: Server, database: Database, tmp_path: Path
    ) -> None:
        database.run("CREATE TABLE t (id int8)")
        killed = tmp_path / "killed"

        def wait_to_be_killed(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            yield from batches
            deadline = time.monotonic() + 60
            while not killed.exists() and time.monotonic() < deadline:
                time.sleep(0.01)

        def kill_workers() -> int:
            # All streams are open, and none can end before the marker exists.
            copies = "SELECT count(*) FROM pg_stat_progress_copy WHERE datname = current_database()"
            wait_until(lambda: database.value(copies) == 2, 60)
            workers = python_workers(spark)
            for worker in workers:
                worker.kill()
            killed.touch()
            return len(workers)

        df = spark.range(0, 120_000, 1, 2).mapInArrow(wait_to_be_killed, "id bigint")
        with ThreadPoolExecutor(1) as pool:
            killing = pool.submit(kill_workers)
            self.save(df, server, "t", "append")
        assert killing.result() >= 2
        assert database.rows("SELECT count(*), count(DISTINCT id) FROM t") == [(120_000, 120_000)]

    def test_a_job_that_fails_for_good_leaves_nothing(
        self, spark: SparkSession, server: Server, database: Database
    ) -> None:
        database.run("CREATE TABLE t (id int8)")
        df = spark.range(0, 120_000, 1, 2).selectExpr(
            "if(id = 45000, raise_error('the file is cut short'), id) AS id"
        )
        with pytest.raises(Exception, match="the file is cut short") as raised:
            self.save(df, server, "t", "append", write_id="doomed")
        assert not isinstance(raised.value, pgflight.PgFlightError)
        assert database.count("t") == 0
        with pgflight.connect(server.url) as client:
            assert client.status("doomed").state == "aborted"

    def test_a_tasks_error_names_the_column(
        self, spark: SparkSession, server: Server, database: Database
    ) -> None:
        database.run("CREATE TABLE t (id int4)")
        df = spark.range(0, 100, 1, 2).selectExpr("id + if(id = 77, 3000000000, 0) AS id")
        refusal = self.refusal(df, server, "t", "append")
        found = (refusal.reason, refusal.sqlstate, refusal.column, refusal.row)
        assert found == ("DATA_REJECTED", "22003", "id", 27)
        assert database.count("t") == 0

    # ── errors before the first task ─────────────────────────────────────────

    @pytest.mark.parametrize(
        ("ddl", "mode", "reason", "column"),
        [
            (None, "append", "NOT_FOUND", None),
            ("other int8", "append", "SCHEMA_MISMATCH", "id"),
            ("id int8, needed int NOT NULL", "overwrite", "SCHEMA_MISMATCH", "needed"),
            ("id bytea", "append", "SCHEMA_MISMATCH", "id"),
        ],
    )
    def test_a_mistake_is_reported_before_the_first_task(
        self,
        spark: SparkSession,
        server: Server,
        database: Database,
        tmp_path: Path,
        ddl: Optional[str],
        mode: str,
        reason: str,
        column: Optional[str],
    ) -> None:
        if ddl:
            database.run(f"CREATE TABLE t ({ddl})")
        marker = str(tmp_path / "a task ran")

        def mark(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            Path(marker).touch()
            return batches

        df = spark.range(10).mapInArrow(mark, "id bigint")
        refusal = self.refusal(df, server, "t", mode)
        assert (refusal.reason, refusal.column) == (reason, column)
        assert not Path(marker).exists()

    @pytest.mark.parametrize(
        ("select", "reason", "says"),
        [
            ("1 AS a, 2 AS a", "INVALID_COMMAND", "two columns of the same name"),
            ("interval '1' month AS m", "UNSUPPORTED", "Spark's type interval"),
            (
                "array(interval '1' year) AS y",
                "UNSUPPORTED",
                "cast the column to string or to a number",
            ),
        ],
    )
    def test_types_that_spark_cannot_send_are_rejected(
        self, spark: SparkSession, server: Server, select: str, reason: str, says: str
    ) -> None:
        refusal = self.refusal(spark.sql(f"SELECT {select}"), server, "t", "overwrite")
        assert refusal.reason == reason
        assert says in str(refusal)

    def test_a_missing_server_is_reported_with_its_address(
        self, spark: SparkSession, server: Server
    ) -> None:
        server.stop()
        refusal = self.refusal(spark.range(10), server, "t", "append", retry_timeout=1)
        assert refusal.reason == "UNAVAILABLE"
        assert server.url in refusal.message


def python_workers(spark: SparkSession) -> list[psutil.Process]:
    """The processes that run Python for the tasks: children of the daemon that the JVM started."""
    daemons = psutil.Process(spark.sparkContext._gateway.proc.pid).children()
    return [worker for daemon in daemons for worker in daemon.children()]


def attempts(spark: SparkSession, fail_in_python_at: Optional[int] = None) -> DataFrame:
    """120,000 rows in two partitions, each with the number of the attempt that reads it."""

    def number(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        attempt = TaskContext.get().attemptNumber()
        for batch in batches:
            ids = batch.column(0)
            if attempt == 0 and fail_in_python_at in ids.to_pylist():
                raise RuntimeError("the first attempt fails")
            numbers = pa.array([attempt] * len(ids), pa.int32())
            yield pa.RecordBatch.from_arrays([ids, numbers], ["id", "attempt"])

    df = spark.range(0, 120_000, 1, 2).mapInArrow(number, "id bigint, attempt int")
    return df if fail_in_python_at is None else df.select("id")


#: Columns of all types: an expression of Spark SQL, the type that a table gets, and the value that lands.
TYPES: Dict[str, Tuple[str, str, Any]] = {
    "id": ("1", "integer", 1),
    "byte": ("CAST(2 AS tinyint)", "smallint", 2),
    "short": ("CAST(3 AS smallint)", "smallint", 3),
    "long": ("4L", "bigint", 4),
    "float": ("CAST(1.5 AS float)", "real", 1.5),
    "double": ("CAST(2.5 AS double)", "double precision", 2.5),
    "yes": ("true", "boolean", True),
    "dec": (
        "CAST('-12345678901234567890.123456789' AS decimal(38, 9))",
        "numeric(38,9)",
        Decimal("-12345678901234567890.123456789"),
    ),
    "text": ("'çé'", "text", "çé"),
    "bin": ("X'00ff'", "bytea", b"\x00\xff"),
    "day": ("DATE'2024-02-29'", "date", datetime.date(2024, 2, 29)),
    # The session is in Kathmandu, 5:45 ahead of UTC.
    "at": (
        "TIMESTAMP'2024-02-29 12:30:00.123456'",
        "timestamp with time zone",
        datetime.datetime(2024, 2, 29, 6, 45, 0, 123456, datetime.timezone.utc),
    ),
    "at_ntz": (
        "TIMESTAMP_NTZ'2024-02-29 12:30:00.123456'",
        "timestamp without time zone",
        datetime.datetime(2024, 2, 29, 12, 30, 0, 123456),
    ),
    "took": (
        "INTERVAL '1 02:03:04.5' DAY TO SECOND",
        "interval",
        datetime.timedelta(days=1, hours=2, minutes=3, seconds=4.5),
    ),
    "tags": ("array('a', NULL)", "text[]", ["a", None]),
    "grid": ("array(array(1, 2), array(3, 4))", "integer[]", [[1, 2], [3, 4]]),
    "pair": ("named_struct('x', 1, 'y', 'z')", "jsonb", {"x": 1, "y": "z"}),
    "entries": ("map('k', 1)", "jsonb", {"k": 1}),
    "nothing": ("CAST(NULL AS void)", "text", None),
}
