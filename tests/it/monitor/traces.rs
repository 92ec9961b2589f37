//! The log: a line for every decision and change, without secrets and values.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, RecordBatch, StringArray};
use pgflight::auth::digest_of;
use serde_json::{Value, json};
use tonic::Status;

use crate::support::{
    CallError, Database, File, Pgflight, Put, attempt, batch, get, path, wait_until, write,
};

const TOKEN: &str = "pgf_planted-token-7f3a";
const WRONG: &str = "pgf_planted-wrong-token-91bc";
const PASSWORD: &str = "planted-password-5d2e";
const CELL: &str = "planted-cell-c8d1";

fn rows(text: &str) -> RecordBatch {
    batch(&[
        ("n", Arc::new(Int32Array::from(vec![1])) as ArrayRef),
        ("s", Arc::new(StringArray::from(vec![text])) as ArrayRef),
    ])
}

fn configuration() -> File {
    File::new(&format!(
        "[principals.etl]\ntokens = ['{}']\ngrants = [{{ tables = ['public.t', 'public.e'], modes = ['append'] }}]",
        digest_of(TOKEN)
    ))
}

/// The database's address with a password, which PostgreSQL here does not check.
fn with_password(database: &Database) -> String {
    database
        .url
        .replacen("postgres@", &format!("postgres:{PASSWORD}@"), 1)
}

#[tokio::test]
async fn the_audit_log_has_a_line_per_decision_and_change() {
    let database = Database::new().await;
    database
        .execute("CREATE TABLE t (n int, s text); CREATE TABLE u (n int)")
        .await;
    let file = configuration();
    let options = ["--config", file.name(), "--log-format", "json"];
    let server = Pgflight::start_with(&database, &options);
    let anonymous = server.client().await;
    let mut etl = anonymous.bearing(TOKEN);
    let spec = || json!({"table": "t", "append": {"publish": "PUBLISH_STAGED"}});
    anonymous
        .bearing(WRONG)
        .status("w")
        .await
        .expect_err("anonymous");
    etl.begin("w", spec(), &rows("a")).await.unwrap();
    let receipt = etl
        .put(Put::whole(attempt("w", 3, "first"), &[rows("a")]))
        .await
        .unwrap();
    etl.commit("w", &[receipt]).await.unwrap();
    etl.abort("v").await.unwrap();
    etl.put(Put::whole(write(spec()), &[rows("a"), rows("b")]))
        .await
        .unwrap();
    etl.put(Put::bare(path(&["u"]), &[rows("a")]))
        .await
        .expect_err("no grant");

    let audit = || {
        let lines = server.log().into_iter();
        let lines = lines.filter_map(|line| serde_json::from_str::<Value>(&line).ok());
        lines
            .filter(|line| line["target"] == "pgflight::audit")
            .collect::<Vec<_>>()
    };
    let of = |event: &str| {
        audit()
            .into_iter()
            .filter(|line| line["event"] == event)
            .collect::<Vec<_>>()
    };
    wait_until(async || of("write").len() == 2, "all is written").await;
    let check = |event: &str, number: usize, expected: Value| {
        let line = &of(event)[number];
        for (name, value) in expected.as_object().unwrap() {
            assert_eq!(&line[name], value, "{name} of {line}");
        }
        for name in ["timestamp", "peer"] {
            assert!(line[name].is_string(), "{name} of {line}");
        }
    };
    check(
        "authenticate",
        0,
        json!({"outcome": "refused", "reason": "the token is not valid", "principal": null}),
    );
    check(
        "authenticate",
        1,
        json!({"outcome": "admitted", "principal": "etl", "proof": "token"}),
    );
    assert_eq!(of("authenticate").len(), 7, "one for each call");
    let place = json!({"principal": "etl", "target_name": "default", "write_id": "\"w\""});
    let with = |more: Value| {
        let mut all = place.clone();
        for (name, value) in more.as_object().unwrap() {
            all[name] = value.clone();
        }
        all
    };
    check(
        "begin",
        0,
        with(json!({"outcome": "open", "table": "\"public.t\"", "mode": "append"})),
    );
    check(
        "attempt",
        0,
        with(json!({"outcome": "done", "partition": 3, "attempt_id": "\"first\"", "rows": 1})),
    );
    check(
        "commit",
        0,
        with(json!({"outcome": "committed", "rows": 1, "table": "\"public.t\""})),
    );
    check(
        "abort",
        0,
        with(json!({"outcome": "aborted", "write_id": "\"v\"", "rows": 0})),
    );
    check(
        "write",
        0,
        json!({"outcome": "done", "rows": 2, "mode": "append", "principal": "etl"}),
    );
    check(
        "write",
        1,
        json!({"outcome": "PERMISSION_DENIED", "table": "\"u\"", "rows": null}),
    );
}

#[tokio::test]
async fn no_secret_and_no_value_is_ever_shown() {
    let database = Database::new().await;
    database
        .execute(&format!(
            "CREATE TABLE t (n int PRIMARY KEY, s text UNIQUE CHECK (s <> 'no'));
             CREATE TYPE mood AS ENUM ('good'); CREATE TABLE e (n int, s mood);
             INSERT INTO t VALUES (7, '{CELL}')"
        ))
        .await;
    let file = configuration();
    // The log shows everything, with the filter at its most verbose.
    let options = [
        "--config",
        file.name(),
        "--log",
        "trace",
        "--metrics-listen",
        "127.0.0.1:0",
    ];
    let server = Pgflight::start_at(&with_password(&database), &options);
    let anonymous = server.client().await;
    let mut etl = anonymous.bearing(TOKEN);
    let mut reported: Vec<Status> = Vec::new();
    reported.push(
        anonymous
            .bearing(WRONG)
            .put(Put::bare(path(&["t"]), &[rows(CELL)]))
            .await
            .expect_err("anonymous"),
    );
    reported.push(
        anonymous
            .authorized(&[&format!("Bearer {TOKEN}"), "x"])
            .status("w")
            .await
            .expect_err("two"),
    );
    // A duplicate key and an invalid label, which PostgreSQL shows in its messages.
    reported.push(
        etl.put(Put::bare(path(&["t"]), &[rows(CELL)]))
            .await
            .expect_err("there already"),
    );
    reported.push(
        etl.put(Put::bare(path(&["e"]), &[rows(CELL)]))
            .await
            .expect_err("no label"),
    );
    let text: ArrayRef = Arc::new(StringArray::from(vec![CELL]));
    reported.push(
        etl.put(Put::bare(path(&["t"]), &[batch(&[("n", text)])]))
            .await
            .expect_err("no number"),
    );
    let spec = json!({"table": "t", "append": {"publish": "PUBLISH_STAGED"}});
    etl.begin("w", spec, &rows(CELL)).await.unwrap();
    let receipt = etl
        .put(Put::whole(attempt("w", 0, "a"), &[rows(CELL)]))
        .await
        .unwrap();
    reported.push(
        etl.commit("w", &[receipt])
            .await
            .expect_err("there already"),
    );
    etl.put(Put::bare(path(&["t"]), &[rows("another")]))
        .await
        .unwrap();
    database.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'pgflight' AND datname = current_database()").await;
    let _ = etl.status("w").await;
    wait_until(async || server.log().len() > 50, "there is much to look at").await;
    let mut shown = server.log();
    shown.extend(reported.iter().map(|status| format!("{status:?}")));
    shown.extend(
        reported
            .into_iter()
            .flat_map(|status| CallError::from(status).details.into_values()),
    );
    for page in ["/", "/metrics", "/status.json"] {
        let answer = get(&server.monitor, page).await;
        assert_eq!(answer.code, 200, "{page}");
        shown.extend([answer.head, answer.body]);
    }
    for arguments in [
        &["serve", "--help"][..],
        &["config", "check", file.name()],
        &["writes", "--postgres", &with_password(&database)],
    ] {
        let output = Pgflight::command().args(arguments).output().unwrap();
        for text in [output.stdout, output.stderr] {
            shown.push(String::from_utf8(text).unwrap());
        }
    }
    for line in shown {
        for secret in [TOKEN, WRONG, PASSWORD, CELL] {
            assert!(!line.contains(secret), "{secret} in: {line}");
        }
    }
}

#[tokio::test]
async fn postgresql_detail_is_shown_only_on_request() {
    let database = Database::new().await;
    database
        .execute("CREATE TABLE t (n int PRIMARY KEY, s text); INSERT INTO t VALUES (1, 'x')")
        .await;
    let detail = "Key (n)=(1) already exists.";
    for (options, is_told) in [(&[][..], false), (&["--show-detail"], true)] {
        let server = Pgflight::start_with(&database, options);
        let mut client = server.client().await;
        let put = client
            .put(Put::bare(path(&["t"]), &[rows("a")]))
            .await
            .expect_err("there already");
        assert_eq!(put.message().contains(detail), is_told, "{put}");
        let spec = json!({"table": "t", "append": {"publish": "PUBLISH_STAGED"}});
        let id = format!("w{is_told}");
        client.begin(&id, spec, &rows("a")).await.unwrap();
        let receipt = client
            .put(Put::whole(attempt(&id, 0, "a"), &[rows("a")]))
            .await
            .unwrap();
        let commit = client
            .commit(&id, &[receipt])
            .await
            .expect_err("there already");
        assert_eq!(commit.message().contains(detail), is_told, "{commit}");
        assert_eq!(
            server.log().iter().any(|line| line.contains(detail)),
            is_told
        );
    }
}
