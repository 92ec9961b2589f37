//! Overwrite by swap: a twin of the table is filled and indexed beside it, and then replaces it.
//!
//! The old rows can be read until the twin replaces the table, which only changes the catalog. PostgreSQL's own catalog
//! functions build the statements, so that `format` quotes the names (PostgreSQL manual, 9.4.1) and definitions are
//! those that `pg_dump` prints.

use super::shadow::new_shadow_name;
use crate::error::{Error, ErrorKind, Result};
use crate::pg::catalog::{
    Table, check_named_by_copy, check_same_name, dropped, lock_named, lock_table,
};
use crate::pg::sql::{self, TableLock};
use crate::pg::transaction::{Parameter, Transaction};
use arrow_pgcopy::{QualifiedName, Relation};

const OBSTACLES: &str = include_str!("swap/obstacles.sql");
const TWIN: &str = include_str!("swap/twin.sql");
const SHAPE: &str = include_str!("swap/shape.sql");
const INDEXES: &str = include_str!("swap/indexes.sql");
const DRESS: &str = include_str!("swap/dress.sql");
const OTHER_INDEX: &str = include_str!("swap/other_index.sql");

/// Checks that a twin can take over everything that depends on a table.
///
/// # Errors
/// [`ErrorKind::PermissionDenied`] when the current role does not own the table; [`ErrorKind::Unsupported`] with all
/// dependencies that a swap would lose; the errors of [`check_named_by_copy`].
pub async fn check_swappable(transaction: &Transaction, target: &Table) -> Result<()> {
    target.check_owned("swap a table")?;
    let target = &target.relation;
    let rows = transaction.query(OBSTACLES, &[&target.oid]).await?;
    if rows.is_empty() {
        // PostgreSQL prints definitions of indexes, and resolves the names in them again.
        return check_named_by_copy(transaction, target).await;
    }
    let obstacles: Vec<&str> = rows.iter().map(|row| row.get(0)).collect();
    Err(Error::unsupported(format!(
        "a swap of the table would lose: {}",
        obstacles.join("; ")
    ))
    .with_hint("overwrite with truncate or delete")
    .with_table(&target.name))
}

/// Creates an empty table with the columns, defaults, checks and storage of the target, and without indexes.
///
/// # Errors
/// [`ErrorKind::NotFound`] when another session has dropped the target; any error that PostgreSQL reports.
pub async fn create_twin(
    transaction: &Transaction,
    twin: &QualifiedName,
    target: &Relation,
) -> Result<()> {
    let names = (twin.to_string(), target.name.to_string());
    let row = transaction
        .query_opt(TWIN, &[&target.oid, &names.0, &names.1])
        .await?;
    let row = row.ok_or_else(|| dropped(&target.name))?;
    transaction.define(row.get(0)).await?;
    // Default privileges may have granted rights on the twin. The swap grants those of the target.
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

/// Replaces a table by its filled twin: builds the target's indexes on the twin, and only then locks readers out of the
/// target, for as long as the catalog changes. The target and its rows are dropped.
///
/// The twin comes with its OID. `target_oid` is the OID of the table that the twin was created for.
///
/// # Errors
/// [`ErrorKind::Conflict`] when the target is another table than at begin, or has changed; the errors of
/// [`check_swappable`]; any error that PostgreSQL reports for the rows, such as duplicates in a unique index.
pub async fn swap_in(
    transaction: &Transaction,
    (twin, twin_oid): (&QualifiedName, u32),
    target: &QualifiedName,
    target_oid: Option<u32>,
) -> Result<()> {
    let changed = |what: &str| {
        Error::conflict(format!("the table was {what} since the write was begun"))
            .with_hint("run the job again")
            .with_table(target)
    };
    // From here on the columns of the target cannot change. Its readers and writers go on.
    let table = lock_named(transaction, target, TableLock::Keep)
        .await
        .map_err(|error| {
            if error.kind() == ErrorKind::NotFound {
                changed("dropped or moved")
            } else {
                error
            }
        })?;
    let relation = &table.relation;
    if Some(relation.oid) != target_oid {
        return Err(changed("dropped and made again"));
    }
    check_swappable(transaction, &table).await?;
    let locked = lock_named(transaction, twin, TableLock::Truncate).await?;
    if locked.relation.oid != twin_oid {
        return Err(changed("renamed"));
    }
    if shape(transaction, twin_oid).await? != shape(transaction, relation.oid).await? {
        return Err(changed("changed"));
    }
    let in_target = |error: Error| error.with_table(target);
    let indexes = indexes(transaction, relation.oid, twin).await?;
    for index in &indexes {
        // PostgreSQL has printed the expressions for the path of the server's own statements. Another path could
        // resolve other operators. Functions in expressions run with that path, as they always do from PostgreSQL 17
        // on.
        transaction
            .execute_all(&index.build)
            .await
            .map_err(|error| index.rename_in(error).with_table(target))?;
    }
    check_indexes_alike(transaction, relation.oid, twin_oid, &indexes)
        .await
        .map_err(in_target)?;
    transaction
        .execute_all(&sql::analyze(twin))
        .await
        .map_err(in_target)?;
    let locked = lock_named(transaction, target, TableLock::Truncate).await?;
    if locked.relation.oid != relation.oid {
        return Err(changed("renamed"));
    }
    for row in transaction
        .query(DRESS, &[&relation.oid, &twin_oid, &twin.to_string()])
        .await?
    {
        transaction.define(row.get(0)).await.map_err(in_target)?;
    }
    // Before PostgreSQL 18, GRANT and REVOKE do not wait for the lock.
    let again = lock_table(transaction, locked.clone(), TableLock::Truncate).await?;
    if again != locked {
        return Err(changed("changed"));
    }
    transaction.define(&sql::drop_table(target)).await?;
    transaction
        .define(&sql::rename_table(twin, &target.name))
        .await?;
    for index in &indexes {
        transaction.define(&index.finish).await.map_err(in_target)?;
    }
    // Each statement has found the tables by their names.
    check_same_name(transaction, target, twin_oid).await
}

/// The columns, checks and settings of a table, in a form that is equal for equal tables.
type Shape = (Option<Vec<String>>, Option<Vec<String>>, String);

async fn shape(transaction: &Transaction, oid: u32) -> Result<Shape> {
    let row = transaction.query_one(SHAPE, &[&oid]).await?;
    Ok((row.get(0), row.get(1), row.get(2)))
}

/// Checks that the indexes of the twin are those of the target. PostgreSQL prints some expressions without the schema of
/// their operator, as NULLIF and IS DISTINCT FROM, so that a copy could compare in another way.
async fn check_indexes_alike(
    transaction: &Transaction,
    target_oid: u32,
    twin_oid: u32,
    indexes: &[Index],
) -> Result<()> {
    let names: Vec<&str> = indexes.iter().map(|index| &*index.name).collect();
    let new_names: Vec<&str> = indexes.iter().map(|index| &*index.new_name).collect();
    let parameters: [&dyn Parameter; 4] = [&target_oid, &twin_oid, &names, &new_names];
    match transaction.query_opt(OTHER_INDEX, &parameters).await? {
        Some(row) => Err(Error::unsupported(format!(
            "a copy of index {} would index other values",
            row.get::<_, &str>(0)
        ))
        .with_hint("overwrite with truncate or delete")),
        None => Ok(()),
    }
}

/// An index of the target, which the twin needs as well.
struct Index {
    /// Its name on the target.
    name: String,
    /// Its name on the twin.
    new_name: String,
    /// The statement that creates it on the twin.
    build: String,
    /// The statements that rename it and restore its dependencies, once the twin is the target.
    finish: String,
}

impl Index {
    /// Replaces the name on the twin in an error by the name on the target, which the client knows.
    fn rename_in(&self, error: Error) -> Error {
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
    // Other sessions see the name of the twin, and could take names that follow from it.
    let prefix = new_shadow_name(twin)?.name;
    let parameters: [&dyn Parameter; 3] = [&target_oid, &twin.to_string(), &prefix.as_str()];
    let rows = transaction.query(INDEXES, &parameters).await?;
    rows.iter()
        .map(|row| {
            let build: Option<String> = row.get(2);
            Ok(Index {
                name: row.get(0),
                new_name: row.get(1),
                build: build.ok_or_else(|| {
                    Error::internal(
                        "PostgreSQL printed the definition of an index in an unknown form",
                    )
                })?,
                finish: row.get(3),
            })
        })
        .collect()
}
