"""Tests of `format("pgflight")`. Classes that inherit them run them."""

from __future__ import annotations

from typing import Any

import pytest
from conftest import Database, Server
from pyspark.sql import DataFrame, SparkSession

import pgflight
from cases.rows import SparkCases
from pgflight.options import SPARK_NAMES

OPTIONS = {
    **SPARK_NAMES,
    "write_id": "writeId",
    "retry_timeout": "retryTimeout",
    "partition_overwrite_mode": "partitionOverwriteMode",
}


class DataSourceCases(SparkCases):
    """The cases for `format("pgflight")`."""

    def save(self, df: DataFrame, server: Server, table: str, mode: str, **options: Any) -> None:
        if mode not in ("append", "overwrite"):
            options["mode"], mode = mode, "append"
        writer = df.write.format("pgflight").mode(mode).option("url", server.url)
        for name, value in options.items():
            if name == "column_types":
                value = ", ".join(f"{column} {kind}" for column, kind in value.items())
            elif name in (
                "keys",
                "replace_by",
                "update_columns",
                "before",
                "after",
                "reject_kinds",
            ):
                value = ", ".join(value)
            elif name == "delete_when":
                ((column, values),) = value.items()
                value = f"`{column}` IN ({', '.join(repr(each) for each in values)})"
            writer = writer.option(OPTIONS[name], value)
        writer.option("dbtable", table).save()

    def test_an_overwrite_in_a_session_with_dynamic_overwrites_is_rejected(
        self, spark: SparkSession, server: Server, database: Database
    ) -> None:
        database.run("CREATE TABLE t (id int8); INSERT INTO t VALUES (77)")
        setting = "spark.sql.sources.partitionOverwriteMode"
        spark.conf.set(setting, "dynamic")
        try:
            found = self.refusal(spark.range(3), server, "t", "overwrite")
            assert found.reason == "UNSUPPORTED"
            assert "would replace all rows" in found.message
            assert database.rows("SELECT id FROM t") == [(77,)]
            self.save(spark.range(3), server, "t", "append")
            self.save(spark.range(3), server, "t", "overwrite", partition_overwrite_mode="static")
            assert database.rows("SELECT id FROM t ORDER BY id") == [(0,), (1,), (2,)]
            self.save(spark.range(2, 5), server, "t", "overwrite", replace_by=["id"])
        finally:
            spark.conf.unset(setting)
        assert database.rows("SELECT id FROM t ORDER BY id") == [(0,), (1,), (2,), (3,), (4,)]

    def test_timestamps_become_local_times_of_a_zone_on_request(
        self, spark: SparkSession, server: Server, database: Database
    ) -> None:
        database.run("CREATE TABLE t (id int8, at timestamp, own timestamp)")
        frame = spark.sql(
            "SELECT 1L AS id, timestamp'2026-07-01 12:00:00 UTC' AS at, timestamp'2026-01-01 12:00:00 UTC' AS OWN"
        ).withColumnRenamed("OWN", "own")
        refused = self.refusal(frame, server, "t", "append")
        assert "localTimestamps" in str(refused.hint)
        setting = "spark.sql.session.timeZone"
        before = spark.conf.get(setting)
        assert before is not None
        spark.conf.set(setting, "America/New_York")
        try:
            self.save(frame, server, "t", "append", local_timestamps="session")
        finally:
            spark.conf.set(setting, before)
        own = '{"Own": {"zone": "+02:00"}, "*": {"rounding": "floor"}}'
        self.save(frame, server, "t", "append", local_timestamps="Europe/Berlin", conversions=own)
        assert database.rows("SELECT id, at::text, own::text FROM t ORDER BY at") == [
            (1, "2026-07-01 08:00:00", "2026-01-01 07:00:00"),
            (1, "2026-07-01 14:00:00", "2026-01-01 14:00:00"),
        ]

    def test_an_error_of_a_save_can_be_caught_with_its_fields(
        self, spark: SparkSession, server: Server, database: Database
    ) -> None:
        database.run("CREATE TABLE t (id int8 CHECK (id < 5))")
        with pytest.raises(pgflight.DataRejected) as raised, pgflight.errors.raised_by_spark():
            self.save(spark.range(0, 10, 1, 2), server, "t", "append")
        assert raised.value.sqlstate == "23514"
        assert raised.value.constraint == "t_id_check"
        with pytest.raises(pgflight.NotFound) as missing, pgflight.errors.raised_by_spark():
            self.save(spark.range(1), server, "missing", "append")
        assert missing.value.hint is not None
        with pytest.raises(ZeroDivisionError), pgflight.errors.raised_by_spark():
            print(1 / 0)

    def test_rows_that_cannot_be_written_are_kept_apart(
        self, spark: SparkSession, server: Server, database: Database
    ) -> None:
        database.run("CREATE TABLE t (id int8 PRIMARY KEY, n int2)")
        frame = spark.createDataFrame([(1, 1), (2, 70_000), (3, 3)], "id long, n int")
        rules = {"on_error": "reject", "reject_kinds": ["range"]}
        refused = self.refusal(frame, server, "t", "append", reject_limit=0, **rules)
        assert "reject_limit is 0" in str(refused)
        assert database.count("t") == 0
        self.save(frame, server, "t", "append", reject_limit=1, reject_percent=50, **rules)
        assert database.rows("SELECT id FROM t ORDER BY id") == [(1,), (3,)]
        rejects = "SELECT kind, column_name, keys->>'id' FROM pgflight.reject"
        assert database.rows(rejects) == [("range", "n", "2")]

    def test_the_result_of_the_last_save_is_kept(
        self, spark: SparkSession, server: Server, database: Database
    ) -> None:
        database.run("CREATE TABLE t (id int8)")
        for rows in (5, 3):
            self.save(spark.range(rows), server, "t", "append")
            result = pgflight.last_result(spark)
            assert result is not None
            assert (result.table, result.row_count) == ("public.t", rows)
            assert result.byte_count > 0
            assert result.already_committed_at is None
        self.save(spark.range(2), server, "t", "append", write_id="w")
        self.save(spark.range(2), server, "t", "append", write_id="w")
        repeated = pgflight.last_result(spark)
        assert repeated is not None
        assert repeated.write_id == "w"
        assert repeated.already_committed_at is not None
