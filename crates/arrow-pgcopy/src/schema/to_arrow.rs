//! The Arrow schema of data that can be written into a table.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_schema::{
    DECIMAL128_MAX_PRECISION, DECIMAL256_MAX_PRECISION, DataType, Field, IntervalUnit, Schema,
    TimeUnit,
};

use crate::table::{Column, Modifier, PgType, PgTypeKind, Relation};

/// The metadata key for the exact type of a field's column.
const TYPE_KEY: &str = "POSTGRESQL:type";

/// The type of a numeric without a precision, as Spark reads it.
const UNCONSTRAINED: DataType = DataType::Decimal128(38, 18);

/// Returns the Arrow schema that a table's columns take without a cast, in the table's order.
///
/// Generated columns are left out, since they cannot be written. Types without an Arrow counterpart (enums, UUIDs,
/// JSON, names, and types that only strings are cast to) are text; numeric without a precision is `Decimal128(38,
/// 18)`, as in Spark; timestamps count microseconds, as PostgreSQL does. The metadata key `POSTGRESQL:type` has the
/// exact type.
pub fn to_arrow_schema(relation: &Relation) -> Schema {
    let columns = relation.columns.iter().filter(|column| !column.generated);
    Schema::new(columns.map(field).collect::<Vec<_>>())
}

fn field(column: &Column) -> Field {
    let data_type = data_type(&column.ty, column.typmod);
    let metadata = HashMap::from([(TYPE_KEY.to_owned(), column.type_name())]);
    Field::new(column.name.as_str(), data_type, column.nullable).with_metadata(metadata)
}

fn data_type(ty: &PgType, typmod: i32) -> DataType {
    use PgTypeKind as K;
    match &ty.kind {
        K::Bool => DataType::Boolean,
        K::Int2 => DataType::Int16,
        K::Int4 => DataType::Int32,
        K::Int8 => DataType::Int64,
        K::Oid => DataType::UInt32,
        K::Xid8 => DataType::UInt64,
        K::Float4 => DataType::Float32,
        K::Float8 => DataType::Float64,
        K::Numeric => decimal(Modifier::of(ty, typmod)),
        K::Text | K::Varchar | K::Bpchar | K::Name => DataType::Utf8,
        K::Json | K::Jsonb | K::Uuid | K::Enum(_) | K::Other => DataType::Utf8,
        K::Timetz | K::Bit | K::Varbit => DataType::Utf8,
        K::Inet | K::Cidr | K::Macaddr | K::Macaddr8 | K::VersionedText => DataType::Utf8,
        K::Money { fraction_digits } => {
            // The largest 64-bit integer has 19 digits.
            DataType::Decimal128(19, i8::try_from(*fraction_digits).unwrap_or(0))
        }
        K::Hstore => text_map(),
        K::Vector | K::Sparsevec => DataType::new_list(DataType::Float32, false),
        K::Point => point(),
        K::Halfvec => DataType::new_list(DataType::Float16, false),
        K::Geometry => DataType::Binary,
        K::Composite(attributes) => DataType::Struct(
            attributes
                .iter()
                .map(|a| Field::new(&a.name, data_type(&a.ty, a.typmod), true))
                .collect(),
        ),
        K::Range(subtype) => range(subtype),
        K::Multirange(subtype) => DataType::new_list(range(subtype), false),
        K::Bytea => DataType::Binary,
        K::Date => DataType::Date32,
        K::Time => DataType::Time64(TimeUnit::Microsecond),
        K::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
        K::Timestamptz => DataType::Timestamp(TimeUnit::Microsecond, Some(Arc::from("UTC"))),
        K::Interval => DataType::Interval(IntervalUnit::MonthDayNano),
        K::Array(element) => DataType::new_list(data_type(element, typmod), true),
        K::Domain { base, typmod } => data_type(base, *typmod),
    }
}

/// Returns a map of strings to strings.
fn text_map() -> DataType {
    let entries = DataType::Struct(
        [
            Field::new("key", DataType::Utf8, false),
            Field::new("value", DataType::Utf8, true),
        ]
        .into_iter()
        .collect(),
    );
    DataType::Map(Arc::new(Field::new("entries", entries, false)), false)
}

/// Returns a struct of both coordinates.
fn point() -> DataType {
    let coordinate = |name| Field::new(name, DataType::Float64, false);
    DataType::Struct([coordinate("x"), coordinate("y")].into_iter().collect())
}

/// Returns a struct of bounds, where NULL is infinity, and their flags.
fn range(subtype: &PgType) -> DataType {
    let bound = |name| Field::new(name, data_type(subtype, -1), true);
    let flag = |name| Field::new(name, DataType::Boolean, false);
    DataType::Struct(
        [
            bound("lower"),
            bound("upper"),
            flag("lower_inc"),
            flag("upper_inc"),
            flag("empty"),
        ]
        .into_iter()
        .collect(),
    )
}

/// Returns the decimal of the same digits, with room for the zeros that the scale of a numeric implies.
fn decimal(modifier: Modifier) -> DataType {
    let Modifier::Numeric { precision, scale } = modifier else {
        return UNCONSTRAINED;
    };
    let digits = if scale < 0 {
        precision - scale
    } else {
        precision.max(scale)
    };
    match (u8::try_from(digits), i8::try_from(scale.max(0))) {
        (Ok(digits), Ok(scale)) if digits <= DECIMAL128_MAX_PRECISION => {
            DataType::Decimal128(digits, scale)
        }
        (Ok(digits), Ok(scale)) if digits <= DECIMAL256_MAX_PRECISION => {
            DataType::Decimal256(digits, scale)
        }
        _ => UNCONSTRAINED,
    }
}

#[cfg(test)]
mod tests {
    use arrow_schema::DataType;

    use super::decimal;
    use crate::table::Modifier;

    fn check(precision: i32, scale: i32, expected: DataType) {
        assert_eq!(decimal(Modifier::Numeric { precision, scale }), expected);
    }

    #[test]
    fn numerics_become_decimals_of_the_same_digits() {
        check(10, 2, DataType::Decimal128(10, 2));
        check(3, -2, DataType::Decimal128(5, 0));
        check(2, 4, DataType::Decimal128(4, 4));
        check(50, 10, DataType::Decimal256(50, 10));
        check(1000, 10, DataType::Decimal128(38, 18));
        assert_eq!(decimal(Modifier::None), DataType::Decimal128(38, 18));
    }
}
