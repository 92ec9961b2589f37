//! Tables as the catalog has them.

use std::collections::HashMap;

use tokio_postgres::Row;

use super::parameter::Parameter;
use super::sql;
use super::staging::SHADOW_PREFIX;
use super::transaction::Transaction;
use crate::error::{Error, Result};
use crate::plan::{
    Attribute, Column, Ident, PgType, PgTypeKind, QualifiedName, Relation, TableName,
};

/// Finds a table by its schema, or through the search_path; one that `is_visible` says no to is not there.
///
/// # Errors
/// [`ErrorKind::PermissionDenied`](crate::error::ErrorKind::PermissionDenied) for the system's and
/// pgflight's own tables, [`ErrorKind::Unsupported`](crate::error::ErrorKind::Unsupported) for
/// views that take no INSERT, foreign tables and the like.
pub async fn find_relation(
    transaction: &Transaction,
    table: &TableName,
    is_visible: impl Fn(&QualifiedName) -> bool,
) -> Result<Option<Relation>> {
    let found = look_up(transaction, table, is_visible).await?;
    if let Some(relation) = &found {
        check_for_data(&relation.name)?;
    }
    Ok(found)
}

/// As [`find_relation`], of tables that are being filled as well.
async fn look_up(
    transaction: &Transaction,
    table: &TableName,
    is_visible: impl Fn(&QualifiedName) -> bool,
) -> Result<Option<Relation>> {
    let schema = table.schema.as_ref().map(Ident::as_str);
    let parameters: [&dyn Parameter; 2] = [&schema, &table.name.as_str()];
    let found = match schema {
        Some(_) => transaction.query_opt(FIND, &parameters).await?,
        None => transaction.query_opt_by_path(FIND, &parameters).await?,
    };
    let Some(row) = found else {
        return Ok(None);
    };
    let oid = row.get::<_, u32>(0);
    let name = qualified_name(row.get(1), row.get(2))?;
    if !is_visible(&name) {
        return Ok(None);
    }
    check_writable(&name, row.get::<_, i8>(3), row.get(4))?;
    if row.get::<_, i8>(3) == VIEW && reaches_ledger(transaction, oid).await? {
        return Err(not_for_data(&name));
    }
    Ok(relations(transaction, &[(oid, name)]).await?.pop())
}

/// The `relkind` of a view.
const VIEW: i8 = b'v'.cast_signed();

/// Whether a view shows tables of pgflight's own, by way of other views as well. A view with `security_invoker` would
/// write them with the rights of the server's login.
async fn reaches_ledger(transaction: &Transaction, view: u32) -> Result<bool> {
    let row = transaction.query_one(REACHES_LEDGER, &[&view]).await?;
    Ok(row.get(0))
}

const REACHES_LEDGER: &str = "
    WITH RECURSIVE shown(oid) AS (
        SELECT $1::pg_catalog.oid
      UNION
        SELECT d.refobjid FROM shown s
        JOIN pg_catalog.pg_rewrite r ON r.ev_class OPERATOR(pg_catalog.=) s.oid
        JOIN pg_catalog.pg_depend d ON d.objid OPERATOR(pg_catalog.=) r.oid
         AND d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_rewrite'::pg_catalog.regclass::pg_catalog.oid
         AND d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass::pg_catalog.oid)
    SELECT EXISTS (
        SELECT FROM shown s JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) s.oid
        JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
        WHERE n.nspname OPERATOR(pg_catalog.=) 'pgflight')";

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
    look_up(transaction, &table, |_| true)
        .await?
        .ok_or_else(|| {
            Error::not_found(format!("table {name} has just been dropped")).with_table(name)
        })
}

/// Checks that the name of a table that this transaction has locked and written is still that of this table. A lock
/// keeps a table from being renamed, and not its schema.
///
/// # Errors
/// [`ErrorKind::Conflict`](crate::error::ErrorKind::Conflict) when the name has become that of another table.
pub async fn check_same_table(transaction: &Transaction, relation: &Relation) -> Result<()> {
    let name = &relation.name;
    let statement = "
        SELECT c.oid FROM pg_catalog.pg_class c
        JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
        WHERE n.nspname OPERATOR(pg_catalog.=) $1::pg_catalog.text
          AND c.relname OPERATOR(pg_catalog.=) $2::pg_catalog.text";
    let parameters: [&dyn Parameter; 2] = [&name.schema.as_str(), &name.name.as_str()];
    let found = transaction.query_opt(statement, &parameters).await?;
    if found.is_some_and(|row| row.get::<_, u32>(0) == relation.oid) {
        return Ok(());
    }
    Err(Error::conflict(format!(
        "{name} became the name of another table while its rows were written; nothing is kept, run the job again"
    ))
    .with_table(name))
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

/// PostGIS's type `geometry`, with its schema, where the database has that extension. Anybody can make a type of
/// that name.
///
/// # Errors
/// What PostgreSQL or the connection said.
pub async fn find_geometry(transaction: &Transaction) -> Result<Option<String>> {
    let row = transaction.query_opt(GEOMETRY, &[]).await?;
    Ok(row.map(|row| row.get(0)))
}

const GEOMETRY: &str = "
    SELECT pg_catalog.format('%I.%I', n.nspname, t.typname)
    FROM pg_catalog.pg_extension e
    JOIN pg_catalog.pg_depend d ON d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_extension'::pg_catalog.regclass
     AND d.refobjid OPERATOR(pg_catalog.=) e.oid AND d.deptype OPERATOR(pg_catalog.=) 'e'
     AND d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_type'::pg_catalog.regclass
    JOIN pg_catalog.pg_type t ON t.oid OPERATOR(pg_catalog.=) d.objid
    JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) t.typnamespace
    WHERE e.extname OPERATOR(pg_catalog.=) 'postgis' AND t.typname OPERATOR(pg_catalog.=) 'geometry'
      AND pg_catalog.has_schema_privilege(n.oid, 'USAGE')";

/// All tables that the current role may INSERT into and that `is_visible` says yes to, by name.
///
/// # Errors
/// What PostgreSQL or the connection said.
pub async fn writable_relations(
    transaction: &Transaction,
    is_visible: impl Fn(&QualifiedName) -> bool,
) -> Result<Vec<Relation>> {
    let rows = transaction.query(LIST, &[]).await?;
    let named = rows
        .iter()
        .map(|row| {
            Ok((
                row.get::<_, u32>(0),
                qualified_name(row.get(1), row.get(2))?,
            ))
        })
        .filter(|named: &Result<(u32, QualifiedName)>| {
            named.as_ref().map_or(true, |(_, name)| is_visible(name))
        })
        .collect::<Result<Vec<_>>>()?;
    relations(transaction, &named).await
}

/// Checks that the server's role has these rights on a table, or on columns of it where GRANT can give
/// them so.
///
/// # Errors
/// [`ErrorKind::PermissionDenied`](crate::error::ErrorKind::PermissionDenied) with the GRANT that is missing.
pub async fn check_rights(
    transaction: &Transaction,
    relation: &Relation,
    rights: &[&str],
) -> Result<()> {
    let row = transaction
        .query_one(
            "SELECT pg_catalog.string_agg(need, ', ' ORDER BY number), pg_catalog.quote_ident(current_user)
             FROM pg_catalog.unnest($2::pg_catalog.text[]) WITH ORDINALITY needed(need, number)
             WHERE NOT CASE WHEN need OPERATOR(pg_catalog.=) ANY (ARRAY['TRUNCATE', 'DELETE'])
                            THEN pg_catalog.has_table_privilege($1::pg_catalog.oid, need)
                            ELSE pg_catalog.has_any_column_privilege($1::pg_catalog.oid, need) END",
            &[&relation.oid, &rights],
        )
        .await?;
    let (missing, role): (Option<String>, String) = (row.get(0), row.get(1));
    match missing {
        None => Ok(()),
        Some(missing) => Err(Error::permission_denied(format!(
            "the server's role may not do what the write needs; GRANT {missing} ON {} TO {role}",
            relation.name
        ))
        .with_table(&relation.name)
        .with_context(|context| context.sqlstate = Some("42501".to_owned()))),
    }
}

/// Tables whose names differ in case alone, or that have the same name in another schema: the nearest first.
///
/// # Errors
/// What PostgreSQL or the connection said.
pub async fn similar_relations(
    transaction: &Transaction,
    table: &TableName,
) -> Result<Vec<QualifiedName>> {
    let schema = table.schema.as_ref().map(Ident::as_str);
    let rows = transaction
        .query(SIMILAR, &[&schema, &table.name.as_str()])
        .await?;
    rows.iter()
        .map(|row| qualified_name(row.get(0), row.get(1)))
        .collect()
}

/// The schema that CREATE TABLE would use for a name without one.
///
/// # Errors
/// [`ErrorKind::NotFound`](crate::error::ErrorKind::NotFound) when the search_path has none.
pub(super) async fn current_schema(transaction: &Transaction) -> Result<Ident> {
    let row = transaction
        .query_opt_by_path("SELECT pg_catalog.current_schema()::pg_catalog.text", &[])
        .await?;
    match row.and_then(|row| row.get::<_, Option<String>>(0)) {
        Some(schema) => Ident::new(schema),
        None => Err(Error::not_found(
            "the search_path names no schema that exists; name the table as schema.table",
        )),
    }
}

/// `pg_relation_is_updatable` has a bit for each command; that of INSERT is `1 << CMD_INSERT`
/// (nodes/nodes.h), also where a view has an INSTEAD OF trigger for it.
const FIND: &str = "
    SELECT c.oid, n.nspname::pg_catalog.text, c.relname::pg_catalog.text, c.relkind,
           (pg_catalog.pg_relation_is_updatable(c.oid, true) OPERATOR(pg_catalog.&) 8) OPERATOR(pg_catalog.<>) 0
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
    WHERE c.relname OPERATOR(pg_catalog.=) $2::pg_catalog.text
      AND CASE WHEN $1::pg_catalog.text IS NULL THEN pg_catalog.pg_table_is_visible(c.oid)
               ELSE n.nspname OPERATOR(pg_catalog.=) $1::pg_catalog.text END
      AND c.relkind OPERATOR(pg_catalog.=)
          ANY (ARRAY['r', 'p', 'v', 'm', 'f', 'S', 'c', 'i', 'I']::pg_catalog.\"char\"[])";

const SIMILAR: &str = "
    SELECT n.nspname::pg_catalog.text, c.relname::pg_catalog.text
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
    WHERE pg_catalog.lower(c.relname) OPERATOR(pg_catalog.=) pg_catalog.lower($2::pg_catalog.text)
      AND c.relkind OPERATOR(pg_catalog.=) ANY (ARRAY['r', 'p']::pg_catalog.\"char\"[])
      AND n.nspname OPERATOR(pg_catalog.<>) ALL (ARRAY['pg_catalog', 'information_schema', 'pg_toast', 'pgflight'])
    ORDER BY pg_catalog.lower(n.nspname) OPERATOR(pg_catalog.=) pg_catalog.lower($1::pg_catalog.text)
             DESC NULLS LAST, 1, 2 LIMIT 100";

const LIST: &str = "
    SELECT c.oid, n.nspname::pg_catalog.text, c.relname::pg_catalog.text
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
    WHERE c.relkind OPERATOR(pg_catalog.=) ANY (ARRAY['r', 'p']::pg_catalog.\"char\"[]) AND NOT c.relispartition
      AND n.nspname OPERATOR(pg_catalog.<>) ALL (ARRAY['pg_catalog', 'information_schema', 'pg_toast', 'pgflight'])
      AND NOT pg_catalog.starts_with(n.nspname, 'pg_temp_') AND NOT pg_catalog.starts_with(c.relname, '_pgflight_')
      AND pg_catalog.has_schema_privilege(n.oid, 'USAGE')
      AND pg_catalog.has_table_privilege(c.oid, 'INSERT')
    ORDER BY 2, 3";

const COLUMNS: &str = "
    SELECT a.attrelid, a.attname::pg_catalog.text, a.atttypid,
           a.atttypmod,
           a.attnotnull OR t.typnotnull,
           (a.atthasdef AND a.attgenerated OPERATOR(pg_catalog.=) '') OR a.attidentity OPERATOR(pg_catalog.<>) '',
           a.attgenerated OPERATOR(pg_catalog.<>) '', a.attidentity OPERATOR(pg_catalog.=) 'a'
    FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid OPERATOR(pg_catalog.=) a.atttypid
    WHERE a.attrelid OPERATOR(pg_catalog.=) ANY ($1::pg_catalog.oid[]) AND a.attnum OPERATOR(pg_catalog.>) 0
      AND NOT a.attisdropped
    ORDER BY a.attrelid, a.attnum";

/// The types of the columns and of what they are made of: domains, arrays, composites, ranges.
///
/// An array type is the one that its element names as its array. The multirange of a range is in a column that
/// PostgreSQL has from 14 on, hence by way of a document.
const TYPES: &str = "
    WITH RECURSIVE used(oid) AS (
        SELECT a.atttypid FROM pg_catalog.pg_attribute a
        WHERE a.attrelid OPERATOR(pg_catalog.=) ANY ($1::pg_catalog.oid[]) AND a.attnum OPERATOR(pg_catalog.>) 0
          AND NOT a.attisdropped
      UNION
        SELECT part.oid FROM used JOIN pg_catalog.pg_type t ON t.oid OPERATOR(pg_catalog.=) used.oid
        CROSS JOIN LATERAL (
            SELECT CASE WHEN t.typtype OPERATOR(pg_catalog.=) 'd' THEN t.typbasetype ELSE t.typelem END
            WHERE t.typtype OPERATOR(pg_catalog.=) 'd' OR t.typelem OPERATOR(pg_catalog.<>) 0::pg_catalog.oid
          UNION ALL
            SELECT a.atttypid FROM pg_catalog.pg_attribute a
            WHERE t.typtype OPERATOR(pg_catalog.=) 'c' AND a.attrelid OPERATOR(pg_catalog.=) t.typrelid
              AND a.attnum OPERATOR(pg_catalog.>) 0 AND NOT a.attisdropped
          UNION ALL
            SELECT r.rngsubtype FROM pg_catalog.pg_range r
            WHERE r.rngtypid OPERATOR(pg_catalog.=) t.oid
               OR t.typtype OPERATOR(pg_catalog.=) 'm'
              AND pg_catalog.jsonb_extract_path_text(pg_catalog.to_jsonb(r), 'rngmultitypid')
                  OPERATOR(pg_catalog.=) t.oid::pg_catalog.text
        ) part(oid))
    SELECT t.oid, p.prosrc, t.typrelid, t.typtype,
           CASE WHEN t.typtype OPERATOR(pg_catalog.=) 'd' THEN t.typbasetype ELSE 0::pg_catalog.oid END,
           CASE WHEN e.typarray OPERATOR(pg_catalog.=) t.oid THEN e.oid ELSE 0::pg_catalog.oid END,
           pg_catalog.format_type(t.oid, NULL),
           ARRAY(SELECT e.enumlabel::pg_catalog.text FROM pg_catalog.pg_enum e
                 WHERE e.enumtypid OPERATOR(pg_catalog.=) t.oid ORDER BY e.enumsortorder),
           t.typtypmod,
           (SELECT r.rngsubtype FROM pg_catalog.pg_range r
            WHERE r.rngtypid OPERATOR(pg_catalog.=) t.oid
               OR t.typtype OPERATOR(pg_catalog.=) 'm'
              AND pg_catalog.jsonb_extract_path_text(pg_catalog.to_jsonb(r), 'rngmultitypid')
                  OPERATOR(pg_catalog.=) t.oid::pg_catalog.text),
           CASE WHEN p.prosrc OPERATOR(pg_catalog.=) 'cash_recv'
                THEN pg_catalog.scale(0::numeric::pg_catalog.money::numeric) END
    FROM used JOIN pg_catalog.pg_type t ON t.oid OPERATOR(pg_catalog.=) used.oid
    LEFT JOIN pg_catalog.pg_proc p ON p.oid OPERATOR(pg_catalog.=) t.typreceive::pg_catalog.oid
    LEFT JOIN pg_catalog.pg_type e ON e.oid OPERATOR(pg_catalog.=) t.typelem";

/// The attributes of composite types, by the relations that stand for these types.
const ATTRIBUTES: &str = "
    SELECT a.attrelid, a.attname::pg_catalog.text, a.atttypid, a.atttypmod
    FROM pg_catalog.pg_attribute a
    WHERE a.attrelid OPERATOR(pg_catalog.=) ANY ($1::pg_catalog.oid[]) AND a.attnum OPERATOR(pg_catalog.>) 0
      AND NOT a.attisdropped
    ORDER BY a.attrelid, a.attnum";

fn qualified_name(schema: String, name: String) -> Result<QualifiedName> {
    Ok(QualifiedName {
        schema: Ident::new(schema)?,
        name: Ident::new(name)?,
    })
}

/// Refuses what is the system's or our own, whoever asks.
///
/// # Errors
/// [`ErrorKind::PermissionDenied`](crate::error::ErrorKind::PermissionDenied).
pub(super) fn check_for_data(name: &QualifiedName) -> Result<()> {
    match name.name.as_str().starts_with(SHADOW_PREFIX) {
        true => Err(not_for_data(name)),
        false => check_schema(name),
    }
}

fn check_schema(name: &QualifiedName) -> Result<()> {
    match name.schema.as_str() {
        "information_schema" | "pgflight" => Err(not_for_data(name)),
        // PostgreSQL keeps such names to itself. A table in pg_temp would stay in one session of the pool and
        // stand before all others of its name there.
        schema if schema.starts_with("pg_") => Err(not_for_data(name)),
        _ => Ok(()),
    }
}

fn not_for_data(name: &QualifiedName) -> Error {
    Error::permission_denied(format!("{name} is not a table for data")).with_table(name)
}

fn check_writable(name: &QualifiedName, relkind: i8, takes_insert: bool) -> Result<()> {
    check_schema(name)?;
    let kind = match u8::try_from(relkind) {
        Ok(b'r' | b'p') => return Ok(()),
        Ok(b'v') if takes_insert => return Ok(()),
        Ok(b'v') => "a view that takes no INSERT",
        Ok(b'm') => "a materialized view",
        Ok(b'f') => "a foreign table",
        Ok(b'S') => "a sequence",
        Ok(b'i' | b'I') => "an index",
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
    let types = types(transaction, &oids).await?;
    let mut columns: HashMap<u32, Vec<Column>> = HashMap::new();
    for row in transaction.query(COLUMNS, &[&oids]).await? {
        columns.entry(row.get(0)).or_default().push(Column {
            name: Ident::new(row.get::<_, String>(1))?,
            ty: types.resolve(row.get(2))?,
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

/// What the catalog says of types.
struct Types {
    by_oid: HashMap<u32, Row>,
    /// Of composite types, by their relation.
    attributes: HashMap<u32, Vec<Row>>,
}

async fn types(transaction: &Transaction, relations: &[u32]) -> Result<Types> {
    let rows = transaction.query(TYPES, &[&relations]).await?;
    let composites: Vec<u32> = rows
        .iter()
        .map(|row| row.get::<_, u32>(2))
        .filter(|relation| *relation != 0)
        .collect();
    let mut attributes: HashMap<u32, Vec<Row>> = HashMap::new();
    if !composites.is_empty() {
        for row in transaction.query(ATTRIBUTES, &[&composites]).await? {
            attributes.entry(row.get(0)).or_default().push(row);
        }
    }
    let by_oid = rows.into_iter().map(|row| (row.get(0), row)).collect();
    Ok(Types { by_oid, attributes })
}

impl Types {
    /// A type with all that it is made of. PostgreSQL lets no type contain itself.
    fn resolve(&self, oid: u32) -> Result<PgType> {
        let row = self
            .by_oid
            .get(&oid)
            .ok_or_else(|| Error::internal(format!("the catalog has no type with OID {oid}")))?;
        let inner = |oid: u32| self.resolve(oid).map(Box::new);
        let (base, element): (u32, u32) = (row.get(4), row.get(5));
        let subtype: Option<u32> = row.get(9);
        let kind = match (u8::try_from(row.get::<_, i8>(3)), subtype) {
            (Ok(b'd'), _) => PgTypeKind::Domain {
                base: inner(base)?,
                typmod: row.get(8),
            },
            _ if element != 0 => PgTypeKind::Array(inner(element)?),
            (Ok(b'e'), _) => PgTypeKind::Enum(row.get(7)),
            (Ok(b'c'), _) => PgTypeKind::Composite(self.attributes(row.get(2))?),
            (Ok(b'r'), Some(subtype)) => PgTypeKind::Range(inner(subtype)?),
            (Ok(b'm'), Some(subtype)) => PgTypeKind::Multirange(inner(subtype)?),
            _ => base_type(row.get(1), row.get(10)),
        };
        Ok(PgType {
            oid,
            name: row.get(6),
            kind,
        })
    }

    fn attributes(&self, relation: u32) -> Result<Vec<Attribute>> {
        let rows = self.attributes.get(&relation).into_iter().flatten();
        rows.map(|row| {
            Ok(Attribute {
                name: row.get(1),
                ty: self.resolve(row.get(2))?,
                typmod: row.get(3),
            })
        })
        .collect()
    }
}

/// A base type, by the C function that receives its binary form: `citext`, which has a name of its
/// own for that of `text`, is text.
/// A type without a receive function has no binary form.
fn base_type(receive: Option<&str>, fraction_digits: Option<i32>) -> PgTypeKind {
    use PgTypeKind as K;
    match receive.unwrap_or_default() {
        "boolrecv" => K::Bool,
        "int2recv" => K::Int2,
        "int4recv" => K::Int4,
        "int8recv" => K::Int8,
        "oidrecv" | "xidrecv" | "cidrecv" => K::Oid,
        "xid8recv" => K::Xid8,
        "float4recv" => K::Float4,
        "float8recv" => K::Float8,
        "numeric_recv" => K::Numeric,
        "cash_recv" => K::Money {
            fraction_digits: fraction_digits
                .and_then(|digits| u8::try_from(digits).ok())
                .unwrap_or_default(),
        },
        // The text of an xml document is checked by the server.
        "textrecv" | "xml_recv" => K::Text,
        "varcharrecv" => K::Varchar,
        "bpcharrecv" => K::Bpchar,
        "namerecv" => K::Name,
        "bytearecv" => K::Bytea,
        "json_recv" => K::Json,
        "jsonb_recv" => K::Jsonb,
        "uuid_recv" => K::Uuid,
        "date_recv" => K::Date,
        "time_recv" => K::Time,
        "timetz_recv" => K::Timetz,
        "timestamp_recv" => K::Timestamp,
        "timestamptz_recv" => K::Timestamptz,
        "interval_recv" => K::Interval,
        "bit_recv" => K::Bit,
        "varbit_recv" => K::Varbit,
        "inet_recv" => K::Inet,
        "cidr_recv" => K::Cidr,
        "macaddr_recv" => K::Macaddr,
        "macaddr8_recv" => K::Macaddr8,
        "jsonpath_recv" | "ltree_recv" | "lquery_recv" | "ltxtq_recv" => K::VersionedText,
        "hstore_recv" => K::Hstore,
        "vector_recv" => K::Vector,
        "halfvec_recv" => K::Halfvec,
        "sparsevec_recv" => K::Sparsevec,
        "point_recv" => K::Point,
        "geometry_recv" | "geography_recv" => K::Geometry,
        _ => K::Other,
    }
}
