//! The ledger's tables: made, and brought to the version that this server needs.

use std::cmp::Ordering;

use super::transaction::Transaction;
use crate::error::{Error, ErrorKind, Result};

/// The schema of the ledger and of staging tables.
pub(super) const SCHEMA: &str = "pgflight";

const CREATE_SCHEMA: &str = "CREATE SCHEMA IF NOT EXISTS pgflight;\n\n";

/// What makes version n out of version n − 1; each can run twice. A later version only adds, so that
/// servers of both versions can work on one database while they are rolled over.
pub(super) const MIGRATIONS: [&str; 4] = [
    include_str!("migrations/1.sql"),
    include_str!("migrations/2.sql"),
    include_str!("migrations/3.sql"),
    include_str!("migrations/4.sql"),
];

/// The SQL that makes the ledger or brings it up to date, for a DBA to read and run as the server's
/// role.
pub fn migration() -> String {
    format!("{CREATE_SCHEMA}{}", MIGRATIONS.join("\n"))
}

/// How the ledger of a database stands to the one that this program makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LedgerVersion {
    /// There is none.
    Missing,
    /// Made by an older one, up to this version.
    Old(usize),
    /// The same.
    Current,
    /// Made by a newer one, up to this version: this one can use it, since later versions only add.
    Newer(usize),
}

impl LedgerVersion {
    /// The version that this program makes, from 1.
    pub const OURS: usize = MIGRATIONS.len();

    /// Of a ledger that is there.
    pub(super) fn of(version: usize) -> Self {
        match version.cmp(&Self::OURS) {
            Ordering::Less => Self::Old(version),
            Ordering::Equal => Self::Current,
            Ordering::Greater => Self::Newer(version),
        }
    }
}

/// Finds out what ledger there is.
///
/// # Errors
/// What PostgreSQL said.
pub async fn ledger_version(transaction: &Transaction) -> Result<LedgerVersion> {
    Ok(match has_schema(transaction).await? {
        true => LedgerVersion::of(version(transaction).await?),
        false => LedgerVersion::Missing,
    })
}

/// Tells of a ledger that lacks a column for what it is: one of an older version. Whoever reads it without
/// asking for its version first passes its errors through here.
pub(super) fn explain_old(error: Error) -> Error {
    match error.context().sqlstate.as_deref() {
        // undefined_column
        Some("42703") => old(error),
        _ => error,
    }
}

/// As [`explain_old`], of a ledger that is known to be there, which may lack a table as well.
pub(super) fn explain_old_tables(error: Error) -> Error {
    match error.context().sqlstate.as_deref() {
        // undefined_table
        Some("42P01") => old(error),
        _ => explain_old(error),
    }
}

fn old(error: Error) -> Error {
    Error::internal(
        "the ledger (schema pgflight) is of an older version than this pgflight needs; bring it up to date \
         by `pgflight migrate`, or let its owner run what `pgflight migrate --print` prints",
    )
    .with_source(error)
}

/// Whether there is a ledger, of whatever version.
///
/// # Errors
/// What PostgreSQL said.
pub async fn has_schema(transaction: &Transaction) -> Result<bool> {
    // Not by to_regclass: it asks the session's cache, which does not know yet what another session has just
    // committed, whose lock this one waited for.
    let statement = "
        SELECT EXISTS (SELECT FROM pg_catalog.pg_class c
                       JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
                       WHERE n.nspname OPERATOR(pg_catalog.=) 'pgflight' AND c.relname OPERATOR(pg_catalog.=) 'migration')";
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
    // Any role may take an advisory lock, and keep it.
    if has_schema(transaction).await? {
        return transaction
            .execute_all("LOCK TABLE pgflight.migration IN SHARE ROW EXCLUSIVE MODE")
            .await;
    }
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
        .define(&format!("{create_schema}{missing}"))
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
