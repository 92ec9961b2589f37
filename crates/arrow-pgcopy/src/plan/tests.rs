//! Tests of the plan: accepted pairs, refused pairs, and messages.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_schema::{
    DataType, Field, Fields, IntervalUnit, Schema, TimeUnit, UnionFields, UnionMode,
};

use crate::error::ErrorKind;
use crate::schema::to_arrow_schema;
use crate::table::Attribute;
use crate::{Column, EncodePlan, FieldPlan, Ident, PgType, PgTypeKind, QualifiedName, Relation};

fn pg_type(name: &str, kind: PgTypeKind) -> PgType {
    PgType {
        oid: 1,
        name: name.into(),
        kind,
    }
}

/// The columns of a table that has one of each type.
fn relation() -> Relation {
    use PgTypeKind as K;
    let types = [
        ("bool", "boolean", K::Bool),
        ("int2", "smallint", K::Int2),
        ("int4", "integer", K::Int4),
        ("int8", "bigint", K::Int8),
        ("oid", "oid", K::Oid),
        ("xid8", "xid8", K::Xid8),
        ("float4", "real", K::Float4),
        ("float8", "double precision", K::Float8),
        ("numeric", "numeric", K::Numeric),
        ("text", "text", K::Text),
        ("varchar", "character varying", K::Varchar),
        ("bpchar", "character", K::Bpchar),
        ("name", "name", K::Name),
        ("bytea", "bytea", K::Bytea),
        ("json", "json", K::Json),
        ("jsonb", "jsonb", K::Jsonb),
        ("uuid", "uuid", K::Uuid),
        ("date", "date", K::Date),
        ("time", "time without time zone", K::Time),
        ("timestamp", "timestamp without time zone", K::Timestamp),
        ("timestamptz", "timestamp with time zone", K::Timestamptz),
        ("interval", "interval", K::Interval),
        ("mood", "mood", K::Enum(vec!["ok".into()])),
        (
            "int4s",
            "integer[]",
            K::Array(Box::new(pg_type("integer", K::Int4))),
        ),
        (
            "jsonbs",
            "jsonb[]",
            K::Array(Box::new(pg_type("jsonb", K::Jsonb))),
        ),
        ("circle", "circle", K::Other),
        ("timetz", "time with time zone", K::Timetz),
        ("money", "money", K::Money { fraction_digits: 2 }),
        ("bit", "bit", K::Bit),
        ("varbit", "bit varying", K::Varbit),
        ("inet", "inet", K::Inet),
        ("cidr", "cidr", K::Cidr),
        ("macaddr", "macaddr", K::Macaddr),
        ("macaddr8", "macaddr8", K::Macaddr8),
        ("jsonpath", "jsonpath", K::VersionedText),
        ("hstore", "hstore", K::Hstore),
        ("vector", "vector", K::Vector),
        ("halfvec", "halfvec", K::Halfvec),
        ("sparsevec", "sparsevec", K::Sparsevec),
        ("point", "point", K::Point),
        ("geometry", "geometry", K::Geometry),
        (
            "range",
            "int4range",
            K::Range(Box::new(pg_type("integer", K::Int4))),
        ),
        (
            "multirange",
            "int4multirange",
            K::Multirange(Box::new(pg_type("integer", K::Int4))),
        ),
        (
            "composite",
            "my_composite",
            K::Composite(vec![Attribute {
                name: "a".into(),
                ty: pg_type("text", K::Text),
                typmod: -1,
            }]),
        ),
    ];
    let columns = types.map(|(name, type_name, kind)| column(name, pg_type(type_name, kind)));
    table(columns.into())
}

fn column(name: &str, ty: PgType) -> Column {
    Column::new(Ident::new(name).unwrap(), ty)
}

fn table(columns: Vec<Column>) -> Relation {
    let ident = |name| Ident::new(name).unwrap();
    Relation {
        oid: 1,
        name: QualifiedName {
            schema: ident("public"),
            name: ident("t"),
        },
        columns,
    }
}

fn schema<const N: usize>(fields: [(&str, DataType); N]) -> Schema {
    Schema::new(
        fields
            .map(|(name, data_type)| Field::new(name, data_type, true))
            .to_vec(),
    )
}

fn list(item: DataType) -> DataType {
    DataType::List(Arc::new(Field::new("item", item, true)))
}

fn structure(field: DataType) -> DataType {
    DataType::Struct(Fields::from(vec![Field::new("a", field, true)]))
}

fn map(key: DataType) -> DataType {
    let entry = vec![
        Field::new("key", key, false),
        Field::new("value", DataType::Int8, true),
    ];
    let entries = Field::new("entries", DataType::Struct(entries_of(entry)), false);
    DataType::Map(Arc::new(entries), false)
}

fn entries_of(fields: Vec<Field>) -> Fields {
    Fields::from(fields)
}

/// The columns that text goes into.
const TEXT: &str = "bool int2 int4 int8 oid xid8 float4 float8 numeric text varchar bpchar name bytea json jsonb uuid date time timestamp timestamptz interval mood int4s jsonbs circle timetz bit varbit inet cidr macaddr macaddr8 jsonpath hstore vector halfvec sparsevec point geometry range multirange composite";

/// The columns that a list of numbers goes into.
const LISTS: &str = "json jsonb int4s vector halfvec sparsevec";

/// Checks that exactly these columns accept an Arrow type, and that all others refuse it by naming both types.
fn check(data_type: DataType, expected: &str) {
    let relation = relation();
    let mut taken = Vec::new();
    for column in &relation.columns {
        let name = column.name.as_str();
        match EncodePlan::new(&schema([(name, data_type.clone())]), &relation) {
            Ok(_) => taken.push(name),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::SchemaMismatch);
                assert_eq!(error.column(), Some(name));
                let message = error.to_string();
                let pair = format!("Arrow type {data_type} into {}", column.type_name());
                assert!(message.contains(&pair), "{message}");
            }
        }
    }
    assert_eq!(taken.join(" "), expected, "{data_type}");
}

#[test]
fn each_arrow_type_is_accepted_where_no_value_changes() {
    use DataType as D;
    let numbers = "int2 int4 int8 oid xid8 float4 float8 numeric money";
    for integer in [
        D::Int8,
        D::Int16,
        D::Int32,
        D::Int64,
        D::UInt8,
        D::UInt16,
        D::UInt32,
        D::UInt64,
    ] {
        check(integer, numbers);
    }
    check(D::Boolean, "bool");
    check(D::Float16, "int2 int4 int8 float4 float8 numeric");
    check(D::Float32, "int2 int4 int8 float4 float8 numeric");
    check(D::Float64, "int2 int4 int8 float8 numeric");
    for decimal in [
        D::Decimal32(9, 2),
        D::Decimal64(18, 2),
        D::Decimal128(38, 2),
    ] {
        check(decimal, "int2 int4 int8 numeric money");
    }
    check(D::Decimal256(76, 2), "int2 int4 int8 numeric money");
    for text in [D::Utf8, D::LargeUtf8, D::Utf8View] {
        check(text, TEXT);
    }
    for binary in [
        D::Binary,
        D::LargeBinary,
        D::BinaryView,
        D::FixedSizeBinary(16),
    ] {
        check(binary, "bytea uuid bit varbit geometry");
    }
    check(D::FixedSizeBinary(15), "bytea bit varbit geometry");
    check(D::Date32, "date timestamp");
    check(D::Date64, "date timestamp");
    check(D::Time32(TimeUnit::Second), "time interval");
    check(D::Time64(TimeUnit::Nanosecond), "time interval");
    check(D::Timestamp(TimeUnit::Microsecond, None), "date timestamp");
    check(
        D::Timestamp(TimeUnit::Nanosecond, Some("UTC".into())),
        "timestamptz",
    );
    check(D::Duration(TimeUnit::Microsecond), "time interval");
    for unit in [
        IntervalUnit::YearMonth,
        IntervalUnit::DayTime,
        IntervalUnit::MonthDayNano,
    ] {
        check(D::Interval(unit), "interval");
    }
    let dictionary = |values: D| D::Dictionary(D::Int32.into(), values.into());
    check(dictionary(D::Utf8), TEXT);
    check(dictionary(D::Int64), numbers);
    check(dictionary(list(D::Int32)), LISTS);
    let runs = |values: D| {
        let ends = Field::new("run_ends", D::Int32, false);
        D::RunEndEncoded(ends.into(), Field::new("values", values, true).into())
    };
    check(runs(D::Utf8), TEXT);
    check(runs(dictionary(D::Int64)), numbers);
    check(
        D::Union(UnionFields::empty(), UnionMode::Sparse),
        "json jsonb",
    );
}

#[test]
fn nested_types_go_into_arrays_and_json() {
    use DataType as D;
    use PgTypeKind as K;
    check(list(D::Int64), LISTS);
    check(list(list(D::Int64)), "json jsonb int4s");
    check(list(D::Utf8), "json jsonb int4s jsonbs");
    check(list(structure(D::Utf8)), "json jsonb jsonbs");
    check(structure(list(map(D::Int32))), "json jsonb");
    check(structure(D::Utf8), "json jsonb hstore composite");
    check(structure(D::Int8), "json jsonb");
    check(map(D::Utf8), "json jsonb");
    check(map(structure(D::Utf8)), "");
    check(list(D::Boolean), "json jsonb bit varbit");
    check(
        list(D::Float64),
        "json jsonb int4s vector halfvec sparsevec point",
    );
    let coordinate = |name| Field::new(name, D::Float32, true);
    let point = D::Struct(Fields::from(vec![coordinate("y"), coordinate("x")]));
    check(point, "json jsonb point");
    let view = Field::new(
        "a",
        D::ListView(Field::new("item", D::Int8, true).into()),
        true,
    );
    let union = UnionFields::try_new([0], [view]).unwrap();
    check(D::Union(union, UnionMode::Dense), "");
    let bounds = |names: [&str; 2]| {
        let fields = names.map(|name| Field::new(name, D::Int64, true));
        D::Struct(Fields::from(fields.to_vec()))
    };
    check(bounds(["lower", "upper"]), "json jsonb range");
    check(bounds(["lower", "higher"]), "json jsonb");
    check(
        list(bounds(["upper", "lower"])),
        "json jsonb jsonbs multirange",
    );
    let view = D::ListView(Arc::new(Field::new("item", D::Int32, true)));
    check(view.clone(), LISTS);
    check(structure(view), "json jsonb");
    let texts = EncodePlan::new(&schema([("circles", list(D::Utf8))]), &{
        let circles = K::Array(Box::new(pg_type("circle", K::Other)));
        table(vec![column("circles", pg_type("circle[]", circles))])
    });
    let plan = texts.unwrap();
    assert_eq!(plan.columns()[0].field, FieldPlan::Cast { array: true });
    let deep = (0..7).fold(D::Int32, |inner, _| list(inner));
    check(deep, "json jsonb");
}

#[test]
fn null_columns_are_accepted_everywhere() {
    let all = relation()
        .columns
        .iter()
        .map(|c| c.name.as_str().to_owned())
        .collect::<Vec<_>>();
    check(DataType::Null, &all.join(" "));
}

/// Checks that a schema is refused with these words and this column.
fn refuse(schema: Schema, relation: &Relation, column: &str, words: &str) {
    let error = EncodePlan::new(&schema, relation).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::SchemaMismatch, "{error}");
    assert_eq!(error.column(), Some(column), "{error}");
    assert!(format!("{error:#}").contains(words), "{error:#}");
}

#[test]
fn refusals_have_hints() {
    use DataType as D;
    let relation = relation();
    let local = schema([("timestamptz", D::Timestamp(TimeUnit::Microsecond, None))]);
    refuse(
        local,
        &relation,
        "timestamptz",
        "a timestamp with a zone before writing",
    );
    let text = schema([("text", structure(D::Int8))]);
    refuse(text, &relation, "text", "make the column jsonb");
    refuse(
        schema([("money", D::Utf8)]),
        &relation,
        "money",
        "cast the data to a decimal",
    );
    refuse(
        schema([("composite", structure(D::Utf8)), ("money", D::Float64)]),
        &relation,
        "money",
        "cast the data to a decimal",
    );
    let other = D::Struct(Fields::from(vec![Field::new("b", D::Utf8, true)]));
    refuse(
        schema([("composite", other)]),
        &relation,
        "composite",
        "no attribute \"b\"",
    );
    refuse(
        schema([("float4", D::Float64)]),
        &relation,
        "float4",
        "would be rounded",
    );
    refuse(
        schema([("int4s", list(D::Boolean))]),
        &relation,
        "int4s",
        "its elements are Boolean",
    );
}

#[test]
fn columns_are_matched_by_name() {
    let relation = relation();
    let int4 = |name| schema([(name, DataType::Int32)]);
    refuse(int4("INT4"), &relation, "INT4", "to \"int4\"");
    refuse(
        int4("nowhere"),
        &relation,
        "nowhere",
        "there is no column of that name in the table [table public.t, column nowhere]",
    );
    let twice = schema([("int4", DataType::Int32), ("int4", DataType::Int32)]);
    refuse(twice, &relation, "int4", "more than once");
    let both = schema([("text", DataType::Utf8), ("int4", DataType::Int32)]);
    let plan = EncodePlan::new(&both, &relation).unwrap();
    assert_eq!(
        plan.column_names().map(Ident::as_str).collect::<Vec<_>>(),
        ["text", "int4"]
    );
}

#[test]
fn required_and_generated_columns_are_checked() {
    let int4 = || pg_type("integer", PgTypeKind::Int4);
    let strict = Column {
        nullable: false,
        ..column("a", int4())
    };
    let filled = Column {
        has_default: true,
        ..Column {
            name: Ident::new("b").unwrap(),
            ..strict.clone()
        }
    };
    let generated = Column {
        generated: true,
        ..column("c", int4())
    };
    let relation = table(vec![strict, filled, generated]);
    let with = |name| schema([(name, DataType::Int32)]);
    EncodePlan::new(&with("a"), &relation).unwrap();
    refuse(with("b"), &relation, "a", "NOT NULL without a default");
    let generated = schema([("a", DataType::Int32), ("c", DataType::Int32)]);
    refuse(generated, &relation, "c", "generated");
    refuse(
        schema([("a", DataType::Null)]),
        &relation,
        "a",
        "only NULLs",
    );
}

#[test]
fn plans_print_like_explain() {
    let mut relation = relation();
    for column in &mut relation.columns {
        match column.name.as_str() {
            "numeric" => column.typmod = (8 << 16 | 2) + 4,
            "varchar" => column.typmod = 14,
            "bool" => column.nullable = false,
            _ => {}
        }
    }
    let schema = schema([
        ("numeric", DataType::Decimal128(10, 2)),
        ("varchar", DataType::Utf8),
        ("bool", DataType::Boolean),
    ]);
    let plan = EncodePlan::new(&schema, &relation).unwrap();
    let expected = "\
public.t: 3 columns
  \"numeric\"  Decimal128(10, 2) -> numeric(8,2)      as numeric, must fit (8,2)
  \"varchar\"  Utf8 -> character varying(10)          as text, at most 10 characters
  bool     Boolean -> boolean                     as bool, not null";
    let lines = |text: &str| {
        text.lines()
            .map(|l| l.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect::<Vec<_>>()
    };
    assert_eq!(lines(&plan.to_string()), lines(expected));
    assert_eq!(plan.columns()[2].field, FieldPlan::Bool);
}

#[test]
fn a_tables_own_schema_can_be_written_back() {
    let mut relation = relation();
    relation
        .columns
        .retain(|column| column.ty.kind != PgTypeKind::Other);
    EncodePlan::new(&to_arrow_schema(&relation), &relation).unwrap();
}

#[test]
fn opaque_values_go_back_into_their_own_type() {
    let relation = relation();
    let opaque = |column: &str, name: &str| {
        let metadata = format!(r#"{{"type_name": "{name}", "vendor_name": "PostgreSQL"}}"#);
        let metadata = [
            ("ARROW:extension:name".to_owned(), "arrow.opaque".to_owned()),
            ("ARROW:extension:metadata".to_owned(), metadata),
        ];
        let field =
            Field::new(column, DataType::Binary, true).with_metadata(HashMap::from(metadata));
        Schema::new(vec![field])
    };
    let plan = EncodePlan::new(&opaque("circle", "circle"), &relation).unwrap();
    assert_eq!(plan.columns()[0].field, FieldPlan::Opaque);
    refuse(
        opaque("bytea", "circle"),
        &relation,
        "bytea",
        "goes only into columns of that type",
    );
}
