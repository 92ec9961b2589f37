"""How long a call waits for servers and for PostgreSQL."""

from __future__ import annotations

import logging
import math
import random
import re
import time
from typing import Optional, Union

from pgflight.errors import InvalidCommand, PgFlightError

#: Seconds for which a call is tried again, unless the caller says otherwise: longer than a restart of PostgreSQL or
#: of a server takes.
DEFAULT_SECONDS = 60.0

_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 5.0

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
    """Tries a call again after errors that are retryable, until its time is over.

    The time runs from the first error on. A pause between two tries is twice the pause before, up to five seconds;
    up to half of it is left out by chance, so that many clients do not come back in step.
    """

    def __init__(self, seconds: float) -> None:
        """Args:
        seconds: For how long to try again; 0: not at all.
        """
        self._seconds = seconds
        self._began: Optional[float] = None
        self._pause = _FIRST_PAUSE
        self._has_said = False

    def allows(self, error: PgFlightError) -> bool:
        """Waits for the next try. False: there is none, and the error is to be raised.

        An error that is raised because the time is over says for how long the call was tried.
        """
        if not error.retryable or self._seconds <= 0:
            return False
        now = time.monotonic()
        if self._began is None:
            self._began = now
        left = self._began + self._seconds - now
        if left <= 0:
            error.message += f"; tried again for {now - self._began:.1f} s (see retry_timeout)"
            return False
        if not self._has_said and now - self._began >= _SILENT_SECONDS:
            self._has_said = True
            _log.warning("pgflight tries again for up to %g s: %s", self._seconds, error.message)
        time.sleep(min(self._pause * random.uniform(0.5, 1.0), left))
        self._pause = min(self._pause * 2, _LONGEST_PAUSE)
        return True


def seconds_of(timeout: Union[None, int, float, str], name: str = "retry_timeout") -> float:
    """Reads how long to try again.

    Args:
        timeout: Seconds; or text with units: "90", "90s", "2min", "1m 30s", "500ms". None: the default.
        name: What the caller's option is called, for the error.

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
            f"{name} must be a time that is not negative, in seconds or as in '90s' or '2min'"
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
