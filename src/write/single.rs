//! A write of one stream: one transaction, COPY straight into the table.

use std::time::Duration;

use arrow_schema::Schema;
use futures_util::Stream;

use super::pipeline::{self, EndOfStream, StreamMessage};
use super::spec::{Receipt, WriteSpec};
use super::target::{Target, find_target};
use super::writer::Writer;
use crate::error::{Error, ErrorKind, Result};
use crate::pg::{
    CopySink, Outcome, Publish, TableLock, Transaction, create_table, delete_all, lock_relation,
    truncate,
};
use crate::plan::{EncodePlan, Relation};

impl Writer {
    /// Writes a stream as a whole: when this returns `Ok`, all its rows are committed; when it
    /// returns an error or is dropped, none are.
    ///
    /// # Errors
    /// Whatever keeps the rows from the table. [`ErrorKind::Internal`] in the one case where the
    /// connection broke during COMMIT and PostgreSQL could not be asked how it ended.
    pub async fn write_stream<S>(
        &self,
        spec: &WriteSpec,
        schema: &Schema,
        messages: S,
        end: EndOfStream,
    ) -> Result<Receipt>
    where
        S: Stream<Item = Result<StreamMessage>> + Unpin,
    {
        let transaction = self.pool.begin_data().await?;
        let relation = match open_target(&transaction, spec, schema).await? {
            Opened::Table(relation) => relation,
            Opened::LeftAlone(relation) => {
                transaction.rollback().await;
                let table = relation.name.to_string();
                return Ok(Receipt {
                    row_count: 0,
                    byte_count: 0,
                    table,
                    skipped: true,
                });
            }
        };
        let in_table = |error: Error| error.with_table(&relation.name);
        let plan = EncodePlan::new(schema, &relation).map_err(in_table)?;
        tracing::debug!(table = %relation.name, plan = %plan, "planned");
        let sink = CopySink::open(&transaction, &relation.name, plan.column_names()).await?;
        let loaded = pipeline::load(&plan, messages, sink, end)
            .await
            .map_err(in_table)?;
        if loaded.copied_row_count < loaded.row_count {
            tracing::warn!(
                table = %relation.name, sent = loaded.row_count, kept = loaded.copied_row_count,
                "a trigger of the table left rows out"
            );
        }
        self.commit_stream(transaction).await.map_err(in_table)?;
        Ok(Receipt {
            row_count: loaded.row_count,
            byte_count: loaded.byte_count,
            table: relation.name.to_string(),
            skipped: false,
        })
    }

    async fn commit_stream(&self, transaction: Transaction) -> Result<()> {
        let xact_id = transaction.xact_id().await?;
        match transaction.commit().await {
            Outcome::Committed => Ok(()),
            Outcome::RolledBack(error) => Err(error),
            Outcome::Unknown(error) => match self.find_outcome(&xact_id).await {
                Some(true) => Ok(()),
                Some(false) => Err(error),
                // Not retryable: a retry could bring the rows a second time.
                None => Err(Error::new(
                    ErrorKind::Internal,
                    "the connection to PostgreSQL broke during COMMIT and it cannot be told whether the rows \
                     are in; look into the table before you write them again",
                )
                .with_source(error)),
            },
        }
    }

    /// Asks PostgreSQL, for a while, how a transaction ended whose COMMIT got no answer.
    async fn find_outcome(&self, xact_id: &str) -> Option<bool> {
        for _ in 0..20 {
            if let Ok(transaction) = self.pool.begin_control().await {
                let outcome = transaction.was_committed(xact_id).await;
                transaction.rollback().await;
                if let Ok(Some(committed)) = outcome {
                    return Some(committed);
                }
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        None
    }
}

enum Opened {
    Table(Relation),
    LeftAlone(Relation),
}

/// Finds or makes the table, locks it and empties it where the mode says so.
async fn open_target(
    transaction: &Transaction,
    spec: &WriteSpec,
    schema: &Schema,
) -> Result<Opened> {
    let (name, publish) = match find_target(transaction, spec, schema).await? {
        Target::LeaveAlone(relation) => return Ok(Opened::LeftAlone(relation)),
        Target::Existing(relation, publish) => (relation.name, publish),
        Target::Missing(columns) => (
            create_table(transaction, &spec.table, &columns).await?,
            Publish::Append,
        ),
    };
    Ok(Opened::Table(match publish {
        Publish::Append | Publish::Create | Publish::Nothing => {
            lock_relation(transaction, &name, TableLock::Insert).await?
        }
        Publish::Truncate => {
            let relation = lock_relation(transaction, &name, TableLock::Truncate).await?;
            truncate(transaction, &name).await?;
            relation
        }
        Publish::Delete => {
            let relation = lock_relation(transaction, &name, TableLock::Replace).await?;
            delete_all(transaction, &name).await?;
            relation
        }
    }))
}
