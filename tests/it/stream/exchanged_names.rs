//! Objects whose names an untrusted role could give to others while a write runs: the write is rejected before it names
//! them. The same objects of a trusted role are accepted.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, ListBuilder, RecordBatch, StringArray, StringBuilder};
use arrow::datatypes::{DataType, Field, Schema};
use serde_json::{Value, json};
use tonic::Code;

use super::renamed_types::outcome;
use crate::access::role::World;
use crate::support::{Client, Put, attempt, batch};

fn texts(name: &str, values: &[&str]) -> RecordBatch {
    batch(&[(
        name,
        Arc::new(StringArray::from(values.to_vec())) as ArrayRef,
    )])
}

fn with_metadata(rows: &RecordBatch, sql_type: &str) -> RecordBatch {
    let metadata = HashMap::from([("pgflight.type".to_owned(), sql_type.to_owned())]);
    let field = Field::new("k", DataType::Utf8, true).with_metadata(metadata);
    RecordBatch::try_new(Arc::new(Schema::new(vec![field])), rows.columns().to_vec()).unwrap()
}

/// Writes in one stream and in a write of one partition. Before each write, makes the objects: with a role that a write
/// does not trust as `CREATOR`, and with the writer.
async fn check(what: &str, objects: &str, spec: Value, rows: RecordBatch) {
    let world = World::new("exchanged", &[]).await;
    let (database, writer) = (&world.database, &world.writer);
    let name = database.text("SELECT current_database()").await;
    let other = world.stranger().await;
    database
        .execute(&format!(
            "GRANT CREATE ON DATABASE {name} TO {other}, {writer}"
        ))
        .await;
    let mut client = world.client().await;
    for owner in [&other, writer] {
        for id in [None, Some("w")] {
            let begin = format!(
                "DROP TABLE IF EXISTS sales.t, sales.made; DROP FUNCTION IF EXISTS sales.first; DROP TYPE IF EXISTS sales.pair;
                 DROP SCHEMA IF EXISTS ev CASCADE;
                 CREATE SCHEMA ev AUTHORIZATION {owner}; GRANT USAGE, CREATE ON SCHEMA ev TO {writer};"
            );
            let objects = objects.replace("CREATOR", owner).replace("WRITER", writer);
            database
                .execute(&format!("{begin} SET ROLE {owner}; {objects}; RESET ROLE"))
                .await;
            let id = id.map(|id| format!("{id}_{owner}"));
            let code = outcome(&mut client, &spec, &rows, id.as_deref()).await;
            let is_trusted = owner == writer;
            let expected = if is_trusted {
                Code::Ok
            } else {
                Code::PermissionDenied
            };
            assert_eq!(code, expected, "{what}, {id:?}, trusted: {is_trusted}");
            if let Some(id) = id {
                abort(&mut client, &id).await;
            }
        }
    }
    database
        .execute(
        "DROP TABLE IF EXISTS sales.t, sales.made; DROP FUNCTION IF EXISTS sales.first; DROP TYPE IF EXISTS sales.pair;
         DROP SCHEMA ev CASCADE",
        )
        .await;
    world.forget_stranger(&other).await;
    world.forget().await;
}

#[tokio::test]
async fn a_role_that_could_make_itself_the_login_is_trusted() {
    let world = World::new("admin", &[]).await;
    let (database, login) = (&world.database, &world.login);
    let other = world.stranger().await;
    database
        .execute(&format!(
            "SET ROLE {other}; CREATE DOMAIN ev.short AS text; RESET ROLE"
        ))
        .await;
    let mut client = world.client().await;
    let spec = json!({"table": "sales.made", "create": {"ifExists": "IF_EXISTS_APPEND"}});
    let rows = with_metadata(&texts("k", &["x"]), "ev.short");
    let code = outcome(&mut client, &spec, &rows, None).await;
    assert_eq!(code, Code::PermissionDenied, "a stranger");
    database
        .execute(&format!("GRANT {login} TO {other} WITH ADMIN OPTION"))
        .await;
    let code = outcome(&mut client, &spec, &rows, None).await;
    assert_eq!(code, Code::Ok, "an admin of the login");
    database.execute("DROP TABLE sales.made").await;
    world.forget_stranger(&other).await;
    world.forget().await;
}

/// Ends a write that its commit may have ended.
async fn abort(client: &mut Client, id: &str) {
    let _ended = client.abort(id).await;
}

#[tokio::test]
async fn a_requested_type_whose_name_an_untrusted_role_could_exchange_is_rejected() {
    let requested = json!({"k": "ev.kind"});
    let kinds = texts("k", &["a", "b"]);
    let mut lists = ListBuilder::new(StringBuilder::new());
    lists.append_value([Some("a")]);
    let lists = batch(&[("k", Arc::new(lists.finish()) as ArrayRef)]);
    let table = "RESET ROLE; CREATE TABLE sales.t (n int); INSERT INTO sales.t VALUES (1); ALTER TABLE sales.t OWNER TO WRITER";
    let cases = [
        (
            "create",
            json!({"table": "sales.made", "create": {}, "columnTypes": requested}),
            kinds.clone(),
        ),
        (
            "metadata",
            json!({"table": "sales.made", "create": {}}),
            with_metadata(&kinds, "ev.kind"),
        ),
        (
            "array",
            json!({"table": "sales.made", "create": {}, "columnTypes": {"k": "ev.kind[]"}}),
            lists,
        ),
        (
            "upsert that makes its table",
            json!({"table": "sales.made", "columnTypes": requested,
                   "upsert": {"keys": ["k"], "createIfMissing": {}}}),
            kinds.clone(),
        ),
        (
            "add a column",
            json!({"table": "sales.t", "columnTypes": requested,
                   "append": {"publish": "PUBLISH_STAGED", "schemaEvolution": "SCHEMA_EVOLUTION_ADD_COLUMNS"}}),
            kinds,
        ),
    ];
    for (what, spec, rows) in cases {
        let objects = format!("CREATE TYPE ev.kind AS ENUM ('a', 'b'); {table}");
        check(what, &objects, spec, rows).await;
    }
}

#[tokio::test]
async fn a_key_whose_operator_an_untrusted_role_could_exchange_is_rejected() {
    let spec = json!({"table": "sales.t", "upsert": {"keys": ["k"]}});
    let cases = [
        (
            "operator",
            "CREATE EXTENSION citext SCHEMA ev; RESET ROLE; CREATE TABLE sales.t (k ev.citext PRIMARY KEY)",
        ),
        (
            "operator class",
            "CREATE EXTENSION citext SCHEMA ev; RESET ROLE; CREATE TABLE sales.t (k ev.citext);
             CREATE UNIQUE INDEX ON sales.t (k ev.citext_pattern_ops)",
        ),
        (
            "extension in a trusted schema",
            "RESET ROLE; ALTER SCHEMA ev OWNER TO postgres; GRANT CREATE ON SCHEMA ev TO CREATOR;
             SET ROLE CREATOR; CREATE EXTENSION citext SCHEMA ev; RESET ROLE;
             GRANT USAGE ON SCHEMA ev TO WRITER; CREATE TABLE sales.t (k ev.citext PRIMARY KEY)",
        ),
    ];
    for (what, objects) in cases {
        let objects = format!("{objects}; ALTER TABLE sales.t OWNER TO WRITER");
        check(what, &objects, spec.clone(), texts("k", &["a"])).await;
    }
}

#[tokio::test]
async fn a_cast_to_a_type_whose_name_an_untrusted_role_could_exchange_is_rejected() {
    let objects = "CREATE EXTENSION cube SCHEMA ev; RESET ROLE; CREATE TABLE sales.t (k ev.cube, id int PRIMARY KEY DEFAULT 1);
                   ALTER TABLE sales.t OWNER TO WRITER";
    let append = json!({"table": "sales.t", "append": {"publish": "PUBLISH_STAGED"}});
    check("append", objects, append, texts("k", &["(1,2)"])).await;
}

#[tokio::test]
async fn an_index_whose_names_an_untrusted_role_could_exchange_fails_a_swap() {
    let spec = json!({"table": "sales.t", "overwrite": {"with": "OVERWRITE_WITH_SWAP"}});
    let function = "SET ROLE WRITER; CREATE FUNCTION ev.norm(text) RETURNS text IMMUTABLE LANGUAGE sql AS 'SELECT pg_catalog.lower($1)'";
    let any = "SET ROLE WRITER; CREATE FUNCTION ev.norm(anyelement) RETURNS text IMMUTABLE LANGUAGE sql AS 'SELECT $1::text';
               RESET ROLE; CREATE INDEX ON sales.t (ev.norm(k)); ALTER SCHEMA ev OWNER TO postgres;
               GRANT USAGE ON SCHEMA ev TO WRITER";
    let cases = [
        ("function", format!("{function}; RESET ROLE; CREATE INDEX ON sales.t (ev.norm(k))")),
        (
            "function beside which any role may create another",
            format!(
                "{any}; DO $$ BEGIN IF 'CREATOR' <> 'WRITER' THEN GRANT CREATE ON SCHEMA ev TO PUBLIC; END IF; END $$"
            ),
        ),
        (
            "function beside which another role has created another",
            format!(
                "{any}; GRANT CREATE ON SCHEMA ev TO CREATOR; SET ROLE CREATOR; CREATE FUNCTION ev.norm(text) RETURNS text
                 IMMUTABLE LANGUAGE sql AS 'SELECT pg_catalog.now()::text'; RESET ROLE; REVOKE CREATE ON SCHEMA ev FROM CREATOR;
                 DO $$ BEGIN IF 'CREATOR' = 'WRITER' THEN DROP FUNCTION ev.norm(text); END IF; END $$"
            ),
        ),
        (
            "cast of a column",
            "CREATE TYPE ev.mood AS ENUM ('a'); CREATE FUNCTION ev.number(ev.mood) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT 1';
             CREATE CAST (ev.mood AS int) WITH FUNCTION ev.number(ev.mood); RESET ROLE;
             ALTER TABLE sales.t ALTER COLUMN k TYPE ev.mood USING NULL; CREATE INDEX ON sales.t ((k::int))".to_owned(),
        ),
        (
            "condition",
            format!("{function}; RESET ROLE; CREATE INDEX ON sales.t (k) WHERE ev.norm(k) = 'a'"),
        ),
        (
            "cast of a function's result",
            "CREATE TYPE ev.mood AS ENUM ('a'); RESET ROLE;
             CREATE FUNCTION sales.mood(text) RETURNS ev.mood IMMUTABLE LANGUAGE sql AS $$ SELECT 'a'::ev.mood $$;
             CREATE FUNCTION sales.number(ev.mood) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT 1';
             CREATE CAST (ev.mood AS int) WITH FUNCTION sales.number(ev.mood);
             ALTER FUNCTION sales.mood OWNER TO WRITER; ALTER FUNCTION sales.number OWNER TO WRITER;
             CREATE INDEX ON sales.t ((sales.mood(k)::int))".to_owned(),
        ),
        (
            "constant with a domain in it",
            "CREATE DOMAIN ev.short AS text; RESET ROLE; CREATE TYPE sales.pair AS (a ev.short);
             CREATE FUNCTION sales.first(text, sales.pair) RETURNS text IMMUTABLE LANGUAGE sql AS 'SELECT $1';
             ALTER TYPE sales.pair OWNER TO WRITER; ALTER FUNCTION sales.first OWNER TO WRITER;
             CREATE INDEX ON sales.t (sales.first(k, '(x)'::sales.pair))".to_owned(),
        ),
        (
            "type of a column, whose functions ANALYZE runs",
            "CREATE TYPE ev.span AS RANGE (subtype = int4); RESET ROLE; ALTER TABLE sales.t ADD COLUMN r ev.span".to_owned(),
        ),
        (
            "collation",
            "CREATE COLLATION ev.plain (locale = 'C'); RESET ROLE; CREATE INDEX ON sales.t (k COLLATE ev.plain)".to_owned(),
        ),
        (
            "operator class",
            "CREATE EXTENSION pg_trgm SCHEMA ev; RESET ROLE; CREATE INDEX ON sales.t USING gin (k ev.gin_trgm_ops)".to_owned(),
        ),
        (
            "type",
            "CREATE DOMAIN ev.short AS text; RESET ROLE; CREATE INDEX ON sales.t ((k::ev.short))".to_owned(),
        ),
        (
            "text search",
            "CREATE TEXT SEARCH CONFIGURATION ev.plain (COPY = pg_catalog.simple); RESET ROLE;
             CREATE INDEX ON sales.t USING gin (to_tsvector('ev.plain', k))".to_owned(),
        ),
    ];
    for (what, objects) in cases {
        let objects = format!(
            "RESET ROLE; CREATE TABLE sales.t (k text); SET ROLE CREATOR; {objects}; ALTER TABLE sales.t OWNER TO WRITER"
        );
        check(what, &objects, spec.clone(), texts("k", &["a"])).await;
    }
}

/// PostgreSQL prints NULLIF and IS DISTINCT FROM without the schema of their operator.
#[tokio::test]
async fn a_swap_that_would_change_an_index_is_rejected() {
    for index in [
        "UNIQUE INDEX ON sales.t (NULLIF(k, ''::citext))",
        "INDEX ON sales.t (id) WHERE k IS DISTINCT FROM 'a'::citext",
    ] {
        let world = World::new("printed", &[]).await;
        let (database, writer) = (&world.database, &world.writer);
        database
            .execute(&format!(
                "CREATE EXTENSION citext SCHEMA public; CREATE TABLE sales.t (k citext, id int DEFAULT 1); CREATE {index};
                 INSERT INTO sales.t VALUES ('old'); ALTER TABLE sales.t OWNER TO {writer}"
            ))
            .await;
        let spec = json!({"table": "sales.t", "overwrite": {"with": "OVERWRITE_WITH_SWAP"}});
        let mut client = world.client().await;
        let code = outcome(&mut client, &spec, &texts("k", &["new"]), None).await;
        assert_eq!(code, Code::Unimplemented, "{index}");
        assert_eq!(database.text("SELECT k::text FROM sales.t").await, "old");
        world.forget().await;
    }
}

/// The principal's role and the role of the staging table have other schemas in their paths.
#[tokio::test]
async fn a_requested_type_means_what_it_means_to_the_principals_role() {
    let world = World::new("two_paths", &[]).await;
    let (database, login) = (&world.database, &world.login);
    database
        .execute(&format!(
            "CREATE TABLE public.proof (who text); GRANT ALL ON public.proof TO PUBLIC; CREATE SCHEMA {login};
             GRANT USAGE ON SCHEMA {login} TO PUBLIC; CREATE TYPE public.mood AS ENUM ('a');
             CREATE FUNCTION {login}.spy(text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN
                INSERT INTO public.proof VALUES (session_user); RETURN true; END $$;
             CREATE DOMAIN {login}.mood AS text CHECK ({login}.spy(VALUE))"
        ))
        .await;
    let spec = json!({"table": "sales.plain", "columnTypes": {"k": "mood"},
                      "append": {"publish": "PUBLISH_STAGED", "schemaEvolution": "SCHEMA_EVOLUTION_ADD_COLUMNS"}});
    let mut client = world.client().await;
    let code = outcome(&mut client, &spec, &texts("k", &["a"]), Some("w")).await;
    assert_eq!(code, Code::Ok);
    let kind = "SELECT format_type(atttypid, NULL) FROM pg_attribute
                WHERE attrelid = 'sales.plain'::regclass AND attname = 'k'";
    assert_eq!(database.text(kind).await, "mood");
    assert_eq!(database.text("SELECT count(*) FROM proof").await, "0");
    database
        .execute(&format!("DROP SCHEMA {login} CASCADE"))
        .await;
    world.forget().await;
}

#[tokio::test]
async fn a_grant_that_is_taken_away_during_a_swap_fails_it() {
    let world = World::new("revoked", &[]).await;
    let (database, writer) = (&world.database, &world.writer);
    database
        .execute(&format!(
            "CREATE TABLE sales.t (k text); ALTER TABLE sales.t OWNER TO {writer}; GRANT SELECT ON sales.t TO PUBLIC;
             CREATE FUNCTION public.revoke() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN
                REVOKE SELECT ON sales.t FROM PUBLIC; END $$;
             CREATE EVENT TRIGGER revoking ON ddl_command_start WHEN TAG IN ('GRANT') EXECUTE FUNCTION public.revoke()"
        ))
        .await;
    let spec = json!({"table": "sales.t", "overwrite": {"with": "OVERWRITE_WITH_SWAP"}});
    let mut client = world.client().await;
    let code = outcome(&mut client, &spec, &texts("k", &["a"]), None).await;
    assert_eq!(code, Code::FailedPrecondition);
    database.execute("DROP EVENT TRIGGER revoking").await;
    world.forget().await;
}

/// Up to PostgreSQL 14, any role may make others members of itself, and from 16 on a role gets the admin option of those
/// that it creates.
#[tokio::test]
async fn a_role_is_trusted_if_an_administrator_made_the_writer_its_member() {
    let world = World::new("members", &[]).await;
    let (database, writer) = (&world.database, &world.writer);
    let other = world.stranger().await;
    database
        .execute(&format!(
            "SET ROLE {other}; CREATE TYPE ev.kind AS ENUM ('a'); RESET ROLE"
        ))
        .await;
    let spec = json!({"table": "sales.made", "create": {}, "columnTypes": {"k": "ev.kind"}});
    let mut client = world.client().await;
    let version = "SELECT current_setting('server_version_num')::int < 150000";
    let grants_itself = database.text(version).await == "true";
    let mut cases = vec![
        (
            format!("GRANT {other} TO {writer} WITH ADMIN OPTION"),
            Code::PermissionDenied,
        ),
        (format!("GRANT {other} TO {writer}"), Code::Ok),
    ];
    if grants_itself {
        let own = format!(
            "SET SESSION AUTHORIZATION {other}; GRANT {other} TO {writer}; RESET SESSION AUTHORIZATION"
        );
        cases.insert(0, (own, Code::PermissionDenied));
    }
    for (grant, expected) in cases {
        database.execute(&grant).await;
        let code = outcome(&mut client, &spec, &texts("k", &["a"]), None).await;
        assert_eq!(code, expected, "{grant}");
        database
            .execute(&format!("REVOKE {other} FROM {writer}"))
            .await;
    }
    world.forget_stranger(&other).await;
    world.forget().await;
}

/// Another session may take a name that the server uses for a moment.
#[tokio::test]
async fn no_table_of_another_session_takes_a_name_that_the_server_needs() {
    let world = World::new("taken", &[]).await;
    let (database, writer) = (&world.database, &world.writer);
    database
        .execute(&format!(
            "CREATE TABLE sales.tried (n int); CREATE TABLE sales.t (k text PRIMARY KEY); ALTER TABLE sales.t OWNER TO {writer}"
        ))
        .await;
    let mut client = world.client().await;
    let create = json!({"table": "sales.made", "create": {"newTable": {"primaryKey": ["k"]}}});
    let code = outcome(&mut client, &create, &texts("k", &["a"]), Some("create")).await;
    assert_eq!(code, Code::Ok);
    let rows = texts("k", &["a"]);
    let swap = json!({"table": "sales.t", "overwrite": {"with": "OVERWRITE_WITH_SWAP"}});
    client.begin("swap", swap, &rows).await.unwrap();
    let twin =
        "SELECT relname FROM pg_class WHERE relname LIKE '\\_pgflight\\_%' AND relkind = 'r'";
    let twin = database.text(twin).await;
    for number in 1..10 {
        database
            .execute(&format!("CREATE SEQUENCE sales.\"{twin}_{number}\""))
            .await;
    }
    let sent = Put::whole(attempt("swap", 0, "a"), std::slice::from_ref(&rows));
    let receipt = client.put(sent).await.unwrap();
    client.commit("swap", &[receipt]).await.unwrap();
    assert_eq!(database.text("SELECT k FROM sales.t").await, "a");
    world.forget().await;
}
