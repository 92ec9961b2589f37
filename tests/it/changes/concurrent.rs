//! Changes of several writers at once.

use serde_json::json;

use super::apply::{TABLE, changes};
use super::replace::replace;
use crate::support::{Database, Pgflight, wait_until};

/// Lets a statement that updates the table wait, after PostgreSQL has taken its snapshot, while a test holds the lock.
const WAITING: &str = "
    CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS
        'BEGIN PERFORM pg_advisory_xact_lock(4711); RETURN NULL; END';
    CREATE TRIGGER wait BEFORE UPDATE ON t FOR EACH STATEMENT EXECUTE FUNCTION wait()";

#[tokio::test]
async fn a_delete_is_kept_if_another_session_inserts_an_older_row_meanwhile() {
    for (at, expected) in [
        (19, "(9,late,20,new,t)"),
        (20, "(9,late,20,new,)"),
        (21, "(9,late,21,new,)"),
    ] {
        let database = Database::new().await;
        database.execute(TABLE).await;
        database.execute(WAITING).await;
        let server = Pgflight::start(&database);
        let other = Database::connect(&database.url).await;
        other
            .batch_execute("BEGIN; SELECT pg_advisory_xact_lock(4711)")
            .await
            .unwrap();
        let mut client = server.client().await;
        let deleting = tokio::spawn(async move {
            let rules = json!({"deleteWhen": {"column": "op", "values": ["d"]}, "newerBy": "at", "tombstone": "gone"});
            let rows = changes(&[
                (9, Some("deleted"), Some(20), "d"),
                (1, Some("x"), Some(20), "d"),
            ]);
            let rows = rows.project(&[0, 1, 2, 3]).unwrap();
            replace(
                &mut client,
                json!({"table": "t", "upsert": rules}),
                &rows,
                None,
            )
            .await
        });
        let waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted";
        wait_until(
            async || database.text(waiting).await == "1",
            "the write waits",
        )
        .await;
        let insert = format!("INSERT INTO t VALUES (9, 'late', {at}); COMMIT");
        other.batch_execute(&insert).await.unwrap();
        let done = deleting.await.unwrap().unwrap();
        let row = "SELECT t FROM t WHERE id = 9";
        assert_eq!(database.text(row).await, expected, "{done}");
        let deleted = if at < 20 { "2" } else { "1" };
        assert_eq!(done["counts"]["deleted"], deleted, "{done}");
    }
}
