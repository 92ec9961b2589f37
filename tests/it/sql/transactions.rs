//! Transactions of clients: by id, and by the session whose token the client takes over.

use std::time::Duration;

use arrow_flight::Action;
use arrow_flight::sql::{
    ActionBeginTransactionRequest, ActionBeginTransactionResult, Any, CommandStatementIngest,
    EndTransaction, ProstMessageExt,
};
use bytes::Bytes;
use pgflight::auth::digest_of;
use prost::Message;
use tonic::{Code, Request};

use super::setup;
use super::{
    APPEND, CREATE, CREATE_APPEND, REPLACE, SqlClient, call_error, connect, ids, ingest, into,
};
use crate::support::{CallError, Database, File, Pgflight, wait_until};

pub const IDS: &str = "SELECT coalesce(string_agg(id::text, ',' ORDER BY id), '') FROM t";
/// The sessions of PostgreSQL that belong to transactions of clients and are in one.
const KEPT: &str = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
    AND application_name LIKE 'pgflight % transaction' AND state <> 'idle'";

pub async fn end(
    client: &mut SqlClient,
    id: &Bytes,
    action: EndTransaction,
) -> Result<(), CallError> {
    let ended = client.end_transaction(id.clone(), action).await;
    ended.map_err(call_error)
}

pub fn within(id: &Bytes, command: CommandStatementIngest) -> CommandStatementIngest {
    CommandStatementIngest {
        transaction_id: Some(id.clone()),
        ..command
    }
}

/// Begins a transaction in a session, whose token the client takes over. Returns the id of the transaction.
pub async fn begin_session(client: &mut SqlClient) -> Bytes {
    let body = ActionBeginTransactionRequest {}.as_any().encode_to_vec();
    let action = Action::new("BeginTransaction", body);
    let mut request = Request::new(action);
    if let Some(token) = client.token() {
        let header = format!("Bearer {token}").parse().unwrap();
        request.metadata_mut().insert("authorization", header);
    }
    let answer = client.inner_mut().do_action(request).await.unwrap();
    let header = answer.metadata().get("authorization").unwrap();
    let token = header.to_str().unwrap().strip_prefix("Bearer ");
    let token = token.unwrap().to_owned();
    let result = answer.into_inner().message().await.unwrap().unwrap();
    client.set_token(token);
    let result = Any::decode(result.body).unwrap();
    let begun: ActionBeginTransactionResult = result.unpack().unwrap().unwrap();
    begun.transaction_id
}

#[tokio::test]
async fn several_ingests_and_statements_are_in_one_commit_or_none() {
    let (database, _server, mut client) = setup("").await;
    let tables = "DROP TABLE IF EXISTS t, u, made; CREATE TABLE t AS SELECT 7 AS id;
                  CREATE TABLE u (id int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED)";
    let seen = "SELECT (SELECT string_agg(id::text, ',' ORDER BY id) FROM t) || ' ' ||
                (SELECT count(*) FROM u) || ' ' || (to_regclass('made') IS NOT NULL)";
    for (action, expected) in [
        (EndTransaction::Commit, "1,2 2 true"),
        (EndTransaction::Rollback, "7 0 false"),
    ] {
        database.execute(tables).await;
        let id = client.begin_transaction().await.unwrap();
        let sent = [
            ("t", REPLACE, 1),
            ("u", APPEND, 1),
            ("made", CREATE, 1),
            ("t", APPEND, 2),
            ("u", APPEND, 2),
            ("made", CREATE_APPEND, 2),
        ];
        for (table, mode, value) in sent {
            let command = within(&id, into(table, mode));
            let rows = ingest(&mut client, command, &[ids(&[value])]).await;
            assert_eq!(rows.unwrap(), 1);
        }
        let emptied = client.execute_update("DELETE FROM made".to_owned(), Some(id.clone()));
        emptied.await.unwrap();
        let before = "SELECT count(*) FROM u";
        assert_eq!(database.text(before).await, "0", "nothing is seen before");
        for _ in 0..2 {
            end(&mut client, &id, action).await.unwrap();
        }
        assert_eq!(database.text(seen).await, expected);
    }
}

#[tokio::test]
async fn an_ingest_without_an_id_is_in_the_transaction_of_its_session() {
    let (database, server, mut client) = setup("CREATE TABLE t (id int)").await;
    begin_session(&mut client).await;
    let mut other = connect(&server).await;
    ingest(&mut client, into("t", APPEND), &[ids(&[1])])
        .await
        .unwrap();
    ingest(&mut other, into("t", APPEND), &[ids(&[2])])
        .await
        .unwrap();
    assert_eq!(database.text(IDS).await, "2");
    let mut closed = Request::new(Action::new("CloseSession", ""));
    let header = format!("Bearer {}", client.token().unwrap())
        .parse()
        .unwrap();
    closed.metadata_mut().insert("authorization", header);
    client.inner_mut().do_action(closed).await.unwrap();
    assert_eq!(database.text(KEPT).await, "0");
    // Outside the session, rows would be in the table at once.
    let closed = ingest(&mut client, into("t", APPEND), &[ids(&[3])]).await;
    assert_eq!(closed.unwrap_err().code, Code::Unauthenticated);
    assert_eq!(database.text(IDS).await, "2");
}

#[tokio::test]
async fn a_server_that_lost_the_session_takes_no_rows() {
    let (database, server, mut client) = setup("CREATE TABLE t (id int)").await;
    begin_session(&mut client).await;
    let token = client.token().unwrap().clone();
    drop(server);
    let server = Pgflight::start(&database);
    let mut client = connect(&server).await;
    client.set_token(token);
    let lost = ingest(&mut client, into("t", APPEND), &[ids(&[1])]).await;
    let lost = lost.unwrap_err();
    assert_eq!(lost.code, Code::Unauthenticated, "{lost:?}");
    assert!(
        lost.details["hint"]
            .as_str()
            .contains("open a new connection")
    );
    client.set_token("pgfs_not.ours".to_owned());
    let lost = ingest(&mut client, into("t", APPEND), &[ids(&[1])]).await;
    assert_eq!(lost.unwrap_err().code, Code::Unauthenticated);
    assert_eq!(database.text(IDS).await, "");
}

#[tokio::test]
async fn an_error_aborts_the_transaction_and_its_end_says_so() {
    let (database, _server, mut client) =
        setup("CREATE TABLE t (id int); CREATE TABLE k (id int PRIMARY KEY)").await;
    for action in [EndTransaction::Commit, EndTransaction::Rollback] {
        let id = client.begin_transaction().await.unwrap();
        let first = within(&id, into("t", APPEND));
        ingest(&mut client, first.clone(), &[ids(&[1])])
            .await
            .unwrap();
        let twice = within(&id, into("k", APPEND));
        let twice = ingest(&mut client, twice, &[ids(&[1, 1])]).await;
        assert_eq!(twice.unwrap_err().details["sqlstate"], "23505");
        let after = ingest(&mut client, first, &[ids(&[2])]).await.unwrap_err();
        assert_eq!(after.details["sqlstate"], "25P02", "{after:?}");
        let ended = end(&mut client, &id, action).await;
        if action == EndTransaction::Commit {
            let error = ended.unwrap_err();
            assert_eq!(error.details["sqlstate"], "25P02", "{error:?}");
            assert!(error.message.contains("duplicate key"), "{error:?}");
        } else {
            ended.unwrap();
        }
        assert_eq!(database.text(IDS).await, "");
    }
    let unknown = Bytes::from_static(b"unknown");
    let unknown = end(&mut client, &unknown, EndTransaction::Commit).await;
    assert_eq!(unknown.unwrap_err().code, Code::NotFound);
}

#[tokio::test]
async fn an_idle_transaction_is_rolled_back_and_its_commit_says_so() {
    let database = Database::new().await;
    database.execute("CREATE TABLE t (id int)").await;
    let options = ["--transaction-idle-timeout", "300ms"];
    let server = Pgflight::start_with(&database, &options);
    let mut client = connect(&server).await;
    let id = client.begin_transaction().await.unwrap();
    assert_eq!(
        database.text(KEPT).await,
        "0",
        "it is opened by its first work"
    );
    let rows = within(&id, into("t", APPEND));
    ingest(&mut client, rows, &[ids(&[1])]).await.unwrap();
    let gone = async || database.text(KEPT).await == "0";
    wait_until(gone, "the transaction is rolled back").await;
    let late = end(&mut client, &id, EndTransaction::Commit).await;
    let late = late.unwrap_err();
    assert!(late.message.contains("sent nothing for 300ms"), "{late:?}");
    assert_eq!(database.text(IDS).await, "");
}

#[tokio::test]
async fn an_idle_transaction_holds_no_turn_and_counts_for_its_principal() {
    let database = Database::new().await;
    database.execute("CREATE TABLE t (id int)").await;
    let principal = |name: &str| {
        format!(
            "[principals.{name}]\ntokens = ['{}']\ngrants = [{{ tables = ['*.*'], modes = ['append'] }}]\n",
            digest_of(name)
        )
    };
    let file = File::new(&(principal("one") + &principal("two")));
    let options = [
        "--config",
        file.name(),
        "--max-copies",
        "1",
        "--max-transactions",
        "2",
    ];
    let server = Pgflight::start_with(
        &database,
        &[&options[..], &["--copy-wait", "500ms"]].concat(),
    );
    let mut clients = Vec::new();
    for name in ["one", "one", "two"] {
        let mut client = connect(&server).await;
        client.set_token(name.to_owned());
        clients.push(client);
    }
    let mut ids_of = Vec::new();
    for client in &mut clients {
        ids_of.push(client.begin_transaction().await.unwrap());
    }
    let mut outcomes = Vec::new();
    for (client, id) in clients.iter_mut().zip(&ids_of) {
        let rows = within(id, into("t", APPEND));
        let sent = ingest(client, rows, &[ids(&[1])]).await;
        outcomes.push(sent.map_err(|error| error.code));
    }
    // Half of two is one transaction for each principal.
    assert_eq!(outcomes, [Ok(1), Err(Code::Unavailable), Ok(1)]);
    ingest(&mut clients[0], into("t", APPEND), &[ids(&[2])])
        .await
        .unwrap();
    let foreign = end(&mut clients[2], &ids_of[0], EndTransaction::Commit).await;
    assert_eq!(foreign.unwrap_err().code, Code::NotFound);
    end(&mut clients[0], &ids_of[0], EndTransaction::Commit)
        .await
        .unwrap();
    assert_eq!(database.text(IDS).await, "1,2");
}

#[tokio::test]
async fn a_transaction_whose_connection_died_keeps_nothing() {
    let (database, _server, mut client) = setup("CREATE TABLE t (id int)").await;
    let id = client.begin_transaction().await.unwrap();
    let rows = within(&id, into("t", APPEND));
    ingest(&mut client, rows, &[ids(&[1])]).await.unwrap();
    let kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                WHERE datname = current_database() AND application_name LIKE 'pgflight % transaction'";
    database.execute(kill).await;
    let ended = end(&mut client, &id, EndTransaction::Commit).await;
    assert_eq!(ended.unwrap_err().code, Code::Unavailable);
    let again = end(&mut client, &id, EndTransaction::Commit).await;
    assert!(again.unwrap_err().message.contains("rolled back"));
    assert_eq!(database.text(IDS).await, "");
}

#[tokio::test]
async fn a_server_that_drains_lets_transactions_end() {
    let (database, mut server, mut client) = setup("CREATE TABLE t (id int)").await;
    let id = begin_session(&mut client).await;
    ingest(&mut client, into("t", APPEND), &[ids(&[1])])
        .await
        .unwrap();
    server.signal("TERM");
    let draining = async || server.log().iter().any(|line| line.contains("draining"));
    wait_until(draining, "the server drains").await;
    ingest(&mut client, into("t", APPEND), &[ids(&[2])])
        .await
        .unwrap();
    end(&mut client, &id, EndTransaction::Commit).await.unwrap();
    // ADBC's driver does this within its commit.
    begin_session(&mut client).await;
    let late = ingest(&mut client, into("t", APPEND), &[ids(&[3])]).await;
    assert_eq!(late.unwrap_err().code, Code::Unavailable, "no new work");
    drop(client);
    assert!(server.wait(Duration::from_secs(60)).success());
    assert_eq!(database.text(IDS).await, "1,2");
}

#[tokio::test]
async fn a_transaction_that_is_repeated_in_part_is_rolled_back() {
    let (database, server, mut plain) = setup("CREATE TABLE t (id int)").await;
    let mut named = Vec::new();
    for name in ["w1", "w2"] {
        let mut client = connect(&server).await;
        client.set_header("x-pgflight-write-id", name);
        named.push(client);
    }
    // The transactions by their work: ingests with the id of this number, and statements.
    let check = async |plain: &mut SqlClient,
                       named: &mut [SqlClient],
                       work: &[&str],
                       is_done: bool| {
        let sql = "DROP SCHEMA IF EXISTS pgflight CASCADE; DROP TABLE IF EXISTS t; CREATE TABLE t (id int)";
        database.execute(sql).await;
        for round in 0..2 {
            let id = plain.begin_transaction().await.unwrap();
            let mut outcome = Ok(());
            for (number, part) in (1..).zip(work) {
                let rows = within(&id, into("t", APPEND));
                let done = match part.parse::<usize>() {
                    Ok(client) => ingest(&mut named[client - 1], rows, &[ids(&[number])])
                        .await
                        .map(drop),
                    Err(_) if *part == "rows" => {
                        ingest(plain, rows, &[ids(&[number])]).await.map(drop)
                    }
                    Err(_) => {
                        let done = plain
                            .execute_update((*part).to_owned(), Some(id.clone()))
                            .await;
                        done.map(drop).map_err(call_error)
                    }
                };
                if done.is_err() {
                    outcome = done;
                    break;
                }
            }
            if outcome.is_ok() {
                outcome = end(plain, &id, EndTransaction::Commit).await;
            }
            let is_first = round == 0;
            assert_eq!(
                outcome.is_ok(),
                is_first || is_done,
                "{work:?}: {outcome:?}"
            );
            if let Err(error) = outcome {
                assert!(
                    error.message.contains("was committed before"),
                    "{work:?}: {error:?}"
                );
                end(plain, &id, EndTransaction::Rollback).await.ok();
            }
            let count = database.text("SELECT count(*) > 0 FROM t").await;
            assert_eq!(count, "true", "{work:?}: the rows of the first run");
        }
    };
    check(&mut plain, &mut named, &["1"], true).await;
    check(&mut plain, &mut named, &["1", "2"], true).await;
    check(&mut plain, &mut named, &["DELETE FROM t", "1", "2"], false).await;
    check(&mut plain, &mut named, &["TRUNCATE t", "1"], false).await;
    check(&mut plain, &mut named, &["1", "rows"], false).await;
    check(&mut plain, &mut named, &["rows", "1"], false).await;
}

#[tokio::test]
async fn an_ingest_finds_no_temporary_table_of_the_ingest_before() {
    let sql = "
        CREATE TABLE leaver (id int); CREATE TABLE audit (n int); CREATE TABLE seen (id int);
        CREATE FUNCTION leave() RETURNS trigger LANGUAGE plpgsql AS
            'BEGIN CREATE TEMP TABLE audit (n int); RETURN NULL; END';
        CREATE TRIGGER leave AFTER INSERT ON leaver FOR EACH STATEMENT EXECUTE FUNCTION leave();
        CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS
            'BEGIN INSERT INTO audit VALUES (1); RETURN NEW; END';
        CREATE TRIGGER see BEFORE INSERT ON seen FOR EACH ROW EXECUTE FUNCTION see()";
    let (database, _server, mut client) = setup(sql).await;
    let id = client.begin_transaction().await.unwrap();
    for table in ["leaver", "seen"] {
        let command = within(&id, into(table, APPEND));
        ingest(&mut client, command, &[ids(&[1])]).await.unwrap();
    }
    end(&mut client, &id, EndTransaction::Commit).await.unwrap();
    assert_eq!(database.text("SELECT count(*) FROM audit").await, "1");
}
