"""Starts `bench.rig.worker`, sends it requests, and measures it."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from bench.rig import processes
from bench.rig.job import Job
from bench.rig.server import Server


@dataclasses.dataclass(frozen=True)
class Cost:
    """The cost of one run: seconds, and bytes above what the client held before it began and the server at its start."""

    seconds: float
    client_cpu: float
    server_cpu: float
    postgres_cpu: float
    client_memory: int
    server_memory: int


class WayFailed(Exception):
    """A way could not write its rows."""


class Worker:
    """A process that runs ways. A context manager ends it."""

    def __init__(self, log: Path) -> None:
        self._log = log.open("ab")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.rig.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )

    def run(self, job: Job, server: Server, postmaster: int) -> Cost:
        """Lets the way write its rows, and measures it from the moment when it has them.

        Raises:
            WayFailed: with the error of the way.
        """
        self._say(json.dumps(dataclasses.asdict(job)))
        answer = self._answer()
        if answer != "ready":
            raise WayFailed(self._error(answer))
        watched = (self._process.pid, server.pid, postmaster)
        for pid in watched[:2]:
            processes.forget_peak(pid)
        memory = (processes.memory_bytes(self._process.pid), server.idle_bytes)
        before = [processes.cpu_seconds(pid) for pid in watched]
        self._say("go")
        result = json.loads(self._answer())
        client, server_cpu, postgres = (
            processes.cpu_seconds(pid) - used for pid, used in zip(watched, before)
        )
        peak = [processes.peak_bytes(pid) - held for pid, held in zip(watched[:2], memory)]
        if "error" in result:
            raise WayFailed(result["error"])
        return Cost(result["seconds"], client, server_cpu, postgres, peak[0], peak[1])

    def _say(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def _answer(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline().strip()
        if not line:
            raise WayFailed(f"the process ended; see {self._log.name}")
        return line

    @staticmethod
    def _error(answer: str) -> str:
        result: dict[str, Any] = json.loads(answer)
        return str(result.get("error", answer))

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(60)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()
