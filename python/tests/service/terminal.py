"""Runs a command of pgflight at a terminal of some size, or with pipes."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
import threading
from typing import Any, Optional

from conftest import binary

#: Control sequences of ECMA-48, which take no room on the screen.
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Command:
    """A running command: at a terminal with the given columns, or with pipes without any."""

    def __init__(
        self, *arguments: Any, columns: Optional[int] = None, rows: int = 24, term: str = "xterm"
    ) -> None:
        if columns is None:
            source, sink = os.pipe()
        else:
            source, sink = pty.openpty()
            size = struct.pack("HHHH", rows, columns, 0, 0)
            fcntl.ioctl(sink, termios.TIOCSWINSZ, size)
        self.process = subprocess.Popen(
            [binary(), *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
            env={**os.environ, "TERM": term},
        )
        os.close(sink)
        self._told = b""
        self._reader = threading.Thread(target=self._read, args=(source,), daemon=True)
        self._reader.start()

    def _read(self, source: int) -> None:
        # A terminal without a writer fails (EIO), a pipe ends.
        try:
            while read := os.read(source, 4096):
                self._told += read
        except OSError:
            pass
        os.close(source)

    @property
    def output(self) -> str:
        """Its output so far."""
        return self._told.decode(errors="ignore")

    def end(self) -> str:
        """Waits for its success, and returns all its output."""
        assert self.process.wait(60) == 0, self.output
        self._reader.join(10)
        return self.output
