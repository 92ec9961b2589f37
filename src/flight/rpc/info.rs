//! The calls about tables: their Arrow schema, and the list of tables that the caller may write.

use arrow::datatypes::Schema;
use arrow::error::ArrowError;
use arrow::ipc::writer::IpcWriteOptions;
use arrow_flight::{FlightDescriptor, FlightInfo, IpcMessage, SchemaAsIpc, SchemaResult};

use crate::error::{Error, Result};
use crate::flight::command;
use crate::write::Targets;
use arrow_pgcopy::Relation;
use arrow_pgcopy::schema::to_arrow_schema;

/// Returns the Arrow schema of a table. Data with this schema can be written to the table.
pub(crate) async fn schema(
    targets: &Targets,
    descriptor: FlightDescriptor,
) -> Result<SchemaResult> {
    let (target, table) = command::path(descriptor)?;
    let relation = targets.find(&target)?.1.relation(&table).await?;
    Ok(SchemaResult {
        schema: ipc_schema(&to_arrow_schema(&relation))?.0,
    })
}

/// Returns the description of a table.
pub(crate) async fn flight(targets: &Targets, descriptor: FlightDescriptor) -> Result<FlightInfo> {
    let (target, table) = command::path(descriptor)?;
    let (target, writer) = targets.find(&target)?;
    let target = (!targets.is_alone()).then_some(target);
    describe(target, &writer.relation(&table).await?)
}

/// Returns the tables that the caller may write, of the named target or of all.
pub(crate) async fn flights(targets: &Targets, named: &str) -> Result<Vec<FlightInfo>> {
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

/// Describes a table without endpoints, since the server serves no rows. The path names the target if there are
/// several.
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
        .map_err(|error: ArrowError| Error::internal("cannot encode the schema").with_source(error))
}
