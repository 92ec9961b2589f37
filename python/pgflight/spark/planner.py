"""The connection between Spark's planner and the user's own process.

A data source of Spark 4 begins and commits in Python processes that Spark starts beside its JVM and that end at once,
so they can neither keep a write alive nor see the session's settings. Therefore `pgflight.register` lets the user's process listen at a socket that is
named after the JVM's process id, in a directory that no other user can enter. A planner connects to the socket of its
own JVM. Without a socket (on Spark Connect, or if `register` was not called) a write has no driver, and servers end it by their
TTL.
"""

from __future__ import annotations

import contextlib
import os
import stat
import subprocess
import tempfile
import threading
import time
from multiprocessing.connection import Client, Listener
from pathlib import Path
from typing import Any, NamedTuple, Optional, Tuple

import pyarrow as pa

from pgflight import driver
from pgflight.distributed import DistributedWrite
from pgflight.driver import Place
from pgflight.flight.connection import Endpoint
from pgflight.options import WriteOptions
from pgflight.result import WriteResult

#: Seconds that a planner waits for an answer of the user's process, which may be suspended.
_ANSWER_SECONDS = 2.0

#: How many ancestors a planner checks. It is a child of Spark's daemon of Python workers, a child of the JVM.
_MAX_ANCESTORS = 4


class _Begun(NamedTuple):
    """A planner has begun this write under the driver's id."""

    place: Place
    write_id: str
    seconds: float


class _Ended(NamedTuple):
    """A planner has ended this write."""

    place: Place
    write_id: str
    result: Optional[WriteResult]


class _Setting(NamedTuple):
    """A planner asks for a setting of the session."""

    name: str


#: The message that asks for the driver's id.
_ASK_ID = None

_listening: Optional[int] = None
_session: Any = None
_last_result: Optional[Tuple[float, WriteResult]] = None


def listen(jvm: int, spark: Any) -> None:
    """Makes this process the driver of the writes that planners of a JVM begin.

    Args:
        jvm: The JVM's process id, as `process_of_jvm` finds it.
        spark: The session whose settings planners ask for.
    """
    global _listening, _session
    _session = spark
    directory = _directory()
    if directory is None or _listening == jvm:
        return
    path = directory / f"{jvm}.sock"
    with contextlib.suppress(FileNotFoundError):
        path.unlink()  # An earlier process had this id.
    # The listener removes the socket when this process ends.
    listener = Listener(str(path), "AF_UNIX", backlog=16)
    _listening = jvm
    driver.end_on_sigterm()
    threading.Thread(target=_serve, args=(listener, jvm), daemon=True).start()


def process_of_jvm(spark: Any) -> Optional[int]:
    """Returns the process id of a session's JVM; None on Spark Connect, whose planners run elsewhere."""
    if type(spark).__module__.startswith("pyspark.sql.connect"):
        return None
    from py4j.protocol import Py4JError

    try:
        return int(spark._jvm.java.lang.ProcessHandle.current().pid())
    except Py4JError:
        return None  # The cluster restricts calls into the JVM.


def begin(
    endpoint: Endpoint,
    table: str,
    schema: pa.Schema,
    options: WriteOptions,
    write_id: Optional[str],
) -> DistributedWrite:
    """Begins a write in a planner. The user's process keeps it alive, if it listens."""
    driver_id = _ask(_ASK_ID) or ""
    write = DistributedWrite.begin(endpoint, table, schema, options, write_id, driver=driver_id)
    if driver_id and write.needs_heartbeats:
        _ask(_Begun(write.place, write.write_id, write.status.heartbeat_seconds))
    return write


def end(write: DistributedWrite, result: Optional[WriteResult] = None) -> None:
    """Reports to the user's process that the write has ended, with its result if it is committed."""
    _ask(_Ended(write.place, write.write_id, result))


def setting(name: str) -> Optional[str]:
    """Returns a setting of the user's session, in a planner; None if the user's process does not listen."""
    return _ask(_Setting(name))


def last_result() -> Optional[Tuple[float, WriteResult]]:
    """Returns the last result that a planner has reported to this process, and when, as `time.time()` has it."""
    return _last_result


def _serve(listener: Listener, jvm: int) -> None:
    global _last_result
    while True:
        try:
            with listener.accept() as connection:
                message = connection.recv()
                if isinstance(message, _Setting):
                    connection.send(_setting(message.name))
                    continue
                if isinstance(message, _Begun):
                    driver.this_driver().begun(*message, is_wanted=lambda: _runs(jvm))
                elif isinstance(message, _Ended):
                    driver.this_driver().ended(message.place, message.write_id)
                    if message.result is not None:
                        _last_result = time.time(), message.result
                connection.send(driver.this_driver().id)
        except (OSError, EOFError):
            # A planner may end at any moment, and the process may have no file descriptor left.
            time.sleep(0.05)


def _setting(name: str) -> Optional[str]:
    # The session may have ended, or not know the setting. The thread also keeps writes alive, so it goes on.
    with contextlib.suppress(Exception):
        return str(_session.conf.get(name))
    return None


def _ask(message: Any) -> Optional[str]:
    """Sends a message to the user's process. Returns the answer, or None if that process does not listen."""
    with contextlib.suppress(OSError, EOFError):
        path = _path_of_ancestor()
        if path is not None:
            with Client(str(path), "AF_UNIX") as connection:
                connection.send(message)
                if connection.poll(_ANSWER_SECONDS):
                    answer: Optional[str] = connection.recv()
                    return answer
    return None


def _directory() -> Optional[Path]:
    """Returns the directory of the sockets, which only this user can enter; None without such sockets."""
    if os.name != "posix":
        return None
    path = Path(tempfile.gettempdir()) / f"pgflight-{os.getuid()}"
    with contextlib.suppress(FileExistsError):
        path.mkdir(mode=0o700)
    found = path.lstat()
    is_ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()
    return path if is_ours and not found.st_mode & 0o077 else None


def _path_of_ancestor() -> Optional[Path]:
    directory, process = _directory(), os.getppid()
    for _ in range(_MAX_ANCESTORS):
        if directory is None or process <= 1:
            return None
        path = directory / f"{process}.sock"
        if path.exists():
            return path
        process = _parent_of(process)
    return None


def _parent_of(process: int) -> int:
    """Returns the id of the parent process; 0 if it is unknown."""
    try:
        # The process name before it, in parentheses, may hold any character.
        return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])
    except (OSError, ValueError, IndexError):
        pass
    try:
        ps = ["ps", "-o", "ppid=", "-p", str(process)]
        return int(subprocess.run(ps, capture_output=True, check=True, timeout=5).stdout)
    except (OSError, ValueError, subprocess.SubprocessError):
        return 0


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except OSError:
        return False
    return True
