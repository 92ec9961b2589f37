//! Values that came out of PostgreSQL in its own binary form and go back as they are.
//!
//! ADBC's driver for PostgreSQL hands out types that it does not know so: binary, with the extension
//! type [`arrow.opaque`](https://arrow.apache.org/docs/format/CanonicalExtensions.html#opaque).

use arrow_schema::Field;
use serde::Deserialize;

use super::field_plan::FieldPlan;
use super::mapping::Refusal;
use super::relation::PgType;

/// Arrow's keys for the name of an extension type and for what belongs to it.
const NAME_KEY: &str = "ARROW:extension:name";
const METADATA_KEY: &str = "ARROW:extension:metadata";

#[derive(Deserialize)]
struct Metadata {
    type_name: String,
    vendor_name: String,
}

/// The PostgreSQL type that a field says its binary values are of.
pub(super) fn type_name(field: &Field) -> Option<String> {
    let metadata = field.metadata();
    if metadata.get(NAME_KEY)? != "arrow.opaque" {
        return None;
    }
    let opaque: Metadata = serde_json::from_str(metadata.get(METADATA_KEY)?).ok()?;
    (opaque.vendor_name == "PostgreSQL").then_some(opaque.type_name)
}

/// Takes the bytes as they are when the column is of the same type, with its schema or without.
pub(super) fn plan(name: &str, ty: &PgType) -> Result<FieldPlan, Refusal> {
    let base = ty.base();
    let bare = base
        .name
        .rsplit_once('.')
        .map_or(base.name.as_str(), |(_, bare)| bare);
    if [base.name.as_str(), bare].contains(&name) {
        Ok(FieldPlan::Opaque)
    } else {
        Err(format!(
            "the data is arrow.opaque of the PostgreSQL type {name:?}, which goes into columns of that type alone; cast one of them"
        ))
    }
}
