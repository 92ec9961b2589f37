//! What the command line and the environment say.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};

use super::load::Load;
use super::serve::{ExplicitOptions, Serve};

/// Lands Spark DataFrames and Arrow data in PostgreSQL through binary COPY, spoken to by Arrow Flight.
#[derive(Debug, Parser)]
#[command(
    name = "pgflight",
    version,
    propagate_version = true,
    subcommand_required = true
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

impl Cli {
    /// Reads the command line and the environment of the process.
    ///
    /// # Errors
    /// What to print: why it cannot be read, or the help or version that was asked for.
    pub fn read() -> Result<Self, clap::Error> {
        Self::read_from(std::env::args_os())
    }

    /// Reads these arguments, of which the first is the program's name, and the environment.
    pub(super) fn read_from<T: Into<OsString> + Clone>(
        arguments: impl IntoIterator<Item = T>,
    ) -> Result<Self, clap::Error> {
        let matches = Self::command().try_get_matches_from(arguments)?;
        let mut cli = Self::from_arg_matches(&matches)?;
        if let (Command::Serve(options), Some((_, matches))) =
            (&mut cli.command, matches.subcommand())
        {
            options.explicit = ExplicitOptions::of(matches);
        }
        Ok(cli)
    }
}

/// What pgflight can be asked to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve Arrow Flight until SIGTERM or Ctrl-C.
    ///
    /// Clients send rows to it; it writes them to PostgreSQL. It keeps no state of its own: run as many as
    /// you like beside each other.
    ///
    /// What a flag or its environment variable says wins over the file that --config names, and that over
    /// the default. Several databases behind one server take a file; see pgflight config example.
    ///
    /// Exit status: 0 after a drain, 1 when it could not start or serve, 64 for bad usage.
    #[command(after_help = super::serve::EXAMPLES)]
    Serve(Box<Serve>),

    /// Check a configuration file, or print an example of one.
    #[command(subcommand)]
    Config(ConfigCommand),

    /// Look at each target and tell what works there and what will not, with the SQL that would mend it.
    ///
    /// Nothing is changed. Exit status: 0 when writes would work, 1 when something will not, 64 for bad
    /// usage.
    Check(Check),

    /// Make the ledger: the schema `pgflight`, where the state of writes is kept.
    ///
    /// The server does it by itself when it first needs it, if its role may. Safe to run again.
    Migrate(Migrate),

    /// Tell what a write would do with data of a schema, column by column, and write nothing.
    ///
    /// Says how each column is encoded or why it is refused, what else happens (triggers, casts, values
    /// that may be changed), and the SQL that would make the table. A table that would be made is made,
    /// looked at and rolled back. Exit status: 0 when the write would be accepted, 1 when it would be
    /// refused, 64 for bad usage.
    #[command(after_help = PLAN_EXAMPLES)]
    Plan(Plan),

    /// Make a token for clients, and print it with its digest.
    ///
    /// The token is for the client, who shows it, and for nobody else; the digest is for the server: by
    /// --token-digest, or among the tokens of a principal in its configuration file. The token cannot be got
    /// back from it.
    Token,

    /// Load files of rows into a table through a running server, all of them or none.
    ///
    /// Parquet, Arrow IPC and CSV; fields of CSV are read as the table's columns need them, empty ones as
    /// NULL. On a terminal a bar shows how far it is, elsewhere a line now and then. Exit status: 0 when all
    /// rows are in the table, 1 when none are (or the last line says that it is unknown), 64 for bad usage.
    #[command(after_help = super::load::EXAMPLES)]
    Load(Box<Load>),

    /// List writes of many partitions and their state, newest first.
    ///
    /// open: attempts are taken; committing: decided, the last rows are being made visible; committed: the rows are in the table; aborted: none are, nor will be; prepared_lost: decided, and another session had rolled back prepared transactions with rows of it, as the reason says.
    /// Writes are forgotten when the server's --retention has passed since their end.
    Writes(Writes),

    /// End a write without publishing anything.
    ///
    /// Its streams are refused from then on and what they staged is removed. A write that is
    /// committed stays so. An id that is not known yet is refused from now on, so look at how it is
    /// spelled. A write whose id begins with stream: is a stream over several connections, which its server then
    /// ends: its sender is told. Exit status: 0 when the write is aborted now, 1 when it is committed or was not known.
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

const PLAN_EXAMPLES: &str = "\
Examples:
  pgflight plan --table public.trips trips.arrow
  pgflight plan --table public.trips --mode upsert --keys id trips.arrow
  pgflight plan --table new --mode create --spec '{\"tableDefinition\": {\"columnTypes\": {\"fare\": \"numeric(12,2)\"}}}' trips.arrow

Where the file comes from, in Python:
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
    /// A directory for a page of every subcommand; without one, the page of pgflight itself is printed.
    #[arg(value_name = "DIR")]
    pub directory: Option<PathBuf>,
}

/// What can be asked about configuration files.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Say everything that is wrong with a file, with the lines, and connect to nothing.
    ///
    /// Exit status: 0 when a server would start with it, 64 when not.
    Check(ConfigCheck),

    /// Print a file with everything that can be set, commented, each at its default.
    Example,
}

/// Options of `pgflight config check`.
#[derive(Debug, Args)]
pub struct ConfigCheck {
    /// The file.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}

/// Which database a command is about.
#[derive(Debug, Clone, Args)]
pub struct Destination {
    /// Configuration file of a server, for its targets.
    #[arg(long, env = "PGFLIGHT_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Target of the file, where it has several and the default is not meant.
    #[arg(long, value_name = "NAME", requires = "config")]
    pub target: Option<String>,

    /// Where PostgreSQL is, without a file.
    #[command(flatten)]
    pub postgres: Postgres,
}

/// How to reach PostgreSQL.
#[derive(Debug, Clone, Args)]
pub struct Postgres {
    /// PostgreSQL to write to: a URL or key=value text. What it leaves out comes from PGHOST, PGPORT,
    /// PGUSER, PGPASSWORD, PGDATABASE and libpq's other variables. Give the password by PGPASSWORD
    /// rather than here, where other users of the machine can see it. TLS is as sslmode says: add
    /// sslmode=verify-full and sslrootcert=FILE where the network is not yours.
    #[arg(
        long,
        env = "PGFLIGHT_POSTGRES",
        value_name = "URL",
        default_value = "",
        hide_env_values = true,
        hide_default_value = true
    )]
    pub postgres: String,

    /// How long a statement waits for a lock that somebody else holds on the table.
    #[arg(long, env = "PGFLIGHT_LOCK_TIMEOUT", value_name = "TIME", default_value = "30s", value_parser = humantime::parse_duration)]
    pub lock_timeout: Duration,
}

/// Options of `pgflight check`.
#[derive(Debug, Args)]
pub struct Check {
    /// A table to look at, too, and at what each mode finds in it: name or schema.name.
    #[arg(long, value_name = "TABLE")]
    pub table: Option<String>,

    /// The targets; with a file and without --target, all of them.
    #[command(flatten)]
    pub destination: Destination,
}

/// Options of `pgflight migrate`.
#[derive(Debug, Args)]
pub struct Migrate {
    /// Print the SQL instead of running it, for a DBA to read and run as the server's role.
    #[arg(long)]
    pub print: bool,

    /// Where the ledger goes.
    #[command(flatten)]
    pub destination: Destination,
}

/// Options of `pgflight plan`.
#[derive(Debug, Args)]
pub struct Plan {
    /// Where the schema is: an Arrow IPC file, stream or schema message; - is standard input. Rows that
    /// follow are not read.
    #[arg(value_name = "SCHEMA_FILE")]
    pub schema: PathBuf,

    /// The table: name or schema.name, in double quotes what holds a dot or a double quote.
    #[arg(long, value_name = "TABLE")]
    pub table: String,

    /// What the write would do with the table.
    #[arg(long, value_name = "MODE", default_value = "append",
          value_parser = ["append", "create", "overwrite", "upsert", "insert_if_absent", "update_only", "delete_by_key"])]
    pub mode: String,

    /// The columns that identify a row, in keyed modes.
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub keys: Vec<String>,

    /// Other fields of the protocol's WriteSpec, in JSON.
    #[arg(long, value_name = "JSON", default_value = "{}", value_parser = object, hide_default_value = true)]
    pub spec: serde_json::Map<String, serde_json::Value>,

    /// Print JSON, with the names of the protocol's PlanResponse.
    #[arg(long)]
    pub json: bool,

    /// Where the table is.
    #[command(flatten)]
    pub destination: Destination,
}

pub(super) fn object(text: &str) -> Result<serde_json::Map<String, serde_json::Value>, String> {
    serde_json::from_str(text).map_err(|error| error.to_string())
}

/// Options of `pgflight writes`.
#[derive(Debug, Args)]
pub struct Writes {
    /// How many, counted from the newest.
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub limit: u32,

    /// Go on until Ctrl-C: drawn anew on a terminal, elsewhere a line for each write that has changed.
    #[arg(long)]
    pub watch: bool,

    /// How often the ledger is asked, with --watch.
    #[arg(long, value_name = "TIME", default_value = "2s", requires = "watch", value_parser = humantime::parse_duration)]
    pub interval: Duration,

    /// Where the ledger is.
    #[command(flatten)]
    pub destination: Destination,
}

/// Options of `pgflight abort`.
#[derive(Debug, Args)]
pub struct Abort {
    /// The write, as `pgflight writes` names it.
    #[arg(value_name = "WRITE_ID")]
    pub write_id: String,

    /// Kept in the ledger for whoever asks why.
    #[arg(long, value_name = "TEXT", default_value = "aborted by hand")]
    pub reason: String,

    /// Where the ledger is.
    #[command(flatten)]
    pub destination: Destination,
}
