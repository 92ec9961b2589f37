"""Checks that the tests and files that the documentation names exist.

    python3 scripts/lib/named_in_docs.py

A page names a test as `module::test`, all tests of a module as `module::*`, and leaves out the end of a long name by `…`.
ARCHITECTURE.md and CONTRIBUTING.md name files and folders by their path, from the root or from `src` of a package.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

_PAGES = ("ARCHITECTURE.md", "docs/*.md")
_CODE = ("*.rs", "python/tests/*.py")
_TREE_PAGES = ("ARCHITECTURE.md", "CONTRIBUTING.md")
_ROOTS = ("", "src", "crates/arrow-pgcopy", "crates/arrow-pgcopy/src")
_PATH = re.compile(r"`([a-z][\w.-]*/[\w./*-]*)`")
_NAMED = re.compile(r"`((?:[a-z_0-9]+::)*)([a-z][a-z_0-9]*_[a-z_0-9]*|\*)(…?)`")


def tracked(patterns: tuple[str, ...]) -> list[Path]:
    """Returns the files that git tracks."""
    done = subprocess.run(["git", "ls-files", "--", *patterns], capture_output=True, text=True)
    return [Path(line) for line in done.stdout.splitlines() if Path(line).exists()]


def missing_paths() -> list[str]:
    """Returns a line for each path that is named and does not exist."""
    return [
        f"{page}: `{path}` names no file"
        for page in _TREE_PAGES
        for path in _PATH.findall(Path(page).read_text(encoding="utf-8"))
        if not any(any(Path(root).glob(path.rstrip("/"))) for root in _ROOTS)
    ]


def main() -> None:
    """Prints the names without a test or a file, and fails if there are any."""
    code = tracked(_CODE)
    functions = {
        name
        for path in code
        for name in re.findall(r"\b(?:fn|def) ([a-z_0-9]+)", path.read_text(encoding="utf-8"))
    }
    modules = {part for path in code for part in (path.stem, *path.parent.parts)}
    missing = missing_paths()
    for page in tracked(_PAGES):
        for module, name, cut in _NAMED.findall(page.read_text(encoding="utf-8")):
            if not module and not cut:
                continue  # Not a test: an option, a column.
            if name == "*":
                found = module.split("::")[-2] in modules
            elif cut:
                found = any(function.startswith(name) for function in functions)
            else:
                found = name in functions or name in modules
            if not found:
                missing.append(f"{page}: `{module}{name}{cut}` names no test")
    print("\n".join(missing), end="\n" if missing else "")
    sys.exit(bool(missing))


if __name__ == "__main__":
    main()
