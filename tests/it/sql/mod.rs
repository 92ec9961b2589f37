//! The Flight SQL door, by arrow-flight's own client.

mod commits;
mod cut_off;
mod headers;
mod ingest;
mod metadata;
mod once;
mod prepared;
mod statements;
mod tables;
mod transactions;

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, RecordBatch};
use arrow_flight::error::FlightError;
use arrow_flight::sql::client::FlightSqlServiceClient;
use arrow_flight::sql::{
    CommandStatementIngest, TableDefinitionOptions, TableExistsOption, TableNotExistOption,
};
use futures_util::stream;
use tonic::transport::Channel;

use crate::support::{CallError, Database, Pgflight, batch};

pub(crate) type SqlClient = FlightSqlServiceClient<Channel>;

async fn setup(sql: &str) -> (Database, Pgflight, SqlClient) {
    let database = Database::new().await;
    database.execute(sql).await;
    let server = Pgflight::start(&database);
    let client = connect(&server).await;
    (database, server, client)
}

pub(crate) async fn connect(server: &Pgflight) -> SqlClient {
    FlightSqlServiceClient::new(server.client().await.channel)
}

/// Rows of one column `id`.
fn ids(values: &[i32]) -> RecordBatch {
    batch(&[(
        "id",
        Arc::new(Int32Array::from(values.to_vec())) as ArrayRef,
    )])
}

/// The modes of ADBC, as its driver sends them.
const CREATE: (TableNotExistOption, TableExistsOption) =
    (TableNotExistOption::Create, TableExistsOption::Fail);
pub(crate) const APPEND: (TableNotExistOption, TableExistsOption) =
    (TableNotExistOption::Fail, TableExistsOption::Append);
const REPLACE: (TableNotExistOption, TableExistsOption) =
    (TableNotExistOption::Create, TableExistsOption::Replace);
const CREATE_APPEND: (TableNotExistOption, TableExistsOption) =
    (TableNotExistOption::Create, TableExistsOption::Append);

/// The command of an ingest into a table, which may have a schema before its name.
pub(crate) fn into(
    table: &str,
    mode: (TableNotExistOption, TableExistsOption),
) -> CommandStatementIngest {
    let (schema, table) = match table.split_once('.') {
        Some((schema, table)) => (Some(schema.to_owned()), table),
        None => (None, table),
    };
    CommandStatementIngest {
        table_definition_options: Some(TableDefinitionOptions {
            if_not_exist: mode.0.into(),
            if_exists: mode.1.into(),
        }),
        table: table.to_owned(),
        schema,
        ..Default::default()
    }
}

/// Sends batches and returns the number of rows that the server reports.
pub(crate) async fn ingest(
    client: &mut SqlClient,
    command: CommandStatementIngest,
    batches: &[RecordBatch],
) -> Result<i64, CallError> {
    let batches: Vec<_> = batches.iter().cloned().map(Ok).collect();
    let sent = client.execute_ingest(command, stream::iter(batches)).await;
    sent.map_err(call_error)
}

fn call_error(error: FlightError) -> CallError {
    let FlightError::Tonic(status) = error else {
        panic!("not an answer of the server: {error}");
    };
    CallError::from(*status)
}
