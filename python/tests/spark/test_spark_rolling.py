"""A rolling restart during a Spark job: two servers behind one address, each restarted twice."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import select
import socket
import threading
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Dict, Iterator, List, Tuple

import pyarrow as pa
import pytest
from conftest import Database, Server, wait_until
from pyspark import TaskContext
from pyspark.sql import SparkSession

import pgflight

PARTITIONS = 20
BATCHES = 20
ROWS_PER_BATCH = 500
ROWS = PARTITIONS * BATCHES * ROWS_PER_BATCH


class Replica:
    """A server that restarts at the same ports."""

    def __init__(self, database_url: str) -> None:
        self._database_url = database_url
        self.port, self.monitor = free_port(), free_port()
        self.lives: List[Server] = []
        self.start()

    def start(self) -> None:
        options = ("--metrics-listen", f"127.0.0.1:{self.monitor}", "--drain-timeout", "60s")
        self.lives.append(Server(self._database_url, *options, port=self.port))

    def restart(self) -> None:
        """Drains the server, waits for its end, starts it and waits until it is ready."""
        self.lives[-1].stop()
        self.start()
        wait_until(self.is_ready, 30)

    def is_ready(self) -> bool:
        with contextlib.suppress(OSError):
            return self.get("/readyz")[0] == 200
        return False

    def get(self, path: str) -> Tuple[int, str]:
        url = f"http://127.0.0.1:{self.monitor}{path}"
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, ""

    def status(self) -> Dict[str, Any]:
        status: Dict[str, Any] = json.loads(self.get("/status.json")[1])
        return status

    def published(self) -> int:
        """Returns the rows that the server has published since its start, from its metrics."""
        found = re.search(r"^pgflight_published_rows_total (\d+)", self.get("/metrics")[1], re.M)
        assert found is not None
        return int(found[1])


class Balancer:
    """One address for several replicas: a new connection goes to the next one that is ready."""

    def __init__(self, replicas: List[Replica]) -> None:
        self._replicas = replicas
        self._ready = [True] * len(replicas)
        self._next = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"grpc://127.0.0.1:{self._listener.getsockname()[1]}"
        for work in (self._accept, self._probe):
            threading.Thread(target=work, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _probe(self) -> None:
        while True:
            self._ready = [replica.is_ready() for replica in self._replicas]
            time.sleep(0.1)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError), self._connect() as server:
            ends = {client: server, server: client}
            while True:
                for source in select.select(list(ends), [], [])[0]:
                    data = source.recv(1 << 16)
                    if not data:
                        return
                    ends[source].sendall(data)

    def _connect(self) -> socket.socket:
        """Returns a connection to the next ready replica, or to any if none is ready."""
        count = len(self._replicas)
        self._next += 1
        order = [(self._next + step) % count for step in range(count)]
        for index in sorted(order, key=lambda index: not self._ready[index]):
            with contextlib.suppress(OSError):
                return socket.create_connection(("127.0.0.1", self._replicas[index].port))
        raise ConnectionRefusedError("no replica is there")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture
def replicas(database: Database) -> Iterator[List[Replica]]:
    replicas = [Replica(database.url) for _ in range(2)]
    yield replicas
    for replica in replicas:
        replica.lives[-1].stop()
        for life in replica.lives:
            # pytest shows this when the test fails.
            print("".join(life.log))


def test_a_job_survives_rolling_restarts(
    spark: SparkSession, database: Database, replicas: List[Replica], tmp_path: Path
) -> None:
    database.run("CREATE TABLE t (id int8)")
    balancer = Balancer(replicas)
    restarted = tmp_path / "restarted"

    def slowly(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        context = TaskContext.get()
        assert context is not None
        partition = context.partitionId()
        # The last tasks run until the end of the last restart.
        while partition >= PARTITIONS - 2 and not restarted.exists():
            time.sleep(0.1)
        first = partition * BATCHES * ROWS_PER_BATCH
        for batch in range(BATCHES):
            time.sleep(0.15)
            start = first + batch * ROWS_PER_BATCH
            yield pa.record_batch({"id": pa.array(range(start, start + ROWS_PER_BATCH))})

    seen: List[Tuple[int, int]] = []
    done = threading.Event()

    def watch() -> None:
        """Checks that the pages show what the ledger held a moment ago or holds now."""
        recorded = "SELECT coalesce(sum(row_count), 0)::int8 FROM pgflight.attempt"
        while not done.wait(0.5):
            for replica in replicas:
                try:
                    status = replica.status()
                # No server answers, or none completely, while it restarts.
                except (OSError, http.client.HTTPException):
                    continue
                for write in status["writes"]:
                    seen.append((write["row_count"], database.value(recorded)))

    def roll() -> None:
        # Once its first streams are under way.
        wait_until(lambda: any(replica.status()["stream_count"] for replica in replicas), 60)
        for _ in range(2):
            for replica in replicas:
                replica.restart()

    pool = ThreadPoolExecutor(2)
    watching, rolling = pool.submit(watch), pool.submit(roll)
    # The job must come to an end also when a restart failed.
    rolling.add_done_callback(lambda _: restarted.touch())
    started = time.monotonic()
    frame = spark.range(0, PARTITIONS, 1, PARTITIONS).mapInArrow(slowly, "id long")
    result = pgflight.write_dataframe(frame, balancer.url, "t", publish="staged")
    took = time.monotonic() - started
    done.set()
    rolling.result(60)
    watching.result(60)
    balancer.close()
    assert [len(replica.lives) for replica in replicas] == [3, 3]
    print(f"{took:.0f} s, {len(seen)} looks at the pages")

    assert result.row_count == ROWS
    assert database.rows("SELECT count(*), count(DISTINCT id), min(id), max(id) FROM t") == [
        (ROWS, ROWS, 0, ROWS - 1)
    ]
    # Each page has shown no more rows than were recorded, and in the end all of them.
    assert len(seen) > 10
    assert all(shown <= recorded for shown, recorded in seen), seen
    assert max(shown for shown, _ in seen) > 0

    def shows_the_end(replica: Replica) -> bool:
        (write,) = replica.status()["writes"]
        return (write["state"], write["row_count"]) == ("committed", ROWS)

    for replica in replicas:
        wait_until(partial(shows_the_end, replica))
    # From the metrics of the running servers, and from the last log line of the stopped ones.
    published = sum(replica.published() for replica in replicas)
    recorded = database.value("SELECT sum(row_count)::int8 FROM pgflight.attempt")
    landed = 0
    for replica in replicas:
        metrics = replica.get("/metrics")[1]
        found = re.search(r'^pgflight_stage_rows_total\{stage="commit"\} (\d+)', metrics, re.M)
        assert found is not None
        landed += int(found[1])
        for life in replica.lives[:-1]:
            words = re.search(r"ended streams=\d+ rows=(\d+) published=(\d+)", life.log[-1])
            assert words is not None, life.log[-3:]
            landed += int(words[1])
            published += int(words[2])
    assert published == ROWS
    assert landed == recorded >= ROWS
