"""The commands of `docs/operations.md`, one after the other: from the package to a service, an upgrade, the runbook.

The commands run on an overlay of this machine's files, in a mount namespace, which is dropped afterwards. So the package
is really installed, with its user, and every file is where the page says. Only systemd is replaced: a script does with
the unit what `systemctl` would do.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from pathlib import Path
from typing import List

import psycopg
from conftest import ROOT, binary, own_postgres

#: Makes the overlay, and runs the commands in it.
ENTER = r"""
place=$1 commands=$2
mount -t tmpfs tmpfs "$place"
mkdir "$place/upper" "$place/work" "$place/root"
mount -t overlay overlay \
    -o "lowerdir=/,upperdir=$place/upper,workdir=$place/work" "$place/root"
for there in /proc /dev "$ROOT" "$(dirname "$commands")"; do
    mkdir -p "$place/root$there"
    mount --rbind "$there" "$place/root$there"
done
echo "127.0.0.1 flight.example" >>"$place/root/etc/hosts"
install -m 755 "$(dirname "$commands")"/{sudo,systemctl,journalctl} "$place/root/usr/bin/"
# The package checks for this directory before it calls systemctl.
mkdir -p "$place/root/run/systemd/system"
cd "$(dirname "$commands")"
exec chroot "$place/root" /usr/bin/env -C "$PWD" bash -euo pipefail "$commands"
"""

#: The test is root already. PostgreSQL is a cluster of the test, which needs no system user.
SUDO = r"""#!/bin/bash
if [ "$1" = -u ]; then
    user=$2
    shift 2
    if [ "$user" != postgres ]; then
        exec setpriv "--reuid=$user" "--regid=$user" --init-groups "$@"
    fi
fi
exec "$@"
"""

SYSTEMCTL = r"""#!/bin/bash -eu
value() { sed -n "s/^$1=//p" /usr/lib/systemd/system/pgflight.service; }
log=/var/log/pgflight.log
pid() { cat /var/log/pgflight.pid; }
is_running() { [ -e /var/log/pgflight.pid ] && kill -0 "$(pid)" 2>/dev/null; }
says() {
    until grep -q "$1" $log; do
        is_running || { cat $log >&2; exit 1; }
        sleep 0.1
    done
}
start() {
    [ ! -e $log ] || cat $log >>$log.before
    : >$log
    setpriv "--reuid=$(value User)" "--regid=$(value Group)" --init-groups \
        env -i $(value ExecStart) >$log 2>&1 &
    echo $! >/var/log/pgflight.pid
    says "listening on"
}
stop() {
    kill "$(pid)"
    tail --pid "$(pid)" -f /dev/null
}
case "$*" in
"enable --now pgflight") start ;;
"try-restart pgflight.service") if is_running; then stop; start; fi ;;
"reload pgflight")
    MAINPID=$(pid) bash -c "$(value ExecReload)"
    says "was read again" ;;
"status pgflight") is_running && echo "Active: active (running)" ;;
"stop pgflight") stop ;;
daemon-reload | "disable --now pgflight.service") ;;
*) echo "systemctl $* is not known here" >&2; exit 1 ;;
esac
"""

JOURNALCTL = r"""#!/bin/bash -eu
cat /var/log/pgflight.log.before /var/log/pgflight.log 2>/dev/null || cat /var/log/pgflight.log
"""

#: Commands before some sections of the page: they make a new version, and begin a write whose job then ends.
BEFORE = {
    "Restart and upgrade": r"""
dpkg-deb --raw-extract pgflight_*.deb new
rm pgflight_*.deb
sed -i 's/^Version: .*/Version: 99.0/' new/DEBIAN/control
dpkg-deb -Zgzip -z1 --build new pgflight_99.0_all.deb
""",
    "By hand": r"""
dpkg-query --showformat '${Package} ${Version}\n' --show pgflight
python3 - <<'END'
import os, pyarrow, pgflight
with pgflight.connect("grpc+tls://flight.example:8815", token=os.environ["TOKEN"],
                      tls_root_certs="ca.crt") as client:
    client.begin("public.trips", pyarrow.schema({"id": pyarrow.int64()}), write_id="nightly-42",
                 keep_alive=False)
END
""",
    "When an alert fires": r"""
psql --quiet --dbname trips --set "gid=pgflight:$(printf '%032d' 0):$(cat /proc/sys/kernel/random/uuid)" <<'END'
BEGIN;
INSERT INTO trips VALUES (3, 0);
PREPARE TRANSACTION :'gid';
END
""",
}

#: A call without a token.
STRANGER = r"""
python3 - <<'END'
import pgflight
with pgflight.connect("grpc+tls://flight.example:8815", tls_root_certs="ca.crt") as client:
    try:
        client.tables()
    except pgflight.PgFlightError as error:
        print(type(error).__name__, error)
END
"""


def commands() -> str:
    """Returns a script of the page's blocks, in order, with `BEFORE` between them. It prints a number before each block."""
    page = (ROOT / "docs/operations.md").read_text()
    script = []
    for section in page.split("\n## ")[1:]:
        heading, _, body = section.partition("\n")
        script.append(BEFORE.get(heading, ""))
        script += re.findall(r"(?m)^```sh\n(.*?)^```$", body, re.DOTALL)
    return "\n".join(f"echo '── {number}'\n{block}" for number, block in enumerate(script))


def test_every_command_of_the_operations_page_works(
    tmp_path: Path,
) -> None:
    package = [ROOT / "scripts/package", "--quick", "--binary", binary(), tmp_path]
    subprocess.run([str(word) for word in package], check=True, stdout=subprocess.DEVNULL)
    tmp_path.chmod(0o755)
    (tmp_path / "sudo").write_text(SUDO)
    (tmp_path / "systemctl").write_text(SYSTEMCTL)
    (tmp_path / "journalctl").write_text(JOURNALCTL)
    place = tmp_path / "place"
    place.mkdir()
    with own_postgres() as cluster:
        _, _, address = cluster.url.rpartition("@")
        address = address.partition("/")[0]
        text = commands()
        assert text.count("\n") > 100, "the commands were found"
        for written, used in [
            ("db.example:5432", address),
            ("8815", str(free_port())),
            ("9187", str(free_port())),
        ]:
            assert written in text
            text = text.replace(written, used)
        script = tmp_path / "commands"
        stranger = STRANGER.replace("8815", re.findall(r"flight.example:(\d+)", text)[0])
        clean = "if dpkg --status pgflight &>/dev/null; then dpkg --purge pgflight; fi"
        script.write_text(
            f"{clean}\ntrap 'systemctl stop pgflight' EXIT\n{text}\n{stranger}\njournalctl\n"
        )
        host, _, port = address.partition(":")
        done = subprocess.run(
            [*namespaces(), "bash", "-euo", "pipefail", "-c", ENTER, "enter", place, script],
            capture_output=True,
            text=True,
            env={
                **os.environ,
                "ROOT": str(ROOT),
                "PGHOST": host,
                "PGPORT": port,
                "PGUSER": "postgres",
                "PATH": f"/usr/local/sbin:{Path(sys.executable).parent}:{os.environ['PATH']}"
                f":{os.environ.get('PGFLIGHT_TEST_PG_BIN', '')}:/usr/sbin",
            },
        )
        assert done.returncode == 0, done.stdout + done.stderr
        with psycopg.connect(re.sub("/postgres$", "/trips", cluster.url)) as trips:
            assert trips.execute("SELECT * FROM trips").fetchall() == [(1, 7.5), (2, 9.0)]
            assert trips.execute("SELECT * FROM pg_prepared_xacts").fetchall() == []
    assert "row_count=2" in done.stdout
    assert "applied: limits.stream_timeout" in done.stdout
    assert "FAILS" not in done.stdout
    # The new version serves, and the open write is aborted.
    assert "pgflight 99.0" in done.stdout
    assert re.search(r"(?m)^etl/nightly-42 +open +public.trips", done.stdout)
    assert "etl/nightly-42: aborted" in done.stdout
    assert "Active: active" in done.stdout
    for metric in ("streams_total", "stream_seconds_total", "turns_waiting", "memory_used_bytes"):
        assert re.search(rf"(?m)^pgflight_{metric}\{{", done.stdout), metric
    # A call without a token is rejected, and the log never holds the token.
    assert "Unauthenticated" in done.stdout
    secret = re.search(r"(?m)^token +(\S+)", done.stdout)
    assert secret
    log = done.stdout.partition("writing to a target")[2]
    assert log
    assert secret[1] not in log


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def namespaces() -> List[str]:
    """Returns a command that gives a process its own mounts, and its own users if this is not root."""
    mounts = ["unshare", "--mount", "--fork"]
    if subprocess.run([*mounts, "true"], capture_output=True).returncode == 0:
        return mounts
    return [*mounts, "--user", "--map-root-user", "--map-auto"]
