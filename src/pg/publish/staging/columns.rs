//! The columns of a staging table: those of its target, or text where PostgreSQL casts on publish.

use std::collections::HashMap;

use crate::error::{Error, Result};
use crate::pg::catalog::check_named;
use crate::pg::transaction::Transaction;
use arrow_pgcopy::schema::ColumnDefinition;
use arrow_pgcopy::{
    Column, ColumnPlan, EncodePlan, FieldPlan, Ident, PgType, QualifiedName, Relation,
};

/// Returns the definitions of these columns in the target, without defaults: type, collation and NOT NULL. A column
/// that PostgreSQL casts on publish is text. Types and collations are named, and a name may come to mean another one, so
/// [`check_copied_types`](crate::pg::catalog::check_copied_types) compares them afterwards.
///
/// # Errors
/// The errors of [`check_named`] for the types that PostgreSQL casts to on publish; any error that PostgreSQL reports.
pub async fn definitions_of<'a>(
    transaction: &Transaction,
    target: &Relation,
    columns: impl IntoIterator<Item = &'a ColumnPlan>,
) -> Result<Vec<ColumnDefinition>> {
    let plans: HashMap<&str, &FieldPlan> = columns
        .into_iter()
        .map(|column| (column.name.as_str(), &column.field))
        .collect();
    let is_cast = |column: &&Column| {
        matches!(
            plans.get(column.name.as_str()),
            Some(FieldPlan::Cast { .. })
        )
    };
    let cast = target.columns.iter().filter(is_cast);
    let types: Vec<u32> = cast.map(|column| column.ty.oid).collect();
    check_named(transaction, target, &[], &types).await?;
    let names: Vec<&str> = plans.keys().copied().collect();
    let rows = transaction
        .query(
            "SELECT attname::pg_catalog.text,
                    pg_catalog.concat(
                        pg_catalog.format_type(atttypid, atttypmod),
                        (SELECT pg_catalog.format(' COLLATE %I.%I', n.nspname, c.collname)
                         FROM pg_catalog.pg_collation c
                         JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.collnamespace
                         WHERE c.oid OPERATOR(pg_catalog.=) attcollation)),
                    attnotnull
             FROM pg_catalog.pg_attribute
             WHERE attrelid OPERATOR(pg_catalog.=) $1 AND attnum OPERATOR(pg_catalog.>) 0
               AND attname OPERATOR(pg_catalog.=) ANY ($2::pg_catalog.text[])
             ORDER BY attnum",
            &[&target.oid, &names],
        )
        .await?;
    rows.iter()
        .map(|row| {
            let name = Ident::new(row.get::<_, String>(0))?;
            let sql_type = match plans.get(name.as_str()) {
                Some(FieldPlan::Cast { array: false }) => "text".to_owned(),
                Some(FieldPlan::Cast { array: true }) => "text[]".to_owned(),
                _ => row.get(1),
            };
            Ok(ColumnDefinition {
                name,
                sql_type,
                not_null: row.get(2),
            })
        })
        .collect()
}

/// Whether a column has a type or collation that is not built in, so that its name may come to mean another one. Those
/// that are built in have OIDs below 16384 (`FirstNormalObjectId`, access/transam.h), and are found first.
pub fn has_named_types(target: &Relation, columns: &[ColumnDefinition]) -> bool {
    let is_named =
        |text: &str| text.contains(" COLLATE ") && !text.contains(" COLLATE pg_catalog.");
    target.columns.iter().any(|column| column.ty.oid >= 16384)
        || columns.iter().any(|column| is_named(&column.sql_type))
}

/// Returns the table with the definitions of [`definitions_of`], which holds the rows of a plan until they are inserted
/// into its target.
///
/// # Errors
/// [`ErrorKind::Internal`](crate::error::ErrorKind::Internal) when text is not a built-in type.
pub fn staged_columns(
    target: &Relation,
    plan: &EncodePlan,
    name: QualifiedName,
) -> Result<Relation> {
    let text =
        |oid| PgType::builtin(oid).ok_or_else(|| Error::internal("text is not a built-in type"));
    let mut columns = Vec::new();
    for column in &target.columns {
        let Some(planned) = plan
            .columns()
            .iter()
            .find(|planned| planned.name == column.name)
        else {
            continue;
        };
        let (ty, typmod) = if let FieldPlan::Cast { array } = planned.field {
            (text(if array { TEXT_ARRAY } else { TEXT })?, -1)
        } else {
            (column.ty.clone(), column.typmod)
        };
        columns.push(Column {
            ty,
            typmod,
            has_default: false,
            generated: false,
            identity_always: false,
            ..column.clone()
        });
    }
    Ok(Relation {
        oid: 0,
        name,
        columns,
    })
}

/// The OIDs of text and of its arrays (catalog/pg_type.dat).
const TEXT: u32 = 25;
const TEXT_ARRAY: u32 = 1009;
