//! Where the password of a role comes from, other than the connection text: a variable, a file, a command.

use std::fmt;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::error::{Error, Result, chain};

/// How long a command may take to print a password.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(30);

/// What is asked for the password whenever a connection is made. It is never shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PasswordSource {
    /// An environment variable of this name.
    Environment(String),
    /// A file, read for every connection, without the line ends at its end.
    File(PathBuf),
    /// A command that prints it.
    Command {
        /// The program and its arguments; no shell reads them.
        arguments: Vec<String>,
        /// How long what it printed is valid. It is run again when nine tenths of that have passed.
        lifetime: Duration,
    },
}

/// A source, and what it gave last.
#[derive(Debug)]
pub(super) struct Password {
    pub(super) source: PasswordSource,
    printed: Mutex<Option<(Given, Instant)>>,
}

/// A password to try.
#[derive(Clone)]
pub(super) struct Given {
    pub(super) text: String,
    /// It was asked for just now, and not kept from before.
    pub(super) is_new: bool,
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
    pub(super) fn new(source: PasswordSource) -> Self {
        let printed = Mutex::new(None);
        Self { source, printed }
    }

    /// The password as it is now.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`](crate::error::ErrorKind::Unavailable) when there is none. The cause goes
    /// into the log alone: clients need not know where secrets are.
    pub(super) async fn get(&self) -> Result<Given> {
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
            tracing::error!("no password for PostgreSQL: {}", chain(&error));
            Error::unavailable("the server has no password for it now; its log says why")
        })
    }

    /// Forgets what PostgreSQL did not take, unless there is another since.
    pub(super) async fn forget(&self, refused: &Given) {
        let mut printed = self.printed.lock().await;
        printed.take_if(|(kept, _)| kept.text == refused.text);
    }

    async fn printed(&self, arguments: &[String], lifetime: Duration) -> Result<Given> {
        // Whoever comes meanwhile waits for the one run.
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
    let failed = |path: &PathBuf| Error::internal(format!("cannot read {}", path.display()));
    let file = path.clone();
    let text = tokio::task::spawn_blocking(move || std::fs::read_to_string(file))
        .await
        .map_err(|error| failed(&path).with_source(error))?
        .map_err(|error| failed(&path).with_source(error))?;
    Ok(text.trim_end_matches(['\n', '\r']).to_owned())
}

/// Runs a command. What it writes elsewhere than to standard output may hold secrets, too, and is lost.
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
        .map_err(|error| failed("cannot be run".to_owned()).with_source(error))?;
    if !output.status.success() {
        return Err(failed(format!(
            "failed ({}); run it by hand, as the user of the server, to see what it says",
            output.status
        )));
    }
    let password = String::from_utf8(output.stdout)
        .map_err(|_| failed("printed something else than text".to_owned()))?;
    match password.trim_end_matches(['\n', '\r']) {
        "" => Err(failed("printed nothing".to_owned())),
        password => Ok(password.to_owned()),
    }
}
