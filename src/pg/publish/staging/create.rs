//! Creates the tables where the rows of a write wait for its commit.

use uuid::Uuid;

use crate::error::Result;
use crate::pg::ledger::lock_migration;
use crate::pg::names::SCHEMA;
use crate::pg::sql;
use crate::pg::transaction::Transaction;
use arrow_pgcopy::schema::ColumnDefinition;
use arrow_pgcopy::{Ident, QualifiedName, Relation};

/// Returns a new, unique name for a staging table.
///
/// # Errors
/// None in practice: PostgreSQL can always hold the name.
pub fn new_staging_name() -> Result<QualifiedName> {
    Ok(QualifiedName {
        schema: Ident::new(SCHEMA)?,
        name: Ident::new(format!("staging_{}", Uuid::new_v4().simple()))?,
    })
}

/// Creates the staging table of a write.
///
/// # Errors
/// Any error that PostgreSQL reports.
pub async fn create_staging(
    transaction: &Transaction,
    staging: &QualifiedName,
    columns: &[ColumnDefinition],
) -> Result<()> {
    transaction
        .define(&sql::create_staging(staging, columns))
        .await
}

/// A temporary table of a transaction.
pub struct Temporary {
    /// Its name, with the schema of this session.
    pub name: QualifiedName,
    /// The `xmin` of every row that the transaction writes.
    pub xmin: String,
}

/// Creates a temporary table. The end of the transaction drops it.
///
/// # Errors
/// Any error that PostgreSQL reports.
pub async fn create_temporary(
    transaction: &Transaction,
    columns: &[ColumnDefinition],
) -> Result<Temporary> {
    let name = new_staging_name()?.name;
    let statement = sql::create_temporary(&name, columns);
    let row = transaction.define_and_query(&statement, TEMPORARY).await?;
    Ok(Temporary {
        name: QualifiedName {
            schema: Ident::new(row.get::<_, String>(0))?,
            name,
        },
        xmin: row.get(1),
    })
}

const TEMPORARY: &str = "
    SELECT nspname::pg_catalog.text, pg_catalog.pg_current_xact_id()::pg_catalog.xid::pg_catalog.text
    FROM pg_catalog.pg_namespace WHERE oid OPERATOR(pg_catalog.=) pg_catalog.pg_my_temp_schema()";

/// Grants the principal's role the rights to fill and read a staging table, and no others in its schema.
///
/// The principal's role fills the table itself, since the constraints of a domain run code when rows are copied.
///
/// # Errors
/// Any error that PostgreSQL reports.
pub async fn grant_fill(transaction: &Transaction, staging: &QualifiedName) -> Result<()> {
    let Some(role) = transaction.role() else {
        return Ok(());
    };
    // Two concurrent GRANT update one row of the catalog, where the second fails instead of waiting.
    let has_privilege =
        "SELECT pg_catalog.has_schema_privilege($1::pg_catalog.text, 'pgflight', 'USAGE')";
    let has_usage = async || -> Result<bool> {
        Ok(transaction
            .query_one(has_privilege, &[&role.as_str()])
            .await?
            .get(0))
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

/// Switches to the role that fills a staging table: the principal's, so that code in its columns' types does not run in
/// the ledger's role. A table that was created before the principal had this role is filled in the ledger's.
///
/// # Errors
/// The errors of [`Transaction::assume_role`].
pub async fn assume_role_to_fill(transaction: &Transaction, staging: &Relation) -> Result<()> {
    if let Some(role) = transaction.role()
        && staging.name.schema.as_str() == SCHEMA
    {
        let has_privilege = "SELECT pg_catalog.has_table_privilege($1::pg_catalog.text, $2::pg_catalog.oid, 'INSERT')";
        let row = transaction
            .query_one(has_privilege, &[&role.as_str(), &staging.oid])
            .await?;
        if !row.get::<_, bool>(0) {
            return Ok(());
        }
    }
    transaction.assume_role().await
}
