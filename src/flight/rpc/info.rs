//! The calls about tables: their Arrow schema, and the list of tables that the caller may write.

use arrow::datatypes::Schema;
use arrow::error::ArrowError;
use arrow::ipc::writer::IpcWriteOptions;
use arrow_flight::{FlightDescriptor, FlightInfo, IpcMessage, SchemaAsIpc, SchemaResult};
use futures_util::FutureExt;
use futures_util::stream::BoxStream;

use crate::error::{Error, Result};
use crate::flight::command;
use crate::flight::listing::{ListSender, listed};
use crate::write::{Budget, Targets, Writer};
use arrow_pgcopy::Relation;
use arrow_pgcopy::schema::to_arrow_schema;

/// Returns the Arrow schema of a table. Data with this schema can be written to the table.
pub(crate) async fn schema(
    targets: &Targets,
    descriptor: FlightDescriptor,
) -> Result<SchemaResult> {
    let (target, table) = command::path(descriptor)?;
    let relation = targets.find(&target)?.1.relation(&table).await?;
    schema_result(&to_arrow_schema(&relation))
}

/// Returns the answer to GetSchema.
///
/// # Errors
/// [`ErrorKind::Internal`](crate::error::ErrorKind::Internal) for a schema that arrow cannot encode.
pub(crate) fn schema_result(schema: &Schema) -> Result<SchemaResult> {
    Ok(SchemaResult {
        schema: ipc_schema(schema)?.0,
    })
}

/// Returns the description of a table.
pub(crate) async fn flight(targets: &Targets, descriptor: FlightDescriptor) -> Result<FlightInfo> {
    let (target, table) = command::path(descriptor)?;
    let (target, writer) = targets.find(&target)?;
    let target = (!targets.is_alone()).then_some(target);
    describe(target, &writer.relation(&table).await?)
}

/// Returns the tables that the caller may write, of the named target or of all. They are read while the client takes
/// them. An error ends the list.
///
/// # Errors
/// The errors of [`Targets::find`], and an error before the first table.
pub(crate) async fn flights(
    targets: &Targets,
    named: &str,
    budget: &Budget,
) -> Result<BoxStream<'static, Result<FlightInfo>>> {
    let chosen: Vec<_> = match named {
        "" => targets.iter().collect(),
        name => vec![targets.find(name)?],
    };
    let is_alone = targets.is_alone();
    let chosen = chosen.into_iter().map(|(target, writer)| {
        let target = (!is_alone).then(|| target.to_owned());
        (target, writer)
    });
    let chosen: Vec<_> = chosen.collect();
    let make = |sender: ListSender<FlightInfo>| {
        let sending = async move {
            for (target, writer) in chosen {
                send_tables(&sender, target.as_deref(), &writer).await?;
            }
            Ok(())
        };
        sending.boxed()
    };
    listed(budget, make).await
}

async fn send_tables(
    sender: &ListSender<FlightInfo>,
    target: Option<&str>,
    writer: &Writer,
) -> Result<()> {
    let mut list = writer.relations(|_| true).await?;
    while let Some(relations) = list.next().await? {
        for relation in relations {
            sender.send(describe(target, &relation)?).await?;
        }
    }
    Ok(())
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
