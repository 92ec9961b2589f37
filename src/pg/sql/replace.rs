//! SQL that deletes a part of a table.

use super::condition::CheckedCondition;
use super::keyed::Keys;
use super::list::list;
use super::null::{is_not_null, is_null};
use super::rows::IS_ACCEPTED;
use arrow_pgcopy::{Ident, QualifiedName};

/// Deletes the rows for which a condition holds.
pub(in crate::pg) fn delete_where(target: &QualifiedName, condition: &CheckedCondition) -> String {
    format!("DELETE FROM {target} WHERE {}", condition.sql())
}

/// Returns which of the columns are NULL together in accepted rows: a row for each combination, with a boolean for each
/// column.
pub(in crate::pg) fn null_patterns(staging: &QualifiedName, columns: &[&Ident]) -> String {
    let nulls = list(columns.iter().map(is_null));
    format!("SELECT DISTINCT {nulls} FROM {staging} WHERE {IS_ACCEPTED}")
}

/// Deletes the rows that have the values of an accepted row in these columns, where `nulls` of them are NULL and the
/// others are not. One statement for each combination can use an index, which `IS NOT DISTINCT FROM` cannot.
pub(in crate::pg) fn delete_by(
    (target, staging): (&QualifiedName, &QualifiedName),
    by: &Keys,
    nulls: &[&Ident],
) -> String {
    let (empty, compared): (Vec<_>, Vec<_>) =
        (by.equalities.iter()).partition(|equality| nulls.contains(&&equality.key));
    let mut conditions: Vec<String> = empty
        .iter()
        .map(|equality| is_null(format!("t.{}", equality.key)))
        .collect();
    if compared.is_empty() {
        return format!("DELETE FROM {target} t WHERE {}", conditions.join(" AND "));
    }
    conditions.extend(compared.iter().map(|equality| equality.between("t", "s")));
    let mut wanted = vec![IS_ACCEPTED.to_owned()];
    wanted.extend(empty.iter().map(|found| is_null(&found.key)));
    wanted.extend(compared.iter().map(|found| is_not_null(&found.key)));
    let names = list(compared.iter().map(|equality| &equality.key));
    let grouped = list(compared.iter().map(|equality| equality.grouped()));
    let wanted = wanted.join(" AND ");
    let rows = if compared.iter().all(|equality| equality.less.is_none()) {
        format!("SELECT {names} FROM {staging} WHERE {wanted} GROUP BY {grouped}")
    } else {
        // GROUP BY takes no operator.
        let sorted = list(compared.iter().map(|equality| equality.sorted()));
        format!(
            "SELECT DISTINCT ON ({grouped}) {names} FROM {staging} WHERE {wanted} ORDER BY {sorted}"
        )
    };
    format!(
        "DELETE FROM {target} t USING ({rows}) s WHERE {}",
        conditions.join(" AND ")
    )
}
