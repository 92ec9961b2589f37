"""Checks that every file that names the version of a release names that of Cargo.toml.

    python3 scripts/lib/versions.py [NEW]

With NEW, writes it into all of them first. `cargo check` then brings it into Cargo.lock.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

#: Files with the part of a line before the version, and the part behind it. Cargo.toml is the one that counts.
PLACES = [
    ("Cargo.toml", r'\n\[package\]\nname = "pgflight"\nversion = "', '"'),
    ("Cargo.toml", r'\narrow-pgcopy = \{ path = "crates/arrow-pgcopy", version = "', '"'),
    ("crates/arrow-pgcopy/Cargo.toml", r'\nversion = "', '"'),
    ("Cargo.lock", r'\nname = "pgflight"\nversion = "', '"'),
    ("Cargo.lock", r'\nname = "arrow-pgcopy"\nversion = "', '"'),
    ("python/pyproject.toml", r'\nversion = "', '"'),
    ("python/pyproject.toml", r'\nserver = \["pgflight-server==', ";"),
    ("python/pgflight/__init__.py", r'\n__version__ = "', '"'),
    ("deploy/wheel/pyproject.toml", r'\nversion = "', '"'),
    ("deploy/docker/Dockerfile", r'image\.version="', '"'),
    ("deploy/helm/pgflight/Chart.yaml", r"\nversion: ", "\n"),
    ("deploy/helm/pgflight/Chart.yaml", r'\nappVersion: "', '"'),
    ("deploy/kubernetes/base/deployment.yaml", r"image: pgflight:", "\n"),
    ("docs/spark.md", r"pgflight-spark-", r"\.jar"),
    ("spark/pom.xml", r"<artifactId>pgflight-spark</artifactId>\s*<version>", "<"),
]


def main() -> None:
    """Prints the places that name another version, and fails if there are any."""
    new = sys.argv[1] if len(sys.argv) > 1 else None
    version, wrong = new, []
    for name, before, behind in PLACES:
        path = ROOT / name
        text = path.read_text(encoding="utf-8")
        place = re.compile(rf"({before})(\d[\w.+-]*?)(?={behind})")
        found = [match[2] for match in place.finditer(text)]
        if not found:
            sys.exit(f"versions: {name} names no version behind {before}")
        if new:
            path.write_text(place.sub(rf"\g<1>{new}", text), encoding="utf-8")
            continue
        version = version or found[0]
        wrong += [
            f"{name}: {one} is not the version {version} of Cargo.toml"
            for one in found
            if one != version
        ]
    print("\n".join(wrong), end="\n" if wrong else "")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
