//! The `pgflight` command: arguments, connections, what was asked for, exit status.

use std::fmt::Display;
use std::fs::File;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use clap::error::ErrorKind as ClapErrorKind;
use pgflight::config::{Cli, Command, Migrate, Plan, Postgres, Serve, Writes};
use pgflight::error::{Error, ErrorKind, Result, chain};
use pgflight::flight::{Server, ServerConfig, TlsFiles, read_schema, write_spec_from_json};
use pgflight::pg::{ConnectionConfig, Pool, PoolConfig, migration};
use pgflight::telemetry;
use pgflight::write::{Budget, BudgetConfig, LedgerWrite, ReaperConfig, WriteState, Writer};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// `EX_USAGE` of sysexits.h.
const USAGE: u8 = 64;
/// Connections beside those that carry rows: for begin, commit, abort, status, the catalog and the
/// reaper.
const CONTROL_CONNECTIONS: usize = 4;
/// How long PostgreSQL may take to answer when the server starts.
const START_TIMEOUT: Duration = Duration::from_secs(15);

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // A closed terminal is no reason to fail.
            error.print().ok();
            let asked_for = matches!(
                error.kind(),
                ClapErrorKind::DisplayHelp | ClapErrorKind::DisplayVersion
            );
            return if asked_for {
                ExitCode::SUCCESS
            } else {
                ExitCode::from(USAGE)
            };
        }
    };
    let outcome = tokio::runtime::Runtime::new()
        .map_err(|error| Error::internal("cannot start the runtime").with_source(error))
        .and_then(|runtime| runtime.block_on(run(cli.command)));
    match outcome {
        Ok(code) => code,
        Err(error) => {
            complain(&chain(&error));
            if error.kind() == ErrorKind::InvalidCommand {
                ExitCode::from(USAGE)
            } else {
                ExitCode::FAILURE
            }
        }
    }
}

async fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Serve(options) => serve(*options).await.map(|()| ExitCode::SUCCESS),
        Command::Migrate(options) => migrate(options).await.map(|()| ExitCode::SUCCESS),
        Command::Plan(options) => plan(options).await,
        Command::Writes(options) => list_writes(options).await.map(|()| ExitCode::SUCCESS),
        Command::Abort(options) => {
            let writer = connect(&options.postgres, few_connections(&options.postgres))
                .await?
                .1;
            let status = writer.abort(&options.write_id, &options.reason).await?;
            if status.table.is_empty() {
                say(&format!(
                    "{}: no such write was known; one of this name is refused from now on",
                    status.write_id
                ));
                return Ok(ExitCode::FAILURE);
            }
            say(&format!(
                "{}: {}",
                status.write_id,
                state_name(status.state)
            ));
            Ok(match status.state {
                WriteState::Aborted => ExitCode::SUCCESS,
                WriteState::Open | WriteState::Committing | WriteState::Committed => {
                    ExitCode::FAILURE
                }
            })
        }
    }
}

async fn serve(options: Serve) -> Result<()> {
    telemetry::start(options.log_format, &options.log).map_err(|problem| {
        Error::invalid_command(format!("--log {:?} cannot be read: {problem}", options.log))
    })?;
    let tls = tls_files(&options)?;
    let budget = Budget::new(&BudgetConfig {
        memory_limit: options.memory_limit.as_u64(),
        max_message_bytes: options.max_message_size.as_u64(),
        max_copies: options.max_copies.into(),
        max_connections: options.max_connections.into(),
    })?;
    let (connection, writer) = connect(
        &options.postgres,
        PoolConfig {
            max_copies: options.max_copies.into(),
            wait_timeout: options.copy_wait,
            stall_timeout: options.copy_stall_timeout,
            ..few_connections(&options.postgres)
        },
    )
    .await?;
    let server = Server::bind(
        ServerConfig {
            listen: options.listen,
            tls,
            max_message_bytes: usize::try_from(options.max_message_size.as_u64())
                .unwrap_or(usize::MAX),
            budget,
            idle_timeout: options.idle_timeout,
            stream_timeout: options.stream_timeout,
            max_connections: options.max_connections.into(),
            max_connections_per_peer: options.max_connections_per_peer.into(),
            max_connection_age: options.max_connection_age,
            drain_timeout: options.drain_timeout,
        },
        writer.clone(),
    )
    .await?;
    let reaper = ReaperConfig {
        interval: options.reaper_interval,
        write_ttl: options.write_ttl,
        prepared_ttl: options.prepared_ttl,
        retention: options.retention,
    };
    let stop = CancellationToken::new();
    let reaping = tokio::spawn({
        let stop = stop.clone();
        async move { writer.reap_until(stop, &reaper).await }
    });
    tracing::info!(postgres = %connection, version = env!("CARGO_PKG_VERSION"), "listening on {}", server.address());
    let served = server.serve(asked_to_end()).await;
    stop.cancel();
    // What it was about is another server's or the next start's.
    reaping.abort();
    served
}

/// What TLS is made of. Without it, only this machine is listened to, unless told otherwise.
fn tls_files(options: &Serve) -> Result<Option<TlsFiles>> {
    match (&options.tls_cert, &options.tls_key) {
        (Some(certificate), Some(key)) => Ok(Some(TlsFiles {
            certificate: certificate.clone(),
            key: key.clone(),
            client_authorities: options.tls_client_ca.clone(),
        })),
        _ if options.insecure || options.listen.ip().to_canonical().is_loopback() => Ok(None),
        _ => Err(Error::invalid_command(format!(
            "--listen {} can be reached from other machines, and without TLS anybody in between reads \
             and changes what is sent; give --tls-cert and --tls-key, or --insecure on a network that you \
             trust",
            options.listen
        ))),
    }
}

async fn migrate(options: Migrate) -> Result<()> {
    if options.print {
        say(migration().trim_end());
        return Ok(());
    }
    let (connection, writer) =
        connect(&options.postgres, few_connections(&options.postgres)).await?;
    writer.migrate().await?;
    say(&format!("the ledger is in schema pgflight of {connection}"));
    Ok(())
}

async fn plan(options: Plan) -> Result<ExitCode> {
    let named = |error: &dyn Display| {
        Error::invalid_command(format!("{}: {error}", options.schema.display()))
    };
    let schema = match options.schema.as_os_str().to_str() {
        Some("-") => read_schema(std::io::stdin()),
        _ => read_schema(File::open(&options.schema).map_err(|error| named(&error))?),
    };
    let schema = schema.map_err(|error| named(&error))?;
    let mut fields = options.spec;
    let mode = format!("MODE_{}", options.mode.to_ascii_uppercase());
    fields.insert("table".to_owned(), options.table.into());
    fields.insert("mode".to_owned(), mode.into());
    if !options.keys.is_empty() {
        fields.insert("keys".to_owned(), options.keys.into());
    }
    let spec = write_spec_from_json(fields)?;
    let (_, writer) = connect(&options.postgres, few_connections(&options.postgres)).await?;
    let preview = writer.preview(&spec, &schema).await?;
    if options.json {
        say(&serde_json::to_string(&preview)
            .map_err(|error| Error::internal("cannot print the plan").with_source(error))?);
    } else {
        say(preview.to_string().trim_end());
    }
    Ok(match preview.is_accepted() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

async fn list_writes(options: Writes) -> Result<()> {
    let writer = connect(&options.postgres, few_connections(&options.postgres))
        .await?
        .1;
    let writes = writer.writes(options.limit).await?;
    let heading = [
        "WRITE", "STATE", "TABLE", "ROWS", "ATTEMPTS", "BEGUN", "ENDED", "REASON",
    ]
    .map(str::to_owned);
    let rows: Vec<[String; 8]> = std::iter::once(heading)
        .chain(writes.iter().map(cells))
        .collect();
    let width = |column: usize| {
        rows.iter()
            .map(|row| row[column].chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: [usize; 8] = std::array::from_fn(width);
    for row in &rows {
        let cells: Vec<String> = row
            .iter()
            .zip(widths)
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        say(cells.join("  ").trim_end());
    }
    Ok(())
}

fn cells(write: &LedgerWrite) -> [String; 8] {
    [
        write.write_id.clone(),
        state_name(write.state).to_owned(),
        write
            .target
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default(),
        write.row_count.to_string(),
        write.attempt_count.to_string(),
        write.created_at.clone(),
        write.finished_at.clone(),
        write.reason.clone(),
    ]
}

fn state_name(state: WriteState) -> &'static str {
    match state {
        WriteState::Open => "open",
        WriteState::Committing => "committing",
        WriteState::Committed => "committed",
        WriteState::Aborted => "aborted",
    }
}

/// What a command needs that carries no rows.
fn few_connections(options: &Postgres) -> PoolConfig {
    PoolConfig {
        max_copies: 1,
        control_connections: CONTROL_CONNECTIONS,
        wait_timeout: Duration::ZERO,
        lock_timeout: options.lock_timeout,
        stall_timeout: Duration::ZERO,
    }
}

/// Makes the connections, and one at once to know that there can be any.
async fn connect(options: &Postgres, config: PoolConfig) -> Result<(ConnectionConfig, Writer)> {
    let connection = ConnectionConfig::from_environment(&options.postgres)?;
    let writer = Writer::new(Pool::new(&connection, &config)?);
    writer.check(START_TIMEOUT).await?;
    Ok((connection, writer))
}

/// Completes at SIGTERM or SIGINT. A system without signals serves until it is killed.
async fn asked_to_end() {
    match (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
    ) {
        (Ok(mut terminate), Ok(mut interrupt)) => {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        }
        _ => std::future::pending().await,
    }
}

#[expect(clippy::print_stdout, reason = "what was asked for")]
fn say(line: &str) {
    println!("{line}");
}

#[expect(
    clippy::print_stderr,
    reason = "the one line a person at the terminal is waiting for"
)]
fn complain(message: &str) {
    eprintln!("pgflight: {message}");
}
