//! One connection to PostgreSQL: the driver's client, the task behind it, and what was heard on it.

use std::sync::Arc;
use std::time::Duration;

use deadpool::managed::{Manager, Metrics, RecycleError, RecycleResult};
use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_postgres::config::{Host, SslMode, SslNegotiation};
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Config, NoTls};

use super::connect::ConnectionConfig;
use super::password::Password;
use super::sqlstate::{Told, from_postgres};
use super::tap::{Heard, Tap, Tapped};
use super::tls::Tls;
use crate::error::{Error, Result};

/// How long a connection may take to end in order, before it is cut.
const GOODBYE: Duration = Duration::from_secs(2);

/// A connection. Dropped, it takes leave of PostgreSQL or, when PostgreSQL takes nothing any more, is
/// cut a moment later; either way PostgreSQL rolls back what was going on.
pub(super) struct Connection {
    client: Client,
    task: Option<JoinHandle<()>>,
    heard: Heard,
}

impl Connection {
    /// What carries out statements.
    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// Whom to ask what PostgreSQL has said against what is going on; what was said before is forgotten.
    pub(super) fn listen(&self) -> watch::Receiver<Option<Told>> {
        self.heard.error.send_replace(None);
        self.heard.error.subscribe()
    }

    /// Runs one statement, and gives the tag with which PostgreSQL answered it; `None` when none was heard.
    ///
    /// # Errors
    /// What PostgreSQL or the connection said.
    pub(super) async fn run(
        &self,
        statement: &str,
    ) -> Result<Option<String>, tokio_postgres::Error> {
        self.heard.tag.send_replace(None);
        self.client.batch_execute(statement).await?;
        Ok(self.heard.tag.borrow().clone())
    }

    /// Turns an error of the driver into ours. Of a connection that was closed, PostgreSQL may have said
    /// why, where the driver does not.
    pub(super) fn explain(&self, error: &tokio_postgres::Error) -> Error {
        let heard = match error.as_db_error() {
            Some(_) => None,
            None => self.heard.error.borrow().as_ref().map(Told::to_error),
        };
        heard.unwrap_or_else(|| from_postgres(error))
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // The client is dropped next, upon which its task says goodbye and ends.
        if let Some(mut task) = self.task.take()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(async move {
                if tokio::time::timeout(GOODBYE, &mut task).await.is_err() {
                    task.abort();
                }
            });
        }
    }
}

/// Makes PostgreSQL end a statement whose client has left, such as a commit whose caller did, and not finish it
/// first and roll it back then. From version 14 on (manual, 20.3.2 TCP Settings), where the system can tell.
const LOOK_FOR_US: &str = "
    SELECT pg_catalog.set_config(name, '5s', false) FROM pg_catalog.pg_settings
    WHERE name = 'client_connection_check_interval'";

/// Makes connections for a pool, and looks at those that come back.
pub(super) struct Connector {
    config: Config,
    tls: Tls,
    password: Option<Arc<Password>>,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    /// There is no password.
    #[error(transparent)]
    Password(#[from] Error),
    /// PostgreSQL, or the way to it, says no.
    #[error(transparent)]
    Postgres(#[from] tokio_postgres::Error),
}

impl ConnectError {
    /// In our terms.
    pub(super) fn to_error(&self) -> Error {
        match self {
            Self::Password(error) => Error::new(error.kind(), error.to_string()),
            Self::Postgres(error) => from_postgres(error),
        }
    }
}

impl Connector {
    pub(super) fn new(connection: &ConnectionConfig) -> Self {
        let mut config = connection.driver().clone();
        // Both make room for the tap, see there; whether there is TLS is for `tls` to say.
        config
            .ssl_mode(SslMode::Require)
            .ssl_negotiation(SslNegotiation::Direct);
        // The driver wants a name wherever it thinks of TLS.
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

    /// Connects with this configuration, which has the password.
    async fn connect(&self, config: &Config) -> Result<Connection, tokio_postgres::Error> {
        let heard = Heard::new();
        let is_socket = |host: &Host| matches!(host, Host::Unix(_));
        let (client, task) = if config.get_hosts().iter().all(is_socket) {
            connect_by_socket(config, &heard).await?
        } else {
            let tap = Tap::new(heard.clone(), self.tls.clone());
            let (client, connection) = config.connect(tap).await?;
            (client, tokio::spawn(drive(connection)))
        };
        if let Err(error) = client.batch_execute(LOOK_FOR_US).await {
            tracing::debug!(%error, "PostgreSQL will not look whether its client is still there");
        }
        let task = Some(task);
        Ok(Connection {
            client,
            task,
            heard,
        })
    }
}

/// By way of the sockets in the file system, which the driver would not let anybody listen in on.
async fn connect_by_socket(
    config: &Config,
    heard: &Heard,
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
        match config
            .connect_raw(Tapped::new(stream, heard.clone()), NoTls)
            .await
        {
            Ok((client, connection)) => return Ok((client, tokio::spawn(drive(connection)))),
            Err(error) => last = Some(error),
        }
    }
    match last {
        Some(error) => Err(error),
        // Nobody listens: the driver says so in its own words.
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
            return Ok(self.connect(&self.config).await?);
        };
        loop {
            let given = password.get().await?;
            let mut config = self.config.clone();
            config.password(&given.text);
            let connected = self.connect(&config).await;
            let is_refused =
                |error: &tokio_postgres::Error| error.code() == Some(&SqlState::INVALID_PASSWORD);
            if connected.as_ref().is_err_and(is_refused) {
                password.forget(&given).await;
                // It may have been changed before its time.
                if !given.is_new {
                    continue;
                }
            }
            return Ok(connected?);
        }
    }

    async fn recycle(
        &self,
        connection: &mut Connection,
        _: &Metrics,
    ) -> RecycleResult<ConnectError> {
        match connection.client.is_closed() {
            true => Err(RecycleError::message("the connection is closed")),
            false => Ok(()),
        }
    }
}

/// Reads and writes for a client until it is dropped or the connection breaks.
async fn drive(connection: impl Future<Output = Result<(), tokio_postgres::Error>>) {
    if let Err(error) = connection.await {
        tracing::debug!(%error, "a connection to PostgreSQL has ended");
    }
}
