"""The Helm chart: what it renders from each example is a configuration that the server takes."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, Dict, List

import pytest
import trustme
import yaml
from conftest import ROOT, binary

CHART = ROOT / "deploy/helm/pgflight"
VALUES = sorted((ROOT / "deploy/helm/values").glob("*.yaml"))

pytestmark = pytest.mark.skipif(
    shutil.which("helm") is None, reason="this machine has no helm; scripts/chart compiles it"
)


def helm(*arguments: Any) -> "subprocess.CompletedProcess[str]":
    """Renders the chart."""
    command = ["helm", "template", "pgflight", CHART, "--kube-version", "1.31.0", *arguments]
    return subprocess.run([str(word) for word in command], capture_output=True, text=True)


def rendered(values: Path) -> Dict[str, List[Any]]:
    """Maps kind to the manifests."""
    done = helm("--values", values)
    assert done.returncode == 0, done.stderr
    found: Dict[str, List[Any]] = {}
    for manifest in yaml.safe_load_all(done.stdout):
        found.setdefault(manifest["kind"], []).append(manifest)
    return found


@pytest.mark.parametrize("values", VALUES, ids=lambda path: path.stem)
def test_the_server_takes_the_configuration_of_the_chart(values: Path, tmp_path: Path) -> None:
    found = rendered(values)
    text = found["ConfigMap"][0]["data"]["pgflight.toml"]
    pod = found["Deployment"][0]["spec"]["template"]["spec"]
    mounts = {mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]}
    for path in re.findall(r'(?m)^\w+ = "(/etc/pgflight/.*)/[^/]+"$', text):
        assert path in mounts, f"the pod has no {path}"
    authority = trustme.CA()
    certificate = authority.issue_cert("pgflight.example")
    for folder in ("tls", "targets", "clients", "session", "certs"):
        (tmp_path / folder).mkdir()
    certificate.private_key_pem.write_to_path(tmp_path / "tls/tls.key")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "tls/tls.crt")
    authority.cert_pem.write_to_path(tmp_path / "clients/ca.crt")
    authority.cert_pem.write_to_path(tmp_path / "certs/ca-certificates.crt")
    (tmp_path / "session/session.key").write_bytes(b"k" * 32)
    for name in ("trips", "events"):
        (tmp_path / "targets" / name).write_text("secret")
    text = text.replace("/etc/pgflight/", f"{tmp_path}/").replace(
        "/etc/ssl/certs", f"{tmp_path}/certs"
    )
    (tmp_path / "pgflight.toml").write_text(text)
    done = subprocess.run(
        [binary(), "config", "check", tmp_path / "pgflight.toml"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "trips" in done.stdout


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["config.targets=null"], "name a database"),
        (["tls.from=file"], "tls.from is secret, cert-manager or none"),
        (["tls.from=cert-manager"], "name an issuer"),
        (["tls.from=none", "tls.clientCaSecret=a"], "needs TLS"),
        (
            ["monitoring.serviceMonitor.enabled=true", "monitoring.podMonitor.enabled=true"],
            "both read the same metrics",
        ),
    ],
)
def test_the_chart_rejects_contradictions(values: List[str], message: str) -> None:
    options = [word for value in values for word in ("--set", value)]
    done = helm("--values", VALUES[0], *options)
    assert done.returncode != 0
    assert message in done.stderr


def test_the_chart_carries_the_alerts_and_the_dashboard() -> None:
    found = rendered(ROOT / "deploy/helm/values/cert-manager.yaml")
    rules = yaml.safe_load((ROOT / "deploy/prometheus/pgflight.rules.yml").read_text())
    assert found["PrometheusRule"][0]["spec"] == rules
    (dashboard,) = (m for m in found["ConfigMap"] if m["metadata"]["name"].endswith("-dashboard"))
    assert (
        dashboard["data"]["pgflight.json"].strip()
        == (ROOT / "deploy/grafana/pgflight.json").read_text().strip()
    )
