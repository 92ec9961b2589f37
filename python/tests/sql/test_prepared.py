"""Prepared INSERTs by ADBC's Flight SQL driver: execute and executemany of DB-API."""

from __future__ import annotations

from typing import Any, Iterator

import adbc_driver_flightsql.dbapi as flightsql
import pyarrow as pa
import pytest
from conftest import Database, Server

INSERT = "INSERT INTO t (id, note) VALUES (?, ?)"
ROWS = pa.table({"x": pa.array([1, 2, 3], pa.int32()), "y": ["a", None, "ä"]})


@pytest.fixture
def server(database: Database) -> Iterator[Server]:
    database.run("CREATE TABLE t (id int4 PRIMARY KEY, note text)")
    with Server(database.url) as server:
        yield server


def notes(database: Database) -> Any:
    return database.value("SELECT string_agg(id || coalesce(note, '-'), ',' ORDER BY id) FROM t")


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (ROWS, "1a,2-,3ä"),
        (ROWS.to_batches()[0], "1a,2-,3ä"),
        (pa.concat_tables([ROWS.slice(0, 1), ROWS.slice(1)]).to_reader(), "1a,2-,3ä"),
        ([(1, "a"), (2, None)], "1a,2-"),
        ([(7, None)], "7-"),
    ],
)
def test_executemany_inserts_all_rows(
    server: Server, database: Database, rows: Any, expected: str
) -> None:
    connection = flightsql.connect(server.url, autocommit=True)
    with connection, connection.cursor() as cursor:
        cursor.executemany(INSERT, rows)
        assert cursor.rowcount == expected.count(",") + 1
    assert notes(database) == expected


def test_execute_inserts_a_row_each_time(server: Server, database: Database) -> None:
    connection = flightsql.connect(server.url, autocommit=True)
    with connection, connection.cursor() as cursor:
        for number in (1, 2):
            cursor.execute(INSERT, (number, "a"))
        cursor.execute("INSERT INTO t VALUES (?, ?)", (3, None))
        schema = cursor.adbc_prepare(INSERT)
        assert schema.names == ["id", "note"]
        assert schema.field("id").type == pa.int32()
        with pytest.raises(flightsql.Error, match=r"no rows are bound.*Hint: "):
            cursor.execute(INSERT)
    assert notes(database) == "1a,2a,3-"


def test_a_statement_outlives_its_transactions(server: Server, database: Database) -> None:
    with flightsql.connect(server.url) as connection, connection.cursor() as cursor:
        cursor.executemany(INSERT, [(1, "a"), (2, "b")])
        assert notes(database) is None
        connection.rollback()
        cursor.executemany(INSERT, [(3, "c")])
        connection.commit()
        assert notes(database) == "3c"
        cursor.executemany(INSERT, [(4, "d")])
        assert notes(database) == "3c"
        connection.commit()
        assert notes(database) == "3c,4d"
        cursor.execute(INSERT, (5, "e"))
        with pytest.raises(flightsql.Error, match="23505"):
            cursor.executemany(INSERT, [(5, "e")])
        with pytest.raises(flightsql.Error, match="25P02"):
            connection.commit()
    assert notes(database) == "3c,4d"


def test_the_rows_of_a_new_table_are_inserted_with_it(server: Server, database: Database) -> None:
    with flightsql.connect(server.url) as connection, connection.cursor() as cursor:
        cursor.adbc_ingest("new", ROWS, mode="create")
        cursor.executemany("INSERT INTO new (y, x) VALUES (?, ?)", [("b", 9)])
        connection.commit()
    assert database.value("SELECT count(*) || ',' || max(x) FROM new") == "4,9"


def test_other_statements_are_refused_with_what_to_use(server: Server, database: Database) -> None:
    connection = flightsql.connect(server.url, autocommit=True)
    with connection, connection.cursor() as cursor:
        for text in (
            "UPDATE t SET note = ? WHERE id = ?",
            "INSERT INTO t VALUES (?, 'a')",
            "INSERT INTO t VALUES (?, ?) ON CONFLICT DO NOTHING",
        ):
            with pytest.raises(flightsql.NotSupportedError, match=r"Hint: .*adbc_ingest"):
                cursor.executemany(text, [(1, "a")])
        with pytest.raises(flightsql.ProgrammingError, match="does not exist"):
            cursor.executemany("INSERT INTO missing VALUES (?)", [(1,)])
    assert database.count("t") == 0
