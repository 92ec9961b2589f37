//! Ingests that end without the client's end of stream.

use arrow::array::RecordBatch;
use arrow_flight::sql::ProstMessageExt;
use arrow_flight::utils::batches_to_flight_data;
use arrow_flight::{FlightData, FlightDescriptor};
use futures_util::{StreamExt, stream};
use prost::Message;

use super::{APPEND, ids, ingest, into, setup};
use crate::hostile::wire::{DATA, END_HEADERS, HEADERS, RST_STREAM, Wire, frame, message, put};
use crate::support::{COPIES, Client, Database, client_process, wait_until};

/// Half of an ingest, after which the client sends nothing more.
fn half(rows: RecordBatch) -> Vec<FlightData> {
    let mut messages = batches_to_flight_data(&rows.schema(), &[rows]).unwrap();
    let command = into("t", APPEND).as_any().encode_to_vec();
    messages[0].flight_descriptor = Some(FlightDescriptor::new_cmd(command));
    messages
}

async fn no_copy_runs(database: &Database) {
    let none = async || database.text(COPIES).await == "0";
    wait_until(none, "the COPY has ended").await;
}

/// A client whose user cancels, or whose deadline passes, sends RST_STREAM.
#[tokio::test]
async fn an_ingest_that_is_reset_leaves_nothing() {
    let (database, server, mut client) = setup("CREATE TABLE t (id int)").await;
    // NO_ERROR, INTERNAL_ERROR and CANCEL (RFC 9113, 7).
    for reason in [0_u32, 2, 8] {
        let wire = Wire::open(&server);
        let messages = half(ids(&[1, 2])).into_iter();
        let messages = messages.map(|half| frame(DATA, 0, 1, &message(&half.encode_to_vec())));
        let messages: Vec<_> = messages.collect();
        assert!(wire.send(&frame(HEADERS, END_HEADERS, 1, &put())));
        assert!(wire.send(&messages.concat()));
        let runs = async || database.text(COPIES).await == "1";
        wait_until(runs, "the COPY runs").await;
        assert!(wire.send(&frame(RST_STREAM, 0, 1, &reason.to_be_bytes())));
        no_copy_runs(&database).await;
        let count = database.text("SELECT count(*) FROM t").await;
        assert_eq!(count, "0", "after a reset for reason {reason}");
    }
    ingest(&mut client, into("t", APPEND), &[ids(&[1])])
        .await
        .unwrap();
    assert_eq!(database.text("SELECT count(*) FROM t").await, "1");
}

#[tokio::test]
async fn a_client_that_dies_in_an_ingest_leaves_nothing() {
    let (database, server, _client) = setup("CREATE TABLE t (id int)").await;
    let process = client_process();
    let address = server.address.clone();
    let endless = stream::iter(half(ids(&[1, 2]))).chain(stream::pending());
    process.spawn(async move { Client::connect(&address).await.put_stream(endless).await });
    let runs = async || database.text(COPIES).await == "1";
    wait_until(runs, "the COPY runs").await;
    process.shutdown_background();
    no_copy_runs(&database).await;
    assert_eq!(database.text("SELECT count(*) FROM t").await, "0");
}
