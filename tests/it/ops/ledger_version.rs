//! Servers and commands on a ledger of another version: an older one before it is migrated, a newer one after a
//! deployment was rolled back.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, RecordBatch};
use serde_json::{Value, json};

use crate::support::{Database, Pgflight, Put, attempt, batch, get};

/// The version that this source creates.
const OURS: u32 = 2;

/// A write that a server of version 1 committed.
const OLD_WRITE: &str =
    "INSERT INTO pgflight.write (write_id, spec, target_schema, target_name, publish, state, row_count, finished_at)
     VALUES ('old', '{}', 'public', 't', 'append', 'committed', 7, now())";

fn rows() -> RecordBatch {
    batch(&[("n", Arc::new(Int32Array::from(vec![1, 2])) as ArrayRef)])
}

fn append() -> Value {
    json!({"table": "t", "append": {}})
}

/// Creates a database with a table, and the ledger of this version.
async fn database_of(version: u32) -> Database {
    let database = Database::new().await;
    database
        .execute("CREATE TABLE t (n int); CREATE SCHEMA pgflight")
        .await;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/pg/ledger/migrations");
    for number in 1..=version.min(OURS) {
        let sql = std::fs::read_to_string(folder.join(format!("{number}.sql"))).unwrap();
        database.execute(&sql).await;
    }
    for newer in OURS + 1..=version {
        let sql = format!(
            "ALTER TABLE pgflight.write ADD COLUMN made_by_{newer} text;
             ALTER TABLE pgflight.attempt ADD COLUMN made_by_{newer} text;
             INSERT INTO pgflight.migration (version) VALUES ({newer})"
        );
        database.execute(&sql).await;
    }
    database.execute(OLD_WRITE).await;
    database
}

async fn version_of(database: &Database) -> String {
    let version = "SELECT max(version) FROM pgflight.migration";
    database.text(version).await
}

/// Creates a role that may use a ledger and does not own it.
async fn user_of(database: &Database) -> (String, String) {
    let role = format!("user_{}", uuid::Uuid::new_v4().simple());
    let grants = format!(
        "CREATE ROLE {role} LOGIN; GRANT INSERT ON t TO {role}; GRANT USAGE, CREATE ON SCHEMA pgflight TO {role};
         GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA pgflight TO {role}"
    );
    database.execute(&grants).await;
    let url = database.url.replace("postgres@", &format!("{role}@"));
    (role, url)
}

/// Runs a command on a database, and checks its exit status and that its output has these parts.
fn check(arguments: &[&str], url: &str, code: i32, expected: &[&str]) {
    let mut command = Pgflight::command();
    let command = command.args(arguments).args(["--postgres", url]);
    let output = command.output().unwrap();
    let printed = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {printed}");
    for part in expected {
        assert!(
            printed.contains(part),
            "{arguments:?}: {part:?} is not in\n{printed}"
        );
    }
}

#[tokio::test]
async fn commands_report_an_old_ledger_and_how_to_migrate_it() {
    for version in 1..OURS {
        let database = database_of(version).await;
        let url = &database.url;
        let versions = format!("version {version}, and this pgflight needs {OURS}");
        check(
            &["check"],
            url,
            0,
            &["warning", &versions, "pgflight migrate"],
        );
        let old = "the ledger (schema pgflight) has an older version";
        check(&["writes"], url, 1, &[old, "`pgflight migrate`"]);
        assert_eq!(version_of(&database).await, version.to_string());
        check(&["migrate"], url, 0, &[]);
        check(
            &["check"],
            url,
            0,
            &["ok       the ledger (schema pgflight) is there"],
        );
        check(&["writes"], url, 0, &["old    committed  public.t  7"]);
    }
    // Commands that change something migrate it by themselves.
    let database = database_of(1).await;
    check(&["abort", "old"], &database.url, 1, &["old: committed"]);
    assert_eq!(version_of(&database).await, OURS.to_string());
}

#[tokio::test]
async fn a_server_migrates_an_old_ledger_when_it_starts() {
    for version in 1..OURS {
        let database = database_of(version).await;
        let server = Pgflight::start(&database);
        assert_eq!(version_of(&database).await, OURS.to_string());
        let log = server.log().join("\n");
        assert!(log.contains("upgraded the ledger"), "{log}");
        let mut client = server.client().await;
        client.begin("new", append(), &rows()).await.unwrap();
        let put = Put::whole(attempt("new", 0, "a"), &[rows()]);
        let receipt = client.put(put).await.unwrap();
        client.commit("new", &[receipt]).await.unwrap();
        assert_eq!(database.text("SELECT count(*) FROM t").await, "2");
        let status = client.status("old").await.unwrap();
        assert_eq!(status["rowCount"], "7", "{status}");
    }
}

#[tokio::test]
async fn a_server_that_may_not_change_an_old_ledger_says_who_must() {
    for version in 1..OURS {
        let database = database_of(version).await;
        let (role, url) = user_of(&database).await;
        let needed = format!("is of version {version}, this pgflight needs {OURS}");
        check(
            &["check"],
            &url,
            1,
            &["FAILS", &needed, "does not own it", "migrate --print"],
        );
        let server = Pgflight::start_at(&url, &["--metrics-listen", "127.0.0.1:0"]);
        let log = server.log().join("\n");
        assert!(
            log.contains("could not upgrade the ledger from an older version"),
            "{log}"
        );
        let mut client = server.client().await;
        let begun = client.begin("new", append(), &rows()).await;
        let begun = begun.expect_err("the ledger is old").message().to_owned();
        assert!(begun.contains("migrate --print"), "{begun}");
        let status = client.status("old").await.expect_err("the ledger is old");
        assert!(status.message().contains("`pgflight migrate`"), "{status}");
        let page = get(&server.monitor, "/").await.body;
        assert!(page.contains("cannot read the ledger: INTERNAL; run pgflight check"));
        // Writes of one stream need no ledger.
        let put = Put::whole(crate::support::write(append()), &[rows()]);
        client.put(put).await.unwrap();
        assert_eq!(database.text("SELECT count(*) FROM t").await, "2");
        // The owner migrates it, and the server goes on without a restart.
        check(&["migrate"], &database.url, 0, &[]);
        client.begin("new", append(), &rows()).await.unwrap();
        let status = client.status("old").await.unwrap();
        assert_eq!(status["rowCount"], "7", "{status}");
        drop(server);
        let drop_role = format!("DROP OWNED BY {role}; DROP ROLE {role}");
        database.execute(&drop_role).await;
    }
}

#[tokio::test]
async fn a_server_that_was_rolled_back_works_on_the_newer_ledger() {
    let newer = OURS + 1;
    let database = database_of(newer).await;
    let url = &database.url;
    let versions = format!("version {newer}, newer than this pgflight, which makes {OURS}");
    check(&["check"], url, 0, &["warning", &versions]);
    check(&["migrate"], url, 0, &[]);
    assert_eq!(version_of(&database).await, newer.to_string());
    let server = Pgflight::start(&database);
    let log = server.log().join("\n");
    assert!(
        log.contains("the ledger is newer than this server"),
        "{log}"
    );
    let mut client = server.client().await;
    client.begin("new", append(), &rows()).await.unwrap();
    let put = Put::whole(attempt("new", 0, "a"), &[rows()]);
    let receipt = client.put(put).await.unwrap();
    client.commit("new", &[receipt]).await.unwrap();
    assert_eq!(database.text("SELECT count(*) FROM t").await, "2");
    check(&["writes"], url, 0, &["new    committed  public.t  2"]);
    // A state that only the newer version knows is reported.
    database
        .execute(
            "ALTER TABLE pgflight.write DROP CONSTRAINT write_state_check;
             UPDATE pgflight.write SET state = 'archived' WHERE write_id = 'old'",
        )
        .await;
    let status = client.status("old").await.expect_err("an unknown state");
    assert!(
        status
            .message()
            .contains("the newer pgflight that wrote it"),
        "{status}"
    );
    let status = client.status("new").await.unwrap();
    assert_eq!(status["rowCount"], "2", "{status}");
}
