//! The columns of a table that can store data of an Arrow schema.

use std::collections::{BTreeMap, HashMap};

use arrow_schema::{DataType, Field, Schema};

use crate::error::{Error, Result};
use crate::field::extension;
use crate::table::{Ident, type_name};

/// A column of CREATE TABLE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnDefinition {
    /// The column's name.
    pub name: Ident,
    /// The type as SQL, safe to be put into a statement: `numeric(10,2)`.
    pub sql_type: String,
    /// Whether the field is declared without NULLs.
    pub not_null: bool,
}

/// The metadata keys of a field that name its PostgreSQL type; the first one wins.
const TYPE_KEYS: [&str; 3] = [
    "pgflight.type",
    "POSTGRESQL:type",
    "ADBC:postgresql:typname",
];

/// Returns the columns of a table for data of this schema, one for each field.
///
/// The type of a column is, in this order:
///
/// - the one that `overrides` has for its name;
/// - the one in the field's metadata under `pgflight.type`, `POSTGRESQL:type` or `ADBC:postgresql:typname`;
/// - the one that suits its Arrow type: text for strings, jsonb for structs and maps, numeric of the same precision
///   and scale for decimals, timestamptz for timestamps with a zone, interval for durations, the next larger integer
///   for unsigned integers, arrays for lists. Extension types name their own.
///
/// `geometry` is the type for well-known binary, as a name that is safe in SQL; `None` where the database has no
/// such type ([`asks_for_geometry`] says whether the data needs to know).
///
/// # Errors
/// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) when an override is not the name of a type, or names
/// no field. [`ErrorKind::SchemaMismatch`](crate::ErrorKind::SchemaMismatch) when PostgreSQL cannot store the name
/// of a field, two names differ in case only, or an Arrow type has no PostgreSQL type of its own.
pub fn column_definitions(
    schema: &Schema,
    overrides: &BTreeMap<String, String>,
    geometry: Option<&str>,
) -> Result<Vec<ColumnDefinition>> {
    if let Some(name) = overrides
        .keys()
        .find(|name| schema.field_with_name(name).is_err())
    {
        return Err(
            Error::invalid_input("a type is given for a column that is not in the data")
                .with_column(name),
        );
    }
    let mut seen = HashMap::new();
    let definitions = schema.fields().iter().map(|field| {
        let name = field.name();
        if let Some(other) = seen.insert(name.to_lowercase(), name) {
            let error = if other == name {
                Error::schema_mismatch("the column comes more than once in the data")
                    .with_hint("rename or drop one of them")
            } else {
                Error::schema_mismatch(format!(
                    "the name differs from that of another column, {other:?}, in case only"
                ))
                .with_hint("rename one of them")
            };
            return Err(error.with_column(name));
        }
        let ident = Ident::new(name.as_str())
            .map_err(|error| error.into_schema_mismatch().with_column(name))?;
        let sql_type = match overrides.get(name) {
            Some(text) => type_name::parse(text).map_err(|error| error.with_column(name))?,
            None => sql_type(field, geometry)?,
        };
        Ok(ColumnDefinition {
            name: ident,
            sql_type,
            not_null: !field.is_nullable(),
        })
    });
    definitions.collect()
}

/// Returns whether a field would become geometry in a database that has that type.
pub fn asks_for_geometry(schema: &Schema) -> bool {
    let fields = schema.flattened_fields();
    fields.into_iter().any(extension::is_well_known_binary)
}

fn sql_type(field: &Field, geometry: Option<&str>) -> Result<String> {
    let parsed =
        |text: &str| type_name::parse(text).map_err(|error| error.with_column(field.name()));
    let metadata = field.metadata();
    if let Some(text) = TYPE_KEYS.iter().find_map(|key| metadata.get(key)) {
        return parsed(text);
    }
    if let Some(name) = extension::opaque(field) {
        return parsed(&name);
    }
    let name = match (extension::name(field), field.data_type()) {
        (Some("arrow.uuid"), DataType::FixedSizeBinary(16)) => "uuid",
        (Some("arrow.json"), DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View) => "jsonb",
        (Some("arrow.bool8"), DataType::Int8) => "boolean",
        _ if extension::is_well_known_binary(field)
            && let Some(geometry) = geometry =>
        {
            geometry
        }
        _ => {
            let default = default_type(field.data_type(), geometry);
            let variant = extension::is_variant(field);
            return default.filter(|_| !variant).ok_or_else(|| {
                let error = if variant {
                    Error::schema_mismatch("a variant has no PostgreSQL type of its own")
                        .with_hint("write to_json(…) of it as a string")
                } else {
                    Error::schema_mismatch(format!(
                        "Arrow type {} has no PostgreSQL type of its own",
                        field.data_type()
                    ))
                    .with_hint("name one for it, such as jsonb, or cast it before writing")
                };
                error.with_column(field.name())
            });
        }
    };
    Ok(name.to_owned())
}

fn default_type(data_type: &DataType, geometry: Option<&str>) -> Option<String> {
    use DataType as D;
    let name = match data_type {
        D::Null | D::Utf8 | D::LargeUtf8 | D::Utf8View => "text",
        D::Boolean => "boolean",
        D::Int8 | D::Int16 | D::UInt8 => "smallint",
        D::Int32 | D::UInt16 => "integer",
        D::Int64 | D::UInt32 => "bigint",
        D::UInt64 => "numeric(20,0)",
        D::Float16 | D::Float32 => "real",
        D::Float64 => "double precision",
        D::Decimal32(p, s) | D::Decimal64(p, s) | D::Decimal128(p, s) | D::Decimal256(p, s) => {
            return Some(numeric(i32::from(*p), i32::from(*s)));
        }
        D::Binary | D::LargeBinary | D::BinaryView | D::FixedSizeBinary(_) => "bytea",
        D::Date32 | D::Date64 => "date",
        D::Time32(_) | D::Time64(_) => "time without time zone",
        D::Timestamp(_, None) => "timestamp without time zone",
        D::Timestamp(_, Some(_)) => "timestamp with time zone",
        D::Duration(_) | D::Interval(_) => "interval",
        D::Struct(_) | D::Map(_, _) => "jsonb",
        D::Dictionary(_, values) => return default_type(values, geometry),
        D::RunEndEncoded(_, values) => {
            return default_type(values.data_type(), geometry);
        }
        D::List(item)
        | D::LargeList(item)
        | D::FixedSizeList(item, _)
        | D::ListView(item)
        | D::LargeListView(item) => {
            // PostgreSQL's arrays have one type for any number of dimensions.
            let element = sql_type(item, geometry).ok()?;
            return Some(if element.ends_with("[]") {
                element
            } else {
                format!("{element}[]")
            });
        }
        D::Union(_, _) => return None,
    };
    Some(name.to_owned())
}

/// Returns a precision that keeps every digit. The scale is never below zero, which only PostgreSQL 15 and newer
/// accept.
fn numeric(precision: i32, scale: i32) -> String {
    if scale < 0 {
        format!("numeric({},0)", precision - scale)
    } else {
        format!("numeric({},{scale})", precision.max(scale))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashMap};
    use std::sync::Arc;

    use arrow_schema::{DataType, Field, Fields, Schema, TimeUnit, UnionFields, UnionMode};

    use super::column_definitions;

    fn check(field: Field, expected: Result<&str, &str>) {
        let schema = Schema::new(vec![field]);
        match (
            column_definitions(&schema, &BTreeMap::new(), Some("gis.geometry")),
            expected,
        ) {
            (Ok(columns), Ok(expected)) => assert_eq!(columns[0].sql_type, expected),
            (Err(error), Err(expected)) => {
                assert!(format!("{error:#}").contains(expected), "{error:#}")
            }
            (got, expected) => panic!("{got:?} instead of {expected:?}"),
        }
    }

    fn list(item: DataType) -> DataType {
        DataType::List(Arc::new(Field::new("item", item, true)))
    }

    #[test]
    fn arrow_types_have_default_column_types() {
        let nullable = |data_type| Field::new("a", data_type, true);
        check(nullable(DataType::Utf8), Ok("text"));
        check(nullable(DataType::UInt64), Ok("numeric(20,0)"));
        check(nullable(DataType::Decimal128(10, 2)), Ok("numeric(10,2)"));
        check(nullable(DataType::Decimal128(5, 7)), Ok("numeric(7,7)"));
        check(nullable(DataType::Decimal128(5, -2)), Ok("numeric(7,0)"));
        let zone = Some(Arc::from("Europe/Berlin"));
        let timestamp = DataType::Timestamp(TimeUnit::Microsecond, zone);
        check(nullable(timestamp), Ok("timestamp with time zone"));
        check(
            nullable(DataType::Duration(TimeUnit::Microsecond)),
            Ok("interval"),
        );
        check(nullable(DataType::Struct(Fields::empty())), Ok("jsonb"));
        check(nullable(list(list(DataType::Int32))), Ok("integer[]"));
        check(
            nullable(list(DataType::Struct(Fields::empty()))),
            Ok("jsonb[]"),
        );
        let dictionary = DataType::Dictionary(DataType::Int8.into(), DataType::Utf8.into());
        check(nullable(dictionary), Ok("text"));
        let metadata = |key: &str, value: &str| HashMap::from([(key.to_owned(), value.to_owned())]);
        let field = nullable(DataType::Utf8).with_metadata(metadata("pgflight.type", "citext"));
        check(field, Ok("citext"));
        let field = nullable(DataType::FixedSizeBinary(16))
            .with_metadata(metadata("ARROW:extension:name", "arrow.uuid"));
        check(field, Ok("uuid"));
        let views = DataType::ListView(Arc::new(Field::new("item", DataType::Int8, true)));
        check(nullable(views), Ok("smallint[]"));
        let runs = DataType::RunEndEncoded(
            Arc::new(Field::new("run_ends", DataType::Int32, false)),
            Arc::new(Field::new("values", DataType::Utf8, true)),
        );
        check(nullable(runs), Ok("text"));
        let union = DataType::Union(UnionFields::empty(), UnionMode::Sparse);
        check(nullable(union), Err("name one for it, such as jsonb"));
        let field = nullable(DataType::Binary).with_metadata(HashMap::from([
            ("ARROW:extension:name".to_owned(), "arrow.opaque".to_owned()),
            (
                "ARROW:extension:metadata".to_owned(),
                r#"{"type_name": "tsvector", "vendor_name": "PostgreSQL"}"#.to_owned(),
            ),
        ]));
        check(field, Ok("tsvector"));
        let extension = |data_type, name| {
            nullable(data_type).with_metadata(metadata("ARROW:extension:name", name))
        };
        check(
            extension(DataType::Binary, "geoarrow.wkb"),
            Ok("gis.geometry"),
        );
        check(
            extension(DataType::LargeBinary, "ogc.wkb"),
            Ok("gis.geometry"),
        );
        check(extension(DataType::Int8, "arrow.bool8"), Ok("boolean"));
        let shaped = Field::new("item", DataType::Float32, true).into();
        let tensor = DataType::FixedSizeList(shaped, 6);
        check(extension(tensor, "arrow.fixed_shape_tensor"), Ok("real[]"));
        let points = DataType::new_list(DataType::Binary, true);
        let DataType::List(item) = points else {
            unreachable!()
        };
        let item = item
            .as_ref()
            .clone()
            .with_metadata(metadata("ARROW:extension:name", "geoarrow.wkb"));
        check(nullable(DataType::List(item.into())), Ok("gis.geometry[]"));
        let marked = Field::new("metadata", DataType::Binary, false)
            .with_metadata(metadata("variant", "true"));
        let variant = Fields::from(vec![Field::new("value", DataType::Binary, false), marked]);
        check(nullable(DataType::Struct(variant)), Err("to_json"));
        check(
            Field::new("x".repeat(64), DataType::Int8, true),
            Err("63 bytes"),
        );
    }

    #[test]
    fn type_overrides_must_name_a_type_and_a_column() {
        let schema = Schema::new(vec![Field::new("a", DataType::Int8, false)]);
        let with = |name: &str, text: &str| {
            column_definitions(&schema, &[(name.to_owned(), text.to_owned())].into(), None)
        };
        let columns = with("a", "Numeric(5)").unwrap();
        assert_eq!(
            (columns[0].sql_type.as_str(), columns[0].not_null),
            ("numeric(5)", true)
        );
        assert!(with("a", "int); drop table b --").is_err());
        assert!(with("b", "int").is_err());
    }

    #[test]
    fn clashing_names_are_rejected() {
        let field = |name: &str| Field::new(name, DataType::Int8, true);
        for other in ["a", "A"] {
            let schema = Schema::new(vec![field("a"), field(other)]);
            assert!(column_definitions(&schema, &BTreeMap::new(), None).is_err());
        }
    }
}
