"""Makes files of the Helm chart's output, for `scripts/chart`.

    python3 scripts/lib/manifests.py schemas KUBERNETES-VERSION DIR
    python3 scripts/lib/manifests.py kustomize RENDERED DIR [--check]

`schemas` writes the JSON schemas of Kubernetes and of other kinds, in which unknown keys are errors. `kustomize`
writes a base for kustomize: a file for each template, and the configuration, which the base makes into a ConfigMap.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import yaml

_HEAD = """\
# {about}: kubectl apply -k deploy/kubernetes/{name}
# scripts/chart writes this folder from the Helm chart. First create the secrets: {secrets}.
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
namespace: pgflight
resources:
{resources}
configMapGenerator:
  # Its name ends in a hash of its contents, so that a change restarts the replicas one by one.
  - name: pgflight
    files:
      - pgflight.toml
"""
#: Kubernetes' own kinds in the chart.
_CORE = [
    "configmap-v1",
    "deployment-apps-v1",
    "networkpolicy-networking-v1",
    "poddisruptionbudget-policy-v1",
    "service-v1",
]
_ABOUT = {
    "base": "Replicas with TLS",
    "mesh": "Replicas without TLS in the server, for a service mesh that encrypts",
}


def schemas(version: str, directory: Path) -> None:
    """Writes the schema of each kind, under the name by which kubeconform looks for it."""
    import kubernetes_validate
    from cloudcoil.models.cert_manager import v1 as cert_manager
    from cloudcoil.models.prometheus_operator import v1 as operator

    directory.mkdir(parents=True)
    package = Path(kubernetes_validate.__file__).parent / "kubernetes-json-schema"
    folder = package / f"v{version}-local-strict"
    definitions = json.loads((folder / "_definitions.json").read_text(encoding="utf-8"))["$defs"]
    for name in _CORE:
        schema = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
        # They refer to one file for all, by a path that no folder has.
        text = json.dumps({**schema, "$defs": definitions})
        text = text.replace("/api/_definitions.json#", "#")
        (directory / f"{name}.json").write_text(text, encoding="utf-8")
    kinds = {
        "servicemonitor-monitoring-v1": operator.ServiceMonitor,
        "podmonitor-monitoring-v1": operator.PodMonitor,
        "prometheusrule-monitoring-v1": operator.PrometheusRule,
        "certificate-cert-manager-v1": cert_manager.Certificate,
    }
    for name, model in kinds.items():
        schema = closed(model.model_json_schema(by_alias=True))
        (directory / f"{name}.json").write_text(json.dumps(schema))


def closed(schema: Any) -> Any:
    """Returns the schema without place for keys that it does not name."""
    if isinstance(schema, list):
        return [closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    schema = {key: closed(value) for key, value in schema.items()}
    if isinstance(schema.get("properties"), dict) and schema.get("type") == "object":
        schema.setdefault("additionalProperties", False)
    return schema


def kustomize(rendered: str, name: str) -> dict[str, str]:
    """Maps the names of the base's files to their texts."""
    files, secrets = {}, []
    for document in re.split(r"(?m)^---\n", rendered):
        source = re.match(r"# Source: pgflight/templates/(.*)\n", document)
        if not source:
            continue
        text = document[source.end() :].strip("\n") + "\n"
        manifest = yaml.safe_load(text)
        if manifest["kind"] == "ConfigMap":
            files["pgflight.toml"] = manifest["data"]["pgflight.toml"]
            continue
        if manifest["kind"] == "Deployment":
            volumes = manifest["spec"]["template"]["spec"]["volumes"]
            secrets = [volume["secret"]["secretName"] for volume in volumes if "secret" in volume]
        files[source[1]] = text
    listed = "\n".join(f"  - {file}" for file in sorted(files) if file.endswith(".yaml"))
    files["kustomization.yaml"] = _HEAD.format(
        about=_ABOUT[name], name=name, secrets=", ".join(sorted(secrets)), resources=listed
    )
    return files


def main() -> None:
    """Runs the command of the command line."""
    what, *rest = sys.argv[1:]
    if what == "schemas":
        schemas(rest[0], Path(rest[1]))
        return
    directory = Path(rest[1])
    files = kustomize(Path(rest[0]).read_text(), directory.name)
    if "--check" in rest:
        found = {path.name: path.read_text() for path in directory.iterdir()}
        wrong = sorted(
            name for name in files.keys() | found.keys() if files.get(name) != found.get(name)
        )
        if wrong:
            sys.exit(f"{directory}: not as the chart has it: {', '.join(wrong)}; run scripts/chart")
        return
    directory.mkdir(parents=True, exist_ok=True)
    for path in directory.iterdir():
        path.unlink()
    for name, text in files.items():
        (directory / name).write_text(text)


if __name__ == "__main__":
    main()
