//! SQL that applies changes: rows that are newer than those of the target, and rows that say what to delete.

use super::keyed::{KeyedAction, Merge, newest, same_keys};
use super::list::list;
use super::null::is_null;
use super::rows::overriding;
use arrow_pgcopy::Ident;

/// The column of a subquery that says whether a row deletes.
const DELETES: &str = "\"_pgflight_deletes\"";

/// The column of a subquery that is true for a row of the target.
const IS_THERE: &str = "\"_pgflight_is_there\"";

/// The way to recognise a row that an upsert inserted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::pg) enum NewRows {
    /// The old row is NULL, from PostgreSQL 18 on: a key is NULL.
    HaveNoOld,
    /// The place of the old row is NULL, from PostgreSQL 18 on, where keys may be NULL.
    HaveNoOldPlace,
    /// `xmax` is 0: an update has locked the row before.
    HaveNoXmax,
    /// Not at all: PostgreSQL does not return `xmax` of partitions, and to no role that may read only some columns.
    AreUnknown,
}

/// Deletes the rows of the target that the changes delete. `None` if the changes delete none, or mark them instead.
pub(in crate::pg) fn delete_changed(merge: &Merge<'_>) -> Option<String> {
    let delete_when = merge.changes.delete_when.as_ref()?;
    if merge.changes.tombstone.is_some() {
        return None;
    }
    let mut conditions = vec![same_keys(merge), format!("s.{DELETES}")];
    conditions.extend((merge.compared.newer.iter()).map(|newer| newer.between("t", "s")));
    let rows = newest(merge, &format!(", {} AS {DELETES}", delete_when.holds()));
    Some(format!(
        "DELETE FROM {} t USING ({rows}) s WHERE {}",
        merge.target.name,
        conditions.join(" AND ")
    ))
}

/// A statement that inserts rows.
pub(in crate::pg) enum Insert {
    /// It only adds rows. Its number of rows is that of the new rows.
    Adds(String),
    /// It also updates and marks rows. Its result has the numbers of new, of updated and of marked rows.
    /// The first counts both if new rows are unknown.
    Changes(String),
}

/// Returns whether a column identifies a row, or says which row is newer.
fn is_decisive(merge: &Merge<'_>, name: &Ident) -> bool {
    merge.compared.names().any(|key| key == name) || merge.changes.newer_by.as_ref() == Some(name)
}

/// Returns the values of rows of which some are marked as deleted, and the join that finds the rows of the target.
///
/// A delete keeps the values of the row that it marks. The INSERT has them too: the data may have NULL where the table has
/// NOT NULL, and another session may remove the row meanwhile.
fn marking(merge: &Merge<'_>, inserted: &[&Ident]) -> (String, String) {
    let kept = inserted.iter().map(|name| match is_decisive(merge, name) {
        true => format!("s.{name}"),
        false => format!("CASE WHEN t.{IS_THERE} THEN t.{name} ELSE s.{name} END"),
    });
    let values = format!("{}, s.{DELETES}", list(kept));
    let join = format!(
        " LEFT JOIN (SELECT true AS {IS_THERE}, {} FROM {}) t ON s.{DELETES} AND {}",
        list(inserted),
        merge.target.name,
        same_keys(merge)
    );
    (values, join)
}

/// Inserts and updates rows of the target.
pub(in crate::pg) fn insert(merge: &Merge<'_>, new_rows: NewRows) -> Insert {
    let changes = merge.changes;
    let keys: Vec<&Ident> = merge.compared.names().collect();
    let newer = merge.compared.newer.as_ref();
    let is_set = |columns: &[Ident], name: &Ident| {
        columns.is_empty() || is_decisive(merge, name) || columns.contains(name)
    };
    let staged = merge.staging.columns.iter().map(|column| &column.name);
    let inserted: Vec<&Ident> = staged
        .filter(|name| is_set(&changes.insert_columns, name))
        .filter(|name| changes.tombstone.as_ref() != Some(name))
        .collect();
    let updated = inserted
        .iter()
        .filter(|name| !keys.contains(name) && is_set(&changes.update_columns, name));
    let assign = |name: &&Ident| match &changes.tombstone {
        // A delete keeps the values of the row.
        Some(tombstone) if changes.newer_by.as_ref() != Some(*name) => {
            format!(
                "{name} = CASE WHEN EXCLUDED.{tombstone} THEN t.{name} ELSE EXCLUDED.{name} END"
            )
        }
        _ => format!("{name} = EXCLUDED.{name}"),
    };
    let mut assignments: Vec<String> = updated.map(assign).collect();
    let mut names: Vec<&Ident> = inserted.clone();
    let plain = list(inserted.iter().map(|name| format!("s.{name}")));
    // The values, and what follows the rows: a join or a condition.
    let (values, only) = match (&changes.delete_when, &changes.tombstone) {
        (None, _) => (plain, String::new()),
        (Some(_), None) => (plain, format!(" WHERE NOT s.{DELETES}")),
        (Some(_), Some(tombstone)) => {
            let marking = marking(merge, &inserted);
            names.push(tombstone);
            assignments.push(format!("{tombstone} = EXCLUDED.{tombstone}"));
            marking
        }
    };
    let rows = match &changes.delete_when {
        None => newest(merge, ""),
        Some(delete_when) => newest(merge, &format!(", {} AS {DELETES}", delete_when.holds())),
    };
    let equalities = merge.compared.equalities.iter();
    let conflicting = equalities.map(|equality| format!("{}{}", equality.key, equality.inferred));
    let inserting = format!(
        "INSERT INTO {} AS t ({}){} SELECT {values} FROM ({rows}) s{only} ON CONFLICT ({})",
        merge.target.name,
        list(&names),
        overriding(&merge.target.columns, &names),
        list(conflicting),
    );
    if assignments.is_empty() || merge.action != KeyedAction::Upsert {
        return Insert::Adds(format!("{inserting} DO NOTHING"));
    }
    let newer = newer.map(|newer| format!(" WHERE {}", newer.between("t", "EXCLUDED")));
    let newer = newer.unwrap_or_default();
    let assignments = assignments.join(", ");
    let is_new = match (new_rows, keys.first()) {
        (NewRows::HaveNoOld, Some(key)) => is_null(format!("old.{key}")),
        (NewRows::HaveNoOldPlace, _) => "old.ctid IS NULL".to_owned(),
        (NewRows::HaveNoXmax, _) => "t.xmax OPERATOR(pg_catalog.=) 0".to_owned(),
        (NewRows::HaveNoOld | NewRows::AreUnknown, _) => "true".to_owned(),
    };
    let is_marked = match &changes.tombstone {
        Some(tombstone) => format!("COALESCE(t.{tombstone}, false)"),
        None => "false".to_owned(),
    };
    Insert::Changes(format!(
        "WITH changed(is_new, is_marked) AS (\
         {inserting} DO UPDATE SET {assignments}{newer} RETURNING {is_new}, {is_marked}) \
         SELECT pg_catalog.count(*) FILTER (WHERE is_new AND NOT is_marked), \
                pg_catalog.count(*) FILTER (WHERE NOT is_new AND NOT is_marked), \
                pg_catalog.count(*) FILTER (WHERE is_marked) FROM changed"
    ))
}
