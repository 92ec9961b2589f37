//! Keyed modes that name no keys, and take those of the table.

use serde_json::{Value, json};

use crate::modes::keyed::{ints, many, rows};
use crate::support::{CallError, Database, Pgflight, Put, attempt, batch, write};

const TABLE: &str = "DROP TABLE IF EXISTS t CASCADE;
                     CREATE TABLE t (id int, part int, name text, v int, PRIMARY KEY (part, id) INCLUDE (name));
                     INSERT INTO t VALUES (1, 0, 'one', 1), (2, 0, 'two', 1)";

fn without_keys(mode: &str) -> Value {
    json!({"table": "t", mode: {}})
}

#[tokio::test]
async fn a_keyed_mode_without_keys_takes_the_primary_key() {
    let database = Database::new().await;
    database.execute(TABLE).await;
    let server = Pgflight::start(&database);
    let mut client = server.client().await;
    let new = rows(&[(Some(2), "zwei", 5), (Some(3), "drei", 5)]);
    let schema = new.schema();
    let columns: Vec<_> = schema
        .fields()
        .iter()
        .zip(new.columns())
        .map(|(field, column)| (field.name().as_str(), column.clone()))
        .collect();
    for (mode, expected) in [
        ("upsert", "(1,0,one,1),(2,0,zwei,5),(3,0,drei,5)"),
        ("insertIfAbsent", "(1,0,one,1),(2,0,two,1),(3,0,drei,5)"),
        ("updateOnly", "(1,0,one,1),(2,0,zwei,5)"),
        ("deleteByKey", "(1,0,one,1)"),
    ] {
        let plan = client.plan(&columns, without_keys(mode)).await.unwrap();
        assert_eq!(plan["keys"], json!(["part", "id"]), "{mode}");
        for is_stream in [true, false] {
            database.execute(TABLE).await;
            if is_stream {
                let put = Put::whole(write(without_keys(mode)), std::slice::from_ref(&new));
                client.put(put).await.unwrap();
            } else {
                many(&mut client, &without_keys(mode), &new).await.unwrap();
            }
            let written = database.text("SELECT t FROM t ORDER BY id").await;
            assert_eq!(written, expected, "{mode}, stream: {is_stream}");
        }
    }
    let named = json!({"table": "t", "updateOnly": {"keys": ["id"]}});
    let plan = client.plan(&columns, named).await.unwrap();
    assert_eq!(plan["keys"], json!(["id"]));
}

#[tokio::test]
async fn a_commit_has_the_primary_key_of_its_begin() {
    let database = Database::new().await;
    database.execute(TABLE).await;
    let server = Pgflight::start(&database);
    let mut client = server.client().await;
    let new = rows(&[(Some(2), "zwei", 5)]);
    for (mode, change, expected) in [
        // The rows are still found by the old key, for which an update needs no index.
        (
            "updateOnly",
            "ADD PRIMARY KEY (name)",
            Ok("(1,0,one,1),(2,0,zwei,5)"),
        ),
        (
            "upsert",
            "ADD PRIMARY KEY (name)",
            Err("unique index on the keys was dropped"),
        ),
    ] {
        database.execute(TABLE).await;
        client.begin(mode, without_keys(mode), &new).await.unwrap();
        let put = Put::whole(attempt(mode, 0, "a"), std::slice::from_ref(&new));
        let receipt = client.put(put).await.unwrap();
        database
            .execute(&format!(
                "ALTER TABLE t DROP CONSTRAINT t_pkey; ALTER TABLE t {change}"
            ))
            .await;
        let outcome = client.commit(mode, &[receipt]).await;
        match expected {
            Ok(rows) => {
                outcome.unwrap();
                assert_eq!(database.text("SELECT t FROM t ORDER BY id").await, rows);
            }
            Err(part) => {
                let error = CallError::from(outcome.expect_err(part));
                assert!(error.message.contains(part), "{}", error.message);
            }
        }
    }
}

#[tokio::test]
async fn without_a_primary_key_the_error_lists_unique_indexes() {
    let database = Database::new().await;
    let server = Pgflight::start(&database);
    let mut client = server.client().await;
    let new = rows(&[(Some(2), "zwei", 5)]);
    let by_id = batch(&[("id", ints(&[Some(2)]))]);
    let keyless =
        "DROP TABLE IF EXISTS t CASCADE; CREATE TABLE t (id int, part int, name text, v int);";
    for (made, spec, rows, parts) in [
        (
            "",
            without_keys("deleteByKey"),
            &new,
            [
                "names no keys, and the table has no primary key",
                "no unique index either",
            ],
        ),
        (
            "CREATE UNIQUE INDEX ON t (part, id); CREATE UNIQUE INDEX ON t (name);
             CREATE UNIQUE INDEX ON t (v) WHERE v > 5",
            without_keys("upsert"),
            &new,
            [
                "names no keys, and the table has no primary key",
                "unique indexes on (part, id), (name)",
            ],
        ),
        (
            "ALTER TABLE t ADD PRIMARY KEY (id, part)",
            without_keys("deleteByKey"),
            &by_id,
            ["the data has no such key column", "column part"],
        ),
        (
            "ALTER TABLE t ADD PRIMARY KEY (id, part)",
            json!({"table": "t", "upsert": {"orderBy": "part"}}),
            &new,
            ["order_by names a key", "that is not a key"],
        ),
        (
            "",
            json!({"table": "t", "upsert": {"createIfMissing": {}}}),
            &new,
            ["no keys are named", "become its primary key"],
        ),
    ] {
        database.execute(&format!("{keyless}{made}")).await;
        let put = Put::whole(write(spec.clone()), std::slice::from_ref(rows));
        let streamed = client.put(put).await.expect_err(parts[0]);
        let begun = client.begin("w", spec, rows).await.expect_err(parts[0]);
        for status in [streamed, begun] {
            let error = CallError::from(status);
            for part in parts {
                assert!(error.message.contains(part), "{part}: {}", error.message);
            }
        }
    }
}
