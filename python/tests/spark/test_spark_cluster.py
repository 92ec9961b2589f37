"""Saves on a cluster of two hosts: an executor that is killed, and a twin that Spark starts beside a slow task.

The data source is the one in the JVM if PGFLIGHT_SPARK_JAR names its jar, else the Python source of Spark 4.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Iterator, List

import psutil
import pyspark
import pytest
from conftest import Database, Server, in_process, wait_until

pytestmark = pytest.mark.skipif(
    "PGFLIGHT_SPARK_JAR" not in os.environ and pyspark.__version__ < "4",
    reason="PySpark 3 has no data source in Python, and PGFLIGHT_SPARK_JAR names no jar",
)

PROGRAM = """
import os, sys, time
from pathlib import Path

import pyarrow as pa
from pyspark import TaskContext
from pyspark.sql import SparkSession

master, url, case, folder = sys.argv[1:]
jar = os.environ.get("PGFLIGHT_SPARK_JAR", "")
settings = {
    "spark.jars": jar,
    "spark.ui.enabled": False,
    "spark.driver.host": "127.0.0.1",
    "spark.executor.memory": "512m",
    "spark.executorEnv.PYTHONPATH": os.environ["PYTHONPATH"],
    "spark.speculation": case == "twin",
    "spark.speculation.interval": "100ms",
    "spark.speculation.quantile": 0.5,
    "spark.speculation.minTaskRuntime": "100ms",
}
builder = SparkSession.builder.master(master)
for name, value in settings.items():
    builder = builder.config(name, value)
spark = builder.getOrCreate()
if not jar:
    import pgflight

    pgflight.register(spark)

def rows(batches):
    context = TaskContext.get()
    partition, attempt = context.partitionId(), context.attemptNumber()
    first = partition * 1000
    yield pa.RecordBatch.from_pydict({"id": list(range(first, first + 500))})
    waits = partition == 0 if case == "twin" else attempt == 0
    if waits:
        Path(folder, f"partition {partition}, attempt {attempt}").touch()
        while not Path(folder, "go").exists():
            time.sleep(0.02)
    yield pa.RecordBatch.from_pydict({"id": list(range(first + 500, first + 1000))})

partitions = 4 if case == "twin" else 2
df = spark.range(0, partitions, 1, partitions).mapInArrow(rows, "id long")
df.write.format("pgflight").mode("append").option("url", url).option("writeId", "w").save("t")
"""


class Daemon:
    """A master or a worker of a cluster."""

    def __init__(self, kind: str, says: str, *arguments: str) -> None:
        home = Path(pyspark.__file__).parent
        self._process = subprocess.Popen(
            [str(home / "bin" / "spark-class"), f"org.apache.spark.deploy.{kind}", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, "SPARK_HOME": str(home), "PYSPARK_PYTHON": sys.executable},
            text=True,
        )
        assert self._process.stdout is not None
        log: List[str] = []
        for line in self._process.stdout:
            log.append(line)
            found = re.search(says, line)
            if found:
                self.said = found[1]
                return
        raise AssertionError("".join(log))

    def executors(self) -> List[psutil.Process]:
        """The executors that a worker has started."""
        found = []
        for child in psutil.Process(self._process.pid).children(recursive=True):
            # Another one may end meanwhile.
            with contextlib.suppress(psutil.NoSuchProcess):
                if "CoarseGrainedExecutor" in " ".join(child.cmdline()):
                    found.append(child)
        return found

    def stop(self) -> None:
        for child in psutil.Process(self._process.pid).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()
        self._process.kill()
        self._process.communicate()


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[List[Daemon]]:
    """A master and two workers, on hosts with one core each: Spark starts no twin on the host of the slow task."""
    address = ["--host", "127.0.0.1", "--port", "0", "--webui-port", "0"]
    daemons = [Daemon("master.Master", r"Starting Spark master at (spark://\S+)", *address)]
    for host in ("127.0.0.2", "127.0.0.3"):
        options = ["--host", host, "--cores", "1", "--memory", "1g", "--webui-port", "0"]
        options += ["--work-dir", str(tmp_path / host), daemons[0].said]
        daemons.append(Daemon("worker.Worker", "(registered) with master", *options))
    yield daemons
    for daemon in reversed(daemons):
        daemon.stop()


@pytest.mark.parametrize("case", ["killed executor", "twin"])
def test_a_save_lands_each_row_once(
    server: Server, database: Database, tmp_path: Path, cluster: List[Daemon], case: str
) -> None:
    database.run("CREATE TABLE t (id int8)")
    folder = tmp_path / "marks"
    folder.mkdir()
    process = in_process(PROGRAM, cluster[0].said, server.url, case, str(folder))
    try:
        # The first attempts of two partitions, or both attempts of one.
        waiting = [(0, 0), (0, 1)] if case == "twin" else [(0, 0), (1, 0)]

        def all_wait() -> bool:
            marks = [folder / f"partition {task}, attempt {number}" for task, number in waiting]
            return process.poll() is not None or all(mark.exists() for mark in marks)

        wait_until(all_wait, 120)
        if case == "killed executor":
            cluster[1].executors()[0].kill()
        (folder / "go").touch()
        process.wait(120)
    finally:
        process.kill()
    said = "".join(process.communicate())
    assert process.returncode == 0, said
    rows = 4_000 if case == "twin" else 2_000
    assert database.rows("SELECT count(*), count(DISTINCT id) FROM t") == [(rows, rows)], said
