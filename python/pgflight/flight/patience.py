"""Retries of a call while servers or PostgreSQL are away."""

from __future__ import annotations

import logging
import math
import random
import re
import time
from typing import Optional, Union

from pgflight.errors import InvalidCommand, PgFlightError

#: Seconds for which a call is tried again by default: longer than a restart of PostgreSQL or of a server.
DEFAULT_SECONDS = 60.0

_FIRST_PAUSE = 0.1
_MAX_PAUSE = 5.0

#: Seconds after which the log says that a call is waiting.
_SILENT_SECONDS = 2.0

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_WORDS = {
    "": "s",
    "sec": "s",
    "second": "s",
    "min": "m",
    "minute": "m",
    "hour": "h",
    "millisecond": "ms",
}

_log = logging.getLogger("pgflight")


class Patience:
    """Decides whether a call is tried again after a retryable error, until its time is over.

    The time runs from the first error. Each pause is twice the pause before, up to five seconds, and shortened at
    random by up to half, so that clients do not come back in step.
    """

    def __init__(self, seconds: float) -> None:
        """Args:
        seconds: The time for retries; 0 means no retry.
        """
        self._seconds = seconds
        self._began: Optional[float] = None
        self._pause = _FIRST_PAUSE
        self._has_said = False

    def allows(self, error: PgFlightError) -> bool:
        """Waits for the next try. Returns False if there is none, so that the caller raises the error.

        If the time is over, the error's `tried_seconds` is set.
        """
        if not error.retryable or self._seconds <= 0:
            return False
        now = time.monotonic()
        if self._began is None:
            self._began = now
        left = self._began + self._seconds - now
        if left <= 0:
            error.tried_seconds = round(now - self._began, 1)
            error.hint = error.hint or "raise retry_timeout to wait longer"
            return False
        if not self._has_said and now - self._began >= _SILENT_SECONDS:
            self._has_said = True
            _log.warning("pgflight tries again for up to %g s: %s", self._seconds, error.message)
        time.sleep(min(self._pause * random.uniform(0.5, 1.0), left))
        self._pause = min(self._pause * 2, _MAX_PAUSE)
        return True


def seconds_of(timeout: Union[None, int, float, str], name: str = "retry_timeout") -> float:
    """Reads a time.

    Args:
        timeout: Seconds; or text with units: "90", "90s", "2min", "1m 30s", "500ms". None is the default.
        name: The name of the caller's option, for the error.

    Raises:
        InvalidCommand: for anything else.
    """
    if timeout is None:
        return DEFAULT_SECONDS
    seconds = -1.0
    if isinstance(timeout, str):
        seconds = _seconds_in(timeout.strip().lower())
    elif isinstance(timeout, (int, float)) and not isinstance(timeout, bool):
        seconds = float(timeout)
    if not math.isfinite(seconds) or seconds < 0:
        raise InvalidCommand(
            f"{name} is not a time", hint="set it in seconds, or as in '90s' or '2min'"
        )
    return seconds


def _seconds_in(text: str) -> float:
    if not re.fullmatch(r"(?:\d+(?:\.\d+)?\s*[a-z]*\s*)+", text):
        return -1.0
    total = 0.0
    for number, word in re.findall(r"(\d+(?:\.\d+)?)\s*([a-z]*)", text):
        unit = word if word in _UNITS else _WORDS.get(word if word in _WORDS else word.rstrip("s"))
        if unit is None:
            return -1.0
        total += float(number) * _UNITS[unit]
    return total
