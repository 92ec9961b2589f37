//! `docs/types.md` is what the mapping says: made from it, and held to it.

use std::sync::Arc;
use std::{env, fs};

use arrow_schema::{
    DataType, Field, Fields, IntervalUnit, Schema, TimeUnit, UnionFields, UnionMode,
};
use pgflight::encode::format::HEADER;
use pgflight::plan::{
    Attribute, Column, EncodePlan, Ident, PgType, PgTypeKind, QualifiedName, Relation,
};

use crate::random_types::{COLUMNS, ROUNDS};
use crate::types::{CAST, Case, ENCODED};

const INTRODUCTION: &str = "\
# Types

Which Arrow type goes into which PostgreSQL type. The column's type comes from the catalog; domains
count as the type they are over, and a type of an extension that receives the same bytes counts as
that type: `citext` is text. Dictionaries and runs count as their values, views of lists as lists; but runs, views of
lists and unions are not taken from the wire, only from Rust.
What is not listed is refused before the first row, with a message that names both types and says
what would work.

Every value is checked: one that does not fit (out of range, a lost digit, a string that is too long
or no UUID) is an error that names column and row. Nothing is rounded or shifted in silence, and only
blanks at the end of a string too long for `varchar(n)` are cut, as the SQL standard has it.

Made of others:

- A struct goes into a composite type that has an attribute of each field's name, in any order.
- A struct of `lower` and `upper`, and perhaps of the booleans `lower_inc`, `upper_inc` and `empty`,
  is a range; a list of them is a multirange. A NULL bound is infinite. Without the booleans the
  lower bound belongs to the range and the upper one does not, as in PostgreSQL's `[)`.
- A map of strings, or a struct of strings, goes into hstore.
- A list of numbers goes into a vector (pgvector) when every number is exact in its elements.
- Binary goes into PostGIS's geometry and geography as well-known binary (WKB, EWKB). PostGIS itself
  has not been tried yet.
- Binary of the extension type `arrow.opaque`, vendor `PostgreSQL`, goes into the type that it names,
  as it is.

Strings are parsed for columns that are not text:

| column | form |
| --- | --- |
| boolean | `true`, `yes`, `on`, `1`, their opposites, and what they begin with |
| smallint, integer, bigint, oid | decimal digits, perhaps with a sign |
| real, double precision, numeric | `-12.5`, `1.5e-7`, `NaN`, `Infinity` |
| bytea | `\\x00ff` |
| date | `2013-01-01`, `infinity` |
| time | `12:30:00.25` |
| timetz | `12:30:00+02:00` |
| timestamp | `2013-01-01T12:30:00`, `2013-01-01 12:30:00`, `2013-01-01`; no offset from UTC |
| timestamptz | the same with its offset from UTC, `Z` or `+02:00` |
| bit, varbit | zeros and ones |
| inet, cidr | `192.168.0.1`, `10.0.0.0/8`, `2001:db8::1` |
| macaddr, macaddr8 | `08:00:2b:01:02:03` |

What else a string goes into, PostgreSQL casts: a whole column, or lists of strings for an array. The
strings wait in a staging table and are cast when the rows are published (`INSERT … SELECT doc::tsvector`),
by PostgreSQL's own rules. Below it stands after \"cast:\". It takes in every type that PostgreSQL has or
an extension brings: points and polygons, text search, intervals, ranges, arrays and composites in their
text form, types without a binary form. It is refused where a length or precision would round or cut
(`interval(3)`), for money, for keys and order_by, for direct publishing, for overwrite by swap, and for
writes of many partitions that make their table.

What would change a value is done only when it is asked for, by column: in the command (`conversions`
of `WriteSpec`, of the Python client and of the Spark data source) or in the metadata of the Arrow field.

| conversion | metadata of the field | what it allows |
| --- | --- | --- |
| `rounding`: `floor`, `nearest` | `pgflight.rounding` | nanoseconds to microseconds, fractions of a second to `timestamp(3)`, decimals to `numeric(p,s)`, integers or money, doubles to real (`nearest`) |
| `zone`: `UTC`, `+02:00` | `pgflight.zone` | a timestamp without a zone to timestamptz, as local time there; one with a zone to timestamp, as the local time there |
| `nul`: `remove` | `pgflight.nul` | text with NUL characters, without them |

`floor` goes down below zero as well: one nanosecond before 1970 becomes one microsecond before 1970.
Named zones are not taken, nor anything within lists and structs.

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
    let bounds = Fields::from(vec![
        Field::new("lower", D::Int32, true),
        Field::new("upper", D::Int32, true),
    ]);
    let text_entries = D::Struct(Fields::from(vec![
        Field::new("key", D::Utf8, false),
        Field::new("value", D::Utf8, true),
    ]));
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
        ("struct of a", D::Struct(fields)),
        (
            "map of string to int32",
            D::Map(
                Arc::new(Field::new("entries", D::Struct(entries), false)),
                false,
            ),
        ),
        (
            "dictionary of string",
            D::Dictionary(D::Int32.into(), D::Utf8.into()),
        ),
        ("list of float32", D::List(item(D::Float32))),
        ("struct of lower and upper", D::Struct(bounds.clone())),
        (
            "list of struct of lower and upper",
            D::ListView(item(D::Struct(bounds))),
        ),
        (
            "map of string to string",
            D::Map(Arc::new(Field::new("entries", text_entries, false)), false),
        ),
        ("union", D::Union(UnionFields::empty(), UnionMode::Sparse)),
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
        ("xid8", K::Xid8),
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
        ("timetz", K::Timetz),
        ("money", K::Money { fraction_digits: 2 }),
        ("bit", K::Bit),
        ("varbit", K::Varbit),
        ("inet", K::Inet),
        ("cidr", K::Cidr),
        ("macaddr", K::Macaddr),
        ("macaddr8", K::Macaddr8),
        ("jsonpath", K::VersionedText),
        ("ltree", K::VersionedText),
        ("hstore", K::Hstore),
        ("vector", K::Vector),
        ("halfvec", K::Halfvec),
        ("sparsevec", K::Sparsevec),
        ("point", K::Point),
        ("geometry", K::Geometry),
    ];
    let mut types: Vec<PgType> = scalars
        .into_iter()
        .map(|(name, kind)| ty(name, kind))
        .collect();
    types.push(ty("enum", K::Enum(vec!["a".to_owned()])));
    let integer = || Box::new(ty("integer", K::Int4));
    types.push(ty("int4range", K::Range(integer())));
    types.push(ty("int4multirange", K::Multirange(integer())));
    let attributes = vec![Attribute {
        name: "a".to_owned(),
        ty: *integer(),
        typmod: -1,
    }];
    types.push(ty("composite of a", K::Composite(attributes)));
    types.push(ty("other types", K::Other));
    types.push(ty("text[]", K::Array(ty("text", K::Text).into())));
    types.push(ty("integer[]", K::Array(ty("integer", K::Int4).into())));
    types
}

#[derive(PartialEq)]
enum How {
    Encoded,
    Cast,
    Refused,
}

fn goes(data_type: &DataType, ty: &PgType) -> How {
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
    let schema = Schema::new(vec![Field::new("c", data_type.clone(), true)]);
    match EncodePlan::new(&schema, &relation) {
        Ok(plan) if plan.first_cast().is_some() => How::Cast,
        Ok(_) => How::Encoded,
        Err(_) => How::Refused,
    }
}

/// What the tests try, counted where they keep it.
fn proof() -> String {
    let (files, rows, cells) = golden();
    let values = |cases: &[Case]| -> usize { cases.iter().map(|(_, values)| values.len()).sum() };
    format!(
        "
## What it is held to

PostgreSQL is the judge of all of it:

- {files} files of bytes that PostgreSQL made, with the SQL that they came from (`tests/golden`): {rows} rows,
  {cells} cells. The encoder has to make the same bytes of the same values, also of slices.
- Strings for {} types that are encoded, {} values, and for {} that PostgreSQL casts, {} values: each by
  itself, through a domain and as items of an array, next to what PostgreSQL itself reads from the text.
- In every run of the tests {ROUNDS} tables of {COLUMNS} columns of random types and layouts, lists and
  composites of them included, next to the same values written as SQL, as text and as binary.
- In every run of the tests random schemas, types and values whose bytes have to be as PostgreSQL's receive
  functions read them (`src/encode/tests/fuzz.rs`; `PGFLIGHT_FUZZ_SECONDS` makes it longer). Here the judge
  is a parser written from PostgreSQL's sources.
",
        ENCODED.len(),
        values(ENCODED),
        CAST.len(),
        values(CAST),
    )
}

/// Files of golden bytes, and the rows and cells in them.
fn golden() -> (usize, usize, usize) {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden");
    let (mut files, mut rows, mut cells) = (0, 0, 0);
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "bin") {
            continue;
        }
        let bytes = fs::read(&path).unwrap();
        let mut rest = &bytes[HEADER.len()..];
        files += 1;
        while let Some((fields, tail)) = rest.split_first_chunk() {
            rest = tail;
            // The trailer counts -1.
            let Ok(fields) = usize::try_from(i16::from_be_bytes(*fields)) else {
                break;
            };
            rows += 1;
            cells += fields;
            for _ in 0..fields {
                let (length, tail) = rest.split_first_chunk().unwrap();
                let length = usize::try_from(i32::from_be_bytes(*length)).unwrap_or(0);
                rest = &tail[length..];
            }
        }
    }
    (files, rows, cells)
}

#[test]
fn the_page_about_types_says_what_the_mapping_does() {
    let targets = postgres_types();
    let mut page = INTRODUCTION.to_owned();
    let (mut pairs, mut encoded_count, mut cast_count) = (0, 0, 0);
    for (name, data_type) in arrow_types() {
        let those = |how: How| -> Vec<&str> {
            let targets = targets.iter().filter(|ty| goes(&data_type, ty) == how);
            targets.map(|ty| ty.name.as_str()).collect()
        };
        let (encoded, cast) = (those(How::Encoded), those(How::Cast));
        pairs += targets.len();
        encoded_count += encoded.len();
        cast_count += cast.len();
        let mut accepted = match encoded.len() {
            0 => "nothing yet".to_owned(),
            count if count == targets.len() => "every type".to_owned(),
            _ => encoded.join(", "),
        };
        if !cast.is_empty() {
            accepted.push_str(&format!("; cast: {}", cast.join(", ")));
        }
        page.push_str(&format!("| {name} | {accepted} |\n"));
    }
    page.push_str(&format!(
        "\nOf these {pairs} pairs {encoded_count} are encoded, {cast_count} cast and the others refused.\n"
    ));
    page.push_str(&proof());
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
