"""The contents of `deploy/`: the Debian package, its service, the image and the Kubernetes manifests."""

from __future__ import annotations

import gzip
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Dict, Iterator, List

import kubernetes_validate
import pytest
import trustme
import yaml
from conftest import ROOT, Database, binary

import pgflight

DEPLOY = ROOT / "deploy"
KUBERNETES = DEPLOY / "kubernetes"
#: The version for the schemas. All features in the manifests are older.
KUBERNETES_VERSION = "1.31"


def run(*command: Any, **options: Any) -> str:
    """Runs a command that must succeed, and returns its output."""
    done = subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, **options
    )
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package, with the binary that the other tests use."""
    directory = tmp_path_factory.mktemp("package")
    printed = run(ROOT / "scripts/package", "--quick", "--binary", binary(), directory)
    return Path(printed.strip())


class Root:
    """A temporary root directory with the package's files."""

    def __init__(self, package: Path) -> None:
        # Not pytest's directory, which the service's user cannot enter.
        self.path = Path(tempfile.mkdtemp(prefix="pgflight-root-"))
        self.path.chmod(0o755)
        self.is_installed = os.geteuid() == 0
        if self.is_installed:
            for name in ("var/lib/dpkg/updates", "var/lib/dpkg/info", "var/lib/dpkg/triggers"):
                (self.path / name).mkdir(parents=True)
            (self.path / "var/lib/dpkg/status").touch()
            self.dpkg("--install", package)
        else:
            # Only root can create users and give them files.
            run("dpkg-deb", "--extract", package, self.path)

    def dpkg(self, *arguments: Any) -> str:
        options = ["--force-script-chrootless", "--force-depends", "--force-confold"]
        log = f"--log={self.path}/dpkg.log"
        return run("dpkg", f"--root={self.path}", log, *options, *arguments)

    def ids(self) -> List[int]:
        """Returns the ids of the service's user and group; those of this process without one."""
        if not self.is_installed:
            return [os.geteuid(), os.getegid()]
        passwd = (self.path / "etc/passwd").read_text()
        found = re.search(r"^pgflight:[^:]*:(\d+):(\d+):", passwd, re.MULTILINE)
        assert found, passwd
        return [int(found[1]), int(found[2])]


@pytest.fixture
def root(package: Path) -> Iterator[Root]:
    root = Root(package)
    yield root
    shutil.rmtree(root.path)


def test_the_package_installs_upgrades_and_purges(package: Path, root: Root) -> None:
    command = root.path / "usr/bin/pgflight"
    assert run(command, "--version").startswith("pgflight ")
    config = root.path / "etc/pgflight/pgflight.toml"
    assert "targets: trips" in run(command, "config", "check", config)
    assert config.stat().st_mode & 0o777 == 0o640
    for page in ("pgflight.1", "pgflight-serve.1", "pgflight-check.1"):
        text = gzip.decompress((root.path / f"usr/share/man/man1/{page}.gz").read_bytes())
        assert b".SH SYNOPSIS" in text
    for completions in (
        "bash-completion/completions/pgflight",
        "zsh/vendor-completions/_pgflight",
        "fish/vendor_completions.d/pgflight.fish",
    ):
        assert "drain-timeout" in (root.path / "usr/share" / completions).read_text()
    documents = root.path / "usr/share/doc/pgflight"
    assert b"\ntokio " in gzip.decompress((documents / "THIRD-PARTY.txt.gz").read_bytes())
    assert '"pkg:cargo/tokio@' in (documents / "pgflight.cdx.json").read_text()
    fields = run("dpkg-deb", "--field", package)
    assert re.search(r"Depends: libc6 \(>= 2\.\d+\)", fields), fields
    if not root.is_installed:
        return
    assert config.stat().st_gid == root.ids()[1], "the service may read its configuration"
    # An upgrade keeps the administrator's changes; a purge leaves only the user.
    config.write_text(config.read_text().replace("db.example", "db.mine"))
    root.dpkg("--install", package)
    assert "db.mine" in config.read_text()
    root.dpkg("--remove", "pgflight")
    assert config.exists()
    assert not command.exists()
    root.dpkg("--purge", "pgflight")
    assert not config.parent.exists()


def test_systemd_takes_the_unit_and_finds_it_hardened(root: Root) -> None:
    unit = root.path / "usr/lib/systemd/system/pgflight.service"
    # The program of the unit is looked up at its path.
    local = root.path / "pgflight.service"
    text = unit.read_text()
    local.write_text(text.replace("=/usr/bin/pgflight", f"={root.path}/usr/bin/pgflight"))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(local)], capture_output=True, text=True
    )
    assert "pgflight" not in done.stderr, done.stderr
    # From 0 (safest) to 10 (unsafe), times ten. Network access costs two points.
    options = ["--offline=true", "--no-pager", "--threshold=20"]
    run("systemd-analyze", "security", *options, local)
    drain = duration(run(binary(), "config", "example"), "drain_timeout")
    assert int(setting(text, "TimeoutStopSec")) > drain


def test_the_installed_service_serves_as_its_own_user(root: Root, database: Database) -> None:
    config = root.path / "etc/pgflight/pgflight.toml"
    text = re.sub(r'(?m)^postgres = ".*"$', f'postgres = "{database.url}"', config.read_text())
    config.write_text(text.replace('#listen = "127.0.0.1:8815"', 'listen = "127.0.0.1:0"'))
    unit = (root.path / "usr/lib/systemd/system/pgflight.service").read_text()
    command = [
        f"{root.path}{word}" if word.startswith("/") else word
        for word in setting(unit, "ExecStart").split()
    ]
    user, group = root.ids()
    with subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        text=True,
        cwd="/",
        env={},
        preexec_fn=lambda: become(user, group),
    ) as service:
        assert service.stderr is not None
        lines = iter(service.stderr.readline, "")
        address = next(m[1] for line in lines if (m := re.search(r"listening on (\S+)", line)))
        owner = Path(f"/proc/{service.pid}").stat()
        assert (owner.st_uid, owner.st_gid) == (user, group)
        with pgflight.connect(f"grpc://{address}") as client:
            assert client.tables() == ()
        service.terminate()
        service.stderr.read()
    assert service.returncode == 0


def become(user: int, group: int) -> None:
    if os.geteuid() != user:
        os.setgroups([])
        os.setgid(group)
        os.setuid(user)


# ── Kubernetes ───────────────────────────────────────────────────────────────


def manifests(overlay: str = "base") -> Dict[str, Any]:
    """Maps kind to manifest of a base. `scripts/chart --check` compares them with the chart."""
    folder = KUBERNETES / overlay
    listed = yaml.safe_load((folder / "kustomization.yaml").read_text())["resources"]
    loaded = [yaml.safe_load((folder / name).read_text()) for name in listed]
    return {manifest["kind"]: manifest for manifest in loaded}


def container(deployment: Any) -> Any:
    (only,) = deployment["spec"]["template"]["spec"]["containers"]
    return only


def test_kubernetes_accepts_the_manifests() -> None:
    for overlay, probe in (("base", "httpGet"), ("mesh", "grpc")):
        found = manifests(overlay)
        assert set(found) == {"Deployment", "Service", "PodDisruptionBudget", "NetworkPolicy"}
        probes = [name for name in container(found["Deployment"]) if name.endswith("Probe")]
        assert len(probes) == 3
        assert all(probe in container(found["Deployment"])[name] for name in probes), overlay
        for manifest in found.values():
            kubernetes_validate.validate(manifest, KUBERNETES_VERSION, strict=True)
    broken = manifests()["Deployment"]
    container(broken)["redinessProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, KUBERNETES_VERSION, strict=True)


def test_manifests_agree_with_each_other_and_the_config() -> None:
    found = manifests()
    pods = found["Deployment"]["spec"]["template"]
    labels = pods["metadata"]["labels"]
    assert found["Service"]["spec"]["selector"] == labels
    assert found["Service"]["spec"]["clusterIP"] == "None", "clients see every replica"
    assert found["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"] == labels
    assert found["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"] == labels
    assert found["Deployment"]["spec"]["replicas"] > 1
    server = container(found["Deployment"])
    assert server["securityContext"]["readOnlyRootFilesystem"]
    assert pods["spec"]["securityContext"]["runAsNonRoot"]
    ports = {port["name"]: port["containerPort"] for port in server["ports"]}
    served = {port["targetPort"]: port["port"] for port in found["Service"]["spec"]["ports"]}
    assert served == ports
    allowed = [
        p["port"] for rule in found["NetworkPolicy"]["spec"]["ingress"] for p in rule["ports"]
    ]
    assert sorted(allowed) == sorted(ports.values())
    config = (KUBERNETES / "base/pgflight.toml").read_text()
    assert re.findall(r'(?m)^listen = ".*:(\d+)"', config) == [str(p) for p in ports.values()]
    mounts = {mount["mountPath"] for mount in server["volumeMounts"]}
    files = re.findall(r'(?m)^(?:tls_\w+|password_file) = "(.*)/[^/]+"', config)
    assert files
    assert mounts >= set(files), "what the configuration names is mounted"
    before = int(server["lifecycle"]["preStop"]["exec"]["command"][1])
    grace = pods["spec"]["terminationGracePeriodSeconds"]
    assert grace > before + duration(config, "drain_timeout")


@pytest.mark.parametrize("overlay", ["base", "mesh"])
def test_the_configurations_of_the_manifests_hold_together(overlay: str, tmp_path: Path) -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert("pgflight.example")
    certificate.private_key_pem.write_to_path(tmp_path / "tls.key")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "tls.crt")
    authority.cert_pem.write_to_path(tmp_path / "ca-certificates.crt")
    (tmp_path / "trips").write_text("secret")
    text = (KUBERNETES / overlay / "pgflight.toml").read_text()
    for directory in ("/etc/pgflight/tls", "/etc/pgflight/targets", "/etc/ssl/certs"):
        text = text.replace(directory, str(tmp_path))
    (tmp_path / "pgflight.toml").write_text(text)
    assert "targets: trips" in run(binary(), "config", "check", tmp_path / "pgflight.toml")


# ── the image ────────────────────────────────────────────────────────────────


def test_the_image_holds_the_build_inputs_and_is_not_root(tmp_path: Path) -> None:
    dockerfile = (DEPLOY / "docker/Dockerfile").read_text()
    final = dockerfile.rpartition("\nFROM ")[2]
    user = re.search(r"(?m)^USER ([1-9]\d*):([1-9]\d*)$", final)
    assert user
    assert f"useradd --uid {user[1]} --gid {user[2]} " in final
    assert f"groupadd --gid {user[2]} " in final
    assert not re.search(r"(?m)^ADD |curl|wget", dockerfile), "packages come by name alone"
    # The build context, without what .dockerignore excludes, is a valid cargo package.
    ignore = (DEPLOY / "docker/Dockerfile.dockerignore").read_text()
    for name in re.findall(r"(?m)^!(\S+)$", ignore):
        source = ROOT / name
        copy = shutil.copytree if source.is_dir() else shutil.copy
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        copy(source, tmp_path / name)
    run("cargo", "metadata", "--no-deps", "--offline", "--format-version=1", cwd=tmp_path)


def setting(unit: str, name: str) -> str:
    found = re.search(rf"(?m)^{name}=(.*)$", unit)
    assert found, name
    return found[1]


def duration(config: str, key: str) -> int:
    """Reads the seconds of a key that is written in seconds."""
    found = re.search(rf'(?m)^#?{key} = "(\d+)s"', config)
    assert found, key
    return int(found[1])
