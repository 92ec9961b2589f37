//! The calls about tables: their Arrow schema, and the list of tables that the caller may write.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arrow::datatypes::Schema;
use arrow::error::ArrowError;
use arrow::ipc::writer::IpcWriteOptions;
use arrow_flight::{FlightDescriptor, FlightInfo, IpcMessage, SchemaAsIpc, SchemaResult};
use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt, future};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::error::{Error, Result};
use crate::flight::command;
use crate::write::{Budget, Targets, Writer};
use arrow_pgcopy::Relation;
use arrow_pgcopy::schema::to_arrow_schema;

/// The time that a client has to take a table of a list.
const SEND_LIMIT: Duration = Duration::from_secs(20);

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
    let share = budget.list().await;
    // A client that stops to read must not keep the memory, so a task of its own watches the time.
    let (sender, receiver) = mpsc::channel(1);
    let slow = Arc::new(AtomicBool::new(false));
    let is_slow = Arc::clone(&slow);
    tokio::spawn(async move {
        let _share = share;
        let mut sent = Ok(());
        for (target, writer) in chosen {
            sent = send_tables(&sender, target.as_deref(), &writer).await;
            if sent.is_err() {
                break;
            }
        }
        if let Err(error) = sent
            && send(&sender, Err(error)).await.is_err()
        {
            is_slow.store(true, Ordering::Relaxed);
        }
    });
    let items = stream::unfold(receiver, |mut receiver| async {
        let item = receiver.recv().await?;
        Some((item, receiver))
    });
    let end = stream::once(async move { slow.load(Ordering::Relaxed) });
    let end = end.filter_map(async |is_slow| is_slow.then(|| Err(not_taken())));
    let mut items = items.boxed();
    match items.next().await {
        None => Ok(end.boxed()),
        Some(first) => Ok(stream::once(future::ready(Ok(first?)))
            .chain(items)
            .chain(end)
            .boxed()),
    }
}

async fn send_tables(
    sender: &mpsc::Sender<Result<FlightInfo>>,
    target: Option<&str>,
    writer: &Writer,
) -> Result<()> {
    let mut list = writer.relations().await?;
    while let Some(relations) = list.next().await? {
        for relation in relations {
            send(sender, describe(target, &relation)).await?;
        }
    }
    Ok(())
}

async fn send(sender: &mpsc::Sender<Result<FlightInfo>>, item: Result<FlightInfo>) -> Result<()> {
    let sent = timeout(SEND_LIMIT, sender.send(item)).await;
    sent.map_err(|_| not_taken())?.map_err(|_| not_taken())
}

fn not_taken() -> Error {
    Error::unavailable(format!(
        "the client took no table of the list for {} s",
        SEND_LIMIT.as_secs()
    ))
    .with_hint("read the list at once")
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
