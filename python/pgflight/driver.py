"""The driver of the writes that this process began: it keeps them alive, and aborts them when the process ends.

Servers abort a write minutes after the last heartbeat of its driver, so a killed process holds nothing for long. A
process that ends in order or by SIGTERM aborts its open writes itself.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import signal
import threading
import time
import uuid
from typing import Any, Callable, Dict, NamedTuple, Optional

from pgflight.errors import PgFlightError
from pgflight.flight import command
from pgflight.flight.connection import Connection, Endpoint

#: The longest pause, in seconds, before a failed heartbeat is sent again.
_RETRY_SECONDS = 5.0

#: Seconds that a call may take when the process ends.
_EXIT_SECONDS = 5.0

_log = logging.getLogger("pgflight")

#: Returns whether the program still needs its write.
IsWanted = Callable[[], bool]


class Place(NamedTuple):
    """The server and target of a write, to which its heartbeats go."""

    endpoint: Endpoint
    target: str


class Driver:
    """Sends heartbeats for open writes, from one thread for each place."""

    def __init__(self) -> None:
        self.id = uuid.uuid4().hex
        # A signal handler may run while the lock is held.
        self._lock = threading.RLock()
        self._open: Dict[Place, Dict[str, IsWanted]] = {}

    def begun(
        self, place: Place, write_id: str, seconds: float, is_wanted: IsWanted = lambda: True
    ) -> None:
        """Keeps a write alive until it has ended.

        Args:
            place: Its server and target.
            write_id: Its id.
            seconds: The time between two heartbeats.
            is_wanted: Called before each heartbeat. The write is aborted when it returns False.
        """
        with self._lock:
            is_new = place not in self._open
            self._open.setdefault(place, {})[write_id] = is_wanted
        if is_new:
            threading.Thread(target=self._beat, args=(place, seconds), daemon=True).start()

    def ended(self, place: Place, write_id: str) -> None:
        """Stops the heartbeats of a write. An unknown write changes nothing."""
        with self._lock:
            self._open.get(place, {}).pop(write_id, None)

    def abort_open(self) -> None:
        """Aborts the open writes whose servers answer in time."""
        with self._lock:
            left = [
                (place, write_id) for place, writes in self._open.items() for write_id in writes
            ]
        for place, write_id in left:
            self._abort(place, write_id, "the driver ended before it committed")

    def _abort(self, place: Place, write_id: str, reason: str) -> None:
        self.ended(place, write_id)
        fields = command.at(place.target, {"writeId": write_id, "reason": reason})
        try:
            answer = place.endpoint.connect().action(
                "abort", "AbortRequest", fields, timeout_seconds=_EXIT_SECONDS
            )
        except PgFlightError as error:
            outcome = f"stays open until its server aborts it: {error.message}"
        else:
            if answer.get("state") != "WRITE_STATE_ABORTED":
                return
            outcome = f"is aborted: {reason}"
        _log.warning("pgflight: write %s %s", write_id, outcome)

    def _beat(self, place: Place, seconds: float) -> None:
        """Sends heartbeats to a place while a write is open there."""
        connection: Optional[Connection] = None
        fields = command.at(place.target, {"driver": self.id})
        while True:
            with self._lock:
                writes = dict(self._open[place])
                if not writes:
                    del self._open[place]
                    return
            pause = seconds
            try:
                connection = connection or place.endpoint.connect()
                answer = connection.action("heartbeat", "HeartbeatRequest", fields)
            except PgFlightError as error:
                _log.debug("pgflight: a heartbeat failed: %s", error.message)
                # A new connection may reach another server, and reads the token file again.
                connection, pause = None, min(seconds, _RETRY_SECONDS)
            else:
                for write_id in set(writes).difference(answer.get("openWriteIds", ())):
                    self.ended(place, write_id)
            for write_id, is_wanted in writes.items():
                if not is_wanted():
                    self._abort(place, write_id, "the program that ran it has ended")
            time.sleep(pause)


_driver: Optional[Driver] = None


def this_driver() -> Driver:
    """Returns the driver of this process. A forked child has its own, without writes."""
    global _driver
    if _driver is None:
        _driver = Driver()
    return _driver


def ended(place: Place, write_id: str) -> None:
    """Stops the heartbeats of a write, if this process sends any."""
    if _driver is not None:
        _driver.ended(place, write_id)


def end_on_sigterm() -> None:
    """Makes SIGTERM abort open writes before it ends the process, unless the program handles SIGTERM itself."""
    with contextlib.suppress(ValueError):  # Python allows this in the main thread only.
        if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            signal.signal(signal.SIGTERM, _on_sigterm)


def _on_sigterm(number: int, frame: Any) -> None:
    _abort_open()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGTERM)


def _abort_open() -> None:
    if _driver is not None:
        _driver.abort_open()


def _forget() -> None:
    global _driver
    _driver = None


atexit.register(_abort_open)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
