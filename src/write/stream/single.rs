//! A write of one stream, in one transaction. The rows go straight into the table by COPY, or through a temporary
//! table: in keyed modes, for casts, and when PostgreSQL does not allow COPY into the table.

use std::sync::Arc;

use arrow::datatypes::Schema;
use futures_util::Stream;

use super::ended::{Ended, insert_good, open_rejects};
use super::fan_out::{FirstLane, NewTable, new_stream_id};
use super::target::{Opened, Scope, open_target, open_temporary};
use crate::error::{Error, ErrorKind, Result};
use crate::metrics::{Activity, Stream as Flow};
use crate::pg::{
    Rejected, RowCounts, TableLock, Transaction, add_primary_key, create_twin, lock_named,
    new_shadow_name, publish_rows, swap_in,
};
use crate::write::pipeline::batches::{self, BatchSource, Incoming, Progress, StreamMessage};
use crate::write::pipeline::envelope::Envelope;
use crate::write::pipeline::lanes::{Lane, Lanes, Loaded};
use crate::write::pipeline::volume::Meter;
use crate::write::plan::decide::{ExistingPlan, Planner, Route, encode_plan, reject_casts};
use crate::write::publish::{self, hide_marker, merge_rows};
use crate::write::reject::collected::Rejects;
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
        if spec.rejects.is_some() {
            self.ensure_ledger().await?;
        }
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
        let scope = Scope::of_stream(transaction);
        self.fill_opened(write_id, (spec, schema), (scope, opened), incoming)
            .await
    }

    /// Writes the rows of a stream into its target, and ends the scope.
    pub(super) async fn fill_opened<S>(
        &self,
        write_id: &str,
        (spec, schema): (&WriteSpec, &Schema),
        (scope, opened): (Scope<'_>, Opened),
        incoming: Incoming<'_, S>,
    ) -> Result<Receipt>
    where
        S: Stream<Item = Result<StreamMessage>> + Unpin,
    {
        let stream = incoming.stream;
        let relation = opened.relation().clone();
        let in_table = |error: Error| error.with_table(&relation.name);
        let mut rejects = open_rejects(&self.pool, write_id, spec, (&scope, &opened)).await?;
        let incoming = Incoming {
            rejects: rejects.as_mut(),
            ..incoming
        };
        let written = match opened {
            Opened::LeftAlone(relation) => {
                scope.leave().await;
                incoming.drain().await?;
                return Ok(Receipt {
                    row_count: 0,
                    byte_count: 0,
                    table: relation.name.to_string(),
                    skipped: true,
                    counts: RowCounts::default(),
                    remark: String::new(),
                    rejected: Rejected::default(),
                    write_id: String::new(),
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
                let filled = self.fill(new_table, &encode, write_id, scope, incoming);
                filled.await
            }
            Opened::Existing(plan) | Opened::Made(plan) => {
                stream.set_table(relation.name.to_string());
                let incoming = match &plan.keys {
                    Some(keys) => incoming.keyed_by(keys.names()),
                    None => incoming,
                };
                match plan.route() {
                    Route::Twin => {
                        let (target, encode) = (&plan.table.relation, &plan.encode);
                        reject_casts(encode).map_err(in_table)?;
                        let twin = new_shadow_name(&target.name)?;
                        create_twin(&scope, &twin, target).await?;
                        let filled = lock_named(&scope, &twin, TableLock::Insert).await?;
                        let new_table = NewTable {
                            spec,
                            schema,
                            filled: &twin,
                            filled_oid: filled.relation.oid,
                            target,
                            by_swap: true,
                        };
                        let filled = self.fill(new_table, encode, write_id, scope, incoming);
                        filled.await
                    }
                    Route::Direct => {
                        let planned = (spec, &*plan);
                        self.write_direct(planned, scope, incoming).await
                    }
                    Route::Temporary => {
                        let planned = (spec, schema, &*plan);
                        let written = self.write_by_temporary(planned, scope, incoming);
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
        scope: Scope<'_>,
        incoming: Incoming<'_, S>,
    ) -> Result<Receipt>
    where
        S: Stream<Item = Result<StreamMessage>> + Unpin,
    {
        let (target, stream) = (&plan.table.relation, incoming.stream);
        // Boxed, since the future is large.
        let deleting = Box::pin(publish::delete_replaced(&scope, plan, None));
        let replaced = stream.wait(Activity::Open, deleting).await?;
        let opening = Lane::open(&scope, &target.name, &plan.encode, plan.guard());
        let lane = stream.wait(Activity::Open, opening).await?;
        let (incoming, mut rejects) = incoming.lend_rejects();
        let incoming = Incoming {
            rejects: rejects.as_deref_mut(),
            ..incoming
        };
        let loaded = load(target, &plan.encode, incoming, self.meter(), lane).await?;
        let counts = RowCounts {
            inserted: Some(loaded.copied_row_count),
            replaced,
            ..RowCounts::default()
        };
        let done = Ended::new(spec, target, &loaded, counts);
        let committing = self.end_stream(scope, done, rejects.as_deref());
        stream.wait(Activity::Commit, committing).await
    }

    /// Copies the rows into a temporary table, and inserts or merges them from there.
    async fn write_by_temporary<S>(
        &self,
        (spec, schema, plan): (&WriteSpec, &Schema, &ExistingPlan),
        scope: Scope<'_>,
        incoming: Incoming<'_, S>,
    ) -> Result<Receipt>
    where
        S: Stream<Item = Result<StreamMessage>> + Unpin,
    {
        let (target, stream) = (&plan.table.relation, incoming.stream);
        let opening = open_temporary(&scope, spec, plan);
        let (mut staging, xmin) = stream.wait(Activity::Open, opening).await?;
        // Values that PostgreSQL casts are copied as text.
        let casting = match plan.encode.first_cast() {
            Some(_) => Some(encode_plan(spec, schema, &staging)?),
            None => None,
        };
        let encode = casting.as_ref().unwrap_or(&plan.encode);
        let opening = Lane::open(&scope, &staging.name, encode, plan.guard());
        let lane = stream.wait(Activity::Open, opening).await?;
        let (incoming, mut rejects) = incoming.lend_rejects();
        let incoming = Incoming {
            rejects: rejects.as_deref_mut(),
            ..incoming
        };
        let loaded = load(&staging, encode, incoming, self.meter(), lane).await?;
        let xact_ids = [xmin];
        hide_marker(spec, &mut staging)?;
        let (mut counts, mut refused_count) = (RowCounts::default(), 0);
        match &plan.keys {
            Some(keys) => {
                let tables = (target, &staging);
                counts = merge_rows(&scope, &spec.mode, tables, &xact_ids, keys).await?;
            }
            None => {
                let staged = Some((&staging.name, xact_ids.as_slice()));
                counts.replaced = publish::delete_replaced(&scope, plan, staged).await?;
                let tables = (target, &staging);
                let mut refused = Vec::new();
                let inserted = match rejects.as_deref().filter(|_| !plan.markers.is_empty()) {
                    None => publish_rows(&scope, target, &staging, &xact_ids).await?,
                    Some(rejects) => {
                        insert_good(&scope, tables, &xact_ids, rejects, &mut refused).await?
                    }
                };
                refused_count = u64::try_from(refused.len()).unwrap_or(u64::MAX);
                if let Some(rejects) = rejects.as_deref_mut() {
                    rejects.add_refused(refused)?;
                    rejects.store().await?;
                }
                counts.inserted = Some(inserted);
            }
        }
        let loaded = Loaded {
            row_count: loaded.row_count.saturating_sub(refused_count),
            ..loaded
        };
        let done = Ended::new(spec, target, &loaded, counts);
        let committing = self.end_stream(scope, done, rejects.as_deref());
        stream.wait(Activity::Commit, committing).await
    }

    /// Fills a new table and makes it the target. A large stream uses several connections.
    async fn fill<S>(
        &self,
        new_table: NewTable<'_>,
        encode: &EncodePlan,
        write_id: &str,
        scope: Scope<'_>,
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
        let opening = Lane::open(&scope, filled, encode, None);
        let mut lanes = Lanes::one(stream.wait(Activity::Open, opening).await?);
        let (incoming, mut rejects) = incoming.lend_rejects();
        // Further connections would commit rows of their own.
        let after_bytes = match scope.is_kept() || rejects.is_some() {
            true => u64::MAX,
            false => self.fan_out.after(spec),
        };
        let incoming = Incoming {
            rejects: rejects.as_deref_mut(),
            ..incoming
        };
        let mut source = BatchSource::new(encode, incoming, self.meter());
        if source.copy_batches(&mut lanes, after_bytes).await? == Progress::Part {
            match self.find_lanes(write_id).await {
                more if more.is_empty() => {
                    source.copy_batches(&mut lanes, u64::MAX).await?;
                }
                more => {
                    let first = FirstLane {
                        write_id,
                        transaction: scope.transaction,
                        loaded: lanes.finish_one().await?,
                    };
                    let fanned = self.fan_out(new_table, first, more, source);
                    // Boxed, since few streams fan out and the future is large.
                    return Box::pin(fanned).await;
                }
            }
        }
        let loaded = lanes.finish_one().await?;
        source.check_account(&loaded).await?;
        let twin = (filled, filled_oid);
        if by_swap {
            swap_in(&scope, twin, &target.name, Some(target.oid)).await?;
        } else {
            add_primary_key(&scope, &target.name, &spec.primary_key).await?;
        }
        let landed = Relation {
            oid: filled_oid,
            ..target.clone()
        };
        let counts = RowCounts {
            inserted: Some(loaded.copied_row_count),
            ..RowCounts::default()
        };
        let done = Ended::new(spec, &landed, &loaded, counts);
        let committing = self.end_stream(scope, done, rejects.as_deref());
        stream.wait(Activity::Commit, committing).await
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

    /// Runs the statements after the rows, publishes the rejected rows, and commits if the target still has its name. A
    /// transaction that is kept goes back to its owner instead.
    async fn end_stream(
        &self,
        scope: Scope<'_>,
        done: Ended<'_>,
        rejects: Option<&Rejects>,
    ) -> Result<Receipt> {
        let Scope { transaction, kept } = scope;
        let receipt = done.receipt(rejects);
        let (statements, after) = (self.statements(), &done.spec.after);
        // Boxed, since the futures are large.
        Box::pin(statements.run(&transaction, after)).await?;
        if let Some(rejects) = rejects {
            Box::pin(self.end_rejects(&transaction, &done, rejects, &receipt)).await?;
        }
        if let Some(kept) = kept {
            *kept = Some(transaction);
            return Ok(receipt);
        }
        let targets = std::slice::from_ref(done.target);
        Box::pin(self.commit_checked(transaction, targets, &|| Ok(()))).await?;
        let loaded = done.loaded;
        self.metrics.count_changed(receipt.counts.named());
        self.metrics
            .count_stored(loaded.row_count, loaded.byte_count);
        self.metrics.count_published(loaded.row_count);
        self.metrics.count_rejected(receipt.rejected.row_count);
        Ok(receipt)
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
