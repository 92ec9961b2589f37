//! One error for the whole crate: what went wrong, where, and what to do about it.

use std::fmt;

/// The result of anything here that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What kind of thing went wrong; decides the gRPC code and whether a retry can help.
///
/// Closed on purpose: a new kind must be handled wherever kinds are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// A descriptor, command or action that cannot be understood.
    InvalidCommand,
    /// Columns or types of the data do not fit the table.
    SchemaMismatch,
    /// A value that the column cannot take (SQLSTATE classes 22 and 23).
    DataRejected,
    /// An RPC, type or option that is not served.
    Unsupported,
    /// A table, schema, database or write that is not there.
    NotFound,
    /// A table that is already there, or a write id that was used for something else.
    AlreadyExists,
    /// A write that is already aborted, or was committed otherwise.
    Conflict,
    /// The caller did not say who it is, or not believably.
    Unauthenticated,
    /// The caller, or the server's database role, may not do this.
    PermissionDenied,
    /// Busy, draining, or PostgreSQL out of reach: the only kind worth a retry.
    Unavailable,
    /// The caller left.
    Cancelled,
    /// A deadline passed.
    Timeout,
    /// A commit was decided, and another session had ended prepared transactions that held some of its rows.
    PreparedLost,
    /// A bug or a misconfiguration of ours.
    Internal,
}

impl ErrorKind {
    /// The kind as clients see it (`google.rpc.ErrorInfo.reason`): `DATA_REJECTED`.
    pub fn reason(self) -> &'static str {
        match self {
            Self::InvalidCommand => "INVALID_COMMAND",
            Self::SchemaMismatch => "SCHEMA_MISMATCH",
            Self::DataRejected => "DATA_REJECTED",
            Self::Unsupported => "UNSUPPORTED",
            Self::NotFound => "NOT_FOUND",
            Self::AlreadyExists => "ALREADY_EXISTS",
            Self::Conflict => "CONFLICT",
            Self::Unauthenticated => "UNAUTHENTICATED",
            Self::PermissionDenied => "PERMISSION_DENIED",
            Self::Unavailable => "UNAVAILABLE",
            Self::Cancelled => "CANCELLED",
            Self::Timeout => "TIMEOUT",
            Self::PreparedLost => "PREPARED_LOST",
            Self::Internal => "INTERNAL",
        }
    }

    /// The kind that clients see as this reason.
    pub fn from_reason(reason: &str) -> Option<Self> {
        let all = [
            Self::InvalidCommand,
            Self::SchemaMismatch,
            Self::DataRejected,
            Self::Unsupported,
            Self::NotFound,
            Self::AlreadyExists,
            Self::Conflict,
            Self::Unauthenticated,
            Self::PermissionDenied,
            Self::Unavailable,
            Self::Cancelled,
            Self::Timeout,
            Self::PreparedLost,
            Self::Internal,
        ];
        all.into_iter().find(|kind| kind.reason() == reason)
    }

    /// Whether the same call may succeed later, unchanged.
    pub fn is_retryable(self) -> bool {
        self == Self::Unavailable
    }
}

/// Where an error happened. Names, types and numbers only: never the value of a cell.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Context {
    /// The table, quoted where SQL needs it.
    pub table: Option<String>,
    /// The column, as the data or the catalog names it.
    pub column: Option<String>,
    /// Row number within the stream, from 0.
    pub row: Option<u64>,
    /// The constraint PostgreSQL named.
    pub constraint: Option<String>,
    /// Five characters, as PostgreSQL's manual lists them in appendix A.
    pub sqlstate: Option<String>,
    /// The write it belongs to.
    pub write_id: Option<String>,
    /// The partition of the write whose stream it was.
    pub partition_id: Option<u32>,
    /// Whether it is decided that the write is committed: the same call then gives its result, sooner or later.
    pub decided: bool,
}

/// What went wrong, where, and because of what.
///
/// `Display` is the message alone, a fragment that begins in lower case; [`std::error::Error::source`]
/// has the cause. Build one with the constructor of its kind and add what is known on the way up:
///
/// ```
/// use pgflight::error::{Error, ErrorKind};
/// let error = Error::data_rejected("value is out of range for integer").with_column("fare").with_row(7);
/// assert_eq!(error.kind(), ErrorKind::DataRejected);
/// assert_eq!(error.context().row, Some(7));
/// ```
#[derive(Debug)]
pub struct Error(Box<Inner>);

#[derive(Debug)]
struct Inner {
    kind: ErrorKind,
    message: String,
    context: Context,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

macro_rules! constructors {
    ($($name:ident => $kind:ident),+ $(,)?) => {$(
        #[doc = concat!("An [`ErrorKind::", stringify!($kind), "`] with this message.")]
        pub fn $name(message: impl Into<String>) -> Self {
            Self::new(ErrorKind::$kind, message)
        }
    )+};
}

impl Error {
    /// An error of a kind, with a message that names what, where and what to do.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            kind,
            message: message.into(),
            context: Context::default(),
            source: None,
        }))
    }

    constructors! {
        invalid_command => InvalidCommand,
        schema_mismatch => SchemaMismatch,
        data_rejected => DataRejected,
        unsupported => Unsupported,
        not_found => NotFound,
        already_exists => AlreadyExists,
        conflict => Conflict,
        unauthenticated => Unauthenticated,
        permission_denied => PermissionDenied,
        unavailable => Unavailable,
        cancelled => Cancelled,
        timeout => Timeout,
        prepared_lost => PreparedLost,
        internal => Internal,
    }

    /// What kind of thing went wrong.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Where it happened.
    pub fn context(&self) -> &Context {
        &self.0.context
    }

    /// Changes the context; what is already known stays unless overwritten by `change`.
    pub fn with_context(mut self, change: impl FnOnce(&mut Context)) -> Self {
        change(&mut self.0.context);
        self
    }

    /// Changes the message.
    pub fn with_message(mut self, change: impl FnOnce(&str) -> String) -> Self {
        self.0.message = change(&self.0.message);
        self
    }

    /// As the cause of an [`ErrorKind::Unavailable`] with this message, which knows the same place: for a call that
    /// may have done its work, and that can be made again.
    pub fn into_retryable(self, message: impl Into<String>) -> Self {
        let context = self.context().clone();
        Self::unavailable(message)
            .with_context(|own| *own = context)
            .with_source(self)
    }

    /// Names the column, unless one is named already.
    pub fn with_column(self, column: impl Into<String>) -> Self {
        self.with_context(|c| {
            c.column.get_or_insert_with(|| column.into());
        })
    }

    /// Names the table, unless one is named already.
    pub fn with_table(self, table: impl fmt::Display) -> Self {
        self.with_context(|c| {
            c.table.get_or_insert_with(|| table.to_string());
        })
    }

    /// Gives the row number within the stream, from 0, unless one is given already.
    pub fn with_row(self, row: u64) -> Self {
        self.with_context(|c| {
            c.row.get_or_insert(row);
        })
    }

    /// Names the write, unless one is named already.
    pub fn with_write_id(self, write_id: impl Into<String>) -> Self {
        self.with_context(|c| {
            c.write_id.get_or_insert_with(|| write_id.into());
        })
    }

    /// Keeps what caused this.
    pub fn with_source(
        mut self,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        self.0.source = Some(source.into());
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

/// An error and its causes on one line: `cannot reach PostgreSQL: connection refused`.
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let piece = error.to_string();
        // Several libraries repeat their cause in their own message.
        if !text.contains(&piece) {
            text.push_str(": ");
            text.push_str(&piece);
        }
        cause = error.source();
    }
    text
}
