//! `CommandStatementIngest`: a stream of rows into one table.

use arrow_flight::PutResult;
use arrow_flight::sql::{
    Command, CommandStatementIngest, DoPutUpdateResult, TableDefinitionOptions, TableExistsOption,
    TableNotExistOption,
};
use bytes::Bytes;
use prost::Message;

use super::headers::Headers;
use super::refused::refused;
use super::session::Names;
use crate::error::{Error, Result};
use crate::flight::command::PutCommand;
use crate::write::{AppendBy, IfExists, Mode, OverwriteWith, WriteSpec};
use arrow_pgcopy::table::TableName;

/// Turns the command of a DoPut into the name of the target (empty: the default) and the write.
///
/// # Errors
/// [`ErrorKind::Unsupported`](crate::error::ErrorKind::Unsupported) for another command, and for options that the
/// server does not have; [`ErrorKind::InvalidCommand`](crate::error::ErrorKind::InvalidCommand) for an ingest that
/// does not say what to do.
pub(crate) fn ingest(
    command: Command,
    headers: &Headers,
    names: &Names,
    in_transaction: bool,
) -> Result<(String, PutCommand)> {
    let Command::CommandStatementIngest(ingest) = command else {
        return Err(refused(&command, "DoPut"));
    };
    let (target, mut spec) = write_spec(ingest, names)?;
    let end = headers.apply(&mut spec, in_transaction)?;
    Ok((target, PutCommand::Ingest(spec, end)))
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

/// Returns the transaction that a command names.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "a command that a later version of the crate has is refused by its name"
)]
pub(crate) fn transaction_id(command: &Command) -> Option<Bytes> {
    match command {
        Command::CommandStatementIngest(ingest) => ingest.transaction_id.clone(),
        Command::CommandStatementUpdate(update) => update.transaction_id.clone(),
        Command::CommandStatementQuery(query) => query.transaction_id.clone(),
        _ => None,
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
