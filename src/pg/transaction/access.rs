//! Whether PostgreSQL accepts writes.
//!
//! The access mode of a transaction is left to PostgreSQL's settings: a DBA may have made a database read-only, and a
//! standby accepts no writes. The answer to BEGIN has the mode.

use crate::error::{Error, Result};

/// The access mode of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::pg) enum Access {
    /// It may write.
    ReadWrite,
    /// A setting makes it read-only.
    ReadOnly,
    /// PostgreSQL is a standby.
    Standby,
}

impl Access {
    /// Returns the mode for the setting `transaction_read_only` and the result of `pg_is_in_recovery`.
    pub(super) fn from_settings(read_only: Option<&str>, in_recovery: Option<&str>) -> Self {
        match (read_only, in_recovery) {
            (_, Some("t")) => Self::Standby,
            (Some("on"), _) => Self::ReadOnly,
            _ => Self::ReadWrite,
        }
    }

    /// Rejects a transaction that may not write.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`](crate::error::ErrorKind::Unavailable) with SQLSTATE 25006.
    pub(super) fn check_writable(self) -> Result<()> {
        match self {
            Self::ReadWrite => Ok(()),
            Self::ReadOnly => Err(read_only(
                "PostgreSQL takes no writes: default_transaction_read_only is on for the server's login, the \
                 database or the cluster",
            )
            .with_hint("try again when a DBA has turned it off")),
            Self::Standby => Err(standby()),
        }
    }

    /// Rejects a standby.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`](crate::error::ErrorKind::Unavailable) with SQLSTATE 25006.
    pub(super) fn check_primary(self) -> Result<()> {
        match self {
            Self::ReadWrite | Self::ReadOnly => Ok(()),
            Self::Standby => Err(standby()),
        }
    }
}

fn standby() -> Error {
    read_only("PostgreSQL is a standby and takes no writes").with_hint(
        "connect to the primary, as target_session_attrs=read-write does where several hosts are named, or try again \
         when this one is promoted",
    )
}

fn read_only(message: &'static str) -> Error {
    Error::unavailable(message).with_context(|context| context.sqlstate = Some("25006".to_owned()))
}
