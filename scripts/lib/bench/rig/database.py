"""PostgreSQL: the tables to write to, the reference for the written rows, and its processes."""

from __future__ import annotations

import running

from bench.rig.shapes import Files, Shape

#: The table that every way writes.
TARGET = "bench_target"


class Database(running.Database):
    """The benchmark's connection."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._expected: dict[tuple[str, int], tuple[int, str]] = {}

    def version(self) -> str:
        """Returns `server_version`."""
        return str(self.row("SHOW server_version")[0])

    def settings(self, *names: str) -> dict[str, str]:
        """Returns settings by name."""
        return {name: str(self.row(f"SHOW {name}")[0]) for name in names}

    def postmaster(self) -> int:
        """Returns the process id of the parent of all backends."""
        return int(self.row("SELECT pg_read_file('postmaster.pid')")[0].split()[0])

    def make_reference(self, shape: Shape, files: Files) -> None:
        """Loads the rows as CSV, by PostgreSQL's own parser, and writes the baseline's binary files."""
        reference = f"reference_{shape.name}"
        # Tables do not keep the order of rows, so each row has a number.
        number = "row_number bigint GENERATED ALWAYS AS IDENTITY"
        self.run(f"DROP TABLE IF EXISTS {reference}")
        self.run(f"CREATE TABLE {reference} ({shape.ddl}, {number})")
        names = ", ".join(shape.columns)
        load = f"COPY {reference} ({names}) FROM STDIN (FORMAT csv)"
        with files.csv.open("rb") as file:
            self.copy_in(load, iter(lambda: file.read(1 << 20), b""))
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
        """Returns count and checksum of the reference's first rows."""
        key = (shape.name, row_count)
        if key not in self._expected:
            first = f"reference_{shape.name} WHERE row_number <= {row_count}"
            self._expected[key] = self._checksum(shape, first)
        return self._expected[key]

    def landed(self, shape: Shape) -> tuple[int, str]:
        """Returns count and checksum of the rows that a way wrote."""
        return self._checksum(shape, TARGET)

    def new_target(self, shape: Shape, *, there: bool) -> None:
        """Drops the target, creates it unless the way does, and runs a checkpoint."""
        self.run(f"DROP TABLE IF EXISTS {TARGET}")
        if there:
            self.run(f"CREATE TABLE {TARGET} ({shape.ddl})")
        self.run("CHECKPOINT")

    def _checksum(self, shape: Shape, source: str) -> tuple[int, str]:
        # The sum does not depend on the order of rows, and each hash covers all columns.
        row = f"ROW({', '.join(shape.columns)})"
        query = f"SELECT count(*), sum(hash_record_extended({row}, 0)) FROM {source}"
        count, total = self.row(query)
        return int(count), str(total)
