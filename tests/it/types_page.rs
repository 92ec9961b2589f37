//! `docs/types.md` is what the mapping says: made from it, and held to it.

use std::sync::Arc;
use std::{env, fs};

use arrow_schema::{DataType, Field, Fields, IntervalUnit, Schema, TimeUnit};
use pgflight::plan::{Column, EncodePlan, Ident, PgType, PgTypeKind, QualifiedName, Relation};

const INTRODUCTION: &str = "\
# Types

Which Arrow type goes into which PostgreSQL type. The column's type comes from the catalog; domains
count as the type they are over. What is not listed is refused before the first row, with a message
that names both types.

Every value is checked: one that does not fit (out of range, a lost digit, a string that is too long
or no UUID) is an error that names column and row. Nothing is rounded or shifted in silence, and only
blanks at the end of a string too long for `varchar(n)` are cut, as the SQL standard has it.

This page is made from the mapping itself: `PGFLIGHT_UPDATE=1 scripts/test rust` writes it again.

| Arrow | PostgreSQL |
| --- | --- |
";

fn arrow_types() -> Vec<(&'static str, DataType)> {
    use DataType as D;
    let item = |data_type| Arc::new(Field::new("item", data_type, true));
    let fields = Fields::from(vec![Field::new("a", D::Int32, true)]);
    let entries = Fields::from(vec![
        Field::new("key", D::Utf8, false),
        Field::new("value", D::Int32, true),
    ]);
    vec![
        ("null", D::Null),
        ("bool", D::Boolean),
        ("int8, int16, int32, int64, uint8, uint16, uint32", D::Int64),
        ("uint64", D::UInt64),
        ("float16, float32", D::Float32),
        ("float64", D::Float64),
        (
            "decimal32, decimal64, decimal128, decimal256",
            D::Decimal128(38, 9),
        ),
        ("string, large_string, string_view", D::Utf8),
        ("binary, large_binary, binary_view", D::Binary),
        ("fixed_size_binary[16]", D::FixedSizeBinary(16)),
        ("date32, date64", D::Date32),
        ("time32, time64", D::Time64(TimeUnit::Microsecond)),
        (
            "timestamp without zone",
            D::Timestamp(TimeUnit::Microsecond, None),
        ),
        (
            "timestamp with zone",
            D::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        ),
        ("duration", D::Duration(TimeUnit::Microsecond)),
        ("interval", D::Interval(IntervalUnit::MonthDayNano)),
        ("list of string", D::List(item(D::Utf8))),
        (
            "list of list of int32",
            D::List(item(D::List(item(D::Int32)))),
        ),
        ("struct", D::Struct(fields)),
        (
            "map",
            D::Map(
                Arc::new(Field::new("entries", D::Struct(entries), false)),
                false,
            ),
        ),
        (
            "dictionary of string",
            D::Dictionary(D::Int32.into(), D::Utf8.into()),
        ),
        (
            "union, run_end_encoded, list_view",
            D::ListView(item(D::Int32)),
        ),
    ]
}

fn postgres_types() -> Vec<PgType> {
    use PgTypeKind as K;
    let ty = |name: &str, kind| PgType {
        oid: 0,
        name: name.to_owned(),
        kind,
    };
    let scalars = [
        ("boolean", K::Bool),
        ("smallint", K::Int2),
        ("integer", K::Int4),
        ("bigint", K::Int8),
        ("oid", K::Oid),
        ("real", K::Float4),
        ("double precision", K::Float8),
        ("numeric", K::Numeric),
        ("text", K::Text),
        ("varchar", K::Varchar),
        ("char", K::Bpchar),
        ("name", K::Name),
        ("bytea", K::Bytea),
        ("json", K::Json),
        ("jsonb", K::Jsonb),
        ("uuid", K::Uuid),
        ("date", K::Date),
        ("time", K::Time),
        ("timestamp", K::Timestamp),
        ("timestamptz", K::Timestamptz),
        ("interval", K::Interval),
    ];
    let mut types: Vec<PgType> = scalars
        .into_iter()
        .map(|(name, kind)| ty(name, kind))
        .collect();
    types.push(ty("enum", K::Enum(vec!["a".to_owned()])));
    types.push(ty("text[]", K::Array(ty("text", K::Text).into())));
    types.push(ty("integer[]", K::Array(ty("integer", K::Int4).into())));
    types
}

fn goes(data_type: &DataType, ty: &PgType) -> bool {
    let name = Ident::new("c").unwrap();
    let column = Column {
        name: name.clone(),
        ty: ty.clone(),
        typmod: -1,
        nullable: true,
        has_default: false,
        generated: false,
        identity_always: false,
    };
    let relation = Relation {
        oid: 1,
        name: QualifiedName {
            schema: name.clone(),
            name,
        },
        columns: vec![column],
    };
    EncodePlan::new(
        &Schema::new(vec![Field::new("c", data_type.clone(), true)]),
        &relation,
    )
    .is_ok()
}

#[test]
fn the_page_about_types_says_what_the_mapping_does() {
    let targets = postgres_types();
    let mut page = INTRODUCTION.to_owned();
    for (name, data_type) in arrow_types() {
        let accepted: Vec<&str> = targets
            .iter()
            .filter(|ty| goes(&data_type, ty))
            .map(|ty| ty.name.as_str())
            .collect();
        let accepted = match accepted.len() {
            0 => "nothing yet".to_owned(),
            count if count == targets.len() => "every type".to_owned(),
            _ => accepted.join(", "),
        };
        page.push_str(&format!("| {name} | {accepted} |\n"));
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/types.md");
    if env::var_os("PGFLIGHT_UPDATE").is_some() {
        fs::write(path, &page).unwrap();
    }
    assert_eq!(
        fs::read_to_string(path).unwrap(),
        page,
        "run again with PGFLIGHT_UPDATE=1"
    );
}
