//! Silent changes of values by PostgreSQL or by pgflight, and leaks of values in errors.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BinaryArray, Date64Array, Float32Array, Int8Array, Int64Array,
};
use arrow::array::{FixedSizeBinaryArray, Float16Array, StringArray, StructArray};
use arrow::array::{Int8Builder, MapBuilder, StringBuilder};
use arrow::datatypes::{DataType, Field, Fields, Schema};
use serde_json::json;

use crate::support::{CallError, Database, Pgflight, Put, batch, write};

fn text(value: &str) -> ArrayRef {
    Arc::new(StringArray::from(vec![value]))
}

/// A field with metadata.
fn field(name: &str, data_type: DataType, metadata: &[(&str, &str)]) -> Field {
    let metadata = metadata
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    Field::new(name, data_type, true).with_metadata(metadata.collect::<HashMap<_, _>>())
}

const NAME: &str = "ARROW:extension:name";

fn opaque(of: &str, bytes: &[u8]) -> (Field, ArrayRef) {
    let of = json!({"type_name": of, "vendor_name": "PostgreSQL"}).to_string();
    let metadata = [(NAME, "arrow.opaque"), ("ARROW:extension:metadata", &of)];
    let array = BinaryArray::from_vec(vec![bytes]);
    (field("c", DataType::Binary, &metadata), Arc::new(array))
}

/// 1.123 as numeric sends it: two groups of four digits, display scale 3.
const NUMERIC: &[u8] = &[0, 2, 0, 0, 0, 0, 0, 3, 0, 1, 4, 206];

/// A value, the type of its column, and what it becomes there: its text, or a part of the message.
type Case = (
    (Field, ArrayRef),
    &'static str,
    Result<&'static str, &'static str>,
);

#[tokio::test]
async fn values_are_kept_or_rejected_and_never_shown() {
    let database = Database::new().await;
    database
        .execute("CREATE TYPE spell AS (at timestamptz); SET timezone = 'Asia/Tokyo'")
        .await;
    let server = Pgflight::start(&database);
    let mut client = server.client().await;
    let plain = |array: ArrayRef| (field("c", array.data_type().clone(), &[]), array);
    let plainly = "<?xml version=\"1.0\" encoding=\"utf-8\"?><a>é</a>";
    let latin = "<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?><a>é</a>";
    let mut cases: Vec<Case> = vec![
        (
            plain(text("[2020-01-01,)")),
            "tstzrange",
            Err("no length, precision or session time zone"),
        ),
        (
            plain(text("{2020-01-01}")),
            "timestamptz[]",
            Err("no length, precision or session time zone"),
        ),
        (
            plain(text("(2020-01-01)")),
            "spell",
            Err("no length, precision or session time zone"),
        ),
        (
            plain(text("{abc}")),
            "name[]",
            Err("no length, precision or session time zone"),
        ),
        (
            plain(text("[2020-01-02,2020-02-03)")),
            "daterange",
            Ok("[2020-01-02,2020-02-03)"),
        ),
        (
            plain(text("[02/01/2020,)")),
            "daterange",
            Err("PostgreSQL rejected a value"),
        ),
        (
            plain(text("{0.1,1e50}")),
            "real[]",
            Err("value is out of range for type real"),
        ),
        (plain(text("1 2")), "int2vector", Ok("1 2")),
        (plain(text("1 2")), "oidvector", Ok("1 2")),
        (
            plain(Arc::new(Int64Array::from(vec![1]))),
            "regclass",
            Err("only strings, which PostgreSQL casts"),
        ),
        (
            plain(Arc::new(Date64Array::from(vec![1]))),
            "timestamp",
            Err("write whole days"),
        ),
        (opaque("int4", &[0, 0, 0, 7]), "integer", Ok("7")),
        (opaque("integer", &[0, 0, 0, 7]), "integer", Ok("7")),
        (opaque("varchar", b"x"), "character varying(3)", Ok("x")),
        (opaque("char", b"x"), "\"char\"", Ok("x")),
        (
            opaque("timestamptz", &[0; 8]),
            "timestamptz",
            Ok("2000-01-01 09:00:00+09"),
        ),
        (
            opaque("int8", &[0, 0, 0, 7]),
            "integer",
            Err("only into columns of that type"),
        ),
        (opaque("numeric", NUMERIC), "numeric", Ok("1.123")),
        (
            opaque("numeric", NUMERIC),
            "numeric(5,2)",
            Err("round it to the column's precision"),
        ),
        (
            opaque("int4", &[0, 0]),
            "integer",
            Err("insufficient data left in message"),
        ),
        (
            (
                field("c", DataType::Utf8, &[("pgflight.roundin", "floor")]),
                text("x"),
            ),
            "text",
            Err("unknown key \"pgflight.roundin\""),
        ),
    ];
    if database
        .is_at_least(15, "numeric with a scale below 0")
        .await
    {
        cases.push((
            plain(Arc::new(Int64Array::from(vec![150]))),
            "numeric(3,-2)",
            Err("round the data before writing, or widen"),
        ));
    }
    let twice = Fields::from(vec![
        Field::new("a", DataType::Int8, true),
        Field::new("a", DataType::Int8, true),
    ]);
    let one = || Arc::new(Int8Array::from(vec![1])) as ArrayRef;
    let twice = StructArray::new(twice, vec![one(), one()], None);
    cases.push((
        plain(Arc::new(twice)),
        "jsonb",
        Err("the field \"a\" more than once"),
    ));
    for (keys, expected) in [
        (["a", "b", "a"], Err("has a key twice")),
        (["b", "a", "ab"], Ok("{\"a\": 2, \"b\": 1, \"ab\": 3}")),
    ] {
        let mut map = MapBuilder::new(None, StringBuilder::new(), Int8Builder::new());
        for (key, value) in keys.iter().zip(1..) {
            map.keys().append_value(key);
            map.values().append_value(value);
        }
        map.append(true).unwrap();
        cases.push((plain(Arc::new(map.finish())), "jsonb", expected));
    }
    let half = |value: f32| {
        let array = Float32Array::from(vec![value]);
        let half = arrow::compute::cast(&array, &DataType::Float16).unwrap();
        assert!(half.as_any().is::<Float16Array>());
        plain(half)
    };
    cases.push((half(0.1), "numeric", Ok("0.1")));
    cases.push((half(-65504.0), "numeric", Ok("-65500")));
    cases.push((half(0.1), "numeric(5,2)", Ok("0.10")));
    cases.push((half(0.1), "double precision", Ok("0.0999755859375")));
    if database.was_built_with("libxml").await {
        cases.push((
            plain(text(latin)),
            "xml",
            Err("declares another encoding than UTF-8"),
        ));
        cases.push((plain(text(plainly)), "xml", Ok(plainly)));
        cases.push((
            plain(text("<a>encoding=\"x\"é</a>")),
            "xml",
            Ok("<a>encoding=\"x\"é</a>"),
        ));
    }
    for ((field, array), sql_type, expected) in cases {
        let create = format!("DROP TABLE IF EXISTS t; CREATE TABLE t (c {sql_type})");
        database.execute(&create).await;
        let case = format!("{} into {sql_type}", array.data_type());
        let schema = Arc::new(Schema::new(vec![field]));
        let rows = arrow::array::RecordBatch::try_new(schema, vec![array]).unwrap();
        let spec = json!({"table": "t", "append": {}});
        let sent = client.put(Put::whole(write(spec), &[rows])).await;
        match expected {
            Ok(text) => {
                sent.unwrap_or_else(|status| panic!("{case}: {status}"));
                assert_eq!(database.text("SELECT c::text FROM t").await, text, "{case}");
            }
            Err(part) => {
                let refused = CallError::from(sent.expect_err(&case));
                assert!(
                    refused.message.contains(part),
                    "{case}: {}",
                    refused.message
                );
                assert!(
                    !refused.message.contains("1e50"),
                    "{case}: {}",
                    refused.message
                );
                let wrong = ["DATA_REJECTED", "SCHEMA_MISMATCH"];
                assert!(
                    wrong.contains(&&*refused.reason),
                    "{case}: {}",
                    refused.reason
                );
            }
        }
    }
}

#[tokio::test]
async fn extension_types_within_documents_keep_their_form() {
    let database = Database::new().await;
    database.execute("CREATE TABLE t (c jsonb)").await;
    let server = Pgflight::start(&database);
    let mut client = server.client().await;
    let document = |json: &str| {
        let fields = Fields::from(vec![
            field("id", DataType::FixedSizeBinary(16), &[(NAME, "arrow.uuid")]),
            field("doc", DataType::Utf8, &[(NAME, "arrow.json")]),
            field("yes", DataType::Int8, &[(NAME, "arrow.bool8")]),
        ]);
        let id = FixedSizeBinaryArray::try_from_iter([[0x12_u8; 16]].iter()).unwrap();
        let columns: Vec<ArrayRef> =
            vec![Arc::new(id), text(json), Arc::new(Int8Array::from(vec![2]))];
        batch(&[(
            "c",
            Arc::new(StructArray::new(fields, columns, None)) as ArrayRef,
        )])
    };
    let spec = || write(json!({"table": "t", "append": {}}));
    let rows = document("{\"a\": [1, null]}");
    client.put(Put::whole(spec(), &[rows])).await.unwrap();
    let same = "SELECT c = '{\"id\": \"12121212-1212-1212-1212-121212121212\", \"doc\": {\"a\": [1, null]},
                             \"yes\": true}' FROM t";
    assert_eq!(database.text(same).await, "true");
    for broken in ["1, \"yes\": false", "", "{", "'a'"] {
        let refused = client.put(Put::whole(spec(), &[document(broken)])).await;
        let error = CallError::from(refused.expect_err(broken));
        assert!(
            error.message.contains("arrow.json that is not JSON"),
            "{}",
            error.message
        );
    }
    assert_eq!(database.text("SELECT count(*) FROM t").await, "1");
}

#[tokio::test]
async fn a_plan_rejects_the_publish_method_that_a_write_rejects() {
    let database = Database::new().await;
    database
        .execute(
            "CREATE TABLE t (id int, doc tsvector); CREATE VIEW v AS SELECT * FROM t;
             CREATE TABLE parts (id int) PARTITION BY LIST (id)",
        )
        .await;
    let server = Pgflight::start(&database);
    let mut client = server.client().await;
    let doc = || vec![("doc", text("x"))];
    let id = || vec![("id", Arc::new(Int64Array::from(vec![1])) as ArrayRef)];
    for (table, columns, publish) in [
        ("t", doc(), "PUBLISH_DIRECT"),
        ("t", doc(), "PUBLISH_TWO_PHASE"),
        ("v", id(), "PUBLISH_DIRECT"),
        ("parts", id(), "PUBLISH_TWO_PHASE"),
    ] {
        let spec = json!({"table": table, "append": {"publish": publish}});
        let refused = client.begin("w", spec.clone(), &batch(&columns)).await;
        let refused = refused.expect_err(publish).message().to_owned();
        let (fact, _) = refused.split_once(" [").unwrap();
        let plan = client.plan(&columns, spec).await.unwrap();
        let problem = plan["problems"][0].as_str().unwrap_or_default();
        assert!(problem.contains(fact), "{problem}: {refused}");
    }
}

#[tokio::test]
async fn errors_of_create_table_name_no_row() {
    let database = Database::new().await;
    let server = Pgflight::start(&database);
    let mut client = server.client().await;
    for (sql_type, part) in [
        ("record", "pseudo-type record"),
        ("numeric(1001)", "precision 1001"),
        ("tsvector", "make the table first"),
    ] {
        let spec = json!({"table": "t", "create": {}, "columnTypes": {"c": sql_type}});
        let rows = batch(&[("c", text("x"))]);
        let put = Put::whole(write(spec.clone()), &[rows]);
        let error = CallError::from(client.put(put).await.expect_err(sql_type));
        assert_eq!(error.reason, "SCHEMA_MISMATCH", "{}", error.message);
        assert!(
            error.message.to_lowercase().contains(part),
            "{}",
            error.message
        );
        match client.plan(&[("c", text("x"))], spec).await {
            Ok(plan) => {
                let problems = plan["problems"].to_string();
                assert!(problems.contains(part), "{plan}");
            }
            Err(status) => assert!(status.message().to_lowercase().contains(part), "{status}"),
        }
    }
}
