"""A process that carries out ways, so that what each costs can be told from the rest.

    python -m bench.worker

One request as a line of JSON, `ready` when the way has its rows, `go`, and the result as a line of
JSON; then the next request. Whatever libraries print goes to standard error.
"""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.shapes import Files


@dataclass(frozen=True)
class Job:
    """What a way is asked to do."""

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
    #: Rows that this way writes: fewer where all would take too long.
    used_rows: int
    #: Streams, connections or partitions, where the way has several.
    width: int

    @property
    def files(self) -> Files:
        """The shape's files."""
        return Files(Path(self.directory), self.row_count)


def main() -> None:
    """Serves requests until standard input ends."""
    # Spark and libpq write where they like; answers go out by a descriptor of their own.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            result = _serve(Job(**request), answers)
        except Exception as error:  # noqa: BLE001 # one way must not end the others
            traceback.print_exc()
            result = {"error": f"{type(error).__name__}: {error}"[:400]}
        print(json.dumps(result), file=answers)


def _serve(job: Job, answers: Any) -> dict[str, Any]:
    from bench import ways

    run = ways.WAYS[job.way].prepare(job)
    print("ready", file=answers)
    if sys.stdin.readline().strip() != "go":
        raise RuntimeError("told to go, in other words")
    started = time.perf_counter()
    run()
    return {"seconds": time.perf_counter() - started}


if __name__ == "__main__":
    main()
