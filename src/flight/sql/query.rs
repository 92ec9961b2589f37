//! GetFlightInfo, GetSchema and DoGet of Flight SQL.

use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use arrow_flight::sql::metadata::{GetCatalogsBuilder, GetDbSchemasBuilder, SqlInfoDataBuilder};
use arrow_flight::sql::{Command, CommandGetTableTypes};
use arrow_flight::{FlightData, FlightDescriptor, FlightInfo};
use futures_util::stream::BoxStream;

use super::answer::{described, one};
use super::execute;
use super::headers::Headers;
use super::metadata::{catalog, facts, types};
use super::prepared::Prepared;
use super::refused::refused;
use super::session::CallSession;
use crate::error::Result;
use crate::write::{Budget, Targets};

/// Describes the answer to a command. A statement is run.
///
/// # Errors
/// [`ErrorKind::Unsupported`](crate::error::ErrorKind::Unsupported) for a command that the server does not answer, and
/// any error of the statement.
pub(crate) async fn info(
    targets: &Targets,
    caller: (&CallSession, &Headers),
    command: &Command,
    descriptor: FlightDescriptor,
) -> Result<FlightInfo> {
    if let Command::CommandStatementQuery(query) = command {
        return execute::query(targets, caller, query, descriptor).await;
    }
    if let Command::CommandPreparedStatementQuery(query) = command {
        return execute::inserted(&query.prepared_statement_handle, descriptor);
    }
    described(descriptor, &schema(command, "GetFlightInfo")?)
}

/// Returns the schema of the answer to a command.
///
/// # Errors
/// [`ErrorKind::Unsupported`](crate::error::ErrorKind::Unsupported) for a command that the server does not answer.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "a command that a later version of the crate has is refused by its name"
)]
pub(crate) fn schema(command: &Command, call: &str) -> Result<SchemaRef> {
    Ok(match command {
        Command::CommandGetSqlInfo(_) => Arc::new(SqlInfoDataBuilder::schema().clone()),
        Command::CommandGetCatalogs(_) => GetCatalogsBuilder::new().schema(),
        Command::CommandGetDbSchemas(_) => {
            GetDbSchemasBuilder::new(None::<String>, None::<String>).schema()
        }
        Command::CommandGetTables(command) => catalog::tables_schema(command),
        Command::CommandGetTableTypes(_) => CommandGetTableTypes {}.into_builder().schema(),
        Command::CommandGetPrimaryKeys(_) => catalog::primary_keys_schema(),
        Command::CommandGetXdbcTypeInfo(_) => types::types_schema(),
        Command::CommandStatementQuery(query) => execute::schema(query)?,
        Command::CommandPreparedStatementQuery(query) => {
            Prepared::read(&query.prepared_statement_handle)?;
            Arc::new(Schema::empty())
        }
        other => return Err(refused(other, call)),
    })
}

/// Returns the answer to a command, which is also its ticket.
///
/// # Errors
/// [`ErrorKind::Unsupported`](crate::error::ErrorKind::Unsupported) for a command that the server does not answer, and
/// any error of the answer.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "a command that a later version of the crate has is refused by its name"
)]
pub(crate) async fn answer(
    targets: &Targets,
    session: &CallSession,
    command: Command,
    budget: &Budget,
) -> Result<BoxStream<'static, Result<FlightData>>> {
    Ok(match command {
        Command::CommandGetSqlInfo(command) => one(facts::facts(&command, session.is_possible())?),
        Command::CommandGetCatalogs(_) => one(catalog::catalogs(targets)?),
        Command::CommandGetDbSchemas(command) => one(catalog::db_schemas(targets, command).await?),
        Command::CommandGetTables(command) => catalog::tables(targets, command, budget).await?,
        Command::CommandGetTableTypes(_) => one(catalog::table_types()?),
        Command::CommandGetPrimaryKeys(command) => {
            one(catalog::primary_keys(targets, command).await?)
        }
        Command::CommandGetXdbcTypeInfo(command) => one(types::types(&command)?),
        Command::TicketStatementQuery(ticket) => one(execute::answer(&ticket)?),
        other => return Err(refused(&other, "DoGet")),
    })
}
