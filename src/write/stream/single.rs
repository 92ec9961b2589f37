//! A write of one stream, in one transaction. The rows go straight into the table by COPY, or through a temporary
//! table: in keyed modes, for casts, and when PostgreSQL does not allow COPY into the table.

use std::sync::Arc;

use arrow::datatypes::Schema;
use futures_util::Stream;
use futures_util::future::try_join3;
use tokio::time::Instant;

use super::doubt::{ONE_ANSWER, PATIENCE, PAUSE, in_doubt};
use super::fan_out::{FirstLane, NewTable, new_stream_id};
use crate::error::{Error, ErrorKind, Result};
use crate::metrics::{Activity, Stream as Flow};
use crate::pg::{
    Outcome, Publish, RowCounts, TableLock, Transaction, add_primary_key, check_copied_types,
    check_same_table, create_table, create_temporary, create_twin, definitions_of, has_named_types,
    lock_named, new_shadow_name, publish_rows, staged_columns, swap_in,
};
use crate::write::pipeline::batches::{self, BatchSource, Incoming, Progress, StreamMessage};
use crate::write::pipeline::envelope::Envelope;
use crate::write::pipeline::lanes::{Lane, Lanes, Loaded};
use crate::write::pipeline::volume::Meter;
use crate::write::plan::decide::{
    ExistingPlan, Planner, Route, WritePlan, encode_plan, reject_casts,
};
use crate::write::publish::{self, add_marker, hide_marker, make_table, merge_rows};
use crate::write::spec::{Receipt, WriteSpec};
use crate::write::writer::Writer;
use arrow_pgcopy::{EncodePlan, Relation};

impl Writer {
    /// Writes a stream as a whole. `Ok` means that all its rows are committed. After an error none are, and the same
    /// holds when the future is dropped, unless PostgreSQL has received the COMMIT.
    ///
    /// # Errors
    /// Any error of the stream, the encoder or PostgreSQL; [`ErrorKind::Internal`] when the connection broke during
    /// COMMIT and PostgreSQL did not report its outcome for a minute: then the rows may be committed.
    pub async fn write_stream<S>(
        &self,
        spec: &WriteSpec,
        schema: &Schema,
        incoming: Incoming<'_, S>,
    ) -> Result<Receipt>
    where
        S: Stream<Item = Result<StreamMessage>> + Unpin,
    {
        // The stream is a write of its own.
        let write_id = new_stream_id();
        incoming.stream.identify(&write_id, 0, "");
        // It may become a write in the ledger later.
        let _sign = self.streaming.begin(&write_id);
        incoming.stream.enter(Activity::Open);
        let envelope = Envelope::find(spec, schema)?.map(Arc::new);
        let incoming = Incoming {
            envelope: envelope.clone(),
            ..incoming
        };
        let schema = envelope.as_deref().map_or(schema, Envelope::schema);
        let receipt = self.write_as(&write_id, spec, schema, incoming).await?;
        if !receipt.skipped {
            self.move_sequences(spec).await;
        }
        Ok(receipt)
    }

    async fn write_as<S>(
        &self,
        write_id: &str,
        spec: &WriteSpec,
        schema: &Schema,
        incoming: Incoming<'_, S>,
    ) -> Result<Receipt>
    where
        S: Stream<Item = Result<StreamMessage>> + Unpin,
    {
        let stream = incoming.stream;
        // Boxed, since the future is large.
        let opening = Box::pin(self.open_stream(write_id, spec, schema, stream));
        let (transaction, opened) = stream.wait(Activity::Open, opening).await?;
        let relation = opened.relation().clone();
        let in_table = |error: Error| error.with_table(&relation.name);
        let written = match opened {
            Opened::LeftAlone(relation) => {
                transaction.rollback().await;
                incoming.drain().await?;
                return Ok(Receipt {
                    row_count: 0,
                    byte_count: 0,
                    table: relation.name.to_string(),
                    skipped: true,
                    counts: RowCounts::default(),
                    remark: String::new(),
                });
            }
            Opened::New(target, encode) => {
                stream.set_table(target.name.to_string());
                let new_table = NewTable {
                    spec,
                    schema,
                    filled: &target.name,
                    filled_oid: target.oid,
                    target: &target,
                    by_swap: false,
                };
                let filled = self.fill(new_table, &encode, write_id, transaction, incoming);
                filled.await
            }
            Opened::Existing(plan) => {
                stream.set_table(relation.name.to_string());
                match plan.route() {
                    Route::Twin => {
                        let (target, encode) = (&plan.table.relation, &plan.encode);
                        reject_casts(encode).map_err(in_table)?;
                        let twin = new_shadow_name(&target.name)?;
                        create_twin(&transaction, &twin, target).await?;
                        let filled = lock_named(&transaction, &twin, TableLock::Insert).await?;
                        let new_table = NewTable {
                            spec,
                            schema,
                            filled: &twin,
                            filled_oid: filled.relation.oid,
                            target,
                            by_swap: true,
                        };
                        let filled = self.fill(new_table, encode, write_id, transaction, incoming);
                        filled.await
                    }
                    Route::Direct => {
                        let planned = (spec, &*plan);
                        self.write_direct(planned, transaction, incoming).await
                    }
                    Route::Temporary => {
                        let planned = (spec, schema, &*plan);
                        let written = self.write_by_temporary(planned, transaction, incoming);
                        written.await
                    }
                }
            }
        };
        written.map_err(in_table)
    }

    /// Copies the rows into an existing table.
    async fn write_direct<S>(
        &self,
        (spec, plan): (&WriteSpec, &ExistingPlan),
        transaction: Transaction,
        incoming: Incoming<'_, S>,
    ) -> Result<Receipt>
    where
        S: Stream<Item = Result<StreamMessage>> + Unpin,
    {
        let (target, stream) = (&plan.table.relation, incoming.stream);
        // Boxed, since the future is large.
        let deleting = Box::pin(publish::delete_replaced(&transaction, plan, None));
        let replaced = stream.wait(Activity::Open, deleting).await?;
        let opening = Lane::open(&transaction, &target.name, &plan.encode, plan.guard());
        let lane = stream.wait(Activity::Open, opening).await?;
        let loaded = load(target, &plan.encode, incoming, self.meter(), lane).await?;
        let committing = self.commit_stream(transaction, (spec, Some(target)), &loaded);
        stream.wait(Activity::Commit, committing).await?;
        let counts = RowCounts {
            inserted: Some(loaded.copied_row_count),
            replaced,
            ..RowCounts::default()
        };
        Ok(self.receipt(&loaded, target, counts))
    }

    /// Copies the rows into a temporary table, and inserts or merges them from there.
    async fn write_by_temporary<S>(
        &self,
        (spec, schema, plan): (&WriteSpec, &Schema, &ExistingPlan),
        transaction: Transaction,
        incoming: Incoming<'_, S>,
    ) -> Result<Receipt>
    where
        S: Stream<Item = Result<StreamMessage>> + Unpin,
    {
        let (target, stream) = (&plan.table.relation, incoming.stream);
        let opening = open_temporary(&transaction, spec, plan);
        let (mut staging, xmin) = stream.wait(Activity::Open, opening).await?;
        // Values that PostgreSQL casts are copied as text.
        let casting = match plan.encode.first_cast() {
            Some(_) => Some(encode_plan(spec, schema, &staging)?),
            None => None,
        };
        let encode = casting.as_ref().unwrap_or(&plan.encode);
        let opening = Lane::open(&transaction, &staging.name, encode, plan.guard());
        let lane = stream.wait(Activity::Open, opening).await?;
        let loaded = load(&staging, encode, incoming, self.meter(), lane).await?;
        let xact_ids = [xmin];
        hide_marker(spec, &mut staging)?;
        let mut counts = RowCounts::default();
        match &plan.keys {
            Some(keys) => {
                let tables = (target, &staging);
                counts = merge_rows(&transaction, &spec.mode, tables, &xact_ids, keys).await?;
            }
            None => {
                let staged = Some((&staging.name, xact_ids.as_slice()));
                counts.replaced = publish::delete_replaced(&transaction, plan, staged).await?;
                let inserted = publish_rows(&transaction, target, &staging, &xact_ids).await?;
                counts.inserted = Some(inserted);
            }
        }
        let committing = self.commit_stream(transaction, (spec, Some(target)), &loaded);
        stream.wait(Activity::Commit, committing).await?;
        Ok(Receipt {
            remark: spec.mode.remark(counts).to_owned(),
            ..self.receipt(&loaded, target, counts)
        })
    }

    /// Fills a new table and makes it the target. A large stream uses several connections.
    async fn fill<S>(
        &self,
        new_table: NewTable<'_>,
        encode: &EncodePlan,
        write_id: &str,
        transaction: Transaction,
        incoming: Incoming<'_, S>,
    ) -> Result<Receipt>
    where
        S: Stream<Item = Result<StreamMessage>> + Unpin,
    {
        let NewTable {
            spec,
            target,
            filled,
            filled_oid,
            by_swap,
            ..
        } = new_table;
        let stream = incoming.stream;
        let opening = Lane::open(&transaction, filled, encode, None);
        let mut lanes = Lanes::one(stream.wait(Activity::Open, opening).await?);
        let mut source = BatchSource::new(encode, incoming, self.meter());
        let after_bytes = self.fan_out.after(spec);
        if source.copy_batches(&mut lanes, after_bytes).await? == Progress::Part {
            match self.find_lanes(write_id).await {
                more if more.is_empty() => {
                    source.copy_batches(&mut lanes, u64::MAX).await?;
                }
                more => {
                    let first = FirstLane {
                        write_id,
                        transaction,
                        loaded: lanes.finish_one().await?,
                    };
                    let fanned = self.fan_out(new_table, first, more, source);
                    // Boxed, since few streams fan out and the future is large.
                    return Box::pin(fanned).await;
                }
            }
        }
        let loaded = lanes.finish_one().await?;
        let twin = (filled, filled_oid);
        if by_swap {
            swap_in(&transaction, twin, &target.name, Some(target.oid)).await?;
        } else {
            add_primary_key(&transaction, &target.name, &spec.primary_key).await?;
        }
        // A swap has checked the name.
        let target_of = (!by_swap).then_some(target);
        let committing = self.commit_stream(transaction, (spec, target_of), &loaded);
        stream.wait(Activity::Commit, committing).await?;
        let counts = RowCounts {
            inserted: Some(loaded.copied_row_count),
            ..RowCounts::default()
        };
        Ok(self.receipt(&loaded, target, counts))
    }

    /// Returns the receipt of a stream that is committed, and counts the rows that it changed.
    fn receipt(&self, loaded: &Loaded, table: &Relation, counts: RowCounts) -> Receipt {
        self.metrics.count_changed(counts.named());
        Receipt {
            row_count: loaded.row_count,
            byte_count: loaded.byte_count,
            table: table.name.to_string(),
            skipped: false,
            counts,
            remark: String::new(),
        }
    }

    /// Opens the target. If another session creates the same table at the same time, it tries once more: then the table
    /// exists, and the mode decides.
    async fn open_stream(
        &self,
        write_id: &str,
        spec: &WriteSpec,
        schema: &Schema,
        stream: &Flow,
    ) -> Result<(Transaction, Opened)> {
        let statements = &self.statements();
        let open = async || {
            let transaction = self.begin_data(write_id, stream).await?;
            let planner = Planner {
                transaction: &transaction,
                caller: &self.caller,
                spec,
                schema,
                statements,
                stream: Some(stream),
            };
            let opened = open_target(planner).await;
            opened.map(|opened| (transaction, opened))
        };
        match open().await {
            Err(error)
                if error.kind() == ErrorKind::AlreadyExists
                    && error.context().sqlstate.is_some() =>
            {
                open().await
            }
            opened => opened,
        }
    }

    /// Runs the statements after the rows, and commits if `target` still has its name. `None` for a table that a swap has just renamed.
    async fn commit_stream(
        &self,
        transaction: Transaction,
        (spec, target): (&WriteSpec, Option<&Relation>),
        loaded: &Loaded,
    ) -> Result<()> {
        let (statements, after) = (self.statements(), &spec.after);
        // Boxed, since the futures are large.
        Box::pin(statements.run(&transaction, after)).await?;
        Box::pin(self.try_commit_stream(transaction, target)).await?;
        self.metrics
            .count_stored(loaded.row_count, loaded.byte_count);
        self.metrics.count_published(loaded.row_count);
        Ok(())
    }

    async fn try_commit_stream(
        &self,
        transaction: Transaction,
        target: Option<&Relation>,
    ) -> Result<()> {
        let checked = async {
            match target {
                Some(target) => check_same_table(&transaction, target).await,
                None => Ok(()),
            }
        };
        // Deferred triggers run in the role that wrote the rows, and their errors come before the COMMIT. All takes one
        // round trip.
        let resumed = transaction.resume_own_role();
        let ((), (), xact_id) = try_join3(checked, resumed, transaction.xact_id()).await?;
        match transaction.commit().await {
            Outcome::Committed => Ok(()),
            Outcome::RolledBack(error) => Err(error),
            Outcome::Unknown(error) => match self.find_outcome(&xact_id).await {
                Some(true) => Ok(()),
                Some(false) => Err(error
                    .into_retryable(
                        "the connection to PostgreSQL broke during COMMIT, and PostgreSQL rolled the transaction back",
                    )
                    .with_hint("send the stream again")),
                None => Err(in_doubt(error)),
            },
        }
    }

    /// Asks PostgreSQL how a transaction ended whose COMMIT got no answer. Returns `None` if PostgreSQL did not report
    /// it within [`PATIENCE`]. An error says nothing about the transaction, so only an answer of PostgreSQL counts.
    async fn find_outcome(&self, xact_id: &str) -> Option<bool> {
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            let asked = async {
                let transaction = self.pool.begin_read().await?;
                let outcome = transaction.was_committed(xact_id).await;
                transaction.rollback().await;
                outcome
            };
            match tokio::time::timeout(ONE_ANSWER, asked).await {
                Ok(Ok(Some(committed))) => return Some(committed),
                Ok(Ok(None)) => {
                    tracing::info!(xact_id, "a COMMIT without an answer is in progress")
                }
                Ok(Err(error)) => {
                    tracing::info!(xact_id, %error, "PostgreSQL cannot be asked how a COMMIT ended");
                }
                Err(_) => tracing::info!(xact_id, "PostgreSQL does not say how a COMMIT ended"),
            }
            tokio::time::sleep(PAUSE).await;
        }
        None
    }
}

/// Copies a stream into a table.
async fn load<S>(
    table: &Relation,
    encode: &EncodePlan,
    incoming: Incoming<'_, S>,
    meter: Meter,
    lane: Lane,
) -> Result<Loaded>
where
    S: Stream<Item = Result<StreamMessage>> + Unpin,
{
    let loaded = batches::load(encode, incoming, meter, lane).await?;
    if loaded.copied_row_count < loaded.row_count {
        tracing::warn!(
            table = ?table.name.to_string(), sent = loaded.row_count, kept = loaded.copied_row_count,
            "a trigger of the table dropped rows"
        );
    }
    Ok(loaded)
}

/// Creates a temporary table for the rows of a plan. Returns it with the `xmin` of the rows that this transaction
/// writes.
async fn open_temporary(
    transaction: &Transaction,
    spec: &WriteSpec,
    plan: &ExistingPlan,
) -> Result<(Relation, String)> {
    let (target, encode) = (&plan.table.relation, &plan.encode);
    let mut columns = definitions_of(transaction, target, encode.columns()).await?;
    add_marker(spec, plan, &mut columns);
    let temporary = create_temporary(transaction, &columns).await?;
    if has_named_types(target, &columns) {
        check_copied_types(transaction, &temporary.name, target).await?;
    }
    Ok((
        staged_columns(target, encode, temporary.name)?,
        temporary.xmin,
    ))
}

/// A target that is ready for rows.
enum Opened {
    /// It exists and is locked. If the mode says so, it is empty.
    Existing(Box<ExistingPlan>),
    /// It was created.
    New(Relation, EncodePlan),
    /// It exists, and the mode leaves it alone.
    LeftAlone(Relation),
}

impl Opened {
    fn relation(&self) -> &Relation {
        match self {
            Self::Existing(plan) => &plan.table.relation,
            Self::New(relation, _) | Self::LeftAlone(relation) => relation,
        }
    }
}

/// Finds or creates the table, locks it, and empties it if the mode says so.
async fn open_target(planner: Planner<'_>) -> Result<Opened> {
    let transaction = planner.transaction;
    transaction.assume_role().await?;
    let mut plan = planner.decide().await?;
    let before = &planner.spec.before;
    if !before.is_empty() && !matches!(plan, WritePlan::LeaveAlone(_)) {
        planner.statements.run(transaction, before).await?;
        transaction.assume_role().await?;
        // They may have changed the table.
        plan = planner.decide().await?;
    }
    let missing = match plan {
        WritePlan::LeaveAlone(relation) => return Ok(Opened::LeftAlone(relation)),
        WritePlan::Existing(plan) => {
            let plan = publish::open(planner, *plan).await?;
            return Ok(Opened::Existing(Box::new(plan)));
        }
        WritePlan::Missing(missing) => missing,
    };
    let name = &missing.name;
    if missing.publish == Publish::Merge {
        let plan = make_table(planner, &missing, name).await?;
        return Ok(Opened::Existing(Box::new(plan)));
    }
    create_table(
        transaction,
        name,
        &missing.columns,
        &planner.spec.table_options,
    )
    .await
    .map_err(|error| error.with_table(name))?;
    let table = lock_named(transaction, name, TableLock::Insert).await?;
    let relation = table.relation;
    let encode = planner.encode(&relation)?;
    reject_casts(&encode).map_err(|error| error.with_table(name))?;
    Ok(Opened::New(relation, encode))
}
