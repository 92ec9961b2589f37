//! Every pair of types that the mapping accepts, with and without a conversion, written by the server and compared
//! to PostgreSQL's result for the same value. A pair without a test value fails the test.

pub(crate) mod sources;
pub(crate) mod targets;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BinaryArray, Int32Array, RecordBatch, StringArray, UInt32Array,
};
use arrow::compute::take;
use arrow::datatypes::{Field, Schema};
use arrow_pgcopy::conversion::{Form, Rounding, Unit};
use arrow_pgcopy::{Conversion, PgType};
use serde_json::{Value, json};

use self::sources::{Source, Values, sources, texts};
use self::targets::{
    EXTENSIONS, How, SETUP, conversions, expected, fitting, goes, read_back, sql_type, targets,
};
use super::random_types::put;
use crate::sql::{APPEND, SqlClient, connect, ingest, into};
use crate::support::{Client, Database, Pgflight};

/// A type that PostgreSQL has from version 14; older versions have no infinity in numeric either.
const MULTIRANGE: &str = "int4multirange";

/// The counts of what is tested, without [`EXTENSIONS`].
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Tried {
    pub(crate) pairs: usize,
    pub(crate) cells: usize,
    pub(crate) rows: usize,
}

/// A column to write: its type, its values, and their results in SQL.
struct Written {
    target: String,
    sql_type: String,
    /// The type that the column is read as.
    read_as: String,
    array: ArrayRef,
    becomes: Vec<Option<String>>,
}

/// Returns the types that are accepted because of the conversion, or without one if there is none.
pub(crate) fn taken<'a>(
    source: &Source,
    types: &'a [PgType],
    asked: Option<&Conversion>,
) -> Vec<(&'a PgType, How)> {
    let how = types.iter().map(|ty| {
        let how = goes(source, ty, asked);
        let anyway = asked.is_some() && goes(source, ty, None) != How::Refused;
        (ty, if anyway { How::Refused } else { how })
    });
    how.filter(|(_, how)| *how != How::Refused).collect()
}

fn columns(source: &Source, asked: Option<(&str, &Conversion)>, here: &[&str]) -> Vec<Written> {
    let types = targets();
    let name = asked.map(|(name, _)| name);
    let taken = taken(source, &types, asked.map(|(_, conversion)| conversion));
    let tried = taken.into_iter().filter(|(ty, _)| {
        let name = ty.name.as_str();
        !(EXTENSIONS.contains(&name) || name == MULTIRANGE) || here.contains(&name)
    });
    tried
        .map(|(ty, _)| {
            let target = ty.name.as_str();
            let sql_type = sql_type(source, target);
            let (array, ty, literals) = values(source, target);
            let fitting = fitting(source, target, name);
            // A value that the column cannot take is NULL.
            let kept = (0_u32..).take(array.len()).enumerate();
            let fits = |row: usize| {
                let literal = literals.get(row).and_then(Option::as_deref);
                let is_infinite = literal.is_some_and(|x| x.to_ascii_lowercase().contains("inf"));
                let is_too_new = target == "numeric" && is_infinite && !here.contains(&MULTIRANGE);
                row < fitting && !is_too_new
            };
            let kept = kept.map(|(row, index)| fits(row).then_some(index));
            let array = take(&array, &kept.collect::<UInt32Array>(), None).unwrap();
            let becomes = literals.iter().enumerate().map(|(row, literal)| {
                let x = literal.clone().filter(|_| fits(row))?;
                Some(match &source.values {
                    // A literal of the column's own type, unless the column is read back.
                    Values::Text(_) | Values::TextLists(_) | Values::Nested(..) => x,
                    Values::Scalar(..) | Values::Binary(..) => {
                        expected(source, ty, target, name, &x)
                    }
                })
            });
            let read_as = read_back(ty, &sql_type, name);
            Written {
                becomes: becomes.collect(),
                target: target.to_owned(),
                sql_type,
                read_as,
                array,
            }
        })
        .collect()
}

/// Returns values for a column of this type, their SQL type, and each as SQL.
fn values(source: &Source, target: &str) -> (ArrayRef, &'static str, Vec<Option<String>>) {
    let literal = |text: &str, ty: &str| {
        let text = text.replace('\\', "\\\\").replace('\'', "''");
        format!("E'{text}'::{ty}")
    };
    match &source.values {
        Values::Scalar(array, ty, sql) => {
            let sql = sql.iter();
            let sql = sql.map(|text| (!text.is_empty()).then(|| literal(text, ty)));
            (array.clone(), ty, sql.collect())
        }
        Values::Text(layout) => {
            let texts = texts(target);
            let array: StringArray = texts.iter().copied().map(Some).chain([None]).collect();
            let ty = sql_type(source, target);
            let sql = texts.iter().map(|text| Some(literal(text, &ty)));
            (layout(array), "text", sql.chain([None]).collect())
        }
        Values::TextLists(layout) => {
            let texts = match target {
                "integer[]" => [Some("1"), None, Some("3")],
                "composite[]" => [Some("(k,\"v w\")"), None, Some("(,)")],
                _ => [Some("a"), None, Some("b c")],
            };
            let array = layout(StringArray::from(texts.to_vec()));
            let documents = matches!(
                target,
                "json" | "jsonb" | "text" | "varchar" | "char" | "name"
            );
            let sql = match documents {
                true => literal(
                    "[\"a\",null,\"b c\"]",
                    if target == "json" { "json" } else { "jsonb" },
                ),
                false => {
                    let items =
                        texts.map(|text| text.map_or("NULL".into(), |text| literal(text, "text")));
                    format!(
                        "ARRAY[{}]::text[]::{}",
                        items.join(", "),
                        sql_type(source, target)
                    )
                }
            };
            (array, "jsonb", vec![Some(sql), None])
        }
        Values::Binary(width, layout) => {
            let width = width.unwrap_or(match target {
                "macaddr" => 6,
                "macaddr8" => 8,
                _ => 16,
            });
            // It is JSON, so that it is a valid document too.
            let blobs: [Vec<u8>; 2] = [b'7', b' '].map(|last| {
                let mut blob = vec![b'1'; width];
                blob[width - 1] = last;
                blob
            });
            let sql = blobs.iter().map(|blob| {
                let hex: String = blob.iter().map(|byte| format!("{byte:02x}")).collect();
                Some(literal(&format!("\\x{hex}"), "bytea"))
            });
            let sql = sql.chain([None]).collect();
            let array: BinaryArray = blobs.iter().map(Some).chain([None]).collect();
            (layout(array), "bytea", sql)
        }
        Values::Nested(array, types) => {
            let of = |target: &str| types.iter().find(|(name, _)| *name == target);
            // Text columns hold them as documents.
            let textual = matches!(target, "text" | "varchar" | "char" | "name");
            let (as_is, sql) = match textual {
                true => ("jsonb".to_owned(), of("jsonb")),
                false => (sql_type(source, target), of(target)),
            };
            let (_, sql) = sql.unwrap_or_else(|| {
                panic!(
                    "there is no value of {} to be tried in {target}",
                    source.name
                )
            });
            let sql = sql.iter();
            let sql = sql.map(|text| (!text.is_empty()).then(|| literal(text, &as_is)));
            (array.clone(), "jsonb", sql.collect())
        }
    }
}

/// Counts what the test covers on any machine.
pub(crate) fn to_try() -> Tried {
    let mut tried = Tried::default();
    let conversions = conversions();
    for source in sources() {
        let asked = conversions.iter().map(|(name, asked)| Some((*name, asked)));
        for asked in std::iter::once(None).chain(asked) {
            let columns = columns(&source, asked, &[MULTIRANGE]);
            let rows = columns.iter().map(|column| column.array.len()).max();
            let rows = rows.unwrap_or(0);
            tried.pairs += columns.len();
            tried.cells += columns.len() * rows;
            tried.rows += rows;
        }
    }
    tried
}

/// Returns a conversion in the command's form.
fn as_json(asked: &Conversion) -> Value {
    let mut fields = json!({});
    if asked.rounding == Some(Rounding::Nearest) {
        fields["rounding"] = json!("ROUNDING_NEAREST");
    }
    if let Some(zone) = &asked.zone {
        fields["zone"] = json!(zone);
    }
    if let Some(form) = asked.form {
        fields["form"] = json!(match form {
            Form::Text => "FORM_TEXT",
            Form::Number => "FORM_NUMBER",
            Form::Part => "FORM_PART",
            Form::Utf8 => "FORM_UTF8",
            Form::Utf8Lossy => "FORM_UTF8_LOSSY",
            Form::Hex => "FORM_HEX",
            Form::Base64 => "FORM_BASE64",
            Form::Address => "FORM_ADDRESS",
        });
    }
    if let Some(unit) = asked.unit {
        fields["unit"] = json!(match unit {
            Unit::Days => "UNIT_DAYS",
            Unit::Seconds => "UNIT_SECONDS",
            Unit::Milliseconds => "UNIT_MILLISECONDS",
            Unit::Microseconds => "UNIT_MICROSECONDS",
            Unit::Nanoseconds => "UNIT_NANOSECONDS",
        });
    }
    fields
}

/// The way of the rows to the server.
enum Door {
    Native(Client),
    /// It has no conversions.
    FlightSql(SqlClient),
}

impl Door {
    async fn append(&mut self, batch: RecordBatch, conversions: &Value) -> Result<(), String> {
        match self {
            Self::Native(client) => {
                let spec = json!({"table": "t", "append": {}, "conversions": conversions});
                let appended = client.put(put(batch, spec).await).await;
                appended.map(drop).map_err(|error| format!("{error:?}"))
            }
            Self::FlightSql(client) => {
                let appended = ingest(client, into("t", APPEND), &[batch]).await;
                appended.map(drop).map_err(|error| format!("{error:?}"))
            }
        }
    }
}

async fn check(
    door: &mut Door,
    database: &Database,
    source: &Source,
    asked: Option<(&str, &Conversion)>,
    here: &[&str],
    tried: &mut Tried,
) {
    let columns = columns(source, asked, here);
    // Columns may have different numbers of values. The shorter ones end with NULLs.
    let rows = columns.iter().map(|column| column.array.len()).max();
    let Some(rows) = rows else { return };
    let definitions = |ty: fn(&Written) -> &str| {
        let columns = columns.iter().enumerate();
        let columns = columns.map(|(i, column)| format!("c{i} {}", ty(column)));
        columns.collect::<Vec<_>>().join(", ")
    };
    let sql = (0..rows).map(|row| {
        let cells = columns.iter().map(|column| match column.becomes.get(row) {
            Some(Some(sql)) => sql.clone(),
            _ => "NULL".to_owned(),
        });
        let values: Vec<String> = cells.collect();
        format!("INSERT INTO expected VALUES ({row}, {})", values.join(", "))
    });
    let sql: Vec<String> = sql.collect();
    database
        .execute(&format!(
            "DROP TABLE IF EXISTS t, expected; CREATE TABLE t (n int, {}); CREATE TABLE expected (n int, {}); {}",
            definitions(|column| &column.sql_type),
            definitions(|column| &column.read_as),
            sql.join("; ")
        ))
        .await;

    let numbers: ArrayRef = Arc::new((0_i32..).take(rows).map(Some).collect::<Int32Array>());
    let mut fields = vec![Field::new("n", numbers.data_type().clone(), true)];
    let mut arrays = vec![numbers];
    let mut conversions = BTreeMap::new();
    for (i, column) in columns.iter().enumerate() {
        let name = format!("c{i}");
        fields.push(source.field(&name, column.array.data_type()));
        let all = (0_u32..).take(rows);
        let kept = all.map(|row| ((row as usize) < column.array.len()).then_some(row));
        arrays.push(take(&column.array, &kept.collect::<UInt32Array>(), None).unwrap());
        if let Some((_, conversion)) = asked {
            conversions.insert(name, as_json(conversion));
        }
    }
    let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).unwrap();
    let case = format!("{} {:?}", source.name, asked.map(|(name, _)| name));
    let appended = door.append(batch, &json!(conversions)).await;
    appended.unwrap_or_else(|error| panic!("{case}: {error}"));
    for (i, column) in columns.iter().enumerate() {
        let seen = |table: &str, as_type: &str| {
            let value = format!("{table}.c{i}::{as_type}");
            format!("concat_ws(' ', ({value})::text, encode(record_send(ROW({value})), 'hex'))")
        };
        // Text becomes a UUID or a document only through its own type.
        let landed = match column.read_as == column.sql_type {
            true => seen("t", &column.sql_type),
            false => seen("t", &format!("text::{}", column.read_as)),
        };
        let difference = database
            .text(&format!(
                "SELECT n || ': ' || concat_ws(' is not ', {landed}, {0}) FROM t JOIN expected USING (n) WHERE {landed} <> {0}",
                seen("expected", &column.read_as),
            ))
            .await;
        assert_eq!(difference, "", "{case} into {}", column.target);
        if !EXTENSIONS.contains(&column.target.as_str()) {
            tried.pairs += 1;
            tried.cells += rows;
        }
    }
    assert_eq!(
        database
            .text("SELECT count(*) FROM t JOIN expected USING (n)")
            .await,
        rows.to_string()
    );
    tried.rows += rows;
}

/// Returns a database for the pairs, the extensions and types that not every server has, and whether it has multiranges.
async fn setup() -> (Database, Vec<&'static str>, bool) {
    let database = Database::new().await;
    database.execute(SETUP).await;
    let available = "SELECT count(*) FROM pg_available_extensions WHERE name = 'vector'";
    let mut here = Vec::new();
    if database.text(available).await != "0" {
        database.execute("CREATE EXTENSION vector").await;
        here.extend(["vector", "halfvec", "sparsevec"]);
    }
    let what = "int4multirange, and an infinite numeric";
    let has_multiranges = database.is_at_least(14, what).await;
    if has_multiranges {
        here.push(MULTIRANGE);
    }
    (database, here, has_multiranges)
}

#[tokio::test]
async fn accepted_pairs_land_as_postgresql_would_store_them() {
    let (database, here, has_multiranges) = setup().await;
    let server = Pgflight::start(&database);
    let mut door = Door::Native(server.client().await);
    let mut tried = Tried::default();
    let conversions = conversions();
    for source in sources() {
        check(&mut door, &database, &source, None, &here, &mut tried).await;
        for (name, conversion) in &conversions {
            let asked = Some((*name, conversion));
            check(&mut door, &database, &source, asked, &here, &mut tried).await;
        }
    }
    println!("{tried:?}; beside that {here:?}");
    if has_multiranges {
        assert_eq!(tried, to_try());
    }
}

#[tokio::test]
async fn accepted_pairs_land_in_the_same_way_by_flight_sql() {
    let (database, here, _) = setup().await;
    let server = Pgflight::start(&database);
    let mut door = Door::FlightSql(connect(&server).await);
    let mut tried = Tried::default();
    for source in sources() {
        check(&mut door, &database, &source, None, &here, &mut tried).await;
    }
    assert!(tried.pairs > 100, "{tried:?}");
}
