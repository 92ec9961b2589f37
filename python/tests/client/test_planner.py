"""A planner of Spark finds the user's process. There is no Spark: a process of the test stands for its JVM."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from conftest import ROOT, Database, Server, wait_until

import pgflight
from pgflight import driver
from pgflight.spark import planner

PLANNER = """
import sys
import pyarrow as pa
from pgflight.spark import planner
from pgflight.flight.connection import Endpoint
from pgflight.options import WriteOptions

batch = pa.record_batch({"id": pa.array([1, 2, 3], pa.int64())})
options = WriteOptions(publish="staged")
write = planner.begin(Endpoint.parse(sys.argv[1]), "t", batch.schema, options, "w")
if sys.argv[2:] == ["commit"]:
    write.commit([write.attempt(0, "a", [batch])])
    planner.end(write)
"""


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory for the sockets of the test. This process is the driver and the parent of planners."""
    # The path of a socket must be short.
    place = tmp_path_factory.mktemp("p")
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    monkeypatch.setenv("TMPDIR", str(place))
    monkeypatch.setattr(planner, "_listening", None)
    monkeypatch.setattr(driver, "_driver", None)
    return place / f"pgflight-{os.getuid()}"


def plan(server: Server, *arguments: str) -> None:
    subprocess.run(
        [sys.executable, "-c", PLANNER, server.url, *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT / "python")},
        check=True,
    )


def test_the_users_process_drives_a_planners_write(
    here: Path, server: Server, database: Database
) -> None:
    database.run("CREATE TABLE t (id int8)")
    planner.listen(os.getpid(), None)
    plan(server)
    (found,) = database.rows("SELECT driver, state FROM pgflight.write")
    assert found == (driver.this_driver().id, "open")
    wait_until(lambda: database.value("SELECT count(*) FROM pgflight.heartbeat") == 1)
    driver.this_driver().abort_open()
    assert database.value("SELECT state FROM pgflight.write") == "aborted"


def test_a_write_that_a_planner_committed_is_left_alone(
    here: Path, server: Server, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    database.run("CREATE TABLE t (id int8)")
    planner.listen(os.getpid(), None)
    plan(server, "commit")
    driver.this_driver().abort_open()
    assert database.value("SELECT state FROM pgflight.write") == "committed"
    assert caplog.text == ""


def test_a_write_whose_jvm_is_gone_is_aborted(
    here: Path, server: Server, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    database.run("CREATE TABLE t (id int8)")
    planner.listen(os.getpid(), None)
    monkeypatch.setattr(planner, "_runs", lambda process: False)
    plan(server)
    aborted = "SELECT count(*) FROM pgflight.write WHERE state = 'aborted'"
    wait_until(lambda: database.value(aborted) == 1)


def test_a_planner_of_another_jvm_has_no_driver(
    here: Path, server: Server, database: Database
) -> None:
    database.run("CREATE TABLE t (id int8)")
    other = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    planner.listen(other.pid, None)
    plan(server)
    other.communicate()
    assert database.rows("SELECT driver FROM pgflight.write") == [(None,)]
    with pgflight.connect(server.url) as client:
        client.abort("w")


def test_sockets_are_in_a_directory_of_the_user_alone(here: Path) -> None:
    planner.listen(os.getpid(), None)
    assert stat.S_IMODE(here.stat().st_mode) == 0o700
    assert [path.name for path in here.iterdir()] == [f"{os.getpid()}.sock"]


def test_a_directory_that_others_can_enter_is_not_used(here: Path) -> None:
    here.mkdir(mode=0o755)
    planner.listen(os.getpid(), None)
    assert list(here.iterdir()) == []
