//! Rejected rows that go to a table of the caller instead of the ledger's.

use tokio_postgres::Row;

use crate::error::{Error, Result};
use crate::pg::ledger::{REJECT_COLUMNS, take_rejects};
use crate::pg::transaction::{Parameter, Transaction};
use arrow_pgcopy::{Ident, QualifiedName, Relation};

/// Moves some rows of sets from the ledger to a table, in the role of the caller, and returns their number; 0 when all
/// are moved. `write_id` is the caller's name for the write.
///
/// # Errors
/// Any error that PostgreSQL reports, also about the rows of the table.
pub async fn move_some_rejects(
    transaction: &Transaction,
    table: &Relation,
    write_id: &str,
    set_ids: &[String],
) -> Result<u64> {
    transaction.resume_own_role().await?;
    let rows = take_rejects(transaction, set_ids).await?;
    if rows.is_empty() {
        return Ok(0);
    }
    transaction.assume_role().await?;
    let numbers = |index: usize| -> Vec<i64> { rows.iter().map(|row| row.get(index)).collect() };
    let texts = |index: usize| -> Vec<Option<&str>> {
        rows.iter().map(|row: &Row| row.get(index)).collect()
    };
    let parameters: [&dyn Parameter; 13] = [
        &write_id,
        &numbers(0),
        &texts(1),
        &numbers(2),
        &texts(3),
        &texts(4),
        &texts(5),
        &texts(6),
        &texts(7),
        &texts(8),
        &texts(9),
        &texts(10),
        &texts(11),
    ];
    let statement = insert_rejects(&table.name)?;
    let inserting = transaction.execute_on_rows(&statement, &parameters);
    let inserted = inserting.await.map_err(|error: Error| {
        error
            .caused("the rejected rows cannot be inserted into their table")
            .with_table(&table.name)
    })?;
    let taken = u64::try_from(rows.len()).unwrap_or(u64::MAX);
    if inserted != taken {
        tracing::warn!(
            table = ?table.name.to_string(), sent = taken, kept = inserted,
            "a trigger of the table for rejected rows dropped some of them"
        );
    }
    Ok(taken)
}

fn insert_rejects(table: &QualifiedName) -> Result<String> {
    let columns: Vec<String> = REJECT_COLUMNS
        .iter()
        .map(|name| Ok(Ident::new(*name)?.to_string()))
        .collect::<Result<_>>()?;
    Ok(format!(
        "INSERT INTO {table} ({}) \
         SELECT $1::pg_catalog.text, r.partition_id, r.attempt_id, r.row_number, r.kind, r.sqlstate, r.column_name, \
                r.constraint_name, r.message, r.keys::pg_catalog.jsonb, r.row::pg_catalog.jsonb, \
                pg_catalog.decode(r.ipc, 'hex'), r.rejected_at::pg_catalog.timestamptz \
         FROM ROWS FROM ( \
            pg_catalog.unnest($2::pg_catalog.int8[]), pg_catalog.unnest($3::pg_catalog.text[]), \
            pg_catalog.unnest($4::pg_catalog.int8[]), pg_catalog.unnest($5::pg_catalog.text[]), \
            pg_catalog.unnest($6::pg_catalog.text[]), pg_catalog.unnest($7::pg_catalog.text[]), \
            pg_catalog.unnest($8::pg_catalog.text[]), pg_catalog.unnest($9::pg_catalog.text[]), \
            pg_catalog.unnest($10::pg_catalog.text[]), pg_catalog.unnest($11::pg_catalog.text[]), \
            pg_catalog.unnest($12::pg_catalog.text[]), pg_catalog.unnest($13::pg_catalog.text[])) \
            r(partition_id, attempt_id, row_number, kind, sqlstate, column_name, constraint_name, message, keys, row, \
              ipc, rejected_at)",
        columns.join(", ")
    ))
}
