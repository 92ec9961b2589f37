"""A process that runs ways, so that the cost of each can be measured.

    python -m bench.rig.worker

It reads a request as a line of JSON, answers `ready` when the way has its rows, waits for `go`, and answers the result as a
line of JSON; then it reads the next request. The output of libraries goes to standard error.
"""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from typing import Any

from bench.rig.job import Job


def main() -> None:
    """Serves requests until standard input ends."""
    # Spark and libpq may write to standard output, so answers use their own descriptor.
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
    from bench.rig import ways

    run = ways.WAYS[job.way].prepare(job)
    print("ready", file=answers)
    if sys.stdin.readline().strip() != "go":
        raise RuntimeError("the line after `ready` is not `go`")
    started = time.perf_counter()
    run()
    return {"seconds": time.perf_counter() - started}


if __name__ == "__main__":
    main()
