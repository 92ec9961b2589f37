//! Tables as Flight shows them: their Arrow schema, and the list of what one may write.

use arrow_flight::{FlightDescriptor, FlightInfo, IpcMessage, SchemaAsIpc, SchemaResult};
use arrow_ipc::writer::IpcWriteOptions;
use arrow_schema::{ArrowError, Schema};

use super::command;
use crate::error::{Error, Result};
use crate::plan::Relation;
use crate::plan::arrow_schema::to_arrow_schema;
use crate::write::Writer;

/// The Arrow schema of a table; data of this schema can be written to it.
pub(super) async fn schema(writer: &Writer, descriptor: FlightDescriptor) -> Result<SchemaResult> {
    let relation = writer.relation(&command::path(descriptor)?).await?;
    Ok(SchemaResult {
        schema: ipc_schema(&to_arrow_schema(&relation))?.0,
    })
}

/// One table.
pub(super) async fn flight(writer: &Writer, descriptor: FlightDescriptor) -> Result<FlightInfo> {
    describe(&writer.relation(&command::path(descriptor)?).await?)
}

/// All tables that may be written.
pub(super) async fn flights(writer: &Writer) -> Result<Vec<FlightInfo>> {
    writer.relations().await?.iter().map(describe).collect()
}

/// There is nothing to get, only to put: no endpoints, and sizes unknown.
fn describe(relation: &Relation) -> Result<FlightInfo> {
    let path = vec![
        relation.name.schema.as_str().to_owned(),
        relation.name.name.as_str().to_owned(),
    ];
    let mut info = FlightInfo::new().with_descriptor(FlightDescriptor::new_path(path));
    info.schema = ipc_schema(&to_arrow_schema(relation))?.0;
    Ok(info)
}

fn ipc_schema(schema: &Schema) -> Result<IpcMessage> {
    SchemaAsIpc::new(schema, &IpcWriteOptions::default())
        .try_into()
        .map_err(|error: ArrowError| Error::internal("cannot write the schema").with_source(error))
}
