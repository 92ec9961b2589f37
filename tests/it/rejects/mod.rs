//! Rows that cannot be written and do not end their write.

mod encoded;
mod limits;
mod refused;
mod tables;
mod unserved;

use arrow::array::RecordBatch;
use serde_json::{Value, json};
use tonic::Status;

use crate::support::{Client, Database, Put, attempt, write};

/// The kinds that are found before PostgreSQL sees a row.
pub(crate) const ENCODED: [&str; 8] = [
    "conversion",
    "range",
    "length",
    "nul",
    "utf8",
    "enum",
    "not_null",
    "document",
];

/// The spec of a write into table t that rejects rows of these kinds, with further fields.
fn rejecting(mode: Value, more: Value) -> Value {
    let mut spec = json!({"table": "t", "onError": "ON_ERROR_REJECT", "rejectKinds": ENCODED});
    for fields in [mode, more] {
        for (name, value) in fields.as_object().unwrap() {
            spec[name] = value.clone();
        }
    }
    spec
}

/// How the rows get to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Door {
    /// One stream.
    Stream,
    /// An attempt of each batch, in a write with this publish method.
    Attempts(&'static str),
}

const DOORS: [Door; 4] = [
    Door::Stream,
    Door::Attempts("PUBLISH_STAGED"),
    Door::Attempts("PUBLISH_TWO_PHASE"),
    Door::Attempts("PUBLISH_DIRECT"),
];

impl Door {
    /// Returns the mode that appends through this door.
    fn append(self) -> Value {
        match self {
            Self::Stream => json!({"append": {}}),
            Self::Attempts(publish) => json!({"append": {"publish": publish}}),
        }
    }

    /// Sends the batches. Returns the receipt of the stream, or the status of the committed write.
    async fn send(
        self,
        client: &mut Client,
        id: &str,
        spec: Value,
        batches: &[RecordBatch],
    ) -> Result<Value, Status> {
        match self {
            Self::Stream => client.put(Put::whole(write(spec), batches)).await,
            Self::Attempts(_) => {
                client.begin(id, spec, &batches[0]).await?;
                let mut receipts = Vec::new();
                for (partition, batch) in (0..).zip(batches) {
                    let command = attempt(id, partition, &format!("a{partition}"));
                    let put = Put::whole(command, std::slice::from_ref(batch));
                    match client.put(put).await {
                        Ok(receipt) => receipts.push(receipt),
                        Err(error) => {
                            client.abort(id).await?;
                            return Err(error);
                        }
                    }
                }
                let committed = client.commit(id, &receipts).await;
                if committed.is_err() {
                    client.abort(id).await?;
                }
                committed
            }
        }
    }
}

/// The rejects that users read, and those that are not published.
async fn rejects(database: &Database, columns: &str) -> (String, String) {
    let published = format!(
        "SELECT concat_ws(' ', {columns}) FROM pgflight.reject ORDER BY partition_id, row_number"
    );
    let staged = "SELECT count(*) FROM pgflight.staged_reject";
    (database.text(&published).await, database.text(staged).await)
}

/// Checks that a write has left one reject, whose message has no value, and deletes it.
async fn check_and_forget(database: &Database, columns: &str, expected: &str, shown: &str) {
    let found = rejects(database, columns).await;
    assert_eq!(found, (expected.to_owned(), "0".to_owned()), "{shown}");
    let message = database.text("SELECT message FROM pgflight.reject").await;
    assert!(
        !message.is_empty() && !message.contains("s3cret"),
        "{shown}: {message}"
    );
    database.execute("TRUNCATE pgflight.reject").await;
}
