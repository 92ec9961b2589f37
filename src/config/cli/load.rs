//! The options of `pgflight load`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde_json::{Map, Value};

use super::read::Read;

pub(super) const EXAMPLES: &str = "\
Examples:
  pgflight load --to public.trips 2013-01.parquet 2013-02.parquet
  pgflight load --to zones --mode create --spec '{\"create\": {\"newTable\": {\"primaryKey\": [\"id\"]}}}' zones.csv
  pgflight load --to public.trips trips/                        # all files, and columns of folders like day=2026-01-01
  pgflight load --to people --null NA --null '' --drop-unnamed people.csv.gz
  zcat export.tsv.gz | pgflight load --to people --delimiter tab --encoding windows-1252 -
  PGFLIGHT_TOKEN=… pgflight load --server grpc+tls://pgflight.example:8815 --tls-ca ca.crt --to trips *.arrow";

/// Options of `pgflight load`.
#[derive(Debug, Args)]
pub struct Load {
    /// The files.
    #[command(flatten)]
    pub read: Read,

    /// Table: name or schema.name. Put a name with a dot or a double quote in double quotes.
    #[arg(long, value_name = "TABLE")]
    pub to: String,

    /// Mode of the write.
    #[arg(long, value_name = "MODE", default_value = "append",
          value_parser = ["append", "create", "overwrite", "upsert", "insert_if_absent", "update_only", "delete_by_key"])]
    pub mode: String,

    /// Columns that identify a row, in keyed modes; the table's primary key by default.
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub keys: Vec<String>,

    /// Other fields of the protocol's WriteSpec, in JSON. The options of the mode are in a field named like it.
    #[arg(long, value_name = "JSON", default_value = "{}", value_parser = crate::config::value::object, hide_default_value = true)]
    pub spec: Map<String, Value>,

    /// Name of this load. If a load with this name is already committed, nothing is written again.
    #[arg(long, value_name = "NAME")]
    pub write_id: Option<String>,

    /// Number of files that are sent at a time, each in its own stream.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=64))]
    pub jobs: u8,

    /// Time for which a call or a file is retried while the server or PostgreSQL is unavailable.
    #[arg(long, env = "PGFLIGHT_RETRY_TIMEOUT", value_name = "TIME", default_value = "60s", value_parser = humantime::parse_duration)]
    pub retry_timeout: Duration,

    /// Server: grpc://host:port, or grpc+tls://host:port with TLS.
    #[arg(
        long,
        env = "PGFLIGHT_URL",
        value_name = "URL",
        default_value = "grpc://127.0.0.1:8815"
    )]
    pub server: String,

    /// Target of the server. Without it, the server's default.
    #[arg(
        long,
        value_name = "NAME",
        default_value = "",
        hide_default_value = true
    )]
    pub target: String,

    /// Bearer token of every call. Give it with the variable, since other users of the machine can see the command line.
    #[arg(
        long,
        env = "PGFLIGHT_TOKEN",
        value_name = "TOKEN",
        hide_env_values = true
    )]
    pub token: Option<String>,

    /// Authorities in PEM that verify the server's certificate.
    #[arg(long, env = "PGFLIGHT_TLS_CA", value_name = "FILE")]
    pub tls_ca: Option<PathBuf>,

    /// Certificate of this client in PEM, if the server requires one.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,

    /// Private key of that certificate in PEM.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
}
