//! The role in force at each moment of a write: the target's, the principal's, the login.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, RecordBatch, StringArray};
use serde_json::json;
use tonic::Code;

use super::role::World;
use crate::support::{CallError, Database, File, Pgflight, Put, attempt, batch, wait_until, write};

fn numbers(values: &[i32]) -> RecordBatch {
    batch(&[("n", Arc::new(Int32Array::from(values.to_vec())) as ArrayRef)])
}

fn texts(values: &[&str]) -> RecordBatch {
    batch(&[(
        "t",
        Arc::new(StringArray::from(values.to_vec())) as ArrayRef,
    )])
}

/// A login that inherits nothing, a role that it may take, and a configuration file with both.
struct Target {
    database: Database,
    file: File,
    login: String,
    role: String,
}

impl Target {
    async fn new(more: &str) -> Self {
        let database = Database::new().await;
        let id = uuid::Uuid::new_v4().simple().to_string();
        let (login, role) = (format!("login_{id}"), format!("Owner {id}"));
        let name = database.text("SELECT current_database()").await;
        database
            .execute(&format!(
                "CREATE ROLE {login} LOGIN NOINHERIT; CREATE ROLE \"{role}\"; GRANT \"{role}\" TO {login};
                 GRANT CREATE ON DATABASE {name} TO \"{role}\"; CREATE SCHEMA data AUTHORIZATION \"{role}\";
                 SET ROLE \"{role}\"; CREATE TABLE data.t (n int); CREATE TABLE data.keyed (n int PRIMARY KEY);
                 RESET ROLE"
            ))
            .await;
        let url = database.url_as(&login);
        let file = File::new(&format!(
            "[targets.main]\npostgres = '{url}'\nrole = '{role}'\n{more}"
        ));
        Self {
            database,
            file,
            login,
            role,
        }
    }

    fn start(&self, options: &[&str]) -> Pgflight {
        Pgflight::start_at("", &[&["--config", self.file.name()], options].concat())
    }

    async fn forget(self) {
        let Self { login, role, .. } = &self;
        self.database
            .execute(&format!(
                "DROP OWNED BY {login}, \"{role}\" CASCADE; DROP ROLE {login}, \"{role}\""
            ))
            .await;
    }
}

#[tokio::test]
async fn a_targets_role_owns_tables_and_the_login_prepared_attempts() {
    let target = Target::new("").await;
    let options = ["--reaper-interval", "50ms", "--retention", "200ms"];
    let server = target.start(&options);
    let (database, mut client) = (&target.database, server.client().await);
    for (number, spec) in [
        json!({"table": "data.t", "append": {"publish": "PUBLISH_TWO_PHASE"}}),
        json!({"table": "data.t", "append": {"publish": "PUBLISH_STAGED"}}),
        json!({"table": "data.t", "overwrite": {"with": "OVERWRITE_WITH_SWAP"}}),
        json!({"table": "data.made", "create": {}}),
        json!({"table": "data.keyed", "upsert": {"keys": ["n"]}}),
    ]
    .into_iter()
    .enumerate()
    {
        let id = format!("w{number}");
        client
            .begin(&id, spec.clone(), &numbers(&[]))
            .await
            .unwrap();
        let put = |name: &str| Put::whole(attempt(&id, 0, name), &[numbers(&[1, 2])]);
        client
            .put(put("left"))
            .await
            .unwrap_or_else(|s| panic!("{spec}: {s}"));
        let receipt = client.put(put("taken")).await.unwrap();
        if number == 0 {
            let owners = "SELECT owner || count(*) FROM pg_prepared_xacts
                          WHERE database = current_database() GROUP BY owner";
            assert_eq!(database.text(owners).await, format!("{}2", target.login));
        }
        let committed = client.commit(&id, &[receipt]).await;
        assert_eq!(
            committed.unwrap_or_else(|s| panic!("{spec}: {s}"))["rowCount"],
            "2"
        );
        let stream = Put::whole(
            write(json!({"table": "data.t", "append": {}})),
            &[numbers(&[3])],
        );
        client.put(stream).await.unwrap();
    }
    let owners =
        "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname IN ('data', 'pgflight')";
    assert_eq!(database.text(owners).await, target.role);
    let rows =
        "SELECT string_agg(n::text, '' ORDER BY n) FROM (TABLE data.t UNION ALL TABLE data.made) a";
    assert_eq!(database.text(rows).await, "1122333");
    let left = "SELECT (SELECT count(*) FROM pg_prepared_xacts WHERE database = current_database())
                || ' ' || (SELECT count(*) FROM pg_tables WHERE tablename ~ '^(staging|_pgflight)_')
                || ' ' || (SELECT count(*) FROM pgflight.write)";
    wait_until(
        async || database.text(left).await == "0 0 0",
        "the reaper has removed what was left",
    )
    .await;
    drop(server);
    target.forget().await;
}

#[tokio::test]
async fn a_role_that_cannot_be_taken_ends_the_start_with_what_to_do() {
    let target = Target::new("").await;
    let (role, login) = (&target.role, &target.login);
    let start = || {
        let mut command = Pgflight::command();
        let output = command
            .args([
                "serve",
                "--listen",
                "127.0.0.1:0",
                "--config",
                target.file.name(),
            ])
            .output()
            .unwrap();
        String::from_utf8(output.stderr).unwrap()
    };
    let database = &target.database;
    database
        .execute(&format!("REVOKE \"{role}\" FROM {login}"))
        .await;
    let printed = start();
    assert!(
        printed.contains(&format!("GRANT \"{role}\" TO")),
        "{printed}"
    );
    database
        .execute(&format!(
            "DROP OWNED BY \"{role}\" CASCADE; ALTER ROLE \"{role}\" RENAME TO \"{role}x\""
        ))
        .await;
    let printed = start();
    assert!(
        printed.contains(&format!("the configured role \"{role}\" does not exist")),
        "{printed}"
    );
    database
        .execute(&format!("ALTER ROLE \"{role}x\" RENAME TO \"{role}\""))
        .await;
    target.forget().await;
}

/// The role and path that a trigger sets do not apply to later statements of the server.
#[tokio::test]
async fn a_trigger_that_resets_the_role_does_not_change_the_writer() {
    let target = Target::new("").await;
    let (database, role) = (&target.database, &target.role);
    database
        .execute(&format!(
            "SET ROLE \"{role}\";
             CREATE FUNCTION data.reset() RETURNS trigger LANGUAGE plpgsql AS
                'BEGIN RESET ROLE; SET search_path = data; RETURN NEW; END';
             CREATE TABLE data.who (n int, who name DEFAULT current_user);
             CREATE TRIGGER reset BEFORE TRUNCATE ON data.who EXECUTE FUNCTION data.reset();
             CREATE TRIGGER reset_later AFTER INSERT ON data.who FOR EACH STATEMENT EXECUTE FUNCTION data.reset();
             CREATE TABLE data.narrow (who name DEFAULT current_user);
             CREATE TRIGGER reset BEFORE TRUNCATE ON data.narrow EXECUTE FUNCTION data.reset();
             CREATE TABLE data.keyed_who (n int PRIMARY KEY, who name DEFAULT current_user);
             CREATE TRIGGER reset AFTER INSERT ON data.keyed_who FOR EACH ROW EXECUTE FUNCTION data.reset();
             RESET ROLE"
        ))
        .await;
    let server = target.start(&[]);
    let mut client = server.client().await;
    // Adding a column may run code as well, before the table is emptied.
    let wider = json!({"table": "data.narrow", "overwrite": {"schemaEvolution": "SCHEMA_EVOLUTION_ADD_COLUMNS"}});
    let put = Put::whole(write(wider), &[numbers(&[3])]);
    client.put(put).await.unwrap();
    let who = database.text("SELECT DISTINCT who FROM data.narrow").await;
    assert_eq!(who, *role);
    for (table, spec) in [
        ("who", json!({"overwrite": {}})),
        ("who", json!({"append": {"publish": "PUBLISH_DIRECT"}})),
        ("who", json!({"append": {"publish": "PUBLISH_STAGED"}})),
        ("keyed_who", json!({"upsert": {"keys": ["n"]}})),
    ] {
        // One row each: for a second one PostgreSQL 18 itself refuses RESET ROLE in the trigger.
        let mut spec = spec;
        spec["table"] = json!(format!("data.{table}"));
        let id = spec.to_string();
        client
            .begin(&id, spec.clone(), &numbers(&[]))
            .await
            .unwrap();
        let put = Put::whole(attempt(&id, 0, "a"), &[numbers(&[1])]);
        let receipt = client
            .put(put)
            .await
            .unwrap_or_else(|s| panic!("{spec}: {s}"));
        client
            .commit(&id, &[receipt])
            .await
            .unwrap_or_else(|s| panic!("{spec}: {s}"));
        if let Some(append) = spec.get_mut("append") {
            append.as_object_mut().unwrap().remove("publish");
        }
        let put = Put::whole(write(spec.clone()), &[numbers(&[3])]);
        client
            .put(put)
            .await
            .unwrap_or_else(|s| panic!("{spec}: {s}"));
        let who = format!("SELECT DISTINCT who FROM data.{table}");
        assert_eq!(database.text(&who).await, *role, "{spec}");
    }
    let ledger = "SELECT DISTINCT state FROM pgflight.write";
    assert_eq!(database.text(ledger).await, "committed");
    drop(server);
    target.forget().await;
}

/// Code that belongs to the principal's role runs in it: when rows are staged, when a trigger is deferred to the
/// end, and when rows of a table that is being made are counted and removed.
#[tokio::test]
async fn code_of_a_principals_table_never_runs_as_the_login() {
    let world = World::new("code", &[]).await;
    let (database, writer) = (&world.database, &world.writer);
    database
        .execute(&format!(
            "CREATE TABLE sales.seen (what text, who text); GRANT ALL ON sales.seen TO PUBLIC;
             GRANT USAGE ON SCHEMA sales TO PUBLIC;
             SET ROLE {writer};
             CREATE FUNCTION sales.is_seen(text) RETURNS bool LANGUAGE plpgsql AS
                'BEGIN INSERT INTO sales.seen VALUES (''domain'', current_user); RETURN true; END';
             CREATE DOMAIN sales.checked AS text CHECK (sales.is_seen(VALUE));
             CREATE FUNCTION sales.see() RETURNS trigger LANGUAGE plpgsql AS
                'BEGIN INSERT INTO sales.seen VALUES (TG_NAME, current_user); RETURN OLD; END';
             CREATE TABLE sales.domains (t sales.checked);
             CREATE TABLE sales.later (n int);
             CREATE CONSTRAINT TRIGGER later AFTER INSERT ON sales.later DEFERRABLE INITIALLY DEFERRED
                FOR EACH ROW EXECUTE FUNCTION sales.see();
             RESET ROLE"
        ))
        .await;
    database
        .execute(&format!("ALTER ROLE {} NOINHERIT", world.login))
        .await;
    let mut client = world.client().await;
    for (table, rows) in [("domains", texts(&["a"])), ("later", numbers(&[1]))] {
        for publish in ["PUBLISH_STAGED", "PUBLISH_DIRECT"] {
            let spec = json!({"table": format!("sales.{table}"), "append": {"publish": publish}});
            let id = format!("{table} {publish}");
            client.begin(&id, spec, &rows).await.unwrap();
            let receipt = client
                .put(Put::whole(
                    attempt(&id, 0, "a"),
                    std::slice::from_ref(&rows),
                ))
                .await;
            let receipt = receipt.unwrap_or_else(|s| panic!("{id}: {s}"));
            client
                .commit(&id, &[receipt])
                .await
                .unwrap_or_else(|s| panic!("{id}: {s}"));
        }
        let spec = json!({"table": format!("sales.{table}"), "append": {}});
        client.put(Put::whole(write(spec), &[rows])).await.unwrap();
    }
    // The role owns a table that is being created, and may add a trigger to it.
    let spec = json!({"table": "sales.made", "create": {}});
    client.begin("made", spec, &numbers(&[])).await.unwrap();
    let shadow = r"SELECT oid::regclass FROM pg_class WHERE relname LIKE '\_pgflight\_%'";
    let shadow = database.text(shadow).await;
    database
        .execute(&format!(
            "SET ROLE {writer};
             CREATE TRIGGER shadow BEFORE INSERT OR DELETE ON {shadow} FOR EACH STATEMENT EXECUTE FUNCTION sales.see();
             CREATE CONSTRAINT TRIGGER shadow_later AFTER DELETE ON {shadow} DEFERRABLE INITIALLY DEFERRED
                FOR EACH ROW EXECUTE FUNCTION sales.see();
             RESET ROLE"
        ))
        .await;
    let put = |name: &str| Put::whole(attempt("made", 0, name), &[numbers(&[1])]);
    client.put(put("left")).await.unwrap();
    let receipt = client.put(put("taken")).await.unwrap();
    client.commit("made", &[receipt]).await.unwrap();
    assert_eq!(database.text("SELECT n FROM sales.made").await, "1");
    let spec = json!({"table": "sales.never", "create": {}});
    client.begin("never", spec, &numbers(&[])).await.unwrap();
    client.abort("never").await.unwrap();
    let shadows = r"SELECT count(*) FROM pg_class WHERE relname LIKE '\_pgflight\_%'";
    let are_gone = async || database.text(shadows).await == "0";
    wait_until(are_gone, "its owner has dropped the table").await;
    let seen = "SELECT DISTINCT what || ' ' || who FROM sales.seen ORDER BY 1";
    let expected =
        ["domain", "later", "shadow", "shadow_later"].map(|what| format!("{what} {writer}"));
    assert_eq!(database.text(seen).await, expected.join(","));
    world.forget().await;
}

#[tokio::test]
async fn a_read_only_setting_of_a_dba_rejects_every_write() {
    let database = Database::new().await;
    database.execute("CREATE TABLE t (n int)").await;
    let options = ["--reaper-interval", "50ms", "--write-ttl", "100ms"];
    let spec = json!({"table": "t", "append": {}});
    let receipt = {
        let server = Pgflight::start(&database);
        let mut client = server.client().await;
        client
            .begin("w", spec.clone(), &numbers(&[]))
            .await
            .unwrap();
        let put = Put::whole(attempt("w", 0, "a"), &[numbers(&[1])]);
        client.put(put).await.unwrap()
    };
    let name = database.text("SELECT current_database()").await;
    let read_only =
        |on: &str| format!("ALTER DATABASE {name} SET default_transaction_read_only = {on}");
    database.execute(&read_only("on")).await;
    {
        let server = Pgflight::start_with(&database, &options);
        let mut client = server.client().await;
        let column: ArrayRef = Arc::new(Int32Array::from(vec![1]));
        let put = |descriptor| Put::whole(descriptor, &[numbers(&[1])]);
        let refused = [
            client.put(put(write(spec.clone()))).await,
            client.begin("v", spec.clone(), &numbers(&[])).await,
            client.put(put(attempt("w", 1, "b"))).await,
            client.commit("w", std::slice::from_ref(&receipt)).await,
            client.abort("w").await,
            client.plan(&[("n", column)], spec.clone()).await,
        ];
        for refused in refused {
            let error = CallError::from(refused.expect_err("is read-only"));
            assert_eq!(error.code, Code::Unavailable, "{}", error.message);
            assert!(
                error.message.contains("default_transaction_read_only"),
                "{}",
                error.message
            );
            assert_eq!(error.details["sqlstate"], "25006");
        }
        // Calls that write nothing succeed.
        assert_eq!(
            client.status("w").await.unwrap()["state"],
            "WRITE_STATE_OPEN"
        );
        client.act("info", "InfoRequest", json!({})).await.unwrap();
        server.wait_for_line(&["the reaper was interrupted"]).await;
        for (command, code, error) in [
            ("migrate", 1, "default_transaction_read_only is on"),
            ("writes", 0, "open"),
            ("check", 1, "RESET default_transaction_read_only;"),
        ] {
            let mut run = Pgflight::command();
            let output = run
                .args([command, "--postgres", &database.url])
                .output()
                .unwrap();
            let all = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
            assert_eq!(output.status.code(), Some(code), "{command}: {all}");
            assert!(all.contains(error), "{command}: {all}");
        }
    }
    assert_eq!(
        database.text("SELECT state FROM pgflight.write").await,
        "open"
    );
    database.execute(&read_only("off")).await;
    let server = Pgflight::start(&database);
    let mut client = server.client().await;
    client.commit("w", &[receipt]).await.unwrap();
    assert_eq!(database.text("SELECT n FROM t").await, "1");
}

/// Definitions after the rows belong to the writer, also if the code of the rows has left its role.
#[tokio::test]
async fn definitions_after_the_rows_run_in_the_role_of_the_writer() {
    let target = Target::new("").await;
    let (database, role) = (&target.database, &target.role);
    database
        .execute(&format!(
            "CREATE TABLE ddl (tag text, who text); GRANT ALL ON ddl TO PUBLIC;
             CREATE FUNCTION see() RETURNS event_trigger LANGUAGE plpgsql AS
                'BEGIN INSERT INTO public.ddl VALUES (tg_tag, current_user); END';
             SET ROLE \"{role}\";
             CREATE FUNCTION data.leave(int) RETURNS boolean LANGUAGE plpgsql AS
                'BEGIN PERFORM set_config(''role'', ''none'', false); RETURN true; END';
             CREATE DOMAIN data.leaver AS int CHECK (data.leave(VALUE));
             CREATE TABLE data.left (n int CHECK (data.leave(n))); CREATE INDEX ON data.left (n);
             RESET ROLE;
             CREATE EVENT TRIGGER see ON ddl_command_start EXECUTE FUNCTION see()"
        ))
        .await;
    let server = target.start(&["--fan-out", "2", "--fan-out-after", "1KiB"]);
    let mut client = server.client().await;
    let new_table = json!({"newTable": {"primaryKey": ["n"]}});
    let types = json!({"n": "data.leaver"});
    let swap = json!({"table": "data.left", "overwrite": {"with": "OVERWRITE_WITH_SWAP"}});
    let create = |table: &str| json!({"table": table, "create": new_table, "columnTypes": types});
    let many: Vec<i32> = (0..2_000).collect();
    for (spec, rows) in [
        (swap, vec![numbers(&[1])]),
        (create("data.made"), vec![numbers(&[1])]),
        (create("data.large"), vec![numbers(&many), numbers(&[-1])]),
    ] {
        let put = Put::whole(write(spec.clone()), &rows);
        let sent = client.put(put).await;
        sent.unwrap_or_else(|s| panic!("{spec}: {s}"));
        let who = "SELECT string_agg(DISTINCT who, ' ') FROM ddl WHERE tag <> 'CREATE SCHEMA'";
        assert_eq!(database.text(who).await, *role, "{spec}");
        assert_ne!(
            database.text("SELECT count(*) FROM ddl").await,
            "0",
            "{spec}"
        );
        database.execute("TRUNCATE ddl").await;
    }
    database.execute("DROP EVENT TRIGGER see").await;
    drop(server);
    target.forget().await;
}

/// A trigger that defers itself would run in the role that prepares: the login.
#[tokio::test]
async fn attempts_at_a_table_that_got_a_trigger_are_staged_instead_of_prepared() {
    let target = Target::new("").await;
    let (database, role) = (&target.database, &target.role);
    let server = target.start(&[]);
    let mut client = server.client().await;
    let spec = json!({"table": "data.t", "append": {"publish": "PUBLISH_TWO_PHASE"}});
    client.begin("w", spec, &numbers(&[])).await.unwrap();
    database
        .execute(&format!(
            "SET ROLE \"{role}\"; CREATE TABLE data.seen (who text);
             CREATE FUNCTION data.see() RETURNS trigger LANGUAGE plpgsql AS
                'BEGIN INSERT INTO data.seen VALUES (current_user); RETURN NULL; END';
             CREATE CONSTRAINT TRIGGER see AFTER INSERT ON data.t DEFERRABLE INITIALLY DEFERRED
                FOR EACH ROW EXECUTE FUNCTION data.see();
             RESET ROLE"
        ))
        .await;
    let put = Put::whole(attempt("w", 0, "a"), &[numbers(&[1])]);
    let receipt = client.put(put).await.unwrap();
    let prepared = "SELECT count(*) FROM pg_prepared_xacts WHERE database = current_database()";
    assert_eq!(database.text(prepared).await, "0");
    client.commit("w", &[receipt]).await.unwrap();
    assert_eq!(database.text("SELECT who FROM data.seen").await, *role);
    drop(server);
    target.forget().await;
}
