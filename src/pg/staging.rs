//! Staging tables: where the attempts of a write wait for its commit.

use std::collections::HashMap;

use uuid::Uuid;

use super::ledger::LedgerWrite;
use super::migration::{SCHEMA, lock_migration};
use super::sql;
use super::transaction::Transaction;
use crate::error::{Error, ErrorKind, Result};
use crate::plan::ddl::ColumnDefinition;
use crate::plan::{ColumnPlan, FieldPlan, Ident, QualifiedName, Relation};

/// A name for a new staging table, never used before.
///
/// # Errors
/// None in practice: the name is always one that PostgreSQL can hold.
pub fn new_staging_name() -> Result<QualifiedName> {
    Ok(QualifiedName {
        schema: Ident::new(SCHEMA)?,
        name: Ident::new(format!("staging_{}", Uuid::new_v4().simple()))?,
    })
}

/// Definitions of these columns as the target has them, without defaults: type, collation and NOT NULL. What
/// PostgreSQL is to cast is text.
///
/// # Errors
/// What PostgreSQL said.
pub async fn definitions_of<'a>(
    transaction: &Transaction,
    target: &Relation,
    columns: impl IntoIterator<Item = &'a ColumnPlan>,
) -> Result<Vec<ColumnDefinition>> {
    let plans: HashMap<&str, &FieldPlan> = columns
        .into_iter()
        .map(|column| (column.name.as_str(), &column.field))
        .collect();
    let names: Vec<&str> = plans.keys().copied().collect();
    let rows = transaction
        .query(
            "SELECT attname::pg_catalog.text,
                    pg_catalog.concat(
                        pg_catalog.format_type(atttypid, atttypmod),
                        (SELECT pg_catalog.format(' COLLATE %I.%I', n.nspname, c.collname)
                         FROM pg_catalog.pg_collation c
                         JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.collnamespace
                         WHERE c.oid OPERATOR(pg_catalog.=) attcollation)),
                    attnotnull
             FROM pg_catalog.pg_attribute
             WHERE attrelid OPERATOR(pg_catalog.=) $1 AND attnum OPERATOR(pg_catalog.>) 0
               AND attname OPERATOR(pg_catalog.=) ANY ($2::pg_catalog.text[])
             ORDER BY attnum",
            &[&target.oid, &names],
        )
        .await?;
    rows.iter()
        .map(|row| {
            let name = Ident::new(row.get::<_, String>(0))?;
            let sql_type = match plans.get(name.as_str()) {
                Some(FieldPlan::Cast { array: false }) => "text".to_owned(),
                Some(FieldPlan::Cast { array: true }) => "text[]".to_owned(),
                _ => row.get(1),
            };
            Ok(ColumnDefinition {
                name,
                sql_type,
                not_null: row.get(2),
            })
        })
        .collect()
}

/// A name for the table that will be the target, of a write of mode create or an overwrite by swap:
/// beside the target, where the default privileges of its schema hold for it.
///
/// # Errors
/// None in practice, as [`new_staging_name`].
pub fn new_shadow_name(target: &QualifiedName) -> Result<QualifiedName> {
    Ok(QualifiedName {
        schema: target.schema.clone(),
        name: Ident::new(format!("{SHADOW_PREFIX}{}", Uuid::new_v4().simple()))?,
    })
}

/// What the names of tables begin with that are being filled and not yet what they will be.
pub(super) const SHADOW_PREFIX: &str = "_pgflight_";

/// Makes a temporary table that the end of the transaction drops, and gives its full name.
///
/// # Errors
/// What PostgreSQL said.
pub async fn create_temporary(
    transaction: &Transaction,
    columns: &[ColumnDefinition],
) -> Result<QualifiedName> {
    let name = new_staging_name()?.name;
    transaction
        .define(&sql::create_temporary(&name, columns))
        .await?;
    let row = transaction
        .query_one(
            "SELECT nspname::pg_catalog.text FROM pg_catalog.pg_namespace
             WHERE oid OPERATOR(pg_catalog.=) pg_catalog.pg_my_temp_schema()",
            &[],
        )
        .await?;
    Ok(QualifiedName {
        schema: Ident::new(row.get::<_, String>(0))?,
        name,
    })
}

/// Keeps the rows of the accepted attempts in a table that will be the target, and no others, whoever
/// wrote them; returns how many they are.
///
/// # Errors
/// What PostgreSQL said.
pub async fn keep_accepted(
    transaction: &Transaction,
    write_id: &str,
    shadow: &QualifiedName,
    xact_ids: &[String],
    row_count: u64,
) -> Result<u64> {
    end_copies_into(transaction, write_id, shadow).await?;
    // It belongs to the role that fills it, which may have put triggers or policies on it.
    transaction.assume_role().await?;
    let (accepted, all) = count_accepted_and_all(transaction, shadow, xact_ids).await?;
    if accepted != row_count || all == accepted {
        return Ok(accepted);
    }
    transaction
        .execute_on_rows(&sql::delete_unaccepted(shadow), &[&xact_ids])
        .await?;
    // A trigger or a rule of the table may have kept rows, or changed others.
    let (accepted, all) = count_accepted_and_all(transaction, shadow, xact_ids).await?;
    if all == accepted {
        return Ok(accepted);
    }
    Err(Error::conflict(
        "a trigger or a rule on the new table keeps rows of attempts that were not accepted; drop it, or find the \
         event trigger that makes it, and run the job again",
    ))
}

/// The rows of the accepted attempts in a table, and all of its rows.
async fn count_accepted_and_all(
    transaction: &Transaction,
    shadow: &QualifiedName,
    xact_ids: &[String],
) -> Result<(u64, u64)> {
    let rows = transaction
        .query_on_rows(&sql::count_accepted_and_all(shadow), &[&xact_ids])
        .await?;
    let row = (rows.first()).ok_or_else(|| Error::internal("PostgreSQL counted nothing"))?;
    let count = |column| u64::try_from(row.get::<_, i64>(column)).unwrap_or(0);
    Ok((count(0), count(1)))
}

/// Whether nobody but its owner may change the rows of a table.
///
/// # Errors
/// What PostgreSQL said.
pub async fn is_the_owners_alone(transaction: &Transaction, table: &QualifiedName) -> Result<bool> {
    let row = transaction
        .query_one(
            "SELECT NOT EXISTS (
                SELECT FROM pg_catalog.pg_class c
                JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace,
                     LATERAL pg_catalog.aclexplode(c.relacl) a
                WHERE n.nspname OPERATOR(pg_catalog.=) $1::pg_catalog.text
                  AND c.relname OPERATOR(pg_catalog.=) $2::pg_catalog.text
                  AND a.grantee OPERATOR(pg_catalog.<>) c.relowner
                  AND a.privilege_type OPERATOR(pg_catalog.<>) ALL (ARRAY['SELECT', 'REFERENCES']))",
            &[&table.schema.as_str(), &table.name.as_str()],
        )
        .await?;
    Ok(row.get(0))
}

/// Gives a filled table the name that it was filled for. No row is copied.
///
/// # Errors
/// [`ErrorKind::AlreadyExists`](crate::error::ErrorKind::AlreadyExists) when somebody made a table
/// of that name in the meantime.
pub async fn adopt_shadow(
    transaction: &Transaction,
    shadow: &QualifiedName,
    name: &QualifiedName,
) -> Result<()> {
    transaction
        .define(&sql::rename_table(shadow, &name.name))
        .await
        .map_err(|error| error.with_table(name))
}

/// Takes the name of a table away that nobody else has seen yet, until [`adopt_shadow`] gives it back.
///
/// # Errors
/// What PostgreSQL said.
pub async fn make_shadow(
    transaction: &Transaction,
    table: &QualifiedName,
    shadow: &QualifiedName,
) -> Result<()> {
    transaction
        .define(&sql::rename_table(table, &shadow.name))
        .await
}

/// Ends the sessions of ours, on whichever server, that still copy into a staging table whose write
/// has been decided: nobody will ever accept what they bring, and they would hold up its end.
///
/// A session is ended by the pid of its process, and behind a pooler that process may serve another client a moment
/// later. So a session counts only while it holds a lock on the staging table, in a transaction that one of our
/// servers named after this write: both are true of a transaction that copies into it, and of no other. Who they are
/// is read first, and the locks, which PostgreSQL never reads from a snapshot, last. What remains is the time
/// between that look and the arrival of the signal, some microseconds: if a COPY and its COMMIT end within them, the
/// next client of the process sees its session end (57P01). PostgreSQL has no way to end a transaction by its id.
///
/// # Errors
/// What PostgreSQL said.
pub(super) async fn end_copies_into(
    transaction: &Transaction,
    write_id: &str,
    staging: &QualifiedName,
) -> Result<()> {
    let statement = "
        WITH ours AS MATERIALIZED (
            SELECT a.pid FROM pg_catalog.pg_stat_activity a
            WHERE a.usename OPERATOR(pg_catalog.=) session_user AND pg_catalog.pg_has_role(a.usesysid, 'USAGE')
              AND a.datname OPERATOR(pg_catalog.=) pg_catalog.current_database()
              AND a.pid OPERATOR(pg_catalog.<>) pg_catalog.pg_backend_pid() AND a.xact_start IS NOT NULL
              AND pg_catalog.starts_with(a.application_name, $3::pg_catalog.text))
        SELECT pg_catalog.pg_terminate_backend(ours.pid) FROM ours
        WHERE EXISTS (
            SELECT FROM pg_catalog.pg_locks l
            WHERE l.pid OPERATOR(pg_catalog.=) ours.pid AND l.locktype OPERATOR(pg_catalog.=) 'relation'
              AND l.mode OPERATOR(pg_catalog.=) 'RowExclusiveLock' AND l.granted
              AND l.relation OPERATOR(pg_catalog.=) (
                  SELECT c.oid FROM pg_catalog.pg_class c
                  JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
                  WHERE n.nspname OPERATOR(pg_catalog.=) $1::pg_catalog.text
                    AND c.relname OPERATOR(pg_catalog.=) $2::pg_catalog.text))";
    // Sessions belong to the login, whatever role they have taken.
    transaction.resume_session_role().await?;
    // Else the sessions would be those that an earlier look of this transaction found.
    transaction
        .execute_all("SELECT pg_catalog.pg_stat_clear_snapshot()")
        .await?;
    let (schema, name) = (staging.schema.as_str(), staging.name.as_str());
    let session = sql::session_prefix(write_id);
    transaction
        .query(statement, &[&schema, &name, &session])
        .await?;
    transaction.resume_own_role().await
}

/// The OID of a staging table, and its columns in a form that is equal for equal columns.
const STAGING: &str = "
    SELECT c.oid, (SELECT pg_catalog.string_agg(pg_catalog.format('%s %I %s %s %s', a.attnum, a.attname, a.atttypid,
                                                                  a.atttypmod, a.attcollation), ', ' ORDER BY a.attnum)
                   FROM pg_catalog.pg_attribute a
                   WHERE a.attrelid OPERATOR(pg_catalog.=) c.oid AND a.attnum OPERATOR(pg_catalog.>) 0
                     AND NOT a.attisdropped)
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
    WHERE n.nspname OPERATOR(pg_catalog.=) $1::pg_catalog.text
      AND c.relname OPERATOR(pg_catalog.=) $2::pg_catalog.text";

/// Records the staging table of a write as it is, in the transaction that made it.
///
/// # Errors
/// What PostgreSQL said.
pub async fn record_staging(
    transaction: &Transaction,
    write_id: &str,
    staging: &QualifiedName,
) -> Result<()> {
    let statement = format!(
        "UPDATE pgflight.write SET (staging_oid, staging_columns) = ({STAGING})
         WHERE write_id OPERATOR(pg_catalog.=) $3"
    );
    let (schema, name) = (staging.schema.as_str(), staging.name.as_str());
    transaction
        .execute(&statement, &[&schema, &name, &write_id])
        .await?;
    Ok(())
}

/// What has become of the staging table of a write since begin made it, where it is another one or has other
/// columns.
///
/// # Errors
/// What PostgreSQL said.
pub async fn staging_change(
    transaction: &Transaction,
    write: &LedgerWrite,
) -> Result<Option<&'static str>> {
    let (Some(staging), Some(recorded)) = (&write.staging, write.staging_oid) else {
        // A server before version 4 of the ledger began it.
        return Ok(None);
    };
    let (schema, name) = (staging.schema.as_str(), staging.name.as_str());
    let Some(row) = transaction.query_opt(STAGING, &[&schema, &name]).await? else {
        return Ok(Some("dropped, renamed or moved"));
    };
    let (oid, columns): (u32, Option<String>) = (row.get(0), row.get(1));
    Ok(match (oid == recorded, columns == write.staging_columns) {
        (true, true) => None,
        (true, false) => Some("altered"),
        (false, _) => Some("dropped and made again"),
    })
}

/// Keeps the staging table of a write from being altered or dropped until the transaction ends, and then says what
/// has become of it since begin, as [`staging_change`]. A stream that still copies into it is not waited for.
///
/// # Errors
/// What PostgreSQL said.
pub async fn lock_staging(
    transaction: &Transaction,
    write: &LedgerWrite,
    staging: &QualifiedName,
) -> Result<Option<&'static str>> {
    let lock = sql::lock_for_reading(staging);
    match transaction.execute_all(&lock).await {
        Ok(()) => staging_change(transaction, write).await,
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Some("dropped, renamed or moved")),
        Err(error) => Err(error),
    }
}

/// Makes the staging table of a write.
///
/// # Errors
/// What PostgreSQL said.
pub async fn create_staging(
    transaction: &Transaction,
    staging: &QualifiedName,
    columns: &[ColumnDefinition],
) -> Result<()> {
    transaction
        .define(&sql::create_staging(staging, columns))
        .await
}

/// Lets the role of the principal fill and read a staging table, and do nothing else in its schema. It fills
/// it itself, since the constraints of a domain run code when rows are copied.
///
/// # Errors
/// What PostgreSQL said.
pub async fn let_role_fill(transaction: &Transaction, staging: &QualifiedName) -> Result<()> {
    let Some(role) = transaction.role() else {
        return Ok(());
    };
    // Two who grant at once would meet on one row of the catalog, where the second does not wait but fails.
    let may = "SELECT pg_catalog.has_schema_privilege($1::pg_catalog.text, 'pgflight', 'USAGE')";
    let has_usage = async || -> Result<bool> {
        Ok(transaction.query_one(may, &[&role.as_str()]).await?.get(0))
    };
    if !has_usage().await? {
        lock_migration(transaction).await?;
        if !has_usage().await? {
            transaction
                .execute_all(&sql::grant_schema(&staging.schema, role))
                .await?;
        }
    }
    transaction
        .execute_all(&sql::grant_fill(staging, role))
        .await
}

/// Takes the role that fills a staging table, so that no code that a value meets on its way into a column runs in
/// the ledger's: the principal's role, unless an older server made the table and lets that role only read it.
///
/// # Errors
/// As [`Transaction::assume_role`].
pub async fn assume_role_to_fill(transaction: &Transaction, staging: &Relation) -> Result<()> {
    if let Some(role) = transaction.role()
        && staging.name.schema.as_str() == SCHEMA
    {
        let may = "SELECT pg_catalog.has_table_privilege($1::pg_catalog.text, $2::pg_catalog.oid, 'INSERT')";
        let row = transaction
            .query_one(may, &[&role.as_str(), &staging.oid])
            .await?;
        if !row.get::<_, bool>(0) {
            return Ok(());
        }
    }
    transaction.assume_role().await
}

/// Drops a staging table; waits no longer than the transaction's `lock_timeout` for a stream that
/// still copies into it.
///
/// # Errors
/// What PostgreSQL said.
pub(super) async fn drop_staging(transaction: &Transaction, staging: &QualifiedName) -> Result<()> {
    if staging.schema.as_str() != SCHEMA {
        // A table beside the target belongs to the role that would have written the target.
        transaction.act_as_owner(staging).await?;
    }
    // Another role may have made a view on it.
    transaction
        .define(&sql::drop_table_and_views(staging))
        .await?;
    transaction.resume_own_role().await
}

/// Copies the rows that the accepted attempts staged into the target; returns how many the target
/// took, which triggers and rules may change.
///
/// # Errors
/// What PostgreSQL has against the rows.
pub async fn publish_rows(
    transaction: &Transaction,
    target: &Relation,
    staging: &Relation,
    xact_ids: &[String],
) -> Result<u64> {
    if staging.columns.is_empty() {
        // Nor does INSERT know an empty list.
        return Ok(0);
    }
    transaction
        .execute_on_rows(&sql::publish(target, staging), &[&xact_ids])
        .await
        .map_err(|error| cast_failed(error, target, staging).with_table(&target.name))
}

/// What an input function says of text that it cannot read. Most have words that quote it, and many a
/// SQLSTATE that is about something else: a `regclass` that names no table speaks of a missing table.
pub(super) fn cast_failed(error: Error, target: &Relation, staging: &Relation) -> Error {
    let casts = sql::casts(target, staging);
    let sqlstate = error.context().sqlstate.clone().unwrap_or_default();
    let message = match sqlstate.get(..2) {
        _ if casts.is_empty() => return error,
        // Of the connection, of others, of constraints and triggers.
        None | Some("08" | "23" | "40" | "44" | "53" | "55" | "57" | "P0") => return error,
        // A value that is quoted has been cut off.
        Some("22") => error.to_string(),
        Some(_) => "PostgreSQL cannot read a string as the type of its column".to_owned(),
    };
    let message = format!("{message}; look at the values for {}", casts.join(", "));
    Error::data_rejected(message).with_context(|context| context.sqlstate = Some(sqlstate))
}

/// Rows of the accepted attempts that are in the staging table: fewer than recorded when PostgreSQL
/// crashed in between, since staging is not logged.
///
/// # Errors
/// What PostgreSQL said.
pub async fn accepted_row_count(
    transaction: &Transaction,
    staging: &QualifiedName,
    xact_ids: &[String],
) -> Result<u64> {
    let row = transaction
        .query_one(&sql::count_accepted(staging), &[&xact_ids])
        .await?;
    Ok(u64::try_from(row.get::<_, i64>(0)).unwrap_or(0))
}
