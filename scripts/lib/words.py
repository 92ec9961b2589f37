"""Finds words that CONTRIBUTING.md rules out, in all files that git tracks.

    python3 scripts/lib/words.py

`words.txt` beside this file lists the lines that may use one: a path, a part of the line, and the reason.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import NamedTuple

WORDS = "whom|whoever|nobody|somebody|told|mends?|mended"

#: This list itself, and the licence's text, which is not ours.
SKIPPED = ("LICENSE", "scripts/lib/words.py", "scripts/lib/words.txt")


class Allowed(NamedTuple):
    """A line that may use a word."""

    path: str
    part: str


def allowed_lines(file: Path) -> list[Allowed]:
    """Reads the allow-list: `PATH | PART OF THE LINE | REASON`, one per line."""
    entries = []
    for line in file.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            path, part, reason = (field.strip() for field in line.split(" | "))
            assert reason, line
            entries.append(Allowed(path, part))
    return entries


def found_lines() -> list[tuple[str, int, str]]:
    """Returns path, number and text of each line with a word of the list."""
    skipped = [f":!{path}" for path in SKIPPED]
    command = ["git", "grep", "-nIiwzE", WORDS, "--", ".", *skipped]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8")
    if done.returncode > 1:
        sys.exit(done.stderr)
    lines = []
    for line in done.stdout.splitlines():
        path, number, text = line.split("\0", 2)
        lines.append((path, int(number), text))
    return lines


def main() -> None:
    """Prints each forbidden use and fails if there is one, or if an entry of the allow-list is unused."""
    entries = allowed_lines(Path(__file__).with_name("words.txt"))
    used: set[Allowed] = set()
    folders: Counter[str] = Counter()
    for path, number, text in found_lines():
        allowing = [entry for entry in entries if entry.path == path and entry.part in text]
        used.update(allowing)
        if not allowing:
            folders[path.partition("/")[0]] += 1
            word = re.search(rf"\b({WORDS})\b", text, re.IGNORECASE)
            print(f"{path}:{number}: {word[0] if word else ''}: {text.strip()[:150]}")
    for entry in entries:
        if entry not in used:
            print(f"scripts/lib/words.txt: no line of {entry.path} has {entry.part!r}")
    if folders:
        counts = ", ".join(f"{folder} {count}" for folder, count in folders.most_common())
        print(f"{sum(folders.values())} lines use a word that CONTRIBUTING.md rules out: {counts}")
    if folders or len(used) < len(entries):
        sys.exit(1)


if __name__ == "__main__":
    main()
