//! Side effects of writing rows into a table.

use crate::error::Result;
use crate::pg::transaction::Transaction;
use arrow_pgcopy::Relation;

/// Describes each property of a table that changes what a write does or costs: triggers, rules, row-level security,
/// partitions.
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
    Ok(effects)
}

/// Reads the properties. `tgtype` has bit 2 for INSERT (`TRIGGER_TYPE_INSERT`, catalog/pg_trigger.h).
const EFFECTS: &str = "
    SELECT ARRAY(SELECT t.tgname::pg_catalog.text FROM pg_catalog.pg_trigger t
                 WHERE t.tgrelid OPERATOR(pg_catalog.=) c.oid AND NOT t.tgisinternal
                   AND t.tgenabled OPERATOR(pg_catalog.<>) 'D'
                   AND (t.tgtype::int OPERATOR(pg_catalog.&) 4) OPERATOR(pg_catalog.<>) 0
                 ORDER BY t.tgname),
           pg_catalog.row_security_active(c.oid), c.relhasrules AND c.relkind OPERATOR(pg_catalog.<>) 'v',
           c.relkind OPERATOR(pg_catalog.=) 'p', c.relkind OPERATOR(pg_catalog.=) 'v'
    FROM pg_catalog.pg_class c WHERE c.oid OPERATOR(pg_catalog.=) $1";
