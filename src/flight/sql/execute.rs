//! Runs statements: `CommandStatementQuery` at GetFlightInfo, since clients of a statement without rows fetch nothing,
//! and `CommandStatementUpdate` at DoPut.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, Int32Array, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow_flight::sql::{
    CommandStatementQuery, CommandStatementUpdate, DoPutUpdateResult, ProstMessageExt,
    TicketStatementQuery,
};
use arrow_flight::{FlightDescriptor, FlightEndpoint, FlightInfo, PutResult, Ticket};
use prost::{Message, Oneof};

use super::answer::unmade;
use super::headers::Headers;
use super::prepared::Prepared;
use super::session::{CallSession, InUse, Names};
use super::statement::{Create, Statement, parse};
use crate::error::{Error, Result};
use crate::flight::access::audit::AuditRecord;
use crate::write::{IfExists, Mode, Targets, WriteSpec, Writer};
use arrow_pgcopy::table::TableName;
use arrow_pgcopy::{Ident, QualifiedName};

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
    let (statement, value) = run_text(targets, caller, id, &query.query).await?;
    let schema = schema_of(&statement);
    let info = FlightInfo::new().try_with_schema(&schema).map_err(unmade)?;
    let info = info.with_descriptor(descriptor);
    let Some(value) = value else {
        return Ok(info);
    };
    let ticket = TicketStatementQuery {
        statement_handle: value.encode_to_vec().into(),
    };
    let ticket = Ticket::new(ticket.as_any().encode_to_vec());
    Ok(info.with_endpoint(FlightEndpoint::new().with_ticket(ticket)))
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
    let handle = &*ticket.statement_handle;
    let value = Value::decode(handle).ok().and_then(|value| value.of);
    let (schema, column): (_, ArrayRef) = match value {
        Some(ValueOf::One(one)) => (one_schema(), Arc::new(Int32Array::from(vec![one]))),
        Some(ValueOf::Count(count)) => (count_schema(), Arc::new(Int64Array::from(vec![count]))),
        None => {
            return Err(
                Error::invalid_command("the ticket is not one of this server")
                    .with_hint("get the flight info again"),
            );
        }
    };
    RecordBatch::try_new(Arc::new(schema), vec![column]).map_err(unmade)
}

/// The value that a statement returns. It is the handle of the answer, so that any server gives it.
#[derive(Clone, Copy, PartialEq, Message)]
struct Value {
    #[prost(oneof = "ValueOf", tags = "1, 2")]
    of: Option<ValueOf>,
}

#[derive(Clone, Copy, PartialEq, Oneof)]
enum ValueOf {
    /// That of `SELECT 1`.
    #[prost(int32, tag = "1")]
    One(i32),
    /// That of `SELECT count(*)`.
    #[prost(int64, tag = "2")]
    Count(i64),
}

impl Value {
    fn new(of: ValueOf) -> Self {
        Self { of: Some(of) }
    }
}

fn schema_of(statement: &Statement) -> SchemaRef {
    Arc::new(match statement {
        Statement::OnTable(..) | Statement::Create(_) => Schema::empty(),
        Statement::Count(_) => count_schema(),
        Statement::SelectOne => one_schema(),
    })
}

/// PostgreSQL names the column of `SELECT 1` so.
fn one_schema() -> Schema {
    Schema::new(vec![Field::new("?column?", DataType::Int32, false)])
}

fn count_schema() -> Schema {
    Schema::new(vec![Field::new("count", DataType::Int64, false)])
}

/// Runs a statement, in the transaction that it names or that of its session. Returns its value, if it has one.
async fn run_text(
    targets: &Targets,
    (session, headers): (&CallSession, &Headers),
    id: Option<&[u8]>,
    text: &str,
) -> Result<(Statement, Option<Value>)> {
    let within = session.take(targets, id).await?;
    let run = async |within: Option<&mut InUse>| {
        let statement = parse(text)?;
        if let Statement::OnTable(statement, _) = &statement {
            headers.check_removal(statement.as_str())?;
        }
        let names = session.names(targets)?;
        // Boxed, since the future is large.
        let value = Box::pin(run(targets, &names, statement.clone(), within)).await?;
        Ok((statement, value))
    };
    InUse::run_within(within, run).await
}

async fn run(
    targets: &Targets,
    names: &Names,
    statement: Statement,
    within: Option<&mut InUse>,
) -> Result<Option<Value>> {
    let (name, what) = match &statement {
        Statement::OnTable(statement, name) => (name, statement.as_str()),
        Statement::Create(create) => (&create.name, "create"),
        Statement::Count(name) => (name, "count"),
        Statement::SelectOne => {
            targets.find("")?.1.check(CHECK_LIMIT).await?;
            return Ok(Some(Value::new(ValueOf::One(1))));
        }
    };
    let (target, table) = name.clone().complete(names)?;
    let (_, writer) = targets.find(&target)?;
    let record = AuditRecord::new(writer.caller(), "statement").into_table(&table, what);
    let (record, done) = match &within {
        Some(within) => (record.in_transaction(within.id()), "uncommitted"),
        None => (record, "done"),
    };
    match run_on_table(&writer, statement, &table, within).await {
        Ok((Some(table), value)) => {
            record.succeeded(done, &table.to_string(), 0, 0);
            Ok(value)
        }
        Ok((None, value)) => {
            record.succeeded("skipped", &table.to_string(), 0, 0);
            Ok(value)
        }
        Err(error) => {
            record.failed(&error);
            Err(error)
        }
    }
}

/// Runs a statement about a table. Returns the table, if the statement did not skip it, and its value.
async fn run_on_table(
    writer: &Writer,
    statement: Statement,
    table: &TableName,
    within: Option<&mut InUse>,
) -> Result<(Option<QualifiedName>, Option<Value>)> {
    match statement {
        Statement::OnTable(statement, _) => {
            let run = match within {
                Some(within) => within.run(writer, statement, table).await,
                None => writer.run_statement(statement, table).await,
            };
            Ok((run?, None))
        }
        Statement::Create(create) => {
            let (spec, schema) = new_table(create, table)?;
            let made = match within {
                Some(within) => within.create(writer, (&spec, &schema)).await,
                None => writer.create_empty(&spec, &schema).await,
            };
            Ok((made?, None))
        }
        Statement::Count(_) => {
            let counted = match within {
                Some(within) => within.count(writer, table).await,
                None => writer.count(table).await,
            };
            let (name, count) = counted?;
            Ok((Some(name), Some(Value::new(ValueOf::Count(count)))))
        }
        Statement::SelectOne => Ok((None, None)),
    }
}

/// Returns the write that creates a table, and the schema of its columns, whose types the write has.
fn new_table(create: Create, table: &TableName) -> Result<(WriteSpec, Schema)> {
    let if_exists = match create.if_not_exists {
        true => IfExists::Ignore,
        false => IfExists::Fail,
    };
    let mut spec = WriteSpec::new(table.clone(), Mode::Create { if_exists });
    let key = create.primary_key.into_iter().map(Ident::new);
    spec.primary_key = key.collect::<Result<_, _>>()?;
    let mut fields = Vec::new();
    for column in create.columns {
        fields.push(Field::new(&column.name, DataType::Utf8, column.is_nullable));
        spec.column_types.insert(column.name, column.sql_type);
    }
    Ok((spec, Schema::new(fields)))
}
