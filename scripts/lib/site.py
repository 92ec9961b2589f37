"""Lays out the pages of the documentation as a site, for `scripts/docs`.

    python3 scripts/lib/site.py DIR

Links between pages stay links between pages; links to other files of the repository become links to its address. A page
that the navigation leaves out is an error.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / "docs/zensical.toml"
#: Pages outside docs/, and their names on the site.
OTHERS = {
    "README.md": "index.md",
    "python/README.md": "python.md",
    "ARCHITECTURE.md": "architecture.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
}
_LINK = re.compile(r"(\]\()([^)\s#]+)(#[^)\s]*)?\)")


def pages() -> dict[str, str]:
    """Maps the path of each page to its name on the site."""
    own = {f"docs/{path.name}": path.name for path in sorted((ROOT / "docs").glob("*.md"))}
    return {**OTHERS, **own}


def rewritten(page: str, names: dict[str, str], address: str) -> str:
    """Returns the text of a page, with its links as the site needs them."""

    def link(found: re.Match[str]) -> str:
        target, fragment = found[2], found[3] or ""
        if "://" in target or target.startswith("mailto:"):
            return found[0]
        path = os.path.normpath(os.path.join(os.path.dirname(page), target))
        if not (ROOT / path).exists():
            sys.exit(f"site: {page}: {target} names no file")
        if path.startswith("docs/") and path.endswith(".png"):
            return f"{found[1]}{path.removeprefix('docs/')})"
        return f"{found[1]}{names.get(path) or f'{address}/blob/main/{path}'}{fragment})"

    # Code is not markup: its brackets are no links.
    parts = re.split(r"(?ms)(^```.*?^```$)", (ROOT / page).read_text(encoding="utf-8"))
    return "".join(part if part.startswith("```") else _LINK.sub(link, part) for part in parts)


def main() -> None:
    """Writes the sources of the site."""
    directory = Path(sys.argv[1])
    shutil.rmtree(directory, ignore_errors=True)
    source = directory / "source"
    source.mkdir(parents=True)
    config = CONFIG.read_text(encoding="utf-8")
    (address,) = re.findall(r'(?m)^repo_url = "(.*)"', config)
    names = pages()
    for page, name in names.items():
        if f'"{name}"' not in config:
            sys.exit(f"site: the navigation in docs/zensical.toml leaves out {name}")
        (source / name).write_text(rewritten(page, names, address), encoding="utf-8")
    for picture in (ROOT / "docs").glob("*.png"):
        shutil.copy(picture, source)
    shutil.copy(CONFIG, directory)


if __name__ == "__main__":
    main()
