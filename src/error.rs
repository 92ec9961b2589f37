//! The error type of the whole crate: a fact, the place where it happened, and what to do about it.

use std::borrow::Cow;
use std::fmt;

/// The result type of the crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The kind of an error. It decides the gRPC code, and whether a retry can help.
///
/// The enum is closed on purpose: a new kind must be handled in every match.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// A descriptor, command or action that cannot be parsed.
    InvalidCommand,
    /// Columns or types of the data that do not fit the table.
    SchemaMismatch,
    /// A value that the column does not accept (SQLSTATE classes 22 and 23).
    DataRejected,
    /// An RPC, type or option that is not supported.
    Unsupported,
    /// A table, schema, database or write that does not exist.
    NotFound,
    /// A table that exists already, or a write id that is used for another write.
    AlreadyExists,
    /// A write that is already aborted, or was committed with other attempts.
    Conflict,
    /// Missing or invalid credentials.
    Unauthenticated,
    /// The principal, or its role in PostgreSQL, lacks the permission.
    PermissionDenied,
    /// The server is busy or draining, or PostgreSQL cannot be reached: the only retryable kind.
    Unavailable,
    /// The client cancelled the call.
    Cancelled,
    /// A deadline passed.
    Timeout,
    /// A commit was decided, and another session had ended prepared transactions that held some of its rows.
    PreparedLost,
    /// A bug or a wrong configuration of the server.
    Internal,
}

impl ErrorKind {
    /// Returns the kind as clients see it (`google.rpc.ErrorInfo.reason`), as in `DATA_REJECTED`.
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

    /// All kinds.
    pub const ALL: [Self; 14] = [
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

    /// Returns the kind that clients see as this reason.
    pub fn from_reason(reason: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.reason() == reason)
    }

    /// Returns whether the same call may succeed later, unchanged.
    pub fn is_retryable(self) -> bool {
        self == Self::Unavailable
    }
}

/// The place of an error: names, types and numbers, and never the value of a cell.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Context {
    /// The table, quoted for SQL.
    pub table: Option<String>,
    /// The column, as the data or the catalog names it.
    pub column: Option<String>,
    /// The row number within the stream, from 0.
    pub row: Option<u64>,
    /// The constraint that PostgreSQL names.
    pub constraint: Option<String>,
    /// The SQLSTATE: five characters (PostgreSQL manual, appendix A).
    pub sqlstate: Option<String>,
    /// The id of the write.
    pub write_id: Option<String>,
    /// The partition of the write whose stream failed.
    pub partition_id: Option<u32>,
    /// Whether the commit of the write is decided: the same call then returns its result, sooner or later.
    pub decided: bool,
}

/// An error: a message, its place, its cause, and what to do about it.
///
/// `Display` prints the message alone: one lower-case fact without the place and without advice. The place is in
/// [`Error::context`], the advice in [`Error::hint`] and [`Error::fix_sql`], and the cause in
/// [`std::error::Error::source`]. [`Report`] prints them all. Build an error with the constructor of its kind; callers
/// add the context that they know:
///
/// ```
/// use pgflight::error::{Error, ErrorKind};
/// let error = Error::data_rejected("value is out of range for integer")
///     .with_hint("widen the column, or filter such values before writing")
///     .with_column("fare")
///     .with_row(7);
/// assert_eq!(error.kind(), ErrorKind::DataRejected);
/// assert_eq!(error.context().row, Some(7));
/// assert_eq!(
///     error.report().to_string(),
///     "value is out of range for integer [column fare, row 7]. Hint: widen the column, or filter such values \
///      before writing"
/// );
/// ```
#[derive(Debug)]
pub struct Error(Box<Inner>);

#[derive(Debug)]
struct Inner {
    kind: ErrorKind,
    message: Cow<'static, str>,
    hint: Option<Cow<'static, str>>,
    fix_sql: Vec<String>,
    context: Context,
    is_in_full: bool,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

macro_rules! constructors {
    ($($name:ident => $kind:ident),+ $(,)?) => {$(
        #[doc = concat!("Returns an [`ErrorKind::", stringify!($kind), "`] error with this message.")]
        pub fn $name(message: impl Into<Cow<'static, str>>) -> Self {
            Self::new(ErrorKind::$kind, message)
        }
    )+};
}

impl Error {
    /// Returns an error of a kind, with a message that is one fact.
    pub fn new(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Inner {
            kind,
            message: message.into(),
            hint: None,
            fix_sql: Vec::new(),
            context: Context::default(),
            is_in_full: false,
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

    /// Returns the kind.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Returns the place.
    pub fn context(&self) -> &Context {
        &self.0.context
    }

    /// Changes the context. Fields that `change` does not set keep their values.
    pub fn with_context(mut self, change: impl FnOnce(&mut Context)) -> Self {
        change(&mut self.0.context);
        self
    }

    /// Returns the hint of this error, or else of its first cause that has one.
    pub fn hint(&self) -> Option<&str> {
        let own = self.0.hint.as_deref();
        own.or_else(|| self.cause()?.hint())
    }

    /// Returns the SQL statements that fix it, in this order: those of this error, or else of its first cause that has
    /// any.
    pub fn fix_sql(&self) -> &[String] {
        match (&*self.0.fix_sql, self.cause()) {
            ([], Some(cause)) => cause.fix_sql(),
            (own, _) => own,
        }
    }

    /// Marks the error for a client that shows its user one text only, which must then have the place and the hint.
    pub fn in_full(mut self) -> Self {
        self.0.is_in_full = true;
        self
    }

    /// Returns whether the error is marked by [`Error::in_full`].
    pub fn is_in_full(&self) -> bool {
        self.0.is_in_full
    }

    /// Returns the error as one line for a person: message, causes, place and hint.
    pub fn report(&self) -> Report<'_> {
        Report(self)
    }

    fn cause(&self) -> Option<&Self> {
        self.0.source.as_deref()?.downcast_ref()
    }

    /// Sets the hint: what to do about it, as an imperative in lower case.
    pub fn with_hint(mut self, hint: impl Into<Cow<'static, str>>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// Adds a SQL statement that fixes it.
    pub fn with_fix_sql(mut self, statement: impl Into<String>) -> Self {
        self.0.fix_sql.push(statement.into());
        self
    }

    /// Wraps it as the cause of an error of the same kind, at the same place, with this message.
    pub fn caused(self, message: impl Into<Cow<'static, str>>) -> Self {
        let kind = self.kind();
        self.caused_kind(kind, message)
    }

    /// Wraps it as the cause of an [`ErrorKind::Unavailable`] with this message, at the same place: for a call that may
    /// have succeeded, and that can be repeated.
    pub fn into_retryable(self, message: impl Into<Cow<'static, str>>) -> Self {
        self.caused_kind(ErrorKind::Unavailable, message)
    }

    fn caused_kind(self, kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        let context = self.context().clone();
        Self::new(kind, message)
            .with_context(|own| *own = context)
            .with_source(self)
    }

    /// Sets the column, unless one is set already.
    pub fn with_column(self, column: impl Into<String>) -> Self {
        self.with_context(|c| {
            c.column.get_or_insert_with(|| column.into());
        })
    }

    /// Sets the table, unless one is set already.
    pub fn with_table(self, table: impl fmt::Display) -> Self {
        self.with_context(|c| {
            c.table.get_or_insert_with(|| table.to_string());
        })
    }

    /// Sets the row number within the stream, from 0, unless one is set already.
    pub fn with_row(self, row: u64) -> Self {
        self.with_context(|c| {
            c.row.get_or_insert(row);
        })
    }

    /// Sets the write, unless one is set already.
    pub fn with_write_id(self, write_id: impl Into<String>) -> Self {
        self.with_context(|c| {
            c.write_id.get_or_insert_with(|| write_id.into());
        })
    }

    /// Sets the cause.
    pub fn with_source(
        mut self,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        self.0.source = Some(source.into());
        self
    }
}

/// The message as it is, which may have several lines. Logs take [`Error::report`].
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

/// Takes over message, hint and place of the encoder's error.
impl From<arrow_pgcopy::Error> for Error {
    fn from(error: arrow_pgcopy::Error) -> Self {
        use arrow_pgcopy::ErrorKind as K;
        let kind = match error.kind() {
            K::InvalidInput => ErrorKind::InvalidCommand,
            K::SchemaMismatch => ErrorKind::SchemaMismatch,
            K::DataRejected => ErrorKind::DataRejected,
            K::Internal => ErrorKind::Internal,
        };
        let own = Self::new(kind, error.message().to_owned()).with_context(|context| {
            context.table = error.table().map(str::to_owned);
            context.column = error.column().map(str::to_owned);
            context.row = error.row();
            context.sqlstate = error.sqlstate().map(str::to_owned);
        });
        match error.hint() {
            Some(hint) => own.with_hint(hint.to_owned()),
            None => own,
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

/// An [`Error`] as one line for a person: `message: causes [place]. Hint: what to do`.
///
/// A SQL statement that fixes it comes after the hint. Control characters, which a name may hold, are escaped.
#[derive(Debug, Clone, Copy)]
pub struct Report<'a>(&'a Error);

impl Report<'_> {
    /// Returns the message and its causes.
    pub fn fact(self) -> String {
        one_line(&chain(self.0))
    }

    /// Returns the place, as in `table t, row 7`. Empty when nothing is known.
    pub fn place(self) -> String {
        let Context {
            table,
            column,
            row,
            constraint,
            sqlstate,
            write_id,
            partition_id,
            decided: _,
        } = self.0.context();
        let row = row.map(|row| row.to_string());
        let partition = partition_id.map(|id| id.to_string());
        let column = column.as_deref().map(quoted);
        let constraint = constraint.as_deref().map(quoted);
        let places = [
            ("table", table),
            ("column", &column),
            ("row", &row),
            ("constraint", &constraint),
            ("write", write_id),
            ("partition", &partition),
            ("SQLSTATE", sqlstate),
        ];
        let places = places.iter().filter_map(|(what, name)| {
            let name = name.as_ref()?;
            Some(format!("{what} {name}"))
        });
        one_line(&places.collect::<Vec<_>>().join(", "))
    }

    /// Returns the hint with the SQL statements that fix it; `None` without either.
    pub fn advice(self) -> Option<String> {
        let statements = self.0.fix_sql().join("; ");
        let advice = match (self.0.hint(), &*statements) {
            (None, "") => return None,
            (None, statements) => statements.to_owned(),
            (Some(hint), "") => hint.to_owned(),
            (Some(hint), statements) => format!("{hint}: {statements}"),
        };
        Some(one_line(&advice))
    }
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.fact())?;
        match &*self.place() {
            "" => {}
            place => write!(f, " [{place}]")?,
        }
        match self.advice() {
            Some(advice) => write!(f, ". Hint: {advice}"),
            None => Ok(()),
        }
    }
}

/// Returns a name in double quotes, unless it consists of letters, digits and underscores.
fn quoted(name: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || c == '_';
    if !name.is_empty() && name.chars().all(is_plain) {
        return name.to_owned();
    }
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Returns a text with its control characters escaped: a name may hold a line break, and a line must stay one.
pub fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() {
            line.extend(c.escape_default());
        } else {
            line.push(c);
        }
    }
    line
}

/// Returns an error and its causes: `could not reach PostgreSQL: connection refused`.
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

#[cfg(test)]
mod tests {
    use super::Error;

    #[test]
    fn a_report_is_one_line() {
        let forged = Error::internal("a\n2026-01-01 INFO b\x1b[31m");
        let line = "a\\n2026-01-01 INFO b\\u{1b}[31m";
        assert_eq!(forged.report().to_string(), line);
        let caused = Error::unavailable("c").with_source(forged);
        assert_eq!(caused.report().to_string(), format!("c: {line}"));
    }
}
