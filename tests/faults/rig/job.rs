//! A job as Spark runs it: a driver that begins and commits, and tasks that are retried.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, Int32Array, RecordBatch, StringArray};
use fastrand::Rng;
use futures_util::future::join_all;
use serde_json::Value;
use tonic::{Code, Status};

use super::world::World;
use crate::support::{CallError, Client, Put, attempt, batch};

/// The rows of one save: (part, seq, payload), the payload made from the other two.
pub struct Job {
    pub write_id: String,
    pub spec: Value,
    pub partitions: u32,
    pub rows: u32,
    pub seed: u64,
    pub before_commit: BeforeCommit,
}

/// The event after all tasks are done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BeforeCommit {
    Nothing,
    /// The driver aborts.
    GivesUp,
    /// PostgreSQL crashes.
    Crash,
    /// The primary is gone, and its standby takes its place.
    FailOver,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    Committed,
    Aborted,
    /// PostgreSQL crashed and lost staged rows: the write was aborted and reports it.
    StagingLost,
}

/// Longest time that a call waits for an answer, like a client's keepalive.
const PATIENCE: Duration = Duration::from_secs(4);
/// Long enough for every fault of a run to pass, and for PostgreSQL to come back.
const PATIENCE_IN_ALL: Duration = Duration::from_secs(60);

impl Job {
    /// Runs the job to its end through all faults.
    pub async fn run(&self, world: &World) -> End {
        let mut rng = Rng::with_seed(self.seed);
        let crashes = world.crashes();
        let empty = rows(0, 0);
        let begun = self
            .insist(world, rng.fork(), async |client| {
                client
                    .begin(&self.write_id, self.spec.clone(), &empty)
                    .await
            })
            .await;
        assert_ne!(begun["state"], "WRITE_STATE_ABORTED");
        let tasks = (0..self.partitions).map(|partition| self.task(world, partition, rng.fork()));
        let receipts: Vec<Value> = join_all(tasks).await;
        match self.before_commit {
            BeforeCommit::Crash => world.crash().await,
            BeforeCommit::FailOver => world.fail_over().await,
            BeforeCommit::Nothing | BeforeCommit::GivesUp => {}
        }
        if self.before_commit == BeforeCommit::GivesUp {
            let status = self
                .insist(world, rng.fork(), async |client| {
                    client.abort(&self.write_id).await
                })
                .await;
            assert_eq!(status["state"], "WRITE_STATE_ABORTED");
            return End::Aborted;
        }
        let committed = self
            .until_answered(world, rng.fork(), async |client| {
                client.commit(&self.write_id, &receipts).await
            })
            .await;
        let status = match committed {
            Ok(status) => status,
            Err(error) => {
                assert!(
                    world.crashes() > crashes && error.message.contains("staging_lost"),
                    "{}: {}",
                    error.reason,
                    error.message
                );
                return End::StagingLost;
            }
        };
        assert_eq!(status["state"], "WRITE_STATE_COMMITTED");
        assert_eq!(
            status["rowCount"],
            (self.partitions * self.rows).to_string()
        );
        if rng.bool() {
            // Spark does that when the answer to the commit was lost.
            let status = self
                .insist(world, rng.fork(), async |client| {
                    client.abort(&self.write_id).await
                })
                .await;
            assert_eq!(
                status["state"], "WRITE_STATE_COMMITTED",
                "an abort after the commit changes nothing"
            );
        }
        End::Committed
    }

    /// Sends a partition until one attempt is accepted, and returns its receipt.
    async fn task(&self, world: &World, partition: u32, mut rng: Rng) -> Value {
        if rng.u8(..4) == 0 {
            // The input of the task failed in the JVM: the rows end early, the end record matches the rows that
            // arrived, and Spark discards the valid receipt.
            let id = format!("{partition}-truncated");
            let cut = rows(partition, self.rows * 2 / 3);
            let put = Put::whole(attempt(&self.write_id, partition, &id), &[cut]);
            self.try_once(world, &mut rng, async |client| {
                client.put(put.clone()).await
            })
            .await
            .ok();
        }
        let began = Instant::now();
        for number in 0.. {
            assert!(
                began.elapsed() < PATIENCE_IN_ALL,
                "partition {partition} of {} was never taken",
                self.write_id
            );
            let id = format!("{partition}-{number}");
            let mut twin = rng.fork();
            let put = |id: &str| {
                Put::whole(
                    attempt(&self.write_id, partition, id),
                    &self.batches(partition),
                )
            };
            let first = put(&id);
            let outcome = if rng.u8(..5) == 0 {
                // Speculation: two attempts at once, whichever is accepted.
                let second = put(&format!("{id}-twin"));
                let (first, second) = tokio::join!(
                    self.try_once(world, &mut rng, async |client| client
                        .put(first.clone())
                        .await),
                    self.try_once(world, &mut twin, async |client| client
                        .put(second.clone())
                        .await)
                );
                second.or(first)
            } else {
                self.try_once(world, &mut rng, async |client| {
                    client.put(first.clone()).await
                })
                .await
            };
            match outcome {
                Ok(receipt) => return receipt,
                Err(status) => assert!(not_retryable(&status).is_none(), "{status}"),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        unreachable!("it is tried until it is taken");
    }

    fn batches(&self, partition: u32) -> Vec<RecordBatch> {
        let all = rows(partition, self.rows);
        let step = usize::try_from(self.rows / 3).unwrap().max(1);
        (0..all.num_rows())
            .step_by(step)
            .map(|from| all.slice(from, step.min(all.num_rows() - from)))
            .collect()
    }

    /// Repeats an idempotent call until it is answered.
    async fn insist(
        &self,
        world: &World,
        rng: Rng,
        call: impl AsyncFnMut(&mut Client) -> Result<Value, Status>,
    ) -> Value {
        let answer = self.until_answered(world, rng, call).await;
        answer.unwrap_or_else(|error| panic!("{}: {}", error.reason, error.message))
    }

    /// Repeats an idempotent call until it succeeds or fails with an error that is not retryable.
    async fn until_answered(
        &self,
        world: &World,
        mut rng: Rng,
        mut call: impl AsyncFnMut(&mut Client) -> Result<Value, Status>,
    ) -> Result<Value, CallError> {
        let began = Instant::now();
        while began.elapsed() < PATIENCE_IN_ALL {
            match self.try_once(world, &mut rng, &mut call).await {
                Ok(answer) => return Ok(answer),
                Err(status) => {
                    if let Some(error) = not_retryable(&status) {
                        return Err(error);
                    }
                }
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("no answer for {}", self.write_id);
    }

    async fn try_once(
        &self,
        world: &World,
        rng: &mut Rng,
        mut call: impl AsyncFnMut(&mut Client) -> Result<Value, Status>,
    ) -> Result<Value, Status> {
        let address = &world.replicas[rng.usize(..2)].proxy.address;
        let answer = tokio::time::timeout(PATIENCE, async {
            let mut client = Client::try_connect(address).await?;
            call(&mut client).await
        });
        answer
            .await
            .unwrap_or_else(|_| Err(Status::unavailable("no answer in time")))
    }
}

/// Returns the server's error if it is not retryable. An error of the transport is retryable.
fn not_retryable(status: &Status) -> Option<CallError> {
    if status.details().is_empty() {
        let of_transport = matches!(
            status.code(),
            Code::Unavailable | Code::Unknown | Code::Cancelled | Code::Internal
        );
        assert!(of_transport, "{status}");
        return None;
    }
    let error = CallError::from(status.clone());
    (error.details["retryable"] != "true").then_some(error)
}

/// Returns the first rows of a partition.
pub fn rows(partition: u32, count: u32) -> RecordBatch {
    let partition = i32::try_from(partition).unwrap();
    let sequence: Vec<i32> = (0..i32::try_from(count).unwrap()).collect();
    let payloads: Vec<String> = sequence
        .iter()
        .map(|seq| format!("{partition}:{seq}"))
        .collect();
    batch(&[
        (
            "part",
            Arc::new(Int32Array::from(vec![partition; sequence.len()])) as ArrayRef,
        ),
        ("seq", Arc::new(Int32Array::from(sequence))),
        ("payload", Arc::new(StringArray::from(payloads))),
    ])
}
