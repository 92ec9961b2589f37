//! One table, read by one query.

mod later;
mod read;
mod view;

pub use later::kinds_of_table;
use tokio_postgres::Row;

pub(in crate::pg) use self::read::dropped;
use self::read::read;
use self::view::check_view;
pub use self::view::checks_rows;
use crate::error::{Error, ErrorKind, Result};
use crate::pg::connection::LOCK_NOT_AVAILABLE;
use crate::pg::names::SHADOW_PREFIX;
use crate::pg::sql::{self, TableLock};
use crate::pg::transaction::{Parameter, Transaction};
use arrow_pgcopy::table::TableName;
use arrow_pgcopy::{Ident, QualifiedName, Relation};

/// A table, with the properties that decide how rows can be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// Its name and columns.
    pub relation: Relation,
    /// The reason that PostgreSQL rejects COPY into it, although it takes INSERT.
    pub copy_obstacle: Option<String>,
    /// Whether it is a view.
    pub is_view: bool,
    /// Whether the current role has the rights of its owner.
    pub is_owned: bool,
    /// The privileges that the current role has on the table, or on one of its columns if GRANT can give them by
    /// column.
    privileges: Vec<&'static str>,
    /// The current role, quoted for SQL.
    role: String,
    /// A text that changes with each change of its rows in `pg_class` and `pg_attribute`.
    version: String,
}

impl Table {
    /// Checks that the current role has these privileges.
    ///
    /// # Errors
    /// [`ErrorKind::PermissionDenied`](crate::error::ErrorKind::PermissionDenied) with the missing GRANT.
    pub fn check_privileges(&self, needed: &[&str]) -> Result<()> {
        let missing: Vec<&str> = needed
            .iter()
            .filter(|privilege| !self.privileges.contains(privilege))
            .copied()
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        let (missing, role) = (missing.join(", "), &self.role);
        Err(Error::permission_denied(format!(
            "role {role} lacks the privilege {missing} on the table"
        ))
        .with_hint("grant the missing privilege")
        .with_fix_sql(format!(
            "GRANT {missing} ON {} TO {role};",
            self.relation.name
        ))
        .with_table(&self.relation.name)
        .with_context(|context| context.sqlstate = Some("42501".to_owned())))
    }

    /// Checks that the current role has the rights of the owner. `what` says what for, as in "add columns".
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`](crate::error::ErrorKind::Unsupported) for a view;
    /// [`ErrorKind::PermissionDenied`](crate::error::ErrorKind::PermissionDenied) for a table of another role.
    pub fn check_owned(&self, what: &str) -> Result<()> {
        let error = if self.is_view {
            Error::unsupported(format!("PostgreSQL cannot {what} of a view"))
        } else if self.is_owned {
            return Ok(());
        } else {
            Error::permission_denied(format!("only the owner of the table can {what}"))
                .with_hint("make the server's role a member of the owner's role")
        };
        Err(error.with_table(&self.relation.name))
    }
}

/// Finds a table by its schema, or by the search_path. Returns `None` for a table that `is_visible` rejects.
///
/// # Errors
/// [`ErrorKind::PermissionDenied`](crate::error::ErrorKind::PermissionDenied) for the tables of the system and of
/// pgflight, [`ErrorKind::Unsupported`](crate::error::ErrorKind::Unsupported) for views that take no INSERT, foreign
/// tables and other relations that cannot be written.
pub async fn find_table(
    transaction: &Transaction,
    table: &TableName,
    is_visible: impl Fn(&QualifiedName) -> bool,
) -> Result<Option<Table>> {
    let schema = table.schema.as_ref().map(Ident::as_str);
    let parameters: [&dyn Parameter; 2] = [&schema, &table.name.as_str()];
    let row = match schema {
        Some(_) => transaction.query_opt(LOOK, &parameters).await?,
        None => transaction.query_opt_by_path(LOOK, &parameters).await?,
    };
    let Some(row) = row else { return Ok(None) };
    let name = qualified_name(row.get(1), row.get(2))?;
    if !is_visible(&name) {
        return Ok(None);
    }
    check_for_data(&name)?;
    read_writable(transaction, &row, name).await.map(Some)
}

/// Locks a table until the transaction ends, and reads it again if it has changed since `table` was read.
///
/// # Errors
/// [`ErrorKind::NotFound`](crate::error::ErrorKind::NotFound) when it was dropped; otherwise as
/// [`find_table`].
pub async fn lock_table(transaction: &Transaction, table: Table, lock: TableLock) -> Result<Table> {
    let name = table.relation.name.clone();
    let row = lock_and_query(transaction, &name, lock, VERSION).await?;
    transaction.note_schema(&name.schema, row.get(2));
    let found: (u32, &str) = (row.get(0), row.get(1));
    if found == (table.relation.oid, &*table.version) {
        if table.is_view {
            // The version does not change with the query of a view.
            check_view(transaction, &table.relation.name, table.relation.oid).await?;
        }
        return Ok(table);
    }
    let (schema, unqualified) = (name.schema.as_str(), name.name.as_str());
    let row = transaction
        .query_opt(LOOK, &[&schema, &unqualified])
        .await?;
    let row = row.ok_or_else(|| dropped(&name))?;
    read_writable(transaction, &row, name).await
}

/// Locks a table until the transaction ends, and reads it.
///
/// # Errors
/// The errors of [`lock_table`].
pub async fn lock_named(
    transaction: &Transaction,
    name: &QualifiedName,
    lock: TableLock,
) -> Result<Table> {
    let row = lock_and_query(transaction, name, lock, LOOK).await?;
    transaction.note_schema(&name.schema, row.get(11));
    read_writable(transaction, &row, name.clone()).await
}

/// Reads a staging table.
///
/// # Errors
/// [`ErrorKind::NotFound`](crate::error::ErrorKind::NotFound) when it does not exist: the write has ended.
pub async fn staging_relation(
    transaction: &Transaction,
    staging: &QualifiedName,
) -> Result<Relation> {
    Ok(find_staging(transaction, staging).await?.relation)
}

/// Reads a staging table, with the properties that decide how rows can be written.
///
/// # Errors
/// The errors of [`staging_relation`].
pub async fn find_staging(transaction: &Transaction, staging: &QualifiedName) -> Result<Table> {
    let (schema, name) = (staging.schema.as_str(), staging.name.as_str());
    let row = transaction.query_opt(LOOK, &[&schema, &name]).await?;
    let row = row.ok_or_else(|| {
        Error::not_found("the staging table of the write does not exist")
            .with_hint("the write has ended; begin a new one")
    })?;
    read(transaction, &row, staging.clone()).await
}

/// Locks a table and runs a query about it, in one round trip. PostgreSQL lets a role that may insert into some columns
/// only write the table, but not name it in LOCK.
async fn lock_and_query(
    transaction: &Transaction,
    name: &QualifiedName,
    lock: TableLock,
    query: &str,
) -> Result<Row> {
    let (schema, unqualified) = (name.schema.as_str(), name.name.as_str());
    let parameters: [&dyn Parameter; 2] = [&schema, &unqualified];
    let locked = transaction
        .execute_and_query(&sql::lock_table(name, lock), query, &parameters)
        .await;
    let row = match locked {
        Err(error) if lock == TableLock::Insert && is_denied(&error) => {
            transaction.execute_all(sql::FORGET_LOCK).await?;
            let inserted = transaction
                .execute_all_on_rows(&sql::lock_by_insert(name))
                .await;
            // The first error says which privilege is missing.
            inserted.map_err(|_| error.with_table(name))?;
            transaction.query_opt(query, &parameters).await?
        }
        locked => locked.map_err(|error| locked_by_other(error, name).with_table(name))?,
    };
    row.ok_or_else(|| dropped(name))
}

fn is_denied(error: &Error) -> bool {
    error.kind() == ErrorKind::PermissionDenied
}

/// Adds the query that finds the session with the lock, if the error is about one.
fn locked_by_other(error: Error, name: &QualifiedName) -> Error {
    if error.context().sqlstate.as_deref() != Some(LOCK_NOT_AVAILABLE) {
        return error;
    }
    error
        .caused("another session has locked the table")
        .with_hint(format!(
            "end its transaction, or raise --lock-timeout; its pid is in pg_locks, where relation is '{}'::regclass",
            name.to_string().replace('\'', "''")
        ))
}

/// Reads a row of [`LOOK`] about a table that can be written.
async fn read_writable(transaction: &Transaction, row: &Row, name: QualifiedName) -> Result<Table> {
    check_writable(&name, row.get(3))?;
    let table = read(transaction, row, name).await?;
    if table.is_view {
        check_view(transaction, &table.relation.name, table.relation.oid).await?;
    }
    if row.get(10) {
        check_children(transaction, &table.relation.name, table.relation.oid).await?;
    }
    Ok(table)
}

/// Rejects a table whose rows may go to a foreign table: a partition, or a table that inherits from it, at any depth.
async fn check_children(transaction: &Transaction, name: &QualifiedName, oid: u32) -> Result<()> {
    let row = transaction.query_one(HAS_FOREIGN_CHILD, &[&oid]).await?;
    if row.get(0) {
        return Err(Error::unsupported(
            "a partition or child of the table is a foreign table, and its server commits apart from PostgreSQL",
        )
        .with_hint("write to the partitions or children that are not foreign")
        .with_table(name));
    }
    Ok(())
}

/// Checks, after this transaction has locked and written a table, that the rows are in that table. A lock prevents a
/// rename of the table, but not of its schema, which another session may also rename back between two statements. Nor
/// does it prevent a foreign table from becoming a partition.
///
/// # Errors
/// [`ErrorKind::Conflict`](crate::error::ErrorKind::Conflict) when the name belongs to another table, or belonged to one
/// that this transaction has locked; [`ErrorKind::Unsupported`](crate::error::ErrorKind::Unsupported) for a foreign
/// partition.
pub async fn check_same_table(transaction: &Transaction, relation: &Relation) -> Result<()> {
    check_same_name(transaction, &relation.name, relation.oid).await
}

/// Checks that a name is still that of the table with this OID, as [`check_same_table`] does.
///
/// # Errors
/// The errors of [`check_same_table`]; any error that PostgreSQL reports.
pub async fn check_same_name(
    transaction: &Transaction,
    name: &QualifiedName,
    oid: u32,
) -> Result<()> {
    let parameters: [&dyn Parameter; 2] = [&name.schema.as_str(), &name.name.as_str()];
    let found = transaction.query_opt(SAME, &parameters).await?;
    let Some(row) = found.filter(|row| row.get::<_, u32>(0) == oid) else {
        return Err(renamed(name));
    };
    if transaction.has_changed_schema(&name.schema, row.get(1)) {
        let parameters: [&dyn Parameter; 2] = [&name.name.as_str(), &oid];
        let row = transaction.query_one(LOCKS_NAMESAKE, &parameters).await?;
        if row.get(0) {
            return Err(renamed(name));
        }
    }
    if row.get::<_, i8>(3) == VIEW {
        return check_view(transaction, name, oid).await;
    }
    match row.get(2) {
        true => check_children(transaction, name, oid).await,
        false => Ok(()),
    }
}

/// Finds the OID of the table with this name, by its schema or by the search_path. `None` without a table.
///
/// # Errors
/// Any error that PostgreSQL reports.
pub async fn find_oid(transaction: &Transaction, table: &TableName) -> Result<Option<u32>> {
    let schema = table.schema.as_ref().map(Ident::as_str);
    let parameters: [&dyn Parameter; 2] = [&schema, &table.name.as_str()];
    let row = match schema {
        Some(_) => transaction.query_opt(OID, &parameters).await?,
        None => transaction.query_opt_by_path(OID, &parameters).await?,
    };
    Ok(row.map(|row| row.get(0)))
}

const OID: &str = "
    SELECT c.oid
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
    WHERE c.relname OPERATOR(pg_catalog.=) $2::pg_catalog.text
      AND CASE WHEN $1::pg_catalog.text IS NULL THEN pg_catalog.pg_table_is_visible(c.oid)
               ELSE n.nspname OPERATOR(pg_catalog.=) $1::pg_catalog.text END";

/// The error about a name that belongs to another table.
pub(in crate::pg) fn renamed(name: &QualifiedName) -> Error {
    Error::conflict("another table got the name of the target while rows were written")
        .with_hint("run the job again: nothing is kept")
        .with_table(name)
}

/// The `relkind` of a view.
const VIEW: i8 = b'v'.cast_signed();

/// Rejects the tables of the system and of pgflight.
///
/// # Errors
/// [`ErrorKind::PermissionDenied`](crate::error::ErrorKind::PermissionDenied).
pub(in crate::pg) fn check_for_data(name: &QualifiedName) -> Result<()> {
    if name.name.as_str().starts_with(SHADOW_PREFIX) {
        return Err(not_for_data(name));
    }
    check_schema(name)
}

fn check_schema(name: &QualifiedName) -> Result<()> {
    match name.schema.as_str() {
        "information_schema" | "pgflight" => Err(not_for_data(name)),
        // PostgreSQL reserves these names. A table in pg_temp would stay in one session of the pool, and hide all other
        // tables of its name there.
        schema if schema.starts_with("pg_") => Err(not_for_data(name)),
        _ => Ok(()),
    }
}

fn not_for_data(name: &QualifiedName) -> Error {
    Error::permission_denied("the table is not for data").with_table(name)
}

fn check_writable(name: &QualifiedName, relkind: i8) -> Result<()> {
    check_schema(name)?;
    let kind = match u8::try_from(relkind) {
        Ok(b'r' | b'p' | b'v') => return Ok(()),
        Ok(b'm') => "a materialized view",
        Ok(b'f') => "a foreign table",
        Ok(b'S') => "a sequence",
        Ok(b'i' | b'I') => "an index",
        _ => "a composite type",
    };
    Err(Error::unsupported(format!("cannot write to {kind}")).with_table(name))
}

pub(super) fn qualified_name(schema: String, name: String) -> Result<QualifiedName> {
    Ok(QualifiedName {
        schema: Ident::new(schema)?,
        name: Ident::new(name)?,
    })
}

/// Reads a table. `$1` is the schema, or NULL for the search_path, and `$2` the name. It waits for no lock of a table.
const LOOK: &str = include_str!("look.sql");

/// Reads the OID of a table and its version, as [`LOOK`] does.
const VERSION: &str = include_str!("version.sql");

/// Reads the OID of the table with a name, the version of its schema, whether the table may have children, and its kind.
const SAME: &str = "
    SELECT c.oid, n.xmin::pg_catalog.text, c.relhassubclass, c.relkind
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
    WHERE n.nspname OPERATOR(pg_catalog.=) $1::pg_catalog.text
      AND c.relname OPERATOR(pg_catalog.=) $2::pg_catalog.text";

/// Finds out whether this transaction has written a table of this name, other than the one with this OID. Code of the
/// table may have done so as well.
const LOCKS_NAMESAKE: &str = "
    SELECT EXISTS (
        SELECT FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) l.relation
        WHERE l.pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid()
          AND l.locktype OPERATOR(pg_catalog.=) 'relation'
          AND l.mode OPERATOR(pg_catalog.<>) 'AccessShareLock'
          AND c.relname OPERATOR(pg_catalog.=) $1::pg_catalog.text AND c.oid OPERATOR(pg_catalog.<>) $2)";

/// Finds out whether a table has a foreign table below it.
const HAS_FOREIGN_CHILD: &str = "
    WITH RECURSIVE below(oid) AS (
        SELECT $1::pg_catalog.oid
      UNION
        SELECT i.inhrelid FROM below b
        JOIN pg_catalog.pg_inherits i ON i.inhparent OPERATOR(pg_catalog.=) b.oid)
    SELECT EXISTS (SELECT FROM below b JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) b.oid
                   WHERE c.relkind OPERATOR(pg_catalog.=) 'f')";
