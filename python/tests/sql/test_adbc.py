"""ADBC's Flight SQL driver, by its DB-API."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import Any, Iterator, List

import adbc_driver_flightsql.dbapi as flightsql
import pyarrow as pa
import pytest
from conftest import Database, Server

IDS = pa.table({"id": pa.array([2, 3], pa.int32())})


@pytest.fixture
def server(database: Database) -> Iterator[Server]:
    with Server(database.url) as server:
        yield server


@contextlib.contextmanager
def cursor_of(server: Server, **options: str) -> Iterator[Any]:
    connecting = flightsql.connect(server.url, options, autocommit=True)
    with connecting as connection, connection.cursor() as cursor:
        yield cursor


def ids(database: Database, table: str = "t") -> Any:
    return database.value(f"SELECT string_agg(id::text, ',' ORDER BY id) FROM {table}")


@pytest.mark.parametrize(
    ("mode", "without", "having"),
    [
        ("create", "2,3", "ALREADY_EXISTS"),
        ("append", "NOT_FOUND", "1,2,3"),
        ("replace", "2,3", "2,3"),
        ("create_append", "2,3", "1,2,3"),
    ],
)
def test_each_mode_treats_missing_and_existing_tables(
    server: Server, database: Database, mode: Any, without: str, having: str
) -> None:
    database.run("CREATE SCHEMA s; CREATE TABLE s.t AS SELECT 1 AS id")
    with cursor_of(server) as cursor:
        for schema, expected in (("public", without), ("s", having)):
            if expected[0].isdigit():
                assert cursor.adbc_ingest("t", IDS, mode=mode, db_schema_name=schema) == 2
                assert ids(database, f"{schema}.t") == expected
            else:
                with pytest.raises(flightsql.ProgrammingError, match=expected):
                    cursor.adbc_ingest("t", IDS, mode=mode, db_schema_name=schema)


def test_a_catalog_is_a_target(targets: Server, database: Database, other: Database) -> None:
    with cursor_of(targets) as cursor:
        cursor.adbc_ingest("t", IDS, catalog_name="other")
        assert ids(other) == "2,3"
        assert database.value("SELECT to_regclass('t') IS NULL")
        catalogs = cursor.connection.adbc_get_objects(depth="catalogs").read_all()
        assert catalogs["catalog_name"].to_pylist() == ["first", "other"]


def test_an_error_says_where_and_what_to_do(server: Server, database: Database) -> None:
    database.run("CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE d (id date)")
    twice = pa.table({"id": pa.array([7, 7], pa.int32())})
    with cursor_of(server) as cursor:
        with pytest.raises(flightsql.Error) as raised:
            cursor.adbc_ingest("t", twice, mode="append")
        text = str(raised.value)
        for part in ("table public.t", "SQLSTATE 23505", "constraint t_pkey"):
            assert part in text
        assert "(7)" not in text, "the value of a cell"
        with pytest.raises(flightsql.Error, match=r"column id.*Hint: "):
            cursor.adbc_ingest("d", IDS, mode="append")
        with pytest.raises(flightsql.NotSupportedError, match=r"temporary.*Hint: "):
            cursor.adbc_ingest("t", IDS, temporary=True)
    refused = pytest.raises(flightsql.NotSupportedError, match=r"Hint: .*adbc_ingest")
    with cursor_of(server) as cursor, refused:
        cursor.execute("SELECT * FROM t")
    assert database.count("t") == 0


@pytest.mark.parametrize("pause", [0.0, 0.3])
def test_an_exception_of_the_reader_leaves_nothing(
    server: Server, database: Database, pause: float
) -> None:
    database.run("CREATE TABLE t (id int)")

    def batches() -> Iterator[pa.RecordBatch]:
        for _ in range(20):
            yield IDS.to_batches()[0]
        time.sleep(pause)
        raise RuntimeError("the source broke")

    reader = pa.RecordBatchReader.from_batches(IDS.schema, batches())
    with cursor_of(server) as cursor:
        with pytest.raises(flightsql.OperationalError, match="the source broke"):
            cursor.adbc_ingest("t", reader, mode="append")
        assert cursor.adbc_ingest("t", IDS, mode="append") == 2
    # The server may notice the end of the first call after the second one.
    running = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query ~ '^COPY'"
    while database.value(f"{running} AND state = 'active'"):
        time.sleep(0.05)
    assert ids(database) == "2,3"


def test_a_deadline_leaves_nothing(server: Server, database: Database) -> None:
    database.run("CREATE TABLE t (id int)")

    def batches() -> Iterator[pa.RecordBatch]:
        yield IDS.to_batches()[0]
        time.sleep(1.5)
        yield IDS.to_batches()[0]

    reader = pa.RecordBatchReader.from_batches(IDS.schema, batches())
    options = {"adbc.flight.sql.rpc.timeout_seconds.update": "0.5"}
    with flightsql.connect(server.url, conn_kwargs=options, autocommit=True) as connection:
        cursor = connection.cursor()
        with pytest.raises(flightsql.Error, match=r"(?i)deadline"):
            cursor.adbc_ingest("t", reader, mode="append")
        cursor.close()
    assert database.count("t") == 0


def header(name: str) -> str:
    return f"adbc.flight.sql.rpc.call_header.x-pgflight-{name}"


def test_a_retry_with_the_same_write_id_writes_once(server: Server, database: Database) -> None:
    database.run("CREATE TABLE t (id int)")

    def batches() -> Iterator[pa.RecordBatch]:
        yield IDS.slice(0, 1).to_batches()[0]
        raise RuntimeError("the source broke")

    half = pa.RecordBatchReader.from_batches(IDS.schema, batches())
    options = {header("write-id"): "load 7", header("rows"): "2"}
    with cursor_of(server, **options) as cursor:
        with pytest.raises(flightsql.OperationalError, match="the source broke"):
            cursor.adbc_ingest("t", half, mode="append")
        for _ in range(3):
            assert cursor.adbc_ingest("t", IDS, mode="append") == 2
        with pytest.raises(flightsql.ProgrammingError, match=r"write id was used.*Hint: "):
            cursor.adbc_ingest("other", IDS, mode="create")
    assert ids(database) == "2,3"


def test_an_upsert_comes_by_headers(server: Server, database: Database) -> None:
    database.run("CREATE TABLE t (id int PRIMARY KEY, v text)")
    options = {header("mode"): "upsert", header("keys"): "id"}
    with cursor_of(server, **options) as cursor:
        for text in ("a", "b"):
            rows = pa.table({"id": pa.array([1], pa.int32()), "v": [text]})
            assert cursor.adbc_ingest("t", rows, mode="append") == 1
    assert database.rows("SELECT * FROM t") == [(1, "b")]


def test_concurrent_connections_write_all_rows(server: Server, database: Database) -> None:
    database.run("CREATE TABLE t (id int)")
    errors: List[BaseException] = []

    def write(first: int) -> None:
        rows = pa.table({"id": pa.array(range(first, first + 50_000), pa.int32())})
        try:
            with cursor_of(server) as cursor:
                for _ in range(2):
                    assert cursor.adbc_ingest("t", rows, mode="append") == 50_000
        except BaseException as error:  # noqa: BLE001
            errors.append(error)

    threads = [threading.Thread(target=write, args=(n * 50_000,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert database.value("SELECT (count(*), count(DISTINCT id))::text FROM t") == "(400000,200000)"


def test_rows_without_a_batch_need_an_empty_one(server: Server, database: Database) -> None:
    none = pa.RecordBatchReader.from_batches(IDS.schema, iter(()))
    empty = pa.RecordBatch.from_pylist([], IDS.schema)
    with cursor_of(server) as cursor:
        # The driver sends nothing at all, so the server cannot know the table.
        with pytest.raises(flightsql.Error, match=r"the stream is empty.*give it an empty one"):
            cursor.adbc_ingest("t", none, mode="create")
        assert cursor.adbc_ingest("t", empty, mode="create") == 0
    assert database.count("t") == 0


def test_the_driver_reads_facts_and_schemas(server: Server, database: Database) -> None:
    database.run('CREATE TABLE a_b (id int NOT NULL, name text); CREATE TABLE "aXb" (n int)')
    database.run('CREATE TABLE "cXd" (n int)')
    with cursor_of(server) as cursor:
        connection = cursor.connection
        assert connection.adbc_get_info()["vendor_name"] == "pgflight"
        assert connection.adbc_get_table_types() == ["TABLE"]
        schema = connection.adbc_get_table_schema("a_b", db_schema_filter="public")
        assert schema.names == ["id", "name"]
        assert not schema.field("id").nullable
        for missing in ("nothing", "c_d"):
            with pytest.raises(flightsql.ProgrammingError, match="NOT_FOUND"):
                connection.adbc_get_table_schema(missing)
        objects = connection.adbc_get_objects(depth="all").read_all().to_pylist()
        tables = objects[0]["catalog_db_schemas"][0]["db_schema_tables"]
        assert [table["table_name"] for table in tables] == ["aXb", "a_b", "cXd"]
        columns = [column["column_name"] for column in tables[1]["table_columns"]]
        assert columns == ["id", "name"]
