//! Sequences whose columns the data fills, and columns that PostgreSQL generates.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, RecordBatch};
use serde_json::{Value, json};

use crate::support::{Client, Database, Pgflight, Put, attempt, batch, write};

const TABLE: &str = "DROP TABLE IF EXISTS t; CREATE TABLE t (
    id serial PRIMARY KEY, n int GENERATED ALWAYS AS IDENTITY, made bool)";

fn rows(ids: &[i32]) -> RecordBatch {
    let ids: ArrayRef = Arc::new(Int32Array::from(ids.to_vec()));
    batch(&[("id", ids.clone()), ("n", ids)])
}

/// Returns the values of the next row whose columns the sequences fill.
async fn next(database: &Database) -> String {
    database.execute("INSERT INTO t (made) VALUES (true)").await;
    let last = "SELECT id || ' ' || n FROM t WHERE made ORDER BY id DESC LIMIT 1";
    database.text(last).await
}

async fn whole(client: &mut Client, ids: &[i32], spec: Value) -> Result<Value, tonic::Status> {
    client.put(Put::whole(write(spec), &[rows(ids)])).await
}

#[tokio::test]
async fn sequences_move_only_when_asked_and_never_back() {
    let database = Database::new().await;
    let server = Pgflight::start(&database);
    let mut client = server.client().await;
    let spec = |sync: bool| json!({"table": "t", "append": {"syncSequences": sync}});
    database.execute(TABLE).await;
    let ids: ArrayRef = Arc::new(Int32Array::from(vec![7]));
    let plan = client.plan(&[("id", ids)], spec(false)).await.unwrap();
    let warnings = plan["warnings"].to_string();
    assert!(warnings.contains("column id is given values"), "{warnings}");
    whole(&mut client, &[7], spec(false)).await.unwrap();
    database.execute("BEGIN").await;
    assert_eq!(
        next(&database).await,
        "1 1",
        "nothing moves without the option"
    );
    database.execute("ROLLBACK").await;

    database.execute(TABLE).await;
    whole(&mut client, &[5, 7, 6], spec(true)).await.unwrap();
    assert_eq!(next(&database).await, "8 8");
    whole(&mut client, &[3], spec(true)).await.unwrap();
    assert_eq!(next(&database).await, "9 9", "not back");

    for publish in ["PUBLISH_STAGED", "PUBLISH_DIRECT"] {
        database.execute(TABLE).await;
        let mut spec = spec(true);
        spec["append"]["publish"] = json!(publish);
        client.begin(publish, spec, &rows(&[20])).await.unwrap();
        let put = Put::whole(attempt(publish, 0, "a"), &[rows(&[20])]);
        let receipt: Value = client.put(put).await.unwrap();
        client.commit(publish, &[receipt]).await.unwrap();
        assert_eq!(next(&database).await, "21 21", "{publish}");
    }
    let delete = json!({"table": "t", "deleteByKey": {"keys": ["id"], "syncSequences": true}});
    let refused = whole(&mut client, &[1], delete).await.unwrap_err();
    assert!(refused.message().contains("syncSequences"), "{refused}");
}

#[tokio::test]
async fn sequences_that_the_role_cannot_set_reject_the_write() {
    let database = Database::new().await;
    database.execute(TABLE).await;
    let role = format!("loader_{}", std::process::id());
    database
        .execute(&format!(
            "CREATE ROLE {role} LOGIN; GRANT INSERT, SELECT ON t TO {role}"
        ))
        .await;
    let url = database
        .url
        .replace("postgres://postgres@", &format!("postgres://{role}@"));
    let server = Pgflight::start_at(&url, &[]);
    let mut client = server.client().await;
    let spec = json!({"table": "t", "append": {"syncSequences": true}});
    let refused = whole(&mut client, &[1], spec).await.unwrap_err();
    let words = format!("GRANT SELECT, UPDATE ON SEQUENCE public.t_id_seq TO {role}");
    assert!(refused.message().contains(&words), "{refused}");
    assert_eq!(database.text("SELECT count(*) FROM t").await, "0");
    drop(server);
    database
        .execute(&format!("DROP OWNED BY {role}; DROP ROLE {role}"))
        .await;
}

#[tokio::test]
async fn generated_columns_are_rejected_or_left_out() {
    let database = Database::new().await;
    database
        .execute("CREATE TABLE t (id int, n int GENERATED ALWAYS AS (id * 2) STORED)")
        .await;
    let server = Pgflight::start(&database);
    let mut client = server.client().await;
    let spec = json!({"table": "t", "append": {}});
    let refused = whole(&mut client, &[3], spec.clone()).await.unwrap_err();
    assert!(refused.message().contains("is generated"), "{refused}");
    let mut ignore = spec;
    ignore["append"]["schemaEvolution"] = json!("SCHEMA_EVOLUTION_IGNORE");
    let ids: ArrayRef = Arc::new(Int32Array::from(vec![3]));
    let columns = [("id", ids.clone()), ("n", ids)];
    let plan = client.plan(&columns, ignore.clone()).await.unwrap();
    let error = plan["columns"][1]["encoding"].to_string();
    assert!(error.contains("left out"), "{error}");
    whole(&mut client, &[3], ignore).await.unwrap();
    assert_eq!(database.text("SELECT n FROM t").await, "6");
}
