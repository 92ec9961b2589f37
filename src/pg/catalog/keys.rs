//! The comparison of keys: by the unique index on them, or else by their type.
//!
//! Both have an operator class, which only a superuser can create. The operator `=` without a schema would be resolved
//! by the search_path, where any role that may create objects could have its own.

use super::facts::unique_keys;
use super::look::Table;
use super::trust::check_named;
use crate::error::{Error, Result};
use crate::pg::sql::{Equality, Keys};
use crate::pg::transaction::{Parameter, Transaction};
use arrow_pgcopy::{Ident, Relation};

impl Keys {
    /// Checks that ON CONFLICT can use these keys.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`](crate::error::ErrorKind::Unsupported) for a view;
    /// [`ErrorKind::SchemaMismatch`](crate::error::ErrorKind::SchemaMismatch) with the unique indexes of the table and the
    /// SQL that creates this one.
    pub async fn check_unique_index(&self, transaction: &Transaction, table: &Table) -> Result<()> {
        if self.has_unique_index {
            return Ok(());
        }
        let name = &table.relation.name;
        if table.is_view {
            return Err(Error::unsupported("a view has no unique index")
                .with_hint(
                    "write to the table behind the view, or use update_only or delete_by_key",
                )
                .with_table(name));
        }
        let keys: Vec<String> = self.names().map(ToString::to_string).collect();
        let keys = keys.join(", ");
        let unique = unique_keys(transaction, table.relation.oid).await?;
        let hint = match unique.is_empty() {
            true => "create the index, or name other keys".to_owned(),
            false => format!(
                "name the keys of a unique index of the table, ({}), or create the index",
                unique.join("), (")
            ),
        };
        Err(
            Error::schema_mismatch(format!("the table has no unique index on exactly ({keys})"))
                .with_hint(hint)
                .with_fix_sql(format!("CREATE UNIQUE INDEX ON {name} ({keys});"))
                .with_table(name),
        )
    }
}

/// The primary key of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrimaryKey {
    /// The name of the constraint.
    pub name: String,
    /// Its columns, in the order of the key.
    pub columns: Vec<Ident>,
}

/// Reads the primary key of a table; `None` if it has none.
///
/// # Errors
/// Any error that PostgreSQL reports.
pub async fn primary_key(transaction: &Transaction, table_oid: u32) -> Result<Option<PrimaryKey>> {
    let rows = transaction.query(PRIMARY_KEY, &[&table_oid]).await?;
    let Some(first) = rows.first() else {
        return Ok(None);
    };
    let columns = rows
        .iter()
        .map(|row| Ok(Ident::new(row.get::<_, String>(1))?));
    Ok(Some(PrimaryKey {
        name: first.get(0),
        columns: columns.collect::<Result<_>>()?,
    }))
}

const PRIMARY_KEY: &str = "
    SELECT c.conname::pg_catalog.text, a.attname::pg_catalog.text
    FROM pg_catalog.pg_constraint c
    CROSS JOIN LATERAL pg_catalog.unnest(c.conkey) WITH ORDINALITY k(attnum, number)
    JOIN pg_catalog.pg_attribute a
      ON a.attrelid OPERATOR(pg_catalog.=) c.conrelid AND a.attnum OPERATOR(pg_catalog.=) k.attnum
    WHERE c.conrelid OPERATOR(pg_catalog.=) $1::pg_catalog.oid AND c.contype OPERATOR(pg_catalog.=) 'p'
    ORDER BY k.number";

/// Reads how the keys of a table are compared. `order_by` sorts rows with the same keys, so it must be comparable too.
///
/// # Errors
/// [`ErrorKind::SchemaMismatch`](crate::error::ErrorKind::SchemaMismatch) for a type without a btree operator
/// class, as json has none; the errors of [`check_named`].
pub async fn find_keys(
    transaction: &Transaction,
    target: &Relation,
    keys: &[Ident],
    order_by: Option<&Ident>,
) -> Result<Keys> {
    let names: Vec<&str> = keys.iter().map(Ident::as_str).collect();
    let parameters: [&dyn Parameter; 3] = [&target.oid, &names, &order_by.map(Ident::as_str)];
    let rows = transaction.query(KEYS, &parameters).await?;
    let named: Vec<&str> = rows.iter().map(|row| row.get(0)).collect();
    let missing = keys.iter().chain(order_by);
    for (index, column) in missing.enumerate() {
        if !named.contains(&column.as_str()) {
            let what = if index < keys.len() {
                "key"
            } else {
                "order_by"
            };
            return Err(Error::schema_mismatch(format!(
                "values of the {what} column cannot be compared, by its type"
            ))
            .with_hint("name other columns, or change the column's type, as from json to jsonb")
            .with_table(&target.name)
            .with_column(column.as_str()));
        }
    }
    let mut equalities = Vec::with_capacity(keys.len());
    let (mut operators, mut types) = (Vec::<u32>::new(), Vec::<u32>::new());
    for row in rows.iter().take(keys.len()) {
        operators.push(row.get(2));
        // The operator and its OID.
        let less: Option<Vec<String>> = row.get(6);
        let mut less = less.into_iter().flatten();
        let less_operator = less.next();
        operators.extend(less.next().and_then(|oid| oid.parse::<u32>().ok()));
        let operand: Option<String> = row.get(3);
        types.extend(operand.is_some().then(|| row.get::<_, u32>(4)));
        equalities.push(Equality {
            key: Ident::new(row.get::<_, String>(0))?,
            operator: row.get(1),
            operand,
            less: less_operator,
            inferred: row.get(8),
        });
    }
    check_named(transaction, target, &operators, &types).await?;
    Ok(Keys {
        equalities,
        has_unique_index: rows.first().is_some_and(|row| row.get(5)),
        nulls_are_equal: rows.first().is_some_and(|row| row.get(7)),
        newer: None,
    })
}

/// The head of a query for columns of table `$1`, named by `$2` and `$3`: `keys` has them with their types, `resolved`
/// the types behind domains.
macro_rules! columns {
    () => {
        "
    WITH RECURSIVE keys AS (
        SELECT k.name, k.number, a.attnum, a.atttypid, a.attcollation
        FROM pg_catalog.unnest(pg_catalog.array_append($2::pg_catalog.text[], $3::pg_catalog.text))
             WITH ORDINALITY k(name, number)
        JOIN pg_catalog.pg_attribute a ON a.attrelid OPERATOR(pg_catalog.=) $1
         AND a.attname OPERATOR(pg_catalog.=) k.name AND NOT a.attisdropped),
    resolved(number, type) AS (
        SELECT number, atttypid FROM keys
      UNION ALL
        SELECT r.number, t.typbasetype FROM resolved r
        JOIN pg_catalog.pg_type t ON t.oid OPERATOR(pg_catalog.=) r.type AND t.typtype OPERATOR(pg_catalog.=) 'd')"
    };
}
pub(super) use columns;

/// The default btree class of a type `t`, as in [`KEYS`].
macro_rules! default_class {
    () => {
        "(SELECT d.oid FROM pg_catalog.pg_opclass d
             JOIN pg_catalog.pg_type dt ON dt.oid OPERATOR(pg_catalog.=) d.opcintype
             WHERE d.opcmethod OPERATOR(pg_catalog.=) 403::pg_catalog.oid AND d.opcdefault
               AND (d.opcintype OPERATOR(pg_catalog.=) t.oid
                    OR EXISTS (SELECT FROM pg_catalog.pg_cast x
                               WHERE x.castsource OPERATOR(pg_catalog.=) t.oid
                                 AND x.casttarget OPERATOR(pg_catalog.=) d.opcintype
                                 AND x.castmethod OPERATOR(pg_catalog.=) 'b'
                                 AND x.castcontext OPERATOR(pg_catalog.=) 'i')
                    OR dt.typnamespace OPERATOR(pg_catalog.=) 'pg_catalog'::pg_catalog.regnamespace::pg_catalog.oid
                   AND dt.typname OPERATOR(pg_catalog.=)
                       CASE WHEN t.typtype OPERATOR(pg_catalog.=) 'e' THEN 'anyenum'
                            WHEN t.typtype OPERATOR(pg_catalog.=) 'r' THEN 'anyrange'
                            WHEN t.typtype OPERATOR(pg_catalog.=) 'm' THEN 'anymultirange'
                            WHEN t.typtype OPERATOR(pg_catalog.=) 'c' THEN 'record'
                            WHEN t.typlen OPERATOR(pg_catalog.=) -1
                                 AND t.typelem OPERATOR(pg_catalog.<>) 0::pg_catalog.oid THEN 'anyarray' END)
             ORDER BY d.opcintype OPERATOR(pg_catalog.=) t.oid DESC, dt.typispreferred DESC, d.opcintype LIMIT 1)"
    };
}
pub(super) use default_class;

/// Reads the comparisons. The default class of a type is the one that `GetDefaultOpClass` (commands/indexcmds.c) finds:
/// that of the type itself, or else of a binary-coercible type, a preferred one first, or of all arrays, enums and so
/// on. The OID of btree is 403 in every version (`pg_am.dat`).
///
/// Before PostgreSQL 15, `pg_index` has no column about NULL, so the query reads it from the row as JSON.
///
/// PostgreSQL plans the query for each write, which takes longer than to run it: few joins at each level.
const KEYS: &str = concat!(
    columns!(),
    ",
    unique_indexes AS (
        SELECT i.indexrelid, i.indkey::pg_catalog.int2[] AS numbers, i.indclass::pg_catalog.oid[] AS classes,
            n.nulls_are_equal, i.indisprimary, i.indimmediate AND NOT EXISTS (
              SELECT FROM ROWS FROM (pg_catalog.unnest(i.indkey::pg_catalog.int2[]),
                                      pg_catalog.unnest(i.indcollation::pg_catalog.oid[])) k(attnum, coll)
              JOIN pg_catalog.pg_attribute a ON a.attrelid OPERATOR(pg_catalog.=) i.indrelid
               AND a.attnum OPERATOR(pg_catalog.=) k.attnum
              WHERE k.coll OPERATOR(pg_catalog.<>) a.attcollation) AS fits
        FROM pg_catalog.pg_index i
        CROSS JOIN LATERAL (SELECT COALESCE((pg_catalog.to_jsonb(i) OPERATOR(pg_catalog.->>) 'indnullsnotdistinct')
                                            ::pg_catalog.bool, false)) n(nulls_are_equal)
        WHERE i.indrelid OPERATOR(pg_catalog.=) $1 AND i.indisunique AND NOT i.indisexclusion
          AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL
          AND (SELECT pg_catalog.array_agg(n ORDER BY n)
               FROM pg_catalog.unnest((i.indkey::pg_catalog.int2[])[0:i.indnkeyatts OPERATOR(pg_catalog.-) 1]) n)
              OPERATOR(pg_catalog.=) (
                  SELECT pg_catalog.array_agg(attnum ORDER BY attnum) FROM keys
                  WHERE number OPERATOR(pg_catalog.<=) pg_catalog.cardinality($2::pg_catalog.text[]))),
    unique_index AS (
        SELECT * FROM unique_indexes WHERE fits
        ORDER BY nulls_are_equal DESC, indisprimary DESC, indexrelid LIMIT 1),
    indexed AS (
        SELECT c.attnum, c.class FROM unique_index u
        CROSS JOIN LATERAL ROWS FROM (pg_catalog.unnest(u.numbers), pg_catalog.unnest(u.classes)) c(attnum, class)),
    classes AS (
        SELECT k.name, k.number, k.atttypid, k.attcollation, t.oid AS type, t.typnamespace, t.typname,
            (SELECT i.class FROM indexed i WHERE i.attnum OPERATOR(pg_catalog.=) k.attnum) AS indexed,
            ",
    default_class!(),
    " AS usual
        FROM keys k
        JOIN resolved r ON r.number OPERATOR(pg_catalog.=) k.number
        JOIN pg_catalog.pg_type t ON t.oid OPERATOR(pg_catalog.=) r.type AND t.typtype OPERATOR(pg_catalog.<>) 'd'
        OFFSET 0)
    SELECT k.name,
           pg_catalog.format('OPERATOR(%s.%s)', o.oprnamespace::pg_catalog.regnamespace, o.oprname), o.oid,
           CASE WHEN p.typtype OPERATOR(pg_catalog.<>) 'p'
                THEN CASE WHEN p.oid OPERATOR(pg_catalog.<>) k.atttypid
                          THEN pg_catalog.format('%s.%I', p.typnamespace::pg_catalog.regnamespace, p.typname) END
                WHEN k.type OPERATOR(pg_catalog.<>) k.atttypid
                THEN pg_catalog.format('%s.%I', k.typnamespace::pg_catalog.regnamespace, k.typname) END,
           CASE WHEN p.typtype OPERATOR(pg_catalog.<>) 'p' THEN p.oid ELSE k.type END,
           EXISTS (SELECT FROM unique_index),
           CASE WHEN NOT EXISTS (SELECT FROM pg_catalog.pg_opclass u
                                 WHERE u.oid OPERATOR(pg_catalog.=) k.usual
                                   AND u.opcfamily OPERATOR(pg_catalog.=) c.opcfamily)
                THEN (SELECT ARRAY[pg_catalog.format('OPERATOR(%s.%s)', l.oprnamespace::pg_catalog.regnamespace, l.oprname),
                                   l.oid::pg_catalog.text]
                      FROM pg_catalog.pg_amop b JOIN pg_catalog.pg_operator l ON l.oid OPERATOR(pg_catalog.=) b.amopopr
                      WHERE b.amopfamily OPERATOR(pg_catalog.=) c.opcfamily
                        AND b.amoplefttype OPERATOR(pg_catalog.=) c.opcintype
                        AND b.amoprighttype OPERATOR(pg_catalog.=) c.opcintype
                        AND b.amopstrategy OPERATOR(pg_catalog.=) 1) END,
           EXISTS (SELECT FROM unique_index u WHERE u.nulls_are_equal),
           CASE WHEN (SELECT pg_catalog.count(*) FROM unique_indexes) OPERATOR(pg_catalog.>) 1
                THEN pg_catalog.concat(
                    (SELECT pg_catalog.format(' COLLATE %s.%I', x.collnamespace::pg_catalog.regnamespace, x.collname)
                     FROM pg_catalog.pg_collation x WHERE x.oid OPERATOR(pg_catalog.=) k.attcollation),
                    pg_catalog.format(' %s.%I', c.opcnamespace::pg_catalog.regnamespace, c.opcname))
                ELSE '' END
    FROM classes k
    JOIN pg_catalog.pg_opclass c ON c.oid OPERATOR(pg_catalog.=) COALESCE(k.indexed, k.usual)
    JOIN pg_catalog.pg_amop a ON a.amopfamily OPERATOR(pg_catalog.=) c.opcfamily
     AND a.amoplefttype OPERATOR(pg_catalog.=) c.opcintype AND a.amoprighttype OPERATOR(pg_catalog.=) c.opcintype
     AND a.amopstrategy OPERATOR(pg_catalog.=) 3
    JOIN pg_catalog.pg_operator o ON o.oid OPERATOR(pg_catalog.=) a.amopopr
    JOIN pg_catalog.pg_type p ON p.oid OPERATOR(pg_catalog.=) o.oprleft
    ORDER BY k.number"
);
