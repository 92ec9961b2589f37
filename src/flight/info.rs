//! Tables as Flight shows them: their Arrow schema, and the list of what one may write.

use arrow::datatypes::Schema;
use arrow::error::ArrowError;
use arrow::ipc::writer::IpcWriteOptions;
use arrow_flight::{FlightDescriptor, FlightInfo, IpcMessage, SchemaAsIpc, SchemaResult};

use super::command;
use crate::error::{Error, Result};
use crate::write::Targets;
use arrow_pgcopy::Relation;
use arrow_pgcopy::schema::to_arrow_schema;

/// The Arrow schema of a table; data of this schema can be written to it.
pub(super) async fn schema(
    targets: &Targets,
    descriptor: FlightDescriptor,
) -> Result<SchemaResult> {
    let (target, table) = command::path(descriptor)?;
    let relation = targets.find(&target)?.1.relation(&table).await?;
    Ok(SchemaResult {
        schema: ipc_schema(&to_arrow_schema(&relation))?.0,
    })
}

/// One table.
pub(super) async fn flight(targets: &Targets, descriptor: FlightDescriptor) -> Result<FlightInfo> {
    let (target, table) = command::path(descriptor)?;
    let (target, writer) = targets.find(&target)?;
    let target = (!targets.is_alone()).then_some(target);
    describe(target, &writer.relation(&table).await?)
}

/// All tables that may be written, of all targets or of the one that is named.
pub(super) async fn flights(targets: &Targets, named: &str) -> Result<Vec<FlightInfo>> {
    let chosen: Vec<_> = match named {
        "" => targets.iter().collect(),
        name => vec![targets.find(name)?],
    };
    let mut flights = Vec::new();
    for (target, writer) in chosen {
        let target = (!targets.is_alone()).then_some(target);
        for relation in writer.relations().await? {
            flights.push(describe(target, &relation)?);
        }
    }
    Ok(flights)
}

/// There is nothing to get, only to put: no endpoints, and sizes unknown. The path names the target
/// where there are several.
fn describe(target: Option<&str>, relation: &Relation) -> Result<FlightInfo> {
    let parts = [relation.name.schema.as_str(), relation.name.name.as_str()];
    let path = target.into_iter().chain(parts).map(str::to_owned).collect();
    let mut info = FlightInfo::new().with_descriptor(FlightDescriptor::new_path(path));
    info.schema = ipc_schema(&to_arrow_schema(relation))?.0;
    Ok(info)
}

fn ipc_schema(schema: &Schema) -> Result<IpcMessage> {
    SchemaAsIpc::new(schema, &IpcWriteOptions::default())
        .try_into()
        .map_err(|error: ArrowError| Error::internal("cannot write the schema").with_source(error))
}
