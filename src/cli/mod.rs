//! The subcommands, one file each, and how they print.

mod check;
mod config;
mod generate;
mod load;
mod plan;
mod reload;
mod serve;
mod spec;
mod writes;

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use pgflight::auth::{digest_of, new_token};
use pgflight::config::{Command, Destination, Migrate, TargetConfig, load_target};
use pgflight::error::{Error, Result, chain};
use pgflight::pg::{ConnectionConfig, Pool, migration};
use pgflight::write::Writer;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The time for PostgreSQL to answer when a command or the server starts.
const START_TIMEOUT: Duration = Duration::from_secs(15);

/// Runs a subcommand and returns the exit status.
pub(crate) async fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Serve(options) => serve::serve(&options).await.map(|()| ExitCode::SUCCESS),
        Command::Config(command) => config::config(command).map(|()| ExitCode::SUCCESS),
        Command::Check(options) => check::check(options).await,
        Command::Migrate(options) => migrate(options).await.map(|()| ExitCode::SUCCESS),
        Command::Plan(options) => plan::plan(options).await,
        Command::Token => token().map(|()| ExitCode::SUCCESS),
        Command::Load(options) => load::load(*options).await,
        Command::Writes(options) => writes::list(options).await.map(|()| ExitCode::SUCCESS),
        Command::Abort(options) => writes::abort(options).await,
        Command::Completions(options) => {
            generate::completions(&options).map(|()| ExitCode::SUCCESS)
        }
        Command::Man(options) => generate::man(&options).map(|()| ExitCode::SUCCESS),
    }
}

async fn migrate(options: Migrate) -> Result<()> {
    if options.print {
        print(migration().trim_end());
        return Ok(());
    }
    let (connection, writer) = connect(&options.destination).await?;
    writer.migrate().await?;
    print(&format!("the ledger is in schema pgflight of {connection}"));
    Ok(())
}

fn token() -> Result<()> {
    let token = new_token()?;
    print(&format!("token   {token}"));
    print(&format!("digest  {}", digest_of(&token)));
    Ok(())
}

/// Connects to the database of a command.
async fn connect(destination: &Destination) -> Result<(ConnectionConfig, Writer)> {
    let TargetConfig {
        connection,
        pool,
        statements,
        ..
    } = load_target(destination)?;
    let writer = Writer::new(Pool::new(&connection, &pool)?);
    writer.set_statements(statements);
    writer.check(START_TIMEOUT).await?;
    Ok((connection, writer))
}

/// Listens for Ctrl-C from now on, also while the command does something else.
fn interrupts() -> Result<Signal> {
    signal(SignalKind::interrupt())
        .map_err(|error| Error::internal("cannot listen for SIGINT").with_source(error))
}

/// Prints a line to standard output. Exits when the reader closed the pipe, as `head` does.
fn print(line: &str) {
    if writeln!(io::stdout(), "{line}").is_err() {
        std::process::exit(1);
    }
}

/// Prints a line about progress or a failure to standard error.
#[expect(
    clippy::print_stderr,
    reason = "the one line a person at the terminal is waiting for"
)]
pub(crate) fn eprint(message: &str) {
    eprintln!("pgflight: {message}");
}

/// Prints an error and its place on one line, and its hint on the next.
#[expect(
    clippy::print_stderr,
    reason = "the one line a person at the terminal is waiting for"
)]
pub(crate) fn eprint_error(error: &Error) {
    let (fact, place) = (chain(error), error.report().place());
    if place.is_empty() {
        eprint(&fact);
    } else {
        eprint(&format!("{fact} [{place}]"));
    }
    if let Some(hint) = error.report().advice() {
        eprintln!("hint: {hint}");
    }
}
