//! Statements of the operator around the rows of a write.

use arrow::array::RecordBatch;
use pgflight::auth::digest_of;
use serde_json::{Value, json};
use tonic::Code;

use super::replace::replace;
use crate::modes::keyed::ints;
use crate::stream::fan_out::{SOON, batches};
use crate::support::{CallError, Database, File, Pgflight, Put, batch, wait_until, write};

/// A table and a log, which the statements write.
const TABLES: &str = "DROP TABLE IF EXISTS t, log CASCADE;
    CREATE TABLE t (id int PRIMARY KEY, v int);
    CREATE TABLE log (at int GENERATED ALWAYS AS IDENTITY, what text, xact text, found bigint)";
const STATEMENTS: &str = "
    first = \"INSERT INTO log (what, xact) VALUES ('first', pg_current_xact_id()::text)\"
    second = \"INSERT INTO log (what, xact) VALUES ('second', pg_current_xact_id()::text);\"
    count = \"INSERT INTO log (what, xact, found) SELECT 'count', pg_current_xact_id()::text, count(*) FROM t\"
    reject = \"SELECT 1 / (SELECT count(*) - count(*) FROM t)\"
    missing = \"SELECT * FROM nowhere\"
    several = \"SELECT 1; SELECT 2\"";

fn rows() -> RecordBatch {
    batch(&[
        ("id", ints(&[Some(1), Some(2)])),
        ("v", ints(&[Some(7), Some(7)])),
    ])
}

/// A server whose only target has statements, with principals.
async fn setup(statements: &str, principals: &str, options: &[&str]) -> (Database, Pgflight, File) {
    let database = Database::new().await;
    database.execute(TABLES).await;
    let text = |statements: &str| {
        format!(
            "[targets.db]\npostgres = '{}'\n[targets.db.statements]{statements}\n{principals}",
            database.url
        )
    };
    let file = File::new(&text(statements));
    let server = Pgflight::start_with_file(&file.0, options);
    (database, server, file)
}

fn around(mode: Value, before: &[&str], after: &[&str]) -> Value {
    let mut spec = mode;
    spec["table"] = "t".into();
    spec["before"] = json!(before);
    spec["after"] = json!(after);
    spec
}

#[tokio::test]
async fn statements_run_around_the_rows_in_the_publishing_transaction() {
    let (database, server, _file) = setup(STATEMENTS, "", &[]).await;
    let mut client = server.client().await;
    for (number, (mode, made, found)) in [
        (json!({"append": {}}), "", "2"),
        (
            json!({"append": {"createIfMissing": {}}}),
            "DROP TABLE t",
            "2",
        ),
        (json!({"create": {}}), "DROP TABLE t", "2"),
        (json!({"upsert": {}}), "INSERT INTO t VALUES (3, 3)", "3"),
        (
            json!({"upsert": {"keys": ["id"], "createIfMissing": {}}}),
            "DROP TABLE t",
            "2",
        ),
        (
            json!({"overwrite": {"with": "OVERWRITE_WITH_SWAP"}}),
            "INSERT INTO t VALUES (3, 3)",
            "2",
        ),
        (json!({"overwrite": {}}), "INSERT INTO t VALUES (3, 3)", "2"),
        (
            json!({"overwrite": {"replaceBy": ["id"]}}),
            "INSERT INTO t VALUES (2, 2), (3, 3)",
            "3",
        ),
        (
            json!({"overwrite": {"replaceWhere": "id < 3"}}),
            "INSERT INTO t VALUES (2, 2), (3, 3)",
            "3",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let id = format!("w{number}");
        for id in [None, Some(id.as_str())] {
            database.execute(&format!("{TABLES}; {made}")).await;
            let spec = around(mode.clone(), &["second", "first"], &["count", "second"]);
            // Once named as `before`, a statement can be named as `after` too.
            replace(&mut client, spec, &rows(), id)
                .await
                .unwrap_or_else(|status| panic!("{mode}, {id:?}: {status}"));
            let log = database
                .text("SELECT what || coalesce(' ' || found, '') FROM log ORDER BY at")
                .await;
            let expected = format!("second,first,count {found},second");
            assert_eq!(log, expected, "{mode}, {id:?}");
            let transactions = database.text("SELECT count(DISTINCT xact) FROM log").await;
            assert_eq!(transactions, "1", "{mode}, {id:?}");
        }
    }
}

#[tokio::test]
async fn a_statement_may_change_the_table_and_what_hangs_on_it() {
    let statements = "
        widen = \"ALTER TABLE t ALTER v TYPE bigint\"
        index = \"CREATE INDEX t_v ON t (v)\"
        unindex = \"DROP INDEX t_v\"
        refresh = \"REFRESH MATERIALIZED VIEW totals\"";
    let (database, server, _file) = setup(statements, "", &[]).await;
    let mut client = server.client().await;
    for id in [None, Some("w")] {
        database.execute(TABLES).await;
        database
            .execute(
                "CREATE INDEX t_v ON t (v);
                 CREATE MATERIALIZED VIEW totals AS SELECT count(*) AS n FROM t",
            )
            .await;
        let spec = around(json!({"append": {}}), &["unindex"], &["refresh", "index"]);
        replace(&mut client, spec, &rows(), id).await.unwrap();
        assert_eq!(database.text("SELECT n FROM totals").await, "2", "{id:?}");
    }
    database.execute(TABLES).await;
    let widening = around(json!({"upsert": {}}), &["widen"], &[]);
    replace(&mut client, widening.clone(), &rows(), None)
        .await
        .unwrap();
    assert_eq!(database.text("SELECT sum(v) FROM t").await, "14");
    // The staged rows have the types of the begin.
    database.execute(TABLES).await;
    let error = replace(&mut client, widening, &rows(), Some("x")).await;
    let error = CallError::from(error.expect_err("the column has changed"));
    assert!(error.message.contains("changed or dropped"), "{error:?}");
}

#[tokio::test]
async fn a_statement_that_fails_takes_the_rows_with_it() {
    let (database, server, _file) = setup(STATEMENTS, "", &[]).await;
    let mut client = server.client().await;
    for (number, (before, after, part)) in [
        (vec!["reject"], vec![], "statement reject failed"),
        (vec![], vec!["first", "reject"], "statement reject failed"),
        (vec!["missing"], vec![], "statement missing failed"),
        (vec![], vec!["several"], "statement several failed"),
        (vec![], vec!["unknown"], "no statement \"unknown\""),
    ]
    .into_iter()
    .enumerate()
    {
        let id = format!("w{number}");
        for id in [None, Some(id.as_str())] {
            for mode in [json!({"append": {}}), json!({"upsert": {}})] {
                let id = id.map(|id| format!("{id}{}", mode.get("upsert").is_some()));
                let spec = around(mode, &before, &after);
                let error = replace(&mut client, spec, &rows(), id.as_deref()).await;
                let error = CallError::from(error.expect_err(part));
                assert!(error.message.contains(part), "{part}: {}", error.message);
                let hint = error.details["hint"].as_str();
                assert!(hint.contains("configuration"), "{part}: {hint}");
                let left = "SELECT (SELECT count(*) FROM t) + (SELECT count(*) FROM log)";
                assert_eq!(database.text(left).await, "0", "{part}");
            }
        }
    }
    // Commits again as soon as the cause is gone.
    let spec = around(json!({"append": {}}), &[], &["missing"]);
    let put = |partition| Put::whole(crate::support::attempt("late", partition, "a"), &[rows()]);
    client.begin("late", spec, &rows()).await.unwrap();
    let receipt = client.put(put(0)).await.unwrap();
    let refused = client.commit("late", std::slice::from_ref(&receipt)).await;
    assert!(refused.unwrap_err().message().contains("missing failed"));
    database.execute("CREATE TABLE nowhere ()").await;
    client.commit("late", &[receipt]).await.unwrap();
    assert_eq!(database.text("SELECT count(*) FROM t").await, "2");
}

#[tokio::test]
async fn rows_whose_table_loses_its_name_to_a_statement_are_not_kept() {
    let statements = "
        rename = \"ALTER TABLE t RENAME TO away\"
        remove = \"DROP TABLE t\"
        replace = \"DO $$ BEGIN ALTER TABLE t RENAME TO away; CREATE TABLE t (id int PRIMARY KEY, v int); END $$\"
        hide = \"DO $$ BEGIN ALTER TABLE t RENAME TO away; CREATE VIEW t AS SELECT * FROM away; END $$\"
        back = \"DO $$ BEGIN ALTER TABLE t RENAME TO away; ALTER TABLE away RENAME TO t; END $$\"";
    let (database, server, _file) = setup(statements, "", &[]).await;
    let mut client = server.client().await;
    let modes = [
        (json!({"append": {}}), ""),
        (json!({"append": {"createIfMissing": {}}}), "DROP TABLE t"),
        (json!({"create": {}}), "DROP TABLE t"),
        (json!({"upsert": {}}), ""),
        (
            json!({"upsert": {"keys": ["id"], "createIfMissing": {}}}),
            "DROP TABLE t",
        ),
        (json!({"overwrite": {}}), ""),
        (json!({"overwrite": {"with": "OVERWRITE_WITH_SWAP"}}), ""),
        (json!({"overwrite": {"replaceBy": ["id"]}}), ""),
    ];
    for (number, (mode, made)) in modes.into_iter().enumerate() {
        for statement in ["rename", "remove", "replace", "hide", "back"] {
            let id = format!("{statement}{number}");
            for id in [None, Some(id.as_str())] {
                let case = format!("{mode}, {statement}, {id:?}");
                database
                    .execute("DROP TABLE IF EXISTS t, away CASCADE")
                    .await;
                database.execute(&format!("{TABLES}; {made}")).await;
                let spec = around(mode.clone(), &[], &[statement]);
                let sent = replace(&mut client, spec, &rows(), id).await;
                if statement == "back" {
                    sent.unwrap_or_else(|status| panic!("{case}: {status}"));
                    assert_eq!(database.text("SELECT count(*) FROM t").await, "2", "{case}");
                    continue;
                }
                let error = CallError::from(sent.expect_err(&case));
                assert!(error.message.contains("got the name"), "{case}: {error:?}");
                let left = "SELECT to_regclass('away') IS NULL AND (to_regclass('t') IS NULL) = $1";
                let left = left.replace("$1", if made.is_empty() { "false" } else { "true" });
                assert_eq!(database.text(&left).await, "true", "{case}");
            }
        }
    }
}

#[tokio::test]
async fn rows_that_are_visible_elsewhere_are_staged_or_refused() {
    let (database, server, _file) = setup(STATEMENTS, "", &SOON).await;
    let mut client = server.client().await;
    let keyless = "DROP TABLE t; CREATE TABLE t (id int, v int)";
    database.execute(keyless).await;
    let columns = [("id", ints(&[Some(1)])), ("v", ints(&[Some(1)]))];
    for publish in ["PUBLISH_DIRECT", "PUBLISH_TWO_PHASE"] {
        let spec = around(json!({"append": {"publish": publish}}), &[], &["first"]);
        let put = Put::whole(write(spec.clone()), &[rows()]);
        let streamed = client.put(put).await.map(drop);
        let begun = client.begin("w", spec.clone(), &rows()).await.map(drop);
        let planned = client.plan(&columns, spec).await.map(drop);
        for refused in [streamed, begun, planned] {
            let error = CallError::from(refused.expect_err(publish));
            assert_eq!(error.code, Code::InvalidArgument);
            assert!(error.message.contains("publishes the rows"), "{error:?}");
        }
    }
    let plain = json!({"table": "t", "append": {}});
    let spec = around(json!({"append": {}}), &["first"], &["count"]);
    for (id, spec, publish) in [("plain", plain, "two_phase"), ("around", spec, "append")] {
        let plan = client.plan(&columns, spec.clone()).await.unwrap();
        let warnings = plan["warnings"].to_string();
        let is_around = id == "around";
        for part in [
            "statements before the rows, in the transaction that publishes them: first",
            "statements after the rows, in the transaction that publishes them: count",
            "are staged",
        ] {
            assert_eq!(warnings.contains(part), is_around, "{warnings}");
        }
        client.begin(id, spec, &rows()).await.unwrap();
        let by = format!("SELECT publish FROM pgflight.write WHERE write_id = '{id}'");
        assert_eq!(database.text(&by).await, publish, "{id}");
        client.abort(id).await.unwrap();
    }
    let fanned = "SELECT count(*) FROM pgflight.write WHERE write_id LIKE 'stream:%'";
    for (name, expected) in [("first", "0"), ("", "1")] {
        database.execute("DROP TABLE t").await;
        let names = [name].into_iter().filter(|name| !name.is_empty());
        let names: Vec<&str> = names.collect();
        let put = Put::whole(
            write(around(json!({"create": {}}), &names, &[])),
            &batches(None),
        );
        client.put(put).await.unwrap();
        assert_eq!(database.text(fanned).await, expected, "{name}");
    }
}

#[tokio::test]
async fn only_a_grant_allows_a_statement_and_it_runs_as_the_principals_role() {
    let who = "\n  who = \"INSERT INTO log (what, xact) SELECT current_user, current_setting('search_path')\"";
    let principal = |name: &str, rest: &str| {
        let digest = digest_of(name);
        format!("[principals.{name}]\ntokens = ['{digest}']\n{rest}\n")
    };
    let role = format!("pgflight_around_{}", std::process::id());
    let grant = |statements: &str| {
        format!(
            "grants = [{{ tables = ['public.t'], modes = ['append'], statements = [{statements}] }},
                       {{ tables = ['public.other'], modes = ['append'], statements = ['*'] }}]"
        )
    };
    let principals = [
        principal("all", &grant("'wh?', 'gone'")),
        principal("roled", &format!("{}\nrole = '{role}'", grant("'who'"))),
        principal("none", &grant("")),
    ];
    let (database, server, file) = setup(who, &principals.concat(), &[]).await;
    database
        .execute(&format!(
            "CREATE ROLE {role}; GRANT INSERT, SELECT ON t, log TO {role}; GRANT TEMPORARY ON DATABASE {} TO {role}",
            database.text("SELECT current_database()").await
        ))
        .await;
    let anonymous = server.client().await;
    let path = database.text("SELECT current_setting('search_path')").await;
    for (name, expected) in [("all", "postgres"), ("roled", role.as_str())] {
        for id in [None, Some("w")] {
            database.execute("TRUNCATE t, log").await;
            let spec = around(json!({"append": {}}), &["who"], &["who"]);
            let mut client = anonymous.bearing(name);
            replace(&mut client, spec, &rows(), id).await.unwrap();
            let log = database.text("SELECT DISTINCT what FROM log").await;
            assert_eq!(log, expected, "{name}, {id:?}");
            let paths = database.text("SELECT DISTINCT xact FROM log").await;
            assert_eq!(paths, path, "{name}, {id:?}");
        }
    }
    for (name, statement, code) in [
        ("none", "who", Code::PermissionDenied),
        ("none", "gone", Code::PermissionDenied),
        ("roled", "gone", Code::PermissionDenied),
        ("all", "gone", Code::NotFound),
    ] {
        let spec = around(json!({"append": {}}), &[], &[statement]);
        let mut client = anonymous.bearing(name);
        for id in [None, Some("refused")] {
            let error = replace(&mut client, spec.clone(), &rows(), id).await;
            let error = CallError::from(error.expect_err(name));
            assert_eq!(error.code, code, "{name}, {statement}: {}", error.message);
            assert!(error.message.contains(statement), "{}", error.message);
        }
    }
    database.execute("TRUNCATE t").await;
    // A grant that is taken away while the write is open counts at its commit, and so does the new text.
    let mut client = anonymous.bearing("all");
    let spec = around(json!({"append": {}}), &[], &["who"]);
    client.begin("open", spec, &rows()).await.unwrap();
    let put = Put::whole(crate::support::attempt("open", 0, "a"), &[rows()]);
    let receipt = client.put(put).await.unwrap();
    let text = std::fs::read_to_string(&file.0).unwrap();
    for (from, to, code) in [
        ("'wh?', 'gone'", "'gone'", Some(Code::PermissionDenied)),
        ("'gone'", "'who'", None),
    ] {
        let changed = text
            .replace("'wh?', 'gone'", to)
            .replace("current_user", "'new'");
        std::fs::write(&file.0, changed).unwrap();
        let applied = server.log().len();
        server.signal("HUP");
        wait_until(
            async || {
                server.log()[applied..]
                    .iter()
                    .any(|line| line.contains("applied: "))
            },
            "the change is applied",
        )
        .await;
        let outcome = client.commit("open", std::slice::from_ref(&receipt)).await;
        assert_eq!(outcome.err().map(|status| status.code()), code, "{from}");
    }
    let last = database
        .text("SELECT what FROM log ORDER BY at DESC LIMIT 1")
        .await;
    assert_eq!(last, "new");
    drop(server);
    database
        .execute(&format!("DROP OWNED BY {role}; DROP ROLE {role}"))
        .await;
}
