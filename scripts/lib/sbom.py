"""Writes what the server is made of: its crates with their licences, and a CycloneDX list.

    python3 scripts/lib/sbom.py DIR

`THIRD-PARTY.txt` has the name, version, licence and repository of every crate, and each text of a licence once.
`pgflight.cdx.json` is a software bill of materials in CycloneDX 1.6. Both depend on Cargo.lock and the toolchain alone, so
that two runs write the same bytes. The texts are in the sources that cargo has fetched.
"""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any, Iterator

ROOT = Path(__file__).resolve().parents[2]
TARGET = "x86_64-unknown-linux-gnu"
_TEXTS = ("LICEN[SC]E*", "COPYING*", "COPYRIGHT*", "NOTICE*", "UNLICENSE*")


def metadata() -> dict[str, Any]:
    """Returns cargo's description of the workspace and of all crates that it locks."""
    command = ["cargo", "metadata", "--locked", "--format-version=1", f"--filter-platform={TARGET}"]
    return json.loads(subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout)


def linked(found: dict[str, Any]) -> dict[str, tuple[dict[str, Any], list[str]]]:
    """Maps the id of each crate of the server, its own first, to the crate and the ids of those it uses.

    Crates that only a build script or a test uses are left out.
    """
    packages = {package["id"]: package for package in found["packages"]}
    nodes = {node["id"]: node for node in found["resolve"]["nodes"]}
    (root,) = (name for name in found["workspace_members"] if packages[name]["name"] == "pgflight")
    reached: dict[str, tuple[dict[str, Any], list[str]]] = {}
    waiting = [root]
    while waiting:
        name = waiting.pop()
        if name in reached:
            continue
        uses = sorted(
            dependency["pkg"]
            for dependency in nodes[name]["deps"]
            if any(kind["kind"] is None for kind in dependency["dep_kinds"])
        )
        reached[name] = (packages[name], uses)
        waiting += uses
    return {root: reached.pop(root), **dict(sorted(reached.items(), key=_by_name))}


def _by_name(item: tuple[str, tuple[dict[str, Any], list[str]]]) -> tuple[str, str]:
    package = item[1][0]
    return package["name"], package["version"]


def expression(package: dict[str, Any]) -> str:
    """Returns the licence in SPDX's form; old crates write `/` for OR."""
    if not package["license"]:
        sys.exit(f"sbom: {package['name']} {package['version']} names no licence")
    return package["license"].replace(" / ", " OR ").replace("/", " OR ")


def texts(package: dict[str, Any]) -> Iterator[str]:
    """Yields the licences and notices in the crate's source, also of C code in a folder of it."""
    folder = Path(package["manifest_path"]).parent
    for place in ("", "*/"):
        for pattern in _TEXTS:
            for path in sorted(folder.glob(place + pattern)):
                if path.is_file() and path.suffix not in (".rs", ".toml", ".yml"):
                    yield path.read_text(encoding="utf-8", errors="replace").strip()


def toolchain() -> str:
    """Returns the version of Rust, whose standard library is linked as well."""
    done = subprocess.run(["rustc", "--version"], check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout.split()[1]


def third_party(crates: dict[str, tuple[dict[str, Any], list[str]]]) -> str:
    """Returns the list of crates and, behind it, each text with the crates that carry it."""
    (own, _), *others = crates.values()
    lines = [
        f"pgflight {own['version']} is licensed under {own['license']}. Its program contains:",
        "",
        f"rust {toolchain()} (the standard library): MIT OR Apache-2.0, https://github.com/rust-lang/rust",
    ]
    # By their words: copies of a licence differ in spaces and in the ends of lines.
    carriers: dict[str, tuple[str, list[str]]] = {}
    for package, _ in others:
        title = f"{package['name']} {package['version']}"
        place = package["repository"] or package["homepage"] or ""
        lines.append(f"{title}: {expression(package)}" + (f", {place}" if place else ""))
        for text in dict.fromkeys(texts(package)):
            carriers.setdefault(" ".join(text.split()), (text, []))[1].append(title)
    for text, titles in carriers.values():
        lines += ["", "=" * 80, ", ".join(titles), "=" * 80, "", text]
    return "\n".join(lines) + "\n"


def bill(crates: dict[str, tuple[dict[str, Any], list[str]]]) -> dict[str, Any]:
    """Returns the list in CycloneDX's form."""
    sums = checksums()
    components = {name: component(package, sums) for name, (package, _) in crates.items()}
    own, *others = components.values()
    own["type"] = "application"
    rust = {
        "type": "library",
        "bom-ref": "rust-std",
        "name": "rust-std",
        "version": toolchain(),
        "licenses": [{"expression": "MIT OR Apache-2.0"}],
    }
    listed: dict[str, Any] = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": own},
        "components": [*others, rust],
        "dependencies": [
            {
                "ref": components[name]["bom-ref"],
                "dependsOn": [components[use]["bom-ref"] for use in uses],
            }
            for name, (_, uses) in crates.items()
        ],
    }
    # The same list has the same number.
    number = uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(listed, sort_keys=True))
    return {**listed, "serialNumber": f"urn:uuid:{number}"}


def component(package: dict[str, Any], sums: dict[tuple[str, str], str]) -> dict[str, Any]:
    """Returns the entry of a crate."""
    purl = f"pkg:cargo/{package['name']}@{package['version']}"
    entry: dict[str, Any] = {
        "type": "library",
        "bom-ref": purl,
        "name": package["name"],
        "version": package["version"],
        "licenses": [{"expression": expression(package)}],
        "purl": purl,
    }
    checksum = sums.get((package["name"], package["version"]))
    if checksum:
        entry["hashes"] = [{"alg": "SHA-256", "content": checksum}]
    if package["repository"]:
        entry["externalReferences"] = [{"type": "vcs", "url": package["repository"]}]
    return entry


def checksums() -> dict[tuple[str, str], str]:
    """Maps name and version to the SHA-256 of the crate, as Cargo.lock has it."""
    found, name, version = {}, "", ""
    for line in (ROOT / "Cargo.lock").read_text(encoding="utf-8").splitlines():
        key, _, value = line.partition(" = ")
        if key == "name":
            name = value.strip('"')
        elif key == "version":
            version = value.strip('"')
        elif key == "checksum":
            found[name, version] = value.strip('"')
    return found


def main() -> None:
    """Writes both files into the directory of the command line."""
    directory = Path(sys.argv[1])
    directory.mkdir(parents=True, exist_ok=True)
    crates = linked(metadata())
    (directory / "THIRD-PARTY.txt").write_text(third_party(crates), encoding="utf-8")
    listed = json.dumps(bill(crates), indent=1) + "\n"
    (directory / "pgflight.cdx.json").write_text(listed, encoding="utf-8")


if __name__ == "__main__":
    main()
