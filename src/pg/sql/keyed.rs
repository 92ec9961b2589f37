//! SQL of the keyed modes, which change the rows of the target with the same keys.

use serde::{Deserialize, Serialize};

use super::list::list;
use super::null::is_null;
use super::rows::{IS_ACCEPTED, selected};
use super::rules::{Changes, Newer, ROW, SEQUENCE};
use arrow_pgcopy::{Ident, QualifiedName, Relation};

/// The comparison of a key, as SQL that means the same under every search_path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::pg) struct Equality {
    pub(in crate::pg) key: Ident,
    /// The operator, with its schema.
    pub(in crate::pg) operator: String,
    /// The type that the operator takes, if PostgreSQL would convert the column to it. Without the cast, PostgreSQL
    /// could choose an operator that fits the column's own type better.
    pub(in crate::pg) operand: Option<String>,
    /// The operator "less than" of the index, with its schema, if PostgreSQL would group and sort the key by others.
    pub(in crate::pg) less: Option<String>,
    /// Collation and operator class of the unique index, as ` COLLATE a.b c.d`, if the table has several unique indexes
    /// on the keys; else empty. Without them, each of these indexes would decide which rows conflict
    /// (`infer_arbiter_indexes`, optimizer/util/plancat.c).
    pub(in crate::pg) inferred: String,
}

impl Equality {
    /// Returns the condition that the key is the same in rows of two tables with these aliases.
    pub(super) fn between(&self, left: &str, right: &str) -> String {
        let operator = &self.operator;
        let operand = |alias: &str| self.operand(&format!("{alias}.{}", self.key));
        format!("{} {operator} {}", operand(left), operand(right))
    }

    /// Returns the expression by which rows with the same key are found.
    pub(super) fn grouped(&self) -> String {
        match self.less {
            Some(_) => self.operand(&self.key.to_string()),
            None => self.key.to_string(),
        }
    }

    /// Returns the term of ORDER BY. DISTINCT ON compares by the operators of the same family as the sort operator
    /// (`transformDistinctOnClause`, parser/parse_clause.c).
    pub(super) fn sorted(&self) -> String {
        match &self.less {
            Some(less) => format!("{} USING {less}", self.grouped()),
            None => self.grouped(),
        }
    }

    fn operand(&self, key: &str) -> String {
        match &self.operand {
            Some(operand) => format!("{key}::{operand}"),
            None => key.to_owned(),
        }
    }
}

/// The keys of a table, and how PostgreSQL compares them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keys {
    /// The comparison of each key.
    pub(in crate::pg) equalities: Vec<Equality>,
    /// Whether the table has a unique index on exactly these keys that ON CONFLICT can use: valid, without a condition
    /// or an expression, and checked row by row.
    pub(in crate::pg) has_unique_index: bool,
    /// Whether that index has NULLS NOT DISTINCT, and keys may be NULL. Otherwise a NULL identifies no row.
    pub(in crate::pg) nulls_are_equal: bool,
    /// The comparison of the column that says which row is newer, if the write has one.
    pub(in crate::pg) newer: Option<Newer>,
}

impl Keys {
    /// Returns the columns that identify a row.
    pub fn names(&self) -> impl Iterator<Item = &Ident> {
        self.equalities.iter().map(|equality| &equality.key)
    }

    /// Returns whether the table has a unique index on exactly these keys that ON CONFLICT can use.
    pub fn has_unique_index(&self) -> bool {
        self.has_unique_index
    }

    pub(super) fn grouped(&self) -> String {
        list(self.equalities.iter().map(Equality::grouped))
    }

    pub(super) fn sorted(&self) -> String {
        list(self.equalities.iter().map(Equality::sorted))
    }
}

/// The change to the rows that have the keys of the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum KeyedAction {
    /// Updates rows that exist, and inserts the others.
    Upsert,
    /// Inserts rows that do not exist, and leaves the others alone.
    InsertIfAbsent,
    /// Updates rows that exist, and ignores the others.
    UpdateOnly,
    /// Deletes them.
    DeleteByKey,
}

/// Staged rows, and how they change the target.
#[derive(Clone, Copy)]
pub struct Merge<'a> {
    /// The target.
    pub target: &'a Relation,
    /// The staging table, with the columns of the data.
    pub staging: &'a Relation,
    /// The transactions whose rows count, as `xmin` has them.
    pub xact_ids: &'a [String],
    /// The change.
    pub action: KeyedAction,
    /// The columns that identify a row, and their comparison.
    pub compared: &'a Keys,
    /// The column whose greatest value decides which of several rows with the same keys counts.
    pub order_by: Option<&'a Ident>,
    /// The rules by which an upsert applies changes.
    pub changes: &'a Changes,
}

impl KeyedAction {
    /// Returns whether it needs a unique index on the keys, for ON CONFLICT.
    pub fn needs_unique_index(self) -> bool {
        match self {
            Self::Upsert | Self::InsertIfAbsent => true,
            Self::UpdateOnly | Self::DeleteByKey => false,
        }
    }
}

/// Counts the rows with NULL in a key, the keys of several rows (or those rows but one of each key), and all rows. The
/// second are not counted if `is_settled`, since an order then decides between them. The result also says whether
/// PostgreSQL is of version 18 or later, and about the table `$2`, whether it is partitioned and whether the role may read
/// only some of its columns.
pub(in crate::pg) fn count_bad_keys(
    staging: &QualifiedName,
    compared: &Keys,
    is_settled: bool,
) -> String {
    let keys = compared.equalities.iter();
    let nulls: Vec<String> = keys.map(|equality| is_null(&equality.key)).collect();
    let is_null = nulls.join(" OR ");
    let (grouped, sorted) = (compared.grouped(), compared.sorted());
    let doubled = if is_settled {
        "0::bigint".to_owned()
    } else if compared.equalities.iter().all(|key| key.less.is_none()) {
        format!(
            "(SELECT pg_catalog.count(*) FROM \
              (SELECT FROM {staging} WHERE {IS_ACCEPTED} GROUP BY {grouped} \
               HAVING pg_catalog.count(*) OPERATOR(pg_catalog.>) 1) doubled)"
        )
    } else {
        // GROUP BY takes no operator.
        format!(
            "(SELECT pg_catalog.count(*) FROM {staging} WHERE {IS_ACCEPTED}) OPERATOR(pg_catalog.-) \
             (SELECT pg_catalog.count(*) FROM \
              (SELECT DISTINCT ON ({grouped}) 1 FROM {staging} WHERE {IS_ACCEPTED} ORDER BY {sorted}) found)"
        )
    };
    format!(
        "SELECT n.nulls, {doubled}, n.total, \
                pg_catalog.current_setting('server_version_num')::pg_catalog.int4 OPERATOR(pg_catalog.>=) 180000, \
                (SELECT c.relkind OPERATOR(pg_catalog.=) 'p' FROM pg_catalog.pg_class c \
                 WHERE c.oid OPERATOR(pg_catalog.=) $2), \
                NOT pg_catalog.has_table_privilege($2, 'SELECT') \
         FROM (SELECT pg_catalog.count(*) FILTER (WHERE {is_null}), pg_catalog.count(*) \
               FROM {staging} WHERE {IS_ACCEPTED}) n(nulls, total)"
    )
}

/// Returns the statement of a keyed mode that changes only rows that exist: update_only or delete_by_key.
pub(in crate::pg) fn change(merge: &Merge<'_>) -> String {
    let target = &merge.target.name;
    let rows = newest(merge, "");
    let same_keys = same_keys(merge);
    match merge.action {
        KeyedAction::DeleteByKey => {
            format!("DELETE FROM {target} t USING ({rows}) s WHERE {same_keys}")
        }
        KeyedAction::UpdateOnly | KeyedAction::Upsert | KeyedAction::InsertIfAbsent => {
            let names = merge.staging.columns.iter().map(|column| &column.name);
            let others = names.filter(|name| !merge.compared.names().any(|key| key == *name));
            let assigned = list(others.map(|name| format!("{name} = s.{name}")));
            format!("UPDATE {target} t SET {assigned} FROM ({rows}) s WHERE {same_keys}")
        }
    }
}

/// Returns the condition that a row of the target and one of the data have the same keys.
pub(super) fn same_keys(merge: &Merge<'_>) -> String {
    let nulls_are_equal = merge.compared.nulls_are_equal;
    let equalities = merge.compared.equalities.iter();
    let conditions: Vec<String> = equalities
        .map(
            |equality| match (equality.between("t", "s"), &equality.key) {
                (same, key) if nulls_are_equal => {
                    let (old, new) = (is_null(format!("t.{key}")), is_null(format!("s.{key}")));
                    format!("({same} OR {old} AND {new})")
                }
                (same, _) => same,
            },
        )
        .collect();
    conditions.join(" AND ")
}

/// Selects the accepted rows in the order of their keys, so that two writes of the same rows wait for each other and do
/// not deadlock, as far as the planner keeps the order. Of several rows with the same keys, the last one by the order is
/// selected. `more` are further columns.
pub(super) fn newest(merge: &Merge<'_>, more: &str) -> String {
    let newest_first = match merge.order_by {
        _ if merge.changes.has_envelope() => format!(", {SEQUENCE} DESC NULLS LAST, {ROW} DESC"),
        Some(order_by) => format!(", {order_by} DESC NULLS LAST"),
        None => String::new(),
    };
    let distinct = match newest_first.is_empty() {
        true => String::new(),
        false => format!("DISTINCT ON ({}) ", merge.compared.grouped()),
    };
    format!(
        "SELECT {distinct}{}{more} FROM {} WHERE {IS_ACCEPTED} ORDER BY {}{newest_first}",
        list(selected(merge.target, merge.staging)),
        merge.staging.name,
        merge.compared.sorted(),
    )
}
