//! Opens connections for a pool.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use deadpool::managed::{Manager, Metrics, RecycleError, RecycleResult};
use tokio::net::UnixStream;
use tokio::task::JoinHandle;
use tokio_postgres::config::{Host, SslMode, SslNegotiation};
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Config, NoTls, SimpleQueryMessage, SimpleQueryRow};

use super::client::Connection;
use super::config::ConnectionConfig;
use super::password::Password;
use super::sqlstate::{About, from_postgres};
use super::tap::{Handshake, Replies, Tap, Tapped};
use super::tls::Tls;
use crate::error::{Error, Result};

/// Asks for the process that answers, and asks PostgreSQL to check, while a statement runs, that its client is still
/// connected. The answer has a second row if PostgreSQL can check this: from version 14 on, on systems that support it
/// (manual, 20.3.2 TCP Settings). The setting lasts for this message alone.
const CHECK_CLIENT: &str = "
    SELECT pg_catalog.pg_backend_pid();
    SELECT pg_catalog.set_config(name, '5s', true) FROM pg_catalog.pg_settings
    WHERE name OPERATOR(pg_catalog.=) 'client_connection_check_interval'";

/// Longest time that PostgreSQL may take to answer, when the connection text has no `connect_timeout`.
const DEFAULT_ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Opens connections for a pool, and checks those that are returned.
pub(in crate::pg) struct Connector {
    config: Config,
    tls: Tls,
    password: Option<Arc<Password>>,
}

/// The reason that a connection could not be opened.
#[derive(Debug, thiserror::Error)]
pub(in crate::pg) enum ConnectError {
    /// The source gave no password.
    #[error(transparent)]
    Password(#[from] Error),
    /// PostgreSQL rejected the connection, or could not be reached.
    #[error(transparent)]
    Postgres(#[from] tokio_postgres::Error),
    /// The connection was accepted, and no answer came in time.
    #[error("no answer within {}", humantime::format_duration(*.0))]
    NoAnswer(Duration),
}

/// The hint for a PostgreSQL that accepts a connection and does not answer.
pub(in crate::pg) const NO_ANSWER_HINT: &str = "look at PostgreSQL and the network, or, behind a pooler, give its pool \
    the number of connections that `pgflight check` prints, for each server; then try again";

impl ConnectError {
    /// Converts it.
    pub(in crate::pg) fn to_error(&self) -> Error {
        match self {
            Self::Password(error) => {
                let copy = Error::new(error.kind(), error.to_string());
                match error.hint() {
                    Some(hint) => copy.with_hint(hint.to_owned()),
                    None => copy,
                }
            }
            Self::Postgres(error) => from_postgres(error, About::Statement, None),
            Self::NoAnswer(_) => Error::unavailable(self.to_string()).with_hint(NO_ANSWER_HINT),
        }
    }
}

impl Connector {
    pub(in crate::pg) fn new(connection: &ConnectionConfig) -> Self {
        let mut config = connection.driver().clone();
        // Both make room for the tap, see there. Whether the connection uses TLS is decided by `tls`.
        config
            .ssl_mode(SslMode::Require)
            .ssl_negotiation(SslNegotiation::Direct);
        // The driver wants a host name wherever it may use TLS.
        if config.get_hosts().is_empty() {
            for address in config.get_hostaddrs().to_vec() {
                config.host(address.to_string());
            }
        }
        let tls = connection.tls().clone();
        let password = connection.password().cloned();
        Self {
            config,
            tls,
            password,
        }
    }

    /// Connects with a configuration that has the password, and waits for a first answer.
    async fn connect(&self, config: &Config) -> Result<Connection, ConnectError> {
        let replies = Replies::new();
        let handshake = Arc::new(Handshake::default());
        let answer_timeout = config
            .get_connect_timeout()
            .copied()
            .unwrap_or(DEFAULT_ANSWER_TIMEOUT);
        let is_socket = |host: &Host| matches!(host, Host::Unix(_));
        let (client, task) = tokio::select! {
            connected = async {
                if config.get_hosts().iter().all(is_socket) {
                    return connect_by_socket(config, &replies, &handshake).await;
                }
                let tap = Tap::new(replies.clone(), Arc::clone(&handshake), self.tls.clone());
                let (client, connection) = config.connect(tap).await?;
                Ok((client, tokio::spawn(drive(connection))))
            } => connected?,
            () = no_answer(&handshake, answer_timeout) => {
                return Err(ConnectError::NoAnswer(answer_timeout));
            }
        };
        let mut connection = Connection {
            client,
            task: Some(task),
            replies,
            handshake,
            tls: self.tls.clone(),
            checks_client: false,
            is_direct: false,
            is_used: AtomicBool::new(false),
            answer_timeout,
            has_stray_name: AtomicBool::new(false),
        };
        // A pooler answers the login itself. It answers this only when it has a connection to PostgreSQL for us.
        let asked = connection.client.simple_query(CHECK_CLIENT);
        match tokio::time::timeout(answer_timeout, asked).await {
            Ok(Ok(answers)) => {
                let rows: Vec<_> = answers.iter().filter_map(as_row).collect();
                // A pooler invents the process id of the login.
                let process = rows.first().and_then(|row| row.get(0)?.parse().ok());
                connection.is_direct = process.is_some() && process == connection.process();
                connection.checks_client = rows.len() > 1;
            }
            Ok(Err(error)) if connection.client.is_closed() => return Err(error.into()),
            Ok(Err(error)) => {
                tracing::debug!(%error, "PostgreSQL cannot check whether its client is connected");
            }
            Err(_) => return Err(ConnectError::NoAnswer(answer_timeout)),
        }
        Ok(connection)
    }
}

fn as_row(answer: &SimpleQueryMessage) -> Option<&SimpleQueryRow> {
    if let SimpleQueryMessage::Row(row) = answer {
        Some(row)
    } else {
        None
    }
}

/// Completes when the host that was reached last has not completed the login within `timeout`. The driver limits how
/// long reaching a host may take.
async fn no_answer(handshake: &Handshake, timeout: Duration) {
    let mut reached = handshake.reached.subscribe();
    // The sender outlives this.
    reached.wait_for(|count| *count > 0).await.ok();
    while tokio::time::timeout(timeout, reached.changed())
        .await
        .is_ok()
    {}
}

/// Connects by a socket in the file system. The driver takes no tap there, so the socket is opened here.
async fn connect_by_socket(
    config: &Config,
    replies: &Replies,
    handshake: &Arc<Handshake>,
) -> Result<(Client, JoinHandle<()>), tokio_postgres::Error> {
    let mut config = config.clone();
    config.ssl_mode(SslMode::Disable);
    let mut last = None;
    for (index, host) in config.get_hosts().iter().enumerate() {
        let Host::Unix(folder) = host else { continue };
        let port = config.get_ports().get(index).or(config.get_ports().first());
        let path = folder.join(format!(".s.PGSQL.{}", port.copied().unwrap_or(5432)));
        let Ok(stream) = UnixStream::connect(path).await else {
            continue;
        };
        handshake.host_reached();
        let tapped = Tapped::new(stream, replies.clone(), Arc::clone(handshake));
        match config.connect_raw(tapped, NoTls).await {
            Ok((client, connection)) => return Ok((client, tokio::spawn(drive(connection)))),
            Err(error) => last = Some(error),
        }
    }
    match last {
        Some(error) => Err(error),
        // No socket accepts connections: the driver then makes the error.
        None => match config.connect(NoTls).await {
            Ok((client, connection)) => Ok((client, tokio::spawn(drive(connection)))),
            Err(error) => Err(error),
        },
    }
}

impl Manager for Connector {
    type Type = Connection;
    type Error = ConnectError;

    async fn create(&self) -> Result<Connection, ConnectError> {
        let Some(password) = &self.password else {
            return self.connect(&self.config).await;
        };
        loop {
            let given = password.get().await?;
            let mut config = self.config.clone();
            config.password(&given.text);
            let connected = self.connect(&config).await;
            if connected.as_ref().is_err_and(is_wrong_password) {
                password.forget(&given).await;
                // The password may have been changed before the end of its lifetime.
                if !given.is_new {
                    continue;
                }
            }
            return connected;
        }
    }

    async fn recycle(
        &self,
        connection: &mut Connection,
        _: &Metrics,
    ) -> RecycleResult<ConnectError> {
        if connection.client.is_closed() {
            return Err(RecycleError::message("the connection is closed"));
        }
        Ok(())
    }
}

fn is_wrong_password(error: &ConnectError) -> bool {
    match error {
        ConnectError::Postgres(error) => error.code() == Some(&SqlState::INVALID_PASSWORD),
        ConnectError::Password(_) | ConnectError::NoAnswer(_) => false,
    }
}

/// Reads and writes for a client until it is dropped or the connection breaks.
async fn drive(connection: impl Future<Output = Result<(), tokio_postgres::Error>>) {
    if let Err(error) = connection.await {
        tracing::debug!(%error, "a connection to PostgreSQL has ended");
    }
}
