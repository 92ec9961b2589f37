//! Staging tables that other sessions change between the attempts and the commit: nothing is published, and the write
//! reports it.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use serde_json::{Value, json};
use tonic::Code;

use crate::support::{Client, Database, Pgflight, Put, attempt, batch};

fn rows(ids: &[i64]) -> RecordBatch {
    let texts = ids.iter().map(|id| Some(format!("s{id}")));
    batch(&[
        ("a", Arc::new(Int64Array::from(ids.to_vec())) as ArrayRef),
        ("s", Arc::new(texts.collect::<StringArray>())),
    ])
}

/// The ways to publish that have a staging table, each with the SQL that creates the table t.
fn modes() -> [(Value, &'static str); 7] {
    const PLAIN: &str = "CREATE TABLE t (a int8, s text); INSERT INTO t VALUES (1, 'old')";
    const KEYED: &str =
        "CREATE TABLE t (a int8 PRIMARY KEY, s text); INSERT INTO t VALUES (1, 'old')";
    let overwrite = |with: &str| json!({"table": "t", "overwrite": {"with": with}});
    [
        (
            json!({"table": "t", "append": {"publish": "PUBLISH_STAGED"}}),
            PLAIN,
        ),
        (overwrite("OVERWRITE_WITH_TRUNCATE"), PLAIN),
        (overwrite("OVERWRITE_WITH_DELETE"), PLAIN),
        (overwrite("OVERWRITE_WITH_SWAP"), PLAIN),
        (json!({"table": "t", "upsert": {"keys": ["a"]}}), KEYED),
        (json!({"table": "t", "create": {}}), ""),
        (
            json!({"table": "t", "upsert": {"keys": ["a"], "createIfMissing": {}}}),
            "",
        ),
    ]
}

/// Changes of a staging table, `{}`, and how the write reports them.
const CHANGES: [(&str, &str); 8] = [
    ("ALTER TABLE {} DROP COLUMN s", "altered"),
    (
        "ALTER TABLE {} DROP COLUMN s; ALTER TABLE {} ADD COLUMN s text",
        "altered",
    ),
    ("ALTER TABLE {} ALTER COLUMN a TYPE int4", "altered"),
    ("ALTER TABLE {} ALTER COLUMN s TYPE varchar(9)", "altered"),
    ("ALTER TABLE {} ADD COLUMN more int", "altered"),
    ("ALTER TABLE {} RENAME COLUMN s TO x", "altered"),
    (
        "CREATE TABLE copied AS TABLE {}; DROP TABLE {}; CREATE TABLE {} (a int8, s text);
         INSERT INTO {} TABLE copied; DROP TABLE copied",
        "dropped and made again",
    ),
    ("DROP TABLE {}", "dropped, renamed or moved"),
];

async fn setup(sql: &str) -> (Database, Pgflight, Client) {
    let database = Database::new().await;
    database.execute(sql).await;
    let server = Pgflight::start_with(&database, &["--lock-timeout", "2s"]);
    let client = server.client().await;
    (database, server, client)
}

async fn staging(database: &Database) -> String {
    let name =
        "SELECT staging_schema || '.' || staging_name FROM pgflight.write WHERE write_id = 'w'";
    database.text(name).await
}

#[tokio::test]
async fn a_changed_staging_table_is_not_published() {
    for (spec, table) in modes() {
        let (database, _server, mut client) = setup("").await;
        for (change, said) in CHANGES {
            let what = format!("{spec}: {change}");
            database
                .execute(&format!("DROP TABLE IF EXISTS t; {table}"))
                .await;
            database
                .execute("DO $$BEGIN IF to_regclass('pgflight.write') IS NOT NULL THEN DELETE FROM pgflight.write; DELETE FROM pgflight.attempt; END IF; END$$")
                .await;
            client.begin("w", spec.clone(), &rows(&[])).await.unwrap();
            let put = |id: &str| Put::whole(attempt("w", 0, id), &[rows(&[1, 2])]);
            let receipt = client.put(put("a")).await.unwrap();
            let name = staging(&database).await;
            database.execute(&change.replace("{}", &name)).await;

            let late = client.put(put("late")).await.expect_err(&what);
            assert_eq!(late.code(), Code::FailedPrecondition, "{what}: {late}");
            assert!(late.message().contains(said), "{what}: {late}");

            let refused = client.commit("w", &[receipt]).await.expect_err(&what);
            assert_eq!(
                refused.code(),
                Code::FailedPrecondition,
                "{what}: {refused}"
            );
            let expected = format!("staging_changed: the staging table was {said}");
            assert!(refused.message().contains(&expected), "{what}: {refused}");
            let status = client.status("w").await.unwrap();
            assert_eq!(status["state"], "WRITE_STATE_ABORTED", "{what}");
            assert!(status["reason"].as_str().unwrap().starts_with(&expected));
            if table.is_empty() {
                let made = "SELECT to_regclass('t') IS NULL";
                assert_eq!(
                    database.text(made).await,
                    "true",
                    "{what}: no table is made"
                );
            } else {
                assert_eq!(database.text("SELECT s FROM t").await, "old", "{what}");
            }
            // Beside the target, a table of that name that another session made is not the server's.
            let is_kept = said.contains("made again") && !name.starts_with("pgflight.");
            let kept = database
                .text(&format!("SELECT to_regclass('{name}') IS NOT NULL"))
                .await;
            assert_eq!(kept, is_kept.to_string(), "{what}");
            database
                .execute(&format!("DROP TABLE IF EXISTS {name}"))
                .await;
        }
    }
}

#[tokio::test]
async fn a_renamed_staging_table_is_not_published() {
    let (spec, table) = modes().into_iter().next().unwrap();
    for change in [
        "ALTER TABLE {} RENAME TO elsewhere",
        "ALTER TABLE {} RENAME TO elsewhere; CREATE VIEW {} AS TABLE pgflight.elsewhere",
    ] {
        let (database, _server, mut client) = setup(table).await;
        client.begin("w", spec.clone(), &rows(&[])).await.unwrap();
        let put = Put::whole(attempt("w", 0, "a"), &[rows(&[2])]);
        let receipt = client.put(put).await.unwrap();
        let name = staging(&database).await;
        database.execute(&change.replace("{}", &name)).await;
        let refused = client.commit("w", &[receipt]).await.expect_err(change);
        assert!(
            refused.message().contains("staging_changed"),
            "{change}: {refused}"
        );
        assert_eq!(database.text("SELECT s FROM t").await, "old", "{change}");
    }
}

#[tokio::test]
async fn changes_that_keep_rows_and_columns_are_allowed() {
    let (spec, table) = modes().into_iter().next().unwrap();
    for change in [
        "ANALYZE {}",
        "CREATE INDEX ON {} (a)",
        "ALTER TABLE {} SET (fillfactor = 50)",
        "VACUUM FULL {}",
    ] {
        let (database, _server, mut client) = setup(table).await;
        client.begin("w", spec.clone(), &rows(&[])).await.unwrap();
        let put = Put::whole(attempt("w", 0, "a"), &[rows(&[2])]);
        let receipt = client.put(put).await.unwrap();
        let name = staging(&database).await;
        database.execute(&change.replace("{}", &name)).await;
        client.commit("w", &[receipt]).await.unwrap();
        assert_eq!(
            database.text("SELECT s FROM t ORDER BY a").await,
            "old,s2",
            "{change}"
        );
    }
}

#[tokio::test]
async fn a_session_that_no_attempt_of_the_write_has_is_not_ended() {
    let spec = json!({"table": "t", "create": {}});
    for session in ["psql", "pgflight other 0", "pgflight w2 0"] {
        let (database, _server, mut client) = setup("").await;
        client.begin("w", spec.clone(), &rows(&[])).await.unwrap();
        let put = Put::whole(attempt("w", 0, "a"), &[rows(&[2])]);
        let receipt = client.put(put).await.unwrap();
        let name = staging(&database).await;
        let other = Database::connect(&database.url).await;
        other
            .batch_execute(&format!(
                "BEGIN; SET LOCAL application_name = '{session}'; LOCK TABLE {name} IN ROW EXCLUSIVE MODE"
            ))
            .await
            .unwrap();
        let receipts = [receipt];
        let waits = client.commit("w", &receipts).await.expect_err(session);
        assert_eq!(waits.code(), Code::Unavailable, "{session}: {waits}");
        other.batch_execute("COMMIT").await.expect("it lives");
        client.commit("w", &receipts).await.unwrap();
        assert_eq!(database.text("SELECT s FROM t").await, "s2", "{session}");
    }
}
