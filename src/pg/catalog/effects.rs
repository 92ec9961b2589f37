//! Side effects of writing rows into a table.

use crate::error::Result;
use crate::pg::transaction::Transaction;
use arrow_pgcopy::Relation;

/// Describes each property of a table that changes what a write does or costs: triggers, rules, row-level security,
/// partitions, publications.
///
/// # Errors
/// Any error that PostgreSQL reports.
pub async fn side_effects(transaction: &Transaction, relation: &Relation) -> Result<Vec<String>> {
    let row = transaction.query_one(EFFECTS, &[&relation.oid]).await?;
    let mut effects = Vec::new();
    let triggers: Vec<String> = row.get(0);
    if !triggers.is_empty() {
        effects.push(format!(
            "triggers run for the rows and may change them: {}",
            triggers.join(", ")
        ));
    }
    if row.get(1) {
        effects.push(
            "row-level security is in force for the server's role: rows are staged, and the policies apply when they are \
             inserted; each row is written twice"
                .to_owned(),
        );
    }
    if row.get(2) {
        effects.push(
            "the table has rules: they apply to rows that are inserted from staging, and not to rows that are copied \
             straight"
                .to_owned(),
        );
    }
    if row.get(4) {
        effects.push("it is a view: rows are staged and then inserted into the view".to_owned());
    }
    if row.get(3) {
        effects.push("the table is partitioned: each row is routed to its partition".to_owned());
    }
    let publications: Vec<String> = row.get(5);
    if !publications.is_empty() {
        effects.push(format!(
            "the table has no replica identity, so PostgreSQL refuses updates and deletes for the publication {}",
            publications.join(", ")
        ));
    }
    Ok(effects)
}

/// Reads the properties. `tgtype` has bit 2 for INSERT (`TRIGGER_TYPE_INSERT`, catalog/pg_trigger.h). `relreplident` is
/// `n` for nothing, `d` for the primary key and `i` for the index that `indisreplident` marks (catalog/pg_class.h).
const EFFECTS: &str = include_str!("effects.sql");
