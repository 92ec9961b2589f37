//! PostGIS itself: what Arrow data becomes in its types, and what it rejects.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BinaryArray, ListBuilder, RecordBatch, StringArray};
use arrow::array::{BinaryBuilder, FixedSizeBinaryArray};
use arrow::datatypes::{DataType, Field, Schema};
use serde_json::{Value, json};

use crate::support::{CallError, Client, Database, Pgflight, Put, left_out, write};

/// The point (1 2) as well-known binary, little and big endian, and as EWKB with SRID 4326.
const LITTLE: &str = "0101000000000000000000f03f0000000000000040";
const BIG: &str = "00000000013ff00000000000004000000000000000";
const WITH_SRID: &str = "0101000020e6100000000000000000f03f0000000000000040";
/// The line (0 0, 1 1), and a point with three dimensions as ISO and as EWKB.
const LINE: &str =
    "01020000000200000000000000000000000000000000000000000000000000f03f000000000000f03f";
const ISO_Z: &str = "01e9030000000000000000f03f00000000000000400000000000000840";
const EWKB_Z: &str = "0101000080000000000000f03f00000000000000400000000000000840";

fn bytes(hex: &str) -> Vec<u8> {
    let digits = (0..hex.len()).step_by(2).map(|at| &hex[at..at + 2]);
    digits
        .map(|digits| u8::from_str_radix(digits, 16).unwrap())
        .collect()
}

fn binary(hex: &str) -> ArrayRef {
    Arc::new(BinaryArray::from_vec(vec![&bytes(hex)]))
}

fn fixed(hex: &str) -> ArrayRef {
    let value = bytes(hex);
    Arc::new(FixedSizeBinaryArray::try_from_iter([value].into_iter()).unwrap())
}

fn text(value: &str) -> ArrayRef {
    Arc::new(StringArray::from(vec![value]))
}

fn list(values: &[&str]) -> ArrayRef {
    let mut lists = ListBuilder::new(BinaryBuilder::new());
    for hex in values {
        lists.values().append_value(bytes(hex));
    }
    lists.append(true);
    Arc::new(lists.finish())
}

async fn put(
    client: &mut Client,
    array: ArrayRef,
    metadata: &[(&str, &str)],
    spec: Value,
) -> Result<(), CallError> {
    let metadata: HashMap<_, _> = metadata
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect();
    let field = Field::new("g", array.data_type().clone(), true).with_metadata(metadata);
    let rows = RecordBatch::try_new(Arc::new(Schema::new(vec![field])), vec![array]).unwrap();
    let sent = client.put(Put::whole(write(spec), &[rows])).await;
    sent.map(drop).map_err(CallError::from)
}

/// Creates a database with PostGIS. Returns `None` if the machine does not have it.
async fn with_postgis() -> Option<Database> {
    let database = Database::new().await;
    let available = "SELECT count(*) FROM pg_available_extensions WHERE name = 'postgis'";
    if database.text(available).await == "0" {
        left_out("PostGIS: this PostgreSQL does not have it");
        return None;
    }
    database
        .execute("CREATE SCHEMA gis; CREATE EXTENSION postgis SCHEMA gis; CREATE EXTENSION hstore")
        .await;
    let name = database.text("SELECT current_database()").await;
    let path = format!("ALTER DATABASE {name} SET search_path = public, gis");
    database.execute(&path).await;
    database.reconnect().await;
    Some(database)
}

#[tokio::test]
async fn well_known_binary_and_text_become_the_geometry_that_postgis_reads() {
    let Some(database) = with_postgis().await else {
        return;
    };
    let server = Pgflight::start(&database);
    let mut client = server.client().await;
    let srid = "SRID=4326;POINT(1 2)";
    // An array, the type of its column, and the column's value as EWKT or a part of the message.
    let cases: [(ArrayRef, &str, Result<&str, &str>); 17] = [
        (binary(LITTLE), "geometry", Ok("POINT(1 2)")),
        (binary(BIG), "geometry", Ok("POINT(1 2)")),
        (binary(WITH_SRID), "geometry", Ok(srid)),
        (binary(WITH_SRID), "geometry(Point, 4326)", Ok(srid)),
        (binary(LITTLE), "geometry(Point)", Ok("POINT(1 2)")),
        (binary(ISO_Z), "geometry(PointZ)", Ok("POINT(1 2 3)")),
        (binary(EWKB_Z), "geometry", Ok("POINT(1 2 3)")),
        (binary(LINE), "geometry", Ok("LINESTRING(0 0,1 1)")),
        (fixed(LITTLE), "geometry", Ok("POINT(1 2)")),
        (binary(LITTLE), "geography", Ok(srid)),
        (binary(WITH_SRID), "geography(Point, 4326)", Ok(srid)),
        (text(srid), "geometry", Ok(srid)),
        (text("POINT(1 2)"), "geography", Ok(srid)),
        (text(WITH_SRID), "geometry", Ok(srid)),
        (
            binary(LINE),
            "geometry(Point)",
            Err("Geometry type (LineString) does not match"),
        ),
        (binary("0101000000ff"), "geometry", Err("g")),
        (text("POINT(1 2"), "geometry", Err("g")),
    ];
    for (array, column, expected) in cases {
        let sql = format!("DROP TABLE IF EXISTS t; CREATE TABLE t (g {column})");
        database.execute(&sql).await;
        let case = format!("{:?} into {column}", array.data_type());
        let sent = put(&mut client, array, &[], json!({"table": "t", "append": {}})).await;
        let found = database.text("SELECT ST_AsEWKT(g) FROM t").await;
        match (expected, sent) {
            (Ok(geometry), Ok(())) => assert_eq!(found, geometry, "{case}"),
            (Err(message), Err(error)) => {
                assert_eq!(error.reason, "DATA_REJECTED", "{case}: {error:?}");
                assert!(error.message.contains(message), "{case}: {error:?}");
                assert!(!error.message.contains("POINT"), "{case}: {error:?}");
            }
            (expected, sent) => panic!("{case}: {expected:?} expected, and {sent:?} found"),
        }
    }
}

#[tokio::test]
async fn a_new_table_has_geometry_where_the_field_says_so() {
    let Some(database) = with_postgis().await else {
        return;
    };
    let server = Pgflight::start(&database);
    let mut client = server.client().await;
    let name = "ARROW:extension:name";
    let mut made = String::new();
    for (number, (array, metadata)) in [
        (binary(WITH_SRID), vec![(name, "geoarrow.wkb")]),
        (binary(WITH_SRID), vec![(name, "ogc.wkb")]),
        (binary(WITH_SRID), vec![]),
    ]
    .into_iter()
    .enumerate()
    {
        let table = format!("made_{number}");
        let spec = json!({"table": table, "create": {}});
        put(&mut client, array, &metadata, spec).await.unwrap();
        let column = format!(
            "SELECT format_type(atttypid, atttypmod) FROM pg_attribute
             WHERE attrelid = '{table}'::regclass AND attnum > 0"
        );
        write!(made, "{} ", database.text(&column).await).unwrap();
    }
    assert_eq!(made, "geometry geometry bytea ");
    let srid = "SELECT ST_SRID(g) FROM made_0";
    assert_eq!(database.text(srid).await, "4326");
}

#[tokio::test]
async fn lists_of_geometry_and_keys_of_geometry_are_written() {
    let Some(database) = with_postgis().await else {
        return;
    };
    database
        .execute(
            "CREATE TABLE lists (g geometry[]); CREATE TABLE keyed (g geometry PRIMARY KEY);
             INSERT INTO keyed VALUES ('POINT(1 2)')",
        )
        .await;
    let server = Pgflight::start(&database);
    let mut client = server.client().await;
    let spec = json!({"table": "lists", "append": {}});
    put(&mut client, list(&[LITTLE, LINE]), &[], spec)
        .await
        .unwrap();
    let found = "SELECT ST_AsEWKT(g[1]) || ' ' || ST_AsEWKT(g[2]) FROM lists";
    assert_eq!(database.text(found).await, "POINT(1 2) LINESTRING(0 0,1 1)");
    for hex in [LITTLE, BIG, LINE] {
        let spec = json!({"table": "keyed", "upsert": {"keys": ["g"]}});
        put(&mut client, binary(hex), &[], spec).await.unwrap();
    }
    assert_eq!(database.text("SELECT count(*) FROM keyed").await, "2");
}

#[tokio::test]
async fn a_table_with_a_spatial_index_takes_staged_rows() {
    let Some(database) = with_postgis().await else {
        return;
    };
    database
        .execute("CREATE TABLE t (g geometry(Point, 4326)); CREATE INDEX ON t USING gist (g)")
        .await;
    let server = Pgflight::start(&database);
    let mut client = server.client().await;
    let values: Vec<Vec<u8>> = vec![bytes(WITH_SRID); 1000];
    let values: Vec<&[u8]> = values.iter().map(Vec::as_slice).collect();
    let array: ArrayRef = Arc::new(BinaryArray::from_vec(values));
    let field = Field::new("g", DataType::Binary, true);
    let rows = RecordBatch::try_new(Arc::new(Schema::new(vec![field])), vec![array]).unwrap();
    let staged = json!({"table": "t", "append": {"publish": "PUBLISH_STAGED"}});
    client.begin("w", staged, &rows).await.unwrap();
    let sent = Put::whole(crate::support::attempt("w", 0, "a"), &[rows]);
    let receipt = client.put(sent).await.unwrap();
    client.commit("w", &[receipt]).await.unwrap();
    let inside = "SELECT count(*) FROM t WHERE g && ST_MakeEnvelope(0, 0, 3, 3, 4326)";
    assert_eq!(database.text(inside).await, "1000");
}
