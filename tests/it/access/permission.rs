//! Permissions of principals: visible tables, their own writes, and their limits.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, Int32Array, RecordBatch};
use arrow_flight::Criteria;
use futures_util::StreamExt;
use pgflight::auth::digest_of;
use serde_json::json;
use tonic::Code;

use crate::support::{
    CallError, Client, Database, File, Pgflight, Put, attempt, batch, path, wait_until, write,
};

fn rows() -> RecordBatch {
    batch(&[("n", Arc::new(Int32Array::from(vec![1])) as ArrayRef)])
}

/// A server with principals whose tokens are their names.
async fn server(principals: &[(&str, &str)], sql: &str) -> (Database, Pgflight, File) {
    let database = Database::new().await;
    database.execute(sql).await;
    let mut text = String::new();
    for (name, lines) in principals {
        let digest = digest_of(name);
        text += &format!("[principals.{name}]\ntokens = ['{digest}']\n{lines}\n");
    }
    let file = File::new(&text);
    let server = Pgflight::start_with(&database, &["--config", file.name()]);
    (database, server, file)
}

async fn clients<const N: usize>(server: &Pgflight, names: [&str; N]) -> [Client; N] {
    let anonymous = server.client().await;
    names.map(|name| anonymous.bearing(name))
}

const TABLES: &str = "CREATE SCHEMA sales; CREATE SCHEMA hr;
    CREATE TABLE sales.orders (n int PRIMARY KEY); CREATE TABLE sales.returns (n int PRIMARY KEY);
    CREATE TABLE hr.pay (n int PRIMARY KEY); CREATE TABLE public.orders (n int PRIMARY KEY)";

#[tokio::test]
async fn hidden_tables_look_like_missing_tables() {
    let grants = "grants = [{ tables = ['sales.*'], modes = ['append', 'create'] }]";
    let sql = format!("{TABLES}; ALTER DATABASE {{name}} SET search_path = sales, hr, public");
    let database = Database::new().await;
    let name = database.text("SELECT current_database()").await;
    database.execute(&sql.replace("{name}", &name)).await;
    let file = File::new(&format!(
        "[principals.clerk]\ntokens = ['{}']\n{grants}",
        digest_of("clerk")
    ));
    let server = Pgflight::start_with(&database, &["--config", file.name()]);
    let [mut clerk] = clients(&server, ["clerk"]).await;
    let mut reported = async |descriptor| {
        let status = clerk
            .put(Put::bare(descriptor, &[rows()]))
            .await
            .expect_err("refused");
        (status.code(), status.message().to_owned())
    };
    // Named with the schema, and found through the search_path: hr.pay exists, hr.nought and nought do not.
    for (hidden, missing) in [
        (path(&["hr", "pay"]), path(&["hr", "nought"])),
        (path(&["pay"]), path(&["nought"])),
        (path(&["public", "orders"]), path(&["public", "nought"])),
        (
            path(&["pg_catalog", "pg_class"]),
            path(&["pg_catalog", "nought"]),
        ),
        (path(&["pgflight", "write"]), path(&["pgflight", "nought"])),
        (path(&["nowhere", "nought"]), path(&["hr", "nought"])),
    ] {
        let names = |descriptor: &arrow_flight::FlightDescriptor| descriptor.path.join(".");
        let (a, b) = (names(&hidden), names(&missing));
        let (hidden, missing) = (reported(hidden).await, reported(missing).await);
        assert_eq!(hidden.0, missing.0, "{hidden:?} {missing:?}");
        assert_eq!(hidden.1.replace(&a, "X"), missing.1.replace(&b, "X"));
        assert!(!hidden.1.contains("hr.pay") || a == "hr.pay", "{hidden:?}");
    }
    // The error names similar tables only if the caller may know of them.
    let (code, message) = reported(path(&["sales", "Pay"])).await;
    assert_eq!(code, Code::NotFound, "{message}");
    assert!(!message.contains("hr"), "{message}");
    let (code, message) = reported(path(&["sales", "Orders"])).await;
    assert_eq!(code, Code::NotFound);
    assert!(
        message.contains("there is a table sales.orders"),
        "{message}"
    );

    let flights = clerk
        .flight
        .list_flights(Criteria::default())
        .await
        .unwrap()
        .into_inner();
    let flights: Vec<_> = flights
        .map(|flight| flight.unwrap().flight_descriptor.unwrap().path)
        .collect()
        .await;
    assert_eq!(flights, [["sales", "orders"], ["sales", "returns"]]);
    for descriptor in [
        path(&["hr", "pay"]),
        path(&["hr", "nought"]),
        path(&["pay"]),
    ] {
        let status = clerk
            .flight
            .get_schema(descriptor)
            .await
            .expect_err("hidden");
        assert!(
            [Code::PermissionDenied, Code::NotFound].contains(&status.code()),
            "{status}"
        );
        assert!(!status.message().contains(" int"), "{status}");
    }
    // A principal can create a table although a hidden one with this name comes first in the search_path.
    let create = write(json!({"table": "pay", "create": {}}));
    clerk.put(Put::whole(create, &[rows()])).await.unwrap();
    assert_eq!(database.text("SELECT count(*) FROM sales.pay").await, "1");
    assert_eq!(database.text("SELECT count(*) FROM hr.pay").await, "0");
}

#[tokio::test]
async fn system_and_ledger_tables_cannot_be_written() {
    let grants = "grants = [{ tables = ['*.*'], modes = ['append', 'create', 'overwrite'] }]";
    let sql = "CREATE TABLE t (n int); CREATE EXTENSION postgres_fdw;
        CREATE SERVER far FOREIGN DATA WRAPPER postgres_fdw; CREATE FOREIGN TABLE away (n int) SERVER far";
    let (database, server, _file) = server(&[("root", grants)], sql).await;
    let [mut root] = clients(&server, ["root"]).await;
    let append = json!({"table": "t", "append": {}});
    root.begin("w", append, &rows()).await.unwrap();
    for (table, code) in [
        ("pg_catalog.pg_class", Code::PermissionDenied),
        ("pg_class", Code::PermissionDenied),
        ("information_schema.sql_features", Code::PermissionDenied),
        ("pgflight.write", Code::PermissionDenied),
        ("pgflight.made", Code::PermissionDenied),
        ("pg_catalog.made", Code::PermissionDenied),
        ("information_schema.made", Code::PermissionDenied),
        ("pg_toast.made", Code::PermissionDenied),
        ("pg_temp.made", Code::PermissionDenied),
        ("pg_temp_3.made", Code::PermissionDenied),
        ("_pgflight_0123456789abcdef", Code::PermissionDenied),
        ("away", Code::Unimplemented),
    ] {
        for mode in ["append", "create", "overwrite"] {
            if table.ends_with("made") && mode == "append" {
                continue;
            }
            let descriptor = write(json!({"table": table, mode: {}}));
            let status = root
                .put(Put::whole(descriptor, &[rows()]))
                .await
                .expect_err(table);
            let there = (table, mode) == ("away", "create");
            let code = if there { Code::Unimplemented } else { code };
            assert_eq!(status.code(), code, "{mode} {table}: {status}");
            let spec = json!({"table": table, mode: {}});
            let begun = root.begin(&format!("{mode} {table}"), spec, &rows()).await;
            assert_eq!(begun.expect_err(table).code(), code, "{mode} {table}");
        }
    }
    assert_eq!(
        database.text("SELECT state FROM pgflight.write").await,
        "open"
    );
    server.assert_unharmed("all of it").await;
}

#[tokio::test]
async fn an_upsert_that_deletes_needs_both_grants() {
    let grants = |modes: &str| format!("grants = [{{ tables = ['*.*'], modes = [{modes}] }}]");
    let (writer, both) = (grants("'upsert'"), grants("'upsert', 'delete_by_key'"));
    let sql = "CREATE TABLE t (n int PRIMARY KEY); INSERT INTO t VALUES (1)";
    let principals = [("writer", writer.as_str()), ("both", both.as_str())];
    let (database, server, _file) = server(&principals, sql).await;
    let [mut writer, mut both] = clients(&server, ["writer", "both"]).await;
    let deletes = batch(&[
        ("n", Arc::new(Int32Array::from(vec![1])) as ArrayRef),
        ("op", Arc::new(Int32Array::from(vec![0])) as ArrayRef),
    ]);
    let rules = json!({"deleteWhen": {"column": "op", "values": ["0"]}});
    let spec = json!({"table": "t", "upsert": rules});
    let put = || Put::whole(write(spec.clone()), std::slice::from_ref(&deletes));
    let status = writer.put(put()).await.expect_err("no grant");
    assert_eq!(status.code(), Code::PermissionDenied, "{status}");
    assert_eq!(database.text("SELECT count(*) FROM t").await, "1");
    both.put(put()).await.unwrap();
    assert_eq!(database.text("SELECT count(*) FROM t").await, "0");
}

#[tokio::test]
async fn ids_of_streams_are_reserved_with_principals_too() {
    let grants = "grants = [{ tables = ['*.*'], modes = ['append'] }]";
    let (database, server, _file) = server(
        &[("ana", grants), ("bob", grants)],
        "CREATE TABLE t (n int)",
    )
    .await;
    let [mut ana, mut bob] = clients(&server, ["ana", "bob"]).await;
    let anonymous_server = Pgflight::start(&database);
    let mut anonymous = anonymous_server.client().await;
    let spec = || json!({"table": "t", "append": {"publish": "PUBLISH_STAGED"}});
    for (who, client) in [("ana", &mut ana), ("anonymous", &mut anonymous)] {
        for id in ["stream:", "stream:1"] {
            let put = Put::whole(attempt(id, 0, "a"), &[rows()]);
            for (what, answer) in [
                ("begin", client.begin(id, spec(), &rows()).await),
                ("attempt", client.put(put).await),
                ("commit", client.commit(id, &[]).await),
                ("abort", client.abort(id).await),
            ] {
                let what = format!("{who}: {what} of {id}");
                let status = answer.expect_err(&what);
                assert_eq!(status.code(), Code::InvalidArgument, "{what}: {status}");
                let error = CallError::from(status);
                assert_eq!(error.details["write_id"], id, "{what}");
            }
            let status = client.status(id).await.expect_err("it does not exist");
            assert_eq!(status.code(), Code::NotFound, "{who}: {status}");
        }
        // The server would give the batches of such a sink ids of streams.
        for sink_id in ["stream", "stream:s"] {
            let sink = json!({"sinkId": sink_id, "queryId": "q", "batchId": "7"});
            let fields = json!({"sink": sink, "spec": spec()});
            let status = client.begin_with(fields, &rows()).await;
            let status = status.expect_err(sink_id);
            assert_eq!(status.code(), Code::InvalidArgument, "{who}: {status}");
        }
    }
    // A principal sees its own streams, and no others.
    ana.begin("w", spec(), &rows()).await.unwrap();
    let rename = "UPDATE pgflight.write SET write_id = 'stream:1' WHERE write_id = 'ana/w'";
    database.execute(rename).await;
    let status = ana.status("stream:1").await.unwrap();
    assert_eq!(
        (&status["state"], &status["writeId"]),
        (&json!("WRITE_STATE_OPEN"), &json!("stream:1"))
    );
    let status = bob.status("stream:1").await.expect_err("it is of ana");
    assert_eq!(status.code(), Code::NotFound, "{status}");
}

#[tokio::test]
async fn write_ids_are_scoped_to_the_principal() {
    let grants = "grants = [{ tables = ['*.*'], modes = ['append'] }]";
    let (database, server, _file) = server(
        &[("ana", grants), ("bob", grants)],
        "CREATE TABLE t (n int)",
    )
    .await;
    let [mut ana, mut bob] = clients(&server, ["ana", "bob"]).await;
    let spec = || json!({"table": "t", "append": {"publish": "PUBLISH_STAGED"}});
    let send = |id: &str, n: u32| Put::whole(attempt(id, n, "a"), &[rows()]);
    let begun = ana.begin("w", spec(), &rows()).await.unwrap();
    assert_eq!(
        begun["writeId"], "w",
        "it has the name that its principal gave it"
    );
    let receipt = ana.put(send("w", 0)).await.unwrap();
    assert_eq!(receipt["writeId"], "w");

    // To other principals the write looks missing.
    for id in ["w", "ana/w", "nought"] {
        for status in [
            bob.put(send(id, 1)).await.expect_err("feeds"),
            bob.status(id).await.expect_err("sees"),
            bob.commit(id, &[]).await.expect_err("commits"),
        ] {
            assert_eq!(status.code(), Code::NotFound, "{id}: {status}");
            assert!(!status.message().contains("open"), "{status}");
            assert!(!status.message().contains("bob/"), "{status}");
            assert_eq!(
                CallError::from(status)
                    .details
                    .get("write_id")
                    .map(String::as_str),
                Some(id)
            );
        }
    }
    let aborted = bob.abort("w").await.unwrap();
    let never = bob.abort("never").await.unwrap();
    for field in [
        "state",
        "table",
        "mode",
        "rowCount",
        "attemptCount",
        "reason",
    ] {
        assert_eq!(
            aborted.get(field),
            never.get(field),
            "{field}: as of one that was never begun"
        );
    }
    // An id that bob has used is still free for ana, and the other way round.
    assert_eq!(ana.status("w").await.unwrap()["state"], "WRITE_STATE_OPEN");
    bob.begin("x", spec(), &rows()).await.unwrap();
    ana.begin("x", spec(), &rows()).await.unwrap();
    let committed = ana.commit("w", &[receipt]).await.unwrap();
    assert_eq!(
        (&committed["state"], &committed["writeId"]),
        (&json!("WRITE_STATE_COMMITTED"), &json!("w"))
    );
    assert_eq!(database.text("SELECT count(*) FROM t").await, "1");
    let ledger =
        "SELECT write_id || ':' || principal || ':' || state FROM pgflight.write ORDER BY 1";
    assert_eq!(
        database.text(ledger).await,
        "ana/w:ana:committed,ana/x:ana:open,bob/never:bob:aborted,bob/w:bob:aborted,bob/x:bob:open"
    );
}

#[tokio::test]
async fn a_table_moved_out_of_a_grant_gets_no_more_rows() {
    let grants = "grants = [{ tables = ['sales.*'], modes = ['append', 'overwrite', 'upsert'] }]";
    let (database, server, _file) = server(&[("clerk", grants)], TABLES).await;
    let [mut clerk] = clients(&server, ["clerk"]).await;
    for (id, spec) in [
        ("direct", json!({"append": {"publish": "PUBLISH_DIRECT"}})),
        ("staged", json!({"append": {"publish": "PUBLISH_STAGED"}})),
        ("emptied", json!({"overwrite": {}})),
        ("keyed", json!({"upsert": {"keys": ["n"]}})),
    ] {
        let mut spec = spec;
        spec["table"] = json!("sales.orders");
        clerk.begin(id, spec.clone(), &rows()).await.unwrap();
        let mut receipts = Vec::new();
        if id != "direct" {
            let put = Put::whole(attempt(id, 0, "before"), &[rows()]);
            receipts.push(clerk.put(put).await.unwrap());
        }
        // Another table takes its name, which the grant still covers.
        let moves = "INSERT INTO sales.orders VALUES (7); ALTER TABLE sales.orders SET SCHEMA hr;
             CREATE TABLE sales.orders (n int PRIMARY KEY)";
        database.execute(moves).await;
        let put = Put::whole(attempt(id, 1, "after"), &[rows()]);
        let sent = clerk.put(put).await;
        receipts.extend(sent.ok());
        let committed = clerk.commit(id, &receipts).await;
        let found = "SELECT (SELECT string_agg(n::text, ',') FROM hr.orders) || ':' || (SELECT count(*) FROM sales.orders)";
        let found = database.text(found).await;
        if id == "direct" {
            // The rows go to a table whose name the grant covers.
            assert!(
                ["7:0", "7:1"].contains(&found.as_str()),
                "{id}: {found} {committed:?}"
            );
        } else {
            let refused = committed.expect_err(id);
            assert_eq!(refused.code(), Code::FailedPrecondition, "{id}: {refused}");
            assert_eq!(found, "7:0", "{id}");
        }
        let back = "DROP TABLE sales.orders; ALTER TABLE hr.orders SET SCHEMA sales; TRUNCATE sales.orders";
        database.execute(back).await;
    }
}

#[tokio::test]
async fn open_writes_beyond_the_limit_are_rejected() {
    let grants = "grants = [{ tables = ['*.*'], modes = ['append'] }]";
    let few = format!("{grants}\nmax_open_writes = 2");
    let (_database, server, _file) =
        server(&[("few", &few), ("many", grants)], "CREATE TABLE t (n int)").await;
    let [mut few, mut many] = clients(&server, ["few", "many"]).await;
    let spec = || json!({"table": "t", "append": {}});
    for id in ["a", "b"] {
        few.begin(id, spec(), &rows()).await.unwrap();
        many.begin(id, spec(), &rows()).await.unwrap();
    }
    few.begin("a", spec(), &rows())
        .await
        .expect("it is open already");
    let reported = CallError::from(
        few.begin("c", spec(), &rows())
            .await
            .expect_err("the third"),
    );
    assert_eq!(reported.code, Code::Unavailable, "{}", reported.message);
    assert!(
        reported.message.contains("2 open writes"),
        "{}",
        reported.message
    );
    many.begin("c", spec(), &rows()).await.unwrap();
    few.abort("a").await.unwrap();
    few.begin("c", spec(), &rows()).await.unwrap();
}

#[tokio::test]
async fn streams_beyond_a_principals_limit_wait() {
    let grants = "max_streams = 1\ngrants = [{ tables = ['*.*'], modes = ['append'] }]";
    let database = Database::new().await;
    database.execute("CREATE TABLE t (n int)").await;
    let digest = digest_of("one");
    let file = File::new(&format!(
        "[principals.one]\ntokens = ['{digest}']\n{grants}"
    ));
    let server = Pgflight::start_with(
        &database,
        &["--config", file.name(), "--copy-wait", "300ms"],
    );
    let [mut first, mut second] = clients(&server, ["one", "one"]).await;
    let (end, ended) = tokio::sync::oneshot::channel::<()>();
    let messages = futures_util::stream::iter(Put::bare(path(&["t"]), &[rows()]).0)
        .chain(futures_util::stream::once(ended).filter_map(|_| async { None }));
    let running = tokio::spawn(async move { first.put_stream(messages).await });
    let copies = async || database.text(crate::support::COPIES).await == "1";
    crate::support::wait_until(copies, "the COPY runs").await;
    let put = || Put::bare(path(&["t"]), &[rows()]);
    let reported = CallError::from(second.put(put()).await.expect_err("one runs"));
    assert_eq!(reported.code, Code::Unavailable, "{}", reported.message);
    end.send(()).unwrap();
    running.await.unwrap().unwrap();
    second.put(put()).await.unwrap();
    assert_eq!(database.text("SELECT count(*) FROM t").await, "2");
}

#[tokio::test]
async fn commits_of_a_principal_that_wait_leave_connections_to_others() {
    let grants = "grants = [{ tables = ['*.*'], modes = ['append'] }]";
    let sql = "CREATE TABLE locked (n int); CREATE TABLE free (n int)";
    let (database, server, _file) = server(&[("ana", grants), ("bob", grants)], sql).await;
    let [mut ana, mut bob] = clients(&server, ["ana", "bob"]).await;
    let spec = |table: &str| json!({"table": table, "append": {"publish": "PUBLISH_STAGED"}});
    let mut receipts = Vec::new();
    for number in 0..12 {
        let id = format!("w{number}");
        ana.begin(&id, spec("locked"), &rows()).await.unwrap();
        let sent = ana.put(Put::whole(attempt(&id, 0, "a"), &[rows()]));
        receipts.push((id, sent.await.unwrap()));
    }
    database.execute("BEGIN; LOCK TABLE locked").await;
    let mut commits = Vec::new();
    for (id, receipt) in receipts {
        let mut client = server.client().await.bearing("ana");
        commits.push(tokio::spawn(
            async move { client.commit(&id, &[receipt]).await },
        ));
    }
    let waiting = "SELECT count(*) FROM pg_stat_activity
                   WHERE datname = current_database() AND wait_event_type = 'Lock'";
    let waits = async || {
        database.execute("SELECT pg_stat_clear_snapshot()").await;
        database.text(waiting).await == "3"
    };
    wait_until(waits, "three commits wait for the lock").await;
    bob.begin("w", spec("free"), &rows()).await.unwrap();
    let receipt = bob.put(Put::whole(attempt("w", 0, "a"), &[rows()])).await;
    let receipts = [receipt.unwrap()];
    let committing = bob.commit("w", &receipts);
    let committed = tokio::time::timeout(Duration::from_secs(20), committing).await;
    committed
        .expect("a commit waits behind those of another principal")
        .unwrap();
    database.execute("COMMIT").await;
    for commit in commits {
        commit.await.unwrap().unwrap();
    }
    assert_eq!(database.text("SELECT count(*) FROM locked").await, "12");
}

#[tokio::test]
async fn a_repeated_write_needs_the_grants_that_it_needed() {
    let all = "grants = [{ tables = ['*.*'], modes = ['append', 'create', 'overwrite'] }]";
    let (database, before, _file) = server(&[("ana", all)], "CREATE TABLE t (n int)").await;
    let text = format!(
        "[principals.ana]\ntokens = ['{}']\ngrants = [{{ tables = ['public.u'], modes = ['append'] }}]\n",
        digest_of("ana")
    );
    let file = File::new(&text);
    let after = Pgflight::start_with(&database, &["--config", file.name()]);
    let [mut ana] = clients(&before, ["ana"]).await;
    let [mut without] = clients(&after, ["ana"]).await;
    for (id, spec) in [
        ("a", json!({"table": "t", "append": {}})),
        ("c", json!({"table": "made", "create": {}})),
        (
            "o",
            json!({"table": "t", "overwrite": {"with": "OVERWRITE_WITH_DELETE"}}),
        ),
    ] {
        ana.begin(id, spec.clone(), &rows()).await.unwrap();
        let receipt = ana.put(Put::whole(attempt(id, 0, "a"), &[rows()])).await;
        ana.commit(id, &[receipt.unwrap()]).await.unwrap();
        let repeated = ana.begin(id, spec.clone(), &rows()).await.unwrap();
        assert_eq!(repeated["state"], "WRITE_STATE_COMMITTED", "{repeated}");
        let refused = without.begin(id, spec, &rows()).await.unwrap_err();
        let (other, rows) = (json!({"table": "missing", "append": {}}), rows());
        let missing = without.begin("x", other, &rows);
        assert_eq!(
            refused.code(),
            missing.await.unwrap_err().code(),
            "{refused}"
        );
    }
}
