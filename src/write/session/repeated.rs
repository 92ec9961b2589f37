//! A write id that comes again: whether the write that the ledger has answers the new one.

use arrow::datatypes::Schema;
use futures_util::{Stream, StreamExt};

use super::status::WriteStatus;
use crate::error::{Error, Result};
use crate::metrics::Activity;
use crate::pg::{LedgerWrite, find_oid};
use crate::write::pipeline::batches::{EndOfStream, Incoming, StreamMessage};
use crate::write::plan::permission::check_still;
use crate::write::record::{columns_of, fingerprint};
use crate::write::spec::{Receipt, WriteSpec};
use crate::write::writer::Writer;

impl Writer {
    /// Checks that a write in the ledger is the one that comes again with its id: it has the same spec and columns, and, if
    /// it is decided, the table that the spec names is the one that its commit left. Its rows are not looked for in the
    /// table: later writes may have replaced them.
    ///
    /// A batch of a streaming query is answered for another table too, with a warning in the log: an error would stop the
    /// query for good.
    ///
    /// # Errors
    /// The errors of [`check_still`] when a grant was removed since;
    /// [`ErrorKind::AlreadyExists`](crate::error::ErrorKind::AlreadyExists) with what differs; any error that PostgreSQL
    /// reports.
    pub(crate) async fn check_repeated(
        &self,
        write: &LedgerWrite,
        (spec, schema): (&WriteSpec, &Schema),
    ) -> Result<()> {
        // A caller who may not write the table any more learns nothing about it.
        check_still(&self.caller, write)?;
        if write.spec != fingerprint(spec)? {
            return Err(used_for("another table, mode or options"));
        }
        if write.columns != columns_of(schema) {
            return Err(used_for("data with other columns"));
        }
        let (true, Some(oid)) = (write.state.is_decided(), write.target_oid) else {
            return Ok(());
        };
        let transaction = self.begin_look().await?;
        // The role decides which schemas of the search_path count.
        transaction.assume_role().await?;
        let found = find_oid(&transaction, &spec.table).await?;
        transaction.rollback().await;
        let error = match found {
            Some(found) if found == oid => return Ok(()),
            Some(_) => Error::already_exists(
                "the write id was used, and another table has the name of its table since",
            ),
            None => Error::already_exists(
                "the write id was used, and its table was dropped or renamed since",
            ),
        };
        let error = error
            .with_hint(
                "look for the rows, and write them with a new write id if they are needed again",
            )
            .with_table(&spec.table)
            .with_write_id(&write.write_id);
        match write.batch {
            None => Err(error),
            Some(_) => {
                tracing::warn!(error = %error.report(), "a batch that was committed is not written again");
                Ok(())
            }
        }
    }
}

/// Returns the error for an id that was used for another write.
pub(crate) fn used_for(what: &str) -> Error {
    Error::already_exists(format!("the write id was used for {what}"))
        .with_hint("use a new write id")
}

/// Reads the rows of a write that is committed, and discards them. `announced` is the number of rows that the client sent
/// before them.
///
/// # Errors
/// The errors of [`EndOfStream::check`] and [`stored`].
pub(crate) async fn discard<S>(
    mut incoming: Incoming<'_, S>,
    announced: Option<u64>,
    status: WriteStatus,
) -> Result<Receipt>
where
    S: Stream<Item = Result<StreamMessage>> + Unpin,
{
    incoming.stream.enter(Activity::Receive);
    let mut arrived = 0_u64;
    while let Some(message) = incoming.messages.next().await {
        if let StreamMessage::Batch(batch, _) = message? {
            arrived += u64::try_from(batch.num_rows()).unwrap_or(u64::MAX);
        }
    }
    if let Some(rows) = announced {
        EndOfStream::HasRows(rows).check(None, arrived)?;
    }
    stored(status, arrived)
}

/// Returns the receipt of a committed write, if it had this number of rows.
///
/// # Errors
/// [`ErrorKind::AlreadyExists`](crate::error::ErrorKind::AlreadyExists) when it had another.
pub(crate) fn stored(status: WriteStatus, rows: u64) -> Result<Receipt> {
    let sent = status.row_count + status.rejected.row_count;
    if sent != rows {
        let what = format!("{sent} rows, and not for {rows}");
        return Err(used_for(&what).with_write_id(status.write_id));
    }
    Ok(Receipt {
        row_count: status.row_count,
        byte_count: status.byte_count,
        table: status.table,
        skipped: status.existed,
        counts: status.counts,
        remark: String::new(),
        rejected: status.rejected,
        write_id: String::new(),
    })
}
