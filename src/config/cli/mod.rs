//! The command line and the environment.

pub(super) mod destination;
mod load;
mod read;
pub(super) mod serve;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};

use super::value::object;
use crate::error::{Error, Result};
pub use destination::{Destination, Postgres};
pub use load::Load;
pub use read::{FileFormat, Quote, Read as ReadFiles};
pub use serve::Serve;

/// Writes Spark DataFrames and Arrow data to PostgreSQL through binary COPY, over Arrow Flight.
#[derive(Debug, Parser)]
#[command(
    name = "pgflight",
    version,
    propagate_version = true,
    subcommand_required = true
)]
pub struct Cli {
    /// The subcommand.
    #[command(subcommand)]
    pub command: Command,
}

impl Cli {
    /// Parses the command line and the environment of the process.
    ///
    /// # Errors
    /// The text to print: the error, or the requested help or version.
    pub fn read() -> std::result::Result<Self, clap::Error> {
        Self::read_from(std::env::args_os())
    }

    /// Parses these arguments, the first of which is the program's name, and the environment.
    pub(super) fn read_from<T: Into<OsString> + Clone>(
        arguments: impl IntoIterator<Item = T>,
    ) -> std::result::Result<Self, clap::Error> {
        let matches = Self::command().try_get_matches_from(arguments)?;
        let mut cli = Self::from_arg_matches(&matches)?;
        if let (Command::Serve(options), Some((_, matches))) =
            (&mut cli.command, matches.subcommand())
        {
            options.set_explicit(matches)?;
        }
        Ok(cli)
    }
}

impl Serve {
    /// Returns the options of a server without flags, with the environment of the process.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidCommand`](crate::error::ErrorKind::InvalidCommand) for a variable that cannot be parsed.
    pub(super) fn from_environment() -> Result<Self> {
        let cli = Cli::read_from(["pgflight", "serve"])
            .map_err(|error| Error::invalid_command(error.to_string()))?;
        let Command::Serve(serve) = cli.command else {
            return Err(Error::internal("`serve` was parsed as another command"));
        };
        Ok(*serve)
    }
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve Arrow Flight until SIGTERM or Ctrl-C.
    ///
    /// Clients send rows, and the server writes them to PostgreSQL. It keeps no state of its own: run any number of
    /// replicas.
    ///
    /// A flag or its environment variable wins over the file that --config names, and the file wins over the default.
    /// A server with several databases needs a file; see pgflight config example.
    ///
    /// Exit status: 0 after a drain, 1 when it could not start or serve, 64 for bad usage.
    #[command(after_help = serve::EXAMPLES)]
    Serve(Box<Serve>),

    /// Check a configuration file, or print an example of one.
    #[command(subcommand)]
    Config(ConfigCommand),

    /// Check each target, and report what works and what fails, with the SQL that fixes it.
    ///
    /// Changes nothing. Exit status: 0 when writes would work, 1 when something would fail, 64 for bad usage.
    Check(Check),

    /// Create the ledger: the schema `pgflight`, which holds the state of writes.
    ///
    /// The server creates it when it first needs it, if its role may. Safe to run again.
    Migrate(Migrate),

    /// Show what a write would do with data of a schema, column by column. Writes nothing.
    ///
    /// Shows how each column is encoded or why it is rejected, what else happens (triggers, casts, changed values), and
    /// the SQL that would create the table. To check a table that does not exist, it creates the table and rolls back.
    /// Exit status: 0 when the write would be accepted, 1 when it would be rejected, 64 for bad usage.
    #[command(after_help = PLAN_EXAMPLES)]
    Plan(Plan),

    /// Make a token for clients, and print it with its digest.
    ///
    /// Give the token to the client only, and the digest to the server: with --token-digest, or among the tokens of a
    /// principal in its configuration file. The digest does not reveal the token.
    Token,

    /// Load files of rows into a table through a running server, all or none.
    ///
    /// Reads Parquet, Arrow IPC, CSV and JSON lines, compressed or not. CSV is read as PostgreSQL's COPY reads it: its
    /// fields are converted to the types of the table's columns, and an unquoted empty field is NULL. The files may have
    /// their columns in any order, and a column that a file lacks is NULL in its rows. Shows a progress bar on a terminal,
    /// else a line every few seconds. Exit status: 0 when all rows are in the table, 1 when none are or the error says
    /// that the outcome is unknown, 64 for bad usage.
    #[command(after_help = load::EXAMPLES)]
    Load(Box<Load>),

    /// List writes of many partitions and their state, newest first.
    ///
    /// open: takes attempts; committing: decided, and the last rows become visible; committed: the rows are in the table;
    /// aborted: no rows are in the table; prepared_lost: decided, but another session rolled back prepared transactions
    /// with some of the rows, as the reason says. The ledger forgets a write when the server's --retention has passed
    /// since its end.
    Writes(Writes),

    /// Abort a write without publishing anything.
    ///
    /// The server rejects further streams of the write and removes its staged rows. A committed write stays committed.
    /// An unknown id is an error, unless --force says that the write must not begin later either. A write whose id
    /// begins with stream: is a stream over several connections; its server ends the stream with an error. Exit status:
    /// 0 when all writes are aborted, 1 when one is committed or unknown.
    #[command(after_help = ABORT_EXAMPLES)]
    Abort(Abort),

    /// Print completions of the command line for a shell.
    #[command(after_help = COMPLETIONS_EXAMPLES)]
    Completions(Completions),

    /// Print the manual page, or write the pages of all subcommands.
    Man(Man),
}

const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  pgflight completions bash > /usr/share/bash-completion/completions/pgflight
  pgflight completions zsh > \"${fpath[1]}/_pgflight\"
  pgflight completions fish > ~/.config/fish/completions/pgflight.fish";

const ABORT_EXAMPLES: &str = "\
Examples:
  pgflight abort etl/nightly-42
  pgflight writes --state open --older-than 1d --ids | xargs -r -d '\\n' pgflight abort --
  pgflight abort --force etl/never-begin-this";

const PLAN_EXAMPLES: &str = "\
Examples:
  pgflight plan --table public.trips trips.arrow
  pgflight plan --table public.trips --mode upsert --keys id trips.arrow
  pgflight plan --table new --mode create --spec '{\"columnTypes\": {\"fare\": \"numeric(12,2)\"}}' trips.arrow

Make the file in Python:
  pathlib.Path(\"trips.arrow\").write_bytes(table.schema.serialize())";

/// Options of `pgflight completions`.
#[derive(Debug, Args)]
pub struct Completions {
    /// The shell.
    #[arg(value_name = "SHELL")]
    pub shell: clap_complete::Shell,
}

/// Options of `pgflight man`.
#[derive(Debug, Args)]
pub struct Man {
    /// Directory for the pages of all subcommands. Without it, the page of pgflight is printed.
    #[arg(value_name = "DIR")]
    pub directory: Option<PathBuf>,
}

/// The subcommands about configuration files.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Check a file, and report all problems with their lines. Connects to nothing.
    ///
    /// Exit status: 0 when the file is valid, 64 when not.
    Check(ConfigCheck),

    /// Print a commented file with every key at its default.
    Example,
}

/// Options of `pgflight config check`.
#[derive(Debug, Args)]
pub struct ConfigCheck {
    /// The file.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}

/// Options of `pgflight check`.
#[derive(Debug, Args)]
pub struct Check {
    /// Table to check as well, for each mode: name or schema.name.
    #[arg(long, value_name = "TABLE")]
    pub table: Option<String>,

    /// The targets: without --target, all those of the file.
    #[command(flatten)]
    pub destination: Destination,
}

/// Options of `pgflight migrate`.
#[derive(Debug, Args)]
pub struct Migrate {
    /// Print the SQL instead of running it, for a DBA to run as the server's role.
    #[arg(long)]
    pub print: bool,

    /// The database of the ledger.
    #[command(flatten)]
    pub destination: Destination,
}

/// Options of `pgflight plan`.
#[derive(Debug, Args)]
pub struct Plan {
    /// File with the schema: an Arrow IPC file, stream or schema message; - is standard input. Rows are not read.
    #[arg(value_name = "SCHEMA_FILE")]
    pub schema: PathBuf,

    /// Table: name or schema.name. Put a name with a dot or a double quote in double quotes.
    #[arg(long, value_name = "TABLE")]
    pub table: String,

    /// Mode of the write.
    #[arg(long, value_name = "MODE", default_value = "append",
          value_parser = ["append", "create", "overwrite", "upsert", "insert_if_absent", "update_only", "delete_by_key"])]
    pub mode: String,

    /// Columns that identify a row, in keyed modes; the table's primary key by default.
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub keys: Vec<String>,

    /// Other fields of the protocol's WriteSpec, in JSON. The options of the mode are in a field named like it.
    #[arg(long, value_name = "JSON", default_value = "{}", value_parser = object, hide_default_value = true)]
    pub spec: serde_json::Map<String, serde_json::Value>,

    /// Print JSON, with the names of the protocol's PlanResponse.
    #[arg(long)]
    pub json: bool,

    /// The database of the table.
    #[command(flatten)]
    pub destination: Destination,
}

/// Options of `pgflight writes`.
#[derive(Debug, Args)]
pub struct Writes {
    /// Number of writes, from the newest.
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub limit: u32,

    /// Only writes in one of these states.
    #[arg(long = "state", value_name = "STATES", value_delimiter = ',',
          value_parser = ["open", "committing", "committed", "aborted", "prepared_lost"])]
    pub states: Vec<String>,

    /// Only writes that were begun longer ago.
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = humantime::parse_duration, hide_default_value = true)]
    pub older_than: Duration,

    /// Print only the ids, one a line.
    #[arg(long, conflicts_with = "watch")]
    pub ids: bool,

    /// Repeat until Ctrl-C: redraw on a terminal, else print a line for each changed write.
    #[arg(long)]
    pub watch: bool,

    /// Interval between two reads of the ledger, with --watch.
    #[arg(long, value_name = "TIME", default_value = "2s", requires = "watch", value_parser = humantime::parse_duration)]
    pub interval: Duration,

    /// The database of the ledger.
    #[command(flatten)]
    pub destination: Destination,
}

/// Options of `pgflight abort`.
#[derive(Debug, Args)]
pub struct Abort {
    /// Ids of the writes, as `pgflight writes` shows them.
    #[arg(value_name = "WRITE_ID", required = true)]
    pub write_ids: Vec<String>,

    /// Record also unknown ids as aborted: a write that begins later with such an id is rejected.
    #[arg(long)]
    pub force: bool,

    /// Reason, kept in the ledger.
    #[arg(long, value_name = "TEXT", default_value = "aborted by hand")]
    pub reason: String,

    /// The database of the ledger.
    #[command(flatten)]
    pub destination: Destination,
}
