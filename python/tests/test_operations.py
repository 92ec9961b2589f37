"""The way of `docs/operations.md` from the package to a service, command by command.

The commands run on a copy of this machine's files that nothing is kept of: an overlay in a mount namespace.
So the package is really installed, with its user, and everything is where the page says. What there is none
of is systemd: a script does with the unit what `systemctl` would have it do.
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

#: Makes the copy, and runs the commands in it.
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
install -m 755 "$(dirname "$commands")"/{sudo,systemctl} "$place/root/usr/local/sbin/"
cd "$(dirname "$commands")"
exec chroot "$place/root" /usr/bin/env -C "$PWD" bash -euo pipefail "$commands"
"""

#: The test is root already. PostgreSQL is a cluster of the test's own, which nobody logs in to by user.
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
says() {
    until grep -q "$1" $log; do
        kill -0 "$(cat /var/log/pgflight.pid)" || { cat $log >&2; exit 1; }
        sleep 0.1
    done
}
case "$*" in
"enable --now pgflight")
    : >$log
    setpriv "--reuid=$(value User)" "--regid=$(value Group)" --init-groups \
        env -i $(value ExecStart) >$log 2>&1 &
    echo $! >/var/log/pgflight.pid
    says "listening on" ;;
"reload pgflight")
    MAINPID=$(cat /var/log/pgflight.pid) bash -c "$(value ExecReload)"
    says "was read again" ;;
"stop pgflight")
    kill "$(cat /var/log/pgflight.pid)"
    tail --pid "$(cat /var/log/pgflight.pid)" -f /dev/null ;;
esac
"""

#: What somebody gets who has no token.
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


def commands() -> List[str]:
    """The blocks of the page's first section, in order."""
    page = (ROOT / "docs/operations.md").read_text()
    section = page.partition("\n## From the package to a service\n")[2].partition("\n## ")[0]
    return re.findall(r"(?m)^```sh\n(.*?)^```$", section, re.DOTALL)


def test_the_page_leads_from_the_package_to_a_service(tmp_path: Path) -> None:
    package = [ROOT / "scripts/package", "--quick", "--binary", binary(), tmp_path]
    subprocess.run([str(word) for word in package], check=True, stdout=subprocess.DEVNULL)
    tmp_path.chmod(0o755)
    (tmp_path / "sudo").write_text(SUDO)
    (tmp_path / "systemctl").write_text(SYSTEMCTL)
    place = tmp_path / "place"
    place.mkdir()
    with own_postgres() as (url, _):
        _, _, address = url.rpartition("@")
        address = address.partition("/")[0]
        text = "\n".join(commands())
        assert text.count("\n") > 30, "the commands were found"
        for told, used in [
            ("db.example:5432", address),
            ("8815", str(free_port())),
            ("9187", str(free_port())),
        ]:
            assert told in text
            text = text.replace(told, used)
        script = tmp_path / "commands"
        stranger = STRANGER.replace("8815", re.findall(r"flight.example:(\d+)", text)[0])
        script.write_text(
            f"trap 'systemctl stop pgflight' EXIT\n{text}\n{stranger}\ncat /var/log/pgflight.log\n"
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
        with psycopg.connect(re.sub("/postgres$", "/trips", url)) as trips:
            assert trips.execute("SELECT * FROM trips").fetchall() == [(1, 7.5), (2, 9.0)]
    assert "row_count=2" in done.stdout
    assert "changed now: limits.stream_timeout" in done.stdout
    assert "FAILS" not in done.stdout
    # Who has no token is told so, and the token is in nothing that the server says.
    assert "Unauthenticated" in done.stdout
    secret = re.search(r"(?m)^token +(\S+)", done.stdout)
    assert secret
    log = done.stdout.partition("writes to")[2]
    assert log
    assert secret[1] not in log


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def namespaces() -> List[str]:
    """What gives a process mounts of its own, and where we may not, users of its own as well."""
    mounts = ["unshare", "--mount", "--fork"]
    if subprocess.run([*mounts, "true"], capture_output=True).returncode == 0:
        return mounts
    return [*mounts, "--user", "--map-root-user", "--map-auto"]
