//! The row of the query about a table.

use tokio_postgres::Row;

use super::{Table, VIEW};
use crate::error::{Error, Result};
use crate::pg::catalog::types::{Room, types};
use crate::pg::transaction::Transaction;
use arrow_pgcopy::{Column, Ident, PgType, QualifiedName, Relation};

/// One column of a row of [`LOOK`](super::LOOK): its name, the OID of its type, its typmod, whether it is not null, has a default, is
/// generated, is GENERATED ALWAYS AS IDENTITY, is dropped, and the xmin of its row.
type Attribute = (String, u32, i32, bool, bool, bool, bool, bool, String);

/// Reads a row of [`LOOK`](super::LOOK). Queries the types of the columns only if one of them is not built in.
pub(super) async fn read(
    transaction: &Transaction,
    row: &Row,
    name: QualifiedName,
) -> Result<Table> {
    let oid: u32 = row.get(0);
    let mut version: String = row.get(8);
    let mut attributes = Vec::new();
    for text in row.get::<_, Vec<&str>>(9) {
        let attribute: Attribute = serde_json::from_str(text).map_err(|error| {
            Error::internal("the catalog describes a column in an unknown form").with_source(error)
        })?;
        version.push(' ');
        version.push_str(&attribute.8);
        attributes.push(attribute);
    }
    attributes.retain(|attribute| !attribute.7);
    let builtin: Option<Vec<(PgType, bool)>> = attributes
        .iter()
        .map(|attribute| Some((PgType::builtin(attribute.1)?, false)))
        .collect();
    let column_types = match builtin {
        Some(types) => types,
        None => {
            let types = types(transaction, &[oid]).await?;
            let mut room = Room::default();
            let resolved = attributes.iter().map(|attribute| {
                let ty = types.resolve(attribute.1, &mut room)?;
                Ok((ty, types.rejects_null(attribute.1)))
            });
            let resolved: Result<_> = resolved.collect();
            resolved.map_err(|error| error.with_table(&name))?
        }
    };
    let mut columns = Vec::with_capacity(attributes.len());
    for (attribute, (ty, rejects_null)) in attributes.into_iter().zip(column_types) {
        let (name, _, typmod, not_null, has_default, generated, identity_always, ..) = attribute;
        columns.push(Column {
            name: Ident::new(name)?,
            ty,
            typmod,
            nullable: !not_null && !rejects_null,
            has_default,
            generated,
            identity_always,
        });
    }
    // PostgreSQL looks up privileges later than the row, and returns NULL for a table that is gone by then.
    let granted: Option<Vec<bool>> = row.get::<_, Vec<Option<bool>>>(6).into_iter().collect();
    let granted = granted.ok_or_else(|| dropped(&name))?;
    let granted = PRIVILEGES.into_iter().zip(granted);
    Ok(Table {
        relation: Relation { oid, name, columns },
        copy_obstacle: row.get(4),
        is_view: row.get::<_, i8>(3) == VIEW,
        is_owned: row.get(5),
        privileges: granted
            .filter_map(|(privilege, is_granted)| is_granted.then_some(privilege))
            .collect(),
        role: row.get(7),
        version,
    })
}

/// The error for a table that another session has dropped since it was found.
pub(in crate::pg) fn dropped(name: &QualifiedName) -> Error {
    Error::not_found("the table was dropped by another session").with_table(name)
}

/// The privileges of a row of [`LOOK`](super::LOOK), in its order.
const PRIVILEGES: [&str; 5] = ["SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE"];
