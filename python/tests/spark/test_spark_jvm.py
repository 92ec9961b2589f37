"""The data source in the JVM, on Spark 3.3 and later; PGFLIGHT_SPARK_JAR names its jar."""

from __future__ import annotations

import datetime
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Callable, Iterator

import pyspark
import pytest
import trustme
from cases.data_source import DataSourceCases
from cases.versions import needs_functions
from conftest import Database, Server
from documented import Block, blocks, trips
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.functions import expr

from pgflight import errors
from pgflight.options import SPARK_NAMES
from pgflight.spark.options import OTHER_OPTIONS

pytestmark = pytest.mark.skipif(
    "PGFLIGHT_SPARK_JAR" not in os.environ, reason="PGFLIGHT_SPARK_JAR names no jar"
)

#: Tests that PySpark 3.3 itself cannot run.
NOT_ON_3_3 = {
    "test_every_type_keeps_its_value": "Spark 3.3 has no literals of TIMESTAMP_NTZ",
    **dict.fromkeys(
        (
            "test_overwriting_with_nothing_empties_the_table[none]",
            "test_upsert_replaces_the_rows_with_the_same_keys",
            "test_a_task_that_fails_and_is_retried_leaves_each_row_once",
            "test_a_task_cut_short_by_spark_writes_each_row_once",
            "test_a_job_with_killed_workers_writes_each_row_once",
        ),
        "PySpark 3.3 runs no Python functions on Python 3.11",
    ),
}


class TestJvmSource(DataSourceCases):
    @pytest.fixture(autouse=True)
    def runs_here(self, spark: SparkSession, request: pytest.FixtureRequest) -> None:
        reason = NOT_ON_3_3.get(request.node.name)
        if reason and spark.version.startswith("3.3.") and sys.version_info >= (3, 11):
            pytest.skip(reason)

    def refusal(self, df: DataFrame, server: Server, table: str, mode: str, **options: Any) -> Any:
        with pytest.raises(Exception) as raised:
            self.save(df, server, table, mode, **options)
        return described(raised.value)


def described(raised: BaseException) -> errors.PgFlightError:
    """Reads the error of the JVM from the text that a user sees."""
    error = errors.from_spark(raised)
    assert error is not None, str(raised)
    return error


def test_the_options_are_those_of_the_python_source(spark: SparkSession) -> None:
    with pytest.raises(Exception) as raised:
        spark.range(1).write.format("pgflight").mode("append").option("zzzzzzzzzzzz", "1").save("t")
    found = described(raised.value)
    assert found.hint is not None
    known = found.hint.replace("use one of ", "").split(", ")
    assert sorted(known) == sorted([*SPARK_NAMES.values(), *(o.spark for o in OTHER_OPTIONS)])
    assert "did you mean 'keys'" in str(refused_option(spark, "keyz", "id"))


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [
        ("user", "me", "the pgflight server holds the database's credentials"),
        ("sinkId", "s", "no effect on a save"),
        ("resume", "true", "set without a sink"),
        ("truncate", "perhaps", "neither true nor false"),
        ("ifExists", "perhaps", "use one of fail, append, ignore"),
        ("writeMode", "replace", "use one of upsert, insert_if_absent"),
        ("keys", "id", "has no effect in mode 'append'"),
        ("primaryKey", "id", "makes no table"),
        ("createTableColumnTypes", "id", "has no type for a column"),
        ("createTableColumnTypes", "id int, id int", "names a column twice"),
        ("conversions", "[]", "is not a JSON object"),
        ("conversions", '{"id": {"rounding": "up"}}', "use one of 'reject', 'floor', 'nearest'"),
        ("retryTimeout", "soon", "is not a time"),
        ("url", "jdbc:postgresql://db/x", "the address of a database"),
        ("url", "grpc://host", "not a host and a port"),
        ("url", "grpc://host:1,", "not a host and a port"),
        ("tlsRootCerts", "/does/not/exist", "cannot be read"),
    ],
)
def test_wrong_options_are_rejected(
    spark: SparkSession, option: str, value: str, expected: str
) -> None:
    assert expected in str(refused_option(spark, option, value))


def refused_option(spark: SparkSession, option: str, value: str) -> errors.PgFlightError:
    writer = spark.range(1).write.format("pgflight").mode("append").option("dbtable", "t")
    with pytest.raises(Exception) as raised:
        writer.option("url", "grpc://127.0.0.1:1").option(option, value).save()
    return described(raised.value)


def test_an_error_quotes_a_name_with_quotes(spark: SparkSession, server: Server) -> None:
    writer = spark.range(1).write.format("pgflight").mode("append").option("url", server.url)
    with pytest.raises(Exception) as raised:
        writer.option("dbtable", 'public."a ""b"" \\ c"').save()
    found = described(raised.value)
    assert (found.reason, found.table) == ("NOT_FOUND", 'public."a ""b"" \\ c"')


def test_reading_is_rejected_with_a_hint(spark: SparkSession) -> None:
    with pytest.raises(Exception) as raised:
        spark.read.format("pgflight").load()
    assert "format('jdbc')" in str(described(raised.value))


def test_partitions_without_rows_send_nothing(
    spark: SparkSession, server: Server, database: Database
) -> None:
    database.run("CREATE TABLE t (id int8)")
    df = spark.range(0, 1000, 1, 200).where("id % 100 = 0")
    df.write.format("pgflight").mode("append").option("url", server.url).save("t")
    assert database.rows("SELECT count(*), sum(id) FROM t") == [(10, 4500)]


@pytest.mark.skipif(pyspark.__version__ < "4.1", reason="Spark has TIME from 4.1 on")
def test_a_time_lands(spark: SparkSession, server: Server, database: Database) -> None:
    spark.conf.set("spark.sql.timeType.enabled", "true")
    df = spark.sql("SELECT TIME'12:34:56.123456' AS at UNION ALL SELECT NULL")
    writer = df.write.format("pgflight").mode("append").option("url", server.url)
    writer.option("createTable", "true").save("t")
    assert database.rows("SELECT at, pg_typeof(at)::text FROM t ORDER BY at") == [
        (datetime.time(12, 34, 56, 123456), "time without time zone"),
        (None, "time without time zone"),
    ]


@pytest.mark.skipif(pyspark.__version__ < "4", reason="Spark has VARIANT from 4.0 on")
def test_a_variant_is_rejected_with_a_hint(spark: SparkSession, server: Server) -> None:
    df = spark.sql("SELECT parse_json('{}') AS v")
    writer = df.write.format("pgflight").mode("append").option("url", server.url)
    with pytest.raises(Exception) as raised:
        writer.option("createTable", "true").save("t")
    found = described(raised.value)
    assert (found.reason, found.column) == ("UNSUPPORTED", "v")
    assert "to_json(column)" in str(found.hint)


def test_a_frame_of_1000_columns_lands(
    spark: SparkSession, server: Server, database: Database
) -> None:
    df = spark.range(0, 300, 1, 2).selectExpr(*(f"id + {n} AS c{n}" for n in range(1000)))
    writer = df.write.format("pgflight").mode("append").option("url", server.url)
    writer.option("createTable", "true").save("t")
    assert database.rows("SELECT count(*), sum(c0), sum(c999) FROM t") == [(300, 44850, 344550)]


def test_batches_are_cut_to_the_limit_of_the_server(
    spark: SparkSession, server: Server, database: Database
) -> None:
    # Each row takes a third of a batch.
    df = spark.range(0, 40, 1, 2).selectExpr(
        "id", "repeat(chr(97 + cast(id AS int) % 26), 700000) s"
    )
    writer = df.write.format("pgflight").mode("append").option("url", server.url)
    writer.option("createTable", "true").save("t")
    assert database.rows("SELECT count(*), sum(length(s)), count(DISTINCT s) FROM t") == [
        (40, 28_000_000, 26)
    ]


def test_certificates_authenticate_server_and_client(
    spark: SparkSession, database: Database, tmp_path: Path
) -> None:
    database.run("CREATE TABLE t (id int8)")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    for name, host in (("server", "127.0.0.1"), ("client", "etl.example")):
        issued = authority.issue_cert(host)
        issued.cert_chain_pems[0].write_to_path(tmp_path / f"{name}.crt")
        issued.private_key_pem.write_to_path(tmp_path / f"{name}.key")
    (tmp_path / "pgflight.toml").write_text(
        """
        [server]
        tls_cert = "server.crt"
        tls_key = "server.key"
        tls_client_ca = "ca.pem"
        [principals.etl]
        certificates = ["DNS:etl.example"]
        grants = [{ tables = ["public.t"], modes = ["append"] }]
        """
    )
    traditional, key = str(tmp_path / "client.key"), str(tmp_path / "client.pk8")
    convert = ["openssl", "pkcs8", "-topk8", "-nocrypt", "-in", traditional, "-out", key]
    subprocess.run(convert, check=True)
    server = Server(database.url, "--config", str(tmp_path / "pgflight.toml"))
    try:
        options = {
            "url": server.url.replace("grpc://", "grpc+tls://"),
            "retryTimeout": "0",
            "tlsRootCerts": str(tmp_path / "ca.pem"),
            "tlsClientCert": str(tmp_path / "client.crt"),
            "tlsClientKey": key,
        }
        writer = spark.range(10).write.format("pgflight").mode("append")
        writer.options(**options).save("t")
        assert database.count("t") == 10
        wrong = [
            ({"tlsClientKey": traditional}, "PKCS #8"),
            ({"tlsRootCerts": str(tmp_path / "client.crt")}, "UNAVAILABLE"),
            ({"url": server.url}, "certificates are given for an address without TLS"),
        ]
        for change, expected in wrong:
            with pytest.raises(Exception, match=expected):
                writer.options(**{**options, **change}).save("t")
        assert database.count("t") == 10
    finally:
        server.stop()


# ── the catalog ──────────────────────────────────────────────────────────────


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


@needs_functions
@pytest.mark.parametrize("block", blocks("jvm"), ids=lambda block: block.place)
def test_a_block_of_the_docs_writes_its_rows(
    block: Block, spark: SparkSession, server: Server, database: Database, tmp_path: Path
) -> None:
    df = trips(spark, block, tmp_path)
    df.createOrReplaceTempView("new_trips")
    block.run(server, database, tmp_path, spark=spark, df=df)


# ── streams ──────────────────────────────────────────────────────────────────


def test_each_batch_of_a_stream_lands_once(
    spark: SparkSession, server: Server, database: Database, tmp_path: Path
) -> None:
    database.run("CREATE TABLE t (id int8)")
    source, first = str(tmp_path / "in"), tmp_path / "first"

    def run(checkpoint: Path, **options: str) -> None:
        stream = (
            spark.readStream.schema("id bigint")
            .parquet(source)
            .writeStream.format("pgflight")
            .options(url=server.url, dbtable="t", sinkId="trips", **options)
            .option("checkpointLocation", str(checkpoint))
            .trigger(once=True)
            .start()
        )
        stream.awaitTermination()

    spark.range(0, 100, 1, 1).write.parquet(source)
    run(first)
    assert database.count("t") == 100
    # The checkpoint forgets that the batch was committed, so Spark runs it again.
    (first / "commits" / "0").unlink()
    (first / "commits" / ".0.crc").unlink()
    run(first)
    assert database.count("t") == 100
    spark.range(100, 150, 1, 1).write.mode("append").parquet(source)
    run(first)
    assert database.rows("SELECT count(*), count(DISTINCT id) FROM t") == [(150, 150)]
    # Spark 3.3 names the cause only in its log.
    with pytest.raises(Exception, match=r"set resume to let this query|Writing job aborted$"):
        run(tmp_path / "second")
    assert database.count("t") == 150
    run(tmp_path / "second", resume="true")
    assert database.count("t") == 300


@pytest.mark.parametrize(
    ("case", "advice", "is_final"),
    [
        ("TLS to a server without it", "use grpc://", True),
        ("no TLS to a server with it", "use grpc+tls://", False),
        ("an authority that is not trusted", "tlsRootCerts", True),
        ("a name that the certificate lacks", "a name that the server's certificate holds", True),
        ("a host that does not exist", "the name of the host", False),
        ("a port where nothing listens", "`pgflight serve` runs there", False),
    ],
)
def test_an_address_without_a_server_says_what_to_do(
    spark: SparkSession,
    database: Database,
    tmp_path: Path,
    closed_port: int,
    case: str,
    advice: str,
    is_final: bool,
) -> None:
    authority, other = trustme.CA(), trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    issued.cert_chain_pems[0].write_to_path(tmp_path / "server.crt")
    issued.private_key_pem.write_to_path(tmp_path / "server.key")
    authority.cert_pem.write_to_path(tmp_path / "ours.pem")
    other.cert_pem.write_to_path(tmp_path / "other.pem")
    tls = ("--tls-cert", str(tmp_path / "server.crt"), "--tls-key", str(tmp_path / "server.key"))
    server = Server(database.url, *(() if case.startswith("TLS") else tls))
    port = server.url.rsplit(":", 1)[1]
    roots = "other.pem" if "not trusted" in case else "ours.pem"
    url = {
        "no TLS to a server with it": server.url,
        "a name that the certificate lacks": f"grpc+tls://localhost:{port}",
        "a host that does not exist": f"grpc://no-such-host.invalid:{port}",
        "a port where nothing listens": f"grpc://127.0.0.1:{closed_port}",
    }.get(case, f"grpc+tls://127.0.0.1:{port}")
    options = {"url": url, "dbtable": "t", "retryTimeout": "3s"}
    if url.startswith("grpc+tls"):
        options["tlsRootCerts"] = str(tmp_path / roots)
    try:
        with pytest.raises(Exception, match="PgFlightException") as raised:
            spark.range(1).write.format("pgflight").mode("append").options(**options).save()
    finally:
        server.stop()
    error = described(raised.value)
    assert error.reason == "UNAVAILABLE"
    assert advice in (error.hint or "")
    assert (error.tried_seconds is None) == is_final
