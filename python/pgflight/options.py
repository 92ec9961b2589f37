"""The options of a write, in one list: every way to write takes them.

The tables below map the words of an option to the names of the protocol.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Dict, Mapping, Optional, Sequence, Union

from pgflight import conversions
from pgflight.errors import InvalidCommand

KEYED_MODES = {
    "upsert": "upsert",
    "insert_if_absent": "insertIfAbsent",
    "update_only": "updateOnly",
    "delete_by_key": "deleteByKey",
}
MODES = {
    "append": "append",
    "create": "create",
    "overwrite": "overwrite",
    **KEYED_MODES,
}
IF_EXISTS = {
    "fail": "IF_EXISTS_FAIL",
    "append": "IF_EXISTS_APPEND",
    "ignore": "IF_EXISTS_IGNORE",
}
OVERWRITE_WITH = {
    "truncate": "OVERWRITE_WITH_TRUNCATE",
    "delete": "OVERWRITE_WITH_DELETE",
    "swap": "OVERWRITE_WITH_SWAP",
}
SCHEMA_EVOLUTION = {
    "refuse": "SCHEMA_EVOLUTION_REFUSE",
    "add_columns": "SCHEMA_EVOLUTION_ADD_COLUMNS",
    "ignore": "SCHEMA_EVOLUTION_IGNORE",
}
PUBLISH = {
    "staged": "PUBLISH_STAGED",
    "two_phase": "PUBLISH_TWO_PHASE",
    "direct": "PUBLISH_DIRECT",
}

ENVELOPE = {"debezium": "ENVELOPE_DEBEZIUM"}
ON_ERROR = {"abort": "ON_ERROR_ABORT", "reject": "ON_ERROR_REJECT"}
REJECT_VALUES = {
    "none": "REJECT_VALUES_NONE",
    "keys": "REJECT_VALUES_KEYS",
    "row": "REJECT_VALUES_ROW",
}
ON_DUPLICATE = {
    "reject_later": "ON_DUPLICATE_REJECT_LATER",
    "reject_all": "ON_DUPLICATE_REJECT_ALL",
}

#: The words of each option that may be left out.
_WORDS = {
    "if_exists": IF_EXISTS,
    "overwrite_with": OVERWRITE_WITH,
    "schema_evolution": SCHEMA_EVOLUTION,
    "publish": PUBLISH,
    "envelope": ENVELOPE,
    "on_error": ON_ERROR,
    "reject_values": REJECT_VALUES,
    "on_duplicate": ON_DUPLICATE,
}

#: The options that are lists of names.
_NAMES = (
    "keys",
    "primary_key",
    "replace_by",
    "update_columns",
    "insert_columns",
    "before",
    "after",
    "reject_kinds",
)

#: The options that have an effect only with `on_error="reject"`.
_REJECT_OPTIONS = (
    "reject_limit",
    "reject_percent",
    "reject_kinds",
    "reject_table",
    "reject_values",
    "on_duplicate",
)

#: Modes that make a missing table when `create_if_missing` is set.
_MAKING_MODES = ("append", "upsert", "insert_if_absent")

#: Modes that write values.
_WRITING_MODES = tuple(mode for mode in MODES if mode != "delete_by_key")

#: The name of each field of `WriteOptions` as an option of Spark's data source. Fields have the names that the
#: messages of `proto/pgflight/v1` have for them, except `overwrite_with` (`with` of `Overwrite`) and `table_options`
#: (`options` of `NewTable`), and `local_timestamps` (a conversion of column `*`).
SPARK_NAMES = {
    "mode": "writeMode",
    "keys": "keys",
    "order_by": "orderBy",
    "delete_when": "deleteWhen",
    "newer_by": "newerBy",
    "tombstone": "tombstone",
    "update_columns": "updateColumns",
    "insert_columns": "insertColumns",
    "envelope": "envelope",
    "if_exists": "ifExists",
    "overwrite_with": "overwriteWith",
    "replace_by": "replaceBy",
    "replace_where": "replaceWhere",
    "create_if_missing": "createTable",
    "column_types": "createTableColumnTypes",
    "primary_key": "primaryKey",
    "table_options": "createTableOptions",
    "schema_evolution": "schemaEvolution",
    "conversions": "conversions",
    "local_timestamps": "localTimestamps",
    "sync_sequences": "syncSequences",
    "publish": "publish",
    "before": "before",
    "after": "after",
    "on_error": "onError",
    "reject_limit": "rejectLimit",
    "reject_percent": "rejectPercent",
    "reject_kinds": "rejectKinds",
    "reject_table": "rejectTable",
    "reject_values": "rejectValues",
    "on_duplicate": "onDuplicate",
    "target": "target",
}


@dataclass(frozen=True)
class WriteOptions:
    """How a write puts rows into its table.

    `Client.write`, `Client.begin`, `Client.plan`, `write_dataframe` and `foreach_batch` take the fields as keyword
    arguments. `docs/spark.md` lists them with the names that they have in Spark's data source.

    Attributes:
        mode: What the write does; `append` by default. `append` adds rows to a table that exists. `create` makes the
            table. `overwrite` replaces all rows, or a part of them, and keeps the table with its grants, indexes and
            views; it makes a missing table unless it replaces a part. The keyed modes compare the columns in `keys`: `upsert` replaces the rows with the same
            keys and adds the others, `insert_if_absent` only adds, `update_only` only changes, `delete_by_key` only
            removes.
        keys: The columns that identify a row, in keyed modes; by default those of the table's primary key. The data
            must have these columns. None of their values may be NULL, unless a unique index on them has NULLS NOT
            DISTINCT.
        order_by: In keyed modes, the column that decides between rows of the data with the same keys: the row with
            the greatest value counts. Without it, such rows are an error.
        delete_when: In mode `upsert`, the column of the data that says which rows delete; it is not written. A boolean
            column by its name, or a column of strings or integers with the values that delete, as
            `{"op": ["d", "D"]}`, in Spark `op in ('d', 'D')`.
        newer_by: In mode `upsert`, a column of the table: a row that exists is changed only by a row with a greater
            value in it. Without `order_by`, it also decides between rows of the data.
        tombstone: A boolean column of the table that a delete sets instead of deleting the row, so that late changes
            cannot bring the row back. It needs `delete_when` and `newer_by`.
        update_columns: In mode `upsert`, the columns that are set in rows that exist; all by default.
        insert_columns: In mode `upsert`, the columns that are set in new rows; all by default. They include
            `update_columns`.
        envelope: In mode `upsert`, `debezium` if the data are changes in Debezium's envelope: structs `before` and
            `after`, `op`, and `source.lsn` or `ts_ms`, which orders the changes. `newer_by` then names a bigint column of
            the table that gets this number. It replaces `delete_when` and `order_by`.
        if_exists: In mode `create`, what happens when the table exists: `fail` (default), `append`, or `ignore`,
            which writes nothing.
        overwrite_with: In mode `overwrite`, how old rows are removed. `truncate` (default) is fast, and readers wait
            until the commit. `delete` never blocks readers and leaves dead rows for vacuum. `swap` fills and indexes
            another table, which then takes the place of the old one, so that readers wait for a moment only.
        replace_by: In mode `overwrite`, columns: only the rows that have the values that the data has in these columns
            are replaced, such as `["day"]`. NULL equals NULL.
        replace_where: In mode `overwrite`, a condition: only the rows for which it holds are replaced, such as
            `day = '2026-01-31'`. It compares columns with values by `=`, `<>`, `<`, `<=`, `>`, `>=`, `BETWEEN` and
            `IN`, has `IS NULL`, `AND`, `OR`, `NOT` and parentheses, and must hold for all rows of the data. Dates and
            times are in ISO 8601, with an offset for timestamptz. Names keep their case.
        create_if_missing: Whether a missing table is made in the modes `append`, `upsert` and `insert_if_absent`; no
            by default, so that a missing table is an error. In the keyed modes it needs `keys`, which become the
            primary key.
        column_types: PostgreSQL types of columns that the write makes, by column. The other columns get the type
            that follows from the data.
        primary_key: The columns of the primary key of a table that the write makes; none by default. Keyed modes
            reject it.
        table_options: Storage parameters and tablespace of a table that the write makes, as SQL.
        schema_evolution: What happens to columns of the data that the table lacks. `refuse` (default) rejects the
            write. `add_columns` adds them to the table together with the rows; the server's role must own the table.
            `ignore` leaves them out.
        conversions: What may be changed in values that do not fit their column, by column: `rounding`, `zone`, `nul`,
            `overflow` and others, which docs/types.md explains. By default such values are rejected, and nothing is
            written. The conversion of column `*` is for all columns that have none of their own, where it has a
            meaning.
        local_timestamps: A zone, such as `Europe/Berlin` or `+01:00`: timestamps with a zone become its local times in
            columns of type timestamp, and timestamps without a zone are its local times in columns of type timestamptz.
            In Spark, `session` is the session's time zone. By default such pairs of types are rejected. The same as
            the conversion `zone` of column `*`.
        sync_sequences: Whether the sequences of serial and identity columns move on to the greatest value in their
            column when the rows are committed; no by default. Without it, a later INSERT may get a value that
            exists.
        publish: How an append of many partitions reaches the table. `staged` goes through a staging table, and all
            rows become visible at one moment. `two_phase` writes each row once, into the table itself, and
            partitions become visible within milliseconds of each other. By default `two_phase` where the table and
            PostgreSQL's max_prepared_transactions allow it, else `staged`. `direct` makes the rows of each task
            visible at once and **breaks the promise**: the rows of a task that failed later or ran twice stay.
        before: Statements of the server's configuration, by name, that run before the rows are published, in the same
            transaction. A grant of the principal must allow them. An append of many partitions is then staged.
        after: Statements that run after the rows, such as `["refresh"]` for the refresh of a materialized view.
        on_error: What happens to rows that cannot be written. `abort` (default): the first one ends the write. `reject`:
            they are kept apart, each with its reason, and the other rows are written. docs/rejects.md says more.
        reject_limit: The most rows that may be rejected, in all partitions together; any number by default. A write with
            more publishes nothing.
        reject_percent: The greatest percentage of the rows that may be rejected, decided when the write is committed; any
            by default.
        reject_kinds: The kinds of errors that reject a row, such as `["range", "nul"]`; other errors end the write. All
            kinds by default.
        reject_table: A table for the rejected rows, with the columns of `pgflight.reject`, which is the default.
        reject_values: The values that are kept of a rejected row: `none`, those of its `keys` (default), or the whole
            `row`.
        on_duplicate: Which of several rows of the data with the same key are rejected: all but the first
            (`reject_later`, the default), or all (`reject_all`).
        target: The database, by its name in the server's configuration; the server's default if not set.

    Raises:
        InvalidCommand: for an unknown word, and for an option that has no effect in the mode.
    """

    mode: str = "append"
    keys: Optional[Sequence[str]] = None
    order_by: Optional[str] = None
    delete_when: Optional[Union[str, Mapping[str, Sequence[str]]]] = None
    newer_by: Optional[str] = None
    tombstone: Optional[str] = None
    update_columns: Optional[Sequence[str]] = None
    insert_columns: Optional[Sequence[str]] = None
    envelope: Optional[str] = None
    if_exists: Optional[str] = None
    overwrite_with: Optional[str] = None
    replace_by: Optional[Sequence[str]] = None
    replace_where: Optional[str] = None
    create_if_missing: bool = False
    column_types: Optional[Mapping[str, str]] = None
    primary_key: Optional[Sequence[str]] = None
    table_options: Optional[str] = None
    schema_evolution: Optional[str] = None
    conversions: Optional[Mapping[str, Mapping[str, Any]]] = None
    local_timestamps: Optional[str] = None
    sync_sequences: bool = False
    publish: Optional[str] = None
    before: Optional[Sequence[str]] = None
    after: Optional[Sequence[str]] = None
    on_error: Optional[str] = None
    reject_limit: Optional[int] = None
    reject_percent: Optional[float] = None
    reject_kinds: Optional[Sequence[str]] = None
    reject_table: Optional[str] = None
    reject_values: Optional[str] = None
    on_duplicate: Optional[str] = None
    target: Optional[str] = None

    def __post_init__(self) -> None:
        _check_word("mode", self.mode, MODES)
        for name, words in _WORDS.items():
            if getattr(self, name) is not None:
                _check_word(name, getattr(self, name), words)
        for name in _NAMES:
            if isinstance(getattr(self, name), str):
                raise InvalidCommand(
                    f"{_shown(name)} is one string", hint="pass a list of names, as in ['id']"
                )
        self._check_modes()
        self._check_rejects()
        for column, asked in (self.conversions or {}).items():
            conversions.message(column, asked)
        if self.local_timestamps and "zone" in (self.conversions or {}).get("*", {}):
            raise InvalidCommand(
                f"{_shown('local_timestamps')} contradicts the zone in the conversion of column *",
                hint="leave one of them out",
            )

    def _check_modes(self) -> None:
        """Rejects an option that has no effect in the mode, instead of ignoring it."""
        if self.if_exists is not None:
            self._only_in("if_exists", "create")
        if self.overwrite_with is not None:
            self._only_in("overwrite_with", "overwrite")
        self._check_changes()
        self._check_part()
        if self.create_if_missing:
            self._only_in("create_if_missing", *_MAKING_MODES)
        if self.column_types and self.schema_evolution != "add_columns":
            self._only_where_made("column_types")
        if self.primary_key:
            if self.mode in KEYED_MODES:
                raise InvalidCommand(
                    f"{_shown('primary_key')} is set, and the keys are the primary key",
                    hint="leave it out",
                )
            self._only_where_made("primary_key")
        if self.table_options:
            self._only_where_made("table_options")
        if self.keys:
            self._only_in("keys", *KEYED_MODES)
        elif self.mode in KEYED_MODES and self.create_if_missing:
            raise InvalidCommand(
                f"{_shown('create_if_missing')} is set, and no keys are named",
                hint="set keys to the columns of the primary key",
            )
        if self.order_by is not None:
            self._only_in("order_by", *KEYED_MODES)
        if self.publish is not None and self.publish != "staged":
            self._only_in("publish", "append")
            for name in ("before", "after"):
                if getattr(self, name):
                    raise InvalidCommand(
                        f"{_shown(name)} is set, and {_shown('publish')} is {self.publish!r}",
                        hint="publish staged: statements run in the transaction that publishes the rows",
                    )
        if self.schema_evolution == "add_columns":
            self._only_in("schema_evolution", *_WRITING_MODES)
        if self.sync_sequences:
            self._only_in("sync_sequences", *_WRITING_MODES)

    def _check_changes(self) -> None:
        """Rejects rules of an upsert in other modes, and rules that contradict each other."""
        for name in (
            "delete_when",
            "newer_by",
            "tombstone",
            "update_columns",
            "insert_columns",
            "envelope",
        ):
            if getattr(self, name):
                self._only_in(name, "upsert")
        if isinstance(self.delete_when, Mapping):
            values = list(self.delete_when.values())
            if len(values) != 1 or not values[0] or isinstance(values[0], str):
                raise InvalidCommand(
                    f"{_shown('delete_when')} is not one column with a list of values",
                    hint="write it as in {'op': ['d', 'D']}",
                )
        if self.envelope and (self.delete_when or self.order_by):
            name = "delete_when" if self.delete_when else "order_by"
            raise InvalidCommand(
                f"{_shown(name)} has no meaning with {_shown('envelope')}, which says it",
                hint="leave it out",
            )
        deletes = self.delete_when or self.envelope
        if self.tombstone and not (deletes and self.newer_by):
            raise InvalidCommand(
                f"{_shown('tombstone')} is set, and not both {_shown('delete_when')} and {_shown('newer_by')}",
                hint="set them too, or leave it out",
            )
        if deletes and self.create_if_missing:
            name = "envelope" if self.envelope else "delete_when"
            raise InvalidCommand(
                f"{_shown(name)} needs a table that exists",
                hint=f"leave {_shown('create_if_missing')} out",
            )

    def _check_part(self) -> None:
        """Rejects options that contradict the overwrite of a part."""
        parts = [name for name in ("replace_by", "replace_where") if getattr(self, name)]
        for part in parts:
            self._only_in(part, "overwrite")
            for name in ("overwrite_with", "primary_key", "table_options"):
                if getattr(self, name):
                    raise InvalidCommand(
                        f"{_shown(name)} has no effect with {_shown(part)}",
                        hint="leave one of them out",
                    )
        if len(parts) > 1:
            raise InvalidCommand(
                f"{_shown(parts[0])} and {_shown(parts[1])} contradict each other",
                hint="leave one of them out",
            )

    def _check_rejects(self) -> None:
        """Rejects options of rejected rows that have no effect, and limits that are none."""
        if self.on_error != "reject":
            for name in _REJECT_OPTIONS:
                if getattr(self, name) is not None:
                    raise InvalidCommand(
                        f"{_shown(name)} is set, and {_shown('on_error')} is not 'reject'",
                        hint=f"set {_shown('on_error')} to 'reject', or leave it out",
                    )
        if self.reject_limit is not None and self.reject_limit < 0:
            raise InvalidCommand(
                f"{_shown('reject_limit')} is negative", hint="name a number of rows, from 0"
            )
        if self.reject_percent is not None and not 0 <= self.reject_percent <= 100:
            raise InvalidCommand(
                f"{_shown('reject_percent')} is not a number from 0 to 100",
                hint="name a percentage of the rows, such as 0.5",
            )

    def _only_in(self, name: str, *modes: str) -> None:
        if self.mode not in modes:
            raise InvalidCommand(
                f"{_shown(name)} has no effect in mode {self.mode!r}",
                hint=f"leave it out, or use mode {_list(modes)}",
            )

    def _only_where_made(self, name: str) -> None:
        """Rejects options of a new table if the write makes none."""
        if self.mode in _MAKING_MODES and not self.create_if_missing:
            raise InvalidCommand(
                f"{_shown(name)} has no effect, since mode {self.mode!r} makes no table",
                hint=f"leave it out, or set {_shown('create_if_missing')}",
            )
        if self.replace_by or self.replace_where:
            raise InvalidCommand(
                f"{_shown(name)} has no effect, since an overwrite of a part makes no table",
                hint="leave it out",
            )
        self._only_in(name, "create", "overwrite", *_MAKING_MODES)


def collect(
    options: Optional[WriteOptions], mode: Optional[str], keywords: Mapping[str, Any]
) -> WriteOptions:
    """Returns the options that a caller gave as one value or as keyword arguments.

    Raises:
        InvalidCommand: when they are given in both ways, or contradict each other.
        TypeError: for a keyword that is no option.
    """
    given: Dict[str, Any] = dict(keywords)
    if mode is not None:
        given["mode"] = mode
    if options is None:
        return WriteOptions(**given)
    if given:
        raise InvalidCommand(
            f"{', '.join(given)} and options are both given", hint="set them in options alone"
        )
    return options


def _check_word(name: str, value: Any, words: Mapping[str, str]) -> None:
    if value not in words:
        raise InvalidCommand(
            f"{_shown(name)} is {value!r}, which is unknown", hint=f"use {_list(words)}"
        )


def _shown(name: str) -> str:
    """An option's name in Python, and in Spark where it differs."""
    spark = SPARK_NAMES[name]
    return name if spark == name else f"{name} (Spark: {spark})"


def _list(words: Any) -> str:
    *most, last = [repr(word) for word in words]
    return f"{', '.join(most)} or {last}" if most else last
