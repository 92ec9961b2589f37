"""The benchmark's pgflight server."""

from __future__ import annotations

from pathlib import Path

import running

from bench.rig import processes


class Server(running.Server):
    """A pgflight server whose memory and CPU are measured. It writes its log to a file at its end."""

    def __init__(self, binary: Path, postgres: str, log: Path, *options: str) -> None:
        super().__init__(binary, postgres, *options)
        self._log_file = log
        #: Resident bytes before its first call.
        self.idle_bytes = processes.memory_bytes(self.pid)

    def stop(self, *, kill: bool = False) -> None:
        """Ends the server."""
        super().stop(kill=kill)
        if hasattr(self, "_log_file"):
            self._log_file.write_text("".join(self.log))
