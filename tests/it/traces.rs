//! What is written down: a line for everything that is decided or done, and in none of it a secret or a value.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, RecordBatch, StringArray};
use pgflight::auth::digest_of;
use serde_json::{Value, json};
use tonic::Status;

use crate::support::{
    Database, File, Pgflight, Put, Told, attempt, batch, get, path, wait_until, write,
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

/// The database with a password in its address, which PostgreSQL here does not ask for.
fn with_password(database: &Database) -> String {
    database
        .url
        .replacen("postgres@", &format!("postgres:{PASSWORD}@"), 1)
}

#[tokio::test]
async fn everything_that_is_decided_or_done_is_one_line_of_the_audit_log() {
    let database = Database::new().await;
    database
        .execute("CREATE TABLE t (n int, s text); CREATE TABLE u (n int)")
        .await;
    let file = configuration();
    let options = ["--config", file.name(), "--log-format", "json"];
    let server = Pgflight::start_with(&database, &options);
    let nobody = server.client().await;
    let mut etl = nobody.bearing(TOKEN);
    let spec = || json!({"table": "t", "mode": "MODE_APPEND", "publish": "PUBLISH_STAGED"});
    nobody
        .bearing(WRONG)
        .status("w")
        .await
        .expect_err("of nobody");
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
    // All that can be said is said.
    let options = [
        "--config",
        file.name(),
        "--log",
        "trace",
        "--metrics-listen",
        "127.0.0.1:0",
    ];
    let server = Pgflight::start_at(&with_password(&database), &options);
    let nobody = server.client().await;
    let mut etl = nobody.bearing(TOKEN);
    let mut told: Vec<Status> = Vec::new();
    told.push(
        nobody
            .bearing(WRONG)
            .put(Put::bare(path(&["t"]), &[rows(CELL)]))
            .await
            .expect_err("of nobody"),
    );
    told.push(
        nobody
            .authorized(&[&format!("Bearer {TOKEN}"), "x"])
            .status("w")
            .await
            .expect_err("two"),
    );
    // A key that is there, and a label that is none: PostgreSQL shows both in what it says.
    told.push(
        etl.put(Put::bare(path(&["t"]), &[rows(CELL)]))
            .await
            .expect_err("there already"),
    );
    told.push(
        etl.put(Put::bare(path(&["e"]), &[rows(CELL)]))
            .await
            .expect_err("no label"),
    );
    let text: ArrayRef = Arc::new(StringArray::from(vec![CELL]));
    told.push(
        etl.put(Put::bare(path(&["t"]), &[batch(&[("n", text)])]))
            .await
            .expect_err("no number"),
    );
    let spec = json!({"table": "t", "mode": "MODE_APPEND", "publish": "PUBLISH_STAGED"});
    etl.begin("w", spec, &rows(CELL)).await.unwrap();
    let receipt = etl
        .put(Put::whole(attempt("w", 0, "a"), &[rows(CELL)]))
        .await
        .unwrap();
    told.push(
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
    shown.extend(told.iter().map(|status| format!("{status:?}")));
    shown.extend(
        told.into_iter()
            .flat_map(|status| Told::from(status).details.into_values()),
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
async fn the_detail_that_postgresql_gives_is_told_only_where_that_is_wanted() {
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
        let spec = json!({"table": "t", "mode": "MODE_APPEND", "publish": "PUBLISH_STAGED"});
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
