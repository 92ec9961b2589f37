//! Keyed modes: staged rows change the rows of the target that have the same keys.

use serde::{Deserialize, Serialize};

use super::equality::equalities;
use super::sql;
use super::staging::cast_failed;
use super::transaction::Transaction;
use crate::error::{Error, Result};
use crate::plan::{Ident, Relation};

/// What happens to the rows with the keys of the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum KeyedAction {
    /// Replaced, or added when missing.
    Upsert,
    /// Added when missing, else left alone.
    InsertIfAbsent,
    /// Replaced, else ignored.
    UpdateOnly,
    /// Removed.
    DeleteByKey,
}

/// Rows in a staging table, and how they change the target.
pub struct Merge<'a> {
    /// The target.
    pub target: &'a Relation,
    /// Where the rows are; its columns are those of the data.
    pub staging: &'a Relation,
    /// The transactions that wrote the rows that count, as their `xmin` has them.
    pub xact_ids: &'a [String],
    /// What happens.
    pub action: KeyedAction,
    /// The columns that identify a row.
    pub keys: &'a [Ident],
    /// Which of several rows with the same keys counts.
    pub order_by: Option<&'a Ident>,
}

impl KeyedAction {
    /// Whether it needs a unique index on the keys: what ON CONFLICT is settled by.
    pub fn needs_unique_index(self) -> bool {
        match self {
            Self::Upsert | Self::InsertIfAbsent => true,
            Self::UpdateOnly | Self::DeleteByKey => false,
        }
    }
}

/// Checks that the target has a unique index on exactly these keys, valid, without a condition or
/// expression, and checked row by row.
///
/// # Errors
/// [`ErrorKind::SchemaMismatch`](crate::error::ErrorKind::SchemaMismatch) with the SQL that makes one;
/// [`ErrorKind::Unsupported`](crate::error::ErrorKind::Unsupported) for a view, which has none.
pub async fn check_unique_index(
    transaction: &Transaction,
    target: &Relation,
    keys: &[Ident],
) -> Result<()> {
    let names: Vec<&str> = keys.iter().map(Ident::as_str).collect();
    let row = transaction
        .query_one(UNIQUE_INDEX, &[&target.oid, &names])
        .await?;
    if row.get(0) {
        return Ok(());
    }
    if row.get(1) {
        return Err(Error::unsupported(format!(
            "{} is a view, which has no unique index by which it could be told what is there; write to the table \
             behind it, or use update_only or delete_by_key",
            target.name
        ))
        .with_table(&target.name));
    }
    let keys = keys
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(", ");
    Err(Error::schema_mismatch(format!(
        "table {0} has no unique index on exactly ({keys}); make one: CREATE UNIQUE INDEX ON {0} ({keys})",
        target.name
    ))
    .with_table(&target.name))
}

const UNIQUE_INDEX: &str = "
    SELECT EXISTS (
        SELECT FROM pg_catalog.pg_index i
        WHERE i.indrelid OPERATOR(pg_catalog.=) $1 AND i.indisunique AND i.indisvalid AND i.indimmediate
          AND i.indpred IS NULL AND i.indexprs IS NULL
          AND NOT EXISTS (
              SELECT FROM ROWS FROM (pg_catalog.unnest(i.indkey::pg_catalog.int2[]),
                                      pg_catalog.unnest(i.indcollation::pg_catalog.oid[])) k(attnum, coll)
              JOIN pg_catalog.pg_attribute a ON a.attrelid OPERATOR(pg_catalog.=) i.indrelid
               AND a.attnum OPERATOR(pg_catalog.=) k.attnum
              WHERE k.coll OPERATOR(pg_catalog.<>) a.attcollation)
          AND (SELECT pg_catalog.array_agg(a.attname::pg_catalog.text
                                           ORDER BY a.attname::pg_catalog.text COLLATE pg_catalog.\"C\")
               FROM pg_catalog.pg_attribute a
               WHERE a.attrelid OPERATOR(pg_catalog.=) i.indrelid
                 AND a.attnum OPERATOR(pg_catalog.=)
                     ANY ((i.indkey::pg_catalog.int2[])[0:i.indnkeyatts OPERATOR(pg_catalog.-) 1]))
            OPERATOR(pg_catalog.=)
              (SELECT pg_catalog.array_agg(k ORDER BY k COLLATE pg_catalog.\"C\")
               FROM pg_catalog.unnest($2::pg_catalog.text[]) k)),
        EXISTS (SELECT FROM pg_catalog.pg_class
                WHERE oid OPERATOR(pg_catalog.=) $1 AND relkind OPERATOR(pg_catalog.=) 'v')";

/// Checks that PostgreSQL can tell whether keys are equal, and which of two rows is the later one.
///
/// # Errors
/// [`ErrorKind::SchemaMismatch`](crate::error::ErrorKind::SchemaMismatch) for types that have no such
/// operators, as json has none.
pub async fn check_comparable(
    transaction: &Transaction,
    target: &Relation,
    keys: &[Ident],
    order_by: Option<&Ident>,
) -> Result<()> {
    transaction
        .execute_all_on_rows(&sql::compare_nothing(&target.name, keys, order_by))
        .await
        .map_err(|error| {
            let error = match error.context().sqlstate.as_deref() {
                Some(UNDEFINED_FUNCTION) => Error::schema_mismatch(format!(
                    "the keys or order_by of {} are of a type whose values cannot be compared; name other columns, or \
                     change the column's type, as from json to jsonb",
                    target.name
                ))
                .with_context(|context| context.clone_from(error.context())),
                _ => error,
            };
            error.with_table(&target.name)
        })
}

const UNDEFINED_FUNCTION: &str = "42883";

/// Refuses NULL keys, and several rows with the same keys unless an order settles them; then changes
/// the target.
///
/// # Errors
/// [`ErrorKind::DataRejected`](crate::error::ErrorKind::DataRejected) for such rows, else what
/// PostgreSQL has against them.
pub async fn merge(transaction: &Transaction, merge: &Merge<'_>) -> Result<u64> {
    let rejected = |message: String, sqlstate: &str| {
        Error::data_rejected(message)
            .with_table(&merge.target.name)
            .with_context(|context| context.sqlstate = Some(sqlstate.to_owned()))
    };
    let count = async |statement: String| -> Result<i64> {
        let row = transaction.query_one(&statement, &[&merge.xact_ids]).await;
        let in_target = |error: Error| error.with_table(&merge.target.name);
        Ok(row.map_err(in_target)?.get(0))
    };
    let nulls = count(sql::count_null_keys(&merge.staging.name, merge.keys)).await?;
    if nulls > 0 {
        return Err(rejected(
            format!("{nulls} row(s) have NULL in a key column; remove them or choose other keys"),
            "23502",
        ));
    }
    if merge.order_by.is_none() {
        let doubled = count(sql::count_doubled_keys(&merge.staging.name, merge.keys)).await?;
        if doubled > 0 {
            return Err(rejected(
                format!(
                    "{doubled} key(s) come more than once in the data; make them unique, or name a column in \
                     order_by whose greatest value settles which row counts"
                ),
                "21000",
            ));
        }
    }
    // ON CONFLICT compares as the index does.
    let equalities = match merge.action.needs_unique_index() {
        true => Vec::new(),
        false => equalities(transaction, merge.target, merge.keys).await?,
    };
    let statement = sql::merge(merge, &equalities);
    transaction
        .execute_on_rows(&statement, &[&merge.xact_ids])
        .await
        .map_err(|error| {
            cast_failed(error, merge.target, merge.staging).with_table(&merge.target.name)
        })
}
