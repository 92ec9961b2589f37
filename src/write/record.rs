//! The ledger's texts about a write: its spec and its columns.

use arrow::datatypes::{DataType, Schema};

use crate::error::{Error, Result};
use crate::pg::LedgerWrite;
use crate::write::spec::WriteSpec;

/// Returns the spec that a write was begun with.
///
/// # Errors
/// [`ErrorKind::Internal`](crate::error::ErrorKind::Internal) when another version of pgflight recorded a spec that
/// this one cannot read.
pub(crate) fn spec_of(write: &LedgerWrite) -> Result<WriteSpec> {
    serde_json::from_str(&write.spec).map_err(|error| {
        Error::internal("the ledger holds a spec that this server does not understand")
            .with_hint("a newer server began the write: update this one")
            .with_source(error)
    })
}

/// Returns the names and types of the columns. Time zones of timestamps do not count: they are labels of the client's
/// session, and the values are instants.
pub(crate) fn columns_of(schema: &Schema) -> String {
    let columns = schema.fields().iter().map(|field| {
        let mut data_type = field.data_type().clone();
        if let DataType::Timestamp(_, zone @ Some(_)) = &mut data_type {
            *zone = Some("UTC".into());
        }
        format!("{:?} {data_type}", field.name())
    });
    columns.collect::<Vec<_>>().join(", ")
}

/// Returns a text that is equal for equal specs.
///
/// # Errors
/// [`ErrorKind::Internal`](crate::error::ErrorKind::Internal) in no known case.
pub(crate) fn fingerprint(spec: &WriteSpec) -> Result<String> {
    serde_json::to_string(spec)
        .map_err(|error| Error::internal("cannot record the spec").with_source(error))
}
