"""The data source in the JVM, on Spark 3.3 and later; PGFLIGHT_SPARK_JAR names its jar."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path
from typing import Any, Dict, Tuple, Union

import pyspark
import pytest
import trustme
from cases.data_source import DataSourceCases
from cases.jar import described, needs_jar
from conftest import Database, Server
from pyspark.sql import DataFrame, SparkSession

from pgflight import errors
from pgflight.options import SPARK_NAMES
from pgflight.spark.options import OTHER_OPTIONS

pytestmark = needs_jar

#: A point in WKB.
POINT = "X'0101000000000000000000f03f0000000000000040'"


class TestJvmSource(DataSourceCases):
    def refusal(self, df: DataFrame, server: Server, table: str, mode: str, **options: Any) -> Any:
        with pytest.raises(Exception) as raised:
            self.save(df, server, table, mode, **options)
        return described(raised.value)


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
    assert database.value("SELECT count(*) FROM pgflight.attempt") == 10


@pytest.mark.parametrize("mode", ["append", "overwrite"])
def test_200_partitions_land_once(
    spark: SparkSession, server: Server, database: Database, mode: str
) -> None:
    database.run("CREATE TABLE t (id int8); INSERT INTO t VALUES (7)")
    writer = spark.range(100, 1100, 1, 200).write.format("pgflight").mode(mode)
    writer.option("url", server.url).save("t")
    kept = 1 if mode == "append" else 0
    found = "SELECT count(*) FILTER (WHERE id = 7), count(*), count(DISTINCT id) FROM t"
    assert database.rows(found) == [(kept, 1000 + kept, 1000 + kept)]
    assert database.value("SELECT count(DISTINCT partition_id) FROM pgflight.attempt") == 200


def test_a_refusal_is_heard_in_the_midst_of_a_task(
    spark: SparkSession, server: Server, database: Database
) -> None:
    database.run("CREATE TABLE t (id int8 CHECK (id <> 70000))")
    last = 100_000_000
    df = spark.range(0, last, 1, 1).selectExpr(
        f"if(id = {last - 1}, raise_error('the task was not stopped'), id) AS id"
    )
    with pytest.raises(Exception) as raised:
        df.write.format("pgflight").mode("append").option("url", server.url).save("t")
    error = described(raised.value)
    assert (error.reason, error.sqlstate, error.table, error.constraint) == (
        "DATA_REJECTED",
        "23514",
        "public.t",
        "t_id_check",
    )
    # All that is known is in one line.
    line = next(line for line in str(raised.value).splitlines() if "[DATA_REJECTED" in line)
    assert all(name in line for name in ('sqlstate="23514"', "public.t", "t_id_check", "row=70000"))


#: Types of later releases: the first release, an expression, and the type and the text that land, or the hint.
LATER_TYPES: Dict[str, Tuple[str, str, Union[Tuple[str, str], str]]] = {
    "collated string": ("4.0", "'Ab' COLLATE UTF8_LCASE", ("text", "Ab")),
    "variant": ("4.0", "parse_json('{}')", "to_json(column)"),
    "time": ("4.1", "TIME'12:34:56.123456'", ("time without time zone", "12:34:56.123456")),
    "geometry": ("4.2", f"st_geomfromwkb({POINT})", "st_asbinary(column)"),
    "geography": ("4.2", f"st_geogfromwkb({POINT})", "st_asbinary(column)"),
}


@pytest.mark.parametrize("kind", LATER_TYPES)
def test_a_type_of_a_later_release_lands_or_is_rejected(
    spark: SparkSession, server: Server, database: Database, kind: str
) -> None:
    since, value, expected = LATER_TYPES[kind]
    if pyspark.__version__ < since:
        pytest.skip(f"Spark has the type {kind} from {since} on")
    for setting in ("spark.sql.timeType.enabled", "spark.sql.geospatial.enabled"):
        spark.conf.set(setting, "true")
    df = spark.sql(f"SELECT {value} AS v UNION ALL SELECT NULL")
    writer = df.write.format("pgflight").mode("append").option("url", server.url)
    writer.option("createTable", "true")
    if isinstance(expected, tuple):
        writer.save("t")
        found = database.rows("SELECT pg_typeof(v)::text, v::text FROM t ORDER BY v")
        assert found == [expected, (expected[0], None)]
        return
    with pytest.raises(Exception) as raised:
        writer.save("t")
    error = described(raised.value)
    assert (error.reason, error.column) == ("UNSUPPORTED", "v")
    assert expected in str(error.hint)


#: Expressions of nested types, and the JSON that lands.
NESTED = {
    "array(named_struct('a', 1, 'b', array(NULL, 'x')), NULL)": '[{"a": 1, "b": [null, "x"]}, null]',
    "map('k', named_struct('m', map('n', NULL, 'o', 1.50)), 'l', NULL)": '{"k": {"m": {"n": null, "o": 1.50}}, "l": null}',
    "named_struct('s', named_struct('d', date'2024-02-29', 'n', array(1, NULL)), 'u', NULL)": '{"s": {"d": "2024-02-29", "n": [1, null]}, "u": null}',
    "array(array(map('k', true)), array(), NULL)": '[[{"k": true}], [], null]',
    "array(CAST(NULL AS int))": "[null]",
}


def test_nested_values_keep_their_nulls(
    spark: SparkSession, server: Server, database: Database
) -> None:
    names = [f"c{number}" for number in range(len(NESTED))]
    database.run(f"CREATE TABLE t (id int8, {', '.join(f'{name} jsonb' for name in names)})")
    given = ", ".join(f"{value} AS {name}" for value, name in zip(NESTED, names))
    # Values and NULLs alternate, over several batches.
    absent = ", ".join(f"IF(id % 2 = 0, {name}, NULL) AS {name}" for name in names)
    df = spark.sql(f"SELECT id, {absent} FROM (SELECT id, {given} FROM range(0, 90000, 1, 2))")
    df.write.format("pgflight").mode("append").option("url", server.url).save("t")
    for name, expected in zip(names, NESTED.values()):
        found = f"SELECT count(*), count({name}), count(*) FILTER (WHERE id % 2 = 0 AND {name} = '{expected}') FROM t"
        assert database.rows(found) == [(90_000, 45_000, 45_000)], name


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


@pytest.mark.parametrize("way", ["token", "tokenFile"])
def test_a_token_authenticates(
    spark: SparkSession, database: Database, tmp_path: Path, way: str
) -> None:
    database.run("CREATE TABLE t (id int8)")
    token, file = "pgf_a-token-of-a-test", tmp_path / "token"
    digest = hashlib.sha256(token.encode()).hexdigest()
    (tmp_path / "pgflight.toml").write_text(
        f"""
        [server]
        [principals.etl]
        tokens = ["sha256:{digest}"]
        grants = [{{ tables = ["public.t"], modes = ["append"] }}]
        """
    )
    with Server(database.url, "--config", str(tmp_path / "pgflight.toml")) as server:
        writer = spark.range(0, 10, 1, 2).write.format("pgflight").mode("append")
        writer.option("url", server.url)
        for given in (token, "pgf_another"):
            file.write_text(given)
            writer.option(way, given if way == "token" else str(file))
            if given == token:
                writer.save("t")
                continue
            with pytest.raises(Exception) as raised:
                writer.save("t")
            assert described(raised.value).reason == "UNAUTHENTICATED"
            assert given not in str(raised.value)
    assert database.count("t") == 10


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
