//! While a commit publishes rows no stream runs, and PostgreSQL is the slow side.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array};
use serde_json::json;

use crate::support::{Database, Pgflight, Put, attempt, batch, get, metric, status, wait_until};

#[tokio::test]
async fn postgresql_is_named_while_it_publishes() {
    let database = Database::new().await;
    database
        .execute(
            "CREATE TABLE t (n int); CREATE TABLE gate ();
             CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS
                 'BEGIN LOCK TABLE gate; RETURN NEW; END';
             CREATE TRIGGER wait BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION wait()",
        )
        .await;
    let server = Pgflight::start_with(&database, &["--metrics-listen", "127.0.0.1:0"]);
    let mut client = server.client().await;
    let rows = batch(&[("n", Arc::new(Int32Array::from(vec![1])) as ArrayRef)]);
    let spec = json!({"table": "t", "append": {"publish": "PUBLISH_STAGED"}});
    client.begin("w", spec, &rows).await.unwrap();
    let put = Put::whole(attempt("w", 0, "a"), &[rows]);
    let receipt = client.put(put).await.unwrap();
    let before = metric(&server.monitor, "pgflight_publishing").await;
    assert!(before.abs() < 0.5);
    database.execute("BEGIN; LOCK TABLE gate").await;
    let commit = tokio::spawn(async move { client.commit("w", &[receipt]).await });
    let is_publishing = async || metric(&server.monitor, "pgflight_publishing").await > 0.5;
    wait_until(is_publishing, "it publishes").await;
    let seen = status(&server.monitor).await;
    assert_eq!(seen["bottleneck"]["side"], "postgresql", "{seen}");
    assert_eq!(seen["publishing_count"], 1);
    let page = get(&server.monitor, "/").await.body;
    assert!(
        page.contains("PostgreSQL is publishing staged rows"),
        "{page}"
    );
    database.execute("COMMIT").await;
    commit.await.unwrap().unwrap();
    let after = metric(&server.monitor, "pgflight_publishing").await;
    assert!(after.abs() < 0.5);
}
