//! The transaction of a stream, and the table that it fills.

use std::ops::Deref;

use crate::error::Result;
use crate::pg::{
    Publish, TableLock, Transaction, check_copied_types, create_table, create_temporary,
    definitions_of, has_named_types, lock_named, staged_columns,
};
use crate::write::plan::decide::{ExistingPlan, Planner, WritePlan, reject_casts};
use crate::write::publish::{self, add_marker, make_table};
use crate::write::spec::WriteSpec;
use arrow_pgcopy::{EncodePlan, Relation};

/// Creates a temporary table for the rows of a plan. Returns it with the `xmin` of the rows that this transaction
/// writes.
pub(super) async fn open_temporary(
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

/// The transaction of a stream: its own, which the end of the stream commits, or that of a client, which outlives it.
pub(super) struct Scope<'a> {
    pub(super) transaction: Transaction,
    /// Where a client's transaction goes after the stream.
    pub(super) kept: Option<&'a mut Option<Transaction>>,
}

impl<'a> Scope<'a> {
    pub(super) fn of_stream(transaction: Transaction) -> Self {
        Self {
            transaction,
            kept: None,
        }
    }

    /// Returns the scope of a stream in a client's transaction, which `kept` receives if the stream succeeds.
    pub(super) fn within(transaction: Transaction, kept: &'a mut Option<Transaction>) -> Self {
        Self {
            transaction,
            kept: Some(kept),
        }
    }

    pub(super) fn is_kept(&self) -> bool {
        self.kept.is_some()
    }

    /// Ends the scope of a stream that has changed nothing.
    pub(super) async fn leave(self) {
        match self.kept {
            Some(kept) => *kept = Some(self.transaction),
            None => self.transaction.rollback().await,
        }
    }
}

impl Deref for Scope<'_> {
    type Target = Transaction;

    fn deref(&self) -> &Transaction {
        &self.transaction
    }
}

/// A target that is ready for rows.
pub(super) enum Opened {
    /// It exists and is locked. If the mode says so, it is empty.
    Existing(Box<ExistingPlan>),
    /// It was created, for rows that are merged.
    Made(Box<ExistingPlan>),
    /// It was created, for rows that are copied.
    New(Relation, EncodePlan),
    /// It exists, and the mode leaves it alone.
    LeftAlone(Relation),
}

impl Opened {
    pub(super) fn relation(&self) -> &Relation {
        match self {
            Self::Existing(plan) | Self::Made(plan) => &plan.table.relation,
            Self::New(relation, _) | Self::LeftAlone(relation) => relation,
        }
    }

    /// Returns whether it was created.
    pub(super) fn is_new(&self) -> bool {
        match self {
            Self::Made(_) | Self::New(..) => true,
            Self::Existing(_) | Self::LeftAlone(_) => false,
        }
    }
}

/// Finds or creates the table, locks it, and empties it if the mode says so.
pub(super) async fn open_target(planner: Planner<'_>) -> Result<Opened> {
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
        return Ok(Opened::Made(Box::new(plan)));
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
