//! When two keys are the same: as the unique index on them has it, else as their type has it.
//!
//! An operator class says that, and only a superuser can make one. What `=` finds by the search_path anybody
//! can make who may create in a schema of it.

use super::parameter::Parameter;
use super::transaction::Transaction;
use crate::error::{Error, Result};
use crate::plan::{Ident, Relation};

/// How a key is compared, as SQL that means the same under every path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Equality {
    key: Ident,
    operator: String,
    /// The type that the operator takes, where the column has another that PostgreSQL would convert: with the
    /// column's own, an operator that fits it better could be found.
    operand: Option<String>,
}

impl Equality {
    /// That the key is the same in rows of two tables, which are named so.
    pub(super) fn between(&self, left: &str, right: &str) -> String {
        let operand = match &self.operand {
            Some(operand) => format!("::{operand}"),
            None => String::new(),
        };
        let (key, operator) = (&self.key, &self.operator);
        format!("{left}.{key}{operand} {operator} {right}.{key}{operand}")
    }
}

/// How the keys of a table are compared.
///
/// # Errors
/// [`ErrorKind::SchemaMismatch`](crate::error::ErrorKind::SchemaMismatch) for a type without a btree operator
/// class, as json has none.
pub(super) async fn equalities(
    transaction: &Transaction,
    target: &Relation,
    keys: &[Ident],
) -> Result<Vec<Equality>> {
    let names: Vec<&str> = keys.iter().map(Ident::as_str).collect();
    let parameters: [&dyn Parameter; 2] = [&target.oid, &names];
    let rows = transaction.query(EQUALITIES, &parameters).await?;
    let found = rows.iter().map(|row| {
        Ok(Equality {
            key: Ident::new(row.get::<_, String>(0))?,
            operator: row.get(1),
            operand: row.get(2),
        })
    });
    let found = found.collect::<Result<Vec<_>>>()?;
    let missing = keys
        .iter()
        .find(|key| found.iter().all(|equality| equality.key != **key));
    match missing {
        None => Ok(found),
        Some(key) => Err(Error::schema_mismatch(format!(
            "the key {key} of {} is of a type whose values cannot be compared; name other columns, or change the \
             column's type",
            target.name
        ))
        .with_table(&target.name)
        .with_column(key.as_str())),
    }
}

/// The default class of a type is found as `GetDefaultOpClass` (commands/indexcmds.c) finds it: the one of the type
/// itself, else of a type that its values are as they are, a preferred one first, or of all arrays, enums and so on.
const EQUALITIES: &str = "
    WITH RECURSIVE keys AS (
        SELECT k.name, k.number, a.attnum, a.atttypid
        FROM pg_catalog.unnest($2::pg_catalog.text[]) WITH ORDINALITY k(name, number)
        JOIN pg_catalog.pg_attribute a ON a.attrelid OPERATOR(pg_catalog.=) $1
         AND a.attname OPERATOR(pg_catalog.=) k.name AND NOT a.attisdropped),
    resolved(number, type) AS (
        SELECT number, atttypid FROM keys
      UNION ALL
        SELECT r.number, t.typbasetype FROM resolved r
        JOIN pg_catalog.pg_type t ON t.oid OPERATOR(pg_catalog.=) r.type AND t.typtype OPERATOR(pg_catalog.=) 'd'),
    unique_index AS (
        SELECT i.indexrelid, i.indkey::pg_catalog.int2[] AS numbers, i.indclass::pg_catalog.oid[] AS classes
        FROM pg_catalog.pg_index i
        WHERE i.indrelid OPERATOR(pg_catalog.=) $1 AND i.indisunique AND i.indisvalid AND i.indimmediate
          AND i.indpred IS NULL AND i.indexprs IS NULL
          AND NOT EXISTS (
              SELECT FROM ROWS FROM (pg_catalog.unnest(i.indkey::pg_catalog.int2[]),
                                      pg_catalog.unnest(i.indcollation::pg_catalog.oid[])) k(attnum, coll)
              JOIN pg_catalog.pg_attribute a ON a.attrelid OPERATOR(pg_catalog.=) i.indrelid
               AND a.attnum OPERATOR(pg_catalog.=) k.attnum
              WHERE k.coll OPERATOR(pg_catalog.<>) a.attcollation)
          AND (SELECT pg_catalog.array_agg(n ORDER BY n)
               FROM pg_catalog.unnest((i.indkey::pg_catalog.int2[])[0:i.indnkeyatts OPERATOR(pg_catalog.-) 1]) n)
              OPERATOR(pg_catalog.=) (SELECT pg_catalog.array_agg(attnum ORDER BY attnum) FROM keys)
        ORDER BY i.indisprimary DESC, i.indexrelid LIMIT 1),
    indexed AS (
        SELECT c.attnum, c.class FROM unique_index u
        CROSS JOIN LATERAL ROWS FROM (pg_catalog.unnest(u.numbers), pg_catalog.unnest(u.classes)) c(attnum, class))
    SELECT k.name,
           pg_catalog.format('OPERATOR(%I.%s)', n.nspname, o.oprname),
           CASE WHEN p.typtype OPERATOR(pg_catalog.<>) 'p'
                THEN CASE WHEN p.oid OPERATOR(pg_catalog.<>) k.atttypid
                          THEN pg_catalog.format('%I.%I', pn.nspname, p.typname) END
                WHEN t.oid OPERATOR(pg_catalog.<>) k.atttypid
                THEN pg_catalog.format('%I.%I', tn.nspname, t.typname) END
    FROM keys k
    JOIN resolved r ON r.number OPERATOR(pg_catalog.=) k.number
    JOIN pg_catalog.pg_type t ON t.oid OPERATOR(pg_catalog.=) r.type AND t.typtype OPERATOR(pg_catalog.<>) 'd'
    JOIN pg_catalog.pg_namespace tn ON tn.oid OPERATOR(pg_catalog.=) t.typnamespace
    JOIN pg_catalog.pg_opclass c ON c.oid OPERATOR(pg_catalog.=) COALESCE(
        (SELECT i.class FROM indexed i WHERE i.attnum OPERATOR(pg_catalog.=) k.attnum),
        (SELECT d.oid FROM pg_catalog.pg_opclass d
         JOIN pg_catalog.pg_am m ON m.oid OPERATOR(pg_catalog.=) d.opcmethod
          AND m.amname OPERATOR(pg_catalog.=) 'btree'
         JOIN pg_catalog.pg_type dt ON dt.oid OPERATOR(pg_catalog.=) d.opcintype
         WHERE d.opcdefault
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
         ORDER BY d.opcintype OPERATOR(pg_catalog.=) t.oid DESC, dt.typispreferred DESC, d.opcintype LIMIT 1))
    JOIN pg_catalog.pg_amop a ON a.amopfamily OPERATOR(pg_catalog.=) c.opcfamily
     AND a.amoplefttype OPERATOR(pg_catalog.=) c.opcintype AND a.amoprighttype OPERATOR(pg_catalog.=) c.opcintype
     AND a.amopstrategy OPERATOR(pg_catalog.=) 3
    JOIN pg_catalog.pg_operator o ON o.oid OPERATOR(pg_catalog.=) a.amopopr
    JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) o.oprnamespace
    JOIN pg_catalog.pg_type p ON p.oid OPERATOR(pg_catalog.=) o.oprleft
    JOIN pg_catalog.pg_namespace pn ON pn.oid OPERATOR(pg_catalog.=) p.typnamespace
    ORDER BY k.number";
