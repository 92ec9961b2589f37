//! Columns that the table lacks, and the primary key of a table that is made, through both front doors.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, RecordBatch, StringArray};
use serde_json::{Value, json};
use tonic::Status;

use crate::support::{Client, Database, Pgflight, Put, attempt, batch, write};

fn ints(values: &[i32]) -> ArrayRef {
    Arc::new(Int32Array::from(values.to_vec()))
}

/// `id`, and `note`, which tables of these tests lack.
fn rows(ids: &[i32]) -> RecordBatch {
    let notes: Vec<String> = ids.iter().map(|id| format!("note {id}")).collect();
    batch(&[
        ("note", Arc::new(StringArray::from(notes))),
        ("id", ints(ids)),
    ])
}

async fn one(client: &mut Client, spec: &Value, rows: &RecordBatch) -> Result<(), Status> {
    let put = Put::whole(write(spec.clone()), std::slice::from_ref(rows));
    client.put(put).await.map(drop)
}

/// Writes the same rows in two attempts. A third attempt with the rows of the first is not accepted.
async fn many(client: &mut Client, spec: &Value, rows: &RecordBatch) -> Result<(), Status> {
    static NUMBER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let id = format!("w{number}");
    client.begin(&id, spec.clone(), rows).await?;
    let middle = rows.num_rows() / 2;
    let first = rows.slice(0, middle);
    let second = rows.slice(middle, rows.num_rows() - middle);
    let mut receipts = Vec::new();
    for (partition, name, part) in [(0, "a", &first), (1, "b", &second), (0, "late", &first)] {
        let put = Put::whole(attempt(&id, partition, name), std::slice::from_ref(part));
        receipts.push(client.put(put).await?);
    }
    client.commit(&id, &receipts[..2]).await.map(drop)
}

const TABLE: &str = "SELECT t::text FROM t ORDER BY id";
const COLUMNS: &str = "SELECT attname || ' ' || format_type(atttypid, atttypmod) FROM pg_attribute
                       WHERE attrelid = 't'::regclass AND attnum > 0 ORDER BY attnum";

#[tokio::test]
async fn unknown_columns_are_rejected_added_or_ignored() {
    let database = Database::new().await;
    let server = Pgflight::start(&database);
    let mut client = server.client().await;
    let before =
        "DROP TABLE IF EXISTS t; CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)";
    let added = "id integer,note text";
    for (mode, expected) in [
        (json!({"append": {}}), r#"(1,),(2,"note 2"),(3,"note 3")"#),
        (
            json!({"create": {"ifExists": "IF_EXISTS_APPEND"}}),
            r#"(1,),(2,"note 2"),(3,"note 3")"#,
        ),
        (json!({"overwrite": {}}), r#"(2,"note 2"),(3,"note 3")"#),
        (
            json!({"overwrite": {"with": "OVERWRITE_WITH_DELETE"}}),
            r#"(2,"note 2"),(3,"note 3")"#,
        ),
        (
            json!({"upsert": {"keys": ["id"]}}),
            r#"(1,),(2,"note 2"),(3,"note 3")"#,
        ),
    ] {
        for evolution in ["REFUSE", "ADD_COLUMNS", "IGNORE"] {
            let mut spec = mode.clone();
            let options = spec.as_object_mut().unwrap().values_mut().next().unwrap();
            options["schemaEvolution"] = format!("SCHEMA_EVOLUTION_{evolution}").into();
            spec["table"] = "t".into();
            for single in [true, false] {
                database.execute(before).await;
                let rows = rows(&[2, 3]);
                let done = match single {
                    true => one(&mut client, &spec, &rows).await,
                    false => many(&mut client, &spec, &rows).await,
                };
                let seen = (database.text(COLUMNS).await, database.text(TABLE).await);
                let case = format!("{spec} single: {single}");
                match evolution {
                    "REFUSE" => {
                        let message = done.unwrap_err().message().to_owned();
                        assert!(
                            message.contains("there is no column of that name"),
                            "{case}: {message}"
                        );
                        assert_eq!(seen.0, "id integer", "{case}");
                    }
                    "ADD_COLUMNS" => {
                        done.unwrap_or_else(|status| panic!("{case}: {status}"));
                        assert_eq!(seen, (added.to_owned(), expected.to_owned()), "{case}");
                    }
                    _ => {
                        done.unwrap_or_else(|status| panic!("{case}: {status}"));
                        let ids = expected
                            .replace(",\"note 2\"", "")
                            .replace(",\"note 3\"", "")
                            .replace("1,", "1");
                        assert_eq!(seen, ("id integer".to_owned(), ids), "{case}");
                    }
                }
            }
        }
    }
}

#[tokio::test]
async fn a_write_that_fails_or_only_waits_adds_no_column() {
    let database = Database::new().await;
    database
        .execute(
            "CREATE TABLE t (id int CHECK (id < 3)); CREATE TABLE cased (id int, \"Note\" text)",
        )
        .await;
    let server = Pgflight::start(&database);
    let mut client = server.client().await;
    let spec = json!({"table": "t", "append": {"schemaEvolution": "SCHEMA_EVOLUTION_ADD_COLUMNS"}});
    one(&mut client, &spec, &rows(&[3])).await.unwrap_err();
    many(&mut client, &spec, &rows(&[2, 3])).await.unwrap_err();
    client
        .begin("open", spec.clone(), &rows(&[1]))
        .await
        .unwrap();
    assert_eq!(database.text(COLUMNS).await, "id integer");

    let (mut direct, mut cased) = (spec.clone(), spec.clone());
    direct["append"]["publish"] = "PUBLISH_DIRECT".into();
    cased["table"] = "cased".into();
    let swap = json!({"table": "t", "overwrite": {
        "with": "OVERWRITE_WITH_SWAP", "schemaEvolution": "SCHEMA_EVOLUTION_ADD_COLUMNS"}});
    let mut nothing = spec.clone();
    nothing["append"]["schemaEvolution"] = "SCHEMA_EVOLUTION_IGNORE".into();
    for (spec, rows, words) in [
        (direct, rows(&[1]), "cannot add it together with the rows"),
        (swap, rows(&[1]), "cannot add it together with the rows"),
        (cased, rows(&[1]), "to \"Note\""),
        (
            nothing,
            batch(&[("other", ints(&[1]))]),
            "none of the columns",
        ),
    ] {
        for done in [
            one(&mut client, &spec, &rows).await,
            many(&mut client, &spec, &rows).await,
        ] {
            let message = done.unwrap_err().message().to_owned();
            assert!(message.contains(words), "{spec}: {message}");
        }
    }
    let plan = client
        .plan(&[("id", ints(&[1])), ("new", ints(&[1]))], spec.clone())
        .await
        .unwrap();
    let expected = "ALTER TABLE public.t ADD COLUMN IF NOT EXISTS new integer";
    assert_eq!(plan["statements"], json!([expected]));
    let mut ignore = spec;
    ignore["append"]["schemaEvolution"] = "SCHEMA_EVOLUTION_IGNORE".into();
    let plan = client
        .plan(&[("id", ints(&[1])), ("new", ints(&[1]))], ignore)
        .await
        .unwrap();
    let encoding = plan["columns"][1]["encoding"].as_str().unwrap();
    assert!(encoding.starts_with("left out"), "{plan}");
    assert_eq!(plan.get("problems"), None, "{plan}");
    assert_eq!(database.text(COLUMNS).await, "id integer");
}

#[tokio::test]
async fn a_created_table_has_its_primary_key_with_its_rows() {
    let database = Database::new().await;
    let server = Pgflight::start(&database);
    let mut client = server.client().await;
    let key = "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = 't'::regclass AND contype = 'p'";
    let spec = |keys: &[&str]| json!({"table": "t", "create": {"newTable": {"primaryKey": keys}}, "columnTypes": {"note": "varchar(20)"}});
    for single in [true, false] {
        let write = async |client: &mut Client, keys: &[&str], ids: &[i32]| {
            let (spec, rows) = (spec(keys), rows(ids));
            match single {
                true => one(client, &spec, &rows).await,
                false => many(client, &spec, &rows).await,
            }
        };
        let doubled = write(&mut client, &["id"], &[1, 1]).await.unwrap_err();
        assert!(doubled.message().contains("23505"), "{doubled}");
        let gone = write(&mut client, &["gone"], &[1, 2]).await.unwrap_err();
        assert!(gone.message().contains("column gone"), "{gone}");
        assert_eq!(database.text("SELECT to_regclass('t')").await, "null");
        write(&mut client, &["note", "id"], &[1, 2]).await.unwrap();
        assert_eq!(database.text(key).await, "PRIMARY KEY (note, id)");
        let count = database.text("SELECT count(*) FROM t").await;
        assert_eq!(
            count, "2",
            "the attempt that was not accepted was no obstacle"
        );
        database.execute("DROP TABLE t").await;
    }
    let options = json!({"table": "t", "create": {"newTable": {"options": "with (fillfactor = 70)"}}, "columnTypes": {"note": "text"}});
    for single in [true, false] {
        match single {
            true => one(&mut client, &options, &rows(&[1])).await.unwrap(),
            false => many(&mut client, &options, &rows(&[1])).await.unwrap(),
        }
        let stored = "SELECT reloptions FROM pg_class WHERE relname = 't'";
        assert_eq!(database.text(stored).await, "{fillfactor=70}");
        database.execute("DROP TABLE t").await;
    }
    for (wrong, part) in [
        ("WITH (fillfactor = 7)", "fillfactor"),
        ("WITH (colour = blue)", "colour"),
        ("TABLESPACE nowhere", "nowhere"),
        (
            "PARTITION BY LIST (id)",
            "cannot be read from \"PARTITION BY LIST (id)\" on",
        ),
    ] {
        let mut spec = options.clone();
        spec["create"]["newTable"]["options"] = wrong.into();
        let refused = client
            .begin("options", spec, &rows(&[1]))
            .await
            .unwrap_err();
        assert!(refused.message().contains(part), "{refused}");
    }
    let plan = client
        .plan(
            &[("id", ints(&[1]))],
            json!({"table": "t", "create": {"newTable": {"primaryKey": ["id"]}}}),
        )
        .await
        .unwrap();
    assert_eq!(
        plan["statements"][1],
        "ALTER TABLE public.t ADD PRIMARY KEY (id)"
    );
    let json = json!({"table": "t", "create": {"newTable": {"primaryKey": ["id"]}}, "columnTypes": {"id": "json"}});
    client.begin("json", json, &rows(&[1])).await.unwrap_err();
}
