"""Compares the written tables with their CSV files, without Spark, Arrow or pgflight.

Python's csv module reads the files, and PostgreSQL reads the tables. Both sides write every row as the same text, hash it
with md5 and add up the numbers. The sum does not depend on the order of the rows, and a lost, doubled or changed row
changes it. Floating point numbers are compared by their bits.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import os
import struct
import sys
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

import psycopg
from nycflights_tables import TABLES
from psycopg import sql

MISSING = "NA"
SEPARATOR = "\x1f"
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)

QUERY = """
    SELECT a.name AS airline,
           count(*) AS flights,
           round(avg(f.arr_delay)::numeric, 1) AS "minutes late",
           round((avg(f.arr_delay) FILTER (WHERE w.precip > 0))::numeric, 1) AS "in the rain"
      FROM {schema}.flights f
      JOIN {schema}.airlines a USING (carrier)
      JOIN {schema}.weather w ON w.origin = f.origin AND w.time_hour = f.time_hour
     GROUP BY a.name
    HAVING count(*) > 1000
     ORDER BY "minutes late" DESC
     LIMIT 8"""


def bits(text: str) -> str:
    return struct.pack(">d", float(text)).hex()


def microseconds(text: str) -> str:
    """Converts a time like 2013-01-01T10:00:00Z; another form is an error."""
    moment = datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=timezone.utc)
    return str(int((moment - EPOCH).total_seconds()) * 1_000_000)


class Memo(dict[str, str]):
    """Caches a function of the values of a column, which repeat often."""

    def __init__(self, function: Callable[[str], str]) -> None:
        super().__init__()
        self.function = function

    def __missing__(self, text: str) -> str:
        value = "N" if text == MISSING else "V" + self.function(text)
        self[text] = value
        return value


# For each PostgreSQL type, its canonical text in Python and in SQL.
CANONICAL: dict[str, tuple[Callable[[str], str], str]] = {
    "text": (str, "{}"),
    "integer": (lambda text: str(int(text)), "{}::text"),
    "double precision": (bits, "encode(float8send({}), 'hex')"),
    "timestamp with time zone": (
        microseconds,
        "(extract(epoch FROM {}) * 1000000)::bigint::text",
    ),
}


def digest(row: str) -> int:
    return int(hashlib.md5(row.encode()).hexdigest()[:15], 16)


def expected(path: Path, columns: dict[str, str]) -> tuple[int, int, list[int]]:
    """Returns row count, checksum and NULLs per column of the file."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = csv.reader(file)
        header = next(rows)
        if header != list(columns):
            sys.exit(f"{path} has the columns {header}, not {list(columns)}")
        memos = [Memo(CANONICAL[type_][0]) for type_ in columns.values()]
        nulls = [0] * len(columns)
        row_count = checksum = 0
        for row in rows:
            values = [memo[text] for memo, text in zip(memos, row, strict=True)]  # type: ignore[call-overload]
            for index, value in enumerate(values):
                if value == "N":
                    nulls[index] += 1
            row_count += 1
            checksum += digest(SEPARATOR.join(values))
    return row_count, checksum, nulls


def landed(
    connection: psycopg.Connection, schema: str, table: str, columns: dict[str, str]
) -> tuple[int, int, list[int]]:
    """Returns the same three of the table."""
    found = dict(
        connection.execute(
            "SELECT attname, format_type(atttypid, NULL) FROM pg_attribute"
            " WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
            [sql.Identifier(schema, table).as_string(connection)],
        ).fetchall()
    )
    if found != columns:
        sys.exit(f"{schema}.{table} has the columns {found}, not {columns}")

    fields = [
        sql.SQL("coalesce('V' || " + CANONICAL[type_][1] + ", 'N')").format(sql.Identifier(name))
        for name, type_ in columns.items()
    ]
    nulls = [
        sql.SQL("count(*) FILTER (WHERE {} IS NULL)").format(sql.Identifier(name))
        for name in columns
    ]
    statement = sql.SQL(
        "SELECT count(*), coalesce(sum(('x' || left(md5(concat_ws(chr(31), {fields})), 15))"
        "::bit(60)::bigint::numeric), 0)::text, ARRAY[{nulls}] FROM {table}"
    ).format(
        fields=sql.SQL(", ").join(fields),
        nulls=sql.SQL(", ").join(nulls),
        table=sql.Identifier(schema, table),
    )
    row = connection.execute(statement).fetchone()
    assert row is not None
    return row[0], int(row[1]), row[2]


def check(connection: psycopg.Connection, schema: str, data: Path) -> bool:
    print(f"{'table':<10} {'rows':>9} {'columns':>8} {'NULLs':>9} {'checksum':>21}")
    good = True
    for table, columns in TABLES.items():
        want = expected(data / f"{table}.csv", columns)
        have = landed(connection, schema, table, columns)
        verdict = "same as the file" if want == have else "NOT the same as the file"
        print(
            f"{table:<10} {have[0]:>9,} {len(columns):>8} {sum(have[2]):>9,} {have[1]:>21x}"
            f"  {verdict}"
        )
        if want != have:
            good = False
            print(f"    file:  {want[0]:,} rows, checksum {want[1]:x}")
            for name, in_file, in_table in zip(columns, want[2], have[2]):
                if in_file != in_table:
                    print(f"    {name}: {in_table:,} NULLs, and {in_file:,} in the file")
    return good


def show(connection: psycopg.Connection, schema: str) -> None:
    cursor = connection.execute(sql.SQL(QUERY).format(schema=sql.Identifier(schema)))
    names = [column.name for column in cursor.description or []]
    print(f"{names[0]:<28}" + "".join(f"{name:>14}" for name in names[1:]))
    for name, *numbers in cursor:
        print(f"{name:<28}" + "".join(f"{number:>14,}" for number in numbers))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("action", choices=["prepare", "check", "show"])
    parser.add_argument(
        "--postgres",
        default=os.environ.get("PGFLIGHT_POSTGRES"),
        help="postgres:// URL; by default the variable PGFLIGHT_POSTGRES",
    )
    parser.add_argument("--data", type=Path)
    parser.add_argument("--schema", default="nycflights")
    args = parser.parse_args()

    with psycopg.connect(args.postgres) as connection:
        if args.action == "prepare":
            schema = sql.Identifier(args.schema)
            connection.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(schema))
        elif args.action == "check":
            if not check(connection, args.schema, args.data):
                sys.exit(1)
        else:
            show(connection, args.schema)


if __name__ == "__main__":
    main()
