//! A write of one stream: one transaction, COPY straight into the table, or by way of a temporary one:
//! in keyed modes, for casts, and where PostgreSQL refuses COPY.

use std::time::Duration;

use arrow_schema::Schema;
use futures_util::Stream;
use futures_util::future::try_join;
use tokio::time::Instant;

use super::fan_out::{Begun, Filling, new_stream_id};
use super::lanes::{Lane, Lanes, Loaded};
use super::pipeline::{self, Incoming, Poured, Source, StreamMessage};
use super::spec::{Mode, Receipt, WriteSpec};
use super::target::{Target, check_straight, find_target, make_keyed, plan};
use super::volume::Meter;
use super::writer::Writer;
use crate::auth::Caller;
use crate::error::{Error, ErrorKind, Result};
use crate::metrics::{self, Activity, Stream as Flow};
use crate::pg::{
    Merge, Outcome, Publish, TableLock, Transaction, add_columns, add_primary_key,
    check_same_table, copy_obstacle, create_table, create_temporary, create_twin, definitions_of,
    delete_all, lock_relation, merge, new_shadow_name, publish_rows, qualify, staging_relation,
    swap_in, truncate,
};
use crate::plan::{EncodePlan, Relation};

/// How long PostgreSQL is asked how a COMMIT ended: as long as it may take to come back.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);
/// How long it may take to say so, and the pause before it is asked again.
const ONE_ANSWER: Duration = Duration::from_secs(5);
pub(super) const PAUSE: Duration = Duration::from_millis(500);

impl Writer {
    /// Writes a stream as a whole: when this returns `Ok`, all its rows are committed; when it
    /// returns an error or is dropped, none are.
    ///
    /// # Errors
    /// Whatever keeps the rows from the table. [`ErrorKind::Internal`] in the one case where the
    /// connection broke during COMMIT and PostgreSQL could not be asked for a minute how it ended.
    pub async fn write_stream<S>(
        &self,
        spec: &WriteSpec,
        schema: &Schema,
        incoming: Incoming<'_, S>,
    ) -> Result<Receipt>
    where
        S: Stream<Item = Result<StreamMessage>> + Unpin,
    {
        // A write of its own, that waits as one.
        let write_id = new_stream_id();
        incoming.stream.identify(&write_id, 0, "");
        // It may become a write of the ledger on its way.
        let _sign = self.streaming.begin(&write_id);
        incoming.stream.enter(Activity::Open);
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
        let opening = self.open_stream(write_id, spec, schema, stream);
        let (transaction, opened) = stream.wait(Activity::Open, opening).await?;
        let (relation, publish) = match opened {
            Opened::Table(relation, publish) => (relation, publish),
            Opened::LeftAlone(relation) => {
                transaction.rollback().await;
                incoming.discard().await?;
                return Ok(Receipt {
                    row_count: 0,
                    byte_count: 0,
                    table: relation.name.to_string(),
                    skipped: true,
                });
            }
        };
        stream.set_table(relation.name.to_string());
        let in_table = |error: Error| error.with_table(&relation.name);
        if matches!(publish, Publish::Create | Publish::Swap) {
            let filling = Filling {
                spec,
                schema,
                target: &relation,
                by_swap: publish == Publish::Swap,
            };
            let filled = self.fill(filling, write_id, transaction, incoming);
            return filled.await.map_err(in_table);
        }
        let loaded = match (publish, &spec.mode) {
            (
                Publish::Merge,
                Mode::Keyed {
                    action,
                    keys,
                    order_by,
                    ..
                },
            ) => {
                let staging = open_temporary(&transaction, spec, schema, &relation)
                    .await
                    .map_err(in_table)?;
                let loaded = load(
                    &transaction,
                    spec,
                    schema,
                    (&staging, &relation),
                    incoming,
                    self.meter(),
                )
                .await
                .map_err(in_table)?;
                let xact_ids = [transaction.xmin().await?];
                let (target, order_by) = (&relation, order_by.as_ref());
                merge(
                    &transaction,
                    &Merge {
                        target,
                        staging: &staging,
                        xact_ids: &xact_ids,
                        action: *action,
                        keys,
                        order_by,
                    },
                )
                .await?;
                loaded
            }
            _ if must_insert(&transaction, spec, schema, &relation).await? => {
                let staging = open_temporary(&transaction, spec, schema, &relation)
                    .await
                    .map_err(in_table)?;
                let loaded = load(
                    &transaction,
                    spec,
                    schema,
                    (&staging, &relation),
                    incoming,
                    self.meter(),
                )
                .await
                .map_err(in_table)?;
                let xact_ids = [transaction.xmin().await?];
                publish_rows(&transaction, &relation, &staging, &xact_ids).await?;
                loaded
            }
            _ => load(
                &transaction,
                spec,
                schema,
                (&relation, &relation),
                incoming,
                self.meter(),
            )
            .await
            .map_err(in_table)?,
        };
        check_same_table(&transaction, &relation).await?;
        let committing = self.commit_stream(transaction, &loaded);
        let committed = stream.wait(Activity::Commit, committing).await;
        committed.map_err(in_table)?;
        Ok(receipt(&loaded, &relation))
    }

    /// Fills a new table, by several connections where there is much to fill, and gives it the place that
    /// it is for.
    async fn fill<S>(
        &self,
        filling: Filling<'_>,
        write_id: &str,
        transaction: Transaction,
        incoming: Incoming<'_, S>,
    ) -> Result<Receipt>
    where
        S: Stream<Item = Result<StreamMessage>> + Unpin,
    {
        let Filling {
            spec,
            schema,
            target,
            by_swap,
        } = filling;
        let filled = match by_swap {
            true => open_twin(&transaction, target).await?,
            false => target.clone(),
        };
        let plan = straight_plan(spec, schema, &filled, incoming.stream)?;
        let stream = incoming.stream;
        let opening = Lane::open(&transaction, &filled.name, &target.name, &plan);
        let mut lanes = Lanes::one(stream.wait(Activity::Open, opening).await?);
        let mut source = Source::new(&plan, incoming, self.meter());
        if source
            .pour(&mut lanes, self.fan_out.after(&spec.mode))
            .await?
            == Poured::Part
        {
            match self.find_lanes(write_id).await {
                more if more.is_empty() => {
                    source.pour(&mut lanes, u64::MAX).await?;
                }
                more => {
                    let begun = Begun {
                        write_id,
                        transaction,
                        loaded: lanes.finish_one().await?,
                    };
                    let fanned = self.fan_out(filling, &filled, begun, more, source);
                    // Apart, as few streams come here and it takes much room.
                    return Box::pin(fanned).await;
                }
            }
        }
        let loaded = lanes.finish_one().await?;
        if by_swap {
            let oid = Some(target.oid);
            swap_in(&transaction, &filled.name, &target.name, oid).await?;
        } else {
            add_primary_key(&transaction, &target.name, &spec.primary_key).await?;
        }
        let committing = self.commit_stream(transaction, &loaded);
        stream.wait(Activity::Commit, committing).await?;
        Ok(receipt(&loaded, target))
    }

    /// Opens the target. Somebody else may make the same table at the same time: then it is there at
    /// the second look, and the mode says what that means.
    async fn open_stream(
        &self,
        write_id: &str,
        spec: &WriteSpec,
        schema: &Schema,
        stream: &Flow,
    ) -> Result<(Transaction, Opened)> {
        let transaction = self.begin_data(write_id, stream).await?;
        match open_target(&transaction, &self.caller, spec, schema).await {
            Err(error)
                if error.kind() == ErrorKind::AlreadyExists
                    && error.context().sqlstate.is_some() =>
            {
                drop(transaction);
                let transaction = self.begin_data(write_id, stream).await?;
                let opened = open_target(&transaction, &self.caller, spec, schema).await?;
                Ok((transaction, opened))
            }
            opened => Ok((transaction, opened?)),
        }
    }

    async fn commit_stream(&self, transaction: Transaction, loaded: &Loaded) -> Result<()> {
        self.try_commit_stream(transaction).await?;
        metrics::count_landed(loaded.row_count, loaded.byte_count);
        metrics::count_published(loaded.row_count);
        Ok(())
    }

    async fn try_commit_stream(&self, transaction: Transaction) -> Result<()> {
        // What is deferred runs in the role that wrote the rows, and its error comes before the COMMIT. PostgreSQL is
        // asked for both in one round trip.
        let resumed = transaction.resume_own_role();
        let ((), xact_id) = try_join(resumed, transaction.xact_id()).await?;
        match transaction.commit().await {
            Outcome::Committed => Ok(()),
            Outcome::RolledBack(error) => Err(error),
            Outcome::Unknown(error) => match self.find_outcome(&xact_id).await {
                Some(true) => Ok(()),
                Some(false) => Err(error.into_retryable(
                    "the connection to PostgreSQL broke during COMMIT, and PostgreSQL has rolled the transaction \
                     back; nothing of the stream is kept, send it again",
                )),
                None => Err(in_doubt(error)),
            },
        }
    }

    /// Asks PostgreSQL how a transaction ended whose COMMIT got no answer; `None` when it did not say so for
    /// [`PATIENCE`]. Only PostgreSQL's own word counts: an error says nothing about the transaction.
    async fn find_outcome(&self, xact_id: &str) -> Option<bool> {
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            let asked = async {
                let transaction = self.pool.begin_look().await?;
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

/// Of a stream whose COMMIT got no answer, now or later. Not retryable: a retry could bring the rows twice.
pub(super) fn in_doubt(error: Error) -> Error {
    Error::new(
        ErrorKind::Internal,
        format!(
            "the connection to PostgreSQL broke during COMMIT, and PostgreSQL could not be asked for {} whether the \
             rows are in the table; look there before you write them again",
            humantime::format_duration(PATIENCE)
        ),
    )
    .with_source(error)
}

async fn load<S>(
    transaction: &Transaction,
    spec: &WriteSpec,
    schema: &Schema,
    (relation, target): (&Relation, &Relation),
    incoming: Incoming<'_, S>,
    meter: Meter,
) -> Result<Loaded>
where
    S: Stream<Item = Result<StreamMessage>> + Unpin,
{
    let plan = straight_plan(spec, schema, relation, incoming.stream)?;
    let opening = Lane::open(transaction, &relation.name, &target.name, &plan);
    let lane = incoming.stream.wait(Activity::Open, opening).await?;
    let loaded = pipeline::load(&plan, incoming, meter, lane).await?;
    if loaded.copied_row_count < loaded.row_count {
        tracing::warn!(
            table = ?relation.name.to_string(), sent = loaded.row_count, kept = loaded.copied_row_count,
            "a trigger of the table left rows out"
        );
    }
    Ok(loaded)
}

/// The plan of rows that are copied as they will be.
fn straight_plan(
    spec: &WriteSpec,
    schema: &Schema,
    relation: &Relation,
    stream: &Flow,
) -> Result<EncodePlan> {
    let plan = stream.work(Activity::Plan, || plan(spec, schema, relation))?;
    check_straight(&plan)?;
    tracing::debug!(table = ?relation.name.to_string(), plan = %plan, "planned");
    Ok(plan)
}

fn receipt(loaded: &Loaded, table: &Relation) -> Receipt {
    Receipt {
        row_count: loaded.row_count,
        byte_count: loaded.byte_count,
        table: table.name.to_string(),
        skipped: false,
    }
}

/// Whether the rows have to wait in a temporary table, from which INSERT takes them.
async fn must_insert(
    transaction: &Transaction,
    spec: &WriteSpec,
    schema: &Schema,
    relation: &Relation,
) -> Result<bool> {
    let has_cast = plan(spec, schema, relation)?.first_cast().is_some();
    Ok(has_cast || copy_obstacle(transaction, relation).await?.is_some())
}

/// Where rows that are not copied straight into their table wait until all are there.
async fn open_temporary(
    transaction: &Transaction,
    spec: &WriteSpec,
    schema: &Schema,
    target: &Relation,
) -> Result<Relation> {
    let plan = plan(spec, schema, target)?;
    let columns = definitions_of(transaction, target, plan.columns()).await?;
    let name = create_temporary(transaction, &columns).await?;
    staging_relation(transaction, &name).await
}

/// The table that will take the target's place.
async fn open_twin(transaction: &Transaction, target: &Relation) -> Result<Relation> {
    let name = new_shadow_name(&target.name)?;
    create_twin(transaction, &name, target).await?;
    staging_relation(transaction, &name).await
}

enum Opened {
    Table(Relation, Publish),
    LeftAlone(Relation),
}

/// Finds or makes the table, locks it and empties it where the mode says so.
async fn open_target(
    transaction: &Transaction,
    caller: &Caller,
    spec: &WriteSpec,
    schema: &Schema,
) -> Result<Opened> {
    transaction.assume_role().await?;
    let (name, publish) = match find_target(transaction, caller, spec, schema).await? {
        Target::LeaveAlone(relation) => return Ok(Opened::LeftAlone(relation)),
        // Nothing is locked before the twin is full.
        Target::Existing(relation, Publish::Swap, _) => {
            return Ok(Opened::Table(relation, Publish::Swap));
        }
        Target::Existing(relation, publish, added) => {
            add_columns(transaction, &relation.name, &added).await?;
            (relation.name, publish)
        }
        Target::Missing(columns) => {
            let name = qualify(transaction, &spec.table).await?;
            if let Mode::Keyed { .. } = spec.mode {
                make_keyed(transaction, spec, schema, &name, &columns).await?;
                (name, Publish::Merge)
            } else {
                create_table(transaction, &name, &columns, &spec.table_options)
                    .await
                    .map_err(|error| error.with_table(&name))?;
                (name, Publish::Create)
            }
        }
    };
    let relation = match publish {
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
        Publish::Append
        | Publish::TwoPhase
        | Publish::Merge
        | Publish::Create
        | Publish::Swap
        | Publish::Direct
        | Publish::Nothing => lock_relation(transaction, &name, TableLock::Insert).await?,
    };
    Ok(Opened::Table(relation, publish))
}
