//! Changes of several writers at once.

use serde_json::{Value, json};

use super::apply::{TABLE, changes};
use super::replace::replace;
use crate::access::attacks::{ids, put};
use crate::support::{Database, Pgflight, wait_until};

fn apply() -> Value {
    let rules = json!({"deleteWhen": {"column": "op", "values": ["d"]}, "newerBy": "at", "tombstone": "gone"});
    json!({"table": "t", "upsert": rules})
}

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
            let rows = changes(&[
                (9, Some("deleted"), Some(20), "d"),
                (1, Some("x"), Some(20), "d"),
            ]);
            let rows = rows.project(&[0, 1, 2, 3]).unwrap();
            replace(&mut client, apply(), &rows, None).await
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

#[tokio::test]
async fn a_delete_is_kept_if_another_session_removes_the_row_meanwhile() {
    let purge = "DELETE FROM t WHERE gone AND at <= 5";
    for (removing, is_moved) in [(purge, false), ("UPDATE t SET id = 99 WHERE id = 9", true)] {
        let database = Database::new().await;
        database.execute(TABLE).await;
        database
            .execute("INSERT INTO t VALUES (9, 'old', 5, 'old', true)")
            .await;
        let server = Pgflight::start(&database);
        let other = Database::connect(&database.url).await;
        let begun = format!("BEGIN; {removing}");
        other.batch_execute(&begun).await.unwrap();
        let mut client = server.client().await;
        let deleting = tokio::spawn(async move {
            // The name is NOT NULL in the table.
            let rows = changes(&[(9, None, Some(20), "d")])
                .project(&[0, 1, 2, 3])
                .unwrap();
            replace(&mut client, apply(), &rows, None).await
        });
        let waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted";
        wait_until(
            async || database.text(waiting).await == "1",
            "the write waits",
        )
        .await;
        other.batch_execute("COMMIT").await.unwrap();
        let done = deleting.await.unwrap().unwrap();
        assert_eq!(done["counts"]["deleted"], "1", "{removing}: {done}");
        let rows = "SELECT string_agg(concat_ws(' ', id, name, at, gone), ',' ORDER BY id) FROM t WHERE id >= 9";
        let moved = if is_moved { ",99 old 5 t" } else { "" };
        let expected = format!("9 old 20 t{moved}");
        assert_eq!(database.text(rows).await, expected, "{removing}");
        // A change that arrives late brings nothing back.
        let late = changes(&[(9, Some("late"), Some(7), "u")])
            .project(&[0, 1, 2, 3])
            .unwrap();
        let mut client = server.client().await;
        replace(&mut client, apply(), &late, None).await.unwrap();
        assert_eq!(database.text(rows).await, expected, "{removing}");
    }
}

#[tokio::test]
async fn an_overwrite_by_delete_waits_for_writes_that_replace_a_partition() {
    for table in [
        "CREATE TABLE p (id int8) PARTITION BY LIST (id); CREATE TABLE part PARTITION OF p FOR VALUES IN (1)",
        "CREATE TABLE p (id int8); CREATE TABLE part () INHERITS (p)",
    ] {
        let database = Database::new().await;
        database.execute(table).await;
        let server = Pgflight::start(&database);
        let other = Database::connect(&database.url).await;
        // The lock of such a write.
        other
            .batch_execute("BEGIN; LOCK TABLE part IN SHARE UPDATE EXCLUSIVE MODE; INSERT INTO part VALUES (1)")
            .await
            .unwrap();
        let mut client = server.client().await;
        let overwriting = tokio::spawn(async move {
            let spec = json!({"table": "p", "overwrite": {"with": "OVERWRITE_WITH_DELETE"}});
            put(&mut client, spec, &ids(&[1])).await
        });
        let waiting =
            "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'part'::regclass";
        wait_until(
            async || database.text(waiting).await == "1",
            "the overwrite waits",
        )
        .await;
        other.batch_execute("COMMIT").await.unwrap();
        overwriting.await.unwrap().unwrap();
        let count = "SELECT count(*) FROM p";
        assert_eq!(database.text(count).await, "1", "{table}");
    }
}
