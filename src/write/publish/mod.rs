//! Publishes rows. Each method has a file: what it does at begin and at commit of a write of many partitions, and
//! before the rows of a write of one stream.
//!
//! [`Publish`] names the methods. Only this module dispatches to them.

mod append;
mod chosen;
mod create;
mod delete;
mod direct;
mod merge;
mod replace;
mod staged;
mod swap;
mod truncate;
mod two_phase;

pub(crate) use self::chosen::{Accepted, Chosen};
pub(crate) use self::merge::{make_table, merge_rows};
pub(crate) use self::staged::{add_marker, hide_marker, lock_target};
use crate::error::{Error, Result};
use std::sync::Mutex;

use crate::pg::{
    LedgerWrite, Publish, Reject, RejectReason, RowCounts, Transaction, delete_all, find_oid,
    lock_staging, new_shadow_name, new_staging_name,
};
use crate::write::plan::decide::{ExistingPlan, MissingPlan, Planner, WritePlan};
use crate::write::spec::WriteSpec;
use arrow_pgcopy::QualifiedName;
use arrow_pgcopy::table::TableName;

/// The outcome of a publish.
pub(crate) enum Published {
    /// The rows are in the target. Has the numbers of rows that changed.
    Done(RowCounts),
    /// Fewer rows are staged than were recorded. Has the number of staged rows.
    StagingLost(u64),
    /// The staging table differs from the one that begin created. Has the change.
    StagingChanged(&'static str),
    /// Fewer prepared transactions exist than were recorded. Has the number that exist.
    PreparedLost(usize),
}

impl Published {
    /// Adds the number of rows that were deleted to make room.
    fn replacing(self, replaced: u64) -> Self {
        match self {
            Self::Done(counts) => Self::Done(RowCounts {
                replaced: Some(replaced),
                ..counts
            }),
            Self::StagingLost(_) | Self::StagingChanged(_) | Self::PreparedLost(_) => self,
        }
    }
}

/// A commit that publishes the accepted attempts of a write.
#[derive(Clone, Copy)]
pub(crate) struct Commit<'a> {
    pub(crate) transaction: &'a Transaction,
    pub(crate) write: &'a LedgerWrite,
    pub(crate) target: &'a QualifiedName,
    pub(crate) chosen: &'a Chosen,
    /// The rows that PostgreSQL rejects, which the commit collects.
    pub(crate) refused: &'a Mutex<Refused>,
}

/// The staged rows that PostgreSQL rejects.
#[derive(Debug, Default)]
pub(crate) struct Refused {
    /// Whether the staged rows have their places, which find them again.
    pub(crate) has_places: bool,
    pub(crate) rows: Vec<Reject>,
    /// The reasons of the rows that were rejected before, for messages.
    pub(crate) earlier: Vec<RejectReason>,
}

/// Returns the method by which a write of many partitions publishes its attempts.
///
/// # Errors
/// The errors of [`two_phase::is_possible`].
pub(crate) async fn of_partitions(
    transaction: &Transaction,
    spec: &WriteSpec,
    plan: &WritePlan,
) -> Result<Publish> {
    Ok(match plan {
        WritePlan::Existing(plan) if two_phase::is_possible(transaction, spec, plan).await? => {
            Publish::TwoPhase
        }
        WritePlan::Existing(plan) => plan.publish,
        WritePlan::Missing(plan) => plan.publish,
        WritePlan::LeaveAlone(_) => Publish::Nothing,
    })
}

/// Checks that a write of many partitions could publish its attempts.
///
/// # Errors
/// The errors of [`of_partitions`] and [`direct::begin`].
pub(crate) async fn check_plan(
    transaction: &Transaction,
    spec: &WriteSpec,
    plan: &ExistingPlan,
) -> Result<()> {
    match plan.publish {
        Publish::Direct => direct::begin(plan),
        Publish::Append
        | Publish::TwoPhase
        | Publish::Truncate
        | Publish::Delete
        | Publish::Merge
        | Publish::Replace
        | Publish::Create
        | Publish::Swap
        | Publish::Nothing => two_phase::is_possible(transaction, spec, plan)
            .await
            .map(drop),
    }
}

/// Returns the name of a new table in which the attempts wait for the commit; `None` when they wait elsewhere.
///
/// # Errors
/// None in practice: PostgreSQL can hold the name.
pub(crate) fn new_name(publish: Publish, target: &QualifiedName) -> Result<Option<QualifiedName>> {
    Ok(match publish {
        Publish::Nothing | Publish::Direct => None,
        Publish::Create | Publish::Swap => Some(new_shadow_name(target)?),
        // In two phases, attempts that find no free slot to prepare are staged.
        Publish::Append
        | Publish::TwoPhase
        | Publish::Truncate
        | Publish::Delete
        | Publish::Replace
        | Publish::Merge => Some(new_staging_name()?),
    })
}

/// Prepares an existing table for the attempts of a write: creates their staging table, or checks that they need none.
///
/// # Errors
/// [`ErrorKind::Unsupported`](crate::error::ErrorKind::Unsupported) or
/// [`ErrorKind::SchemaMismatch`](crate::error::ErrorKind::SchemaMismatch) when the method cannot publish the rows; any
/// error that PostgreSQL reports.
pub(crate) async fn begin_existing(
    planner: Planner<'_>,
    publish: Publish,
    plan: &ExistingPlan,
    staging: Option<&QualifiedName>,
) -> Result<()> {
    let transaction = planner.transaction;
    match (publish, staging) {
        (Publish::Swap, Some(twin)) => swap::begin(transaction, plan, twin).await,
        (Publish::Direct, _) => direct::begin(plan),
        (Publish::Nothing, _) | (_, None) => Ok(()),
        (
            Publish::Append
            | Publish::TwoPhase
            | Publish::Truncate
            | Publish::Delete
            | Publish::Merge
            | Publish::Replace
            | Publish::Create,
            Some(staging),
        ) => staged::begin(transaction, planner.spec, plan, staging).await,
    }
}

/// Prepares for the attempts of a write that creates its table: creates the table in which they wait.
///
/// # Errors
/// The errors of [`begin_existing`].
pub(crate) async fn begin_missing(
    planner: Planner<'_>,
    plan: &MissingPlan,
    staging: Option<&QualifiedName>,
) -> Result<()> {
    match (plan.publish, staging) {
        (Publish::Merge, Some(staging)) => merge::begin_missing(planner, plan, staging).await,
        (_, Some(shadow)) => create::begin(planner, plan, shadow).await,
        (_, None) => Ok(()),
    }
}

/// Locks an existing table for the rows of one stream, and truncates it if the method does.
///
/// # Errors
/// The errors of [`Planner::decide_again`] when the table has changed meanwhile; any error that PostgreSQL reports.
pub(crate) async fn open(planner: Planner<'_>, plan: ExistingPlan) -> Result<ExistingPlan> {
    match plan.publish {
        Publish::Truncate => truncate::open(planner, plan).await,
        Publish::Delete => delete::open(planner, plan).await,
        // The table is locked only when its twin is full.
        Publish::Swap => Ok(plan),
        Publish::Append
        | Publish::TwoPhase
        | Publish::Merge
        | Publish::Replace
        | Publish::Create
        | Publish::Direct
        | Publish::Nothing => append::open(planner, plan).await,
    }
}

/// Deletes the rows that the rows of one stream replace, if the method does. Returns their number. `staged` is the
/// temporary table with the rows, and their `xmin`; `None` before they are copied straight into the table.
///
/// # Errors
/// Any error that PostgreSQL reports.
pub(crate) async fn delete_replaced(
    transaction: &Transaction,
    plan: &ExistingPlan,
    staged: Option<(&QualifiedName, &[String])>,
) -> Result<Option<u64>> {
    match plan.publish {
        Publish::Delete => delete_all(transaction, &plan.table.relation.name)
            .await
            .map(Some),
        Publish::Replace => replace::delete_part(transaction, plan, staged)
            .await
            .map(Some),
        Publish::Append
        | Publish::TwoPhase
        | Publish::Truncate
        | Publish::Merge
        | Publish::Create
        | Publish::Swap
        | Publish::Direct
        | Publish::Nothing => Ok(None),
    }
}

/// Returns the OID of the table that has the rows of a write that was just published; `None` if there is none.
///
/// # Errors
/// Any error that PostgreSQL reports.
pub(crate) async fn published_oid(
    transaction: &Transaction,
    write: &LedgerWrite,
    target: &QualifiedName,
) -> Result<Option<u32>> {
    match (write.publish, write.target_oid) {
        (Publish::Create | Publish::Swap, _) => Ok(write.staging_oid),
        (
            Publish::Append
            | Publish::TwoPhase
            | Publish::Truncate
            | Publish::Delete
            | Publish::Merge
            | Publish::Replace
            | Publish::Direct
            | Publish::Nothing,
            Some(oid),
        ) => Ok(Some(oid)),
        // The commit has made it, and no other session can rename it.
        (_, None) => {
            let table = TableName {
                schema: Some(target.schema.clone()),
                name: target.name.clone(),
            };
            find_oid(transaction, &table).await
        }
    }
}

/// Publishes the accepted attempts of a write in the commit's transaction.
///
/// # Errors
/// [`ErrorKind::Conflict`](crate::error::ErrorKind::Conflict) when the target has changed since begin; any error that
/// PostgreSQL reports.
pub(crate) async fn commit(
    transaction: &Transaction,
    write: &LedgerWrite,
    (chosen, refused): (&Chosen, &Mutex<Refused>),
) -> Result<Published> {
    let Some(target) = &write.target else {
        return Err(Error::internal("an open write has no target"));
    };
    let commit = Commit {
        transaction,
        write,
        target,
        chosen,
        refused,
    };
    if write.publish == Publish::Direct {
        return Ok(Published::Done(RowCounts::default()));
    }
    let Some(staging) = &write.staging else {
        return Ok(Published::StagingLost(0));
    };
    if matches!(write.publish, Publish::Create | Publish::Swap) {
        // The filled table belongs to the role that fills it.
        transaction.assume_role().await?;
    }
    let needs_staging = write.publish != Publish::TwoPhase || !chosen.xact_ids.is_empty();
    if needs_staging && let Some(what) = lock_staging(transaction, write, staging).await? {
        return Ok(Published::StagingChanged(what));
    }
    match write.publish {
        Publish::Direct | Publish::Nothing => Ok(Published::Done(RowCounts::default())),
        Publish::Create => create::commit(commit, staging).await,
        Publish::Swap => swap::commit(commit, staging).await,
        Publish::TwoPhase => two_phase::commit(commit, staging).await,
        Publish::Append => append::commit(commit, staging).await,
        Publish::Truncate => truncate::commit(commit, staging).await,
        Publish::Delete => delete::commit(commit, staging).await,
        Publish::Merge => merge::commit(commit, staging).await,
        Publish::Replace => replace::commit(commit, staging).await,
    }
}
