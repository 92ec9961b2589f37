//! All hostile clients at once beside a valid write: exactly its rows are written.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow_flight::FlightData;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use pgflight::auth::digest_of;
use serde_json::json;
use tonic::{Code, Status};

use super::{raw, wire};
use crate::support::{
    Client, Database, Pgflight, Put, attempt, batch, end_record, path, wait_until, write,
};

const BATCHES: i64 = 40;
const BATCH_ROWS: i64 = 1000;

/// The attacks that are sent over and over.
#[derive(Clone)]
enum Sent {
    Stream(Vec<FlightData>),
    Action(&'static str, Bytes),
}

impl Sent {
    async fn by(self, client: &mut Client) -> Result<(), Status> {
        match self {
            Self::Stream(messages) => client.put(Put(messages)).await.map(drop),
            Self::Action(action, body) => client.act_bytes(action, body).await.map(drop),
        }
    }
}

/// The attackers, each with the number of its finished rounds. They run until dropped.
#[derive(Default)]
struct Siege {
    is_over: Arc<AtomicBool>,
    rounds: Vec<(&'static str, Arc<AtomicUsize>)>,
    attackers: tokio::task::JoinSet<()>,
}

impl Siege {
    fn join(&mut self, what: &'static str) -> (Arc<AtomicBool>, Arc<AtomicUsize>) {
        let round = Arc::<AtomicUsize>::default();
        self.rounds.push((what, Arc::clone(&round)));
        (Arc::clone(&self.is_over), round)
    }

    /// Calls of a Flight client, which must fail with this code.
    async fn call(&mut self, server: &Pgflight, what: &'static str, sent: Sent, code: Code) {
        let (is_over, round) = self.join(what);
        let mut client = server.client().await.bearing("token");
        self.attackers.spawn(async move {
            while !is_over.load(Ordering::SeqCst) {
                let status = sent.clone().by(&mut client).await.expect_err(what);
                assert_eq!(status.code(), code, "{what}: {status}");
                round.fetch_add(1, Ordering::SeqCst);
            }
        });
    }

    /// Bytes that are not a call.
    fn pester(&mut self, server: &Pgflight, (what, harm): wire::Nuisance) {
        let (is_over, round) = self.join(what);
        let address = server.address.clone();
        self.attackers.spawn_blocking(move || {
            while !is_over.load(Ordering::SeqCst) {
                harm(&address);
                round.fetch_add(1, Ordering::SeqCst);
            }
        });
    }

    /// Waits until each attacker has finished another round.
    async fn goes_on(&self) {
        let counts = || {
            self.rounds
                .iter()
                .map(|(_, round)| round.load(Ordering::SeqCst))
        };
        let before: Vec<usize> = counts().collect();
        for ((what, round), before) in self.rounds.iter().zip(before) {
            // A round that began before may end now, so one of two further rounds is new.
            let more = async || round.load(Ordering::SeqCst) >= before + 2;
            wait_until(more, what).await;
        }
    }

    async fn end(mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        while let Some(ended) = self.attackers.join_next().await {
            ended.unwrap();
        }
    }
}

fn rows(number: i64) -> RecordBatch {
    let ids = number * BATCH_ROWS..(number + 1) * BATCH_ROWS;
    let texts = ids.clone().map(|id| format!("row {id}"));
    batch(&[
        (
            "id",
            Arc::new(Int64Array::from_iter_values(ids)) as ArrayRef,
        ),
        ("s", Arc::new(StringArray::from_iter_values(texts))),
    ])
}

/// Whether the table holds the rows of all batches, each once and unchanged.
const EXACT: &str = "SELECT count(*) || ':' || count(DISTINCT id) || ':'
    || (md5(string_agg(id || ' ' || s, ',' ORDER BY id)) =
        (SELECT md5(string_agg(n || ' row ' || n, ',' ORDER BY n)) FROM generate_series(0, 39999) n))
    FROM good";

#[tokio::test(flavor = "multi_thread")]
async fn a_write_succeeds_amid_hostile_clients() {
    let database = Database::new().await;
    database.execute(raw::TABLE).await;
    database
        .execute("CREATE TABLE good (id bigint PRIMARY KEY, s text)")
        .await;
    let digest = digest_of("token");
    let server = Pgflight::start_with(
        &database,
        &[
            "--token-digest",
            &digest,
            "--log",
            "error,pgflight::cli=info",
        ],
    );
    let mut client = server.client().await.bearing("token");

    let mut siege = Siege::default();
    for (what, messages) in raw::samples() {
        let sent = Sent::Stream(messages);
        siege.call(&server, what, sent, Code::InvalidArgument).await;
    }
    let lies = Put::bare(
        path(&["t"]),
        &[batch(&[(
            "n",
            Arc::new(Int64Array::from(vec![1])) as ArrayRef,
        )])],
    );
    let lies = Sent::Stream(lies.and(end_record(2, 1)).0);
    siege
        .call(
            &server,
            "an end record that lies",
            lies,
            Code::InvalidArgument,
        )
        .await;
    let nested = Sent::Action("begin", vec![b'['; 8 << 10].into());
    siege
        .call(&server, "nested JSON", nested, Code::InvalidArgument)
        .await;
    let unknown =
        json!({"@type": "type.googleapis.com/pgflight.v1.StatusRequest", "writeId": "nought"});
    let unknown = Sent::Action("status", serde_json::to_vec(&unknown).unwrap().into());
    siege
        .call(&server, "an unknown write", unknown, Code::NotFound)
        .await;
    for nuisance in wire::nuisances() {
        siege.pester(&server, nuisance);
    }
    siege.goes_on().await;

    // One stream, whose second half is sent after another round of all attackers.
    let spec = |mode: &str| json!({"table": "good", mode: {}});
    let batches: Vec<RecordBatch> = (0..BATCHES).map(rows).collect();
    let mut messages = Put::whole(write(spec("append")), &batches).0;
    let second = messages.split_off(messages.len() / 2);
    let (go_on, stopped) = tokio::sync::oneshot::channel::<()>();
    let second = stream::once(stopped).flat_map(move |_| stream::iter(second.clone()));
    let mut sender = server.client().await.bearing("token");
    let messages = stream::iter(messages).chain(second);
    let running = tokio::spawn(async move { sender.put_stream(messages).await });
    siege.goes_on().await;
    go_on.send(()).unwrap();
    let receipt = running.await.unwrap().unwrap();
    assert_eq!(receipt["rowCount"], "40000");
    assert_eq!(database.text(EXACT).await, "40000:40000:true");

    // Four partitions replace the rows.
    client
        .begin("w", spec("overwrite"), &rows(0))
        .await
        .unwrap();
    let mut attempts = tokio::task::JoinSet::new();
    for partition in 0..4_u32 {
        let mut client = server.client().await.bearing("token");
        let share = (0..BATCHES).filter(|number| number % 4 == i64::from(partition));
        let share: Vec<RecordBatch> = share.map(rows).collect();
        let put = Put::whole(attempt("w", partition, &format!("a{partition}")), &share);
        attempts.spawn(async move { client.put(put).await.unwrap() });
    }
    let receipts = attempts.join_all().await;
    siege.goes_on().await;
    client.commit("w", &receipts).await.unwrap();
    assert_eq!(database.text(EXACT).await, "40000:40000:true");

    siege.goes_on().await;
    siege.end().await;
    assert_eq!(database.text("SELECT count(*) FROM t").await, "0");
    server.assert_unharmed("all of it").await;
}
