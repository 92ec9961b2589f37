"""This process as the driver of the writes that it began: it keeps them alive, and ends them when it leaves.

Servers abort a write minutes after the last heartbeat of its driver, so that a process that was killed holds
nothing for long. A process that ends in order, or by SIGTERM, aborts what it has left open itself.
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

from pgflight import command
from pgflight.connection import Connection, Endpoint
from pgflight.errors import PgFlightError

#: Seconds after which a heartbeat that failed is sent again, at the latest.
_AGAIN_SECONDS = 5.0

#: Seconds that a call may take when the process leaves.
_LEAVE_SECONDS = 5.0

_log = logging.getLogger("pgflight")

#: Says whether the program that runs a write still does.
IsWanted = Callable[[], bool]


class Place(NamedTuple):
    """Where a write is, and where its heartbeats go."""

    endpoint: Endpoint
    target: str


class Driver:
    """Sends heartbeats for open writes, from a thread for each place."""

    def __init__(self) -> None:
        self.id = uuid.uuid4().hex
        # A handler of a signal may come while the lock is held.
        self._lock = threading.RLock()
        self._open: Dict[Place, Dict[str, IsWanted]] = {}

    def begun(
        self, place: Place, write_id: str, seconds: float, is_wanted: IsWanted = lambda: True
    ) -> None:
        """Keeps a write alive until it has ended.

        Args:
            place: Where it was begun.
            write_id: Its id.
            seconds: The time between two heartbeats.
            is_wanted: Asked now and then; the write is aborted when it is not.
        """
        with self._lock:
            is_new = place not in self._open
            self._open.setdefault(place, {})[write_id] = is_wanted
        if is_new:
            threading.Thread(target=self._beat, args=(place, seconds), daemon=True).start()

    def ended(self, place: Place, write_id: str) -> None:
        """The write needs no heartbeats any more. One that is not known is left alone."""
        with self._lock:
            self._open.get(place, {}).pop(write_id, None)

    def leave(self) -> None:
        """Aborts the writes that are open, as far as servers can be reached soon."""
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
                "abort", "AbortRequest", fields, timeout_seconds=_LEAVE_SECONDS
            )
        except PgFlightError as error:
            said = f"is left open, for its server to end: {error.message}"
        else:
            if answer.get("state") != "WRITE_STATE_ABORTED":
                return
            said = f"is aborted: {reason}"
        _log.warning("pgflight: write %s %s", write_id, said)

    def _beat(self, place: Place, seconds: float) -> None:
        """Sends heartbeats to a place for as long as a write is open there."""
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
                # A new connection may reach another server, and reads a token from its file again.
                connection, pause = None, min(seconds, _AGAIN_SECONDS)
            else:
                for write_id in set(writes).difference(answer.get("openWriteIds", ())):
                    self.ended(place, write_id)
            for write_id, is_wanted in writes.items():
                if not is_wanted():
                    self._abort(place, write_id, "the program that ran it has ended")
            time.sleep(pause)


_driver: Optional[Driver] = None


def this_driver() -> Driver:
    """The driver that this process is. A forked child is another, and begins without writes."""
    global _driver
    if _driver is None:
        _driver = Driver()
    return _driver


def ended(place: Place, write_id: str) -> None:
    """This process sends no heartbeats for the write any more, if it did."""
    if _driver is not None:
        _driver.ended(place, write_id)


def end_on_sigterm() -> None:
    """Lets SIGTERM abort open writes before it ends the process, where the program leaves it to the system."""
    with contextlib.suppress(ValueError):  # Python takes this from the main thread alone.
        if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            signal.signal(signal.SIGTERM, _on_sigterm)


def _on_sigterm(number: int, frame: Any) -> None:
    _leave()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGTERM)


def _leave() -> None:
    if _driver is not None:
        _driver.leave()


def _forget() -> None:
    global _driver
    _driver = None


atexit.register(_leave)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
