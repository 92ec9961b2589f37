"""Options of the Spark data source: those of Spark's JDBC source where they mean the same."""

from __future__ import annotations

import difflib
import json
import warnings
from dataclasses import dataclass
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

from pgflight import command
from pgflight.connection import Endpoint
from pgflight.errors import InvalidCommand
from pgflight.patience import seconds_of
from pgflight.spark_schema import match_columns

#: Options that are read, as users write them; Spark hands them over in lower case.
_KNOWN = (
    "url",
    "dbtable",
    "path",
    "truncate",
    "overwriteWith",
    "createTable",
    "ifExists",
    "createTableColumnTypes",
    "createTableOptions",
    "primaryKey",
    "writeMode",
    "keys",
    "orderBy",
    "publish",
    "conversions",
    "schemaEvolution",
    "syncSequences",
    "target",
    "writeId",
    "sinkId",
    "resume",
    "retryTimeout",
    "token",
    "tokenFile",
    "tlsRootCerts",
)

_READING = "it is for reading"

#: JDBC options that a write does not need: accepted, so that a job can be moved by changing its
#: format and url, and warned about, so that nobody believes that they do something.
_NOT_NEEDED = {
    "driver": "no JDBC driver is involved",
    "batchsize": "rows are streamed through COPY, not sent in batches of statements",
    "rewritebatchedinserts": "rows are streamed through COPY, not sent in batches of statements",
    "isolationlevel": "the write is one transaction, whatever its number of partitions",
    "querytimeout": "timeouts are set on the server",
    "numpartitions": (
        "a data source cannot change the number of partitions: call df.coalesce(n) before writing"
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

_CREDENTIALS = "the pgflight server holds the database's credentials: leave it out"

#: JDBC options that would change what is written if they were heeded: refused.
_REFUSED = {
    "user": _CREDENTIALS,
    "password": _CREDENTIALS,
    "keytab": _CREDENTIALS,
    "principal": _CREDENTIALS,
    "connectionprovider": _CREDENTIALS,
    "query": "only a table can be written: name it in 'dbtable'",
    "cascadetruncate": "tables that refer to the table are never truncated along with it",
    "sessioninitstatement": "sessions are set up on the server",
    "preparequery": "only a table can be written: name it in 'dbtable'",
}


@dataclass(frozen=True)
class SparkOptions:
    """What the options of one save mean."""

    endpoint: Endpoint
    table: str
    mode: str
    if_exists: Optional[str]
    overwrite_with: Optional[str]
    create_if_missing: bool
    column_types: Dict[str, str]
    primary_key: List[str]
    table_options: Optional[str]
    keys: List[str]
    order_by: Optional[str]
    publish: Optional[str]
    conversions: Dict[str, Dict[str, Any]]
    schema_evolution: Optional[str]
    sync_sequences: bool
    target: Optional[str]
    write_id: Optional[str]
    sink_id: Optional[str]
    resume: bool

    def spec(self, names: Sequence[str]) -> Dict[str, Any]:
        """The `WriteSpec`, with columns spelled as the frame's columns of these names are."""
        return command.write_spec(
            self.table,
            self.mode,
            if_exists=self.if_exists,
            overwrite_with=self.overwrite_with,
            create_if_missing=self.create_if_missing,
            column_types=match_columns(self.column_types, names),
            primary_key=self.primary_key,
            table_options=self.table_options,
            keys=self.keys,
            order_by=self.order_by,
            publish=self.publish,
            conversions=match_columns(self.conversions, names),
            schema_evolution=self.schema_evolution,
            sync_sequences=self.sync_sequences,
            target=self.target,
        )


def parse(options: Mapping[str, str], overwrite: bool) -> SparkOptions:
    """Reads the options of one save.

    Args:
        options: Name to value; the case of names does not matter.
        overwrite: Whether the save mode is overwrite; append otherwise.

    Raises:
        InvalidCommand: for an option that is missing, unknown, refused or at odds with another.
            Values of unknown options are never repeated: they may be secrets.

    Warns:
        UserWarning: for every option that is accepted and has no effect.
    """
    given = {name.lower(): value for name, value in options.items()}
    _check_names(given)
    mode, if_exists, create_if_missing = _making(given, overwrite)
    overwrite_with = _overwrite_with(given) if overwrite else None
    types = parse_column_types(given.get("createtablecolumntypes", ""))
    adds = given.get("schemaevolution") == "add_columns"
    if types and mode == "append" and not create_if_missing and not adds:
        raise InvalidCommand(
            "createTableColumnTypes has an effect only where the table is made, and append makes "
            "none: add option createTable=true, or leave it out"
        )
    return SparkOptions(
        endpoint=Endpoint.parse(
            _required(given, "url", "the pgflight server's address, as in grpc://host:8815"),
            given.get("token"),
            given.get("tlsrootcerts"),
            token_file=given.get("tokenfile"),
            retry_timeout=seconds_of(given.get("retrytimeout"), "option 'retryTimeout'"),
        ),
        table=_table(given),
        mode=mode,
        if_exists=if_exists,
        overwrite_with=overwrite_with,
        create_if_missing=create_if_missing,
        column_types=types,
        primary_key=_names(given.get("primarykey", "")),
        table_options=given.get("createtableoptions"),
        keys=_names(given.get("keys", "")),
        order_by=given.get("orderby"),
        publish=given.get("publish"),
        conversions=_conversions(given.get("conversions", "{}")),
        schema_evolution=given.get("schemaevolution"),
        sync_sequences=_flag(given, "syncSequences") or False,
        target=given.get("target"),
        write_id=given.get("writeid"),
        sink_id=given.get("sinkid"),
        resume=_flag(given, "resume") or False,
    )


def parse_column_types(text: str) -> Dict[str, str]:
    """Reads Spark's `name VARCHAR(64), fare DECIMAL(10,2)`.

    Args:
        text: Columns separated by commas; a comma within parentheses or quotes belongs to the
            type or the name. Names may stand in back quotes or double quotes, doubled within.

    Returns:
        Column name to type; the type as it stands, for PostgreSQL to read.

    Raises:
        InvalidCommand: when a column has no type or comes twice.
    """
    types: Dict[str, str] = {}
    for part in _split(text):
        name, kind = _name_and_type(part)
        if name in types:
            raise InvalidCommand(f"createTableColumnTypes names column {name!r} twice", column=name)
        types[name] = kind
    return types


def _conversions(text: str) -> Dict[str, Dict[str, Any]]:
    try:
        conversions = json.loads(text)
    except ValueError:
        conversions = None
    if not isinstance(conversions, dict):
        raise InvalidCommand(
            "option 'conversions' must be JSON, as in "
            '{"at": {"rounding": "floor", "zone": "UTC"}, "note": {"nul": "remove"}}'
        )
    return conversions


def _check_names(given: Mapping[str, str]) -> None:
    known = {name.lower(): name for name in _KNOWN}
    for name in given:
        if name in _REFUSED and given[name].lower() != "false":
            raise InvalidCommand(f"option {name!r} is not taken: {_REFUSED[name]}")
        if name in _REFUSED or name in known:
            continue
        if name in _NOT_NEEDED:
            why = _NOT_NEEDED[name]
            warnings.warn(f"pgflight: option {name!r} has no effect: {why}", stacklevel=4)
            continue
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {known[near[0]]!r}?" if near else f"known are {', '.join(_KNOWN)}"
        raise InvalidCommand(f"option {name!r} is not known: {hint}")


def _making(given: Mapping[str, str], overwrite: bool) -> Tuple[str, Optional[str], bool]:
    """Mode, if_exists and create_if_missing: Spark itself knows only append and overwrite."""
    create_table = _flag(given, "createTable")
    write_mode = given.get("writemode")
    if write_mode is not None:
        write_mode = write_mode.lower()
        if write_mode not in command.KEYED_MODES:
            raise InvalidCommand(f"option 'writeMode' must be {', '.join(command.KEYED_MODES)}")
        if "ifexists" in given:
            raise InvalidCommand("options 'writeMode' and 'ifExists' contradict each other")
        if overwrite:
            raise InvalidCommand("option 'writeMode' contradicts mode 'overwrite': use 'append'")
        return write_mode, None, bool(create_table)
    if_exists = given.get("ifexists")
    if if_exists is not None:
        if_exists = if_exists.lower()
        if if_exists not in command.IF_EXISTS:
            raise InvalidCommand("option 'ifExists' must be fail, append or ignore")
    if overwrite:
        if if_exists is not None:
            raise InvalidCommand("option 'ifExists' contradicts mode 'overwrite': use 'append'")
        if create_table is False:
            raise InvalidCommand("mode 'overwrite' makes a missing table: createTable=false is not")
        return "overwrite", None, False
    if if_exists is not None:
        # What .mode("error") and .mode("ignore") are elsewhere; Spark refuses them for Python data
        # sources, so the mode is append and the option says the rest.
        if create_table is False:
            raise InvalidCommand("option 'ifExists' makes the table: createTable=false is not")
        return "create", if_exists, False
    return "append", None, bool(create_table)


def _overwrite_with(given: Mapping[str, str]) -> Optional[str]:
    truncate = _flag(given, "truncate")
    if truncate is False:
        raise InvalidCommand(
            "truncate=false asks to drop the table and make it anew, which would lose its indexes, "
            "grants and views: pgflight never does; leave it out, or say overwriteWith=delete or swap"
        )
    how = given.get("overwritewith")
    if how is not None:
        how = how.lower()
        if how not in command.OVERWRITE_WITH:
            raise InvalidCommand("option 'overwriteWith' must be truncate, delete or swap")
        if truncate and how != "truncate":
            raise InvalidCommand("options 'truncate' and 'overwriteWith' contradict each other")
    return how or "truncate"


def _table(given: Mapping[str, str]) -> str:
    table, path = given.get("dbtable"), given.get("path")
    if table and path and table != path:
        raise InvalidCommand("the table is named twice: in option 'dbtable' and in save()")
    if not table and not path:
        return _required(given, "dbtable", "the table to write to, as in public.trips")
    return table or path or ""


def _required(given: Mapping[str, str], name: str, what: str) -> str:
    value = given.get(name)
    if not value:
        raise InvalidCommand(f"option {name!r} is missing: {what}")
    return value


def _flag(given: Mapping[str, str], name: str) -> Optional[bool]:
    value = given.get(name.lower())
    if value is None:
        return None
    if value.lower() not in ("true", "false"):
        raise InvalidCommand(f"option {name!r} must be true or false")
    return value.lower() == "true"


def _split(text: str) -> List[str]:
    """Splits at the commas that stand outside parentheses and quotes."""
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
        raise InvalidCommand("an option has a quote or parenthesis without its end")
    return [p.strip() for p in [*parts, part] if p.strip()]


def _names(text: str) -> List[str]:
    """Reads column names separated by commas, quoted as in createTableColumnTypes."""
    names = []
    for part in _split(text):
        quoted = len(part) > 1 and part[0] in '`"' and part[-1] == part[0]
        names.append(part[1:-1].replace(part[0] * 2, part[0]) if quoted else part)
    return names


def _name_and_type(part: str) -> Tuple[str, str]:
    quote = part[0]
    if quote in '`"':
        end = 1
        # A doubled quote stands for one, within the name.
        while part[end] != quote or part[end + 1 : end + 2] == quote:
            end += 2 if part[end] == quote else 1
        name, kind = part[1:end].replace(quote * 2, quote), part[end + 1 :].strip()
    else:
        name, _, kind = part.replace("\t", " ").partition(" ")
        kind = kind.strip()
    if not name or not kind:
        raise InvalidCommand(f"createTableColumnTypes has no type for {name or part!r}")
    return name, kind
