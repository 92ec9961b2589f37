"""The option `conversions`: what may be changed in the values of a column."""

from __future__ import annotations

from typing import Any, Dict, Mapping

from pgflight.errors import InvalidCommand

#: Fields whose values are words, with the protocol's name for each word.
WORDS = {
    "rounding": {
        "reject": "ROUNDING_REJECT",
        "floor": "ROUNDING_FLOOR",
        "nearest": "ROUNDING_NEAREST",
    },
    "nul": {"reject": "NUL_REJECT", "remove": "NUL_REMOVE", "replace": "NUL_REPLACE"},
    "overflow": {
        "reject": "OVERFLOW_REJECT",
        "clamp": "OVERFLOW_CLAMP",
        "null": "OVERFLOW_NULL",
        "infinity": "OVERFLOW_INFINITY",
    },
    "too_long": {"reject": "TOO_LONG_REJECT", "truncate": "TOO_LONG_TRUNCATE"},
    "form": {
        "text": "FORM_TEXT",
        "number": "FORM_NUMBER",
        "part": "FORM_PART",
        "utf8": "FORM_UTF8",
        "utf8_lossy": "FORM_UTF8_LOSSY",
        "hex": "FORM_HEX",
        "base64": "FORM_BASE64",
        "address": "FORM_ADDRESS",
    },
    "unit": {
        "days": "UNIT_DAYS",
        "seconds": "UNIT_SECONDS",
        "milliseconds": "UNIT_MILLISECONDS",
        "microseconds": "UNIT_MICROSECONDS",
        "nanoseconds": "UNIT_NANOSECONDS",
    },
}

#: Fields with other values: the field's name in the protocol's JSON, and the type of the value.
VALUES = {
    "zone": ("zone", str),
    "nul_replacement": ("nulReplacement", str),
    "infinity_sentinels": ("infinitySentinels", bool),
    "srid": ("srid", int),
}


def message(column: str, asked: Mapping[str, Any]) -> Dict[str, Any]:
    """Returns a `Conversion` of the protocol, in its JSON form.

    Args:
        column: The column that it is for; errors name it.
        asked: Field to value, as a user writes them: `{"rounding": "floor", "zone": "UTC"}`.

    Raises:
        InvalidCommand: for an unknown field or value.
    """
    if not isinstance(asked, Mapping):
        raise InvalidCommand(
            "a conversion is not a mapping", hint="write it as {'rounding': 'floor'}", column=column
        )
    fields: Dict[str, Any] = {}
    for name, value in asked.items():
        if name in WORDS:
            if value not in WORDS[name]:
                words = ", ".join(repr(word) for word in WORDS[name])
                raise InvalidCommand(
                    f"conversion {name!r} is {value!r}, which is unknown",
                    hint=f"use one of {words}",
                    column=column,
                )
            fields["tooLong" if name == "too_long" else name] = WORDS[name][value]
        elif name in VALUES:
            field, kind = VALUES[name]
            if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
                raise InvalidCommand(
                    f"conversion {name!r} is {value!r}, which is not of type {kind.__name__}",
                    hint=f"pass a value of type {kind.__name__}",
                    column=column,
                )
            fields[field] = value
        else:
            raise InvalidCommand(
                f"conversion {name!r} is unknown",
                hint=f"use one of {', '.join([*WORDS, *VALUES])}",
                column=column,
            )
    return fields
