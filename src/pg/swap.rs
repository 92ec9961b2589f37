//! Overwrite by swap: a twin of the table is filled and indexed beside it, then takes its place.
//!
//! The old rows can be read until the twin takes over, which only changes the catalog. PostgreSQL's own
//! catalog functions write the statements, so that names are quoted by `format` (PostgreSQL manual,
//! 9.4.1) and definitions are those that `pg_dump` would print.

use super::catalog::{TableLock, lock_relation};
use super::parameter::Parameter;
use super::sql;
use super::table::check_owned;
use super::transaction::Transaction;
use crate::error::{Error, ErrorKind, Result};
use arrow_pgcopy::{QualifiedName, Relation};

const OBSTACLES: &str = include_str!("swap/obstacles.sql");
const TWIN: &str = include_str!("swap/twin.sql");
const SHAPE: &str = include_str!("swap/shape.sql");
const INDEXES: &str = include_str!("swap/indexes.sql");
const DRESS: &str = include_str!("swap/dress.sql");

/// Checks that nothing hangs on a table that its twin could not take over.
///
/// # Errors
/// [`ErrorKind::PermissionDenied`](crate::error::ErrorKind::PermissionDenied) when the server's role
/// does not own the table; [`ErrorKind::Unsupported`](crate::error::ErrorKind::Unsupported) with all
/// that hangs on it.
pub async fn check_swappable(transaction: &Transaction, target: &Relation) -> Result<()> {
    check_owned(transaction, target, "swap it for another table").await?;
    let rows = transaction.query(OBSTACLES, &[&target.oid]).await?;
    if rows.is_empty() {
        return Ok(());
    }
    let obstacles: Vec<&str> = rows.iter().map(|row| row.get(0)).collect();
    Err(Error::unsupported(format!(
        "{} cannot be swapped for another table, which would lose: {}; overwrite with truncate or delete",
        target.name,
        obstacles.join("; ")
    ))
    .with_table(&target.name))
}

/// Makes an empty table with the target's columns, defaults, checks and storage, and no index yet.
///
/// # Errors
/// What PostgreSQL said.
pub async fn create_twin(
    transaction: &Transaction,
    twin: &QualifiedName,
    target: &Relation,
) -> Result<()> {
    let row = transaction
        .query_one(
            TWIN,
            &[&target.oid, &twin.to_string(), &target.name.to_string()],
        )
        .await?;
    transaction.define(row.get(0)).await?;
    // What default privileges gave to others they have no business with yet; the swap gives the target's.
    for row in transaction.query(UNDRESS, &[&twin.to_string()]).await? {
        transaction.define(row.get(0)).await?;
    }
    Ok(())
}

const UNDRESS: &str = "
    SELECT DISTINCT pg_catalog.format('REVOKE ALL ON TABLE %s FROM %s', $1::pg_catalog.text,
                                      COALESCE(pg_catalog.quote_ident(r.rolname), 'PUBLIC'))
    FROM pg_catalog.pg_class c, pg_catalog.aclexplode(c.relacl) g
    LEFT JOIN pg_catalog.pg_roles r ON r.oid OPERATOR(pg_catalog.=) g.grantee
    WHERE c.oid OPERATOR(pg_catalog.=) $1::pg_catalog.text::pg_catalog.regclass::pg_catalog.oid
      AND g.grantee OPERATOR(pg_catalog.<>) c.relowner";

/// Puts a filled twin in its target's place: builds the target's indexes on its rows, and only then locks readers out of the target, for as long as it takes
/// to change the catalog. The target and its rows are dropped.
///
/// `target_oid` is the table that the twin was made for.
///
/// # Errors
/// [`ErrorKind::Conflict`](crate::error::ErrorKind::Conflict) when the target is no longer the table
/// that the twin was made for, or no longer like it; what [`check_swappable`] says; what PostgreSQL has
/// against the rows, as a unique index has against doubles.
pub async fn swap_in(
    transaction: &Transaction,
    twin: &QualifiedName,
    target: &QualifiedName,
    target_oid: Option<u32>,
) -> Result<()> {
    let changed = |what: &str| {
        Error::conflict(format!(
            "table {target} was {what} since the write was begun; run the job again"
        ))
        .with_table(target)
    };
    // From here on the target keeps its shape, while its readers and writers go on.
    let relation = lock_relation(transaction, target, TableLock::Keep)
        .await
        .map_err(|error| match error.kind() == ErrorKind::NotFound {
            true => changed("dropped or moved"),
            false => error,
        })?;
    if Some(relation.oid) != target_oid {
        return Err(changed("dropped and made again"));
    }
    check_swappable(transaction, &relation).await?;
    let twin_oid = lock_relation(transaction, twin, TableLock::Truncate)
        .await?
        .oid;
    if shape(transaction, twin_oid).await? != shape(transaction, relation.oid).await? {
        return Err(changed("changed"));
    }
    let in_target = |error: Error| error.with_table(target);
    let indexes = indexes(transaction, relation.oid, twin).await?;
    for index in &indexes {
        // PostgreSQL has printed its expressions for the path of the server's own statements: with another, their
        // operators could be others. Functions of expressions run with that path, as from PostgreSQL 17 on anyway.
        transaction
            .execute_all(&index.build)
            .await
            .map_err(|error| index.failed(error).with_table(target))?;
    }
    transaction
        .execute_all(&sql::analyze(twin))
        .await
        .map_err(in_target)?;
    lock_relation(transaction, target, TableLock::Truncate).await?;
    for row in transaction
        .query(DRESS, &[&relation.oid, &twin_oid, &twin.to_string()])
        .await?
    {
        transaction.define(row.get(0)).await.map_err(in_target)?;
    }
    transaction.define(&sql::drop_table(target)).await?;
    transaction
        .define(&sql::rename_table(twin, &target.name))
        .await?;
    for index in &indexes {
        transaction.define(&index.finish).await.map_err(in_target)?;
    }
    Ok(())
}

/// Columns, checks and settings, equal for tables that are alike.
type Shape = (Option<Vec<String>>, Option<Vec<String>>, String);

async fn shape(transaction: &Transaction, oid: u32) -> Result<Shape> {
    let row = transaction.query_one(SHAPE, &[&oid]).await?;
    Ok((row.get(0), row.get(1), row.get(2)))
}

/// An index of the target that the twin gets as well.
struct Index {
    /// Its name on the target.
    name: String,
    /// Its name while it is made.
    new_name: String,
    /// Makes it on the twin.
    build: String,
    /// Gives it its name and what hangs on it, once the twin is the target.
    finish: String,
}

impl Index {
    /// An error of building it, with the name that its caller knows.
    fn failed(&self, error: Error) -> Error {
        error.with_context(|context| {
            if context.constraint.as_ref() == Some(&self.new_name) {
                context.constraint = Some(self.name.clone());
            }
        })
    }
}

async fn indexes(
    transaction: &Transaction,
    target_oid: u32,
    twin: &QualifiedName,
) -> Result<Vec<Index>> {
    let parameters: [&dyn Parameter; 3] = [&target_oid, &twin.to_string(), &twin.name.as_str()];
    let rows = transaction.query(INDEXES, &parameters).await?;
    rows.iter()
        .map(|row| {
            let build: Option<String> = row.get(2);
            Ok(Index {
                name: row.get(0),
                new_name: row.get(1),
                build: build.ok_or_else(|| {
                    Error::internal(
                        "PostgreSQL printed the definition of an index in a form that is not known",
                    )
                })?,
                finish: row.get(3),
            })
        })
        .collect()
}
