"""A process that begins writes: its heartbeats keep them alive, and it aborts them when it ends."""

from __future__ import annotations

import signal
import subprocess
import time
from typing import Any, Iterator

import pytest
from conftest import Database, Server, in_process, wait_until

BEGIN = """
import os, signal, sys, time
import pyarrow as pa
import pgflight

client = pgflight.connect(sys.argv[1])
batch = pa.record_batch({"id": pa.array([1, 2, 3], pa.int64())})
write = client.begin("t", batch.schema, write_id="w", publish=sys.argv[2])
receipt = write.attempt(0, "a", [batch])
print("begun", flush=True)
"""

#: What the program does after it has begun a write.
ENDS = {
    "returns": "",
    "exits": "sys.exit(3)",
    "raises": "raise RuntimeError('the program failed')",
    "interrupted": "os.kill(os.getpid(), signal.SIGINT); time.sleep(60)",
    "terminated": "os.kill(os.getpid(), signal.SIGTERM); time.sleep(60)",
}


@pytest.fixture
def hearing(database: Database) -> Iterator[Server]:
    """A server that aborts a write seconds after the last heartbeat of its driver."""
    database.run("CREATE TABLE t (id int8)")
    server = Server(database.url, "--driver-ttl", "3s", "--reaper-interval", "200ms")
    yield server
    server.stop()
    print("".join(server.log))


def state(database: Database) -> Any:
    rows = database.rows("SELECT state, reason FROM pgflight.write")
    return rows[0] if rows else None


def leftovers(database: Database) -> int:
    prepared = "SELECT count(*) FROM pg_prepared_xacts WHERE database = current_database()"
    staging = "SELECT count(*) FROM pg_tables WHERE schemaname = 'pgflight' AND tablename LIKE 'staging%%'"
    return int(database.value(prepared)) + int(database.value(staging))


def start(server: Server, end: str, publish: str = "two_phase") -> subprocess.Popen[str]:
    process = in_process(BEGIN + end, server.url, publish)
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line == "begun\n", process.communicate()[1]
    return process


@pytest.mark.parametrize("publish", ["staged", "two_phase"])
@pytest.mark.parametrize("end", ENDS)
def test_a_process_that_ends_aborts_its_writes(
    server: Server, database: Database, end: str, publish: str
) -> None:
    database.run("CREATE TABLE t (id int8)")
    process = start(server, ENDS[end], publish)
    _, said = process.communicate(timeout=60)
    assert state(database) == ("aborted", "the driver ended before it committed")
    assert leftovers(database) == 0
    assert "write w is aborted" in said
    expected = {"returns": 0, "exits": 3, "raises": 1, "interrupted": -2, "terminated": -15}
    # Python exits with 130 after an interrupt, or dies by the signal.
    assert process.returncode in (expected[end], 130 if end == "interrupted" else expected[end])


def test_a_killed_process_loses_its_write(hearing: Server, database: Database) -> None:
    process = start(hearing, "time.sleep(600)")
    wait_until(lambda: database.value("SELECT count(*) FROM pgflight.heartbeat") == 1)
    process.kill()
    process.communicate()
    wait_until(lambda: state(database)[0] == "aborted", 30)
    wait_until(lambda: leftovers(database) == 0, 30)


def test_a_living_process_keeps_its_write(hearing: Server, database: Database) -> None:
    process = start(hearing, "time.sleep(10); write.commit([receipt]); print('done', flush=True)")
    out, said = process.communicate(timeout=60)
    assert out == "done\n", said
    assert state(database)[0] == "committed"
    assert database.count("t") == 3


def test_a_committed_write_is_left_alone(server: Server, database: Database) -> None:
    database.run("CREATE TABLE t (id int8)")
    process = start(server, "write.commit([receipt])")
    _, said = process.communicate(timeout=60)
    assert state(database)[0] == "committed"
    assert said == ""


def test_a_write_may_outlive_its_process(hearing: Server, database: Database) -> None:
    program = BEGIN.replace("publish=", "keep_alive=False, publish=")
    process = in_process(program, hearing.url, "staged")
    process.communicate(timeout=60)
    # Longer than --driver-ttl.
    time.sleep(5)
    assert state(database)[0] == "open"


def test_a_handler_of_the_program_stays(server: Server, database: Database) -> None:
    database.run("CREATE TABLE t (id int8)")
    handler = "import signal\nsignal.signal(signal.SIGTERM, lambda *_: print('mine', flush=True))\n"
    process = in_process(
        handler + BEGIN + "os.kill(os.getpid(), signal.SIGTERM)", server.url, "staged"
    )
    out, _ = process.communicate(timeout=60)
    assert out == "begun\nmine\n"


FORK = """
import multiprocessing

def child():
    try:
        client.status("w")
    except pgflight.Unsupported as error:
        print(error.message, error.hint, flush=True)
    # It does not abort its parent's write either.
    pgflight.driver._abort_open()

process = multiprocessing.get_context("fork").Process(target=child)
process.start()
process.join()
print(process.exitcode, flush=True)
print(write.commit([receipt]).state, flush=True)
"""


def test_a_forked_child_fails_and_harms_nothing(server: Server, database: Database) -> None:
    database.run("CREATE TABLE t (id int8)")
    process = start(server, FORK)
    assert process.stdout is not None
    # communicate() would leave out what readline() has read ahead.
    error, code, committed = process.stdout.read().splitlines()
    _, said = process.communicate(timeout=60)
    assert "a process that was forked" in error
    assert "spawn" in error
    assert (code, committed) == ("0", "committed"), said
    assert database.count("t") == 3


def test_a_client_may_be_made_after_a_fork(server: Server, database: Database) -> None:
    database.run("CREATE TABLE t (id int8)")
    program = """
import os, sys
import pyarrow as pa
import pgflight
child = os.fork()
n = pgflight.connect(sys.argv[1]).write(pa.table({"id": [1, 2]}), "t").row_count
assert n == 2
if child:
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    process = in_process(program, server.url)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 0, said
    assert database.count("t") == 4


def test_heartbeats_go_on_while_servers_are_away(database: Database) -> None:
    database.run("CREATE TABLE t (id int8)")
    options = ("--driver-ttl", "4s", "--reaper-interval", "200ms")
    server = Server(database.url, *options)
    process = start(server, "time.sleep(15); write.commit([receipt])")
    server.stop()
    # Longer than --driver-ttl, while no server could receive heartbeats.
    time.sleep(6)
    again = Server(database.url, *options, port=int(server.url.rsplit(":", 1)[1]))
    _, said = process.communicate(timeout=60)
    again.stop()
    assert state(database)[0] == "committed", said


def test_a_sigterm_before_any_write_ends_the_process(server: Server) -> None:
    process = in_process(
        "import os, signal, sys, pgflight\npgflight.connect(sys.argv[1]).tables()\n"
        "os.kill(os.getpid(), signal.SIGTERM)",
        server.url,
    )
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGTERM
