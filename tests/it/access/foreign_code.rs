//! Operators, functions and types that another role creates in a schema of the search_path: none of them runs in the
//! server's session.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryArray, Int32Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use serde_json::{Value, json};

use crate::support::{Client, Database, Pgflight, Put, attempt, batch, wait_until, write};

/// The objects that a role creates in a schema of the search_path: for each operator, function and type that the
/// server's SQL could resolve, one that fits as well or better. Each counts its runs in a sequence, which no rollback
/// undoes.
const HOSTILE: &str = r#"
DO $hostile$
DECLARE
    types text[] := '{text,varchar,bpchar,name,oid,regclass,regproc,regtype,xid,xid8,int2,int4,int8,bool,"\"char\"",
                      timestamptz,timestamp,interval,float8,numeric,inet,jsonb,text[],oid[],int2[],regnamespace}';
    operators text[] := '{=,<>,<,>,<=,>=,~~,!~~,~,||,+,-,&,<<=,->>}';
    a text; b text; o text; f record; number int := 0;
BEGIN
    CREATE SEQUENCE hits; GRANT ALL ON hits TO PUBLIC;
    CREATE FUNCTION hit() RETURNS boolean LANGUAGE plpgsql AS $$
        BEGIN RAISE WARNING 'foreign code ran as %', current_user;
              PERFORM pg_catalog.nextval('SCHEMA.hits'); RETURN true; END $$;
    FOR f IN SELECT DISTINCT proname, pg_get_function_identity_arguments(p.oid) AS arguments, prorettype::regtype AS result
             FROM pg_proc p
             WHERE pronamespace = 'pg_catalog'::regnamespace AND prokind = 'f' AND NOT proretset AND provariadic = 0
               AND proargmodes IS NULL AND prorettype <> 'trigger'::regtype
               AND NOT EXISTS (SELECT FROM unnest(proargtypes || prorettype) t(oid) JOIN pg_type USING (oid)
                               WHERE typtype = 'p')
               AND proname IN ('abs', 'array_length', 'array_to_string', 'btrim', 'clock_timestamp', 'convert_from',
                   'convert_to', 'current_database', 'current_schema', 'current_setting', 'decode', 'encode', 'format',
                   'format_type', 'gen_random_uuid', 'has_schema_privilege', 'has_table_privilege', 'hashtextextended',
                   'left', 'length', 'lower', 'make_interval', 'now', 'obj_description', 'pg_advisory_xact_lock',
                   'pg_backend_pid', 'pg_current_xact_id', 'pg_get_expr', 'pg_get_indexdef', 'pg_has_role',
                   'pg_is_in_recovery', 'pg_my_temp_schema', 'pg_relation_is_updatable', 'pg_table_is_visible',
                   'pg_terminate_backend', 'pg_try_advisory_xact_lock', 'pg_xact_status', 'quote_ident',
                   'row_security_active', 'scale', 'set_config', 'setval', 'sha256', 'split_part', 'starts_with',
                   'strpos', 'substr', 'to_regclass', 'to_regnamespace', 'to_regtype', 'upper')
    LOOP
        EXECUTE format('CREATE FUNCTION SCHEMA.%I(%s) RETURNS %s LANGUAGE plpgsql AS
                        ''BEGIN PERFORM SCHEMA.hit(); RETURN NULL; END''', f.proname, f.arguments, f.result);
    END LOOP;
    FOREACH a IN ARRAY types LOOP
        FOREACH b IN ARRAY types LOOP
            number := number + 1;
            EXECUTE format('CREATE FUNCTION o%s(%s, %s) RETURNS boolean LANGUAGE plpgsql AS
                            ''BEGIN RETURN SCHEMA.hit(); END''', number, a, b);
            FOREACH o IN ARRAY operators LOOP
                EXECUTE format('CREATE OPERATOR SCHEMA.%s (LEFTARG = %s, RIGHTARG = %s, FUNCTION = o%s)', o, a, b, number);
            END LOOP;
        END LOOP;
    END LOOP;
    FOREACH a IN ARRAY '{text,name,oid,xid,xid8,int2,int4,int8,bool,timestamptz,float8,regclass,date,uuid,jsonb,bytea}'::text[]
    LOOP
        EXECUTE format('CREATE DOMAIN SCHEMA.%I AS pg_catalog.%1$I CHECK (SCHEMA.hit())', a);
    END LOOP;
END
$hostile$"#;

/// A database with such objects in a schema of the login's path, and a server whose login owns the tables.
struct World {
    database: Database,
    server: Pgflight,
    schema: &'static str,
    login: String,
    stranger: String,
}

impl World {
    /// `path` is set for the login; `None` for PostgreSQL's default, which has the schema public.
    async fn new(schema: &'static str, path: Option<&str>) -> Self {
        let database = Database::new().await;
        let id = uuid::Uuid::new_v4().simple().to_string();
        let (login, stranger) = (format!("login_{id}"), format!("stranger_{id}"));
        let path = match path {
            Some(path) => format!("ALTER ROLE {login} SET search_path = {path};"),
            None => String::new(),
        };
        database
            .execute(&format!(
                "CREATE ROLE {login} LOGIN; CREATE ROLE {stranger}; {path}
                 CREATE SCHEMA IF NOT EXISTS {schema}; CREATE SCHEMA pgflight AUTHORIZATION {login};
                 CREATE SCHEMA data AUTHORIZATION {login};
                 GRANT ALL ON SCHEMA {schema} TO PUBLIC;
                 SET search_path = {schema}; SET ROLE {stranger}; {}; RESET ROLE; SET search_path = pg_catalog;
                 SET ROLE {login};
                 CREATE TYPE data.mood AS ENUM ('sad', 'fine'); CREATE DOMAIN data.code AS varchar(10);
                 CREATE TABLE data.plain (id varchar(10), v integer);
                 CREATE TABLE data.keyed (id varchar(10) PRIMARY KEY, v integer);
                 CREATE TABLE data.codes (id data.code, v integer);
                 CREATE TABLE data.moods (id data.mood PRIMARY KEY, v integer);
                 CREATE TABLE data.numbered (id varchar(10), v serial);
                 CREATE TABLE data.texts (id varchar(10), v integer, doc tsvector);
                 CREATE INDEX odd ON data.plain ((lower(id)), v) WHERE id <> 'x';
                 RESET ROLE",
                HOSTILE.replace("SCHEMA", schema)
            ))
            .await;
        let options = [
            "--reaper-interval",
            "100ms",
            "--write-ttl",
            "2s",
            "--retention",
            "1s",
        ];
        let server = Pgflight::start_at(&database.url_as(&login), &options);
        Self {
            database,
            server,
            schema,
            login,
            stranger,
        }
    }

    /// Checks that no object of the other role has run. `what` says what the server has done.
    async fn assert_untouched(&self, what: &str) {
        let called = format!("SELECT is_called FROM {}.hits", self.schema);
        assert_eq!(self.database.text(&called).await, "false", "{what}");
    }

    async fn forget(self) {
        drop(self.server);
        self.database
            .execute(&format!(
                "DROP OWNED BY {0}, {1} CASCADE; DROP ROLE {0}, {1}",
                self.login, self.stranger
            ))
            .await;
    }
}

fn rows(ids: &[&str]) -> RecordBatch {
    let numbers = (1..).take(ids.len()).collect::<Vec<i32>>();
    batch(&[
        ("id", Arc::new(StringArray::from(ids.to_vec())) as ArrayRef),
        ("v", Arc::new(Int32Array::from(numbers)) as ArrayRef),
    ])
}

/// Plans a write, then writes the rows as one stream, and as two attempts of a write.
async fn all_ways(
    world: &World,
    client: &mut Client,
    number: usize,
    spec: &Value,
    rows: &RecordBatch,
) {
    let what = |way: &str| format!("{way} of {spec}");
    let columns: Vec<(&str, ArrayRef)> = rows
        .schema_ref()
        .fields()
        .iter()
        .zip(rows.columns())
        .map(|(field, column)| (field.name().as_str(), Arc::clone(column)))
        .collect();
    client
        .plan(&columns, spec.clone())
        .await
        .unwrap_or_else(|s| panic!("{}: {s}", what("plan")));
    world.assert_untouched(&what("plan")).await;
    let mut spec_of_one = spec.clone();
    if let Some(append) = spec_of_one.get_mut("append") {
        append.as_object_mut().unwrap().remove("publish");
    }
    let put = Put::whole(write(spec_of_one), std::slice::from_ref(rows));
    client
        .put(put)
        .await
        .unwrap_or_else(|s| panic!("{}: {s}", what("stream")));
    world.assert_untouched(&what("stream")).await;
    if spec["create"].is_object() {
        world.database.execute("DROP TABLE data.made").await;
    }
    let id = format!("w{number}");
    client
        .begin(&id, spec.clone(), rows)
        .await
        .unwrap_or_else(|s| panic!("{}: {s}", what("begin")));
    world.assert_untouched(&what("begin")).await;
    let mut receipts = Vec::new();
    for partition in 0..2 {
        let half = rows.slice(usize::try_from(partition).unwrap(), 1);
        let put = Put::whole(attempt(&id, partition, &format!("a{partition}")), &[half]);
        receipts.push(
            client
                .put(put)
                .await
                .unwrap_or_else(|s| panic!("{}: {s}", what("attempt"))),
        );
    }
    world.assert_untouched(&what("attempt")).await;
    client.status(&id).await.unwrap();
    let committed = client.commit(&id, &receipts).await;
    committed.unwrap_or_else(|s| panic!("{}: {s}", what("commit")));
    world.assert_untouched(&what("commit")).await;
}

/// Runs every mode and action, the commands, and the reaper.
async fn nothing_foreign_runs(world: World) {
    let mut client = world.server.client().await;
    let specs = [
        json!({"table": "data.plain", "append": {"publish": "PUBLISH_STAGED"}}),
        json!({"table": "data.plain", "append": {"publish": "PUBLISH_DIRECT"}}),
        json!({"table": "data.codes", "append": {"publish": "PUBLISH_TWO_PHASE"}}),
        json!({"table": "data.numbered", "append": {"syncSequences": true}}),
        json!({"table": "data.made", "create": {}}),
        json!({"table": "data.plain", "overwrite": {"with": "OVERWRITE_WITH_TRUNCATE"}}),
        json!({"table": "data.plain", "overwrite": {"with": "OVERWRITE_WITH_DELETE"}}),
        json!({"table": "data.plain", "overwrite": {"with": "OVERWRITE_WITH_SWAP"}}),
        json!({"table": "data.keyed", "upsert": {"keys": ["id"]}}),
        json!({"table": "data.keyed", "insertIfAbsent": {"keys": ["id"]}}),
        json!({"table": "data.keyed", "updateOnly": {"keys": ["id"]}}),
        json!({"table": "data.codes", "updateOnly": {"keys": ["id"], "orderBy": "v"}}),
        json!({"table": "data.codes", "deleteByKey": {"keys": ["id", "v"]}}),
        json!({"table": "data.moods", "upsert": {"keys": ["id"]}}),
        json!({"table": "data.keyed", "upsert": {"keys": ["id"], "newerBy": "v", "updateColumns": ["v"]}}),
        json!({"table": "data.plain", "overwrite": {"replaceBy": ["id", "v"]}}),
        json!({"table": "data.codes", "overwrite": {"replaceBy": ["id"]}}),
        json!({"table": "data.codes", "overwrite": {"replaceWhere": "id IN ('k1', 'k2') AND NOT v < 0"}}),
        json!({"table": "data.plain", "overwrite": {"replaceWhere": "id >= 'k' AND (v = 1 OR v <> 1)"}}),
        json!({"table": "data.moods", "overwrite": {"replaceWhere": "id <= 'sad' OR id > 'sad'"}}),
    ];
    for (number, spec) in specs.iter().enumerate() {
        let ids: &[&str] = if spec["table"] == "data.moods" {
            &["sad", "fine"]
        } else {
            &["k1", "k2"]
        };
        all_ways(&world, &mut client, number, spec, &rows(ids)).await;
    }
    let added = batch(&[
        (
            "id",
            Arc::new(StringArray::from(vec!["k1", "k2"])) as ArrayRef,
        ),
        (
            "note",
            Arc::new(StringArray::from(vec!["a", "b"])) as ArrayRef,
        ),
        (
            "doc",
            Arc::new(StringArray::from(vec!["a", "b"])) as ArrayRef,
        ),
    ]);
    let spec = json!({"table": "data.texts", "append": {"schemaEvolution": "SCHEMA_EVOLUTION_ADD_COLUMNS"}});
    all_ways(&world, &mut client, 90, &spec, &added).await;
    let docs = world.database.text("SELECT doc FROM data.texts").await;
    assert_eq!(docs, "'a','b','a','b'");

    let put = Put::whole(
        write(json!({"table": "data.keyed", "deleteByKey": {"keys": ["id"]}})),
        &[rows(&["k2"]).project(&[0]).unwrap()],
    );
    client.put(put).await.unwrap();
    let left = "SELECT id FROM data.keyed ORDER BY id";
    assert_eq!(world.database.text(left).await, "k1");
    world.assert_untouched("delete_by_key").await;

    let append = json!({"table": "data.plain", "append": {}});
    client
        .begin("aborted", append.clone(), &rows(&["k1"]))
        .await
        .unwrap();
    let put = Put::whole(attempt("aborted", 0, "a"), &[rows(&["k1"])]);
    client.put(put).await.unwrap();
    client.abort("aborted").await.unwrap();
    client.begin("left", append, &rows(&["k1"])).await.unwrap();
    client.act("info", "InfoRequest", json!({})).await.unwrap();
    let missing = json!({"table": "PLAIN", "append": {}});
    client
        .put(Put::whole(write(missing), &[rows(&["k1"])]))
        .await
        .expect_err("no table");
    wait_until(
        async || {
            world
                .database
                .text("SELECT count(*) FROM pgflight.write")
                .await
                == "0"
        },
        "the reaper has forgotten all",
    )
    .await;
    world.assert_untouched("actions and the reaper").await;

    for command in [
        &["check"][..],
        &["check", "--table", "data.keyed"],
        &["writes"],
        &["migrate"],
    ] {
        let url = world.database.url_as(&world.login);
        let mut run = Pgflight::command();
        let output = run
            .args(command)
            .args(["--postgres", &url])
            .output()
            .unwrap();
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{command:?}: {error}");
    }
    world.assert_untouched("commands").await;
    world.forget().await;
}

#[tokio::test]
async fn nothing_in_public_runs_in_the_servers_session() {
    nothing_foreign_runs(World::new("public", None).await).await;
}

#[tokio::test]
async fn nothing_before_pg_catalog_runs_in_the_servers_session() {
    let path = "evil, pg_catalog, public";
    nothing_foreign_runs(World::new("evil", Some(path)).await).await;
}

#[tokio::test]
async fn the_printed_migration_is_safe_under_any_path() {
    let world = World::new("evil", None).await;
    let output = Pgflight::command()
        .args(["migrate", "--print"])
        .output()
        .unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    let database = &world.database;
    database
        .execute("DROP SCHEMA pgflight CASCADE; SET search_path = evil, pg_catalog")
        .await;
    database.execute(&printed).await;
    database
        .execute(
            "INSERT INTO pgflight.write (write_id, spec, target_schema, target_name, publish, state)
             VALUES ('w', '', '', '', 'append', 'open'); SET search_path = pg_catalog",
        )
        .await;
    let types = "SELECT DISTINCT t.typnamespace::regnamespace FROM pg_attribute a
                 JOIN pg_class c ON c.oid = a.attrelid JOIN pg_type t ON t.oid = a.atttypid
                 WHERE c.relnamespace = 'pgflight'::regnamespace AND c.relkind = 'r'";
    assert_eq!(database.text(types).await, "pg_catalog");
    world.assert_untouched("migrate --print").await;
    world.forget().await;
}

#[tokio::test]
async fn a_type_named_geometry_is_not_taken_for_postgis() {
    let database = Database::new().await;
    database
        .execute("CREATE DOMAIN geometry AS bytea CHECK (false)")
        .await;
    let server = Pgflight::start(&database);
    let mut client = server.client().await;
    let field = Field::new("g", DataType::Binary, true).with_metadata(HashMap::from([(
        "ARROW:extension:name".to_owned(),
        "geoarrow.wkb".to_owned(),
    )]));
    let values: ArrayRef = Arc::new(BinaryArray::from(vec![&b"\x01"[..]]));
    let schema = Arc::new(Schema::new(vec![field]));
    let rows = RecordBatch::try_new(schema, vec![values]).unwrap();
    let spec = json!({"table": "places", "create": {}});
    client.put(Put::whole(write(spec), &[rows])).await.unwrap();
    let column = "SELECT format_type(atttypid, -1) FROM pg_attribute WHERE attrelid = 'places'::regclass AND attnum > 0";
    assert_eq!(database.text(column).await, "bytea");
}

/// Keys of each type, in a table of three rows, with and without a unique index: one row is deleted and one updated.
#[tokio::test]
async fn keys_of_every_kind_of_type_are_compared_as_the_type_says() {
    let database = Database::new().await;
    database
        .execute(
            "CREATE SCHEMA x; CREATE EXTENSION citext SCHEMA x;
             CREATE TYPE mood AS ENUM ('a', 'b', 'c'); CREATE DOMAIN word AS x.citext;
             CREATE DOMAIN feeling AS mood; CREATE DOMAIN short AS varchar(5)",
        )
        .await;
    let server = Pgflight::start(&database);
    let mut client = server.client().await;
    for (sql_type, found) in [
        ("varchar(10)", "c"),
        ("text", "c"),
        ("bpchar", "c"),
        ("name", "c"),
        ("x.citext", "C"),
        ("word", "C"),
        ("mood", "c"),
        ("feeling", "c"),
        ("short", "c"),
    ] {
        for unique in ["", "UNIQUE"] {
            database
                .execute(&format!(
                    "DROP TABLE IF EXISTS t; CREATE TABLE t (k {sql_type} {unique}, v int);
                     INSERT INTO t VALUES ('a', 0), ('b', 0), ('c', 0)"
                ))
                .await;
            let keys = |mode: &str| json!({"table": "t", mode: {"keys": ["k"]}});
            let row = |key: &str, v: i32| {
                batch(&[
                    ("k", Arc::new(StringArray::from(vec![key])) as ArrayRef),
                    ("v", Arc::new(Int32Array::from(vec![v])) as ArrayRef),
                ])
            };
            let update = Put::whole(write(keys("updateOnly")), &[row(found, 7)]);
            client
                .put(update)
                .await
                .unwrap_or_else(|s| panic!("{sql_type} {unique}: {s}"));
            let rows = [row("b", 0).project(&[0]).unwrap()];
            let delete = Put::whole(write(keys("deleteByKey")), &rows);
            client
                .put(delete)
                .await
                .unwrap_or_else(|s| panic!("{sql_type} {unique}: {s}"));
            let left = database.text("SELECT k::text || v FROM t ORDER BY k").await;
            assert_eq!(left, "a0,c7", "{sql_type} {unique}");
        }
    }
}

/// Reads values of a type in PostgreSQL's binary form.
async fn opaque(database: &Database, name: &str, send: &str, value: &str) -> RecordBatch {
    let bytes = database
        .text(&format!("SELECT encode({send}({value}), 'hex')"))
        .await;
    let bytes: Vec<u8> = (0..bytes.len() / 2)
        .map(|i| u8::from_str_radix(&bytes[2 * i..2 * i + 2], 16).unwrap())
        .collect();
    let metadata = format!(r#"{{"type_name": "{name}", "vendor_name": "PostgreSQL"}}"#);
    let field = Field::new("k", DataType::Binary, true).with_metadata(HashMap::from([
        ("ARROW:extension:name".to_owned(), "arrow.opaque".to_owned()),
        ("ARROW:extension:metadata".to_owned(), metadata),
    ]));
    let values: ArrayRef = Arc::new(BinaryArray::from(vec![&*bytes]));
    RecordBatch::try_new(Arc::new(Schema::new(vec![field])), vec![values]).unwrap()
}

#[tokio::test]
async fn keys_that_are_no_strings_are_compared_by_their_own_operators() {
    let database = Database::new().await;
    let server = Pgflight::start(&database);
    let mut client = server.client().await;
    for (sql_type, name, send, values) in [
        ("integer", "int4", "int4send", ["1", "2", "3"]),
        ("bigint", "int8", "int8send", ["1", "2", "3"]),
        ("numeric", "numeric", "numeric_send", ["1.5", "2.00", "3"]),
        (
            "integer[]",
            "_int4",
            "array_send",
            ["'{1}'", "'{2,3}'", "'{2}'"],
        ),
        (
            "int4range",
            "int4range",
            "range_send",
            ["'[1,2)'", "'[2,5)'", "'[2,4)'"],
        ),
        ("oid", "oid", "oidsend", ["1", "2", "3"]),
        (
            "regclass",
            "regclass",
            "regclasssend",
            ["'pg_class'", "'pg_type'", "'pg_proc'"],
        ),
        (
            "date",
            "date",
            "date_send",
            ["'2026-01-01'", "'2026-01-02'", "NULL"],
        ),
        (
            "inet",
            "inet",
            "inet_send",
            ["'10.0.0.1'", "'10.0.0.2'", "'10.0.0.3'"],
        ),
        (
            "cidr",
            "cidr",
            "cidr_send",
            ["'10.0.0.1'", "'10.0.0.2'", "'10.0.0.3'"],
        ),
    ] {
        let inserted = values.map(|value| format!("({value})")).join(", ");
        database
            .execute(&format!(
                "DROP TABLE IF EXISTS t; CREATE TABLE t (k {sql_type}); INSERT INTO t VALUES {inserted}"
            ))
            .await;
        let taken = format!("{}::{sql_type}", values[1]);
        let rows = opaque(&database, name, send, &taken).await;
        let spec = json!({"table": "t", "deleteByKey": {"keys": ["k"]}});
        let deleted = client.put(Put::whole(write(spec), &[rows])).await;
        deleted.unwrap_or_else(|s| panic!("{sql_type}: {s}"));
        let left = format!("SELECT count(*) || ' ' || count(*) FILTER (WHERE k = {taken}) FROM t");
        assert_eq!(database.text(&left).await, "2 0", "{sql_type}");
    }
    // Integers of the data are numeric in the table.
    database
        .execute("DROP TABLE t; CREATE TABLE t (k numeric); INSERT INTO t VALUES (1), (2.00)")
        .await;
    let rows = [batch(&[(
        "k",
        Arc::new(Int32Array::from(vec![2])) as ArrayRef,
    )])];
    let spec = json!({"table": "t", "deleteByKey": {"keys": ["k"]}});
    client.put(Put::whole(write(spec), &rows)).await.unwrap();
    assert_eq!(database.text("SELECT k FROM t").await, "1");
}

/// A unique index may compare keys by another operator class than the default of their type.
#[tokio::test]
async fn keys_are_compared_by_the_operator_class_of_the_index() {
    let database = Database::new().await;
    database
        .execute(
            "CREATE SCHEMA x;
             CREATE FUNCTION x.same(text, text) RETURNS bool IMMUTABLE LANGUAGE sql AS 'SELECT lower($1) = lower($2)';
             CREATE FUNCTION x.less(text, text) RETURNS bool IMMUTABLE LANGUAGE sql AS 'SELECT lower($1) < lower($2)';
             CREATE FUNCTION x.cmp(text, text) RETURNS int IMMUTABLE LANGUAGE sql
                AS 'SELECT bttextcmp(lower($1), lower($2))';
             CREATE OPERATOR x.=== (LEFTARG = text, RIGHTARG = text, FUNCTION = x.same);
             CREATE OPERATOR x.<<< (LEFTARG = text, RIGHTARG = text, FUNCTION = x.less);
             CREATE OPERATOR CLASS x.folded FOR TYPE text USING btree AS
                OPERATOR 1 x.<<<, OPERATOR 3 x.===, FUNCTION 1 x.cmp(text, text);
             CREATE TABLE t (k text, v int); CREATE UNIQUE INDEX ON t (k x.folded);
             INSERT INTO t VALUES ('One', 0), ('two', 0)",
        )
        .await;
    let server = Pgflight::start(&database);
    let mut client = server.client().await;
    let spec = json!({"table": "t", "updateOnly": {"keys": ["k"]}});
    let put = Put::whole(
        write(spec),
        &[batch(&[
            ("k", Arc::new(StringArray::from(vec!["oNE"])) as ArrayRef),
            ("v", Arc::new(Int32Array::from(vec![7])) as ArrayRef),
        ])],
    );
    client.put(put).await.unwrap();
    assert_eq!(
        database.text("SELECT k || v FROM t ORDER BY v").await,
        "two0,One7"
    );
}

/// Rows of the data that the index tells apart are two rows, and those that it does not are one.
#[tokio::test]
async fn rows_of_the_data_have_the_same_key_as_the_index_says() {
    let database = Database::new().await;
    database
        .execute(
            "CREATE EXTENSION citext; CREATE TYPE pair AS (a numeric);
             CREATE TABLE fine (k citext, v int); CREATE UNIQUE INDEX ON fine (k text_ops);
             CREATE TABLE plain (k citext UNIQUE, v int);
             CREATE TABLE image (k pair, v int); CREATE UNIQUE INDEX ON image (k record_image_ops)",
        )
        .await;
    let server = Pgflight::start(&database);
    let mut client = server.client().await;
    let cases = [
        ("fine", ["A", "a"], true),
        ("plain", ["A", "a"], false),
        ("image", ["(1.0)", "(1.00)"], true),
    ];
    for (table, keys, differ) in cases {
        for mode in ["upsert", "insertIfAbsent"] {
            for order_by in [None, Some("v")] {
                database.execute(&format!("TRUNCATE {table}")).await;
                let spec = json!({"table": table, mode: {"keys": ["k"], "orderBy": order_by.unwrap_or("")}});
                let rows = batch(&[
                    ("k", Arc::new(StringArray::from(keys.to_vec())) as ArrayRef),
                    ("v", Arc::new(Int32Array::from(vec![1, 2])) as ArrayRef),
                ]);
                let outcome = client.put(Put::whole(write(spec), &[rows])).await;
                let what = format!("{table} {mode} {order_by:?}");
                if !differ && order_by.is_none() {
                    let refused = outcome.expect_err(&what);
                    assert!(
                        refused.message().contains("more than once"),
                        "{what}: {refused}"
                    );
                } else if table == "image" {
                    // Strings are not cast to a key of a composite type.
                    outcome.expect_err(&what);
                } else {
                    outcome.expect(&what);
                    let sql = format!("SELECT string_agg(v::text, ',' ORDER BY v) FROM {table}");
                    let values = database.text(&sql).await;
                    assert_eq!(values, if differ { "1,2" } else { "2" }, "{what}");
                }
            }
        }
    }
}

/// A key WITHOUT OVERLAPS is no unique index of its columns.
#[tokio::test]
async fn temporal_keys_are_compared_as_equal_and_not_as_overlapping() {
    let database = Database::new().await;
    let version = database
        .text("SELECT current_setting('server_version_num')")
        .await;
    if version.parse::<u32>().unwrap() < 180_000 {
        return; // PostgreSQL 18 brings such keys.
    }
    database
        .execute(
            "CREATE EXTENSION btree_gist;
             CREATE TABLE t (id int, k int4range, v int, PRIMARY KEY (id, k WITHOUT OVERLAPS));
             INSERT INTO t VALUES (1, '[1,5)', 0)",
        )
        .await;
    let server = Pgflight::start(&database);
    let mut client = server.client().await;
    let rows = batch(&[
        ("id", Arc::new(Int32Array::from(vec![1])) as ArrayRef),
        ("k", Arc::new(StringArray::from(vec!["[3,4)"])) as ArrayRef),
    ]);
    for mode in ["deleteByKey", "updateOnly", "upsert", "insertIfAbsent"] {
        let spec = json!({"table": "t", mode: {"keys": ["id", "k"]}});
        // Whatever the answer is, the row with another range stays.
        let outcome = client
            .put(Put::whole(write(spec), std::slice::from_ref(&rows)))
            .await;
        if mode == "upsert" || mode == "insertIfAbsent" {
            outcome.expect_err(mode);
        }
        assert_eq!(
            database.text("SELECT k || ' ' || v FROM t").await,
            "[1,5) 0",
            "{mode}"
        );
    }
    let spec = json!({"table": "t", "overwrite": {"with": "OVERWRITE_WITH_SWAP"}});
    let refused = client
        .put(Put::whole(write(spec), &[rows]))
        .await
        .unwrap_err();
    assert!(refused.message().contains("WITHOUT OVERLAPS"), "{refused}");
}

/// Triggers, defaults, policies and domains of a table may use names that only the path of the session has.
#[tokio::test]
async fn code_of_a_table_runs_with_the_path_of_the_session() {
    let database = Database::new().await;
    let login = format!("login_{}", uuid::Uuid::new_v4().simple());
    database
        .execute(&format!(
            "CREATE ROLE {login} LOGIN; CREATE SCHEMA app AUTHORIZATION {login};
             CREATE SCHEMA pgflight AUTHORIZATION {login};
             ALTER ROLE {login} SET search_path = app;
             SET ROLE {login}; SET search_path = app;
             CREATE TABLE audit (what text);
             CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS
                'BEGIN INSERT INTO audit VALUES (TG_NAME); RETURN NEW; END';
             CREATE FUNCTION next() RETURNS bigint LANGUAGE plpgsql AS 'BEGIN RETURN (SELECT count(*) FROM audit); END';
             CREATE FUNCTION is_fine(text) RETURNS bool LANGUAGE plpgsql AS 'BEGIN RETURN (SELECT count(*) >= 0 FROM audit); END';
             CREATE DOMAIN fine AS text CHECK (is_fine(VALUE));
             CREATE TABLE t (k fine PRIMARY KEY, v int, n bigint DEFAULT next());
             CREATE TRIGGER now AFTER INSERT OR UPDATE OR DELETE ON t FOR EACH ROW EXECUTE FUNCTION note();
             CREATE CONSTRAINT TRIGGER later AFTER INSERT OR UPDATE OR DELETE ON t DEFERRABLE INITIALLY DEFERRED
                FOR EACH ROW EXECUTE FUNCTION note();
             CREATE TRIGGER emptied BEFORE TRUNCATE ON t EXECUTE FUNCTION note();
             RESET ROLE; RESET search_path"
        ))
        .await;
    let server = Pgflight::start_at(&database.url_as(&login), &[]);
    let mut client = server.client().await;
    let specs = [
        (json!({"append": {}}), "later,now"),
        (json!({"overwrite": {}}), "emptied,later,now"),
        (json!({"upsert": {"keys": ["k"]}}), "later,now"),
        (json!({"updateOnly": {"keys": ["k"]}}), "later,now"),
        (json!({"deleteByKey": {"keys": ["k", "v"]}}), "later,now"),
        (
            json!({"overwrite": {"with": "OVERWRITE_WITH_DELETE"}}),
            "later,now",
        ),
    ];
    for (number, (mut spec, ran)) in specs.into_iter().enumerate() {
        // PostgreSQL finds a table without a schema by the path.
        spec["table"] = json!("t");
        for way in ["stream", "write"] {
            let before =
                "TRUNCATE app.audit, app.t; INSERT INTO app.t VALUES ('a', 1); TRUNCATE app.audit";
            let before = if spec["append"].is_object() {
                "TRUNCATE app.audit, app.t; TRUNCATE app.audit"
            } else {
                before
            };
            database
                .execute(&format!("SET search_path = app; {before}"))
                .await;
            let rows = [batch(&[
                ("k", Arc::new(StringArray::from(vec!["a"])) as ArrayRef),
                ("v", Arc::new(Int32Array::from(vec![1])) as ArrayRef),
            ])];
            let done = match way {
                "stream" => client.put(Put::whole(write(spec.clone()), &rows)).await,
                _ => {
                    let id = format!("w{number}");
                    client.begin(&id, spec.clone(), &rows[0]).await.unwrap();
                    let receipt = client
                        .put(Put::whole(attempt(&id, 0, "a"), &rows))
                        .await
                        .unwrap();
                    client.commit(&id, &[receipt]).await
                }
            };
            done.unwrap_or_else(|s| panic!("{way} {spec}: {s}"));
            let noted = database
                .text("SELECT DISTINCT what FROM app.audit ORDER BY what")
                .await;
            assert_eq!(noted, ran, "{way} {spec}");
        }
    }
    drop(server);
    database
        .execute(&format!("DROP OWNED BY {login} CASCADE; DROP ROLE {login}"))
        .await;
}
