"""Reports the progress of a write to a person."""

from __future__ import annotations

import sys
import time
from typing import Callable, NamedTuple, Optional, TextIO, Union

#: Seconds between two updates of the live line on a terminal, and between two lines elsewhere.
_TERMINAL_INTERVAL = 0.2
_LINE_INTERVAL = 10.0


class Progress(NamedTuple):
    """The progress of a write.

    Attributes:
        row_count: Rows sent so far.
        byte_count: Bytes of Arrow data sent so far.
        seconds: Time since the write began.
    """

    row_count: int
    byte_count: int
    seconds: float


class Reporter:
    """Counts what is sent, and reports it at intervals."""

    def __init__(
        self,
        table: str,
        report: Union[bool, Callable[[Progress], None]],
        out: Optional[TextIO] = None,
    ) -> None:
        """Args:
        table: The table that the lines name.
        report: True prints lines to `out`. A callable is called instead, after each piece that was sent and once at
            the end.
        out: Standard error by default.
        """
        self._table = table
        self._callback = report if callable(report) else None
        self._out = out or sys.stderr
        self._live = self._callback is None and self._out.isatty()
        self._interval = _TERMINAL_INTERVAL if self._live else _LINE_INTERVAL
        self._row_count = 0
        self._byte_count = 0
        self._started = self._reported = time.monotonic()
        self._width = 0

    def sent(self, row_count: int, byte_count: int) -> None:
        """Counts a piece that was sent."""
        self._row_count += row_count
        self._byte_count += byte_count
        now = time.monotonic()
        if self._callback is not None:
            self._callback(self._progress(now))
        elif now - self._reported >= self._interval:
            self._reported = now
            self._show(self._line(now), end="" if self._live else "\n")

    def again(self) -> None:
        """Starts from 0, since everything is sent again."""
        self._row_count = self._byte_count = 0

    def finished(self) -> None:
        """Reports that the write is committed."""
        now = time.monotonic()
        if self._callback is not None:
            self._callback(self._progress(now))
        else:
            self._show(f"{self._line(now)}, committed", end="\n")

    def failed(self) -> None:
        """Ends the live line after a failure, so that the next output begins on its own line."""
        if self._live and self._width:
            self._out.write("\n")

    def _progress(self, now: float) -> Progress:
        return Progress(self._row_count, self._byte_count, now - self._started)

    def _line(self, now: float) -> str:
        seconds = max(now - self._started, 1e-3)
        return (
            f"{self._table}: {self._row_count:,} rows in {seconds:,.1f} s, "
            f"{self._row_count / seconds:,.0f} rows/s, {self._byte_count / seconds / 1e6:,.1f} MB/s"
        )

    def _show(self, line: str, end: str) -> None:
        if self._live:
            # Blanks overwrite the rest of a longer line.
            padded = line.ljust(self._width)
            self._width = len(line)
            self._out.write(f"\r{padded}{end}")
        else:
            self._out.write(f"pgflight: {line}{end}")
        self._out.flush()
