//! What the code of a table leaves in a session, and later writes that use the session.

use serde_json::json;

use crate::access::attacks::{append, ids, put, setup, texts};
use crate::support::{Client, Database, Pgflight, Pooler};

/// A trigger that leaves settings, temporary objects and a lock in the session.
const LEAVER: &str = "
    CREATE TABLE leaver (id int8);
    CREATE FUNCTION leave() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        CREATE DOMAIN pg_temp.text AS varchar;
        CREATE TEMP TABLE audit (n int);
        PERFORM set_config('synchronous_commit', 'off', false), set_config('TimeZone', 'Asia/Kathmandu', false),
                set_config('row_security', 'off', false), set_config('statement_timeout', '1min', false),
                set_config('default_text_search_config', 'simple', false), set_config('work_mem', '64kB', false),
                set_config('xmlbinary', 'hex', false), set_config('plpgsql.check_asserts', 'off', false),
                set_config('default_transaction_read_only', 'on', false),
                set_config('client_encoding', 'LATIN1', false);
        IF current_setting('server_version_num')::int >= 170000 THEN
            PERFORM set_config('transaction_timeout', '1min', false);
        END IF;
        PERFORM set_config('app.tenant', 'other', false), setseed(0.42);
        EXECUTE 'DECLARE held CURSOR WITH HOLD FOR SELECT 1';
        PERFORM pg_advisory_lock(4711);
        RETURN NULL;
    END $$;
    CREATE TRIGGER leave AFTER INSERT ON leaver FOR EACH STATEMENT EXECUTE FUNCTION leave();
    CREATE TABLE audit (n int);
    CREATE TABLE seen (id int8, settings text, dice float8);
    CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        INSERT INTO audit VALUES (1);
        NEW.dice = random();
        NEW.settings = concat_ws(' ', current_setting('synchronous_commit'), current_setting('row_security'),
                                 current_setting('statement_timeout'), current_setting('client_encoding'),
                                 current_setting('default_text_search_config') = 'pg_catalog.simple',
                                 current_setting('work_mem'), current_setting('xmlbinary'),
                                 current_setting('plpgsql.check_asserts'),
                                 'tenant', current_setting('app.tenant', true),
                                 'cursors', (SELECT count(*) FROM pg_cursors WHERE name = 'held'),
                                 COALESCE(current_setting('transaction_timeout', true), '0'));
        RETURN NEW;
    END $$;
    CREATE TRIGGER see BEFORE INSERT ON seen FOR EACH ROW EXECUTE FUNCTION see()";

async fn check_nothing_is_left(database: &Database, client: &mut Client) {
    put(client, append("leaver"), &ids(&[1])).await.unwrap();
    put(client, append("seen"), &ids(&[1])).await.unwrap();
    let settings = database.text("SELECT settings FROM seen").await;
    // A custom setting that was reset is empty or missing.
    let settings = settings.replace("  ", " ");
    assert_eq!(settings, "on on 0 UTF8 f 4MB base64 on tenant cursors 0 0");
    assert_eq!(database.text("SELECT count(*) FROM audit").await, "1");
    database.execute("SELECT setseed(0.42)").await;
    let foreseen =
        "SELECT count(*) FROM seen WHERE dice IN (SELECT random() FROM generate_series(1, 100))";
    assert_eq!(database.text(foreseen).await, "0");
    let made = json!({"table": "made", "create": {}});
    put(client, made, &texts(&["a"])).await.unwrap();
    let column = "SELECT atttypid::regtype FROM pg_attribute WHERE attrelid = 'made'::regclass AND attname = 'x'";
    assert_eq!(database.text(column).await, "text");
}

#[tokio::test]
async fn a_session_is_reset_after_the_code_of_a_table() {
    let (database, _server, mut client) = setup(LEAVER, &["--max-copies", "1"]).await;
    check_nothing_is_left(&database, &mut client).await;
    let locks = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 4711";
    assert_eq!(database.text(locks).await, "0");
}

/// Starts pgbouncer with a pool of one session, and a server that writes through it. Returns `None` if the machine has no
/// pgbouncer.
async fn start_pooled(sql: &str) -> Option<(Database, Pooler, Pgflight)> {
    let database = Database::new().await;
    database.execute(sql).await;
    let (user, rest) = database.url.split_once('@').unwrap();
    let (postgres, name) = rest.split_once('/').unwrap();
    let settings = ["pool_mode = transaction", "default_pool_size = 1"];
    let pooler = Pooler::start(postgres, &settings)?;
    let url = format!("{user}@{}/{name}", pooler.address);
    let server = Pgflight::start_at(&url, &["--max-copies", "1"]);
    Some((database, pooler, server))
}

#[tokio::test]
async fn a_pooled_session_is_reset_before_each_transaction() {
    let Some((database, _pooler, server)) = start_pooled(LEAVER).await else {
        return;
    };
    check_nothing_is_left(&database, &mut server.client().await).await;
}

/// A trigger that leaves a timeout which is shorter than PostgreSQL takes to drop what it leaves as well.
const LEAVER_OF_A_TIMEOUT: &str = "
    CREATE TABLE leaver (id int8); CREATE TABLE t (id int8);
    CREATE FUNCTION leave() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        FOR number IN 1..2000 LOOP
            EXECUTE 'CREATE TEMP TABLE left_' || number || ' (n int)';
        END LOOP;
        PERFORM set_config('statement_timeout', '100ms', false);
        RETURN NULL;
    END $$;
    CREATE TRIGGER leave AFTER INSERT ON leaver FOR EACH STATEMENT EXECUTE FUNCTION leave()";

#[tokio::test]
async fn a_timeout_that_is_left_in_a_session_stops_no_later_write() {
    let direct = setup(LEAVER_OF_A_TIMEOUT, &["--max-copies", "1"]).await;
    let pooled = start_pooled(LEAVER_OF_A_TIMEOUT).await;
    let pooled = pooled
        .as_ref()
        .map(|(database, _, server)| (database, server));
    for (database, server) in [Some((&direct.0, &direct.1)), pooled].into_iter().flatten() {
        let mut client = server.client().await;
        put(&mut client, append("leaver"), &ids(&[1]))
            .await
            .unwrap();
        for id in 0..3 {
            put(&mut client, append("t"), &ids(&[id])).await.unwrap();
        }
        assert_eq!(database.text("SELECT count(*) FROM t").await, "3");
    }
}

/// A trigger that leaves a temporary table with the name of another table, on which a permanent table depends.
const LEAVER_OF_A_TABLE: &str = "
    CREATE TABLE leaver (id int8); CREATE TABLE audit (n int); CREATE TABLE seen (id int8);
    CREATE FUNCTION leave() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        CREATE TEMP TABLE audit (n int);
        CREATE TABLE public.dependent (x pg_temp.audit);
        RETURN NULL;
    END $$;
    CREATE TRIGGER leave AFTER INSERT ON leaver FOR EACH STATEMENT EXECUTE FUNCTION leave();
    CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO audit VALUES (1); RETURN NEW; END $$;
    CREATE TRIGGER see BEFORE INSERT ON seen FOR EACH ROW EXECUTE FUNCTION see()";

#[tokio::test]
async fn a_session_that_cannot_be_reset_is_closed() {
    let (database, _server, mut client) = setup(LEAVER_OF_A_TABLE, &["--max-copies", "1"]).await;
    put(&mut client, append("leaver"), &ids(&[1]))
        .await
        .unwrap();
    let other = Database::connect(&database.url).await;
    other
        .batch_execute("BEGIN; LOCK TABLE dependent IN ACCESS SHARE MODE")
        .await
        .unwrap();
    put(&mut client, append("seen"), &ids(&[1])).await.unwrap();
    assert_eq!(database.text("SELECT count(*) FROM audit").await, "1");
}

/// A default that leaves a setting of PL/pgSQL, which is not loaded, and a trigger with an assertion.
const LEAVER_OF_A_PLACEHOLDER: &str = "
    CREATE TABLE leaver (id int8, x text DEFAULT set_config('plpgsql.check_asserts', 'off', false));
    CREATE TABLE t (id int8);
    CREATE FUNCTION assert() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN ASSERT NEW.id > 0; RETURN NEW; END $$;
    CREATE TRIGGER assert BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION assert()";

#[tokio::test]
async fn a_setting_of_a_language_that_is_not_loaded_is_reset() {
    let Some((_database, _pooler, server)) = start_pooled(LEAVER_OF_A_PLACEHOLDER).await else {
        return;
    };
    let mut client = server.client().await;
    put(&mut client, append("leaver"), &ids(&[1]))
        .await
        .unwrap();
    let error = put(&mut client, append("t"), &ids(&[-1]))
        .await
        .unwrap_err();
    assert!(error.message().contains("P0004"), "{error}");
}
