//! The options that name a database.

use std::path::PathBuf;

use clap::Args;

use crate::config::value::Time;

/// The database of a command.
#[derive(Debug, Clone, Args)]
pub struct Destination {
    /// Configuration file of a server, for its targets.
    #[arg(long, env = "PGFLIGHT_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Target of the file. Without it, the default target.
    #[arg(long, value_name = "NAME", requires = "config")]
    pub target: Option<String>,

    /// The database, without a file.
    #[command(flatten)]
    pub postgres: Postgres,
}

/// The connection to PostgreSQL.
#[derive(Debug, Clone, Default, Args)]
pub struct Postgres {
    /// PostgreSQL database: a URL or key=value text. PGHOST, PGPORT, PGUSER, PGPASSWORD, PGDATABASE and libpq's other
    /// variables complete it. Give the password with PGPASSWORD, since other users of the machine can see the command
    /// line. sslmode sets TLS: add sslmode=verify-full and sslrootcert=FILE on a network that you do not trust.
    #[arg(
        long,
        env = "PGFLIGHT_POSTGRES",
        value_name = "URL",
        default_value = "",
        hide_env_values = true,
        hide_default_value = true
    )]
    pub postgres: String,

    /// Time that a statement of a stream or a commit waits for a lock that another session holds.
    #[arg(
        long,
        env = "PGFLIGHT_LOCK_TIMEOUT",
        value_name = "TIME",
        default_value = "30s"
    )]
    pub(in crate::config) lock_timeout: Option<Time>,
}
