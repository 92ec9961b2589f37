//! One connection to PostgreSQL: the driver's client, the task behind it, and what was heard on it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use deadpool::managed::{Manager, Metrics, RecycleError, RecycleResult};
use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_postgres::config::{Host, SslMode, SslNegotiation};
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Config, NoTls, SimpleQueryMessage, SimpleQueryRow, Statement};

use super::connect::ConnectionConfig;
use super::password::Password;
use super::sqlstate::{About, Told, from_postgres};
use super::tap::{Greeting, Heard, Tap, Tapped};
use super::tls::Tls;
use crate::error::{Error, Result};

/// How long a connection may take to end in order, before it is cut.
const GOODBYE: Duration = Duration::from_secs(2);

/// Where the driver logs notices of PostgreSQL, in which the code of a table may put values of rows.
pub const NOTICES: &str = "tokio_postgres::connection";

/// A connection. Dropped, it takes leave of PostgreSQL or, when PostgreSQL takes nothing any more, is
/// cut a moment later; either way PostgreSQL rolls back what was going on.
pub(super) struct Connection {
    client: Client,
    task: Option<JoinHandle<()>>,
    heard: Heard,
    greeting: Arc<Greeting>,
    looks_for_its_client: bool,
    /// No pooler is in between: the session is this connection's alone.
    is_direct: bool,
    /// The code of a table has run since the session was as new.
    is_used: AtomicBool,
    patience: Duration,
    /// A statement may have got a name that nothing will close.
    has_stray_name: AtomicBool,
}

impl Connection {
    /// What carries out statements.
    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// Whether PostgreSQL can look, during a statement, whether its client is still there.
    pub(super) fn looks_for_its_client(&self) -> bool {
        self.looks_for_its_client
    }

    /// Whether a pooler is in between, whose sessions other clients use as well.
    pub(super) fn is_pooled(&self) -> bool {
        !self.is_direct
    }

    /// Remembers that the code of a table runs, which may leave settings, temporary tables, cursors, locks and
    /// statements behind in the session.
    pub(super) fn use_up(&self) {
        self.is_used.store(true, Ordering::Relaxed);
    }

    /// Makes the session as new, if the code of a table has run in it. Behind a pooler the session is not ours to
    /// make new.
    ///
    /// # Errors
    /// Any error that PostgreSQL or the connection reports.
    pub(super) async fn renew(&self) -> Result<(), tokio_postgres::Error> {
        if self.is_direct && self.is_used.swap(false, Ordering::Relaxed) {
            self.client.batch_execute("DISCARD ALL").await?;
            self.forget_stray_name();
        }
        Ok(())
    }

    /// How long PostgreSQL may take to answer what costs it nothing.
    pub(super) fn patience(&self) -> Duration {
        self.patience
    }

    /// Prepares a statement under a name, which the driver closes when the statement is dropped: in order with
    /// what is asked later on this connection. A future that is dropped may leave the name behind, see
    /// [`Connection::has_stray_name`].
    ///
    /// # Errors
    /// What PostgreSQL or the connection said.
    pub(super) async fn prepare(&self, sql: &str) -> Result<Statement, tokio_postgres::Error> {
        self.has_stray_name.store(true, Ordering::Relaxed);
        let prepared = self.client.prepare(sql).await;
        self.has_stray_name.store(false, Ordering::Relaxed);
        prepared
    }

    /// Whether a statement may have a name that nothing will close, since its caller left too early.
    pub(super) fn has_stray_name(&self) -> bool {
        self.has_stray_name.load(Ordering::Relaxed)
    }

    /// All names are closed.
    pub(super) fn forget_stray_name(&self) {
        self.has_stray_name.store(false, Ordering::Relaxed);
    }

    /// The process that answered the login, as it says itself: a pooler makes a number up.
    pub(super) fn process(&self) -> Option<i32> {
        match self.greeting.process.load(Ordering::Relaxed) {
            0 => None,
            process => Some(process),
        }
    }

    /// Whom to ask what PostgreSQL has said against what is going on; what was said before is forgotten.
    pub(super) fn listen(&self) -> watch::Receiver<Option<Told>> {
        self.heard.error.send_replace(None);
        self.heard.error.subscribe()
    }

    /// Runs one statement, and gives the tag with which PostgreSQL answered it; `None` when none was heard. `before`
    /// are statements that come before it, in the same round trip.
    ///
    /// # Errors
    /// What PostgreSQL or the connection said.
    pub(super) async fn run(
        &self,
        before: Option<&str>,
        statement: &str,
    ) -> Result<Option<String>, tokio_postgres::Error> {
        self.heard.tag.send_replace(None);
        match before {
            // One message, so that nothing of the transaction is left when the first fails.
            Some(before) => {
                let both = format!("{before}; {statement}");
                self.client.batch_execute(&both).await?;
            }
            None => self.client.batch_execute(statement).await?,
        }
        Ok(self.heard.tag.borrow().clone())
    }

    /// Turns an error of the driver into ours. Of a connection that was closed, PostgreSQL may have said
    /// why, where the driver does not.
    pub(super) fn explain(&self, error: &tokio_postgres::Error, about: About) -> Error {
        let heard = match error.as_db_error() {
            Some(_) => None,
            None => {
                let heard = self.heard.error.borrow();
                heard.as_ref().map(|told| told.to_error(about))
            }
        };
        heard.unwrap_or_else(|| from_postgres(error, about))
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

/// Asks for the process that answers, and whether PostgreSQL can look, during a statement, whether its client is
/// still there: from version 14 on, where its system can tell (manual, 20.3.2 TCP Settings). The setting lasts for
/// this message alone.
const CAN_LOOK: &str = "
    SELECT pg_catalog.pg_backend_pid();
    SELECT pg_catalog.set_config(name, '5s', true) FROM pg_catalog.pg_settings
    WHERE name OPERATOR(pg_catalog.=) 'client_connection_check_interval'";

/// How long PostgreSQL may take to answer, where the connection text says nothing.
const PATIENCE: Duration = Duration::from_secs(10);

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
    /// The connection is there, and there is no answer on it.
    #[error("it took the connection and did not answer within {}; {}", humantime::format_duration(*.0), NO_ANSWER)]
    Silent(Duration),
}

/// What to do about a PostgreSQL that takes a connection and does not answer.
pub(super) const NO_ANSWER: &str = "a pooler in between may have no connection of PostgreSQL left: its pool needs \
    what `pgflight check` says, for each server; without a pooler, PostgreSQL or the network hangs; try again";

impl ConnectError {
    /// In our terms.
    pub(super) fn to_error(&self) -> Error {
        match self {
            Self::Password(error) => Error::new(error.kind(), error.to_string()),
            Self::Postgres(error) => from_postgres(error, About::Statement),
            Self::Silent(_) => Error::unavailable(self.to_string()),
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

    /// Connects with this configuration, which has the password, and waits for a first answer.
    async fn connect(&self, config: &Config) -> Result<Connection, ConnectError> {
        let heard = Heard::new();
        let greeting = Arc::new(Greeting::default());
        let patience = config.get_connect_timeout().copied().unwrap_or(PATIENCE);
        let is_socket = |host: &Host| matches!(host, Host::Unix(_));
        let (client, task) = tokio::select! {
            connected = async {
                if config.get_hosts().iter().all(is_socket) {
                    return connect_by_socket(config, &heard, &greeting).await;
                }
                let tap = Tap::new(heard.clone(), Arc::clone(&greeting), self.tls.clone());
                let (client, connection) = config.connect(tap).await?;
                Ok((client, tokio::spawn(drive(connection))))
            } => connected?,
            () = silence(&greeting, patience) => return Err(ConnectError::Silent(patience)),
        };
        let mut connection = Connection {
            client,
            task: Some(task),
            heard,
            greeting,
            looks_for_its_client: false,
            is_direct: false,
            is_used: AtomicBool::new(false),
            patience,
            has_stray_name: AtomicBool::new(false),
        };
        // A pooler answers the login itself, and this only once it has a connection of PostgreSQL for us.
        let asked = connection.client.simple_query(CAN_LOOK);
        match tokio::time::timeout(patience, asked).await {
            Ok(Ok(answers)) => {
                let rows: Vec<_> = answers.iter().filter_map(as_row).collect();
                let process = rows.first().and_then(|row| row.get(0)?.parse().ok());
                connection.is_direct = process.is_some() && process == connection.process();
                connection.looks_for_its_client = rows.len() > 1;
            }
            Ok(Err(error)) if connection.client.is_closed() => return Err(error.into()),
            Ok(Err(error)) => {
                tracing::debug!(%error, "PostgreSQL cannot look whether its client is still there");
            }
            Err(_) => return Err(ConnectError::Silent(patience)),
        }
        Ok(connection)
    }
}

fn as_row(answer: &SimpleQueryMessage) -> Option<&SimpleQueryRow> {
    if let SimpleQueryMessage::Row(row) = answer {
        return Some(row);
    }
    None
}

/// Completes when the host that was reached last has not let us in for so long. How long it may take to reach one
/// is the driver's business.
async fn silence(greeting: &Greeting, patience: Duration) {
    let mut reached = greeting.reached.subscribe();
    // The sender outlives this.
    reached.wait_for(|count| *count > 0).await.ok();
    while tokio::time::timeout(patience, reached.changed())
        .await
        .is_ok()
    {}
}

/// By way of the sockets in the file system, which the driver would not let anybody listen in on.
async fn connect_by_socket(
    config: &Config,
    heard: &Heard,
    greeting: &Arc<Greeting>,
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
        greeting.reached();
        match config
            .connect_raw(
                Tapped::new(stream, heard.clone(), Arc::clone(greeting)),
                NoTls,
            )
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
            return self.connect(&self.config).await;
        };
        loop {
            let given = password.get().await?;
            let mut config = self.config.clone();
            config.password(&given.text);
            let connected = self.connect(&config).await;
            let is_refused = |error: &ConnectError| matches!(error, ConnectError::Postgres(error) if error.code() == Some(&SqlState::INVALID_PASSWORD));
            if connected.as_ref().is_err_and(is_refused) {
                password.forget(&given).await;
                // It may have been changed before its time.
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
