//! A stream of rows into one table: `CommandStatementIngest`, and the rows of a prepared INSERT.

use arrow_flight::sql::{
    Command, CommandStatementIngest, DoPutUpdateResult, TableDefinitionOptions, TableExistsOption,
    TableNotExistOption,
};
use arrow_flight::{FlightData, PutResult};
use prost::Message;

use super::headers::Headers;
use super::prepared::Prepared;
use super::refused::refused;
use super::session::{CallSession, InUse, Names};
use crate::error::{Error, Result};
use crate::flight::command::{Ingest, PutCommand};
use crate::write::{AppendBy, IfExists, Mode, OverwriteWith, Targets, WriteSpec};
use arrow_pgcopy::table::TableName;

/// A command of a DoPut that brings rows.
pub(crate) enum RowsCommand {
    /// Rows for a table.
    Ingest(CommandStatementIngest),
    /// Rows for a prepared INSERT.
    Insert(Prepared, BoundBy),
}

impl RowsCommand {
    /// Reads a command.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`](crate::error::ErrorKind::Unsupported) for a command that brings no rows, and
    /// [`ErrorKind::InvalidCommand`](crate::error::ErrorKind::InvalidCommand) for an unknown handle.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "a command that a later version of the crate has is refused by its name"
    )]
    pub(crate) fn read(command: Command) -> Result<Self> {
        match command {
            Command::CommandStatementIngest(ingest) => Ok(Self::Ingest(ingest)),
            Command::CommandPreparedStatementQuery(query) => {
                let prepared = Prepared::read(&query.prepared_statement_handle)?;
                Ok(Self::Insert(prepared, BoundBy::Query))
            }
            Command::CommandPreparedStatementUpdate(update) => {
                let prepared = Prepared::read(&update.prepared_statement_handle)?;
                Ok(Self::Insert(prepared, BoundBy::Update))
            }
            other => Err(refused(&other, "DoPut")),
        }
    }

    /// Takes the transaction of the command for it; `None` if it has none.
    ///
    /// # Errors
    /// The errors of [`CallSession::take`].
    pub(crate) async fn take(
        &self,
        session: &CallSession,
        targets: &Targets,
    ) -> Result<Option<InUse>> {
        match self {
            Self::Ingest(ingest) => {
                session
                    .take(targets, ingest.transaction_id.as_deref())
                    .await
            }
            Self::Insert(prepared, _) => prepared.take(session, targets).await,
        }
    }

    /// Returns the name of the target (empty: the default) and the write.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`](crate::error::ErrorKind::Unsupported) for options that the server does not have;
    /// [`ErrorKind::InvalidCommand`](crate::error::ErrorKind::InvalidCommand) for an ingest that does not say what to
    /// do.
    pub(crate) fn write(
        &self,
        headers: &Headers,
        names: &Names,
        in_transaction: bool,
    ) -> Result<(String, PutCommand)> {
        let (target, mut spec, columns) = match self {
            Self::Ingest(ingest) => {
                let (target, spec) = write_spec(ingest.clone(), names)?;
                (target, spec, None)
            }
            Self::Insert(prepared, _) => {
                let (target, spec) = prepared.write_spec()?;
                (target, spec, Some(prepared.columns.clone()))
            }
        };
        let end = headers.apply(&mut spec, in_transaction)?;
        let ingest = Ingest { spec, end, columns };
        Ok((target, PutCommand::Ingest(ingest)))
    }

    /// Returns the answer when rows were written.
    pub(crate) fn answer(&self, rows: u64) -> PutResult {
        match self {
            Self::Insert(prepared, BoundBy::Query) => prepared.bind(rows),
            Self::Ingest(_) | Self::Insert(_, BoundBy::Update) => row_count(rows),
        }
    }

    /// Returns the answer to a message without rows that executes an INSERT; `None` for a message with rows. Some clients,
    /// such as arrow-rs, bind the rows first, which writes them.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidCommand`](crate::error::ErrorKind::InvalidCommand) for an INSERT without rows.
    pub(crate) fn executed(&self, first: &FlightData) -> Result<Option<PutResult>> {
        match self {
            Self::Insert(prepared, BoundBy::Update) if first.data_header.is_empty() => {
                Ok(Some(row_count(prepared.bound_rows()?)))
            }
            Self::Ingest(_) | Self::Insert(..) => Ok(None),
        }
    }
}

/// How a client binds rows to a prepared statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BoundBy {
    /// It then asks for the result, which is empty.
    Query,
    /// The answer is the number of rows.
    Update,
}

/// Returns the answer to an ingest or a statement.
pub(crate) fn row_count(rows: u64) -> PutResult {
    let result = DoPutUpdateResult {
        record_count: i64::try_from(rows).unwrap_or(i64::MAX),
    };
    PutResult {
        app_metadata: result.encode_to_vec().into(),
    }
}

fn write_spec(ingest: CommandStatementIngest, names: &Names) -> Result<(String, WriteSpec)> {
    if ingest.temporary {
        return Err(Error::unsupported("temporary tables are not served")
            .with_hint("ingest into a table that is not temporary"));
    }
    if let Some(option) = ingest.options.keys().min() {
        return Err(
            Error::unsupported(format!("the ingest has the unknown option {option:?}"))
                .with_hint("send no options"),
        );
    }
    let mode = mode(ingest.table_definition_options)?;
    let (target, schema) = names.complete(ingest.catalog, ingest.schema);
    let table = TableName::from_parts(schema.into_iter().chain([ingest.table]).collect())?;
    Ok((target, WriteSpec::new(table, mode)))
}

/// Returns the mode that the two options ask for.
fn mode(options: Option<TableDefinitionOptions>) -> Result<Mode> {
    use {TableExistsOption as Exists, TableNotExistOption as Missing};
    let options = options.unwrap_or_default();
    let (missing, exists) = (options.if_not_exist, options.if_exists);
    match (Missing::try_from(missing), Exists::try_from(exists)) {
        (Ok(Missing::Create), Ok(Exists::Fail)) => Ok(Mode::Create {
            if_exists: IfExists::Fail,
        }),
        (Ok(Missing::Create), Ok(Exists::Append)) => Ok(Mode::Create {
            if_exists: IfExists::Append,
        }),
        (Ok(Missing::Create), Ok(Exists::Replace)) => Ok(Mode::Overwrite {
            with: OverwriteWith::Truncate,
        }),
        (Ok(Missing::Fail), Ok(Exists::Append)) => Ok(Mode::Append {
            create_if_missing: false,
            publish: AppendBy::Best,
        }),
        (Ok(Missing::Fail), Ok(Exists::Replace)) => Err(Error::unsupported(
            "an ingest cannot replace a table and fail without one",
        )
        .with_hint("send if_not_exist CREATE, or drop the rows and append")),
        (Ok(Missing::Fail), Ok(Exists::Fail)) => Err(Error::invalid_command(
            "the ingest fails whether the table exists or not",
        )
        .with_hint("send if_not_exist CREATE, or if_exists APPEND")),
        (Ok(Missing::Unspecified) | Err(_), _) => Err(unspecified("if_not_exist", missing)),
        (_, Ok(Exists::Unspecified) | Err(_)) => Err(unspecified("if_exists", exists)),
    }
}

fn unspecified(option: &str, value: i32) -> Error {
    let problem = match value {
        0 => format!("the ingest does not specify {option}"),
        value => format!("the ingest has the unknown value {value} of {option}"),
    };
    Error::invalid_command(problem)
        .with_hint("set both table_definition_options, as the modes of ADBC do")
}
