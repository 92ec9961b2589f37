//! Sequences that fill columns which the data leaves out: serial and identity.

use super::look::qualified_name;
use crate::error::{Error, Result};
use crate::pg::sql;
use crate::pg::transaction::{Parameter, Transaction};
use arrow_pgcopy::{Ident, Relation};

/// Checks that the server's role may move the sequences of a table.
///
/// # Errors
/// [`ErrorKind::PermissionDenied`](crate::error::ErrorKind::PermissionDenied) with the missing GRANT; any other
/// error that PostgreSQL reports.
pub async fn check_sequences(transaction: &Transaction, relation: &Relation) -> Result<()> {
    let rows = transaction.query(SEQUENCES, &[&relation.oid]).await?;
    match rows.iter().find(|row| !row.get::<_, bool>(4)) {
        None => Ok(()),
        Some(row) => {
            let (sequence, role) = (
                qualified_name(row.get(2), row.get(3))?,
                row.get::<_, String>(5),
            );
            Err(
                Error::permission_denied(format!("role {role} may not set sequence {sequence}"))
                    .with_hint("grant the missing privilege")
                    .with_fix_sql(format!(
                        "GRANT SELECT, UPDATE ON SEQUENCE {sequence} TO {role};"
                    ))
                    .with_table(&relation.name)
                    .with_context(|context| context.sqlstate = Some("42501".to_owned())),
            )
        }
    }
}

/// Returns the columns of a table that a sequence fills.
///
/// # Errors
/// Any error that PostgreSQL reports.
pub async fn sequence_columns(
    transaction: &Transaction,
    relation: &Relation,
) -> Result<Vec<String>> {
    let rows = transaction.query(SEQUENCES, &[&relation.oid]).await?;
    Ok(rows.iter().map(|row| row.get(1)).collect())
}

/// Moves each ascending sequence of a table to the greatest value in its column, if the sequence is behind it. Returns
/// the number of moved sequences. A rollback does not undo it.
///
/// # Errors
/// Any error that PostgreSQL reports.
pub async fn move_sequences(transaction: &Transaction, relation: &Relation) -> Result<usize> {
    let mut moved = 0;
    for row in transaction.query(SEQUENCES, &[&relation.oid]).await? {
        let sequence = qualified_name(row.get(2), row.get(3))?;
        let statement = sql::move_sequence(
            &relation.name,
            &Ident::new(row.get::<_, String>(1))?,
            &sequence,
        );
        let parameters: [&dyn Parameter; 1] = [&row.get::<_, u32>(0)];
        moved += transaction
            .query_on_rows(&statement, &parameters)
            .await?
            .len();
    }
    Ok(moved)
}

/// Reads the sequences. A sequence depends on its column: automatically (serial) or internally (identity).
const SEQUENCES: &str = "
    SELECT s.oid, a.attname::pg_catalog.text, n.nspname::pg_catalog.text, s.relname::pg_catalog.text,
           pg_catalog.has_sequence_privilege(s.oid, 'UPDATE') AND pg_catalog.has_sequence_privilege(s.oid, 'SELECT'),
           pg_catalog.quote_ident(current_user)
    FROM pg_catalog.pg_depend d
    JOIN pg_catalog.pg_class s ON s.oid OPERATOR(pg_catalog.=) d.objid AND s.relkind OPERATOR(pg_catalog.=) 'S'
    JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) s.relnamespace
    JOIN pg_catalog.pg_attribute a ON a.attrelid OPERATOR(pg_catalog.=) d.refobjid
     AND a.attnum OPERATOR(pg_catalog.=) d.refobjsubid
    JOIN pg_catalog.pg_sequence q ON q.seqrelid OPERATOR(pg_catalog.=) s.oid
     AND q.seqincrement OPERATOR(pg_catalog.>) 0
    WHERE d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass::pg_catalog.oid
      AND d.refclassid OPERATOR(pg_catalog.=) d.classid AND d.refobjid OPERATOR(pg_catalog.=) $1
      -- The greatest value of another type would be cast by code of its owner.
      AND a.atttypid OPERATOR(pg_catalog.<) 16384::pg_catalog.oid
      AND d.deptype OPERATOR(pg_catalog.=) ANY (ARRAY['a', 'i']::pg_catalog.\"char\"[])
    ORDER BY a.attnum";
