//! What the command line says to `pgflight load`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde_json::{Map, Value};

pub(super) const EXAMPLES: &str = "\
Examples:
  pgflight load --to public.trips 2013-01.parquet 2013-02.parquet
  pgflight load --to zones --mode create --spec '{\"tableDefinition\": {\"primaryKey\": [\"id\"]}}' zones.csv
  PGFLIGHT_TOKEN=… pgflight load --server grpc+tls://pgflight.example:8815 --tls-ca ca.crt --to trips *.arrow";

/// Options of `pgflight load`.
#[derive(Debug, Args)]
pub struct Load {
    /// Parquet, Arrow IPC (file or stream), or CSV with a line of names. What a file is, its first bytes say.
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,

    /// The table: name or schema.name, in double quotes what holds a dot or a double quote.
    #[arg(long, value_name = "TABLE")]
    pub to: String,

    /// What the write does with the table.
    #[arg(long, value_name = "MODE", default_value = "append",
          value_parser = ["append", "create", "overwrite", "upsert", "insert_if_absent", "update_only", "delete_by_key"])]
    pub mode: String,

    /// The columns that identify a row, in keyed modes.
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub keys: Vec<String>,

    /// Other fields of the protocol's WriteSpec, in JSON.
    #[arg(long, value_name = "JSON", default_value = "{}", value_parser = super::args::object, hide_default_value = true)]
    pub spec: Map<String, Value>,

    /// A name for this load: when it is run again under it and was committed, nothing is written twice.
    #[arg(long, value_name = "NAME")]
    pub write_id: Option<String>,

    /// Files that are sent at once, each by a stream of its own.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=64))]
    pub jobs: u8,

    /// How long a call or a file is tried again while the server or PostgreSQL is away.
    #[arg(long, env = "PGFLIGHT_RETRY_TIMEOUT", value_name = "TIME", default_value = "60s", value_parser = humantime::parse_duration)]
    pub retry_timeout: Duration,

    /// What parts the fields of CSV.
    #[arg(long, value_name = "CHARACTER", default_value = ",")]
    pub delimiter: char,

    /// The running server: grpc://host:port, or grpc+tls://host:port with TLS.
    #[arg(
        long,
        env = "PGFLIGHT_URL",
        value_name = "URL",
        default_value = "grpc://127.0.0.1:8815"
    )]
    pub server: String,

    /// The server's target, where it has several and this is not its default.
    #[arg(
        long,
        value_name = "NAME",
        default_value = "",
        hide_default_value = true
    )]
    pub target: String,

    /// Sent with every call as a bearer token. Give it by its variable, where other users of the machine do
    /// not see it.
    #[arg(
        long,
        env = "PGFLIGHT_TOKEN",
        value_name = "TOKEN",
        hide_env_values = true
    )]
    pub token: Option<String>,

    /// Authorities in PEM that the server's certificate is checked against.
    #[arg(long, env = "PGFLIGHT_TLS_CA", value_name = "FILE")]
    pub tls_ca: Option<PathBuf>,

    /// Certificate in PEM of this client, where the server asks for one.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,

    /// Private key of that certificate, in PEM.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
}
