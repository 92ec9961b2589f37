//! The headers of an ingest: keyed modes, and what does not go together.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array};
use arrow_flight::sql::{TableExistsOption, TableNotExistOption};
use tonic::Code;

use super::{APPEND, CREATE, CREATE_APPEND, REPLACE, SqlClient, connect, ids, ingest, into, setup};
use crate::support::{Pgflight, Put, batch, path};

async fn client_with(server: &Pgflight, headers: &[(&str, &str)]) -> SqlClient {
    let mut client = connect(server).await;
    for (name, value) in headers {
        client.set_header(format!("x-pgflight-{name}"), *value);
    }
    client
}

#[tokio::test]
async fn keyed_modes_come_by_headers() {
    let (database, server, _client) = setup("").await;
    let numbers = |values: &[i32]| Arc::new(Int32Array::from(values.to_vec())) as ArrayRef;
    let cases = [
        ("upsert", APPEND, "(1,5),(2,6),(3,7)"),
        ("upsert", CREATE_APPEND, "(1,5),(2,6),(3,7)"),
        ("insert_if_absent", APPEND, "(1,0),(2,6),(3,7)"),
        ("update_only", APPEND, "(1,5)"),
        ("delete_by_key", APPEND, ""),
    ];
    for (number, (mode, ingest_mode, expected)) in cases.into_iter().enumerate() {
        let with_id = format!("{mode} {number}");
        for write_id in [None, Some(with_id.as_str())] {
            database
                .execute("DROP TABLE IF EXISTS t; CREATE TABLE t (\"k\" int PRIMARY KEY, v int)")
                .await;
            database.execute("INSERT INTO t VALUES (1, 0)").await;
            let mut headers = vec![("mode", mode), ("keys", " k ")];
            headers.extend(write_id.map(|id| ("write-id", id)));
            let count = if mode == "delete_by_key" { "3" } else { "4" };
            headers.extend(write_id.map(|_| ("rows", count)));
            headers.extend((mode != "delete_by_key").then_some(("order-by", "v")));
            let mut client = client_with(&server, &headers).await;
            let keys = numbers(&[1, 2, 3, 3]);
            let columns = [("k", keys), ("v", numbers(&[5, 6, 4, 7]))];
            let rows = match mode {
                "delete_by_key" => batch(&columns[..1]).slice(0, 3),
                _ => batch(&columns),
            };
            for _ in 0..2 {
                let sent = ingest(
                    &mut client,
                    into("t", ingest_mode),
                    std::slice::from_ref(&rows),
                );
                assert_eq!(sent.await.unwrap().to_string(), count, "{headers:?}");
            }
            let stored = "SELECT coalesce(string_agg(t::text, ',' ORDER BY k), '') FROM t";
            assert_eq!(database.text(stored).await, expected, "{headers:?}");
        }
    }
}

#[tokio::test]
async fn a_keyed_ingest_makes_a_missing_table_with_its_key() {
    let (database, server, _client) = setup("").await;
    let mut client = client_with(&server, &[("mode", "upsert"), ("keys", "id")]).await;
    for _ in 0..2 {
        let sent = ingest(&mut client, into("t", CREATE_APPEND), &[ids(&[1, 2])]).await;
        assert_eq!(sent.unwrap(), 2);
    }
    assert_eq!(database.text("SELECT count(*) FROM t").await, "2");
    let missing = ingest(&mut client, into("no", APPEND), &[ids(&[1])]).await;
    assert_eq!(missing.unwrap_err().code, Code::NotFound);
}

#[tokio::test]
async fn errors_name_the_options_and_modes_of_an_ingest() {
    let (database, server, _client) =
        setup("CREATE TABLE t (id int, v int); CREATE TABLE k (id int PRIMARY KEY)").await;
    let cases: [(Headers, &str, Mode, &str, &str); 6] = [
        (
            &[("mode", "upsert"), ("keys", "id")],
            "t",
            APPEND,
            "or create the index",
            "create the index, or name other keys",
        ),
        (
            &[("mode", "upsert"), ("keys", "id"), ("order-by", "id")],
            "k",
            APPEND,
            "order_by names a key",
            "not a key",
        ),
        (
            &[("mode", "upsert"), ("keys", "id")],
            "k",
            APPEND,
            "more than once",
            "a column in order_by",
        ),
        (
            &[("mode", "update_only"), ("keys", "id")],
            "k",
            APPEND,
            "all columns of the data are keys",
            "name fewer keys",
        ),
        (
            &[],
            "no",
            APPEND,
            "does not exist",
            "in ADBC: create_append",
        ),
        (
            &[],
            "t",
            CREATE,
            "already exists",
            "in ADBC: append, replace or create_append",
        ),
    ];
    for (headers, table, mode, message, hint) in cases {
        let mut client = client_with(&server, headers).await;
        let sent = ingest(&mut client, into(table, mode), &[ids(&[1, 1])]).await;
        let error = sent.unwrap_err();
        let found = error.details["hint"].as_str();
        assert!(
            error.message.contains(message) || message.starts_with("or "),
            "{error:?}"
        );
        assert!(found.contains(hint), "{hint}: {error:?}");
    }
    assert_eq!(database.text("SELECT count(*) FROM k").await, "0");
}

type Headers = &'static [(&'static str, &'static str)];
type Mode = (TableNotExistOption, TableExistsOption);

#[tokio::test]
async fn headers_that_do_not_fit_are_refused_by_name() {
    let (database, server, _client) = setup("CREATE TABLE t (id int PRIMARY KEY)").await;
    let cases: [(Headers, Mode, &str); 16] = [
        (&[("row", "1")], APPEND, "x-pgflight-row is unknown"),
        (&[("rows", "many")], APPEND, "not a number of rows"),
        (&[("rows", "-1")], APPEND, "not a number of rows"),
        (&[("rows", "")], APPEND, "has no text"),
        (&[("write-id", "w")], APPEND, "without x-pgflight-rows"),
        (
            &[("write-id", "stream:w"), ("rows", "1")],
            APPEND,
            "reserved",
        ),
        (&[("keys", "id")], APPEND, "x-pgflight-keys comes without"),
        (
            &[("order-by", "id")],
            APPEND,
            "x-pgflight-order-by comes without",
        ),
        (&[("mode", "append")], APPEND, "unknown value \"append\""),
        (
            &[("mode", "Upsert"), ("keys", "id")],
            APPEND,
            "unknown value",
        ),
        (&[("mode", "upsert")], APPEND, "without x-pgflight-keys"),
        (&[("mode", "upsert"), ("keys", "id,id")], APPEND, "twice"),
        (&[("mode", "upsert"), ("keys", "id,")], APPEND, "is empty"),
        (
            &[("mode", "upsert"), ("keys", "id")],
            CREATE,
            "does not go with",
        ),
        (
            &[("mode", "upsert"), ("keys", "id")],
            REPLACE,
            "does not go with",
        ),
        (
            &[("mode", "update_only"), ("keys", "id")],
            CREATE_APPEND,
            "does not go with",
        ),
    ];
    for (headers, mode, expected) in cases {
        let mut client = client_with(&server, headers).await;
        let error = ingest(&mut client, into("t", mode), &[ids(&[1])])
            .await
            .unwrap_err();
        assert_eq!(error.code, Code::InvalidArgument, "{error:?}");
        assert!(error.message.contains(expected), "{expected}: {error:?}");
    }
    let mut native = server.client().await;
    let put = Put::bare(path(&["t"]), &[ids(&[1])]);
    let mut request = tonic::Request::new(futures_util::stream::iter(put.0));
    request
        .metadata_mut()
        .insert("x-pgflight-rows", "1".parse().unwrap());
    let mut answers = native.flight.do_put(request).await.unwrap().into_inner();
    let refused = answers.message().await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
    assert_eq!(database.text("SELECT count(*) FROM t").await, "0");
}
