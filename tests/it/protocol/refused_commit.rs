//! A commit that PostgreSQL rejects leaves the write open. The same commit works once the cause is fixed.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, RecordBatch};
use futures_util::future::join_all;
use serde_json::{Value, json};
use tonic::Code;

use crate::support::{CallError, Database, Pgflight, Put, attempt, batch};

fn rows(values: &[i32]) -> RecordBatch {
    batch(&[("n", Arc::new(Int32Array::from(values.to_vec())) as ArrayRef)])
}

fn append(publish: &str) -> Value {
    json!({"table": "t", "append": {"publish": publish}})
}

struct Case {
    name: &'static str,
    /// Makes the table t with its column n, and a row 1.
    table: &'static str,
    spec: Value,
    /// The statements of another session between the attempts and the commit, in a transaction of its own that stays
    /// open unless they end it.
    between: &'static str,
    code: Code,
    sqlstate: &'static str,
    /// The fix, in the same session.
    fix: &'static str,
    /// The rows in the end.
    rows: &'static str,
}

async fn check(case: Case) {
    let name = case.name;
    let database = Database::new().await;
    database.execute(case.table).await;
    let server = Pgflight::start_with(&database, &["--lock-timeout", "200ms"]);
    let mut client = server.client().await;
    client.begin("w", case.spec, &rows(&[])).await.unwrap();
    let mut receipts = Vec::new();
    for (partition, values) in [(0, [2, 3]), (1, [4, 5])] {
        let put = Put::whole(
            attempt("w", partition, &partition.to_string()),
            &[rows(&values)],
        );
        receipts.push(client.put(put).await.unwrap());
    }
    let other = Database::connect(&database.url).await;
    other.batch_execute(case.between).await.unwrap();
    let error = CallError::from(client.commit("w", &receipts).await.expect_err(name));
    assert_eq!(error.code, case.code, "{name}: {}", error.message);
    assert_eq!(
        error.details["sqlstate"], case.sqlstate,
        "{name}: {}",
        error.message
    );
    let status = client.status("w").await.unwrap();
    assert_eq!(status["state"], "WRITE_STATE_OPEN", "{name}");
    other.batch_execute(case.fix).await.unwrap();
    let there = "SELECT n FROM t ORDER BY n";
    assert_eq!(
        database.text(there).await,
        "1",
        "{name}: nothing was published"
    );
    let status = client.commit("w", &receipts).await.unwrap();
    assert_eq!(status["state"], "WRITE_STATE_COMMITTED", "{name}");
    assert_eq!(database.text(there).await, case.rows, "{name}");
}

#[tokio::test]
async fn a_commit_rejected_by_postgresql_can_be_repeated() {
    const PLAIN: &str = "CREATE TABLE t (n int); INSERT INTO t VALUES (1)";
    let staged = || append("PUBLISH_STAGED");
    for case in [
        Case {
            name: "another session has locked the table",
            table: PLAIN,
            spec: staged(),
            between: "BEGIN; LOCK TABLE t IN ACCESS EXCLUSIVE MODE",
            code: Code::Unavailable,
            sqlstate: "55P03",
            fix: "ROLLBACK",
            rows: "1,2,3,4,5",
        },
        Case {
            name: "another session reads a table that is to be truncated",
            table: PLAIN,
            spec: json!({"table": "t", "overwrite": {}}),
            between: "BEGIN; SELECT count(*) FROM t",
            code: Code::Unavailable,
            sqlstate: "55P03",
            fix: "ROLLBACK",
            rows: "2,3,4,5",
        },
        Case {
            name: "another session reads a table that is to be swapped",
            table: PLAIN,
            spec: json!({"table": "t", "overwrite": {"with": "OVERWRITE_WITH_SWAP"}}),
            between: "BEGIN; SELECT count(*) FROM t",
            code: Code::Unavailable,
            sqlstate: "55P03",
            fix: "ROLLBACK",
            rows: "2,3,4,5",
        },
        Case {
            name: "a row like one of ours came first",
            table: "CREATE TABLE t (n int UNIQUE); INSERT INTO t VALUES (1)",
            spec: staged(),
            between: "INSERT INTO t VALUES (4)",
            code: Code::InvalidArgument,
            sqlstate: "23505",
            fix: "DELETE FROM t WHERE n = 4",
            rows: "1,2,3,4,5",
        },
        Case {
            name: "a constraint is looked at in COMMIT itself",
            table: "CREATE TABLE t (n int UNIQUE DEFERRABLE INITIALLY DEFERRED); INSERT INTO t VALUES (1)",
            spec: staged(),
            between: "INSERT INTO t VALUES (4)",
            code: Code::InvalidArgument,
            sqlstate: "23505",
            fix: "DELETE FROM t WHERE n = 4",
            rows: "1,2,3,4,5",
        },
        Case {
            name: "a trigger raises an error",
            table: PLAIN,
            spec: staged(),
            between: "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS
                          $$BEGIN IF NEW.n = 5 THEN RAISE 'not five'; END IF; RETURN NEW; END$$;
                      CREATE TRIGGER no BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION no()",
            code: Code::InvalidArgument,
            sqlstate: "P0001",
            fix: "DROP TRIGGER no ON t",
            rows: "1,2,3,4,5",
        },
        Case {
            name: "a key of an upsert is locked",
            table: "CREATE TABLE t (n int PRIMARY KEY); INSERT INTO t VALUES (1)",
            spec: json!({"table": "t", "upsert": {"keys": ["n"]}}),
            between: "BEGIN; INSERT INTO t VALUES (3)",
            code: Code::Unavailable,
            sqlstate: "55P03",
            fix: "ROLLBACK",
            rows: "1,2,3,4,5",
        },
        Case {
            name: "the table moved away for a moment",
            table: PLAIN,
            spec: staged(),
            between: "ALTER TABLE t RENAME TO elsewhere",
            code: Code::NotFound,
            sqlstate: "42P01",
            fix: "ALTER TABLE elsewhere RENAME TO t",
            rows: "1,2,3,4,5",
        },
    ] {
        check(case).await;
    }
}

#[tokio::test]
async fn a_stricter_default_isolation_fails_no_call() {
    let database = Database::new().await;
    database.execute("CREATE TABLE t (n int)").await;
    for isolation in ["repeatable read", "serializable"] {
        let set = format!(
            "DO $$BEGIN EXECUTE format('ALTER DATABASE %I SET default_transaction_isolation = %L',
             current_database(), '{isolation}'); END$$; DELETE FROM t"
        );
        database.execute(&set).await;
        let servers = [Pgflight::start(&database), Pgflight::start(&database)];
        for publish in ["PUBLISH_STAGED", "PUBLISH_TWO_PHASE"] {
            let id = format!("{isolation} {publish}");
            let mut driver = servers[0].client().await;
            driver
                .begin(&id, append(publish), &rows(&[]))
                .await
                .unwrap();
            let attempts = (0..12_u32).map(|partition| {
                let (server, id) = (&servers[partition as usize % 2], &id);
                async move {
                    let put = attempt(id, partition, &partition.to_string());
                    let mut client = server.client().await;
                    client.put(Put::whole(put, &[rows(&[7])])).await.unwrap()
                }
            });
            let receipts = join_all(attempts).await;
            driver.commit(&id, &receipts).await.unwrap();
        }
        assert_eq!(
            database.text("SELECT count(*) FROM t WHERE n = 7").await,
            "24",
            "{isolation}"
        );
    }
}

#[tokio::test]
async fn no_free_connection_is_unavailable_until_one_is_free() {
    let database = Database::new().await;
    let role = database.text("SELECT current_database() || '_few'").await;
    let set = format!(
        "CREATE TABLE t (n int); CREATE ROLE {role} LOGIN CONNECTION LIMIT 2;
         GRANT CREATE ON DATABASE {} TO {role}; GRANT ALL ON t TO {role}",
        database.text("SELECT current_database()").await
    );
    database.execute(&set).await;
    let (_, rest) = database.url.split_once('@').unwrap();
    let url = format!("postgres://{role}@{rest}");
    // It holds one connection for control calls, and needs another for rows.
    let server = Pgflight::start_at(&url, &[]);
    let mut client = server.client().await;
    client
        .begin("w", append("PUBLISH_STAGED"), &rows(&[]))
        .await
        .unwrap();
    let put = || Put::whole(attempt("w", 0, "a"), &[rows(&[1])]);
    let taken = Database::connect(&url).await;
    let error = CallError::from(client.put(put()).await.expect_err("no connection is free"));
    assert_eq!(error.code, Code::Unavailable, "{}", error.message);
    assert_eq!(error.details["sqlstate"], "53300", "{}", error.message);
    drop(taken);
    let held = format!("SELECT count(*) < 2 FROM pg_stat_activity WHERE usename = '{role}'");
    crate::support::wait_until(async || database.text(&held).await == "true", "one is free").await;
    let receipt = client.put(put()).await.unwrap();
    client.commit("w", &[receipt]).await.unwrap();
    assert_eq!(database.text("SELECT n FROM t").await, "1");
    drop(server);
    let gone = format!("SELECT count(*) FROM pg_stat_activity WHERE usename = '{role}'");
    crate::support::wait_until(async || database.text(&gone).await == "0", "it left").await;
    database
        .execute(&format!("DROP OWNED BY {role} CASCADE; DROP ROLE {role}"))
        .await;
}
