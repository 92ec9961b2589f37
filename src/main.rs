//! The `pgflight` command: arguments, connections, server, exit status.

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use clap::error::ErrorKind as ClapErrorKind;
use pgflight::config::{Cli, Command, Serve};
use pgflight::error::{ErrorKind, Result, chain};
use pgflight::flight::{Server, ServerConfig};
use pgflight::pg::{ConnectionConfig, Pool, PoolConfig};
use pgflight::telemetry;
use pgflight::write::Writer;
use tokio::signal::unix::{SignalKind, signal};

/// `EX_USAGE` of sysexits.h.
const USAGE: u8 = 64;
/// Connections beside those that carry rows: for begin, commit, abort, status and the catalog.
const CONTROL_CONNECTIONS: usize = 4;
/// How long PostgreSQL may take to answer when the server starts.
const START_TIMEOUT: Duration = Duration::from_secs(15);

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // A closed terminal is no reason to fail.
            error.print().ok();
            return match error.kind() {
                ClapErrorKind::DisplayHelp | ClapErrorKind::DisplayVersion => ExitCode::SUCCESS,
                _ => ExitCode::from(USAGE),
            };
        }
    };
    let Command::Serve(options) = cli.command;
    if let Err(problem) = telemetry::start(options.log_format, &options.log) {
        complain(&format!(
            "--log {:?} cannot be read: {problem}",
            options.log
        ));
        return ExitCode::from(USAGE);
    }
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(&format!("cannot start the runtime: {error}"));
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(serve(options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&chain(&error));
            match error.kind() {
                ErrorKind::InvalidCommand => ExitCode::from(USAGE),
                _ => ExitCode::FAILURE,
            }
        }
    }
}

async fn serve(options: Serve) -> Result<()> {
    let connection = ConnectionConfig::from_environment(&options.postgres)?;
    let pool = Pool::new(
        &connection,
        &PoolConfig {
            data_connections: options.max_connections.into(),
            control_connections: CONTROL_CONNECTIONS,
            wait_timeout: options.connection_wait,
            lock_timeout: options.lock_timeout,
        },
    )?;
    let writer = Writer::new(pool);
    writer.check(START_TIMEOUT).await?;
    let server = Server::bind(
        &ServerConfig {
            listen: options.listen,
            max_message_bytes: usize::try_from(options.max_message_size.as_u64())
                .unwrap_or(usize::MAX),
            drain_timeout: options.drain_timeout,
        },
        writer,
    )
    .await?;
    tracing::info!(postgres = %connection, version = env!("CARGO_PKG_VERSION"), "listening on {}", server.address());
    server.serve(asked_to_end()).await
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

#[expect(
    clippy::print_stderr,
    reason = "the one line a person at the terminal is waiting for"
)]
fn complain(message: &str) {
    eprintln!("pgflight: {message}");
}
