"""Table names, as users write them and as the parts of a Flight path."""

from __future__ import annotations

import re
from typing import Iterable, Tuple

from pgflight.errors import InvalidCommand

_PART = re.compile(r'"((?:[^"]|"")*)"|([^".]+)')

_HINT = (
    "write name or schema.name, with double quotes around a name that holds a dot or a double quote"
)


def split(table: str) -> Tuple[str, ...]:
    """Returns the parts of `name` or `schema.name`, without the double quotes around them.

    Raises:
        InvalidCommand: when a part is empty or a double quote has no end.
    """
    parts, at = [], 0
    while True:
        found = _PART.match(table, at)
        if not found:
            raise InvalidCommand(f"{table!r} is not a table name", hint=_HINT)
        quoted, plain = found.groups()
        parts.append(plain if quoted is None else quoted.replace('""', '"'))
        at = found.end()
        if at == len(table):
            return tuple(parts)
        if table[at] != ".":
            raise InvalidCommand(f"{table!r} is not a table name", hint=_HINT)
        at += 1


def join(parts: Iterable[str]) -> str:
    """Joins the parts into one name that `split` reads."""
    return ".".join(
        '"' + part.replace('"', '""') + '"' if "." in part or '"' in part else part
        for part in parts
    )
