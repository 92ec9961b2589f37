//! Every PostgreSQL type that the mapping knows, and PostgreSQL's own result for a value in it.

use arrow_pgcopy::conversion::{Form, Rounding, Unit};
use arrow_pgcopy::table::Attribute;
use arrow_pgcopy::{
    Column, Conversion, EncodePlan, Ident, PgType, PgTypeKind, QualifiedName, Relation,
};

use arrow::datatypes::{Field, Schema};

use super::sources::{Source, Values};

/// Types of extensions that not every machine has. Golden bytes test them.
pub(crate) const EXTENSIONS: [&str; 4] = ["vector", "halfvec", "sparsevec", "geometry"];

/// The types, by their names on the page.
pub(crate) fn targets() -> Vec<PgType> {
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
        ("money", K::Money { fraction_digits: 2 }),
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
        ("timetz", K::Timetz),
        ("timestamp", K::Timestamp),
        ("timestamptz", K::Timestamptz),
        ("interval", K::Interval),
        ("bit", K::Bit),
        ("varbit", K::Varbit),
        ("inet", K::Inet),
        ("cidr", K::Cidr),
        ("macaddr", K::Macaddr),
        ("macaddr8", K::Macaddr8),
        ("jsonpath", K::VersionedText),
        ("ltree", K::VersionedText),
        ("point", K::Point),
        ("hstore", K::Hstore),
        ("vector", K::Vector),
        ("halfvec", K::Halfvec),
        ("sparsevec", K::Sparsevec),
        ("geometry", K::Geometry),
        ("tsvector", K::Other),
    ];
    let mut types: Vec<PgType> = scalars.map(|(name, kind)| ty(name, kind)).into();
    let integer = || ty("integer", K::Int4);
    let text = || ty("text", K::Text);
    let composite = |attributes: [(&str, PgType); 2]| {
        let attributes = attributes.map(|(name, ty)| Attribute {
            name: name.to_owned(),
            ty,
            typmod: -1,
        });
        ty("composite", K::Composite(attributes.into()))
    };
    types.push(ty("enum", K::Enum(vec!["ok".to_owned()])));
    types.push(ty("int4range", K::Range(integer().into())));
    types.push(ty("int4multirange", K::Multirange(integer().into())));
    types.push(composite([("a", integer()), ("b", text())]));
    types.push(ty("text[]", K::Array(text().into())));
    types.push(ty("integer[]", K::Array(integer().into())));
    let entry = composite([("key", text()), ("value", text())]);
    types.push(ty("composite[]", K::Array(entry.into())));
    types
}

/// Creates the types of these names in the test's database.
pub(crate) const SETUP: &str = "
    CREATE EXTENSION hstore; CREATE EXTENSION ltree;
    CREATE TYPE mood AS ENUM ('sad', 'ok', 'so so'); CREATE TYPE pair AS (a int, b text);
    CREATE TYPE entry AS (key text, value text)";

/// A column's type in SQL.
pub(crate) fn sql_type(source: &Source, target: &str) -> String {
    let bits = match &source.values {
        Values::Scalar(..) => 1,
        Values::Text(_) | Values::TextLists(_) | Values::Nested(..) => 3,
        Values::Binary(width, _) => 8 * width.unwrap_or(16),
    };
    match target {
        "bit" => format!("bit({bits})"),
        "char" => "bpchar".to_owned(),
        "enum" => "mood".to_owned(),
        "composite" => "pair".to_owned(),
        "composite[]" => "entry[]".to_owned(),
        target => target.to_owned(),
    }
}

/// The conversions that make a pair of types acceptable, with their names on the page.
pub(crate) fn conversions() -> Vec<(&'static str, Conversion)> {
    let none = Conversion::default;
    let form = |form| Conversion {
        form: Some(form),
        ..none()
    };
    let zone = || Conversion {
        zone: Some("+02:00".to_owned()),
        ..none()
    };
    let unit = |unit| Conversion {
        unit: Some(unit),
        ..none()
    };
    let rounding = Conversion {
        rounding: Some(Rounding::Nearest),
        ..none()
    };
    let zone_and_part = Conversion {
        form: Some(Form::Part),
        ..zone()
    };
    vec![
        ("rounding", rounding),
        ("zone", zone()),
        ("form: part", form(Form::Part)),
        ("zone and form: part", zone_and_part),
        ("form: number", form(Form::Number)),
        ("unit: days", unit(Unit::Days)),
        ("unit: seconds", unit(Unit::Seconds)),
        ("form: text", form(Form::Text)),
        ("form: utf8", form(Form::Utf8)),
        ("form: hex", form(Form::Hex)),
        ("form: base64", form(Form::Base64)),
        ("form: address", form(Form::Address)),
    ]
}

/// The way in which a pair of types is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    Encoded,
    Cast,
    Refused,
}

/// Asks the mapping how a pair is written.
pub(crate) fn goes(source: &Source, ty: &PgType, asked: Option<&Conversion>) -> How {
    let name = Ident::new("c").unwrap();
    let column = Column::new(name.clone(), ty.clone());
    let relation = Relation {
        oid: 1,
        name: QualifiedName {
            schema: name.clone(),
            name,
        },
        columns: vec![column],
    };
    let field: Field = source.field("c", &source.data_type());
    let asked = asked.map(|asked| ("c".to_owned(), asked.clone()));
    let asked = asked.into_iter().collect();
    match EncodePlan::with_conversions(&Schema::new(vec![field]), &relation, &asked) {
        Ok(plan) if plan.first_cast().is_some() => How::Cast,
        Ok(_) => How::Encoded,
        Err(_) => How::Refused,
    }
}

/// Returns the SQL of PostgreSQL's result for `x`, a value of SQL type `ty`, in a column of this type with this
/// conversion. Without one, the type is read from the text of the value.
pub(crate) fn expected(
    source: &Source,
    ty: &str,
    target: &str,
    asked: Option<&str>,
    x: &str,
) -> String {
    let sql_type = sql_type(source, target);
    let binary = matches!(source.values, Values::Binary(..));
    let there = "INTERVAL '+02:00'";
    match (asked, target) {
        (None, "boolean") if source.extension == Some("arrow.bool8") => {
            format!("({x})::int::boolean")
        }
        (None, "smallint" | "integer" | "bigint") => format!("({x})::numeric::{sql_type}"),
        (None, "uuid") if binary => format!("encode({x}, 'hex')::uuid"),
        (None, "bit" | "varbit") if binary => format!("('x' || encode({x}, 'hex'))::{sql_type}"),
        (None, "bytea") if binary => x.to_owned(),
        (None, _) => format!("({x})::text::{sql_type}"),
        // To the nearest, and from the middle away from zero.
        (Some("rounding"), "real" | "double precision") => format!("({x})::{sql_type}"),
        (Some("rounding"), _) => format!("({x})::numeric::{sql_type}"),
        (Some("zone"), "timestamptz") => format!("({x})::timestamp AT TIME ZONE {there}"),
        (Some("zone"), "timetz") => format!("(({x})::text || '+02:00')::timetz"),
        (Some("zone"), "date") => format!("(({x}) AT TIME ZONE {there})::date"),
        (Some("zone"), _) => format!("({x}) AT TIME ZONE {there}"),
        (Some("form: part"), _) => format!("({x})::{sql_type}"),
        (Some("zone and form: part"), _) => format!("(({x}) AT TIME ZONE {there})::{sql_type}"),
        (Some("form: number"), "boolean") => format!("({x})::int::boolean"),
        (Some("form: number"), "bit" | "varbit") => format!("({x})::int::text::{sql_type}"),
        (Some("form: number"), _) => format!("({x})::int::{sql_type}"),
        (Some("unit: days"), _) => format!("DATE '1970-01-01' + ({x})::int"),
        (Some("unit: seconds"), "timestamptz") => format!("to_timestamp({x})"),
        (Some("unit: seconds"), "timestamp") => {
            format!("TIMESTAMP '1970-01-01' + ({x}) * INTERVAL '1 second'")
        }
        (Some("unit: seconds"), "interval") => format!("({x}) * INTERVAL '1 second'"),
        // With the digits that the unit of the data has.
        (Some("unit: seconds"), "numeric") => {
            let digits = match source.name.split(['[', ',', ']']).nth(1) {
                Some("ms") => 3,
                Some("us") => 6,
                Some("ns") => 9,
                _ => 0,
            };
            format!("extract(epoch FROM {x})::numeric(30, {digits})")
        }
        (Some("unit: seconds"), _) => format!("extract(epoch FROM {x})::numeric(20)::{sql_type}"),
        // The column is read back: see `read_back`.
        (Some("form: text"), _) if ty == "bytea" => format!("encode({x}, 'hex')::uuid"),
        (Some("form: text"), _) => x.to_owned(),
        (Some("form: utf8"), _) => format!("convert_from({x}, 'UTF8')::{sql_type}"),
        (Some("form: hex"), _) => format!("encode({x}, 'hex')"),
        (Some("form: base64"), _) => format!("encode({x}, 'base64')"),
        (Some("form: address"), "macaddr" | "macaddr8") => format!("encode({x}, 'hex')::{sql_type}"),
        (Some("form: address"), _) => format!(
            "CASE length({x}) WHEN 4 THEN concat_ws('.', get_byte({x}, 0), get_byte({x}, 1), get_byte({x}, 2), get_byte({x}, 3))
             ELSE rtrim(regexp_replace(encode({x}, 'hex'), '(.{{4}})', '\\1:', 'g'), ':') END::{sql_type}"
        ),
        (Some(asked), target) => panic!("nothing says what {asked} makes of {ty} in {target}"),
    }
}

/// Returns the type that a column is read as for the comparison: that of the source, for values written as text.
pub(crate) fn read_back(ty: &str, sql_type: &str, asked: Option<&str>) -> String {
    match (asked, ty) {
        (Some("form: text"), "bytea") => "uuid".to_owned(),
        (Some("form: text"), ty) => ty.to_owned(),
        (Some("form: hex" | "form: base64"), _) => "text".to_owned(),
        _ => sql_type.to_owned(),
    }
}

/// Returns how many of the source's values fit the column.
pub(crate) fn fitting(source: &Source, target: &str, asked: Option<&str>) -> usize {
    match (&source.values, asked, target) {
        // A quarter is not an integer, a hundred not a boolean, and thirteen hundred million not a smallint.
        (Values::Scalar(_, "numeric", _), None, "smallint" | "integer" | "bigint") => 3,
        (
            Values::Scalar(_, "real" | "double precision", _),
            None,
            "smallint" | "integer" | "bigint",
        ) => 2,
        (Values::Nested(..), None, "integer[]") if source.name.starts_with("list of float") => 1,
        (Values::Scalar(_, "bigint", _), Some("form: number"), "boolean") => 3,
        (Values::Scalar(_, "timestamp" | "timestamptz", _), Some("unit: seconds"), "smallint") => 3,
        // Only the first is a midnight.
        (Values::Scalar(_, "timestamp", _), None, "date") => 1,
        (Values::Scalar(_, "timestamptz", _), Some("zone"), "date") => 1,
        _ => usize::MAX,
    }
}
