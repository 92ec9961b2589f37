//! Types that other roles create, or that a client requests: they neither exhaust the server, nor show hidden tables,
//! nor run the code of another role.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, NullArray, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use arrow_flight::Criteria;
use futures_util::{StreamExt, stream};
use serde_json::json;
use tonic::Code;

use super::attacks::{ids, put, texts};
use super::role::World;
use crate::support::{
    COPIES, Client, Database, Pgflight, Put, attempt, batch, path, wait_until, write,
};

async fn listed(client: &mut Client) -> Vec<String> {
    let flights = client.flight.list_flights(Criteria::default()).await;
    let flights = flights.unwrap().into_inner().map(Result::unwrap);
    let names = flights.map(|flight| flight.flight_descriptor.unwrap().path.join("."));
    names.collect().await
}

/// Types within types: a long chain, and a few levels that multiply.
const NESTED: [(&str, &str); 3] = [
    (
        "domains",
        "DO $$ BEGIN
            CREATE DOMAIN d0 AS int;
            FOR n IN 1..300 LOOP EXECUTE format('CREATE DOMAIN d%s AS d%s', n, n - 1); END LOOP;
            CREATE TABLE nested (x d300);
         END $$",
    ),
    (
        "composites",
        "DO $$ BEGIN
            CREATE TYPE c0 AS (a int, b int);
            FOR n IN 1..4 LOOP
                EXECUTE format('CREATE TYPE c%s AS (%s)', n,
                    (SELECT string_agg(format('f%s c%s', i, n - 1), ', ') FROM generate_series(1, 20) i));
            END LOOP;
            CREATE TABLE nested (x c4);
         END $$",
    ),
    (
        "labels",
        "DO $$ BEGIN
            EXECUTE format('CREATE TYPE wide AS ENUM (%s)',
                (SELECT string_agg(format('%L', repeat('x', 55) || i), ', ') FROM generate_series(1, 2000) i));
            EXECUTE format('CREATE TYPE many AS (%s)',
                (SELECT string_agg(format('f%s wide', i), ', ') FROM generate_series(1, 500) i));
            CREATE TABLE nested (x many);
         END $$",
    ),
];

#[tokio::test]
async fn nested_types_do_not_exhaust_the_server() {
    for (what, sql) in NESTED {
        let database = Database::new().await;
        database.execute("CREATE TABLE plain (id int8)").await;
        database.execute(sql).await;
        let server = Pgflight::start(&database);
        let mut client = server.client().await;
        assert_eq!(listed(&mut client).await, ["public.plain"], "{what}");
        let nulls = batch(&[("x", Arc::new(NullArray::new(1)) as ArrayRef)]);
        let refused = client.put(Put::bare(path(&["nested"]), &[nulls])).await;
        let refused = refused.expect_err(what);
        assert_eq!(refused.code(), Code::Unimplemented, "{what}: {refused}");
        let plain = json!({"table": "plain", "append": {}});
        put(&mut client, plain, &ids(&[1])).await.unwrap();
        server.assert_unharmed(what).await;
    }
}

/// Labels of 7 MiB, and 10,000 columns.
const LARGE: &str = "DO $$ BEGIN
        FOR n IN 1..6 LOOP
            EXECUTE format('CREATE TYPE e%s AS ENUM (%s)', n,
                (SELECT string_agg(format('%L', rpad(i::text, 62, 'x')), ', ') FROM generate_series(1, 20000) i));
        END LOOP;
        EXECUTE format('CREATE TABLE labels (%s)',
            (SELECT string_agg(format('c%s e%s', i, i), ', ') FROM generate_series(1, 6) i));
        FOR n IN 1..10 LOOP
            EXECUTE format('CREATE TABLE wide%s (%s)', n,
                (SELECT string_agg(format('c%s int', i), ', ') FROM generate_series(1, 1000) i));
        END LOOP;
     END $$";

#[tokio::test]
async fn large_types_and_many_columns_take_little_memory() {
    let database = Database::new().await;
    database.execute(LARGE).await;
    let server = Pgflight::start(&database);
    let before = server.memory("VmRSS");
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..6 {
        let mut client = server.client().await;
        clients.spawn(async move {
            let refused = client.flight.get_schema(path(&["labels"])).await;
            assert_eq!(refused.unwrap_err().code(), Code::Unimplemented);
            listed(&mut client).await.len()
        });
    }
    while let Some(count) = clients.join_next().await {
        assert_eq!(count.unwrap(), 10, "without the table of large types");
    }
    let growth = server.memory("VmHWM") - before;
    assert!(growth < 48 << 20, "{growth}");
}

#[tokio::test]
async fn a_list_has_all_tables_whatever_they_are_together() {
    let database = Database::new().await;
    // Each table has a part of the types that one may have, and more than half.
    database
        .execute(
            "CREATE TABLE empty (); CREATE TABLE plain (id int8);
             DO $$ BEGIN
                EXECUTE format('CREATE TYPE many AS (%s)',
                    (SELECT string_agg(format('f%s int', i), ', ') FROM generate_series(1, 1000) i));
                EXECUTE format('CREATE TYPE mood AS ENUM (%s)',
                    (SELECT string_agg(format('%L', rpad(i::text, 62, 'x')), ', ') FROM generate_series(1, 6000) i));
                EXECUTE format('CREATE TYPE temper AS ENUM (%s)',
                    (SELECT string_agg(format('%L', rpad(i::text, 62, 'x')), ', ') FROM generate_series(1, 6000) i));
             END $$;
             CREATE TABLE a (x mood); CREATE TABLE \"B\" (x many, y many, z many, u many, v many, w many);
             CREATE TABLE c (x many, y many, z many, u many, v many, w many); CREATE TABLE d (x temper);
             CREATE TABLE e (x mood, y temper)",
        )
        .await;
    let server = Pgflight::start(&database);
    let mut client = server.client().await;
    // The last has labels beyond the limit.
    let expected = ["B", "a", "c", "d", "empty", "plain"].map(|name| format!("public.{name}"));
    assert_eq!(listed(&mut client).await, expected);
}

#[tokio::test]
async fn a_list_of_too_many_tables_ends_with_an_error() {
    let database = Database::new().await;
    // Rows of the catalog without files: making 12,000 tables takes a minute.
    database
        .execute(
            "CREATE TABLE t ();
             INSERT INTO pg_class SELECT (t).* FROM (
                SELECT jsonb_populate_record(c, jsonb_build_object('oid', 1000000 + n, 'relname', 't' || n)) t
                FROM pg_class c, generate_series(1, 12000) n WHERE c.oid = 't'::regclass) copies",
        )
        .await;
    let server = Pgflight::start(&database);
    let mut client = server.client().await;
    let flights = client.flight.list_flights(Criteria::default()).await;
    let flights: Vec<_> = flights.unwrap().into_inner().collect().await;
    let (last, listed) = flights.split_last().unwrap();
    assert_eq!(listed.len(), 10_000);
    assert!(listed.iter().all(Result::is_ok), "the oldest tables");
    let refused = last.as_ref().unwrap_err();
    assert_eq!(refused.code(), Code::Unimplemented, "{refused}");
    assert!(refused.message().contains("10000 tables"), "{refused}");
}

#[tokio::test]
async fn requested_types_show_no_hidden_objects() {
    let database = Database::new().await;
    database
        .execute(
            "CREATE TABLE hidden (salary int); CREATE TABLE open (id int8);
             CREATE TYPE pair AS (a hidden, b int); CREATE DOMAIN of_hidden AS hidden[]",
        )
        .await;
    let server = Pgflight::start(&database);
    let mut client = server.client().await;
    let columns = [("x", Arc::new(StringArray::from(vec!["a"])) as ArrayRef)];
    for sql_type in [
        "public.hidden",
        "hidden[]",
        "pair",
        "of_hidden",
        "pgflight.write",
        "regclass",
        "regrole[]",
    ] {
        let create = json!({"table": "made", "create": {}, "columnTypes": {"x": sql_type}});
        let refused = client.plan(&columns, create.clone()).await;
        let refused = refused.expect_err(sql_type);
        let code = if sql_type.starts_with("reg") {
            Code::PermissionDenied
        } else {
            Code::InvalidArgument
        };
        assert_eq!(refused.code(), code, "{sql_type}: {refused}");
        if code == Code::InvalidArgument {
            // The answer is the same as for a type that does not exist.
            let missing = json!({"table": "made", "create": {}, "columnTypes": {"x": "nowhere"}});
            let missing = client.plan(&columns, missing).await.expect_err("nowhere");
            let alike = missing.message().replace("nowhere", sql_type);
            assert_eq!(refused.message(), alike);
        }
        let refused = put(&mut client, create, &texts(&["a"])).await;
        refused.expect_err(sql_type);
        let wider = json!({"table": "open", "columnTypes": {"x": sql_type},
            "append": {"schemaEvolution": "SCHEMA_EVOLUTION_ADD_COLUMNS"}});
        let refused = put(&mut client, wider, &texts(&["a"])).await;
        refused.expect_err(sql_type);
    }
    let columns =
        "SELECT count(*) FROM pg_attribute WHERE attrelid = 'open'::regclass AND attnum > 0";
    assert_eq!(database.text(columns).await, "1");
    assert_eq!(
        database.text("SELECT to_regclass('made') IS NULL").await,
        "true"
    );
}

#[tokio::test]
async fn a_requested_domain_of_another_role_is_rejected() {
    let world = World::new("domains", &[]).await;
    let (database, writer) = (&world.database, &world.writer);
    let other = world.stranger().await;
    database
        .execute(&format!(
            "SET ROLE {other};
             CREATE FUNCTION ev.spy(text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN
                RESET ROLE; DELETE FROM sales.hidden; RETURN true; END $$;
             CREATE DOMAIN ev.text AS text CHECK (ev.spy(VALUE));
             CREATE TYPE ev.pair AS (a ev.text); CREATE TYPE ev.clean AS (a int); CREATE TYPE ev.mood AS ENUM ('x');
             RESET ROLE; INSERT INTO sales.hidden VALUES (1);
             CREATE DOMAIN public.trusted AS text CHECK (VALUE <> ''); GRANT CREATE ON SCHEMA sales TO {writer}"
        ))
        .await;
    let mut client = world.client().await;
    for sql_type in [
        "ev.text",
        "ev.text[]",
        "ev.pair",
        "ev.clean",
        "ev.clean[]",
        "ev.mood",
    ] {
        let create = json!({"table": "sales.made", "create": {}, "columnTypes": {"x": sql_type}});
        let refused = put(&mut client, create.clone(), &texts(&["a"])).await;
        let refused = refused.expect_err(sql_type);
        assert_eq!(
            refused.code(),
            Code::PermissionDenied,
            "{sql_type}: {refused}"
        );
        let begun = client.begin(sql_type, create, &texts(&["a"])).await;
        begun.expect_err(sql_type);
        let wider = json!({"table": "sales.plain", "columnTypes": {"x": sql_type},
            "append": {"schemaEvolution": "SCHEMA_EVOLUTION_ADD_COLUMNS"}});
        put(&mut client, wider, &texts(&["a"]))
            .await
            .expect_err(sql_type);
    }
    assert_eq!(
        database.text("SELECT count(*) FROM sales.hidden").await,
        "1"
    );
    let create =
        json!({"table": "sales.trusted", "create": {}, "columnTypes": {"x": "public.trusted"}});
    put(&mut client, create, &texts(&["x"])).await.unwrap();
    world.forget_stranger(&other).await;
}

/// Types within types multiply: the server counts those of each requested type, and stops.
#[tokio::test]
async fn requested_types_of_too_many_types_are_rejected() {
    let database = Database::new().await;
    database
        .execute(
            "DO $$ DECLARE enums text := ''; BEGIN
                FOR i IN 1..100 LOOP
                    EXECUTE format('CREATE TYPE e%s AS ENUM ()', i); enums := enums || format(', a%s e%s', i, i);
                END LOOP;
                EXECUTE format('CREATE TYPE wide AS (%s)', substr(enums, 3));
                FOR i IN 1..100 LOOP EXECUTE format('CREATE TYPE w%s AS (a wide)', i); END LOOP; END $$",
        )
        .await;
    let server = Pgflight::start(&database);
    let mut client = server.client().await;
    // A string is no composite value.
    for (count, expected) in [(10, "Utf8"), (100, "too many other types")] {
        let names: Vec<String> = (1..=count).map(|i| format!("w{i}")).collect();
        let none = Arc::new(StringArray::from(vec![None::<&str>])) as ArrayRef;
        let columns: Vec<(&str, ArrayRef)> = names
            .iter()
            .map(|name| (name.as_str(), none.clone()))
            .collect();
        let types: HashMap<&String, &String> = names.iter().zip(&names).collect();
        let spec = json!({"table": "made", "create": {}, "columnTypes": types});
        let refused = put(&mut client, spec, &batch(&columns)).await;
        let refused = refused.expect_err(expected);
        assert!(refused.message().contains(expected), "{count}: {refused}");
    }
}

#[tokio::test]
async fn a_trigger_that_changes_the_encoding_changes_no_id() {
    let database = Database::new().await;
    database
        .execute(
            "CREATE TABLE t (id int8);
             CREATE FUNCTION recode() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                SET client_encoding = 'LATIN1'; RETURN NULL; END $$;
             CREATE TRIGGER recode AFTER INSERT ON t FOR EACH STATEMENT EXECUTE FUNCTION recode()",
        )
        .await;
    let server = Pgflight::start(&database);
    let mut client = server.client().await;
    let staged = json!({"table": "t", "append": {"publish": "PUBLISH_STAGED"}});
    // The bytes of one id, read as LATIN1, are the other id.
    let names = ["é", "Ã©"];
    let mut receipts = Vec::new();
    for (number, name) in (0..).zip(names) {
        client.begin(name, staged.clone(), &ids(&[])).await.unwrap();
        let sent = client.put(Put::whole(attempt(name, 0, "a"), &[ids(&[number])]));
        receipts.push(sent.await.unwrap());
    }
    for (name, receipt) in names.iter().zip(receipts) {
        let status = client.commit(name, &[receipt]).await.unwrap();
        assert_eq!(status["state"], "WRITE_STATE_COMMITTED", "{name}");
        assert_eq!(status["writeId"], *name);
    }
    assert_eq!(
        database
            .text("SELECT string_agg(id::text, ' ' ORDER BY id) FROM t")
            .await,
        "0 1"
    );
}

#[tokio::test]
async fn row_level_security_on_a_new_table_fails_the_commit() {
    for (spec, table) in [
        (json!({"table": "t", "create": {}}), ""),
        (
            json!({"table": "t", "overwrite": {"with": "OVERWRITE_WITH_SWAP"}}),
            "CREATE TABLE t (id int8); INSERT INTO t VALUES (7);",
        ),
    ] {
        let database = Database::new().await;
        database.execute(table).await;
        let server = Pgflight::start(&database);
        let mut client = server.client().await;
        client.begin("w", spec, &ids(&[])).await.unwrap();
        let mut receipts = Vec::new();
        for id in ["a", "b"] {
            let sent = client.put(Put::whole(attempt("w", 0, id), &[ids(&[1])]));
            receipts.push(sent.await.unwrap());
        }
        let name =
            "SELECT relname FROM pg_class WHERE relname LIKE '\\_pgflight\\_%' AND relkind = 'r'";
        let shadow = database.text(name).await;
        database
            .execute(&format!(
                "ALTER TABLE {shadow} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
                 CREATE POLICY hide ON {shadow} USING (false)"
            ))
            .await;
        let refused = client.commit("w", &receipts[..1]).await;
        let refused = refused.expect_err("row-level security");
        assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
        let there = match table {
            "" => "SELECT to_regclass('t') IS NULL",
            _ => "SELECT string_agg(id::text, ' ') = '7' FROM t",
        };
        assert_eq!(database.text(there).await, "true");
    }
}

/// A local table with a foreign one below it, by partitions and by inheritance, and views on foreign tables.
const FOREIGN: &str = "
    CREATE EXTENSION postgres_fdw; CREATE SERVER far FOREIGN DATA WRAPPER postgres_fdw;
    CREATE TABLE parts (id int8) PARTITION BY LIST (id);
    CREATE TABLE near PARTITION OF parts FOR VALUES IN (1);
    CREATE TABLE deep PARTITION OF parts FOR VALUES IN (2, 3) PARTITION BY LIST (id);
    CREATE FOREIGN TABLE away PARTITION OF deep FOR VALUES IN (2) SERVER far;
    CREATE TABLE parent (id int8); CREATE TABLE child () INHERITS (parent);
    CREATE FOREIGN TABLE grandchild () INHERITS (child) SERVER far;
    CREATE VIEW shows AS TABLE away; CREATE VIEW shows_more AS TABLE shows; CREATE VIEW shows_parts AS TABLE parts;
    CREATE TABLE taken (id int8); CREATE VIEW takes AS TABLE away;
    CREATE FUNCTION take() RETURNS trigger LANGUAGE plpgsql AS
        'BEGIN INSERT INTO taken VALUES (NEW.id); RETURN NEW; END';
    CREATE TRIGGER take INSTEAD OF INSERT OR UPDATE OR DELETE ON takes FOR EACH ROW EXECUTE FUNCTION take();
    CREATE VIEW takes_some AS TABLE away;
    CREATE TRIGGER take INSTEAD OF INSERT ON takes_some FOR EACH ROW EXECUTE FUNCTION take();
    CREATE TABLE empty (id int8) PARTITION BY LIST (id); CREATE TABLE one PARTITION OF empty FOR VALUES IN (1);
    CREATE FOREIGN TABLE late (id int8) SERVER far";

#[tokio::test]
async fn tables_with_foreign_tables_below_are_rejected() {
    let database = Database::new().await;
    database.execute(FOREIGN).await;
    let server = Pgflight::start(&database);
    let mut client = server.client().await;
    for table in [
        "parts",
        "deep",
        "away",
        "parent",
        "child",
        "shows",
        "shows_more",
        "shows_parts",
        "takes_some",
        "takes_some",
    ] {
        let spec = json!({"table": table, "append": {}});
        let refused = put(&mut client, spec.clone(), &ids(&[1])).await;
        let refused = refused.expect_err(table);
        assert_eq!(refused.code(), Code::Unimplemented, "{table}: {refused}");
        let begun = client.begin(table, spec, &ids(&[1])).await;
        let refused = begun.expect_err(table);
        assert_eq!(refused.code(), Code::Unimplemented, "{table}: {refused}");
    }
    // Rows that a trigger takes do not reach the foreign table.
    for table in ["near", "takes"] {
        let spec = json!({"table": table, "append": {}});
        put(&mut client, spec, &ids(&[1])).await.unwrap();
    }
}

#[tokio::test]
async fn a_foreign_partition_attached_during_a_write_fails_it() {
    for table in ["empty", "shows_empty"] {
        let database = Database::new().await;
        database.execute(FOREIGN).await;
        database
            .execute("CREATE VIEW shows_empty AS TABLE empty")
            .await;
        let server = Pgflight::start(&database);
        let spec = json!({"table": table, "append": {}});
        let messages = Put::whole(write(spec), &[ids(&[1]), ids(&[1])]).0;
        let (sender, receiver) = tokio::sync::oneshot::channel::<()>();
        let (first, rest) = messages.split_at(2);
        let (first, rest) = (first.to_vec(), rest.to_vec());
        let rest = stream::once(async move {
            receiver.await.unwrap();
            stream::iter(rest)
        });
        let messages = stream::iter(first).chain(rest.flatten());
        let mut client = server.client().await;
        let putting = tokio::spawn(async move { client.put_stream(messages).await });
        let copies = async || database.text(COPIES).await == "1";
        wait_until(copies, "a COPY runs").await;
        database
            .execute("ALTER TABLE empty ATTACH PARTITION late FOR VALUES IN (2)")
            .await;
        sender.send(()).unwrap();
        let refused = putting.await.unwrap().expect_err(table);
        assert_eq!(refused.code(), Code::Unimplemented, "{table}: {refused}");
        assert_eq!(database.text("SELECT count(*) FROM one").await, "0");
    }
}

/// With `security_invoker`, from PostgreSQL 15 on, a view writes with the rights of the login.
#[tokio::test]
async fn views_over_the_catalog_are_rejected_for_a_superuser() {
    let database = Database::new().await;
    database
        .execute("CREATE VIEW roles AS SELECT rolname, rolcreatedb FROM pg_authid; CREATE VIEW more AS TABLE roles")
        .await;
    let server = Pgflight::start(&database);
    let mut client = server.client().await;
    for view in ["roles", "more"] {
        let spec = json!({"table": view, "updateOnly": {"keys": ["rolname"]}});
        let name = Arc::new(StringArray::from(vec!["missing"])) as ArrayRef;
        let refused = put(&mut client, spec, &batch(&[("rolname", name)])).await;
        let refused = refused.expect_err(view);
        assert_eq!(refused.code(), Code::PermissionDenied, "{view}: {refused}");
    }
}

/// A role may add its own types to an extension that it has created.
#[tokio::test]
async fn types_of_others_are_rejected_in_an_extension_and_in_metadata() {
    let world = World::new("extension", &[]).await;
    let (database, writer) = (&world.database, &world.writer);
    let name = database.text("SELECT current_database()").await;
    let other = world.stranger().await;
    database
        .execute(&format!(
            "CREATE SCHEMA hidden_schema; CREATE DOMAIN hidden_schema.t AS text;
             GRANT CREATE ON DATABASE {name} TO {other}; GRANT CREATE ON SCHEMA sales TO {writer};
             SET ROLE {other}; CREATE EXTENSION citext SCHEMA ev; CREATE DOMAIN ev.bad AS text CHECK (VALUE <> '');
             ALTER EXTENSION citext ADD DOMAIN ev.bad; RESET ROLE"
        ))
        .await;
    let mut client = world.client().await;
    for (sql_type, code) in [
        ("ev.bad", Code::PermissionDenied),
        ("regclass", Code::PermissionDenied),
        ("pgflight.write", Code::InvalidArgument),
        ("pgflight.write[]", Code::InvalidArgument),
        ("sales.hidden[]", Code::InvalidArgument),
        ("hidden_schema.t", Code::InvalidArgument),
        ("ev.missing", Code::InvalidArgument),
    ] {
        let by_option =
            json!({"table": "sales.made", "create": {}, "columnTypes": {"x": sql_type}});
        let by_metadata = json!({"table": "sales.made", "create": {}});
        let metadata = HashMap::from([("pgflight.type".to_owned(), sql_type.to_owned())]);
        let field = Field::new("x", DataType::Utf8, true).with_metadata(metadata);
        let schema = Arc::new(Schema::new(vec![field]));
        let rows = texts(&["a"]);
        let named = RecordBatch::try_new(schema, rows.columns().to_vec()).unwrap();
        for (spec, rows) in [(by_option, rows), (by_metadata, named)] {
            let refused = put(&mut client, spec, &rows).await;
            let refused = refused.expect_err(sql_type);
            assert_eq!(refused.code(), code, "{sql_type}: {refused}");
        }
    }
    world.forget_stranger(&other).await;
    world.forget().await;
}
