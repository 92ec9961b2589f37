"""The request to run a way once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bench.rig.shapes import Files


@dataclass(frozen=True)
class Job:
    """A run of a way."""

    way: str
    #: URL of PostgreSQL.
    postgres: str
    #: URL of pgflight.
    pgflight: str
    table: str
    directory: str
    row_count: int
    #: Column names, in order, and their PostgreSQL types.
    columns: dict[str, str]
    #: Rows that this way writes: fewer if all would take too long.
    used_rows: int
    #: Number of streams, connections or partitions.
    width: int

    @property
    def files(self) -> Files:
        """The shape's files."""
        return Files(Path(self.directory), self.row_count)
