//! What else happens when rows are written into a table, as the catalog has it.

use super::transaction::Transaction;
use crate::error::Result;
use arrow_pgcopy::Relation;

/// Words for each thing of a table that changes what a write does or costs: triggers, rules, row-level
/// security, partitions, an identity that is written.
///
/// # Errors
/// What PostgreSQL said.
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
            "row-level security is in force for the server's role: rows wait in a staging table and are held to the policies when they are inserted; each is written twice".to_owned(),
        );
    }
    if row.get(2) {
        effects.push(
            "the table has rules: they apply to rows that come from staging and not to those that are copied straight".to_owned(),
        );
    }
    if row.get(4) {
        effects.push(
            "it is a view: rows wait in a staging table and are inserted into the view".to_owned(),
        );
    }
    if row.get(3) {
        effects.push("the table is partitioned: each row is routed to its partition".to_owned());
    }
    Ok(effects)
}

/// Why PostgreSQL refuses to COPY into a relation that takes INSERT; none where it does not.
///
/// # Errors
/// What PostgreSQL said.
pub async fn copy_obstacle(
    transaction: &Transaction,
    relation: &Relation,
) -> Result<Option<String>> {
    let row = transaction
        .query_one(
            "SELECT CASE WHEN pg_catalog.row_security_active(c.oid)
                         THEN 'row-level security is in force for the server''s role'
                         WHEN c.relkind OPERATOR(pg_catalog.=) 'v' THEN 'it is a view' END
             FROM pg_catalog.pg_class c WHERE c.oid OPERATOR(pg_catalog.=) $1",
            &[&relation.oid],
        )
        .await?;
    Ok(row.get(0))
}

/// `tgtype` has bit 2 for INSERT (`TRIGGER_TYPE_INSERT`, catalog/pg_trigger.h).
const EFFECTS: &str = "
    SELECT ARRAY(SELECT t.tgname::pg_catalog.text FROM pg_catalog.pg_trigger t
                 WHERE t.tgrelid OPERATOR(pg_catalog.=) c.oid AND NOT t.tgisinternal
                   AND t.tgenabled OPERATOR(pg_catalog.<>) 'D'
                   AND (t.tgtype::int OPERATOR(pg_catalog.&) 4) OPERATOR(pg_catalog.<>) 0
                 ORDER BY t.tgname),
           pg_catalog.row_security_active(c.oid), c.relhasrules AND c.relkind OPERATOR(pg_catalog.<>) 'v',
           c.relkind OPERATOR(pg_catalog.=) 'p', c.relkind OPERATOR(pg_catalog.=) 'v'
    FROM pg_catalog.pg_class c WHERE c.oid OPERATOR(pg_catalog.=) $1";
