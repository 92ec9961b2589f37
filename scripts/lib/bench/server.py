"""A pgflight server of the benchmark's own."""

from __future__ import annotations

import os
import re
import subprocess
import time
from pathlib import Path

from bench import processes

_LISTENING = re.compile(r"listening on ([0-9.]+:[0-9]+)")
_MONITOR = re.compile(r"status page are at http://([0-9.]+:[0-9]+)/")


class Server:
    """Starts `pgflight serve` on a free port; ends it when left."""

    def __init__(self, binary: Path, postgres: str, log: Path, *options: str) -> None:
        self._log = log
        environment = {**os.environ, "PGFLIGHT_POSTGRES": postgres, "NO_COLOR": "1"}
        with log.open("wb") as out:
            self._process = subprocess.Popen(
                [binary, "serve", "--listen", "127.0.0.1:0", *options],
                stdout=out,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env=environment,
            )
        self.pid = self._process.pid
        self.url = f"grpc://{self._address()}"
        found = _MONITOR.search(log.read_text())
        #: Where metrics and the status page are, if they were asked for.
        self.monitor = found.group(1) if found else None
        #: Resident bytes before its first call.
        self.idle_bytes = processes.memory_bytes(self.pid)

    def _address(self) -> str:
        give_up = time.monotonic() + 30
        while time.monotonic() < give_up and self._process.poll() is None:
            found = _LISTENING.search(self._log.read_text())
            if found:
                return found.group(1)
            time.sleep(0.05)
        raise RuntimeError(f"pgflight did not start; see {self._log}")

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
