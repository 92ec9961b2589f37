//! A suspended server: its locks are released within a minute.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array};
use serde_json::json;

use crate::support::{Database, Pgflight, Put, attempt, batch, wait_until};

/// Sessions that have locked something and do nothing.
const IDLE: &str = "SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND state = 'idle in transaction'";

#[tokio::test]
async fn a_server_suspended_in_its_commit_blocks_for_a_minute() {
    let database = Database::new().await;
    database.execute("CREATE TABLE t (n int)").await;
    let frozen = Pgflight::start_to_fail(&database.url, &[], Some("CommitBeforeCommit"));
    let other = Pgflight::start_with(&database, &["--lock-timeout", "5m"]);
    let rows = batch(&[("n", Arc::new(Int32Array::from(vec![1])) as ArrayRef)]);
    let spec = json!({"table": "t", "append": {"publish": "PUBLISH_STAGED"}});
    let mut client = other.client().await;
    client.begin("w", spec, &rows).await.unwrap();
    let put = Put::whole(attempt("w", 0, "a"), &[rows]);
    let receipts = [client.put(put).await.unwrap()];

    let mut stuck = frozen.client().await;
    let given = receipts.clone();
    let stuck = tokio::spawn(async move { stuck.commit("w", &given).await });
    wait_until(async || frozen.has_failed(), "it is about to commit").await;
    frozen.signal("STOP");
    assert_eq!(
        database.text(IDLE).await,
        "1",
        "it holds the write and the table"
    );

    // The other server waits for the lock, and no longer than PostgreSQL waits for its holder.
    let committed = client.commit("w", &receipts).await.unwrap();
    assert_eq!(committed["state"], "WRITE_STATE_COMMITTED");
    assert_eq!(database.text("SELECT n FROM t").await, "1");
    assert_eq!(database.text(IDLE).await, "0");
    stuck.abort();
}
