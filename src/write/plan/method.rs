//! The method by which a mode publishes into a table that exists, and whether the table allows it.

use crate::error::{Error, Result};
use crate::pg::{Publish, Table, Transaction, check_swappable};
use crate::write::spec::{AppendBy, IfExists, KeyedAction, Mode, OverwriteWith};

/// Returns the method by which a mode publishes into a table that exists; `None` when the mode leaves the table alone.
///
/// # Errors
/// [`ErrorKind::AlreadyExists`](crate::error::ErrorKind::AlreadyExists) when the mode must create the table.
pub(crate) fn of_existing(mode: &Mode) -> Result<Option<Publish>> {
    Ok(Some(match mode {
        Mode::Append {
            publish: AppendBy::Direct,
            ..
        } => Publish::Direct,
        Mode::Append { .. }
        | Mode::Create {
            if_exists: IfExists::Append,
        } => Publish::Append,
        Mode::Create {
            if_exists: IfExists::Ignore,
        } => return Ok(None),
        Mode::Create {
            if_exists: IfExists::Fail,
        } => {
            return Err(Error::already_exists("the table already exists").with_hint(
                "use mode append or overwrite, or create with if_exists append or ignore (in ADBC: append, replace or create_append)",
            ));
        }
        Mode::Overwrite { with } => match with {
            OverwriteWith::Truncate => Publish::Truncate,
            OverwriteWith::Delete => Publish::Delete,
            OverwriteWith::Swap => Publish::Swap,
        },
        Mode::Replace { .. } => Publish::Replace,
        Mode::Keyed { .. } => Publish::Merge,
    }))
}

/// Returns the privileges that a commit needs on a table that exists, by their names in GRANT.
pub(crate) fn needed_privileges(mode: &Mode) -> &'static [&'static str] {
    match mode {
        Mode::Create {
            if_exists: IfExists::Fail | IfExists::Ignore,
        } => &[],
        Mode::Append { .. }
        | Mode::Create {
            if_exists: IfExists::Append,
        } => &["INSERT"],
        Mode::Overwrite { with } => privileges_to_overwrite(*with),
        Mode::Replace { .. } => &["SELECT", "INSERT", "DELETE"],
        Mode::Keyed {
            action, changes, ..
        } => match action {
            KeyedAction::Upsert if changes.deletes() => &["SELECT", "INSERT", "UPDATE", "DELETE"],
            KeyedAction::Upsert => &["SELECT", "INSERT", "UPDATE"],
            KeyedAction::InsertIfAbsent => &["SELECT", "INSERT"],
            KeyedAction::UpdateOnly => &["SELECT", "UPDATE"],
            KeyedAction::DeleteByKey => &["SELECT", "DELETE"],
        },
    }
}

/// Returns the privileges that an overwrite needs, by their names in GRANT.
fn privileges_to_overwrite(with: OverwriteWith) -> &'static [&'static str] {
    match with {
        OverwriteWith::Truncate => &["INSERT", "TRUNCATE"],
        OverwriteWith::Delete => &["INSERT", "DELETE"],
        // Only the owner may swap, see [`check_swappable`].
        OverwriteWith::Swap => &[],
    }
}

/// Checks that a method can publish into a table that exists.
///
/// # Errors
/// [`ErrorKind::Unsupported`](crate::error::ErrorKind::Unsupported) or
/// [`ErrorKind::PermissionDenied`](crate::error::ErrorKind::PermissionDenied) when it cannot; any error that PostgreSQL
/// reports.
pub(crate) async fn check_table(
    transaction: &Transaction,
    publish: Publish,
    table: &Table,
) -> Result<()> {
    match publish {
        Publish::Swap => check_swappable(transaction, table).await,
        Publish::Truncate => check_truncatable(table),
        Publish::Append
        | Publish::TwoPhase
        | Publish::Delete
        | Publish::Merge
        | Publish::Replace
        | Publish::Create
        | Publish::Direct
        | Publish::Nothing => Ok(()),
    }
}

/// Rejects a view, which cannot be truncated.
fn check_truncatable(table: &Table) -> Result<()> {
    if table.is_view {
        return Err(Error::unsupported("PostgreSQL cannot truncate a view")
            .with_hint("overwrite with delete"));
    }
    Ok(())
}
