//! What a view shows, and whether it takes rows.

use super::{dropped, not_for_data};
use crate::error::{Error, Result};
use crate::pg::connection::{LOCK_NOT_AVAILABLE, QUERY_CANCELED};
use crate::pg::transaction::Transaction;
use arrow_pgcopy::{QualifiedName, Relation};

/// Rejects a view that shows tables of pgflight or of the system, also through other views: a view with
/// `security_invoker` would write them with the rights of the server's login. Rejects a view that takes no INSERT, and
/// one through which PostgreSQL itself writes a foreign table.
///
/// # Errors
/// [`ErrorKind::Unavailable`](crate::error::ErrorKind::Unavailable) when another session has locked the view or a
/// relation that it shows: PostgreSQL opens them to answer.
pub(super) async fn check_view(
    transaction: &Transaction,
    view: &QualifiedName,
    oid: u32,
) -> Result<()> {
    let row = match transaction.query_unless_locked(FACTS, &[&oid]).await {
        Err(error) => match error.context().sqlstate.as_deref() {
            Some(LOCK_NOT_AVAILABLE | QUERY_CANCELED) => return Err(locked(view, error)),
            _ => return Err(error),
        },
        Ok(row) => row.ok_or_else(|| dropped(view))?,
    };
    if row.get(3) {
        return Err(Error::unsupported(
            "the view, or one that it shows, has a query of more than 1 MiB",
        )
        .with_hint("write to the table behind the view")
        .with_table(view));
    }
    if !row.get::<_, bool>(0) {
        return Err(
            Error::unsupported("cannot write to a view that takes no INSERT").with_table(view),
        );
    }
    if row.get(1) {
        return Err(not_for_data(view));
    }
    if row.get(2) {
        return Err(Error::unsupported(
            "the view shows a foreign table, and its server commits apart from PostgreSQL",
        )
        .with_hint("write to a table of PostgreSQL")
        .with_table(view));
    }
    Ok(())
}

fn locked(view: &QualifiedName, error: Error) -> Error {
    Error::unavailable("another session has locked the view or a relation that it shows")
        .with_hint("try again when its transaction has ended")
        .with_context(|context| context.sqlstate = Some(LOCK_NOT_AVAILABLE.to_owned()))
        .with_table(view)
        .with_source(error)
}

/// Finds out whether a view takes INSERT, by itself or by an INSTEAD OF trigger; whether it shows tables of pgflight or,
/// if the login is a superuser, of the system, whose OIDs are below 16384 (`FirstNormalObjectId`, access/transam.h) and
/// in no `pg_depend`; and whether PostgreSQL itself would write a foreign table that it shows: it has no INSTEAD OF
/// trigger for all of INSERT, DELETE and UPDATE. Their bits in `tgtype` are 4, 8 and 16 (catalog/pg_trigger.h).
/// `pg_relation_is_updatable` has a bit for each command; that of INSERT is `1 << CMD_INSERT` (nodes/nodes.h). It parses
/// the queries of views, which may be large, so it is not called for those of more than 1 MiB as stored.
const FACTS: &str = include_str!("view.sql");

/// Returns whether a view takes only rows that it shows, and so do the views behind it.
///
/// # Errors
/// Any error that PostgreSQL reports.
pub async fn checks_rows(transaction: &Transaction, view: &Relation) -> Result<bool> {
    let row = transaction.query_opt(CHECKS_ROWS, &[&view.oid]).await?;
    Ok(row.is_some_and(|row| row.get(0)))
}

const CHECKS_ROWS: &str = "
    SELECT COALESCE('check_option=cascaded' OPERATOR(pg_catalog.=) ANY (reloptions), false)
    FROM pg_catalog.pg_class WHERE oid OPERATOR(pg_catalog.=) $1";
