//! Rows that are written in a role of PostgreSQL, by SET ROLE: the permissions of the role apply, and not the login's.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, RecordBatch};
use futures_util::{StreamExt, stream};
use pgflight::auth::digest_of;
use serde_json::{Value, json};
use tonic::Code;

use crate::stream::fan_out::{SOON, batches};
use crate::support::{
    COPIES, CallError, Client, Database, File, Pgflight, Put, attempt, batch, wait_until, write,
};

fn rows() -> RecordBatch {
    batch(&[("n", Arc::new(Int32Array::from(vec![1])) as ArrayRef)])
}

/// Two roles: the login, which is not a superuser and a member of `writer`, and `writer`. Roles belong to the cluster,
/// so each test has its own.
pub(crate) struct World {
    pub(crate) database: Database,
    server: Pgflight,
    _file: File,
    pub(crate) writer: String,
    pub(crate) login: String,
}

impl World {
    pub(crate) async fn new(name: &str, options: &[&str]) -> Self {
        let database = Database::new().await;
        let name = format!("{name}_{}", std::process::id());
        let (login, writer) = (format!("login_{name}"), format!("writer_{name}"));
        let this = database.text("SELECT current_database()").await;
        database
            .execute(&format!(
                "DROP ROLE IF EXISTS {login}; DROP ROLE IF EXISTS {writer};
                 CREATE ROLE {login} LOGIN; CREATE ROLE {writer}; GRANT {writer} TO {login};
                 CREATE SCHEMA pgflight AUTHORIZATION {login};
                 CREATE SCHEMA sales AUTHORIZATION {writer};
                 GRANT TEMPORARY ON DATABASE {this} TO {writer};
                 CREATE TABLE sales.plain (n int); CREATE TABLE sales.keyed (n int PRIMARY KEY);
                 CREATE TABLE sales.hidden (n int);
                 ALTER TABLE sales.plain OWNER TO {writer}; ALTER TABLE sales.keyed OWNER TO {writer};
                 GRANT ALL ON sales.hidden TO {login}"
            ))
            .await;
        let file = File::new(&format!(
            "[principals.etl]\ntokens = ['{}']\nrole = '{writer}'\n\
             grants = [{{ tables = ['sales.*'], modes = ['append', 'create', 'overwrite', 'upsert'] }}]",
            digest_of("etl")
        ));
        let url = database.url.replacen("postgres@", &format!("{login}@"), 1);
        let options = [&["--config", file.name()], options].concat();
        let server = Pgflight::start_at(&url, &options);
        Self {
            database,
            server,
            _file: file,
            writer,
            login,
        }
    }

    /// Creates another role with the schema `ev`, which all roles may use. [`World::forget_stranger`] drops both.
    pub(crate) async fn stranger(&self) -> String {
        let name = self.database.text("SELECT current_database()").await;
        let stranger = format!("stranger_{name}");
        self.database
            .execute(&format!(
                "CREATE ROLE {stranger}; CREATE SCHEMA ev AUTHORIZATION {stranger}; GRANT USAGE ON SCHEMA ev TO PUBLIC"
            ))
            .await;
        stranger
    }

    pub(crate) async fn forget_stranger(&self, stranger: &str) {
        let drop = format!("DROP OWNED BY {stranger} CASCADE; DROP ROLE {stranger}");
        self.database.execute(&drop).await;
    }

    pub(crate) async fn client(&self) -> Client {
        self.server.client().await.bearing("etl")
    }

    pub(crate) async fn forget(self) {
        drop(self.server);
        self.database
            .execute(&format!(
                "DROP OWNED BY {0}, {1} CASCADE; DROP ROLE {0}, {1}",
                self.login, self.writer
            ))
            .await;
    }
}

/// Begins a write, sends an attempt, commits.
async fn save(client: &mut Client, id: &str, spec: &Value) -> Value {
    client
        .begin(id, spec.clone(), &rows())
        .await
        .unwrap_or_else(|s| panic!("{id}: {s}"));
    let put = Put::whole(attempt(id, 0, "a"), &[rows()]);
    let receipt = client
        .put(put)
        .await
        .unwrap_or_else(|s| panic!("{id}: {s}"));
    client
        .commit(id, &[receipt])
        .await
        .unwrap_or_else(|s| panic!("{id}: {s}"))
}

#[tokio::test]
async fn every_way_to_write_uses_the_principals_role() {
    let world = World::new("ways", &[]).await;
    let mut client = world.client().await;
    // The role that wrote a row: the current one when its trigger ran.
    let watch = |table: &str| {
        format!(
            "CREATE TRIGGER watch AFTER INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION sales.watch()"
        )
    };
    world
        .database
        .execute(&format!(
            "CREATE TABLE sales.seen (who text); GRANT ALL ON sales.seen TO PUBLIC;
             GRANT USAGE ON SCHEMA sales TO PUBLIC;
             CREATE FUNCTION sales.watch() RETURNS trigger LANGUAGE plpgsql AS
                'BEGIN INSERT INTO sales.seen SELECT current_user; RETURN NULL; END';
             {}",
            watch("sales.keyed")
        ))
        .await;
    let specs = [
        json!({"table": "sales.plain", "append": {"publish": "PUBLISH_STAGED"}}),
        json!({"table": "sales.plain", "append": {"publish": "PUBLISH_TWO_PHASE"}}),
        json!({"table": "sales.plain", "append": {"publish": "PUBLISH_DIRECT"}}),
        json!({"table": "sales.made1", "create": {}}),
        json!({"table": "sales.plain", "overwrite": {}}),
        json!({"table": "sales.plain", "overwrite": {"with": "OVERWRITE_WITH_DELETE"}}),
        json!({"table": "sales.plain", "overwrite": {"replaceBy": ["n"]}}),
        json!({"table": "sales.plain", "overwrite": {"replaceWhere": "n = 1"}}),
        json!({"table": "sales.plain", "overwrite": {"with": "OVERWRITE_WITH_SWAP"}}),
        json!({"table": "sales.keyed", "upsert": {"keys": ["n"]}}),
    ];
    for (number, spec) in specs.iter().enumerate() {
        let status = save(&mut client, &format!("w{number}"), spec).await;
        assert_eq!(status["state"], "WRITE_STATE_COMMITTED", "{spec}");
        assert_eq!(status["rowCount"], "1", "{spec}");
    }
    for mut spec in specs {
        if let Some(append) = spec.get_mut("append") {
            append.as_object_mut().unwrap().remove("publish");
        }
        if spec["table"] == "sales.made1" {
            spec["table"] = json!("sales.made2");
        }
        let put = Put::whole(write(spec.clone()), &[rows()]);
        client
            .put(put)
            .await
            .unwrap_or_else(|s| panic!("{spec}: {s}"));
    }
    let database = &world.database;
    let owners = "SELECT DISTINCT tableowner FROM pg_tables WHERE tablename ~ '^(made|plain)'";
    assert_eq!(
        database.text(owners).await,
        world.writer,
        "the role owns its tables"
    );
    assert_eq!(
        database.text("SELECT DISTINCT who FROM sales.seen").await,
        world.writer
    );
    let ledger = "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'pgflight'";
    assert_eq!(database.text(ledger).await, world.login);
    let reads = format!(
        "SELECT has_table_privilege('{}', 'pgflight.write', 'SELECT')",
        world.writer
    );
    assert_eq!(
        database.text(&reads).await,
        "false",
        "the role cannot read the ledger"
    );
    let left = "SELECT count(*) FROM pg_tables WHERE tablename ~ '^(staging|_pgflight)_'";
    assert_eq!(database.text(left).await, "0");
    assert_eq!(
        database
            .text("SELECT count(*) FROM pg_prepared_xacts WHERE database = current_database()")
            .await,
        "0"
    );
    world.forget().await;
}

#[tokio::test]
async fn missing_privileges_of_the_role_are_rejected() {
    let world = World::new("rights", &[]).await;
    let mut client = world.client().await;
    let spec = json!({"table": "sales.hidden", "append": {}});
    let begun = client
        .begin("w", spec.clone(), &rows())
        .await
        .expect_err("begins");
    let put = client
        .put(Put::whole(write(spec), &[rows()]))
        .await
        .expect_err("writes");
    for status in [begun, put] {
        let error = CallError::from(status);
        assert_eq!(error.code, Code::PermissionDenied, "{}", error.message);
        assert!(
            error.message.contains(&format!("TO {}", world.writer)),
            "{}",
            error.message
        );
    }
    let revoke = format!("REVOKE {} FROM {}", world.writer, world.login);
    world.database.execute(&revoke).await;
    let spec = json!({"table": "sales.plain", "append": {}});
    let error = CallError::from(
        client
            .begin("v", spec, &rows())
            .await
            .expect_err("no member"),
    );
    assert_eq!(error.code, Code::PermissionDenied, "{}", error.message);
    assert!(
        error
            .message
            .contains(&format!("GRANT {} TO", world.writer)),
        "{}",
        error.message
    );
    assert_eq!(
        world
            .database
            .text("SELECT count(*) FROM sales.plain")
            .await,
        "0"
    );
    world.forget().await;
}

/// PostgreSQL sends one more answer to such a COPY than the driver expects.
#[tokio::test]
async fn a_copy_that_may_not_begin_leaves_no_stale_answer() {
    let world = World::new("begins", &["--max-copies", "1"]).await;
    let mut client = world.client().await;
    // The role may lock the table. Only the COPY finds that it may not fill this column.
    let grant = format!(
        "ALTER TABLE sales.hidden ADD m int; GRANT SELECT, UPDATE, INSERT (m) ON sales.hidden TO {}",
        world.writer
    );
    world.database.execute(&grant).await;
    let append = |table: &str| write(json!({"table": table, "append": {}}));
    for _ in 0..5 {
        let refused = client.put(Put::whole(append("sales.hidden"), &[rows()]));
        let refused = refused.await.expect_err("no INSERT");
        assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");
        let receipt = client.put(Put::whole(append("sales.plain"), &[rows()]));
        assert_eq!(receipt.await.unwrap()["rowCount"], "1");
    }
    let counts =
        "SELECT (SELECT count(*) FROM sales.plain) || ':' || (SELECT count(*) FROM sales.hidden)";
    assert_eq!(world.database.text(counts).await, "5:0");
    world.forget().await;
}

/// Reads for a table: the number of transactions that wrote it, its owner, and the number of rows.
const LANES: &str = "SELECT (SELECT count(DISTINCT xmin::text) FROM sales.{t}) || ' ' || tableowner || ' '
    || (SELECT count(*) FROM sales.{t}) FROM pg_tables WHERE schemaname = 'sales' AND tablename = '{t}'";
const SHADOWS: &str = "SELECT count(*) FROM pg_class WHERE relname LIKE '\\_pgflight\\_%'";

#[tokio::test]
async fn a_stream_that_fans_out_uses_the_role_in_every_lane() {
    let world = World::new("lanes", &SOON).await;
    let (database, writer) = (&world.database, &world.writer);
    // The role that wrote a row: the current one when it was copied.
    database
        .execute(&format!(
            "CREATE TABLE sales.old (id int PRIMARY KEY, text text, who name DEFAULT current_user);
             ALTER TABLE sales.old OWNER TO {writer}"
        ))
        .await;
    let mut client = world.client().await;
    let swap = json!({"table": "sales.old", "overwrite": {"with": "OVERWRITE_WITH_SWAP"}});
    let keyed = json!({"table": "sales.keyed_new", "create": {"newTable": {"primaryKey": ["id"]}}});
    for (table, spec) in [
        ("made", json!({"table": "sales.made", "create": {}})),
        (
            "replaced",
            json!({"table": "sales.replaced", "overwrite": {}}),
        ),
        ("keyed_new", keyed),
        ("old", swap),
    ] {
        let put = Put::whole(write(spec), &batches(None));
        let receipt = client
            .put(put)
            .await
            .unwrap_or_else(|status| panic!("{table}: {status}"));
        assert_eq!(receipt["rowCount"], "20000", "{table}");
        let found = database.text(&LANES.replace("{t}", table)).await;
        assert_eq!(found, format!("4 {writer} 20000"), "{table}");
    }
    let who = database.text("SELECT DISTINCT who FROM sales.old").await;
    assert_eq!(who, *writer, "in every lane");
    let recorded =
        "SELECT DISTINCT principal || ' ' || state || ' ' || attempt_count FROM pgflight.write";
    assert_eq!(database.text(recorded).await, "etl committed 4");
    assert_eq!(database.text(SHADOWS).await, "0");
    world.forget().await;
}

#[tokio::test]
async fn a_role_that_is_taken_away_ends_a_stream_that_fans_out() {
    let world = World::new("taken", &SOON).await;
    let (database, writer, login) = (&world.database, &world.writer, &world.login);
    let mut client = world.client().await;
    let mut messages = Put::whole(
        write(json!({"table": "sales.made", "create": {}})),
        &batches(None),
    )
    .0;
    // The schema and a batch: fewer bytes than `--fan-out-after`.
    let rest = messages.split_off(2);
    let (go_on, stopped) = tokio::sync::oneshot::channel::<()>();
    let rest = stream::once(stopped).flat_map(move |_| stream::iter(rest.clone()));
    let running =
        tokio::spawn(async move { client.put_stream(stream::iter(messages).chain(rest)).await });
    wait_until(async || database.text(COPIES).await == "1", "one COPY runs").await;
    database
        .execute(&format!("REVOKE {writer} FROM {login}"))
        .await;
    go_on.send(()).unwrap();
    let error = CallError::from(
        running
            .await
            .unwrap()
            .expect_err("it is no member any more"),
    );
    assert_eq!(error.code, Code::PermissionDenied, "{}", error.message);
    assert!(
        error.message.contains(&format!("GRANT {writer} TO")),
        "{}",
        error.message
    );
    assert_eq!(
        database
            .text("SELECT to_regclass('sales.made') IS NULL")
            .await,
        "true"
    );
    wait_until(
        async || database.text("SELECT state FROM pgflight.write").await == "aborted",
        "the write has ended",
    )
    .await;
    world.forget().await;
}
