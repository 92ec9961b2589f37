"""How Spark's planner and the user's own process find each other.

A data source of Spark 4 begins and commits in Python processes that Spark starts beside its JVM and that end at once.
They cannot keep a write alive. So `pgflight.register` lets the user's process listen at a socket that is named by the
JVM's process id, in a directory that no other user can enter; a planner looks for the socket of its own JVM. Where
there is none (Spark Connect, or `register` was not called) a write has no driver, and servers end it by their TTL.
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
from typing import Any, Mapping, NamedTuple, Optional

import pyarrow as pa

from pgflight import driver
from pgflight.connection import Endpoint
from pgflight.distributed import DistributedWrite
from pgflight.driver import Place

#: Seconds that a planner waits for an answer of the user's process, which may be stopped.
_ANSWER_SECONDS = 2.0

#: A planner is a child of Spark's daemon of Python workers, which is one of the JVM.
_MOST_ANCESTORS = 4


class _Begun(NamedTuple):
    """A write that a planner has begun under the driver's id."""

    place: Place
    write_id: str
    seconds: float


class _Ended(NamedTuple):
    """A write that a planner has ended."""

    place: Place
    write_id: str


#: Asks for the driver's id alone.
_WHO = None

_listening: Optional[int] = None


def listen(jvm: int) -> None:
    """Makes this process the driver of the writes that planners of a JVM begin.

    Args:
        jvm: The JVM's process id, as `process_of_jvm` finds it.
    """
    global _listening
    directory = _directory()
    if directory is None or _listening == jvm:
        return
    path = directory / f"{jvm}.sock"
    with contextlib.suppress(FileNotFoundError):
        path.unlink()  # Of an earlier process with this id.
    # It is removed when this process ends.
    listener = Listener(str(path), "AF_UNIX", backlog=16)
    _listening = jvm
    driver.end_on_sigterm()
    threading.Thread(target=_serve, args=(listener, jvm), daemon=True).start()


def process_of_jvm(spark: Any) -> Optional[int]:
    """The process of a session's JVM. None on Spark Connect, whose planners run elsewhere."""
    if type(spark).__module__.startswith("pyspark.sql.connect"):
        return None
    from py4j.protocol import Py4JError

    try:
        return int(spark._jvm.java.lang.ProcessHandle.current().pid())
    except Py4JError:
        return None  # Where programs may not call into the JVM as they like.


def begin(
    endpoint: Endpoint, spec: Mapping[str, Any], schema: pa.Schema, write_id: Optional[str]
) -> DistributedWrite:
    """As `DistributedWrite.begin`, in a planner: the user's process keeps the write alive, if it listens."""
    driver_id = _ask(_WHO) or ""
    write = DistributedWrite.begin(endpoint, spec, schema, write_id, driver=driver_id)
    if driver_id and write.needs_heartbeats:
        _ask(_Begun(write.place, write.write_id, write.status.heartbeat_seconds))
    return write


def end(write: DistributedWrite) -> None:
    """Says that the write has ended."""
    _ask(_Ended(write.place, write.write_id))


def _serve(listener: Listener, jvm: int) -> None:
    while True:
        try:
            with listener.accept() as connection:
                message = connection.recv()
                if isinstance(message, _Begun):
                    driver.this_driver().begun(*message, is_wanted=lambda: _runs(jvm))
                elif isinstance(message, _Ended):
                    driver.this_driver().ended(*message)
                connection.send(driver.this_driver().id)
        except (OSError, EOFError):
            # A planner may leave at any moment; a process may have no room for another file.
            time.sleep(0.05)


def _ask(message: Any) -> Optional[str]:
    """Tells the user's process something; the driver's id, or None where it does not listen."""
    with contextlib.suppress(OSError, EOFError):
        path = _path_of_ancestor()
        if path is not None:
            with Client(str(path), "AF_UNIX") as connection:
                connection.send(message)
                if connection.poll(_ANSWER_SECONDS):
                    answer: str = connection.recv()
                    return answer
    return None


def _directory() -> Optional[Path]:
    """Where the sockets are: a directory of this user's alone. None where there are no such sockets."""
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
    for _ in range(_MOST_ANCESTORS):
        if directory is None or process <= 1:
            return None
        path = directory / f"{process}.sock"
        if path.exists():
            return path
        process = _parent_of(process)
    return None


def _parent_of(process: int) -> int:
    """0 where it cannot be told."""
    try:
        # The name before it, in parentheses, may hold anything.
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
