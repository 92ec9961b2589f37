//! Sequences that fill a table's columns where the data does not: serial and identity.

use super::parameter::Parameter;
use super::sql;
use super::transaction::Transaction;
use crate::error::{Error, Result};
use arrow_pgcopy::{Ident, QualifiedName, Relation};

/// Checks that the server's role may move the sequences of a table.
///
/// # Errors
/// [`ErrorKind::PermissionDenied`](crate::error::ErrorKind::PermissionDenied) with the GRANT that is missing;
/// what PostgreSQL said.
pub async fn check_sequences(transaction: &Transaction, relation: &Relation) -> Result<()> {
    let rows = transaction.query(SEQUENCES, &[&relation.oid]).await?;
    match rows.iter().find(|row| !row.get::<_, bool>(4)) {
        None => Ok(()),
        Some(row) => {
            let (sequence, role) = (name(row.get(2), row.get(3))?, row.get::<_, String>(5));
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

/// The columns of a table that a sequence fills.
///
/// # Errors
/// What PostgreSQL said.
pub async fn sequence_columns(
    transaction: &Transaction,
    relation: &Relation,
) -> Result<Vec<String>> {
    let rows = transaction.query(SEQUENCES, &[&relation.oid]).await?;
    Ok(rows.iter().map(|row| row.get(1)).collect())
}

/// Moves each rising sequence of a table on to the greatest value in its column, where that is further;
/// returns how many were moved. What is moved stays so, whatever becomes of the transaction.
///
/// # Errors
/// What PostgreSQL said.
pub async fn move_sequences(transaction: &Transaction, relation: &Relation) -> Result<usize> {
    let mut moved = 0;
    for row in transaction.query(SEQUENCES, &[&relation.oid]).await? {
        let sequence = name(row.get(2), row.get(3))?;
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

fn name(schema: String, name: String) -> Result<QualifiedName> {
    Ok(QualifiedName {
        schema: Ident::new(schema)?,
        name: Ident::new(name)?,
    })
}

/// A sequence depends on its column: automatically (serial) or internally (identity).
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
      AND d.deptype OPERATOR(pg_catalog.=) ANY (ARRAY['a', 'i']::pg_catalog.\"char\"[])
    ORDER BY a.attnum";
