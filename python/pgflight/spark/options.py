"""Options of the Spark data source. They have the names of Spark's JDBC source where they mean the same."""

from __future__ import annotations

import difflib
import json
import re
import warnings
from dataclasses import dataclass
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Optional, Tuple, Union

from pgflight.errors import InvalidCommand
from pgflight.flight.connection import Endpoint
from pgflight.flight.patience import seconds_of
from pgflight.options import IF_EXISTS, KEYED_MODES, OVERWRITE_WITH, SPARK_NAMES, WriteOptions


class Option(NamedTuple):
    """An option of the data source that is no field of `WriteOptions`.

    Attributes:
        spark: Its name, as users write it. Spark passes names in lower case.
        python: The argument of the same meaning of `write_dataframe` or `foreach_batch`.
        meaning: What it means.
    """

    spark: str
    python: str
    meaning: str


#: The options beside those of `WriteOptions`, in the order of `docs/spark.md`.
OTHER_OPTIONS = (
    Option(
        "url",
        "url",
        "The server: `grpc://host:port`, or `grpc+tls://host:port` with TLS. Required.",
    ),
    Option(
        "dbtable",
        "table",
        "The table, as `name` or `schema.name`. Names keep their case; a part with a dot in it goes in double quotes. "
        "Required.",
    ),
    Option("path", "table", 'The same: `save("public.trips")` sets it.'),
    Option(
        "truncate",
        "overwrite_with",
        "As in JDBC. `true` is `overwriteWith=truncate`; `false` is an error, since pgflight never drops a table to "
        "overwrite it.",
    ),
    Option(
        "partitionOverwriteMode",
        "overwrite_with",
        "`static` replaces all rows, also in a session whose `spark.sql.sources.partitionOverwriteMode` is `dynamic`. "
        "Without it, such a session's overwrites are rejected.",
    ),
    Option(
        "writeId",
        "write_id",
        "A name for this save. A job that runs again under the name of a committed save writes nothing, for as long "
        "as the server's `--retention` (7 days). The driver's log, and the warning and the result of "
        "`write_dataframe`, say so.",
    ),
    Option(
        "sinkId",
        "sink_id",
        "The name of a stream's output, the same for as long as its checkpoint lives.",
    ),
    Option(
        "resume",
        "resume",
        "Whether this query, with its new checkpoint, replaces the query that wrote to the sink before.",
    ),
    Option(
        "retryTimeout",
        "retry_timeout",
        "How long driver and tasks wait while servers or PostgreSQL are away: `90s`, `2min`; 60 seconds by default.",
    ),
    Option(
        "token",
        "token",
        "The token. It travels to the tasks with the options. Without `token` and `tokenFile`, the driver's "
        "`PGFLIGHT_TOKEN`.",
    ),
    Option(
        "tokenFile",
        "token_file",
        "A file that holds the token. Driver and tasks read it where they run.",
    ),
    Option(
        "tlsRootCerts",
        "tls_root_certs",
        "The path, on the driver, of a file with PEM certificates to trust.",
    ),
    Option(
        "tlsClientCert",
        "tls_client_cert",
        "The path, on the driver, of a file with the client's certificate, for servers that know a principal by its "
        "certificate.",
    ),
    Option(
        "tlsClientKey",
        "tls_client_key",
        "The path, on the driver, of a file with the key of that certificate. Both travel to the tasks.",
    ),
)

_KNOWN = (*SPARK_NAMES.values(), *(option.spark for option in OTHER_OPTIONS))

_READING = "it is for reading"
_COPY = "rows are streamed through COPY, not sent in batches of statements"

#: JDBC options that a write does not need. They are accepted, so that a job moves by changing its format and url, and
#: give a warning, so that users know that they have no effect.
_NOT_NEEDED = {
    "driver": "no JDBC driver is involved",
    "batchsize": _COPY,
    "rewritebatchedinserts": _COPY,
    "isolationlevel": "the write is one transaction, whatever its number of partitions",
    "querytimeout": "timeouts are set on the server",
    "numpartitions": (
        "a data source cannot change the number of partitions; call df.coalesce(n) before writing"
    ),
    "stringtype": "text is converted to the type of its column",
    "fetchsize": _READING,
    "partitioncolumn": _READING,
    "lowerbound": _READING,
    "upperbound": _READING,
    "customschema": _READING,
    "pushdownpredicate": _READING,
    "pushdownaggregate": _READING,
    "pushdownlimit": _READING,
    "pushdownoffset": _READING,
    "pushdowntablesample": _READING,
}

_CREDENTIALS = "leave it out: the pgflight server holds the database's credentials"
_QUERY = "name a table in dbtable: only a table can be written"

#: JDBC options that would change what is written. They are rejected with this hint.
_REJECTED = {
    "user": _CREDENTIALS,
    "password": _CREDENTIALS,
    "keytab": _CREDENTIALS,
    "principal": _CREDENTIALS,
    "connectionprovider": _CREDENTIALS,
    "query": _QUERY,
    "preparequery": _QUERY,
    "cascadetruncate": "leave it out: tables that refer to the table are never truncated with it",
    "sessioninitstatement": "leave it out: the server sets up its sessions",
}


@dataclass(frozen=True)
class SparkOptions:
    """The options of one save."""

    endpoint: Endpoint
    table: str
    write: WriteOptions
    write_id: Optional[str]
    sink_id: Optional[str]
    resume: bool
    #: Whether the user has said that an overwrite replaces all rows.
    overwrites_all: bool


def parse(options: Mapping[str, str], overwrite: bool) -> SparkOptions:
    """Reads the options of one save.

    Args:
        options: Name to value; the case of names does not matter.
        overwrite: Whether the save mode is overwrite; append otherwise.

    Raises:
        InvalidCommand: for an option that is missing, unknown, rejected or contradicts another. It never holds the
            value of an unknown option, which may be a secret.

    Warns:
        UserWarning: for every option that is accepted and has no effect.
    """
    given = {name.lower(): value for name, value in options.items()}
    _check_names(given)
    fields: Dict[str, Any] = {}
    for field, spark in SPARK_NAMES.items():
        value = given.get(spark.lower())
        if value is not None:
            fields[field] = _READERS.get(field, _text)(spark, value)
    mode, if_exists, create_if_missing = _mode(fields, overwrite)
    fields.update(
        mode=mode,
        if_exists=if_exists,
        create_if_missing=create_if_missing,
        overwrite_with=_overwrite_with(fields, _flag(given, "truncate"), overwrite),
    )
    return SparkOptions(
        endpoint=Endpoint.parse(
            _required(given, "url", "grpc://host:8815"),
            given.get("token"),
            given.get("tlsrootcerts"),
            token_file=given.get("tokenfile"),
            retry_timeout=seconds_of(given.get("retrytimeout"), "option retryTimeout"),
            tls_client_cert=given.get("tlsclientcert"),
            tls_client_key=given.get("tlsclientkey"),
        ),
        table=_table(given),
        write=WriteOptions(**fields),
        write_id=given.get("writeid"),
        sink_id=given.get("sinkid"),
        resume=_flag(given, "resume") or False,
        overwrites_all=_overwrites_all(given, overwrite),
    )


def parse_column_types(text: str) -> Dict[str, str]:
    """Reads Spark's `name VARCHAR(64), fare DECIMAL(10,2)`.

    Args:
        text: Columns separated by commas; a comma within parentheses or quotes belongs to the type or the name. Names
            may stand in back quotes or double quotes, doubled within.

    Returns:
        Column name to type. PostgreSQL reads the type.

    Raises:
        InvalidCommand: when a column has no type or comes twice.
    """
    types: Dict[str, str] = {}
    for part in _split(text):
        name, kind = _name_and_type(part)
        if name in types:
            raise InvalidCommand("createTableColumnTypes names a column twice", column=name)
        types[name] = kind
    return types


def _overwrites_all(given: Mapping[str, str], overwrite: bool) -> bool:
    mode = given.get("partitionoverwritemode")
    if mode is None:
        return False
    if mode.lower() != "static":
        raise InvalidCommand(
            f"option partitionOverwriteMode is {mode!r}, which is not supported",
            hint="use static: it replaces all rows",
        )
    if not overwrite:
        raise InvalidCommand(
            "option partitionOverwriteMode has an effect with mode 'overwrite' alone"
        )
    return True


def _check_names(given: Mapping[str, str]) -> None:
    known = {name.lower(): name for name in _KNOWN}
    for name in given:
        if name in _REJECTED and given[name].lower() != "false":
            raise InvalidCommand(f"option {name!r} is not supported", hint=_REJECTED[name])
        if name in _REJECTED or name in known:
            continue
        if name in _NOT_NEEDED:
            why = _NOT_NEEDED[name]
            warnings.warn(f"pgflight: option {name!r} has no effect: {why}", stacklevel=4)
            continue
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {known[near[0]]!r}?" if near else f"use one of {', '.join(_KNOWN)}"
        raise InvalidCommand(f"option {name!r} is unknown", hint=hint)


def _mode(fields: Mapping[str, Any], overwrite: bool) -> Tuple[str, Optional[str], bool]:
    """Returns mode, if_exists and create_if_missing. Spark itself knows only append and overwrite."""
    write_mode, if_exists = fields.get("mode"), fields.get("if_exists")
    create_table = fields.get("create_if_missing")
    if write_mode is not None:
        if write_mode not in KEYED_MODES:
            raise InvalidCommand(
                f"option writeMode is {write_mode!r}, which is unknown",
                hint=f"use one of {', '.join(KEYED_MODES)}",
            )
        if if_exists is not None:
            raise InvalidCommand("options writeMode and ifExists contradict each other")
        if overwrite:
            raise InvalidCommand(
                "option writeMode contradicts mode 'overwrite'", hint="use mode 'append'"
            )
        return write_mode, None, bool(create_table)
    if if_exists is not None and if_exists not in IF_EXISTS:
        raise InvalidCommand(
            f"option ifExists is {if_exists!r}, which is unknown",
            hint=f"use one of {', '.join(IF_EXISTS)}",
        )
    if overwrite:
        if if_exists is not None:
            raise InvalidCommand(
                "option ifExists contradicts mode 'overwrite'", hint="use mode 'append'"
            )
        has_part = bool(fields.get("replace_by") or fields.get("replace_where"))
        if create_table and has_part:
            raise InvalidCommand(
                "createTable=true has no effect, since an overwrite of a part makes no table",
                hint="leave it out",
            )
        if create_table is False and not has_part:
            raise InvalidCommand(
                "createTable=false contradicts mode 'overwrite', which makes a missing table"
            )
        return "overwrite", None, False
    if if_exists is not None:
        # Spark rejects .mode("error") and .mode("ignore") for Python data sources, so this option replaces them.
        if create_table is False:
            raise InvalidCommand("createTable=false contradicts ifExists, which makes the table")
        return "create", if_exists, False
    return "append", None, bool(create_table)


def _overwrite_with(
    fields: Mapping[str, Any], truncate: Optional[bool], overwrite: bool
) -> Optional[str]:
    if not overwrite:
        # Set anyway, it is rejected as an option without effect.
        word: Optional[str] = fields.get("overwrite_with")
        return word
    if truncate is False:
        raise InvalidCommand(
            "truncate=false asks to drop the table, which would lose its indexes, grants and views",
            hint="leave it out, or set overwriteWith to delete or swap",
        )
    if fields.get("replace_by") or fields.get("replace_where"):
        # Set anyway, it contradicts the overwrite of a part.
        return fields.get("overwrite_with") or ("truncate" if truncate else None)
    how: str = fields.get("overwrite_with") or "truncate"
    if how not in OVERWRITE_WITH:
        raise InvalidCommand(
            f"option overwriteWith is {how!r}, which is unknown",
            hint=f"use one of {', '.join(OVERWRITE_WITH)}",
        )
    if truncate and how != "truncate":
        raise InvalidCommand("options truncate and overwriteWith contradict each other")
    return how


def _table(given: Mapping[str, str]) -> str:
    table, path = given.get("dbtable"), given.get("path")
    if table and path and table != path:
        raise InvalidCommand(
            "option dbtable and save() name two tables", hint="name the table in one of them"
        )
    return table or path or _required(given, "dbtable", "public.trips")


def _required(given: Mapping[str, str], name: str, example: str) -> str:
    value = given.get(name)
    if not value:
        raise InvalidCommand(f"option {name!r} is missing", hint=f"set it, as in {example}")
    return value


def _flag(given: Mapping[str, str], name: str) -> Optional[bool]:
    value = given.get(name.lower())
    return None if value is None else _boolean(name, value)


def _text(name: str, value: str) -> str:
    return value


def _word(name: str, value: str) -> str:
    return value.lower()


def _boolean(name: str, value: str) -> bool:
    if value.lower() not in ("true", "false"):
        raise InvalidCommand(f"option {name!r} is neither true nor false")
    return value.lower() == "true"


def _names(name: str, value: str) -> List[str]:
    """Reads column names separated by commas, quoted as in createTableColumnTypes."""
    names = []
    for part in _split(value):
        quoted = len(part) > 1 and part[0] in '`"' and part[-1] == part[0]
        names.append(part[1:-1].replace(part[0] * 2, part[0]) if quoted else part)
    return names


def _number(kind: Callable[[str], Any]) -> Callable[[str, str], Any]:
    def read(name: str, value: str) -> Any:
        try:
            return kind(value)
        except ValueError:
            raise InvalidCommand(
                f"option {name} is {value!r}, which is no number", hint="write it in digits"
            ) from None

    return read


def _types(name: str, value: str) -> Dict[str, str]:
    return parse_column_types(value)


def _conversions(name: str, value: str) -> Dict[str, Dict[str, Any]]:
    try:
        conversions = json.loads(value)
    except ValueError:
        conversions = None
    if not isinstance(conversions, dict):
        raise InvalidCommand(
            "option conversions is not a JSON object",
            hint='write it as {"at": {"rounding": "floor", "zone": "UTC"}, "note": {"nul": "remove"}}',
        )
    return conversions


#: The readers of the fields of `WriteOptions` that are not plain text.
def _delete_when(spark: str, value: str) -> Union[str, Dict[str, List[str]]]:
    """Reads `is_deleted`, or `op in ('d', 'D')`."""
    found = _DELETE_WHEN.fullmatch(value.strip())
    if found is None:
        raise InvalidCommand(
            f"option {spark} is neither a column nor a column and its values",
            hint="write it as in is_deleted, or op in ('d', 'D')",
        )
    quote = found["quote"]
    column = found["quoted"].replace(quote * 2, quote) if quote else found["name"]
    if found["values"] is None:
        return str(column)
    literals = re.findall(r"'((?:[^']|'')*)'|(-?\d+)", found["values"])
    return {str(column): [number or text.replace("''", "'") for text, number in literals]}


_LITERAL = r"(?:'(?:[^']|'')*'|-?\d+)"
_DELETE_WHEN = re.compile(
    r"(?:(?P<quote>[`\"])(?P<quoted>(?:(?!(?P=quote)).|(?P=quote){2})+)(?P=quote)|(?P<name>\w+))"
    rf"(?:\s+in\s*\((?P<values>\s*{_LITERAL}(?:\s*,\s*{_LITERAL})*\s*)\))?",
    re.IGNORECASE,
)


_READERS: Dict[str, Callable[[str, str], Any]] = {
    "mode": _word,
    "if_exists": _word,
    "overwrite_with": _word,
    "replace_by": _names,
    "update_columns": _names,
    "insert_columns": _names,
    "envelope": _word,
    "before": _names,
    "after": _names,
    "delete_when": _delete_when,
    "create_if_missing": _boolean,
    "sync_sequences": _boolean,
    "keys": _names,
    "primary_key": _names,
    "column_types": _types,
    "conversions": _conversions,
    "on_error": _word,
    "reject_limit": _number(int),
    "reject_percent": _number(float),
    "reject_kinds": _names,
    "reject_values": _word,
    "on_duplicate": _word,
}


def _split(text: str) -> List[str]:
    """Splits at the commas outside parentheses and quotes."""
    parts, part, depth, quote = [], "", 0, ""
    for letter in text:
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "`\"'":
            quote = letter
        elif letter in "()":
            depth += 1 if letter == "(" else -1
        elif letter == "," and depth == 0:
            parts.append(part)
            part = ""
            continue
        part += letter
    if quote or depth:
        raise InvalidCommand("an option has an open quote or parenthesis without its end")
    return [p.strip() for p in [*parts, part] if p.strip()]


def _name_and_type(part: str) -> Tuple[str, str]:
    quote = part[0]
    if quote in '`"':
        end = 1
        # A doubled quote within the name stands for one quote.
        while part[end] != quote or part[end + 1 : end + 2] == quote:
            end += 2 if part[end] == quote else 1
        name, kind = part[1:end].replace(quote * 2, quote), part[end + 1 :].strip()
    else:
        name, _, kind = part.replace("\t", " ").partition(" ")
        kind = kind.strip()
    if not name or not kind:
        raise InvalidCommand("createTableColumnTypes has no type for a column", column=name or part)
    return name, kind
