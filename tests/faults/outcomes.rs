//! The outcome of a transaction when PostgreSQL answers COMMIT with ROLLBACK or does not answer, and the error of the
//! caller while the ledger cannot be read.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, Int32Array, RecordBatch};
use serde_json::{Value, json};
use tonic::Status;

use crate::rig::proxy::{COMMIT, Proxy, Trap, Weather};
use crate::support::{
    CallError, Client, Database, Pgflight, Put, attempt, batch, wait_until, write,
};

/// A server behind a proxy. It sends no COMMIT except those of its calls.
struct Place {
    database: Database,
    link: Proxy,
    _server: Pgflight,
    client: Client,
}

impl Place {
    async fn new(sql: &str) -> Self {
        let database = Database::new().await;
        database.execute(sql).await;
        let link = Proxy::start().await;
        let (user, rest) = database.url.split_once('@').unwrap();
        let (address, name) = rest.split_once('/').unwrap();
        link.point_at(address);
        let url = format!("{user}@{}/{name}", link.address);
        let options = ["--reaper-interval", "1h", "--fan-out", "1"];
        let server = Pgflight::start_at(&url, &options);
        let client = server.client().await;
        Self {
            database,
            link,
            _server: server,
            client,
        }
    }

    async fn rows(&self) -> String {
        self.database.text("SELECT n FROM t ORDER BY n").await
    }

    async fn state(&self) -> String {
        let state = "SELECT state FROM pgflight.write WHERE write_id = 'w'";
        self.database.text(state).await
    }

    async fn begin(&mut self, spec: &Value) -> Result<Value, Status> {
        self.client.begin("w", spec.clone(), &rows(&[])).await
    }

    async fn attempt(&mut self) -> Result<Value, Status> {
        let put = Put::whole(attempt("w", 0, "a"), &[rows(&[2, 3])]);
        self.client.put(put).await
    }

    async fn stream(&mut self, spec: &Value) -> Result<Value, Status> {
        let put = Put::whole(write(spec.clone()), &[rows(&[2, 3])]);
        self.client.put(put).await
    }
}

fn rows(values: &[i32]) -> RecordBatch {
    batch(&[("n", Arc::new(Int32Array::from(values.to_vec())) as ArrayRef)])
}

const TABLE: &str = "CREATE TABLE t (n int); INSERT INTO t VALUES (1)";
const KEYED: &str = "CREATE TABLE t (n int PRIMARY KEY); INSERT INTO t VALUES (1)";

fn staged() -> Value {
    json!({"table": "t", "append": {"publish": "PUBLISH_STAGED"}})
}

fn two_phase() -> Value {
    json!({"table": "t", "append": {"publish": "PUBLISH_TWO_PHASE"}})
}

fn overwrite(with: &str) -> Value {
    json!({"table": "t", "overwrite": {"with": with}})
}

/// Checks that the error is retryable.
fn assert_retryable(answer: Result<Value, Status>, what: &str) -> CallError {
    let error = CallError::from(answer.expect_err(what));
    assert_eq!(error.reason, "UNAVAILABLE", "{what}: {}", error.message);
    assert_eq!(error.details["retryable"], "true", "{what}");
    error
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_stream_whose_commit_rolls_back_gets_no_receipt() {
    let upsert = json!({"table": "t", "upsert": {"keys": ["n"]}});
    for (table, spec, after) in [
        (TABLE, json!({"table": "t", "append": {}}), "1,2,3"),
        (TABLE, overwrite("OVERWRITE_WITH_TRUNCATE"), "2,3"),
        (TABLE, overwrite("OVERWRITE_WITH_DELETE"), "2,3"),
        (TABLE, overwrite("OVERWRITE_WITH_SWAP"), "2,3"),
        (
            TABLE,
            json!({"table": "t", "overwrite": {"replaceBy": ["n"]}}),
            "1,2,3",
        ),
        (
            TABLE,
            json!({"table": "t", "overwrite": {"replaceWhere": "n > 0"}}),
            "2,3",
        ),
        (KEYED, upsert, "1,2,3"),
    ] {
        let what = spec.to_string();
        let mut place = Place::new(table).await;
        place.link.set_trap(Trap::RollBack, COMMIT, 1);
        let error = assert_retryable(place.stream(&spec).await, &what);
        assert!(
            error.message.contains("ROLLBACK"),
            "{what}: {}",
            error.message
        );
        assert_eq!(place.link.answers_to_lose(), 0, "{what}");
        assert_eq!(place.rows().await, "1", "{what}: nothing is kept");
        place.stream(&spec).await.unwrap();
        assert_eq!(place.rows().await, after, "{what}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_call_whose_commit_rolls_back_can_be_retried() {
    for spec in [staged(), two_phase(), overwrite("OVERWRITE_WITH_SWAP")] {
        let what = spec.to_string();
        let mut place = Place::new(TABLE).await;
        // Creates the ledger.
        place.client.abort("other").await.unwrap();

        place.link.set_trap(Trap::RollBack, COMMIT, 1);
        assert_retryable(place.begin(&spec).await, &what);
        assert_eq!(place.state().await, "", "{what}: it has not begun");
        place.begin(&spec).await.unwrap();

        let recorded = "SELECT count(*) FROM pgflight.attempt";
        for statement in [COMMIT, "PREPARE TRANSACTION"] {
            if statement == COMMIT || spec == two_phase() {
                place.link.set_trap(Trap::RollBack, statement, 1);
                assert_retryable(place.attempt().await, &what);
                assert_eq!(place.link.answers_to_lose(), 0, "{what} {statement}");
                assert_eq!(
                    place.database.text(recorded).await,
                    "0",
                    "{what} {statement}"
                );
            }
        }
        let receipts = [place.attempt().await.unwrap()];

        place.link.set_trap(Trap::RollBack, COMMIT, 1);
        assert_retryable(place.client.commit("w", &receipts).await, &what);
        assert_eq!(place.state().await, "open", "{what}: nothing is decided");
        assert_eq!(place.rows().await, "1", "{what}");

        let status = place.client.commit("w", &receipts).await.unwrap();
        assert_eq!(status["state"], "WRITE_STATE_COMMITTED", "{what}");
        let after = if what.contains("append") {
            "1,2,3"
        } else {
            "2,3"
        };
        assert_eq!(place.rows().await, after, "{what}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_abort_whose_commit_rolls_back_is_retried() {
    let mut place = Place::new(TABLE).await;
    place.begin(&staged()).await.unwrap();
    place.link.set_trap(Trap::RollBack, COMMIT, 1);
    assert_retryable(place.client.abort("w").await, "abort");
    assert_eq!(place.state().await, "open");
    let status = place.client.abort("w").await.unwrap();
    assert_eq!(status["state"], "WRITE_STATE_ABORTED");
}

/// The end of the answer to a COMMIT that is held while the ledger is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    /// The answer arrives.
    Comes,
    /// The connection breaks.
    IsLost,
}

/// A ledger that cannot be read, by kinds of error that are not retryable in themselves.
const BREAK: [(&str, &str); 2] = [
    (
        "ALTER TABLE pgflight.write RENAME spec TO specs",
        "ALTER TABLE pgflight.write RENAME specs TO spec",
    ),
    (
        "ALTER TABLE pgflight.write RENAME TO writes",
        "ALTER TABLE pgflight.writes RENAME TO write",
    ),
];

/// Makes a call, breaks the ledger while the answer to its COMMIT is held, and returns the result of the call.
async fn in_between(
    place: &Place,
    then: Then,
    (breaks, restores): (&str, &str),
    until: &str,
    call: impl Future<Output = Result<Value, Status>>,
) -> Result<Value, Status> {
    place.link.set_trap(Trap::HoldAnswer, COMMIT, 1);
    let meanwhile = async {
        wait_until(async || place.database.text(until).await == "true", until).await;
        place.database.execute(breaks).await;
        match then {
            Then::Comes => place.link.release(),
            Then::IsLost => place.link.cut(),
        }
    };
    let (answer, ()) = tokio::join!(call, meanwhile);
    place.database.execute(restores).await;
    answer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_decided_commit_is_never_reported_as_failed() {
    for spec in [staged(), two_phase(), overwrite("OVERWRITE_WITH_TRUNCATE")] {
        for broken in BREAK {
            for then in [Then::Comes, Then::IsLost] {
                let what = format!("{spec} {broken:?} {then:?}");
                let mut place = Place::new(TABLE).await;
                place.begin(&spec).await.unwrap();
                let receipts = [place.attempt().await.unwrap()];
                let mut client = Client::over(place.client.channel.clone());
                let until = "SELECT state <> 'open' FROM pgflight.write";
                let committing = client.commit("w", &receipts);
                let error = in_between(&place, then, broken, until, committing).await;
                let error = assert_retryable(error, &what);
                match then {
                    Then::Comes => {
                        assert_eq!(error.details["decided"], "true", "{what}");
                        assert!(
                            error.message.contains("decided"),
                            "{what}: {}",
                            error.message
                        );
                    }
                    Then::IsLost => assert!(
                        error
                            .message
                            .contains("commit again with the same receipts"),
                        "{what}: {}",
                        error.message
                    ),
                }
                let status = place.client.commit("w", &receipts).await.unwrap();
                assert_eq!(status["state"], "WRITE_STATE_COMMITTED", "{what}");
                let after = if what.contains("append") {
                    "1,2,3"
                } else {
                    "2,3"
                };
                assert_eq!(place.rows().await, after, "{what}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_call_that_may_have_worked_says_so_while_the_ledger_is_away() {
    for broken in BREAK {
        for then in [Then::Comes, Then::IsLost] {
            let what = format!("{broken:?} {then:?}");
            let mut place = Place::new(TABLE).await;
            place.client.abort("other").await.unwrap();
            let mut client = Client::over(place.client.channel.clone());
            let empty = rows(&[]);
            let begun = "SELECT EXISTS (SELECT FROM pgflight.write WHERE write_id = 'w')";
            let beginning = client.begin("w", staged(), &empty);
            let answer = in_between(&place, then, broken, begun, beginning).await;
            match then {
                Then::Comes => drop(answer.unwrap()),
                Then::IsLost => drop(assert_retryable(answer, &format!("begin {what}"))),
            }
            place.begin(&staged()).await.unwrap();

            let attempts = (
                "ALTER TABLE pgflight.attempt RENAME gid TO g",
                "ALTER TABLE pgflight.attempt RENAME g TO gid",
            );
            let mut client = Client::over(place.client.channel.clone());
            let put = Put::whole(attempt("w", 0, "a"), &[rows(&[2, 3])]);
            let recorded = "SELECT EXISTS (SELECT FROM pgflight.attempt)";
            let sending = client.put(put);
            let answer = in_between(&place, then, attempts, recorded, sending).await;
            match then {
                Then::Comes => drop(answer.unwrap()),
                Then::IsLost => drop(assert_retryable(answer, &format!("attempt {what}"))),
            }
            let receipt = place.attempt().await.unwrap();
            assert_eq!(receipt["rowCount"], "2", "{what}");

            let mut client = Client::over(place.client.channel.clone());
            let aborted = "SELECT state = 'aborted' FROM pgflight.write WHERE write_id = 'w'";
            let error = in_between(&place, then, broken, aborted, client.abort("w")).await;
            let error = assert_retryable(error, &format!("abort {what}"));
            assert!(error.message.contains("abort"), "{what}: {}", error.message);
            let status = place.client.abort("w").await.unwrap();
            assert_eq!(status["state"], "WRITE_STATE_ABORTED", "{what}");
            assert_eq!(place.rows().await, "1", "{what}");
        }
    }
}

/// Sends a stream whose COMMIT the proxy traps. PostgreSQL is away for this time afterwards.
async fn stream_while_away(trap: Trap, away: Duration) -> (Result<Value, Status>, String) {
    let mut place = Place::new(TABLE).await;
    place.link.set_trap(trap, COMMIT, 1);
    let spec = json!({"table": "t", "append": {}});
    let mut client = Client::over(place.client.channel.clone());
    let put = Put::whole(write(spec.clone()), &[rows(&[2, 3])]);
    let meanwhile = async {
        wait_until(
            async || place.link.answers_to_lose() == 0,
            "COMMIT is on its way",
        )
        .await;
        if trap == Trap::Vanish {
            place.link.set(Weather::Away);
            tokio::time::sleep(away).await;
            place.link.set(Weather::Fair);
        }
    };
    let (answer, ()) = tokio::join!(client.put(put), meanwhile);
    let found = place.rows().await;
    place.link.set(Weather::Fair);
    if answer.is_err() && found == "1" {
        place.stream(&spec).await.unwrap();
    }
    (answer, found)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_stream_learns_how_its_commit_ended_when_postgresql_is_back() {
    let away = Duration::from_secs(14);
    let (carried_out, vanished) = tokio::join!(
        stream_while_away(Trap::GoAway(away), away),
        stream_while_away(Trap::Vanish, away)
    );
    assert_eq!(carried_out.0.unwrap()["rowCount"], "2");
    assert_eq!(carried_out.1, "1,2,3");
    let error = assert_retryable(vanished.0, "a COMMIT that did not arrive");
    assert!(
        error
            .message
            .contains("PostgreSQL rolled the transaction back"),
        "{}",
        error.message
    );
    assert_eq!(vanished.1, "1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_stream_in_doubt_is_not_retryable() {
    let away = Duration::from_secs(75);
    let (answer, found) = stream_while_away(Trap::GoAway(away), away).await;
    let error = CallError::from(answer.expect_err("PostgreSQL cannot be asked"));
    assert_eq!(error.details["retryable"], "false", "{}", error.message);
    assert!(
        error
            .message
            .contains("look into the table before you write the rows again"),
        "{}",
        error.message
    );
    assert_eq!(found, "1,2,3", "and here they are");
}
