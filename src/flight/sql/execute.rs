//! Runs statements: `CommandStatementQuery` at GetFlightInfo, since clients of a statement without rows fetch nothing,
//! and `CommandStatementUpdate` at DoPut.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Int32Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow_flight::sql::{
    CommandStatementQuery, CommandStatementUpdate, DoPutUpdateResult, ProstMessageExt,
    TicketStatementQuery,
};
use arrow_flight::{FlightDescriptor, FlightEndpoint, FlightInfo, PutResult, Ticket};
use prost::Message;

use super::answer::unmade;
use super::headers::Headers;
use super::prepared::Prepared;
use super::session::{CallSession, InUse, Names};
use super::statement::{Statement, parse};
use crate::error::{Error, Result};
use crate::flight::access::audit::AuditRecord;
use crate::write::{TableStatement, Targets};
use arrow_pgcopy::table::TableName;

/// The handle of the answer to `SELECT 1`.
const ONE: &[u8] = b"1";
/// The time that PostgreSQL has to answer for `SELECT 1`.
const CHECK_LIMIT: Duration = Duration::from_secs(10);

/// Runs a statement, and describes its answer. A statement without rows has an answer without endpoints.
///
/// # Errors
/// The errors of [`parse`] and of the statement.
pub(super) async fn query(
    targets: &Targets,
    caller: (&CallSession, &Headers),
    query: &CommandStatementQuery,
    descriptor: FlightDescriptor,
) -> Result<FlightInfo> {
    let id = query.transaction_id.as_deref();
    let statement = run_text(targets, caller, id, &query.query).await?;
    let schema = schema_of(&statement);
    let info = FlightInfo::new().try_with_schema(&schema).map_err(unmade)?;
    let info = info.with_descriptor(descriptor);
    Ok(match statement {
        Statement::OnTable(..) => info,
        Statement::SelectOne => {
            let ticket = TicketStatementQuery {
                statement_handle: ONE.into(),
            };
            let ticket = Ticket::new(ticket.as_any().encode_to_vec());
            info.with_endpoint(FlightEndpoint::new().with_ticket(ticket))
        }
    })
}

/// Describes the result of a prepared INSERT whose rows were bound to its handle, and so written. It has no rows.
///
/// # Errors
/// [`ErrorKind::InvalidCommand`](crate::error::ErrorKind::InvalidCommand) for a handle without rows.
pub(super) fn inserted(handle: &[u8], descriptor: FlightDescriptor) -> Result<FlightInfo> {
    let written = Prepared::read(handle)?.bound_rows()?;
    let info = FlightInfo::new().try_with_schema(&Schema::empty());
    let info = info.map_err(unmade)?.with_descriptor(descriptor);
    Ok(info.with_total_records(i64::try_from(written).unwrap_or(i64::MAX)))
}

/// Runs a statement, and returns the answer to its DoPut: the number of rows is unknown.
///
/// # Errors
/// The errors of [`parse`] and of the statement.
pub(crate) async fn update(
    targets: &Targets,
    caller: (&CallSession, &Headers),
    update: CommandStatementUpdate,
) -> Result<PutResult> {
    let id = update.transaction_id.as_deref();
    run_text(targets, caller, id, &update.query).await?;
    let result = DoPutUpdateResult { record_count: -1 };
    Ok(PutResult {
        app_metadata: result.encode_to_vec().into(),
    })
}

/// Returns the schema of the answer to a statement, without running it.
///
/// # Errors
/// The errors of [`parse`].
pub(super) fn schema(query: &CommandStatementQuery) -> Result<SchemaRef> {
    Ok(schema_of(&parse(&query.query)?))
}

/// Returns the answer for a ticket of [`query`].
///
/// # Errors
/// [`ErrorKind::InvalidCommand`](crate::error::ErrorKind::InvalidCommand) for a ticket that the server did not make.
pub(super) fn answer(ticket: &TicketStatementQuery) -> Result<RecordBatch> {
    if ticket.statement_handle != ONE {
        return Err(
            Error::invalid_command("the ticket is not one of this server")
                .with_hint("get the flight info again"),
        );
    }
    let one = Int32Array::from_iter_values([1]);
    RecordBatch::try_new(schema_of(&Statement::SelectOne), vec![Arc::new(one)]).map_err(unmade)
}

/// PostgreSQL names the column of `SELECT 1` so.
fn schema_of(statement: &Statement) -> SchemaRef {
    Arc::new(match statement {
        Statement::OnTable(..) => Schema::empty(),
        Statement::SelectOne => Schema::new(vec![Field::new("?column?", DataType::Int32, false)]),
    })
}

/// Runs a statement, in the transaction that it names or that of its session.
async fn run_text(
    targets: &Targets,
    (session, headers): (&CallSession, &Headers),
    id: Option<&[u8]>,
    text: &str,
) -> Result<Statement> {
    let within = session.take(targets, id).await?;
    let run = async |within: Option<&mut InUse>| {
        let statement = parse(text)?;
        if let Statement::OnTable(statement, _) = &statement {
            headers.check_removal(statement.as_str())?;
        }
        let names = session.names(targets)?;
        // Boxed, since the future is large.
        Box::pin(run(targets, &names, statement.clone(), within)).await?;
        Ok(statement)
    };
    InUse::run_within(within, run).await
}

async fn run(
    targets: &Targets,
    names: &Names,
    statement: Statement,
    within: Option<&mut InUse>,
) -> Result<()> {
    match statement {
        Statement::OnTable(statement, name) => {
            let (target, table) = name.complete(names)?;
            run_on_table(targets, statement, &target, &table, within).await
        }
        Statement::SelectOne => targets.find("")?.1.check(CHECK_LIMIT).await,
    }
}

async fn run_on_table(
    targets: &Targets,
    statement: TableStatement,
    target: &str,
    table: &TableName,
    within: Option<&mut InUse>,
) -> Result<()> {
    let (_, writer) = targets.find(target)?;
    let record = AuditRecord::new(writer.caller(), "statement");
    let record = record.into_table(table, statement.as_str());
    let (record, done) = match &within {
        Some(within) => (record.in_transaction(within.id()), "uncommitted"),
        None => (record, "done"),
    };
    let run = match within {
        Some(within) => within.run(&writer, statement, table).await,
        None => writer.run_statement(statement, table).await,
    };
    match run {
        Ok(Some(table)) => record.succeeded(done, &table.to_string(), 0, 0),
        Ok(None) => record.succeeded("skipped", &table.to_string(), 0, 0),
        Err(error) => {
            record.failed(&error);
            return Err(error);
        }
    }
    Ok(())
}
