"""polars and pandas, which write by ADBC's Flight SQL driver."""

from __future__ import annotations

import sys
from typing import Any, Iterator, Optional

import adbc_driver_flightsql
import adbc_driver_flightsql.dbapi as flightsql
import pandas as pd
import polars as pl
import pytest
from conftest import Database, Server

ROWS = {"id": [2, 3], "name": ["a", None]}


@pytest.fixture
def connection(database: Database) -> Iterator[Any]:
    server = Server(database.url)
    with server, flightsql.connect(server.url, autocommit=True) as connection:
        yield connection


@pytest.fixture(autouse=True)
def driver_of_polars(monkeypatch: pytest.MonkeyPatch) -> None:
    """Polars 1 looks for a driver that is named after the server."""
    monkeypatch.setitem(sys.modules, "adbc_driver_pgflight", adbc_driver_flightsql)


def ids(database: Database) -> Any:
    return database.value("SELECT string_agg(id::text, ',' ORDER BY id) FROM t")


@pytest.mark.parametrize(
    ("if_exists", "without", "having"),
    [
        ("fail", "2,3", None),
        ("replace", "2,3", "2,3"),
        ("append", "2,3", "1,2,3"),
    ],
)
@pytest.mark.parametrize("table", ["t", "public.t"])
def test_polars_writes_in_each_mode(
    connection: Any,
    database: Database,
    table: str,
    if_exists: Any,
    without: str,
    having: Optional[str],
) -> None:
    frame = pl.DataFrame(ROWS)

    def write() -> int:
        return frame.write_database(table, connection, engine="adbc", if_table_exists=if_exists)

    if if_exists == "append" and pl.__version__ < "2":
        # polars 1 leaves it to the server, whose mode append needs a table.
        with pytest.raises(flightsql.ProgrammingError, match=r"NOT_FOUND.*Hint: "):
            write()
        database.run("CREATE TABLE t (id int8, name text)")
    else:
        assert write() == 2
        assert ids(database) == without
    database.run("TRUNCATE t")
    database.run("INSERT INTO t (id) VALUES (1)")
    if having is None:
        with pytest.raises(flightsql.ProgrammingError, match=r"exists.*Hint: "):
            write()
        assert ids(database) == "1"
    else:
        assert write() == 2
        assert ids(database) == having


@pytest.mark.parametrize(
    ("if_exists", "having"),
    [
        ("fail", None),
        ("replace", "2,3"),
        ("append", "1,2,3"),
        ("delete_rows", "2,3"),
    ],
)
@pytest.mark.parametrize("schema", [None, "public"])
def test_pandas_writes_in_each_mode(
    connection: Any,
    database: Database,
    schema: Optional[str],
    if_exists: Any,
    having: Optional[str],
) -> None:
    if if_exists == "delete_rows" and pd.__version__ < "3":
        pytest.skip("pandas has delete_rows since 3.0")
    frame = pd.DataFrame(ROWS)

    def write() -> Any:
        return frame.to_sql("t", connection, schema=schema, if_exists=if_exists, index=False)

    # A table of a similar name must not be taken for it, and other schemas must not disturb.
    database.run('CREATE SCHEMA other; CREATE TABLE other."T" (n int)')
    assert write() == 2
    assert ids(database) == "2,3"
    database.run("TRUNCATE t")
    database.run("INSERT INTO t (id) VALUES (1)")
    if having is None:
        with pytest.raises(ValueError, match="already exists"):
            write()
        assert ids(database) == "1"
    else:
        assert write() == 2
        assert ids(database) == having


def test_statements_run_although_nothing_is_fetched(connection: Any, database: Database) -> None:
    database.run("CREATE TABLE t AS SELECT 1 AS id")
    with connection.cursor() as cursor:
        cursor.execute('DELETE FROM "public"."t"')
        assert database.count("t") == 0
        cursor.execute("SELECT count(*) FROM t")
        assert cursor.fetchall() == [(0,)]
        cursor.executescript("DROP TABLE IF EXISTS t")
        assert database.value("SELECT to_regclass('t') IS NULL")
        # As SQLAlchemy writes it for pandas.
        cursor.execute("\nCREATE TABLE t (\n\tid BIGINT, \n\tname TEXT\n)\n\n")
        cursor.executemany("INSERT INTO t VALUES (?, ?)", [(1, "a"), (2, None)])
        assert database.rows("TABLE t") == [(1, "a"), (2, None)]
        cursor.execute("SELECT 1")
        assert cursor.fetchall() == [(1,)]
        with pytest.raises(flightsql.NotSupportedError, match=r"INSERT.*Hint: .*adbc_ingest"):
            cursor.execute("INSERT INTO t VALUES (1)")
