//! What the commit of a client's transaction checks and counts, and what holds between its ingests.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use arrow_flight::Action;
use arrow_flight::FlightDescriptor;
use arrow_flight::sql::{ActionEndTransactionRequest, EndTransaction, ProstMessageExt};
use arrow_flight::utils::batches_to_flight_data;
use pgflight::auth::digest_of;
use prost::Message;
use tonic::Code;

use super::once::client_of;
use super::transactions::{IDS, begin_session, end, within};
use super::{APPEND, CREATE, CREATE_APPEND, REPLACE, connect, ids, ingest, into, setup};
use crate::hostile::wire::{
    DATA, END_HEADERS, END_STREAM, HEADERS, RST_STREAM, Wire, call_by, frame, message,
};
use crate::support::metric;
use crate::support::{COPIES, Database, File, Pgflight, batch, wait_until};

/// The bytes of an ingest up to a point, which never ends.
fn begun_ingest(point: &str) -> Vec<u8> {
    let rows = ids(&[9]);
    let mut messages = batches_to_flight_data(&rows.schema(), &[rows]).unwrap();
    let command = into("t", APPEND).as_any().encode_to_vec();
    messages[0].flight_descriptor = Some(FlightDescriptor::new_cmd(command));
    let schema = message(&messages[0].encode_to_vec());
    match point {
        "headers" => Vec::new(),
        "half a message" => schema[..schema.len() / 2].to_vec(),
        "the schema" => schema,
        _ => [schema, message(&messages[1].encode_to_vec())].concat(),
    }
}

/// The client sends its commit right after the end of an ingest that it gave up, in one piece.
#[tokio::test]
async fn a_commit_fails_after_an_ingest_that_did_not_complete() {
    let (database, server, mut client) = setup("CREATE TABLE t (id int)").await;
    for round in 0..5 {
        for point in ["headers", "half a message", "the schema", "all rows"] {
            for is_reset in [true, false] {
                let id = begin_session(&mut client).await;
                let token = client.token().unwrap().clone();
                ingest(&mut client, into("t", APPEND), &[ids(&[1])])
                    .await
                    .unwrap();
                let mut sent = frame(HEADERS, END_HEADERS, 1, &call_by("DoPut", &token));
                sent.extend(frame(DATA, 0, 1, &begun_ingest(point)));
                if is_reset {
                    sent.extend(frame(RST_STREAM, 0, 1, &8_u32.to_be_bytes()));
                }
                let request = ActionEndTransactionRequest {
                    transaction_id: id.clone(),
                    action: EndTransaction::Commit.into(),
                };
                let action = Action::new("EndTransaction", request.as_any().encode_to_vec());
                let action = message(&action.encode_to_vec());
                sent.extend(frame(HEADERS, END_HEADERS, 3, &call_by("DoAction", &token)));
                sent.extend(frame(DATA, END_STREAM, 3, &action));
                let wire = Wire::open(&server);
                assert!(wire.send(&sent));
                wire.read_answer(3);
                let case = format!("round {round}, {point}, reset: {is_reset}");
                assert_eq!(database.text(IDS).await, "", "{case}");
                let again = end(&mut client, &id, EndTransaction::Commit).await;
                let error = again.expect_err(&case);
                assert_eq!(error.details["sqlstate"], "25P02", "{case}: {error:?}");
                end(&mut client, &id, EndTransaction::Rollback)
                    .await
                    .unwrap();
                drop(wire);
                // The session takes rows again after the rollback.
                let id = begin_session(&mut client).await;
                ingest(&mut client, into("t", APPEND), &[ids(&[2])])
                    .await
                    .unwrap();
                end(&mut client, &id, EndTransaction::Commit).await.unwrap();
                assert_eq!(database.text(IDS).await, "2", "{case}");
                database.execute("TRUNCATE t").await;
            }
        }
    }
}

#[tokio::test]
async fn a_failed_transaction_says_once_that_it_was_rolled_back() {
    let (database, server, mut client) = setup("CREATE TABLE t (id int)").await;
    let id = begin_session(&mut client).await;
    let token = client.token().unwrap().clone();
    ingest(&mut client, into("t", APPEND), &[ids(&[1])])
        .await
        .unwrap();
    let wire = Wire::open(&server);
    let mut sent = frame(HEADERS, END_HEADERS, 1, &call_by("DoPut", &token));
    sent.extend(frame(DATA, 0, 1, &begun_ingest("all rows")));
    assert!(wire.send(&sent));
    let runs = async || database.text(COPIES).await == "1";
    wait_until(runs, "the COPY runs").await;
    let overlapping = ingest(&mut client, into("t", APPEND), &[ids(&[2])]).await;
    let later = ingest(&mut client, into("t", APPEND), &[ids(&[2])]).await;
    let committed = end(&mut client, &id, EndTransaction::Commit)
        .await
        .map(|()| 0);
    for failed in [overlapping, later, committed] {
        let error = failed.unwrap_err();
        let count = error.message.matches("was rolled back").count();
        assert_eq!(count, 1, "{error:?}");
        assert!(
            error.message.contains("another call of it came"),
            "{error:?}"
        );
    }
    assert_eq!(database.text(IDS).await, "");
}

#[tokio::test]
async fn a_commit_needs_the_grants_of_all_ingests_and_statements() {
    let database = Database::new().await;
    let role = format!("pgflight_commits_{}", std::process::id());
    database
        .execute(&format!("CREATE ROLE {role} SUPERUSER"))
        .await;
    let text = |principal: &str| {
        let digest = digest_of("job");
        format!("[principals.job]\ntokens = ['{digest}']\n{principal}\n")
    };
    let grants = |grants: &str| format!("grants = [{grants}]");
    let t = "{ tables = ['public.t'], modes = ['append', 'overwrite', 'create'] }";
    let u = "{ tables = ['public.u'], modes = ['append', 'overwrite', 'create'] }";
    let both = grants(&format!("{t}, {u}"));
    let file = File::new(&text(&both));
    let server = Pgflight::start_with(&database, &["--config", file.name()]);
    let mut client = connect(&server).await;
    client.set_token("job".to_owned());
    let reload = async |principal: &str| {
        let applied = server.log().len();
        std::fs::write(&file.0, text(principal)).unwrap();
        server.signal("HUP");
        let is_applied = async || {
            let log = server.log();
            log[applied..].iter().any(|line| line.contains("applied: "))
        };
        wait_until(is_applied, "the change is applied").await;
    };
    let u_in = |modes: &str| {
        let u = format!("{{ tables = ['public.u'], modes = [{modes}] }}");
        grants(&format!("{t}, {u}"))
    };
    let no_u = grants(t);
    // The work on the table u, the principal before the commit, and whether the commit succeeds.
    let cases = [
        ("append", no_u.clone(), false),
        ("append", u_in("'overwrite', 'create'"), false),
        ("append", u_in("'append'"), true),
        ("replace", u_in("'append', 'create'"), false),
        ("replace", u_in("'overwrite'"), true),
        ("create", u_in("'append'"), false),
        ("create_append", u_in("'append'"), false),
        ("upsert", u_in("'append', 'create'"), false),
        ("DELETE FROM u", u_in("'append'"), false),
        ("TRUNCATE u", u_in("'append'"), false),
        ("DROP TABLE u", u_in("'overwrite'"), false),
        ("DROP TABLE u", u_in("'overwrite', 'create'"), true),
        ("append", format!("{both}\nrole = '{role}'"), false),
    ];
    for (work, principal, is_committed) in cases {
        let case = format!("{work}, {principal}");
        database
            .execute("DROP TABLE IF EXISTS t, u; CREATE TABLE t (id int)")
            .await;
        let all = "'append', 'overwrite', 'create', 'upsert'";
        reload(&u_in(all)).await;
        if !work.starts_with("create") && work != "upsert" {
            database.execute("CREATE TABLE u (id int)").await;
        }
        let id = client.begin_transaction().await.unwrap();
        let rows = [ids(&[1])];
        ingest(&mut client, within(&id, into("t", APPEND)), &rows)
            .await
            .unwrap();
        let mode = match work {
            "append" => APPEND,
            "replace" => REPLACE,
            "create" => CREATE,
            _ => CREATE_APPEND,
        };
        if work.contains(' ') {
            let done = client.execute_update(work.to_owned(), Some(id.clone()));
            done.await.unwrap();
        } else {
            let mut keyed = connect(&server).await;
            keyed.set_token("job".to_owned());
            if work == "upsert" {
                keyed.set_header("x-pgflight-mode", "upsert");
                keyed.set_header("x-pgflight-keys", "id");
            }
            ingest(&mut keyed, within(&id, into("u", mode)), &rows)
                .await
                .unwrap();
        }
        reload(&principal).await;
        let ended = end(&mut client, &id, EndTransaction::Commit).await;
        let kept = if is_committed { "1" } else { "" };
        assert_eq!(database.text(IDS).await, kept, "{case}: {ended:?}");
        match is_committed {
            true => ended.expect(&case),
            false => {
                let error = ended.expect_err(&case);
                assert_eq!(error.code, Code::PermissionDenied, "{case}: {error:?}");
                let again = end(&mut client, &id, EndTransaction::Commit).await;
                assert!(again.is_err(), "{case}");
            }
        }
    }
    // The role of an ingest is that of its transaction.
    reload(&both).await;
    database
        .execute("CREATE TABLE IF NOT EXISTS u (id int)")
        .await;
    let id = client.begin_transaction().await.unwrap();
    let rows = within(&id, into("u", APPEND));
    ingest(&mut client, rows.clone(), &[ids(&[1])])
        .await
        .unwrap();
    reload(&format!("{both}\nrole = '{role}'")).await;
    let other = ingest(&mut client, rows, &[ids(&[1])]).await.unwrap_err();
    assert!(other.message.contains("another role"), "{other:?}");
    drop(server);
    database.execute(&format!("DROP ROLE {role}")).await;
}

#[tokio::test]
async fn changed_rows_count_when_their_transaction_commits() {
    let database = Database::new().await;
    database
        .execute("CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE u (id int)")
        .await;
    let server = Pgflight::start_with(&database, &["--metrics-listen", "127.0.0.1:0"]);
    let mut client = connect(&server).await;
    let mut keyed = connect(&server).await;
    keyed.set_header("x-pgflight-mode", "delete_by_key");
    keyed.set_header("x-pgflight-keys", "id");
    let mut expected = (0, 0);
    for action in [EndTransaction::Rollback, EndTransaction::Commit] {
        for _ in 0..2 {
            let id = client.begin_transaction().await.unwrap();
            for (values, table) in [(&[1, 2, 3][..], "t"), (&[4][..], "t"), (&[5, 6][..], "u")] {
                let rows = within(&id, into(table, APPEND));
                ingest(&mut client, rows, &[ids(values)]).await.unwrap();
            }
            let deleted = within(&id, into("t", APPEND));
            let deleted = ingest(&mut keyed, deleted, &[ids(&[1, 2, 3, 4, 5])]).await;
            assert_eq!(deleted.unwrap(), 5);
            let count = async |change: &str| {
                let name = format!("pgflight_changed_rows_total{{change=\"{change}\"}}");
                metric(&server.monitor, &name).await.to_string()
            };
            assert_eq!(count("inserted").await, expected.0.to_string());
            // A commit may come twice.
            for _ in 0..2 {
                end(&mut client, &id, action).await.unwrap();
            }
            if action == EndTransaction::Commit {
                expected = (expected.0 + 6, expected.1 + 4);
            }
            assert_eq!(count("inserted").await, expected.0.to_string());
            assert_eq!(count("deleted").await, expected.1.to_string());
        }
    }
}

/// Settings that the code of a table leaves in the session, and texts whose meaning depends on them.
const LEFT: [(&str, &str); 10] = [
    ("array_nulls", "off"),
    ("xmloption", "document"),
    ("standard_conforming_strings", "off"),
    ("quote_all_identifiers", "on"),
    ("DateStyle", "German, DMY"),
    ("IntervalStyle", "sql_standard"),
    ("TimeZone", "Asia/Kathmandu"),
    ("transform_null_equals", "on"),
    ("my.tenant", "other"),
    ("search_path", "hidden"),
];

#[tokio::test]
async fn values_mean_the_same_in_every_ingest_of_a_transaction() {
    let (database, _server, mut client) = setup("").await;
    let columns = [
        ("a", "text[]", r#"{"NULL",null,nUll}"#),
        ("i", "interval", "-1-2 +3 -4:05:06"),
        ("r", "daterange", "[2020-02-03,2020-04-05)"),
    ];
    let definitions = columns.map(|(name, sql_type, _)| format!("{name} {sql_type}"));
    let definitions = definitions.join(", ");
    for is_local in ["true", "false"] {
        let left = LEFT.map(|(name, value)| {
            format!("PERFORM pg_catalog.set_config('{name}', '{value}', {is_local});")
        });
        database
            .execute(&format!(
                "DROP SCHEMA IF EXISTS hidden CASCADE; DROP TABLE IF EXISTS t, first, second;
                 CREATE SCHEMA hidden; CREATE TABLE hidden.second (id int);
                 CREATE TABLE t (id int); CREATE TABLE first ({definitions}, tenant text
                     DEFAULT concat(current_setting('my.tenant', true), current_setting('TimeZone'),
                         current_setting('DateStyle'), current_setting('search_path'), now() - now()));
                 CREATE TABLE second (LIKE first INCLUDING DEFAULTS);
                 CREATE OR REPLACE FUNCTION leave() RETURNS trigger LANGUAGE plpgsql AS
                     $$ BEGIN {} RETURN new; END $$;
                 CREATE TRIGGER leave BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION leave()",
                left.join(" ")
            ))
            .await;
        let texts = columns
            .map(|(name, _, text)| (name, Arc::new(StringArray::from(vec![text])) as ArrayRef));
        let rows = batch(&texts);
        let id = client.begin_transaction().await.unwrap();
        for table in ["first", "t", "second", "t"] {
            let rows = if table == "t" {
                ids(&[1])
            } else {
                rows.clone()
            };
            ingest(&mut client, within(&id, into(table, APPEND)), &[rows])
                .await
                .unwrap();
        }
        // A statement runs code as well, and its name is that of the session's path.
        let emptied = client.execute_update("DELETE FROM second".to_owned(), Some(id.clone()));
        emptied.await.unwrap();
        let again = within(&id, into("second", APPEND));
        ingest(&mut client, again, &[rows]).await.unwrap();
        end(&mut client, &id, EndTransaction::Commit).await.unwrap();
        let seen = "SELECT (SELECT first::text FROM first) = (SELECT second::text FROM second)";
        assert_eq!(database.text(seen).await, "true", "{is_local}");
        let left = database.text("SELECT count(*) FROM hidden.second").await;
        assert_eq!(left, "0", "{is_local}");
    }
}

#[tokio::test]
async fn a_commit_fails_if_a_table_moved_whatever_was_done_to_the_table_of_its_name() {
    let (database, _server, mut client) = setup("").await;
    for statement in ["", "DROP TABLE s.t", "DELETE FROM s.t", "TRUNCATE s.t"] {
        database
            .execute("DROP SCHEMA IF EXISTS s CASCADE; DROP SCHEMA IF EXISTS moved CASCADE")
            .await;
        database
            .execute("CREATE SCHEMA s; CREATE TABLE s.t (id int)")
            .await;
        let id = client.begin_transaction().await.unwrap();
        let mut command = within(&id, into("t", APPEND));
        command.schema = Some("s".to_owned());
        ingest(&mut client, command, &[ids(&[1])]).await.unwrap();
        database
            .execute("ALTER SCHEMA s RENAME TO moved; CREATE SCHEMA s; CREATE TABLE s.t (id int)")
            .await;
        if !statement.is_empty() {
            // The statement may find out itself.
            let done = client.execute_update(statement.to_owned(), Some(id.clone()));
            let _done = done.await;
        }
        let ended = end(&mut client, &id, EndTransaction::Commit).await;
        let error = ended.expect_err(statement);
        assert!(
            error.message.contains("another table got the name"),
            "{error:?}"
        );
        assert_eq!(
            database.text("SELECT count(*) FROM moved.t").await,
            "0",
            "{statement}"
        );
    }
}

#[tokio::test]
async fn the_ids_of_a_transaction_take_a_limited_memory() {
    let (database, server, mut client) = setup("CREATE TABLE t (id jsonb)").await;
    let fields = (0..9000).map(|number| Field::new(format!("{number:060}"), DataType::Int8, true));
    let wide = Field::new_struct("id", fields.collect::<Vec<_>>(), true);
    let rows = RecordBatch::new_empty(Arc::new(Schema::new(vec![wide])));
    let id = client.begin_transaction().await.unwrap();
    let mut refused = None;
    for number in 0..40 {
        let name = format!("w{number}");
        let mut with_id = client_of(&server, &name, 0).await;
        let sent = ingest(
            &mut with_id,
            within(&id, into("t", APPEND)),
            std::slice::from_ref(&rows),
        )
        .await;
        if let Err(error) = sent {
            refused = Some(error);
            break;
        }
    }
    let error = refused.expect("a transaction keeps the columns of any number of ingests");
    assert!(error.message.contains("16 MiB"), "{error:?}");
    assert_eq!(database.text("SELECT count(*) FROM t").await, "0");
}
