//! The ledger's tables: made, and brought to the version that this server needs.

use super::transaction::Transaction;
use crate::error::{Error, ErrorKind, Result};

/// The schema of the ledger and of staging tables.
pub(super) const SCHEMA: &str = "pgflight";

const CREATE_SCHEMA: &str = "CREATE SCHEMA IF NOT EXISTS pgflight;\n\n";

/// What makes version n out of version n − 1; each can run twice. A later version only adds, so that
/// servers of both versions can work on one database while they are rolled over.
pub(super) const MIGRATIONS: [&str; 3] = [
    include_str!("migrations/1.sql"),
    include_str!("migrations/2.sql"),
    include_str!("migrations/3.sql"),
];

/// The SQL that makes the ledger or brings it up to date, for a DBA to read and run as the server's
/// role.
pub fn migration() -> String {
    format!("{CREATE_SCHEMA}{}", MIGRATIONS.join("\n"))
}

/// Whether there is a ledger, of whatever version.
///
/// # Errors
/// What PostgreSQL said.
pub async fn has_schema(transaction: &Transaction) -> Result<bool> {
    let statement = "SELECT pg_catalog.to_regclass('pgflight.migration') IS NOT NULL";
    Ok(transaction.query_one(statement, &[]).await?.get(0))
}

/// How many of the migrations the ledger has had.
async fn version(transaction: &Transaction) -> Result<usize> {
    if !has_schema(transaction).await? {
        return Ok(0);
    }
    let statement = "SELECT COALESCE(pg_catalog.max(version), 0) FROM pgflight.migration";
    let version: i32 = transaction.query_one(statement, &[]).await?.get(0);
    Ok(usize::try_from(version).unwrap_or(0))
}

/// Keeps others from changing the schema until the transaction ends. Two servers may want to at once, and
/// CREATE … IF NOT EXISTS does not wait for the other.
///
/// # Errors
/// What PostgreSQL said.
pub(super) async fn lock_migration(transaction: &Transaction) -> Result<()> {
    transaction
        .execute_all("SELECT pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended('pgflight.migration', 0))")
        .await
}

/// Makes the ledger's schema and tables where they are missing or of an older version. A newer
/// version is left as it is.
///
/// # Errors
/// [`ErrorKind::PermissionDenied`] with what a DBA must do when the role may not.
pub async fn ensure_schema(transaction: &Transaction) -> Result<()> {
    if version(transaction).await? >= MIGRATIONS.len() {
        return Ok(());
    }
    lock_migration(transaction).await?;
    let done = version(transaction).await?;
    // CREATE SCHEMA IF NOT EXISTS asks for the right to make one even where it is there.
    let there = "SELECT pg_catalog.to_regnamespace('pgflight') IS NOT NULL";
    let create_schema = match transaction.query_one(there, &[]).await?.get(0) {
        true => "",
        false => CREATE_SCHEMA,
    };
    let missing: String = MIGRATIONS.iter().skip(done).copied().collect();
    transaction
        .execute_all(&format!("{create_schema}{missing}"))
        .await
        .map_err(|error| {
            if error.kind() != ErrorKind::PermissionDenied {
                return error;
            }
            let told = if done == 0 {
                "is missing and the server's role may not create it; let a DBA run: CREATE SCHEMA pgflight \
                 AUTHORIZATION <role of the server>"
            } else {
                "is of an older version and the server's role may not change it; let its owner run what \
                 `pgflight migrate --print` prints"
            };
            Error::permission_denied(format!(
                "the schema pgflight, which keeps the state of writes, {told}"
            ))
            .with_source(error)
        })
}
