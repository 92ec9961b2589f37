//! Creates the ledger's tables, and migrates them to the version that this server needs.

use std::cmp::Ordering;

use crate::error::{Error, ErrorKind, Result};
use crate::pg::transaction::Transaction;

const CREATE_SCHEMA: &str = "CREATE SCHEMA IF NOT EXISTS pgflight;\n\n";

/// The migrations from each version to the next. Each can run twice. A later version only adds, so that servers of both
/// versions can work on one database during a rolling upgrade.
const MIGRATIONS: [&str; 2] = [
    include_str!("migrations/1.sql"),
    include_str!("migrations/2.sql"),
];

/// Returns the SQL that creates or migrates the ledger, for a DBA to read and to run as the server's role.
pub fn migration() -> String {
    format!("{CREATE_SCHEMA}{}", MIGRATIONS.join("\n"))
}

/// The version of a ledger, compared with the version that this program creates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LedgerVersion {
    /// There is no ledger.
    Missing,
    /// An older version.
    Old(usize),
    /// The same version.
    Current,
    /// A newer version. This program can use it, since later versions only add.
    Newer(usize),
}

impl LedgerVersion {
    /// The version that this program creates, from 1.
    pub const OURS: usize = MIGRATIONS.len();

    /// Compares the version of a ledger that exists.
    fn of(version: usize) -> Self {
        match version.cmp(&Self::OURS) {
            Ordering::Less => Self::Old(version),
            Ordering::Equal => Self::Current,
            Ordering::Greater => Self::Newer(version),
        }
    }
}

/// Reads the version of the ledger.
///
/// # Errors
/// Any error that PostgreSQL reports.
pub async fn ledger_version(transaction: &Transaction) -> Result<LedgerVersion> {
    Ok(if has_schema(transaction).await? {
        LedgerVersion::of(version(transaction).await?)
    } else {
        LedgerVersion::Missing
    })
}

/// Explains the error for a column that is missing because the ledger has an older version. Functions that read the
/// ledger without checking its version pass their errors through here.
pub(super) fn explain_old(error: Error) -> Error {
    match error.context().sqlstate.as_deref() {
        // undefined_column
        Some("42703") => old(error),
        _ => error,
    }
}

/// Explains the error for a missing column or table of a ledger that is known to exist, as [`explain_old`] does.
pub(super) fn explain_old_tables(error: Error) -> Error {
    match error.context().sqlstate.as_deref() {
        // undefined_table
        Some("42P01") => old(error),
        _ => explain_old(error),
    }
}

fn old(error: Error) -> Error {
    Error::internal("the ledger (schema pgflight) has an older version than this pgflight needs")
        .with_hint(
            "run `pgflight migrate`, or let its owner run the output of `pgflight migrate --print`",
        )
        .with_source(error)
}

/// Returns whether there is a ledger, of any version.
///
/// # Errors
/// Any error that PostgreSQL reports.
pub async fn has_schema(transaction: &Transaction) -> Result<bool> {
    // to_regclass would read the session's cache, which may lack what another session has committed while this one
    // waited for its lock.
    let statement = "
        SELECT EXISTS (SELECT FROM pg_catalog.pg_class c
                       JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
                       WHERE n.nspname OPERATOR(pg_catalog.=) 'pgflight' AND c.relname OPERATOR(pg_catalog.=) 'migration')";
    Ok(transaction.query_one(statement, &[]).await?.get(0))
}

/// Returns the number of migrations that the ledger has had.
async fn version(transaction: &Transaction) -> Result<usize> {
    if !has_schema(transaction).await? {
        return Ok(0);
    }
    let statement = "SELECT COALESCE(pg_catalog.max(version), 0) FROM pgflight.migration";
    let version: i32 = transaction.query_one(statement, &[]).await?.get(0);
    Ok(usize::try_from(version).unwrap_or(0))
}

/// Locks the ledger against migration by other sessions until the transaction ends. Two servers may migrate at the same
/// time, and CREATE … IF NOT EXISTS does not wait for the other.
///
/// # Errors
/// Any error that PostgreSQL reports.
pub(in crate::pg) async fn lock_migration(transaction: &Transaction) -> Result<()> {
    // If there is a table, it is locked. Any role may take an advisory lock and keep it.
    if has_schema(transaction).await? {
        return transaction
            .execute_all("LOCK TABLE pgflight.migration IN SHARE ROW EXCLUSIVE MODE")
            .await;
    }
    transaction
        .execute_all("SELECT pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended('pgflight.migration', 0))")
        .await
}

/// Creates the ledger's schema and tables, or migrates an older version. Leaves a newer version as it is.
///
/// # Errors
/// [`ErrorKind::PermissionDenied`] when the role may not, with a hint for the DBA; any other error that PostgreSQL
/// reports.
pub async fn ensure_schema(transaction: &Transaction) -> Result<()> {
    if version(transaction).await? >= MIGRATIONS.len() {
        return Ok(());
    }
    lock_migration(transaction).await?;
    let done = version(transaction).await?;
    // CREATE SCHEMA IF NOT EXISTS needs the right to create schemas even where the schema exists.
    let exists = "SELECT pg_catalog.to_regnamespace('pgflight') IS NOT NULL";
    let create_schema = if transaction.query_one(exists, &[]).await?.get(0) {
        ""
    } else {
        CREATE_SCHEMA
    };
    let missing: String = MIGRATIONS.iter().skip(done).copied().collect();
    transaction
        .define(&format!("{create_schema}{missing}"))
        .await
        .map_err(|error| {
            if error.kind() != ErrorKind::PermissionDenied {
                return error;
            }
            let (message, hint) = if done == 0 {
                (
                    "the ledger (schema pgflight) is missing, and the server's role may not create it",
                    "let a DBA run CREATE SCHEMA pgflight AUTHORIZATION <role of the server>",
                )
            } else {
                (
                    "the ledger (schema pgflight) has an older version, and the server's role may not migrate it",
                    "let its owner run the output of `pgflight migrate --print`",
                )
            };
            Error::permission_denied(message)
                .with_hint(hint)
                .with_source(error)
        })
}
