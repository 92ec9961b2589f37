//! Tables as the catalog has them.

use std::collections::HashMap;

use tokio_postgres::Row;

use super::sql;
use super::transaction::Transaction;
use crate::error::{Error, Result};
use crate::plan::{Column, Ident, PgType, PgTypeKind, QualifiedName, Relation, TableName};

/// Finds a table by its schema, or through the search_path.
///
/// # Errors
/// [`ErrorKind::PermissionDenied`](crate::error::ErrorKind::PermissionDenied) for the system's and
/// pgflight's own tables, [`ErrorKind::Unsupported`](crate::error::ErrorKind::Unsupported) for
/// views, foreign tables and the like.
pub async fn find_relation(
    transaction: &Transaction,
    table: &TableName,
) -> Result<Option<Relation>> {
    let schema = table.schema.as_ref().map(Ident::as_str);
    let Some(row) = transaction
        .query_opt(FIND, &[&schema, &table.name.as_str()])
        .await?
    else {
        return Ok(None);
    };
    let oid = row.get::<_, u32>(0);
    let name = qualified_name(row.get(1), row.get(2))?;
    check_writable(&name, row.get::<_, i8>(3))?;
    Ok(relations(transaction, &[(oid, name)]).await?.pop())
}

/// What a lock on a table is for, and so how strong it is (PostgreSQL manual, 13.3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TableLock {
    /// ROW EXCLUSIVE, as any INSERT takes it: keeps the table's shape.
    Insert,
    /// SHARE UPDATE EXCLUSIVE: keeps the table's shape, and readers and writers stay.
    Keep,
    /// SHARE ROW EXCLUSIVE: keeps other writers out, readers stay.
    Replace,
    /// ACCESS EXCLUSIVE: keeps everybody out.
    Truncate,
}

/// Locks a table until the transaction ends, and reads it again under the lock.
///
/// # Errors
/// [`ErrorKind::NotFound`](crate::error::ErrorKind::NotFound) when it has just gone, else what
/// PostgreSQL said.
pub async fn lock_relation(
    transaction: &Transaction,
    name: &QualifiedName,
    lock: TableLock,
) -> Result<Relation> {
    transaction
        .execute_all(&sql::lock_table(name, lock))
        .await
        .map_err(|error| error.with_table(name))?;
    let table = TableName {
        schema: Some(name.schema.clone()),
        name: name.name.clone(),
    };
    find_relation(transaction, &table).await?.ok_or_else(|| {
        Error::not_found(format!("table {name} has just been dropped")).with_table(name)
    })
}

/// Reads a staging table.
///
/// # Errors
/// [`ErrorKind::NotFound`](crate::error::ErrorKind::NotFound) when it is gone: the write has ended.
pub async fn staging_relation(
    transaction: &Transaction,
    staging: &QualifiedName,
) -> Result<Relation> {
    let row = transaction
        .query_opt(FIND, &[&staging.schema.as_str(), &staging.name.as_str()])
        .await?
        .ok_or_else(|| {
            Error::not_found(format!(
                "the staging table {staging} is gone: its write has ended"
            ))
        })?;
    let named = [(row.get::<_, u32>(0), staging.clone())];
    relations(transaction, &named)
        .await?
        .pop()
        .ok_or_else(|| Error::internal("the catalog gave no relation"))
}

/// All tables that the server's role may INSERT into, by name.
///
/// # Errors
/// What PostgreSQL or the connection said.
pub async fn writable_relations(transaction: &Transaction) -> Result<Vec<Relation>> {
    let rows = transaction.query(LIST, &[]).await?;
    let named = rows
        .iter()
        .map(|row| {
            Ok((
                row.get::<_, u32>(0),
                qualified_name(row.get(1), row.get(2))?,
            ))
        })
        .collect::<Result<Vec<_>>>()?;
    relations(transaction, &named).await
}

/// A table whose name differs in case alone, or that has the same name in another schema.
///
/// # Errors
/// What PostgreSQL or the connection said.
pub async fn similar_relation(
    transaction: &Transaction,
    table: &TableName,
) -> Result<Option<QualifiedName>> {
    let schema = table.schema.as_ref().map(Ident::as_str);
    let row = transaction
        .query_opt(SIMILAR, &[&schema, &table.name.as_str()])
        .await?;
    row.map(|row| qualified_name(row.get(0), row.get(1)))
        .transpose()
}

/// The schema that CREATE TABLE would use for a name without one.
///
/// # Errors
/// [`ErrorKind::NotFound`](crate::error::ErrorKind::NotFound) when the search_path has none.
pub(super) async fn current_schema(transaction: &Transaction) -> Result<Ident> {
    let row = transaction
        .query_one("SELECT pg_catalog.current_schema()::text", &[])
        .await?;
    match row.get::<_, Option<String>>(0) {
        Some(schema) => Ident::new(schema),
        None => Err(Error::not_found(
            "the search_path names no schema that exists; name the table as schema.table",
        )),
    }
}

const FIND: &str = "
    SELECT c.oid, n.nspname::text, c.relname::text, c.relkind
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relname = $2::text
      AND CASE WHEN $1::text IS NULL THEN pg_catalog.pg_table_is_visible(c.oid) ELSE n.nspname = $1::text END
      AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S', 'c')";

const SIMILAR: &str = "
    SELECT n.nspname::text, c.relname::text
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE pg_catalog.lower(c.relname) = pg_catalog.lower($2::text) AND c.relkind IN ('r', 'p')
      AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast', 'pgflight')
    ORDER BY pg_catalog.lower(n.nspname) = pg_catalog.lower($1::text) DESC NULLS LAST, 1, 2 LIMIT 1";

const LIST: &str = "
    SELECT c.oid, n.nspname::text, c.relname::text
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition
      AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast', 'pgflight')
      AND n.nspname NOT LIKE 'pg\\_temp\\_%' AND c.relname NOT LIKE '\\_pgflight\\_%'
      AND pg_catalog.has_schema_privilege(n.oid, 'USAGE')
      AND pg_catalog.has_table_privilege(c.oid, 'INSERT')
    ORDER BY 2, 3";

const COLUMNS: &str = "
    SELECT a.attrelid, a.attname::text, a.atttypid,
           a.atttypmod,
           a.attnotnull OR t.typnotnull,
           (a.atthasdef AND a.attgenerated = '') OR a.attidentity <> '',
           a.attgenerated <> '', a.attidentity = 'a'
    FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
    WHERE a.attrelid = ANY($1::oid[]) AND a.attnum > 0 AND NOT a.attisdropped
    ORDER BY a.attrelid, a.attnum";

/// The types of the columns, the base types of domains and the element types of arrays.
const TYPES: &str = "
    WITH RECURSIVE used(oid) AS (
        SELECT a.atttypid FROM pg_catalog.pg_attribute a
        WHERE a.attrelid = ANY($1::oid[]) AND a.attnum > 0 AND NOT a.attisdropped
      UNION
        SELECT CASE WHEN t.typtype = 'd' THEN t.typbasetype ELSE t.typelem END
        FROM used JOIN pg_catalog.pg_type t USING (oid)
        WHERE t.typtype = 'd' OR t.typelem <> 0)
    SELECT t.oid, n.nspname = 'pg_catalog', t.typname::text, t.typtype,
           CASE WHEN t.typtype = 'd' THEN t.typbasetype ELSE 0 END,
           CASE WHEN t.typlen = -1 AND t.typsubscript = 'pg_catalog.array_subscript_handler'::pg_catalog.regproc
                THEN t.typelem ELSE 0 END,
           pg_catalog.format_type(t.oid, NULL),
           ARRAY(SELECT e.enumlabel::text FROM pg_catalog.pg_enum e
                 WHERE e.enumtypid = t.oid ORDER BY e.enumsortorder),
           t.typtypmod
    FROM used JOIN pg_catalog.pg_type t USING (oid) JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace";

fn qualified_name(schema: String, name: String) -> Result<QualifiedName> {
    Ok(QualifiedName {
        schema: Ident::new(schema)?,
        name: Ident::new(name)?,
    })
}

fn check_writable(name: &QualifiedName, relkind: i8) -> Result<()> {
    if matches!(
        name.schema.as_str(),
        "pg_catalog" | "information_schema" | "pg_toast" | "pgflight"
    ) {
        return Err(
            Error::permission_denied(format!("{name} is not a table for data")).with_table(name),
        );
    }
    let kind = match u8::try_from(relkind) {
        Ok(b'r' | b'p') => return Ok(()),
        Ok(b'v') => "a view",
        Ok(b'm') => "a materialized view",
        Ok(b'f') => "a foreign table",
        Ok(b'S') => "a sequence",
        _ => "a composite type",
    };
    Err(
        Error::unsupported(format!("{name} is {kind}; only tables can be written"))
            .with_table(name),
    )
}

async fn relations(
    transaction: &Transaction,
    named: &[(u32, QualifiedName)],
) -> Result<Vec<Relation>> {
    let oids: Vec<u32> = named.iter().map(|(oid, _)| *oid).collect();
    let types: HashMap<u32, Row> = transaction
        .query(TYPES, &[&oids])
        .await?
        .into_iter()
        .map(|row| (row.get::<_, u32>(0), row))
        .collect();
    let mut columns: HashMap<u32, Vec<Column>> = HashMap::new();
    for row in transaction.query(COLUMNS, &[&oids]).await? {
        columns.entry(row.get(0)).or_default().push(Column {
            name: Ident::new(row.get::<_, String>(1))?,
            ty: resolve_type(row.get(2), &types)?,
            typmod: row.get(3),
            nullable: !row.get::<_, bool>(4),
            has_default: row.get(5),
            generated: row.get(6),
            identity_always: row.get(7),
        });
    }
    Ok(named
        .iter()
        .map(|(oid, name)| Relation {
            oid: *oid,
            name: name.clone(),
            columns: columns.remove(oid).unwrap_or_default(),
        })
        .collect())
}

fn resolve_type(oid: u32, types: &HashMap<u32, Row>) -> Result<PgType> {
    let row = types
        .get(&oid)
        .ok_or_else(|| Error::internal(format!("the catalog has no type with OID {oid}")))?;
    let (base, element): (u32, u32) = (row.get(4), row.get(5));
    let kind = if base != 0 {
        PgTypeKind::Domain {
            base: Box::new(resolve_type(base, types)?),
            typmod: row.get(8),
        }
    } else if element != 0 {
        PgTypeKind::Array(Box::new(resolve_type(element, types)?))
    } else if u8::try_from(row.get::<_, i8>(3)) == Ok(b'e') {
        PgTypeKind::Enum(row.get(7))
    } else if row.get(1) {
        builtin(row.get(2))
    } else {
        PgTypeKind::Other
    };
    Ok(PgType {
        oid,
        name: row.get(6),
        kind,
    })
}

fn builtin(typname: &str) -> PgTypeKind {
    match typname {
        "bool" => PgTypeKind::Bool,
        "int2" => PgTypeKind::Int2,
        "int4" => PgTypeKind::Int4,
        "int8" => PgTypeKind::Int8,
        "oid" => PgTypeKind::Oid,
        "float4" => PgTypeKind::Float4,
        "float8" => PgTypeKind::Float8,
        "numeric" => PgTypeKind::Numeric,
        "text" => PgTypeKind::Text,
        "varchar" => PgTypeKind::Varchar,
        "bpchar" => PgTypeKind::Bpchar,
        "name" => PgTypeKind::Name,
        "bytea" => PgTypeKind::Bytea,
        "json" => PgTypeKind::Json,
        "jsonb" => PgTypeKind::Jsonb,
        "uuid" => PgTypeKind::Uuid,
        "date" => PgTypeKind::Date,
        "time" => PgTypeKind::Time,
        "timestamp" => PgTypeKind::Timestamp,
        "timestamptz" => PgTypeKind::Timestamptz,
        "interval" => PgTypeKind::Interval,
        _ => PgTypeKind::Other,
    }
}
