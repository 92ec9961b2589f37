//! Whether PostgreSQL takes writes.
//!
//! The access mode of a transaction is left to PostgreSQL's settings, since a DBA may have made a database
//! read-only, and a standby takes no other. What it is comes with the answer to BEGIN.

use super::transaction::Transaction;
use crate::error::{Error, Result};

/// Whether a transaction may write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// It may.
    ReadWrite,
    /// A setting says that it may not.
    ReadOnly,
    /// PostgreSQL is a standby.
    Standby,
}

impl Access {
    /// From the setting `transaction_read_only` and what `pg_is_in_recovery` says.
    pub(super) fn told(read_only: Option<&str>, in_recovery: Option<&str>) -> Self {
        match (read_only, in_recovery) {
            (_, Some("t")) => Self::Standby,
            (Some("on"), _) => Self::ReadOnly,
            _ => Self::ReadWrite,
        }
    }
}

impl Transaction {
    /// Refuses to write where PostgreSQL takes no writes.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`](crate::error::ErrorKind::Unavailable) with SQLSTATE 25006.
    pub(super) fn check_writable(&self) -> Result<()> {
        let message = match self.access {
            Access::ReadWrite => return Ok(()),
            Access::ReadOnly => {
                "PostgreSQL takes no writes, since default_transaction_read_only is on for the server's login, \
                 the database or the cluster; try again when a DBA has turned it off"
            }
            Access::Standby => STANDBY,
        };
        Err(read_only(message))
    }

    /// Refuses a standby.
    ///
    /// # Errors
    /// As [`Transaction::check_writable`].
    pub(crate) fn check_primary(&self) -> Result<()> {
        match self.access {
            Access::ReadWrite | Access::ReadOnly => Ok(()),
            Access::Standby => Err(read_only(STANDBY)),
        }
    }
}

const STANDBY: &str = "PostgreSQL is a standby and takes no writes; connect to the primary, as \
    target_session_attrs=read-write does where several hosts are named, or try again when it is promoted";

fn read_only(message: &str) -> Error {
    Error::unavailable(format!("{message} (25006)"))
        .with_context(|context| context.sqlstate = Some("25006".to_owned()))
}
