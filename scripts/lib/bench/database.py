"""PostgreSQL: tables to write to, the reference that landed rows are held to, and its processes."""

from __future__ import annotations

import psycopg

from bench.shapes import Files, Shape

#: The table that every way writes.
TARGET = "bench_target"


class Database:
    """One connection of the benchmark's own."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._connection = psycopg.connect(url, autocommit=True)
        self._expected: dict[tuple[str, int], tuple[int, str]] = {}

    def version(self) -> str:
        """As `SHOW server_version` says it."""
        return str(self.one("SHOW server_version")[0])

    def settings(self, *names: str) -> dict[str, str]:
        """Settings that a reader of the figures wants to know."""
        return {name: str(self.one(f"SHOW {name}")[0]) for name in names}

    def postmaster(self) -> int:
        """The process id that all backends are children of."""
        return int(self.one("SELECT pg_read_file('postmaster.pid')")[0].split()[0])

    def make_reference(self, shape: Shape, files: Files) -> None:
        """Loads the rows as CSV, by PostgreSQL's own parser, and writes the floor's binary files."""
        reference = f"reference_{shape.name}"
        # Rows do not stay in their order in a table, so each has its number.
        number = "row_number bigint GENERATED ALWAYS AS IDENTITY"
        self.run(f"DROP TABLE IF EXISTS {reference}")
        self.run(f"CREATE TABLE {reference} ({shape.ddl}, {number})")
        names = ", ".join(shape.columns)
        load = f"COPY {reference} ({names}) FROM STDIN (FORMAT csv)"
        with self._connection.cursor().copy(load) as copy, files.csv.open("rb") as file:
            while chunk := file.read(1 << 20):
                copy.write(chunk)
        half = files.row_count // 2
        for part, which in {
            "whole": "true",
            "first": f"row_number <= {half}",
            "second": f"row_number > {half}",
        }.items():
            rows = f"SELECT {names} FROM {reference} WHERE {which} ORDER BY row_number"
            save = f"COPY ({rows}) TO STDOUT (FORMAT binary)"
            with (
                self._connection.cursor().copy(save) as copy,
                files.binary(part).open("wb") as out,
            ):
                for block in copy:
                    out.write(block)

    def expected(self, shape: Shape, row_count: int) -> tuple[int, str]:
        """Count and checksum of the reference's first rows."""
        key = (shape.name, row_count)
        if key not in self._expected:
            first = f"reference_{shape.name} WHERE row_number <= {row_count}"
            self._expected[key] = self._checksum(shape, first)
        return self._expected[key]

    def landed(self, shape: Shape) -> tuple[int, str]:
        """Count and checksum of what a way wrote."""
        return self._checksum(shape, TARGET)

    def new_target(self, shape: Shape, *, there: bool) -> None:
        """Drops the target, makes it anew unless the way does, and lets PostgreSQL come to rest."""
        self.run(f"DROP TABLE IF EXISTS {TARGET}")
        if there:
            self.run(f"CREATE TABLE {TARGET} ({shape.ddl})")
        self.run("CHECKPOINT")

    def _checksum(self, shape: Shape, source: str) -> tuple[int, str]:
        # The sum does not depend on the order of rows; each hash takes in every column.
        row = f"ROW({', '.join(shape.columns)})"
        query = f"SELECT count(*), sum(hash_record_extended({row}, 0)) FROM {source}"
        count, total = self.one(query)
        return int(count), str(total)

    def run(self, statement: str) -> None:
        """Runs a statement."""
        self._connection.execute(statement)

    def one(self, query: str) -> tuple:
        """The one row of a query."""
        row = self._connection.execute(query).fetchone()
        if row is None:
            raise RuntimeError(f"no row from {query}")
        return row
