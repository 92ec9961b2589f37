//! What [extension types](https://arrow.apache.org/docs/format/CanonicalExtensions.html) of Arrow, and
//! marks of its users, say of a field beyond its type.

use std::sync::Arc;

use arrow_schema::{DataType, Field};
use serde::Deserialize;

use super::mapping::Refusal;

/// Arrow's keys for the name of an extension type and for what belongs to it.
const NAME_KEY: &str = "ARROW:extension:name";
const METADATA_KEY: &str = "ARROW:extension:metadata";

/// What Spark marks the bytes of a variant's own dictionary with.
const VARIANT_KEY: &str = "variant";

/// The extension type of a field.
pub(super) fn name(field: &Field) -> Option<&str> {
    field.metadata().get(NAME_KEY).map(String::as_str)
}

fn metadata<'a, T: Deserialize<'a>>(field: &'a Field) -> Option<T> {
    serde_json::from_str(field.metadata().get(METADATA_KEY)?).ok()
}

/// The PostgreSQL type whose own binary form the values of a field are in: ADBC's driver for
/// PostgreSQL hands out types so that it does not know.
pub(super) fn opaque(field: &Field) -> Option<String> {
    #[derive(Deserialize)]
    struct Opaque {
        type_name: String,
        vendor_name: String,
    }
    if name(field)? != "arrow.opaque" {
        return None;
    }
    let opaque: Opaque = metadata(field)?;
    (opaque.vendor_name == "PostgreSQL").then_some(opaque.type_name)
}

/// What the values of a field are within a document, beyond their type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// Sixteen bytes that are a UUID.
    Uuid,
    /// Text that is a document itself.
    Json,
    /// A byte that is a boolean.
    Bool,
}

impl Meaning {
    /// What the extension type of a field says.
    pub(crate) fn of(field: &Field) -> Option<Self> {
        match name(field)? {
            "arrow.uuid" => Some(Self::Uuid),
            "arrow.json" => Some(Self::Json),
            "arrow.bool8" => Some(Self::Bool),
            _ => None,
        }
    }
}

/// Whether the values of a field are booleans of a byte each.
pub(super) fn is_bool8(field: &Field) -> bool {
    name(field) == Some("arrow.bool8") && *field.data_type() == DataType::Int8
}

/// Whether the values of a field are well-known binary.
pub(super) fn is_well_known_binary(field: &Field) -> bool {
    matches!(name(field), Some("geoarrow.wkb" | "ogc.wkb"))
}

/// Whether the values of a field are variants, as Spark hands them out and Parquet knows them.
pub(super) fn is_variant(field: &Field) -> bool {
    let marked = matches!(
        name(field),
        Some("arrow.parquet.variant" | "parquet.variant")
    );
    marked || holds_variants(field.data_type())
}

/// Whether a struct is what Spark makes of variants.
pub(super) fn holds_variants(data_type: &DataType) -> bool {
    let DataType::Struct(fields) = data_type else {
        return false;
    };
    fields
        .iter()
        .any(|field| field.metadata().contains_key(VARIANT_KEY))
}

/// A tensor as lists in lists of its shape, where it is stored as one list of all its elements.
///
/// # Errors
/// A tensor whose elements are not in the order of its shape.
pub(super) fn tensor(field: &Field) -> Result<Option<DataType>, Refusal> {
    #[derive(Deserialize)]
    struct Tensor {
        shape: Vec<i32>,
        #[serde(default)]
        permutation: Option<Vec<usize>>,
    }
    let (Some("arrow.fixed_shape_tensor"), DataType::FixedSizeList(item, count)) =
        (name(field), field.data_type())
    else {
        return Ok(None);
    };
    let Some(Tensor { shape, permutation }) = metadata(field) else {
        return Err("it is a tensor that does not say its shape".into());
    };
    if permutation.is_some_and(|order| !order.iter().copied().eq(0..shape.len())) {
        return Err(
            "it is a tensor whose dimensions are permuted; transpose it before writing".into(),
        );
    }
    let product = shape
        .iter()
        .try_fold(1_i32, |product, size| product.checked_mul(*size));
    if product != Some(*count) || *count == 0 {
        return Err("it is a tensor of another shape than its elements, or of none".into());
    }
    let inner = shape.iter().skip(1).rev().fold(item.clone(), |item, size| {
        Arc::new(Field::new(
            "item",
            DataType::FixedSizeList(item, *size),
            false,
        ))
    });
    let outer = shape.first().copied().unwrap_or(*count);
    Ok((shape.len() > 1).then_some(DataType::FixedSizeList(inner, outer)))
}
