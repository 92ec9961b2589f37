//! Prepared INSERTs, as JDBC and `executemany` of DB-API send them.
//!
//! The server keeps nothing of them: a handle names the table and the columns, and any server takes it. Rows that are
//! bound to a handle are written at once, as an append ingest. Flight SQL has two ways to bind them:
//! `CommandPreparedStatementUpdate` carries rows and gets their number. `CommandPreparedStatementQuery` carries rows
//! and gets another handle, by which the client then asks for the result, or for the number of rows.

use arrow_flight::sql::{
    ActionClosePreparedStatementRequest, ActionCreatePreparedStatementRequest,
    ActionCreatePreparedStatementResult, DoPutPreparedStatementResult, ProstMessageExt,
};
use arrow_flight::{IpcMessage, PutResult, SchemaAsIpc};
use bytes::Bytes;
use prost::Message;

use super::answer::unmade;
use super::command::unpack;
use super::session::{CallSession, InUse};
use super::statement::parse_prepared;
use crate::error::{Error, Result};
use crate::write::{AppendBy, Mode, Targets, WriteSpec};
use arrow::ipc::writer::IpcWriteOptions;
use arrow_pgcopy::schema::to_arrow_schema;
use arrow_pgcopy::table::TableName;

/// A prepared INSERT, as its handle has it.
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct Prepared {
    #[prost(string, tag = "1")]
    target: String,
    #[prost(string, tag = "2")]
    schema: String,
    #[prost(string, tag = "3")]
    table: String,
    /// The columns of the parameters.
    #[prost(string, repeated, tag = "4")]
    pub(super) columns: Vec<String>,
    /// The transaction in which it was prepared.
    #[prost(bytes = "bytes", optional, tag = "5")]
    transaction_id: Option<Bytes>,
    /// The number of rows that were bound to it, and written.
    #[prost(uint64, optional, tag = "6")]
    written: Option<u64>,
}

impl Prepared {
    /// Reads a handle.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidCommand`](crate::error::ErrorKind::InvalidCommand) for bytes that are no handle.
    pub(super) fn read(handle: &[u8]) -> Result<Self> {
        let prepared = Self::decode(handle).ok();
        prepared
            .filter(|prepared| !prepared.columns.is_empty())
            .ok_or_else(|| {
                Error::invalid_command("the handle is not that of a prepared statement")
                    .with_hint("prepare the statement again")
            })
    }

    /// Takes the transaction for rows: the one in which it was prepared, or else that of the session. Clients keep a
    /// prepared statement for longer than a transaction.
    ///
    /// # Errors
    /// The errors of [`CallSession::take`].
    pub(super) async fn take(
        &self,
        session: &CallSession,
        targets: &Targets,
    ) -> Result<Option<InUse>> {
        let id = self.transaction_id.as_deref();
        match session.is_open(targets, id) {
            false if session.is_open(targets, None) => session.take(targets, None).await,
            _ => session.take(targets, id).await,
        }
    }

    /// Returns the target and the write of the rows.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidCommand`](crate::error::ErrorKind::InvalidCommand) for names that are none.
    pub(super) fn write_spec(&self) -> Result<(String, WriteSpec)> {
        let table = TableName::from_parts(vec![self.schema.clone(), self.table.clone()])?;
        let mode = Mode::Append {
            create_if_missing: false,
            publish: AppendBy::Best,
        };
        Ok((self.target.clone(), WriteSpec::new(table, mode)))
    }

    /// Returns the answer to rows that the client bound in order to ask for the result.
    pub(super) fn bind(&self, rows: u64) -> PutResult {
        let handle = Self {
            written: Some(rows),
            ..self.clone()
        };
        let result = DoPutPreparedStatementResult {
            prepared_statement_handle: Some(handle.encode_to_vec().into()),
        };
        PutResult {
            app_metadata: result.encode_to_vec().into(),
        }
    }

    /// Returns the number of rows that were bound to it.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidCommand`](crate::error::ErrorKind::InvalidCommand) when there are none.
    pub(super) fn bound_rows(&self) -> Result<u64> {
        self.written.ok_or_else(|| {
            Error::invalid_command("no rows are bound to the prepared INSERT").with_hint(
                "bind them before you execute it, for instance by executemany or addBatch; after an error, bind them again",
            )
        })
    }
}

/// Prepares an INSERT, and returns the body of the answer.
///
/// # Errors
/// The errors of [`parse_prepared`]; [`ErrorKind::SchemaMismatch`](crate::error::ErrorKind::SchemaMismatch) for columns
/// that do not fit the table; [`ErrorKind::PermissionDenied`](crate::error::ErrorKind::PermissionDenied) for a table that
/// the caller may not write.
pub(super) async fn prepare(
    targets: &Targets,
    session: &CallSession,
    body: &[u8],
) -> Result<Bytes> {
    let request: ActionCreatePreparedStatementRequest = unpack(body)?;
    let insert = parse_prepared(&request.query)?;
    let (target, table) = insert.name.clone().complete(&session.names(targets)?)?;
    let (target, writer) = targets.find(&target)?;
    let id = request.transaction_id.as_deref();
    let within = match session.has_work_in(targets, id)? {
        true => session.take(targets, id).await?,
        false => None,
    };
    // Within the transaction, since it may have created the table.
    let look = async |within: Option<&mut InUse>| match within {
        Some(within) => within.relation(&writer, &table).await,
        None => writer.relation(&table).await,
    };
    let relation = InUse::run_within(within, look).await?;
    let parameters = insert.parameters(&to_arrow_schema(&relation))?;
    let columns = parameters.fields().iter();
    let prepared = Prepared {
        target: target.to_owned(),
        schema: relation.name.schema.as_str().to_owned(),
        table: relation.name.name.as_str().to_owned(),
        columns: columns.map(|field| field.name().clone()).collect(),
        transaction_id: request.transaction_id,
        written: None,
    };
    let schema = SchemaAsIpc::new(&parameters, &IpcWriteOptions::default()).try_into();
    let IpcMessage(parameter_schema) = schema.map_err(unmade)?;
    let result = ActionCreatePreparedStatementResult {
        prepared_statement_handle: prepared.encode_to_vec().into(),
        // An INSERT has no result.
        dataset_schema: Bytes::new(),
        parameter_schema,
    };
    Ok(result.as_any().encode_to_vec().into())
}

/// Closes a prepared INSERT, of which the server keeps nothing.
///
/// # Errors
/// [`ErrorKind::InvalidCommand`](crate::error::ErrorKind::InvalidCommand) for a body that cannot be read.
pub(super) fn close(body: &[u8]) -> Result<()> {
    let request: ActionClosePreparedStatementRequest = unpack(body)?;
    Prepared::read(&request.prepared_statement_handle).map(drop)
}
