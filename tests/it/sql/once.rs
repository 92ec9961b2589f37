//! Ingests with a write id: however often they are sent, they happen once.

use std::time::Duration;

use arrow_flight::FlightDescriptor;
use arrow_flight::sql::{EndTransaction, ProstMessageExt};
use arrow_flight::utils::batches_to_flight_data;
use futures_util::{StreamExt, stream};
use pgflight::auth::digest_of;
use prost::Message;
use tonic::Code;

use super::{APPEND, CREATE, CREATE_APPEND, REPLACE, SqlClient, connect, ids, ingest, into, setup};
use crate::support::{Database, File, Pgflight, client_process, wait_until};

/// A client whose ingests have this id and number of rows.
pub(super) async fn client_of(server: &Pgflight, write_id: &str, rows: usize) -> SqlClient {
    let mut client = connect(server).await;
    client.set_header("x-pgflight-write-id", write_id);
    client.set_header("x-pgflight-rows", rows.to_string());
    client
}

const IDS: &str = "SELECT string_agg(id::text, ',' ORDER BY id) FROM t";

#[tokio::test]
async fn a_repeated_ingest_gets_the_stored_answer() {
    let (database, server, _client) = setup("").await;
    let cases = [
        ("created", "DROP TABLE IF EXISTS t", CREATE, "2,3"),
        ("appended", "", APPEND, "2,2,3,3"),
        ("appended again", "", CREATE_APPEND, "2,2,2,3,3,3"),
        ("replaced", "", REPLACE, "2,3"),
        ("made anew", "DROP TABLE IF EXISTS t", CREATE_APPEND, "2,3"),
    ];
    for (write_id, before, mode, expected) in cases {
        database.execute(before).await;
        let mut client = client_of(&server, write_id, 2).await;
        for round in 0..3 {
            let sent = ingest(&mut client, into("t", mode), &[ids(&[2]), ids(&[3])]).await;
            assert_eq!(sent.unwrap(), 2, "{write_id}, round {round}");
            assert_eq!(
                database.text(IDS).await,
                expected,
                "{write_id}, round {round}"
            );
        }
    }
}

#[tokio::test]
async fn an_id_that_was_used_for_another_ingest_is_an_error() {
    let (database, server, _client) =
        setup("CREATE TABLE t (id int, n int); CREATE TABLE other (id int)").await;
    let mut client = client_of(&server, "w", 2).await;
    ingest(&mut client, into("t", APPEND), &[ids(&[2, 3])])
        .await
        .unwrap();
    let mut longer = client_of(&server, "w", 3).await;
    let rows = ids(&[2, 3]);
    let named = arrow::array::RecordBatch::try_from_iter([("n", rows.column(0).clone())]).unwrap();
    let attempts = [
        (
            ingest(&mut longer, into("t", APPEND), &[ids(&[2, 3, 4])]).await,
            "2 rows",
        ),
        (
            ingest(&mut client, into("other", APPEND), &[ids(&[2, 3])]).await,
            "another table",
        ),
        (
            ingest(&mut client, into("t", REPLACE), &[ids(&[2, 3])]).await,
            "mode",
        ),
        (
            ingest(&mut client, into("t", APPEND), &[named]).await,
            "other columns",
        ),
    ];
    for (attempt, what) in attempts {
        let error = attempt.expect_err(what);
        assert_eq!(error.code, Code::AlreadyExists, "{error:?}");
        assert!(error.message.contains(what), "{what}: {error:?}");
        assert_eq!(error.details["hint"], "use a new write id");
        assert_eq!(error.details["write_id"], "w");
    }
    // The stored answer is not for a stream that is shorter than the client says.
    let short = ingest(&mut client, into("t", APPEND), &[ids(&[2])]).await;
    assert_eq!(short.unwrap_err().code, Code::InvalidArgument);
    assert_eq!(database.text(IDS).await, "2,3");
}

#[tokio::test]
async fn a_short_stream_is_discarded_and_may_be_sent_again() {
    let (database, server, _client) = setup("CREATE TABLE t (id int)").await;
    let mut once = client_of(&server, "w", 2).await;
    let mut counted = connect(&server).await;
    counted.set_header("x-pgflight-rows", "2");
    for client in [&mut once, &mut counted] {
        for wrong in [&[2][..], &[2, 3, 4], &[]] {
            let error = ingest(client, into("t", APPEND), &[ids(wrong)])
                .await
                .unwrap_err();
            assert_eq!(error.code, Code::InvalidArgument, "{error:?}");
            assert!(error.message.contains("announced 2 rows"), "{error:?}");
        }
    }
    assert_eq!(database.text("SELECT count(*) FROM t").await, "0");
    ingest(&mut once, into("t", APPEND), &[ids(&[2, 3])])
        .await
        .unwrap();
    ingest(&mut counted, into("t", APPEND), &[ids(&[4, 5])])
        .await
        .unwrap();
    assert_eq!(database.text(IDS).await, "2,3,4,5");
}

/// Clients die at many moments: in mid-stream, and between their last batch and the answer.
#[tokio::test]
async fn a_retry_after_a_cut_connection_completes_the_ingest() {
    let (database, server, _client) = setup("CREATE TABLE t (id int)").await;
    let rounds = 12;
    for round in 0..rounds {
        let write_id = format!("w{round}");
        let rows = [ids(&[2 * round]), ids(&[2 * round + 1])];
        let mut messages = batches_to_flight_data(&rows[0].schema(), &rows).unwrap();
        let command = into("t", APPEND).as_any().encode_to_vec();
        messages[0].flight_descriptor = Some(FlightDescriptor::new_cmd(command));
        let process = client_process();
        let mut client = client_of(&server, &write_id, 2).await;
        let address = server.address.clone();
        let id = write_id.clone();
        let ends = round % 3 != 0;
        if !ends {
            messages.pop();
        }
        process.spawn(async move {
            let channel = crate::support::Client::connect(&address).await.channel;
            let mut cut = SqlClient::new(channel);
            cut.set_header("x-pgflight-write-id", id);
            cut.set_header("x-pgflight-rows", "2");
            let sent = stream::iter(messages);
            match ends {
                true => cut.do_put(sent).await.unwrap().message().await,
                false => {
                    let endless = sent.chain(stream::pending());
                    cut.do_put(endless).await.unwrap().message().await
                }
            }
        });
        let begun = format!("SELECT count(*) FROM pgflight.write WHERE write_id = '{write_id}'");
        let exists = "SELECT to_regclass('pgflight.write') IS NOT NULL";
        let has_begun =
            async || database.text(exists).await == "true" && database.text(&begun).await == "1";
        wait_until(has_begun, "the write has begun").await;
        let moment = Duration::from_millis(u64::try_from(round).unwrap() * 4);
        tokio::time::sleep(moment).await;
        process.shutdown_background();
        let mut tries = 0;
        loop {
            match ingest(&mut client, into("t", APPEND), &rows).await {
                Ok(sent) => break assert_eq!(sent, 2),
                // The first call was committed meanwhile.
                Err(error) => assert_eq!(error.code, Code::Unavailable, "{error:?}"),
            }
            tries += 1;
            assert!(tries < 5, "round {round}");
        }
    }
    let counts = "SELECT (count(*), count(DISTINCT id), max(id)) FROM t";
    let most = 2 * rounds;
    assert_eq!(
        database.text(counts).await,
        format!("({most},{most},{})", most - 1)
    );
}

#[tokio::test]
async fn two_calls_with_one_id_write_once() {
    let (database, server, _client) = setup("CREATE TABLE t (id int)").await;
    for round in 0..5 {
        let write_id = format!("w{round}");
        let send = async || {
            let mut client = client_of(&server, &write_id, 2).await;
            ingest(&mut client, into("t", APPEND), &[ids(&[round, -1])]).await
        };
        let (one, two) = tokio::join!(send(), send());
        assert!(one.is_ok() || two.is_ok(), "{one:?} {two:?}");
        for sent in [one, two] {
            match sent {
                Ok(rows) => assert_eq!(rows, 2),
                Err(error) => assert_eq!(error.code, Code::Unavailable, "{error:?}"),
            }
        }
    }
    let counts = "SELECT (count(*), count(DISTINCT id)) FROM t";
    assert_eq!(database.text(counts).await, "(10,6)");
}

#[tokio::test]
async fn principals_share_no_ids() {
    let database = Database::new().await;
    database.execute("CREATE TABLE t (id int)").await;
    let grants = "grants = [{ tables = ['public.*'], modes = ['append'] }]";
    let file = File::new(&format!(
        "[principals.a]\ntokens = ['{}']\n{grants}\n[principals.b]\ntokens = ['{}']\n{grants}\n",
        digest_of("a"),
        digest_of("b")
    ));
    let server = Pgflight::start_with(&database, &["--config", file.name()]);
    for (token, id) in [("a", 1), ("b", 2), ("a", 1), ("b", 2)] {
        let mut client = client_of(&server, "w", 1).await;
        client.set_token(token.to_owned());
        ingest(&mut client, into("t", APPEND), &[ids(&[id])])
            .await
            .unwrap();
    }
    assert_eq!(database.text(IDS).await, "1,2");
}

/// The rows of a write are not in a table that has its name since.
#[tokio::test]
async fn an_id_answers_no_ingest_into_a_table_that_was_made_anew() {
    let (database, server, mut plain) = setup("").await;
    let make = "DROP TABLE IF EXISTS t, other; CREATE TABLE t (id int)";
    let anew = [
        (
            "DROP TABLE t; CREATE TABLE t (id int)",
            "another table has the name",
        ),
        ("DROP TABLE t", "dropped or renamed"),
        ("ALTER TABLE t RENAME TO other", "dropped or renamed"),
        (
            "ALTER TABLE t RENAME TO other; CREATE TABLE t (id int)",
            "another table has the name",
        ),
        (
            "CREATE SCHEMA s; ALTER TABLE t SET SCHEMA s",
            "dropped or renamed",
        ),
    ];
    for (number, (change, expected)) in anew.into_iter().enumerate() {
        for (mode_name, mode) in [("append", APPEND), ("replace", REPLACE), ("create", CREATE)] {
            for first_in_transaction in [false, true] {
                let case = format!("{change}, {mode_name}, {first_in_transaction}");
                database.execute(make).await;
                database.execute("DROP SCHEMA IF EXISTS s CASCADE").await;
                if mode_name == "create" {
                    database.execute("DROP TABLE t").await;
                }
                let id = format!("{mode_name}{number}{first_in_transaction}");
                let mut client = client_of(&server, &id, 1).await;
                let send = async |client: &mut SqlClient, plain: &mut SqlClient, within: bool| {
                    let mut command = into("t", mode);
                    if !within {
                        return ingest(client, command, &[ids(&[1])]).await;
                    }
                    let begun = plain.begin_transaction().await.unwrap();
                    command.transaction_id = Some(begun.clone());
                    let sent = ingest(client, command, &[ids(&[1])]).await;
                    let end = match sent.is_ok() {
                        true => EndTransaction::Commit,
                        false => EndTransaction::Rollback,
                    };
                    plain.end_transaction(begun, end).await.unwrap();
                    sent
                };
                send(&mut client, &mut plain, first_in_transaction)
                    .await
                    .unwrap();
                for within in [false, true] {
                    let again = send(&mut client, &mut plain, within).await;
                    assert_eq!(again.expect(&case), 1);
                }
                database.execute(change).await;
                for within in [false, true] {
                    let again = send(&mut client, &mut plain, within).await;
                    let error = again.expect_err(&case);
                    assert_eq!(error.code, Code::AlreadyExists, "{case}: {error:?}");
                    assert!(error.message.contains(expected), "{case}: {error:?}");
                    assert_eq!(error.details["write_id"], id.as_str(), "{case}");
                    let hint = error.details["hint"].as_str().to_owned();
                    assert!(hint.contains("new write id"), "{case}: {hint}");
                }
            }
        }
    }
    database.execute("DROP SCHEMA IF EXISTS s CASCADE").await;
}
