//! What the command line says to `pgflight serve`.

use std::collections::HashSet;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;
use clap::parser::ValueSource;
use clap::{ArgMatches, Args};

use super::args::{Cli, Command, Postgres};
use crate::error::Error;
use crate::telemetry::LogFormat;

pub(super) const EXAMPLES: &str = "\
Examples:
  pgflight serve --postgres postgres://loader@db.example:5432/trips
  PGHOST=db.example PGUSER=loader PGPASSWORD=… pgflight serve
  pgflight serve --listen 0.0.0.0:8815 --tls-cert server.crt --tls-key server.key

Then, in Python:
  import pgflight
  with pgflight.connect(\"grpc://localhost:8815\") as client:
      client.write(table, \"public.trips\", mode=\"create\")";

/// Options of `pgflight serve`.
#[derive(Debug, Clone, Args)]
pub struct Serve {
    /// Which of them were explicit.
    #[arg(skip)]
    pub explicit: ExplicitOptions,

    /// Configuration file in TOML: for several databases, and for whatever you would rather not write into
    /// flags. SIGHUP reads it again.
    #[arg(long, env = "PGFLIGHT_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Address to listen on; port 0 picks a free one, which the log names.
    #[arg(
        long,
        env = "PGFLIGHT_LISTEN",
        value_name = "HOST:PORT",
        default_value = "127.0.0.1:8815",
        value_parser = address
    )]
    pub listen: SocketAddr,

    /// Certificate in PEM that the server shows, followed by those between it and its authority; with it,
    /// clients connect by grpc+tls://. It and the other files of TLS are read again when they change.
    #[arg(
        long,
        env = "PGFLIGHT_TLS_CERT",
        value_name = "FILE",
        requires = "tls_key"
    )]
    pub tls_cert: Option<PathBuf>,

    /// Private key of the certificate, in PEM, without a passphrase.
    #[arg(
        long,
        env = "PGFLIGHT_TLS_KEY",
        value_name = "FILE",
        requires = "tls_cert"
    )]
    pub tls_key: Option<PathBuf>,

    /// Authorities in PEM; clients then need a certificate of one of them.
    #[arg(
        long,
        env = "PGFLIGHT_TLS_CLIENT_CA",
        value_name = "FILE",
        requires = "tls_cert"
    )]
    pub tls_client_ca: Option<PathBuf>,

    /// Listen without TLS on an address that other machines reach: on a network where everybody may
    /// read and write what the server's role may write.
    #[arg(long, env = "PGFLIGHT_INSECURE")]
    pub insecure: bool,

    /// Digests of tokens, as `pgflight token` prints them. With any, a client needs one of these tokens, and
    /// may write what the server's role may; who may do less is said in a configuration file.
    #[arg(
        long,
        env = "PGFLIGHT_TOKEN_DIGEST",
        value_name = "DIGEST",
        value_delimiter = ','
    )]
    pub token_digest: Vec<String>,

    /// Where the rows go.
    #[command(flatten)]
    pub postgres: Postgres,

    /// COPYs that run in PostgreSQL at once; more streams wait, and writes take turns. A few connections
    /// are added for commits and the like.
    #[arg(long, env = "PGFLIGHT_MAX_COPIES", value_name = "N", default_value_t = 16,
          value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub max_copies: u16,

    /// Connections that one stream may have that fills a new table (modes create and overwrite, the latter by
    /// swap or where there is no table yet), as far as nobody else waits for them; 1 keeps the rows in order.
    #[arg(long, env = "PGFLIGHT_FAN_OUT", value_name = "N", default_value_t = 1,
          value_parser = clap::value_parser!(u16).range(1..=64))]
    pub fan_out: u16,

    /// After how much of a stream, in bytes of COPY, it takes more connections.
    #[arg(
        long,
        env = "PGFLIGHT_FAN_OUT_AFTER",
        value_name = "SIZE",
        default_value = "8MiB"
    )]
    pub fan_out_after: ByteSize,

    /// How long a stream waits for its turn to copy before it is told to try again.
    #[arg(long, env = "PGFLIGHT_COPY_WAIT", value_name = "TIME", default_value = "10m", value_parser = humantime::parse_duration)]
    pub copy_wait: Duration,

    /// How long a stream waits for PostgreSQL to take more of its rows before it is ended. PostgreSQL's
    /// own timeouts do not look at a COPY.
    #[arg(long, env = "PGFLIGHT_COPY_STALL_TIMEOUT", value_name = "TIME", default_value = "5m", value_parser = humantime::parse_duration)]
    pub copy_stall_timeout: Duration,

    /// How long a connection to PostgreSQL may lie unused before it is closed.
    #[arg(long, env = "PGFLIGHT_POOL_IDLE_TIMEOUT", value_name = "TIME", default_value = "5m", value_parser = humantime::parse_duration)]
    pub pool_idle_timeout: Duration,

    /// Largest gRPC message taken. The Python client slices its batches to fit.
    #[arg(
        long,
        env = "PGFLIGHT_MAX_MESSAGE_SIZE",
        value_name = "SIZE",
        default_value = "64MiB"
    )]
    pub max_message_size: ByteSize,

    /// Memory that the process may take. Streams wait for their part of it; commits and the like have
    /// theirs.
    #[arg(
        long,
        env = "PGFLIGHT_MEMORY_LIMIT",
        value_name = "SIZE",
        default_value = "1GiB"
    )]
    pub memory_limit: ByteSize,

    /// Rows that one stream may bring; one with more is refused, and none of it is kept. No limit unless explicit.
    #[arg(long, env = "PGFLIGHT_MAX_ROWS_PER_STREAM", value_name = "N",
          value_parser = clap::value_parser!(u64).range(1..))]
    pub max_rows_per_stream: Option<u64>,

    /// Bytes that one stream may become, as COPY sends them to PostgreSQL. No limit unless explicit.
    #[arg(long, env = "PGFLIGHT_MAX_BYTES_PER_STREAM", value_name = "SIZE")]
    pub max_bytes_per_stream: Option<ByteSize>,

    /// Rows that all recorded streams of one write may bring; a stream that brings more is refused. No limit
    /// unless explicit.
    #[arg(long, env = "PGFLIGHT_MAX_ROWS_PER_WRITE", value_name = "N",
          value_parser = clap::value_parser!(u64).range(1..))]
    pub max_rows_per_write: Option<u64>,

    /// Bytes that all recorded streams of one write may become. No limit unless explicit.
    #[arg(long, env = "PGFLIGHT_MAX_BYTES_PER_WRITE", value_name = "SIZE")]
    pub max_bytes_per_write: Option<ByteSize>,

    /// How many bytes of COPY a stream may become for each byte of Arrow that it brings, beyond the first GiB:
    /// a value of a dictionary takes few bytes however often it is named.
    #[arg(long, env = "PGFLIGHT_MAX_EXPANSION", value_name = "N", default_value_t = 1000,
          value_parser = clap::value_parser!(u16).range(1..))]
    pub max_expansion: u16,

    /// How long the sender of a stream may take for one message. A stream that waits for its turn or for
    /// PostgreSQL is not counted.
    #[arg(long, env = "PGFLIGHT_IDLE_TIMEOUT", value_name = "TIME", default_value = "15m", value_parser = humantime::parse_duration)]
    pub idle_timeout: Duration,

    /// How long a stream may take in all.
    #[arg(long, env = "PGFLIGHT_STREAM_TIMEOUT", value_name = "TIME", default_value = "24h", value_parser = humantime::parse_duration)]
    pub stream_timeout: Duration,

    /// Connections of clients at once; more are closed as they come.
    #[arg(long, env = "PGFLIGHT_MAX_CONNECTIONS", value_name = "N", default_value_t = 1024,
          value_parser = clap::value_parser!(u16).range(1..))]
    pub max_connections: u16,

    /// Connections of clients at once from one address.
    #[arg(long, env = "PGFLIGHT_MAX_CONNECTIONS_PER_PEER", value_name = "N", default_value_t = 512,
          value_parser = clap::value_parser!(u16).range(1..))]
    pub max_connections_per_peer: u16,

    /// After so long a connection takes no more calls and ends with those it has, so that clients spread
    /// over replicas that were added.
    #[arg(long, env = "PGFLIGHT_MAX_CONNECTION_AGE", value_name = "TIME", default_value = "1h", value_parser = humantime::parse_duration)]
    pub max_connection_age: Duration,

    /// How long running streams may go on after SIGTERM before they are ended.
    #[arg(long, env = "PGFLIGHT_DRAIN_TIMEOUT", value_name = "TIME", default_value = "30s", value_parser = humantime::parse_duration)]
    pub drain_timeout: Duration,

    /// Open writes of many partitions whose driver sends no heartbeats are aborted when nothing was heard
    /// of them for so long; longer than the longest pause of any job.
    #[arg(long, env = "PGFLIGHT_WRITE_TTL", value_name = "TIME", default_value = "24h", value_parser = humantime::parse_duration)]
    pub write_ttl: Duration,

    /// The same for writes whose attempts wait as prepared transactions, which keep vacuum from removing
    /// dead rows anywhere in the cluster.
    #[arg(long, env = "PGFLIGHT_PREPARED_TTL", value_name = "TIME", default_value = "6h", value_parser = humantime::parse_duration)]
    pub prepared_ttl: Duration,

    /// Open writes are aborted when their driver has sent heartbeats and was then not heard for so long,
    /// even while tasks of them run. Time in which no server could take a heartbeat is not counted.
    #[arg(long, env = "PGFLIGHT_DRIVER_TTL", value_name = "TIME", default_value = "3m", value_parser = humantime::parse_duration)]
    pub driver_ttl: Duration,

    /// Writes that have ended are remembered for so long: a job that is run again within it is
    /// recognised by its write id.
    #[arg(long, env = "PGFLIGHT_RETENTION", value_name = "TIME", default_value = "7d", value_parser = humantime::parse_duration)]
    pub retention: Duration,

    /// How often abandoned writes and what they left are looked for.
    #[arg(long, env = "PGFLIGHT_REAPER_INTERVAL", value_name = "TIME", default_value = "60s", value_parser = humantime::parse_duration)]
    pub reaper_interval: Duration,

    /// Address for metrics, probes and the status page, over plain HTTP: /metrics, /healthz, /readyz and /.
    /// Off unless explicit. Whoever reaches it reads the names of tables and writes; nobody changes anything.
    #[arg(long, env = "PGFLIGHT_METRICS_LISTEN", value_name = "HOST:PORT", value_parser = address)]
    pub metrics_listen: Option<SocketAddr>,

    /// How log lines look.
    #[arg(
        long,
        env = "PGFLIGHT_LOG_FORMAT",
        value_name = "FORMAT",
        default_value = "text"
    )]
    pub log_format: LogFormat,

    /// What is logged: a level (error, warn, info, debug, trace) or directives (pgflight=debug,info).
    #[arg(
        long,
        env = "PGFLIGHT_LOG",
        value_name = "FILTER",
        default_value = "info,tokio_postgres=warn"
    )]
    pub log: String,

    /// Tell, in errors and logs, the DETAIL that PostgreSQL gives to an error. It holds values of rows.
    #[arg(long, env = "PGFLIGHT_SHOW_DETAIL")]
    pub show_detail: bool,
}

impl Serve {
    /// What a server would take that was explicit no flags, with the environment of the process.
    ///
    /// # Errors
    /// That a variable cannot be read.
    pub(super) fn default_options() -> crate::error::Result<Self> {
        let cli = Cli::read_from(["pgflight", "serve"])
            .map_err(|error| Error::invalid_command(error.to_string()))?;
        let Command::Serve(options) = cli.command else {
            return Err(Error::internal("`serve` is another command"));
        };
        Ok(*options)
    }
}

/// Which options were explicit by flag or environment, rather than left to their defaults: those win over
/// the configuration file.
#[derive(Debug, Clone, Default)]
pub struct ExplicitOptions(HashSet<String>);

impl ExplicitOptions {
    pub(super) fn of(matches: &ArgMatches) -> Self {
        let is_given = |id: &&clap::Id| {
            matches!(
                matches.value_source(id.as_str()),
                Some(ValueSource::CommandLine | ValueSource::EnvVariable)
            )
        };
        let explicit = matches.ids().filter(is_given);
        Self(explicit.map(|id| id.as_str().to_owned()).collect())
    }

    /// Whether the option with this name of its field was explicit.
    pub(super) fn has(&self, option: &str) -> bool {
        self.0.contains(option)
    }
}

/// Reads `host:port`; the host may be a name.
pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    let mut addresses = text
        .to_socket_addrs()
        .map_err(|error| format!("{error}; write host:port, such as 0.0.0.0:8815"))?;
    addresses
        .next()
        .ok_or_else(|| "the name has no address".to_owned())
}
