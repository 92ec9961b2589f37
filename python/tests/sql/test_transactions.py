"""Transactions by ADBC's Flight SQL driver, which names none in its ingests, and the session that it learns."""

from __future__ import annotations

import contextlib
import hashlib
import warnings
from pathlib import Path
from typing import Any, Iterator

import adbc_driver_flightsql.dbapi as flightsql
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from conftest import Database, Server

ONE = pa.table({"id": pa.array([1], pa.int32())})
TWO = pa.table({"id": pa.array([2], pa.int32())})


@pytest.fixture
def server(database: Database) -> Iterator[Server]:
    with Server(database.url) as server:
        yield server


@contextlib.contextmanager
def transactions(server: Server, **options: str) -> Iterator[Any]:
    """A connection without autocommit, as DB-API has it by default."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        connection = flightsql.connect(server.url, options)
    with connection:
        yield connection


def ids(database: Database, table: str = "t") -> Any:
    return database.value(f"SELECT string_agg(id::text, ',' ORDER BY id) FROM {table}")


def test_a_commit_keeps_all_ingests_and_a_rollback_none(server: Server, database: Database) -> None:
    database.run("CREATE TABLE t (id int); CREATE TABLE u (id int)")
    with transactions(server) as connection, connection.cursor() as cursor:
        for end, expected in (
            ("rollback", None),
            ("commit", "1"),
            ("rollback", "1"),
            ("commit", "1,1"),
        ):
            assert cursor.adbc_ingest("t", ONE, mode="append") == 1
            assert cursor.adbc_ingest("u", ONE, mode="append") == 1
            assert cursor.adbc_ingest("new", TWO, mode="create_append") == 1
            getattr(connection, end)()
            assert ids(database) == expected
            assert ids(database, "u") == expected
    assert ids(database, "new") == "2,2"


def test_a_connection_that_is_closed_rolls_back(server: Server, database: Database) -> None:
    database.run("CREATE TABLE t (id int)")
    with transactions(server) as connection, connection.cursor() as cursor:
        cursor.adbc_ingest("t", ONE, mode="append")
    assert database.count("t") == 0
    # The lock that the ingest held is gone.
    database.run("DROP TABLE t")


def test_an_error_in_the_middle_rolls_everything_back(server: Server, database: Database) -> None:
    database.run("CREATE TABLE t (id int); CREATE TABLE k (id int PRIMARY KEY)")
    with transactions(server) as connection, connection.cursor() as cursor:
        cursor.adbc_ingest("t", ONE, mode="append")
        with pytest.raises(flightsql.Error, match="23505"):
            cursor.adbc_ingest("k", pa.concat_tables([ONE, ONE]), mode="append")
        with pytest.raises(flightsql.Error, match=r"rolled back.*25P02"):
            cursor.adbc_ingest("t", ONE, mode="append")
        connection.rollback()
        cursor.adbc_ingest("t", TWO, mode="append")
        connection.commit()
        cursor.adbc_ingest("t", ONE, mode="append")
        with pytest.raises(flightsql.Error):
            cursor.adbc_ingest("k", pa.concat_tables([ONE, ONE]), mode="append")
        with pytest.raises(flightsql.Error, match="rolled back"):
            connection.commit()
        # The driver has no transaction any more, and the server takes no rows outside one.
        with pytest.raises(flightsql.Error, match="rolled back"):
            cursor.adbc_ingest("t", ONE, mode="append")
    assert ids(database) == "2"


def test_a_reader_that_fails_rolls_everything_back(server: Server, database: Database) -> None:
    database.run("CREATE TABLE t (id int)")

    def batches() -> Iterator[pa.RecordBatch]:
        yield TWO.to_batches()[0]
        raise RuntimeError("the source broke")

    with transactions(server) as connection, connection.cursor() as cursor:
        cursor.adbc_ingest("t", ONE, mode="append")
        with pytest.raises(flightsql.Error, match="the source broke"):
            reader = pa.RecordBatchReader.from_batches(TWO.schema, batches())
            cursor.adbc_ingest("t", reader, mode="append")
        connection.rollback()
        cursor.adbc_ingest("t", ONE, mode="append")
        connection.commit()
    assert ids(database) == "1"


def test_connections_with_one_token_have_transactions_of_their_own(
    database: Database, tmp_path: Path
) -> None:
    database.run("CREATE TABLE t (id int)")
    digest = hashlib.sha256(b"etl").hexdigest()
    grants = "[{ tables = ['*.*'], modes = ['append'] }]"
    file = tmp_path / "pgflight.toml"
    file.write_text(f"[principals.etl]\ntokens = ['sha256:{digest}']\ngrants = {grants}\n")
    with Server(database.url, "--config", str(file)) as server:
        header = {"adbc.flight.sql.authorization_header": "Bearer etl"}
        with contextlib.ExitStack() as stack:
            first, second = (stack.enter_context(transactions(server, **header)) for _ in range(2))
            one, two = (stack.enter_context(connection.cursor()) for connection in (first, second))
            one.adbc_ingest("t", ONE, mode="append")
            two.adbc_ingest("t", TWO, mode="append")
            second.commit()
            first.rollback()
            one.adbc_ingest("t", ONE, mode="append")
            second.rollback()
            first.commit()
    assert ids(database) == "1,2"


def test_autocommit_can_change(server: Server, database: Database) -> None:
    database.run("CREATE TABLE t (id int)")
    with transactions(server) as connection, connection.cursor() as cursor:
        cursor.adbc_ingest("t", ONE, mode="append")
        connection.adbc_connection.set_autocommit(True)
        assert ids(database) == "1"
        cursor.adbc_ingest("t", TWO, mode="append")
        assert ids(database) == "1,2"


def test_the_current_catalog_and_schema_apply(server: Server, database: Database) -> None:
    database.run("CREATE SCHEMA s; CREATE TABLE s.t (id int); CREATE TABLE t (id int)")
    with transactions(server) as connection, connection.cursor() as cursor:
        assert connection.adbc_current_catalog == "default"
        connection.adbc_current_db_schema = "s"
        assert connection.adbc_current_db_schema == "s"
        cursor.adbc_ingest("t", ONE, mode="append")
        # The driver keeps the schema of an ingest on its cursor, which takes no statement either.
        with connection.cursor() as other:
            other.adbc_ingest("t", TWO, mode="append", db_schema_name="public")
        with connection.cursor() as other:
            other.execute("DELETE FROM t")
        cursor.adbc_ingest("t", TWO, mode="append")
        connection.commit()
        assert (ids(database, "s.t"), ids(database)) == ("2", "2")
        with pytest.raises(flightsql.Error):
            connection.adbc_current_catalog = "missing"


def test_a_write_id_is_recorded_with_the_commit(server: Server, database: Database) -> None:
    database.run("CREATE TABLE t (id int)")
    option = "adbc.flight.sql.rpc.call_header.x-pgflight-write-id"
    with transactions(server, **{option: "load 7"}) as connection, connection.cursor() as cursor:
        for end in ("rollback", "commit", "commit"):
            assert cursor.adbc_ingest("t", ONE, mode="append") == 1
            getattr(connection, end)()
        with pytest.raises(flightsql.ProgrammingError, match="write id was used for 1 rows"):
            cursor.adbc_ingest("t", pa.concat_tables([ONE, ONE]), mode="append")
        connection.rollback()
    assert ids(database) == "1"


@pytest.mark.parametrize("end", ["commit", "rollback"])
def test_frames_are_written_in_one_transaction(
    server: Server, database: Database, end: str
) -> None:
    database.run("CREATE TABLE t AS SELECT 7 AS id")
    with transactions(server) as connection:
        # pandas drops the table, and makes it again.
        pd.DataFrame({"id": [1]}).to_sql(
            "t", connection, schema="public", if_exists="replace", index=False
        )
        with connection.cursor() as cursor:
            cursor.adbc_ingest("t", pl.DataFrame({"id": [2]}).to_arrow(), mode="append")
        getattr(connection, end)()
    # pandas commits what it writes.
    assert ids(database) == ("1,2" if end == "commit" else "1")
