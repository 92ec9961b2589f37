"""Runs the image as Kubernetes would, and checks what its users rely on.

    PGFLIGHT_TEST_URL=postgres://… python3 scripts/lib/image_check.py IMAGE

It runs as its own user, with a read-only root and without capabilities; answers the probes; writes rows; takes a stream to
its end that runs when SIGTERM comes; and exits with 0.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Callable, Iterator

import psycopg
import pyarrow as pa

import pgflight

BATCH = pa.record_batch({"id": [1, 2, 3]})
#: The table, apart from those of others on a server that PGFLIGHT_TEST_URL names.
TABLE = "public.pgflight_image_check"
# runc works where crun does not: with both versions of control groups at once.
PODMAN = ["podman", "--runtime", "runc", "--cgroup-manager", "cgroupfs"]
RESTRICTED = ["--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"]
LIMITS = ["--ulimit", "nofile=4096:4096", "--ulimit", "nproc=4096:4096"]


def run(*command: str) -> str:
    """Runs a command that must succeed, and returns its output."""
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"image_check: {' '.join(command)}: {done.stdout}{done.stderr}")
    return done.stdout.strip()


def say(words: str) -> None:
    """Prints what was checked."""
    print(f"  {words}", flush=True)


def until(what: str, check: Callable[[], bool]) -> None:
    """Waits until something is so, for half a minute."""
    deadline = time.monotonic() + 30
    while not check():
        if time.monotonic() > deadline:
            sys.exit(f"image_check: {what}: not within 30 seconds")
        time.sleep(0.05)


def answer(port: str, path: str) -> int:
    """Returns the status of a probe, or 0 if no one listens."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as reply:
            return reply.status
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


def check_process(name: str) -> None:
    """Checks the process from outside: its user, its capabilities, its root."""
    pid = run(*PODMAN, "inspect", "--format", "{{.State.Pid}}", name)
    status = Path(f"/proc/{pid}/status").read_text()
    assert re.search(r"(?m)^Uid:\s+10001\s+10001\s", status), status
    for kind in ("Prm", "Eff", "Bnd", "Amb"):
        assert re.search(rf"(?m)^Cap{kind}:\s+0+$", status), status
    assert re.search(r"(?m)^NoNewPrivs:\s+1$", status), status
    root = next(
        m for m in Path(f"/proc/{pid}/mounts").read_text().splitlines() if m.split()[1] == "/"
    )
    assert "ro" in root.split()[3].split(","), root
    say("runs as 10001 with a read-only root and without capabilities")


def check_documents(image: str) -> None:
    """Checks the labels, and the files about licences."""
    labels = run(*PODMAN, "inspect", "--format", "{{json .Labels}}", image)
    for key in ("title", "version", "licenses", "source"):
        assert f"org.opencontainers.image.{key}" in labels, labels
    command = [*PODMAN, "run", "--rm", "--network", "none", *RESTRICTED, *LIMITS]
    listed = run(*command, "--entrypoint", "/bin/ls", image, "/usr/share/doc/pgflight")
    assert {"LICENSE", "THIRD-PARTY.txt", "pgflight.cdx.json"} <= set(listed.split()), listed
    say("has labels, licences and the CycloneDX list")


def check_server(name: str, postgres: str) -> None:
    """Checks the running server, and ends it."""
    address = ["", ""]

    def listens() -> bool:
        log = subprocess.run([*PODMAN, "logs", name], capture_output=True, text=True)
        found = re.findall(
            r"listening on 127\.0\.0\.1:(\d+)|http://127\.0\.0\.1:(\d+)", log.stdout + log.stderr
        )
        address[:] = ["".join(pair[0] for pair in found), "".join(pair[1] for pair in found)]
        return all(address)

    until("a line with the addresses", listens)
    flight, metrics = address
    until("ready", lambda: answer(metrics, "/readyz") == 200)
    assert answer(metrics, "/healthz") == 200
    say("answers /healthz and /readyz")
    check_process(name)
    with (
        psycopg.connect(postgres, autocommit=True) as session,
        pgflight.connect(f"grpc://127.0.0.1:{flight}") as client,
    ):
        session.execute(f"DROP TABLE IF EXISTS {TABLE}")
        client.write(pa.Table.from_batches([BATCH]), TABLE, mode="create")

        def batches() -> Iterator[pa.RecordBatch]:
            yield BATCH
            run(*PODMAN, "kill", "--signal", "TERM", name)
            until("not ready after SIGTERM", lambda: answer(metrics, "/readyz") != 200)
            yield BATCH

        assert (
            client.write(
                pa.RecordBatchReader.from_batches(BATCH.schema, batches()), TABLE
            ).row_count
            == 6
        )
        (rows,) = session.execute(f"SELECT count(*) FROM {TABLE}").fetchall()
        assert rows == (9,), rows
        session.execute(f"DROP TABLE {TABLE}")
    say("wrote 3 rows, and took a stream of 6 to its end after SIGTERM")
    assert run(*PODMAN, "wait", name) == "0"
    say("exited with 0")


def main() -> None:
    """Runs all checks of the image on the command line."""
    image, postgres = sys.argv[1], os.environ["PGFLIGHT_TEST_URL"]
    check_documents(image)
    with tempfile.TemporaryDirectory() as directory:
        config = Path(directory) / "pgflight.toml"
        config.write_text(
            '[server]\nlisten = "127.0.0.1:0"\n'
            '[metrics]\nlisten = "127.0.0.1:0"\n'
            f'[targets.test]\npostgres = "{postgres}"\n'
        )
        Path(directory).chmod(0o755)
        config.chmod(0o644)
        name = f"pgflight-check-{os.getpid()}"
        volume = f"{config}:/etc/pgflight/pgflight.toml:ro"
        options = ["--detach", "--name", name, "--network", "host", "--volume", volume]
        run(*PODMAN, "run", *options, *RESTRICTED, *LIMITS, image)
        try:
            check_server(name, postgres)
        finally:
            subprocess.run([*PODMAN, "rm", "--force", name], capture_output=True)
    print("image: all checks passed")


if __name__ == "__main__":
    main()
