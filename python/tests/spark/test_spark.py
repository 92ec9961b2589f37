"""`pgflight.write_dataframe` on the installed PySpark, 3.3 or later."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
from cases.rows import SparkCases
from conftest import Database, Server
from documented import Block, blocks, trips
from pyspark.sql import DataFrame, SparkSession

import pgflight


class TestWriteDataframe(SparkCases):
    def save(self, df: DataFrame, server: Server, table: str, mode: str, **options: Any) -> None:
        pgflight.write_dataframe(df, server.url, table, mode, **options)

    def refusal(self, df: DataFrame, server: Server, table: str, mode: str, **options: Any) -> Any:
        with pytest.raises(pgflight.PgFlightError) as raised:
            self.save(df, server, table, mode, **options)
        return raised.value


def test_the_result_says_what_was_written(
    spark: SparkSession, server: Server, database: Database
) -> None:
    df = spark.range(0, 1000, 1, 3)
    result = pgflight.write_dataframe(df, server.url, "public.t", "create", write_id="w-1")
    assert (result.table, result.row_count, result.write_id) == ("public.t", 1000, "w-1")
    assert result.byte_count > 8000
    assert 0 < result.seconds < 60
    assert result.already_committed_at is None
    with pytest.warns(pgflight.PgFlightWarning, match="write 'w-1' was already committed at .*Z"):
        again = pgflight.write_dataframe(df, server.url, "public.t", "create", write_id="w-1")
    assert (again.row_count, again.byte_count) == (1000, result.byte_count)
    assert again.already_committed_at is not None
    assert again.already_committed_at in repr(again)
    assert database.count("t") == 1000


@pytest.mark.parametrize(("if_exists", "rows"), [("append", 11), ("ignore", 1)])
def test_create_of_an_existing_table_follows_if_exists(
    spark: SparkSession, server: Server, database: Database, if_exists: str, rows: int
) -> None:
    database.run("CREATE TABLE t (id int8); INSERT INTO t VALUES (-1)")
    with pytest.raises(pgflight.AlreadyExists):
        pgflight.write_dataframe(spark.range(10), server.url, "t", "create")
    result = pgflight.write_dataframe(
        spark.range(10), server.url, "t", "create", if_exists=if_exists
    )
    assert database.count("t") == rows
    assert result.row_count == rows - 1


def test_a_write_id_cannot_be_used_for_another_table(spark: SparkSession, server: Server) -> None:
    pgflight.write_dataframe(spark.range(10), server.url, "t", "create", write_id="w-1")
    with pytest.raises(pgflight.AlreadyExists) as refused:
        pgflight.write_dataframe(spark.range(10), server.url, "u", "create", write_id="w-1")
    assert refused.value.write_id == "w-1"


def test_a_rejected_task_keeps_sparks_exception_as_its_cause(
    spark: SparkSession, server: Server, database: Database
) -> None:
    database.run("CREATE TABLE t (id int2)")
    with pytest.raises(pgflight.DataRejected) as refused:
        pgflight.write_dataframe(spark.range(100_000), server.url, "t")
    assert "Traceback" in str(refused.value.__cause__)
    assert "Traceback" not in str(refused.value)


def test_the_session_is_left_as_it_was(spark: SparkSession, server: Server) -> None:
    spark.sparkContext.setJobDescription("mine")
    batch_rows = "spark.sql.execution.arrow.maxRecordsPerBatch"
    before = spark.conf.get(batch_rows)
    df = spark.range(10).selectExpr("make_dt_interval(id) AS i")
    pgflight.write_dataframe(df, server.url, "t", "create")
    assert spark.conf.get(batch_rows) == before
    assert spark.sparkContext.getLocalProperty("spark.job.description") == "mine"
    spark.sparkContext.setJobDescription(None)


def test_a_streaming_frame_is_pointed_to_foreach_batch(spark: SparkSession, server: Server) -> None:
    df = spark.readStream.format("rate").load()
    with pytest.raises(pgflight.Unsupported, match="foreachBatch"):
        pgflight.write_dataframe(df, server.url, "t")


def test_each_batch_of_a_stream_is_written_once(
    spark: SparkSession, server: Server, database: Database, tmp_path: Any
) -> None:
    spark.range(0, 1000, 1, 4).write.parquet(str(tmp_path / "in"))
    write = pgflight.foreach_batch(server.url, "t", sink_id="stream-1", create_if_missing=True)

    def write_twice(df: DataFrame, batch_id: int) -> None:
        write(df, batch_id)
        write(df, batch_id)  # as after a restart

    stream = (
        spark.readStream.schema("id bigint")
        .option("maxFilesPerTrigger", 1)
        .parquet(str(tmp_path / "in"))
        .writeStream.foreachBatch(write_twice)
        .option("checkpointLocation", str(tmp_path / "checkpoint"))
        .trigger(availableNow=True)
        .start()
    )
    stream.awaitTermination()
    assert database.rows("SELECT count(*), count(DISTINCT id) FROM t") == [(1000, 1000)]


def run_stream(spark: SparkSession, server: Server, folder: Path, **options: Any) -> None:
    """Writes all rows of `in` through foreachBatch, with the checkpoint of this name."""
    checkpoint = options.pop("checkpoint")
    write = pgflight.foreach_batch(server.url, "t", sink_id="trips", **options)
    stream = (
        spark.readStream.schema("id bigint")
        .parquet(str(folder / "in"))
        .writeStream.foreachBatch(write)
        .option("checkpointLocation", str(folder / checkpoint))
        .trigger(availableNow=True)
        .start()
    )
    stream.awaitTermination()


def test_a_new_checkpoint_is_rejected_or_adopted(
    spark: SparkSession, server: Server, database: Database, tmp_path: Path
) -> None:
    database.run("CREATE TABLE t (id int8)")
    spark.range(0, 100, 1, 1).write.parquet(str(tmp_path / "in"))
    with warnings.catch_warnings():
        # Spark names the query.
        warnings.simplefilter("error", pgflight.PgFlightWarning)
        run_stream(spark, server, tmp_path, checkpoint="first")
        assert database.count("t") == 100
        with pytest.raises(Exception, match="set resume to let this query"):
            run_stream(spark, server, tmp_path, checkpoint="second")
        assert database.count("t") == 100
        run_stream(spark, server, tmp_path, checkpoint="second", resume=True)
    assert database.count("t") == 200


def test_a_batch_that_failed_is_written_when_it_comes_again(
    spark: SparkSession, server: Server, database: Database
) -> None:
    database.run("CREATE TABLE t (id int8 CHECK (id < 100))")
    write = pgflight.foreach_batch(server.url, "t", sink_id="stream-2")
    for _ in range(2):
        with pytest.raises(pgflight.DataRejected):
            write(spark.range(1000), 7)
    database.run("ALTER TABLE t DROP CONSTRAINT t_id_check")
    for _ in range(2):
        write(spark.range(1000), 7)
    assert database.rows("SELECT count(*), count(DISTINCT id) FROM t") == [(1000, 1000)]
    assert database.rows("SELECT write_id, state FROM pgflight.write ORDER BY 1") == [
        ("stream-2:7", "aborted"),
        ("stream-2:7#2", "aborted"),
        ("stream-2:7#3", "committed"),
    ]


def test_a_stream_must_be_named_and_names_its_writes_itself() -> None:
    with pytest.raises(pgflight.InvalidCommand, match="sink_id"):
        pgflight.foreach_batch("grpc://h:1", "t", sink_id="")
    with pytest.raises(pgflight.InvalidCommand, match="leave write_id out"):
        pgflight.foreach_batch("grpc://h:1", "t", sink_id="s", write_id="w")


@pytest.mark.parametrize("block", blocks("spark"), ids=lambda block: block.place)
def test_a_block_of_the_docs_writes_its_rows(
    block: Block, spark: SparkSession, server: Server, database: Database, tmp_path: Path
) -> None:
    block.run(server, database, tmp_path, spark=spark, df=trips(spark, block, tmp_path))
