//! `pgflight load`: loads files of rows into a table through a running server, all or none.
//!
//! Each file is an attempt of one write. So several are sent at a time, a file whose stream breaks is sent again, and
//! the commit publishes all or nothing.

mod files;
mod heartbeats;
mod progress;
mod retry;

use std::path::Path;
use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arrow::array::RecordBatch;
use futures_util::stream::{self, Stream, StreamExt, TryStreamExt};
use indicatif::HumanCount;
use pgflight::client::{AttemptReceipt, Client, ClientConfig, RemoteStatus, RemoteWrite};
use pgflight::config::Load;
use pgflight::error::{Error, ErrorKind, Result, one_line};
use pgflight::files::RowFile;
use serde_json::{Map, Value};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use self::heartbeats::Heartbeats;
use self::progress::{FileProgress, Progress};
use self::retry::RetryPolicy;
use super::{eprint, interrupts, print};

/// The time after which a running commit is reported.
const REPORT_AFTER: Duration = Duration::from_secs(1);
/// The number of batches that are read ahead of the stream.
const READ_AHEAD: usize = 2;
/// What a load leaves that fails before its commit, or whose rows the commit rejects.
const NOTHING_WRITTEN: &str = "the load failed: no rows were written";

/// Loads all files.
pub(super) async fn load(options: Load) -> Result<ExitCode> {
    let files = nothing_written(files::open(&options.read))?;
    let Some(schema) = files.first().map(|file| Arc::clone(&file.schema)) else {
        return Err(Error::invalid_command("the command names no file"));
    };
    let client = Client::connect(client_config(&options)?).await;
    let client = nothing_written(client)?;
    let write_id = options.write_id.clone();
    let write = RemoteWrite {
        write_id: write_id.unwrap_or_else(|| format!("load-{}", uuid::Uuid::new_v4())),
        target: options.target.clone(),
        driver: uuid::Uuid::new_v4().to_string(),
    };
    let policy = RetryPolicy(options.retry_timeout);
    let began = Instant::now();
    let spec = spec(&options)?;
    let begin = || client.begin(&write, spec.clone(), &schema);
    let begun = nothing_written(policy.retry("begin", eprint, begin).await)?;
    if begun.is_committed {
        print(&format!(
            "write {} was committed before{}, with {} rows in {}; nothing was sent",
            write.write_id,
            match &*begun.finished_at {
                "" => String::new(),
                at => format!(", at {at}"),
            },
            HumanCount(begun.row_count),
            begun.table
        ));
        return Ok(ExitCode::SUCCESS);
    }
    let _heartbeats = begun
        .heartbeat_interval
        .map(|interval| Heartbeats::start(&client, &write, interval));
    let mut interrupts = interrupts()?;
    let sent = tokio::select! {
        sent = send_all(&client, &write, &files, options.jobs, policy) => sent,
        _ = interrupts.recv() => Err(Error::cancelled("interrupted before the commit")),
    };
    let receipts = match sent {
        Ok(receipts) => receipts,
        Err(error) => {
            // Best effort: otherwise the server aborts the write when its --driver-ttl has passed.
            client.abort(&write, "pgflight load failed").await.ok();
            return nothing_written(Err(error));
        }
    };
    let committed = async {
        let commit = || client.commit(&write, &receipts);
        let mut committing = pin!(policy.retry("commit", eprint, commit));
        tokio::select! {
            done = &mut committing => done,
            () = sleep(REPORT_AFTER) => {
                eprint("all rows are sent; waiting for PostgreSQL to commit them");
                committing.await
            }
        }
    };
    let done = tokio::select! {
        done = committed => done,
        _ = interrupts.recv() => Err(Error::unavailable("interrupted during the commit")),
    };
    let done = done.map_err(|error| unknown_outcome(error, &write.write_id))?;
    report(&done, &files, &receipts, began.elapsed());
    Ok(ExitCode::SUCCESS)
}

/// Reports what a failure before the commit leaves.
fn nothing_written<T>(result: Result<T>) -> Result<T> {
    result.inspect_err(|_| eprint(NOTHING_WRITTEN))
}

/// Reports that the commit's outcome is unknown, and how to find it out.
fn unknown_outcome(error: Error, write_id: &str) -> Error {
    let error = error.with_write_id(write_id);
    // The answer to an earlier try may have been lost, whatever the last try returned.
    if !error.kind().is_retryable() {
        if matches!(
            error.kind(),
            ErrorKind::DataRejected | ErrorKind::SchemaMismatch
        ) {
            eprint(NOTHING_WRITTEN);
        }
        return error;
    }
    error
        .caused("it is not known whether the rows are in the table")
        .with_hint(format!(
            "load them again with --write-id {write_id}, which writes nothing twice"
        ))
}

fn client_config(options: &Load) -> Result<ClientConfig> {
    let read = |path: &Path| {
        std::fs::read(path).map_err(|error| {
            Error::invalid_command(format!("cannot read {}", path.display())).with_source(error)
        })
    };
    let identity = match (&options.tls_cert, &options.tls_key) {
        (Some(certificate), Some(key)) => Some((read(certificate)?, read(key)?)),
        _ => None,
    };
    Ok(ClientConfig {
        url: options.server.clone(),
        token: options.token.clone(),
        authorities: options.tls_ca.as_deref().map(read).transpose()?,
        identity,
    })
}

fn spec(options: &Load) -> Result<Map<String, Value>> {
    let (fields, table) = (options.spec.clone(), options.to.clone());
    super::spec::spec_fields(fields, table, &options.mode, options.keys.clone())
}

/// Sends every file, `jobs` at a time, and shows the progress.
async fn send_all(
    client: &Client,
    write: &RemoteWrite,
    files: &[RowFile],
    jobs: u8,
    policy: RetryPolicy,
) -> Result<Vec<AttemptReceipt>> {
    let counted = |file: &RowFile| (file.byte_count, Arc::clone(&file.bytes_read));
    let progress = Progress::new(files.iter().map(counted));
    let numbered = (0..).zip(files.iter().zip(progress.files()));
    let sending = stream::iter(numbered)
        .map(|(partition, (file, done))| send(client, write, partition, (file, done), policy))
        .buffer_unordered(jobs.into())
        .try_collect();
    let sent = tokio::select! {
        sent = sending => sent,
        () = progress.show() => Err(Error::internal("the progress bar ended before the load")),
    };
    progress.end();
    sent
}

/// Sends a file, and sends it again from the beginning after a retryable error.
async fn send(
    client: &Client,
    write: &RemoteWrite,
    partition: u32,
    (file, done): (&RowFile, &FileProgress),
    policy: RetryPolicy,
) -> Result<AttemptReceipt> {
    let report = |message: &str| done.eprint(message);
    let ready = AtomicBool::new(false);
    let attempt = || {
        done.reset();
        let attempt_id = uuid::Uuid::new_v4().to_string();
        let batches = read(file.clone(), done.clone());
        client.attempt(
            write,
            partition,
            attempt_id,
            Arc::clone(&file.schema),
            batches,
            &ready,
        )
    };
    let sent = policy
        .retry_reset_by(&ready, &file.name, report, attempt)
        .await;
    sent.map_err(|error| in_file(error, file))
}

/// Names the file of an error, and the line of its row.
fn in_file(error: Error, file: &RowFile) -> Error {
    if error.to_string().starts_with("cannot read") {
        return error;
    }
    let line = error.context().row.and_then(|row| file.line_of(row));
    error.caused(match line {
        Some(line) => format!("{}: line {line}", file.name),
        None => file.name.clone(),
    })
}

/// Returns the batches of a file. Some are read ahead, but not from a pipe: it can be read once, and an attempt that has
/// not begun may be repeated.
fn read(
    file: RowFile,
    done: FileProgress,
) -> impl Stream<Item = Result<RecordBatch>> + Send + 'static {
    let is_pipe = file.byte_count.is_none();
    let ahead = (!is_pipe).then(|| start_reading(file.clone(), done.clone()));
    let receiver = async { ahead.unwrap_or_else(|| start_reading(file, done)) };
    stream::once(receiver).flat_map(|receiver| {
        stream::unfold(receiver, |mut receiver| async {
            receiver.recv().await.map(|batch| (batch, receiver))
        })
    })
}

/// Starts a thread that reads a file and may block on the disk or a pipe. It is no thread of the runtime, which would
/// wait for a pipe before it ends the process.
fn start_reading(file: RowFile, done: FileProgress) -> mpsc::Receiver<Result<RecordBatch>> {
    let (sender, receiver) = mpsc::channel(READ_AHEAD);
    let failed = sender.clone();
    let reading = std::thread::Builder::new().spawn(move || {
        let batches = match file.read() {
            Ok(batches) => batches,
            Err(error) => return drop(sender.blocking_send(Err(error))),
        };
        for batch in batches {
            let count = batch.as_ref().map_or(0, RecordBatch::num_rows);
            // The stream has ended.
            if sender.blocking_send(batch).is_err() {
                return;
            }
            let count = u64::try_from(count).unwrap_or(u64::MAX);
            done.rows.fetch_add(count, Ordering::Relaxed);
        }
    });
    if let Err(error) = reading {
        let error = Error::unavailable("could not start a thread").with_source(error);
        failed.try_send(Err(error)).ok();
    }
    receiver
}

/// Prints the number of rows, and that of each file if there are several.
fn report(done: &RemoteStatus, files: &[RowFile], receipts: &[AttemptReceipt], time: Duration) {
    let file_count = files.len();
    print(&format!(
        "loaded {} rows of {file_count} file{} into {} in {:.1} s",
        HumanCount(done.row_count),
        if file_count == 1 { "" } else { "s" },
        done.table,
        time.as_secs_f64()
    ));
    if file_count == 1 {
        return;
    }
    for (partition, file) in (0..).zip(files) {
        let mut receipts = receipts.iter();
        if let Some(receipt) = receipts.find(|receipt| receipt.partition_id() == partition) {
            print(&format!(
                "  {} rows of {}",
                HumanCount(receipt.row_count()),
                one_line(&file.name)
            ));
        }
    }
}
