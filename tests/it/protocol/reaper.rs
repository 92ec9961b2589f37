//! The leftovers of writes without a driver, and the commands that inspect them.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, RecordBatch};
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use tonic::Code;

use crate::support::{COPIES, Database, Pgflight, Put, attempt, batch, status, wait_until};

const STAGED: &str =
    "SELECT count(*) FROM pg_class WHERE relname LIKE 'staging%' OR relname LIKE '\\_pgflight\\_%'";

fn rows() -> RecordBatch {
    batch(&[("n", Arc::new(Int32Array::from(vec![1])) as ArrayRef)])
}

fn append() -> Value {
    json!({"table": "t", "append": {"publish": "PUBLISH_STAGED"}})
}

#[tokio::test]
async fn an_abandoned_write_expires_and_is_forgotten_later() {
    let database = Database::new().await;
    database.execute("CREATE TABLE t (n int)").await;
    let options = [
        "--reaper-interval",
        "50ms",
        "--write-ttl",
        "400ms",
        "--retention",
        "400ms",
    ];
    let server = Pgflight::start_with(&database, &options);
    let mut client = server.client().await;
    client.begin("w", append(), &rows()).await.unwrap();
    client
        .begin("made", json!({"table": "new", "create": {}}), &rows())
        .await
        .unwrap();
    let receipt = client
        .put(Put::whole(attempt("w", 0, "a"), &[rows()]))
        .await
        .unwrap();
    assert_eq!(database.text(STAGED).await, "2");
    wait_until(
        async || {
            database
                .text("SELECT string_agg(state, '+') FROM pgflight.write")
                .await
                == "aborted+aborted"
        },
        "both expired",
    )
    .await;
    let late = client.commit("w", &[receipt]).await.expect_err("expired");
    assert_eq!(late.code(), Code::FailedPrecondition);
    assert!(
        late.message().contains("expired: nothing was heard of it"),
        "{late}"
    );
    wait_until(
        async || database.text(STAGED).await == "0",
        "the staging tables are gone",
    )
    .await;
    let ledger =
        "SELECT (SELECT count(*) FROM pgflight.write) + (SELECT count(*) FROM pgflight.attempt)";
    wait_until(
        async || database.text(ledger).await == "0",
        "the writes are forgotten",
    )
    .await;
    assert_eq!(database.text("SELECT count(*) FROM t").await, "0");
}

#[tokio::test]
async fn one_staging_table_that_is_in_use_holds_up_nothing_else() {
    let database = Database::new().await;
    database.execute("CREATE TABLE t (n int)").await;
    let options = ["--reaper-interval", "50ms", "--write-ttl", "300ms"];
    let server = Pgflight::start_with(&database, &options);
    let mut client = server.client().await;
    let direct = json!({"table": "t", "append": {"publish": "PUBLISH_DIRECT"}});
    client.begin("direct", direct, &rows()).await.unwrap();
    client.begin("held", append(), &rows()).await.unwrap();
    let held =
        "SELECT staging_schema || '.' || staging_name FROM pgflight.write WHERE write_id = 'held'";
    let held = database.text(held).await;
    // Another session reads the oldest one, as a backup does.
    database
        .execute(&format!("BEGIN; LOCK TABLE {held} IN ACCESS SHARE MODE"))
        .await;
    client.begin("free", append(), &rows()).await.unwrap();
    let states = "SELECT string_agg(write_id || ' ' || state || ' ' || (staging_name IS NULL), ',' ORDER BY write_id)
                  FROM pgflight.write";
    let expected = "direct aborted true,free aborted true,held aborted false";
    wait_until(
        async || database.text(states).await == expected,
        "the others are cleaned up",
    )
    .await;
    database.execute("COMMIT").await;
    wait_until(
        async || database.text(STAGED).await == "0",
        "the last one is gone",
    )
    .await;
}

#[tokio::test]
async fn a_write_with_a_stream_under_way_does_not_expire() {
    let database = Database::new().await;
    database.execute("CREATE TABLE t (n int)").await;
    let server = Pgflight::start_with(
        &database,
        &["--reaper-interval", "20ms", "--write-ttl", "200ms"],
    );
    let mut client = server.client().await;
    client.begin("w", append(), &rows()).await.unwrap();
    let (end, ended) = tokio::sync::oneshot::channel::<()>();
    let mut messages = Put::whole(attempt("w", 0, "a"), &[rows()]).0;
    let last = messages.pop().unwrap();
    let messages = stream::iter(messages).chain(stream::once(async move {
        ended.await.ok();
        last
    }));
    let mut sender = server.client().await;
    let running = tokio::spawn(async move { sender.put_stream(messages).await });
    wait_until(async || database.text(COPIES).await == "1", "the COPY runs").await;
    // Several times the TTL and many rounds of the reaper.
    tokio::time::sleep(std::time::Duration::from_millis(800)).await;
    assert_eq!(
        client.status("w").await.unwrap()["state"],
        "WRITE_STATE_OPEN"
    );
    end.send(()).unwrap();
    let receipt = running.await.unwrap().unwrap();
    client.commit("w", &[receipt]).await.unwrap();
    assert_eq!(database.text("SELECT count(*) FROM t").await, "1");
}

#[tokio::test]
async fn a_commit_does_not_wait_for_a_zombie_and_the_zombie_is_ended() {
    let database = Database::new().await;
    database.execute("CREATE TABLE t (n int)").await;
    let server = Pgflight::start(&database);
    let mut client = server.client().await;
    for (id, spec, table) in [
        ("staged", append(), "t"),
        ("created", json!({"table": "new", "create": {}}), "new"),
    ] {
        client.begin(id, spec, &rows()).await.unwrap();
        let receipt = client
            .put(Put::whole(attempt(id, 0, "a"), &[rows()]))
            .await
            .unwrap();
        let unaccepted = client
            .put(Put::whole(attempt(id, 0, "b"), &[rows()]))
            .await
            .unwrap();
        assert_ne!(receipt["attemptId"], unaccepted["attemptId"]);
        let zombie = Put::bare(attempt(id, 0, "z"), &[rows()]).0;
        let mut sender = server.client().await;
        let zombie = tokio::spawn(async move {
            sender
                .put_stream(stream::iter(zombie).chain(stream::pending()))
                .await
        });
        wait_until(
            async || database.text(COPIES).await == "1",
            "the zombie copies",
        )
        .await;
        let committed = client.commit(id, &[receipt]).await.unwrap();
        assert_eq!(committed["state"], "WRITE_STATE_COMMITTED");
        assert_eq!(
            database
                .text(&format!("SELECT count(*) FROM {table}"))
                .await,
            "1",
            "{id}"
        );
        assert_eq!(database.text(STAGED).await, "0", "{id}");
        wait_until(
            async || database.text(COPIES).await == "0",
            "the zombie's COPY has ended",
        )
        .await;
        zombie.abort();
    }
}

#[tokio::test]
async fn direct_attempts_are_visible_at_once_and_extra_ones_reported() {
    let database = Database::new().await;
    database.execute("CREATE TABLE t (n int)").await;
    let server = Pgflight::start(&database);
    let mut client = server.client().await;
    let spec = json!({"table": "t", "append": {"publish": "PUBLISH_DIRECT"}});
    client.begin("w", spec, &rows()).await.unwrap();
    client
        .put(Put::whole(attempt("w", 0, "a"), &[rows()]))
        .await
        .unwrap();
    let receipt = client
        .put(Put::whole(attempt("w", 0, "b"), &[rows()]))
        .await
        .unwrap();
    assert_eq!(database.text("SELECT count(*) FROM t").await, "2");
    let committed = client.commit("w", &[receipt]).await.unwrap();
    assert_eq!(committed["rowCount"], "1");
    assert!(
        committed["reason"]
            .as_str()
            .unwrap()
            .contains("1 attempt(s) that were not accepted"),
        "{committed}"
    );
}

#[tokio::test]
async fn a_stream_that_ends_after_an_abort_is_rejected_at_the_fence() {
    let database = Database::new().await;
    database.execute("CREATE TABLE t (n int)").await;
    let server = Pgflight::start(&database);
    let mut client = server.client().await;
    // With direct publishing, only the fence keeps the rows of a late stream out of the table.
    let spec = json!({"table": "t", "append": {"publish": "PUBLISH_DIRECT"}});
    client.begin("w", spec, &rows()).await.unwrap();
    let (end, ended) = tokio::sync::oneshot::channel::<()>();
    let mut messages = Put::whole(attempt("w", 0, "late"), &[rows()]).0;
    let last = messages.pop().unwrap();
    let messages = stream::iter(messages).chain(stream::once(async move {
        ended.await.ok();
        last
    }));
    let mut sender = server.client().await;
    let running = tokio::spawn(async move { sender.put_stream(messages).await });
    wait_until(async || database.text(COPIES).await == "1", "the COPY runs").await;
    client.abort("w").await.unwrap();
    end.send(()).unwrap();
    let late = running.await.unwrap().expect_err("the write has ended");
    assert_eq!(late.code(), Code::FailedPrecondition, "{late}");
    assert!(
        late.message().contains("already aborted (tested)"),
        "{late}"
    );
    assert_eq!(database.text("SELECT count(*) FROM t").await, "0");
}

#[tokio::test]
async fn writes_are_listed_and_ended_by_hand() {
    let database = Database::new().await;
    database.execute("CREATE TABLE t (n int)").await;
    let run = |arguments: &[&str]| {
        let output = Pgflight::command()
            .args(arguments)
            .args(["--postgres", &database.url])
            .output()
            .unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(text).unwrap())
    };
    let (code, text) = run(&["writes"]);
    assert_eq!(
        (code, text.lines().count()),
        (Some(0), 1),
        "no ledger, no writes: {text}"
    );
    let (code, text) = run(&["migrate"]);
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(run(&["migrate"]).0, Some(0), "again");

    let server = Pgflight::start(&database);
    let mut client = server.client().await;
    client.begin("nightly-42", append(), &rows()).await.unwrap();
    let (_, text) = run(&["writes"]);
    assert!(
        text.contains("nightly-42") && text.contains("open") && text.contains("public.t"),
        "{text}"
    );
    let (code, text) = run(&["abort", "nightly-42", "--reason", "it hangs"]);
    assert_eq!((code, text.trim()), (Some(0), "nightly-42: aborted"));
    let (_, text) = run(&["writes"]);
    assert!(
        text.contains("aborted") && text.contains("it hangs"),
        "{text}"
    );
    assert_eq!(database.text(STAGED).await, "0");

    client.begin("done", append(), &rows()).await.unwrap();
    client.commit("done", &[]).await.unwrap();
    let (code, text) = run(&["abort", "done"]);
    assert_eq!((code, text.trim()), (Some(1), "done: committed"));

    // An unknown id is recorded only on request. The other writes are aborted all the same.
    client.begin("next", append(), &rows()).await.unwrap();
    let (code, text) = run(&["abort", "nihgtly-43", "next"]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("next: aborted"), "{text}");
    assert!(
        text.contains("knows no such write") && text.contains("--force"),
        "{text}"
    );
    client.begin("nihgtly-43", append(), &rows()).await.unwrap();
    let (code, text) = run(&["abort", "--force", "never", "nihgtly-43"]);
    assert_eq!(
        (code, text.trim()),
        (Some(0), "never: aborted\nnihgtly-43: aborted")
    );
    let begun = client.begin("never", append(), &rows()).await;
    begun.expect_err("the id is aborted");
}

#[tokio::test]
async fn writes_are_listed_by_state_and_age() {
    let database = Database::new().await;
    database.execute("CREATE TABLE t (n int)").await;
    let server = Pgflight::start_with(&database, &["--metrics-listen", "127.0.0.1:0"]);
    let mut client = server.client().await;
    for id in ["a", "b", "c", "d"] {
        client.begin(id, append(), &rows()).await.unwrap();
    }
    client.commit("a", &[]).await.unwrap();
    client.abort("b").await.unwrap();
    database
        .execute(
            "UPDATE pgflight.write SET created_at = created_at - interval '2 hours'
             WHERE write_id IN ('a', 'c')",
        )
        .await;
    let check = |arguments: &[&str], expected: &str| {
        let output = Pgflight::command()
            .args(["writes", "--ids", "--postgres", &database.url])
            .args(arguments)
            .output()
            .unwrap();
        let listed = String::from_utf8(output.stdout.clone()).unwrap();
        let listed = listed.lines().collect::<String>();
        assert_eq!(listed, expected, "{arguments:?}: {output:?}");
    };
    check(&[], "dbca");
    check(&["--limit", "3"], "dbc");
    check(&["--state", "open"], "dc");
    check(&["--state", "aborted,committed"], "ba");
    check(&["--state", "committing"], "");
    check(&["--older-than", "1h"], "ca");
    check(&["--older-than", "1h", "--state", "open"], "c");
    check(&["--older-than", "3h"], "");
    // The page begins with those that have not ended.
    client.begin("e", append(), &rows()).await.unwrap();
    client.abort("e").await.unwrap();
    let status = status(&server.monitor).await;
    let shown = status["writes"].as_array().unwrap().iter();
    let shown: Vec<&str> = shown
        .map(|write| write["write_id"].as_str().unwrap())
        .collect();
    assert_eq!(shown, ["d", "c", "e", "b", "a"]);
}

#[tokio::test]
async fn the_printed_migration_serves_a_role_without_privileges() {
    let database = Database::new().await;
    let role = database
        .url
        .rsplit_once('/')
        .unwrap()
        .1
        .replace("pgflight_test", "pgflight_role");
    database
        .execute(&format!(
            "CREATE ROLE {role} LOGIN; CREATE TABLE t (n int); GRANT INSERT ON t TO {role};
             REVOKE CREATE ON SCHEMA public FROM PUBLIC"
        ))
        .await;
    let server = Pgflight::start_at(&database.url_as(&role), &[]);
    let mut client = server.client().await;
    let refused = client
        .begin("w", append(), &rows())
        .await
        .expect_err("the role may not create schemas");
    assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");
    assert!(
        refused
            .message()
            .contains("CREATE SCHEMA pgflight AUTHORIZATION"),
        "{refused}"
    );

    let printed = Pgflight::command()
        .args(["migrate", "--print"])
        .output()
        .unwrap();
    let sql = String::from_utf8(printed.stdout).unwrap();
    database.execute(&sql).await;
    database
        .execute(&format!(
            "GRANT USAGE, CREATE ON SCHEMA pgflight TO {role};
             GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA pgflight TO {role}"
        ))
        .await;
    client.begin("w", append(), &rows()).await.unwrap();
    let receipt = client
        .put(Put::whole(attempt("w", 0, "a"), &[rows()]))
        .await
        .unwrap();
    client.commit("w", &[receipt]).await.unwrap();
    assert_eq!(database.text("SELECT count(*) FROM t").await, "1");
    drop(server);
    database
        .execute(&format!("DROP OWNED BY {role}; DROP ROLE {role}"))
        .await;
}
