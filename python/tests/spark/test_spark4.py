"""`df.write.format("pgflight")` on PySpark 4.0 or later; skipped for older versions."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any, List

import pyarrow as pa
import pytest
from cases.data_source import DataSourceCases
from conftest import Database, Server, losing_replies_to
from documented import Block, blocks, trips
from pyspark.sql import DataFrame, SparkSession

import pgflight
from pgflight import distributed, errors
from pgflight.distributed import DistributedWrite
from pgflight.flight.connection import Endpoint
from pgflight.spark.datasource import AttemptReceipt, PgFlightDataSource, PgFlightWriter


@pytest.fixture(autouse=True, scope="module")
def registered(spark: SparkSession) -> None:
    pgflight.register(spark)


class TestDataSource(DataSourceCases):
    def refusal(self, df: DataFrame, server: Server, table: str, mode: str, **options: Any) -> Any:
        with pytest.raises(Exception) as raised:
            self.save(df, server, table, mode, **options)
        found = errors.from_text(str(raised.value))
        assert found is not None, str(raised.value)
        return found


def test_abort_after_a_lost_reply_reports_the_commit(
    server: Server,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    database.run("CREATE TABLE t (id int8)")
    monkeypatch.setattr(distributed, "_MIN_COMMIT_SECONDS", 0.5)
    rows = pa.record_batch({"id": [1, 2, 3]})
    with losing_replies_to(b"CommitRequest", server) as url:
        endpoint = Endpoint.parse(url, retry_timeout=0)
        write = DistributedWrite.begin(endpoint, "t", rows.schema, write_id="w")
        writer = PgFlightWriter(write, time.time())
        messages: List[Any] = [AttemptReceipt(write.attempt(0, "a", [rows]))]
        # Spark does this with a writer whose commit raises.
        with pytest.raises(pgflight.Unavailable, match="could not learn whether"):
            writer.commit(messages)
        writer.abort(messages)
    said = capsys.readouterr().err
    assert "the answer to the commit of write w was lost; it is committed" in said
    assert "3 rows are in public.t" in said
    assert database.rows("SELECT id FROM t ORDER BY id") == [(1,), (2,), (3,)]


def test_a_repeated_write_id_is_logged(
    spark: SparkSession, server: Server, database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    database.run("CREATE TABLE t (id int8)")
    options = {"url": server.url, "dbtable": "t", "writeid": "w"}
    # Spark does this in its planner.
    df = spark.range(3)
    df.write.format("pgflight").mode("append").options(**options).save()
    assert not PgFlightDataSource(options).writer(df.schema, False).commit([])
    said = capsys.readouterr().err
    assert "public.t: write 'w' was already committed at " in said
    assert "; nothing was written" in said
    assert database.count("t") == 3


@pytest.mark.parametrize("option", [("sinkid", "s"), ("resume", "true")])
def test_streaming_options_are_rejected_for_a_save(spark: SparkSession, option: Any) -> None:
    options = {"url": "grpc://host:1", "dbtable": "t", option[0]: option[1]}
    with pytest.raises(pgflight.InvalidCommand, match="no effect on a save"):
        PgFlightDataSource(options).writer(spark.range(1).schema, False)


def test_resume_needs_a_sink(spark: SparkSession) -> None:
    options = {"url": "grpc://host:1", "dbtable": "t", "resume": "true"}
    with pytest.raises(pgflight.InvalidCommand, match="set without a sink"):
        PgFlightDataSource(options).streamWriter(spark.range(1).schema, False)


def test_a_stream_with_a_new_checkpoint_is_rejected_or_adopted(
    spark: SparkSession, server: Server, database: Database, tmp_path: Path
) -> None:
    database.run("CREATE TABLE t (id int8)")
    spark.range(0, 100, 1, 1).write.parquet(str(tmp_path / "in"))

    def run(checkpoint: str, **options: str) -> None:
        stream = (
            spark.readStream.schema("id bigint")
            .parquet(str(tmp_path / "in"))
            .writeStream.format("pgflight")
            .options(url=server.url, dbtable="t", sinkId="trips", **options)
            .option("checkpointLocation", str(tmp_path / checkpoint))
            .trigger(availableNow=True)
            .start()
        )
        stream.awaitTermination()

    run("first")
    assert database.count("t") == 100
    with pytest.raises(Exception, match="set resume to let this query"):
        run("second")
    assert database.count("t") == 100
    run("second", resume="true")
    assert database.count("t") == 200


def test_the_table_may_be_named_in_save(
    spark: SparkSession, server: Server, database: Database
) -> None:
    database.run("CREATE TABLE t (id int8)")
    spark.range(10).write.format("pgflight").mode("append").option("url", server.url).save("t")
    assert database.count("t") == 10


@pytest.mark.parametrize(("if_exists", "rows"), [("append", 11), ("ignore", 1)])
def test_if_exists_replaces_sparks_save_modes(
    spark: SparkSession, server: Server, database: Database, if_exists: str, rows: int
) -> None:
    database.run("CREATE TABLE t (id int8); INSERT INTO t VALUES (-1)")
    writer = spark.range(10).write.format("pgflight").mode("append").option("url", server.url)
    with pytest.raises(Exception, match="ALREADY_EXISTS"):
        writer.option("ifExists", "fail").save("t")
    writer.option("ifExists", if_exists).save("t")
    assert database.count("t") == rows


def test_an_unknown_option_suggests_the_nearest(spark: SparkSession, server: Server) -> None:
    writer = spark.range(10).write.format("pgflight").mode("append").option("url", server.url)
    with pytest.raises(Exception, match="did you mean 'createTable'"):
        writer.option("createTabel", "true").save("t")


def test_a_variant_is_rejected_with_a_hint(spark: SparkSession, server: Server) -> None:
    df = spark.sql("SELECT parse_json('{}') AS v")
    with pytest.raises(pgflight.Unsupported, match=r"to_json\(column\)"):
        pgflight.write_dataframe(df, server.url, "t", "create")


def test_reading_is_pointed_to_jdbc(spark: SparkSession) -> None:
    with pytest.raises(Exception, match="format\\('jdbc'\\)"):
        spark.read.format("pgflight").load()


def test_spark_finds_the_data_source_by_itself(server: Server, database: Database) -> None:
    # In its own session, since this one has registered it.
    program = f"""
from pyspark.sql import SparkSession
spark = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false").getOrCreate()
writer = spark.range(10).write.format("pgflight").mode("overwrite").option("url", {server.url!r})
writer.save("t")
spark.stop()
"""
    subprocess.run([sys.executable, "-c", program], check=True)
    assert database.count("t") == 10


def test_a_replayed_stream_writes_each_batch_once(
    spark: SparkSession, server: Server, database: Database, tmp_path: Path
) -> None:
    database.run("CREATE TABLE t (id int8)")
    spark.range(0, 1000, 1, 4).write.parquet(str(tmp_path / "in"))

    def run() -> None:
        stream = (
            spark.readStream.schema("id bigint")
            .option("maxFilesPerTrigger", 1)
            .parquet(str(tmp_path / "in"))
            .writeStream.format("pgflight")
            .option("url", server.url)
            .option("dbtable", "t")
            .option("checkpointLocation", str(tmp_path / "checkpoint"))
            .trigger(availableNow=True)
            .start()
        )
        stream.awaitTermination()

    run()
    assert database.rows("SELECT count(*), count(DISTINCT id) FROM t") == [(1000, 1000)]
    writes = database.value("SELECT count(*) FROM pgflight.write")
    # Like a crash between the commit of the last batch and Spark's record of it.
    last = max(
        (tmp_path / "checkpoint" / "commits").glob("[0-9]*"), key=lambda path: int(path.name)
    )
    last.unlink()
    last.with_name(f".{last.name}.crc").unlink(missing_ok=True)
    run()
    assert database.rows("SELECT count(*), count(DISTINCT id) FROM t") == [(1000, 1000)]
    assert database.value("SELECT count(*) FROM pgflight.write WHERE state = 'committed'") == writes


@pytest.mark.parametrize("block", blocks("spark4"), ids=lambda block: block.place)
def test_a_block_of_the_docs_writes_its_rows(
    block: Block, spark: SparkSession, server: Server, database: Database, tmp_path: Path
) -> None:
    block.run(server, database, tmp_path, spark=spark, df=trips(spark, block, tmp_path))
