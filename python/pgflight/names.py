"""Table names as users write them, and as a Flight path has them."""

from __future__ import annotations

import re
from typing import Iterable, Tuple

from pgflight.errors import InvalidCommand

_PART = re.compile(r'"((?:[^"]|"")*)"|([^".]+)')


def split(table: str) -> Tuple[str, ...]:
    """The parts of `name` or `schema.name`, without the double quotes that may stand around them.

    Raises:
        InvalidCommand: when a part is empty or a double quote has no end.
    """
    parts, at = [], 0
    while True:
        found = _PART.match(table, at)
        if not found:
            raise InvalidCommand(
                f"{table!r} is no table: write name or schema.name, with double quotes around a "
                "name that holds a dot or a double quote"
            )
        quoted, plain = found.groups()
        parts.append(plain if quoted is None else quoted.replace('""', '"'))
        at = found.end()
        if at == len(table):
            return tuple(parts)
        if table[at] != ".":
            raise InvalidCommand(f"{table!r} is no table: after a name stands a dot or nothing")
        at += 1


def join(parts: Iterable[str]) -> str:
    """The parts as one name, as `split` reads it."""
    return ".".join(
        '"' + part.replace('"', '""') + '"' if "." in part or '"' in part else part
        for part in parts
    )
