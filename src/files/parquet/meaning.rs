//! What the types of a Parquet file mean where the Parquet library reads them as something else.

use std::sync::Arc;

use arrow::datatypes::{DataType, Schema, SchemaRef, TimeUnit};
use parquet::arrow::arrow_reader::ArrowReaderMetadata;
use parquet::basic::{ConvertedType, LogicalType, Type};
use parquet::file::metadata::FileMetaData;
use parquet::schema::types::Type as SchemaType;
use serde_json::Value;

use super::leaves::with_leaf_types;
use crate::error::Result;
use crate::files::fault::unreadable;

/// The keys of the file's metadata in which Arrow keeps its schema, and Spark its own schema.
const ARROW_SCHEMA: &str = "ARROW:schema";
const SPARK_SCHEMA: &str = "org.apache.spark.sql.parquet.row.metadata";

/// The types to read a file with.
pub(super) struct Meaning {
    pub(super) schema: SchemaRef,
    /// The leaves of type INT96.
    pub(super) int96: Vec<usize>,
}

impl Meaning {
    /// Returns the types of a file's columns: INT96 in microseconds, which cover all years of PostgreSQL where nanoseconds
    /// end in 2262; enums as text.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidCommand`](crate::error::ErrorKind::InvalidCommand) for a column of type INTERVAL, whose months
    /// the Parquet library ignores, and of type VARIANT, whose parts it takes for values.
    pub(super) fn of(name: &str, metadata: &ArrowReaderMetadata) -> Result<Self> {
        let file = metadata.metadata().file_metadata();
        let leaves = file.schema_descr().columns();
        // Spark's times are instants; the type does not say so.
        let zone = value_of(file, SPARK_SCHEMA).map(|_| Arc::from("UTC"));
        let (mut place, mut int96, mut interval) = (0, Vec::new(), None);
        let fields = with_leaf_types(metadata.schema().fields(), &mut |read_as| {
            let leaf = leaves.get(place)?;
            place += 1;
            if leaf.converted_type() == ConvertedType::INTERVAL {
                interval = Some(leaf.path().string());
            }
            if leaf.physical_type() == Type::INT96 {
                int96.push(place - 1);
                let own = if let DataType::Timestamp(_, own) = read_as {
                    own.clone()
                } else {
                    None
                };
                return Some(DataType::Timestamp(
                    TimeUnit::Microsecond,
                    own.or_else(|| zone.clone()),
                ));
            }
            let is_enum = leaf.logical_type_ref() == Some(&LogicalType::Enum)
                || leaf.converted_type() == ConvertedType::ENUM;
            (is_enum && *read_as == DataType::Binary).then_some(DataType::Utf8)
        });
        if let Some(column) = interval.filter(|_| value_of(file, ARROW_SCHEMA).is_none()) {
            let reason = format!("the column {column} has Parquet's type INTERVAL");
            return Err(unreadable(name, &reason)
                .with_hint("write it as text: PostgreSQL reads 1 month 2 days 03:00:00"));
        }
        let spark = value_of(file, SPARK_SCHEMA).and_then(|text| serde_json::from_str(text).ok());
        let root = file.schema_descr().root_schema();
        if has_variant(root) || spark.as_ref().is_some_and(names_variant) {
            return Err(unreadable(name, "a column has the type VARIANT")
                .with_hint("write it as a string of JSON, in Spark with to_json"));
        }
        let own = metadata.schema().metadata().clone();
        Ok(Self {
            schema: Arc::new(Schema::new_with_metadata(fields, own)),
            int96,
        })
    }
}

/// Returns whether a type is a variant, or holds one.
fn has_variant(node: &SchemaType) -> bool {
    let is_variant = matches!(
        node.get_basic_info().logical_type_ref(),
        Some(LogicalType::Variant(_))
    );
    let fields = if node.is_group() {
        node.get_fields()
    } else {
        &[]
    };
    is_variant || fields.iter().any(|field| has_variant(field))
}

/// Returns whether a schema of Spark has a variant. Spark 4.0 does not mark it otherwise.
fn names_variant(schema: &Value) -> bool {
    let types = ["type", "elementType", "valueType"];
    let is_variant = |(key, value): (&String, &Value)| {
        (types.contains(&key.as_str()) && value == "variant") || names_variant(value)
    };
    match schema {
        Value::Object(members) => members.iter().any(is_variant),
        Value::Array(items) => items.iter().any(names_variant),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// Returns a value of the file's metadata.
pub(super) fn value_of<'a>(file: &'a FileMetaData, key: &str) -> Option<&'a str> {
    let pairs = file.key_value_metadata()?;
    let pair = pairs.iter().find(|pair| pair.key == key)?;
    Some(pair.value.as_deref().unwrap_or(""))
}
