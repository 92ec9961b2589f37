//! Passwords that come from a variable, a file or a command, and not from the connection text.

use std::fmt;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::error::{Error, Result};

/// Longest time that a command may take to print a password.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(30);

/// The source that is read for a password whenever a connection is opened. The password is never printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PasswordSource {
    /// An environment variable of this name.
    Environment(String),
    /// A file. Line ends at its end do not count.
    File(PathBuf),
    /// A command that prints it.
    Command {
        /// The program and its arguments; no shell reads them.
        arguments: Vec<String>,
        /// The time that a printed password is valid. The command runs again when nine tenths of it have passed.
        lifetime: Duration,
    },
}

/// A source, and the password that its command printed last.
#[derive(Debug)]
pub(in crate::pg) struct Password {
    pub(in crate::pg) source: PasswordSource,
    printed: Mutex<Option<(Given, Instant)>>,
}

/// A password to try.
#[derive(Clone)]
pub(in crate::pg) struct Given {
    pub(in crate::pg) text: String,
    /// Whether it was read now, and not kept from an earlier connection.
    pub(in crate::pg) is_new: bool,
}

impl fmt::Debug for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Given(hidden)")
    }
}

impl Given {
    fn new(text: String) -> Self {
        let is_new = true;
        Self { text, is_new }
    }
}

impl Password {
    pub(in crate::pg) fn new(source: PasswordSource) -> Self {
        let printed = Mutex::new(None);
        Self { source, printed }
    }

    /// Reads the current password.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`](crate::error::ErrorKind::Unavailable) when the source gives none. Only the log has
    /// the cause: clients need not know where the server keeps secrets.
    pub(in crate::pg) async fn get(&self) -> Result<Given> {
        let found = match &self.source {
            PasswordSource::Environment(name) => {
                std::env::var(name).map(Given::new).map_err(|_| {
                    Error::internal(format!("the environment variable {name} is not set"))
                })
            }
            PasswordSource::File(path) => read(path.clone()).await.map(Given::new),
            PasswordSource::Command {
                arguments,
                lifetime,
            } => self.printed(arguments, *lifetime).await,
        };
        found.map_err(|error| {
            tracing::error!(
                "could not read the password for PostgreSQL: {}",
                error.report()
            );
            Error::unavailable("the server could not read its password for PostgreSQL")
                .with_hint("look into the server's log, and try again")
        })
    }

    /// Forgets a password that PostgreSQL rejected, unless a newer one was read since.
    pub(in crate::pg) async fn forget(&self, refused: &Given) {
        let mut printed = self.printed.lock().await;
        printed.take_if(|(kept, _)| kept.text == refused.text);
    }

    async fn printed(&self, arguments: &[String], lifetime: Duration) -> Result<Given> {
        // Other connections wait here for the one run.
        let mut printed = self.printed.lock().await;
        if let Some((password, until)) = &*printed
            && Instant::now() < *until
        {
            return Ok(password.clone());
        }
        let password = Given::new(run(arguments).await?);
        let until = Instant::now() + lifetime / 10 * 9;
        let kept = Given {
            is_new: false,
            ..password.clone()
        };
        *printed = Some((kept, until));
        Ok(password)
    }
}

async fn read(path: PathBuf) -> Result<String> {
    let failed = |path: &PathBuf| Error::internal(format!("could not read {}", path.display()));
    let file = path.clone();
    let text = tokio::task::spawn_blocking(move || std::fs::read_to_string(file))
        .await
        .map_err(|error| failed(&path).with_source(error))?
        .map_err(|error| failed(&path).with_source(error))?;
    Ok(text.trim_end_matches(['\n', '\r']).to_owned())
}

/// Runs a command and returns its standard output. Its standard error is discarded, since it may hold secrets.
async fn run(arguments: &[String]) -> Result<String> {
    let (program, arguments) = arguments
        .split_first()
        .ok_or_else(|| Error::internal("the password command is empty"))?;
    let failed = |what: String| Error::internal(format!("the password command {program} {what}"));
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(COMMAND_TIMEOUT, output)
        .await
        .map_err(|_| failed(format!("took longer than {} s", COMMAND_TIMEOUT.as_secs())))?
        .map_err(|error| failed("could not be run".to_owned()).with_source(error))?;
    if !output.status.success() {
        return Err(failed(format!("failed ({})", output.status))
            .with_hint("run it by hand as the user of the server, and read its output"));
    }
    let password = String::from_utf8(output.stdout)
        .map_err(|_| failed("printed bytes that are not UTF-8".to_owned()))?;
    match password.trim_end_matches(['\n', '\r']) {
        "" => Err(failed("printed nothing".to_owned())),
        password => Ok(password.to_owned()),
    }
}
