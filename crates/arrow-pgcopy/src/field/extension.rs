//! The [extension types](https://arrow.apache.org/docs/format/CanonicalExtensions.html) of Arrow, and other marks
//! of a field in its metadata.

use std::sync::Arc;

use arrow_schema::{DataType, Field};
use serde::Deserialize;

use crate::refusal::Refusal;

/// Arrow's metadata keys for the name of an extension type and for its parameters.
const NAME_KEY: &str = "ARROW:extension:name";
const METADATA_KEY: &str = "ARROW:extension:metadata";

/// The metadata key with which Spark marks the bytes of a variant's own dictionary.
const VARIANT_KEY: &str = "variant";

/// Returns the name of a field's extension type.
pub(crate) fn name(field: &Field) -> Option<&str> {
    field.metadata().get(NAME_KEY).map(String::as_str)
}

fn metadata<'a, T: Deserialize<'a>>(field: &'a Field) -> Option<T> {
    serde_json::from_str(field.metadata().get(METADATA_KEY)?).ok()
}

/// Returns the PostgreSQL type whose own binary form the values have. ADBC's driver for PostgreSQL returns types
/// that it does not know in this way.
pub(crate) fn opaque(field: &Field) -> Option<String> {
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

/// The meaning of a field's values within a JSON document, beyond their Arrow type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// A UUID, stored as sixteen bytes.
    Uuid,
    /// A JSON document, stored as text.
    Json,
    /// A boolean, stored as a byte.
    Bool,
}

impl Meaning {
    /// Reads the extension type of a field.
    pub(crate) fn of(field: &Field) -> Option<Self> {
        match name(field)? {
            "arrow.uuid" => Some(Self::Uuid),
            "arrow.json" => Some(Self::Json),
            "arrow.bool8" => Some(Self::Bool),
            _ => None,
        }
    }
}

/// Returns whether the values of a field are booleans of a byte each.
pub(crate) fn is_bool8(field: &Field) -> bool {
    name(field) == Some("arrow.bool8") && *field.data_type() == DataType::Int8
}

/// Returns whether the values of a field are well-known binary.
pub(crate) fn is_well_known_binary(field: &Field) -> bool {
    matches!(name(field), Some("geoarrow.wkb" | "ogc.wkb"))
}

/// Returns whether the values of a field are variants, as Spark and Parquet write them.
pub(crate) fn is_variant(field: &Field) -> bool {
    let marked = matches!(
        name(field),
        Some("arrow.parquet.variant" | "parquet.variant")
    );
    marked || holds_variants(field.data_type())
}

/// Returns whether a struct is a variant of Spark's.
pub(crate) fn holds_variants(data_type: &DataType) -> bool {
    let DataType::Struct(fields) = data_type else {
        return false;
    };
    fields
        .iter()
        .any(|field| field.metadata().contains_key(VARIANT_KEY))
}

/// Returns the type of a tensor as nested lists of its shape, or `None` for a field that is not a tensor of two
/// dimensions or more.
///
/// # Errors
/// Refuses a tensor without a valid shape, and one whose dimensions are permuted.
pub(crate) fn tensor(field: &Field) -> Result<Option<DataType>, Refusal> {
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
        return Err(Refusal::new("it is a tensor that does not say its shape"));
    };
    if permutation.is_some_and(|order| !order.iter().copied().eq(0..shape.len())) {
        return Err(Refusal::new("it is a tensor whose dimensions are permuted")
            .with_hint("transpose it before writing"));
    }
    let product = shape
        .iter()
        .try_fold(1_i32, |product, size| product.checked_mul(*size));
    if product != Some(*count) || *count == 0 {
        return Err(Refusal::new(
            "it is a tensor of another shape than its elements, or of none",
        ));
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
