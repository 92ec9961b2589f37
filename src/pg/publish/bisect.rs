//! Publishes the staged rows that PostgreSQL takes, and finds those that it rejects.
//!
//! All rows are inserted at once. If that fails, they are inserted in parts, each below a savepoint, and a part that
//! fails is divided again, down to single rows. So a row is rejected by whatever rejects it in an INSERT, and earlier rows
//! win over later ones with the same key. Without a bad row, this costs a savepoint.

use super::staging::{cast_failed, check_casts, publish_rows};
use crate::error::{Error, ErrorKind, Result};
use crate::pg::ledger::from_bigint;
use crate::pg::sql;
use crate::pg::transaction::{Parameter, Transaction};
use arrow_pgcopy::{Ident, QualifiedName, Relation};
use uuid::Uuid;

/// The number of parts that a failed part is divided into.
const PARTS: u64 = 16;

/// A row that PostgreSQL rejects.
#[derive(Debug)]
pub struct RefusedRow {
    /// The place of the row: the number that it was staged with.
    pub place: u64,
    /// The error.
    pub error: Error,
    /// The kind of the error.
    pub kind: &'static str,
    /// The values of the keys, as a JSON object.
    pub keys: Option<String>,
    /// All values, as a JSON object.
    pub values: Option<String>,
}

/// What is kept of a rejected row.
#[derive(Debug, Clone, Copy)]
pub struct KeptValues<'a> {
    /// The columns that identify it; none to keep no keys.
    pub keys: &'a [Ident],
    /// Whether all values are kept.
    pub all: bool,
}

/// The receiver of rejected rows. It returns an error to end the write.
pub(super) type OnRefused<'a> = &'a mut (dyn FnMut(RefusedRow) -> Result<()> + Send);

/// Returns the kind of an error about a row; `None` for an error that no row is the reason of.
fn kind_of(error: &Error) -> Option<&'static str> {
    match error.kind() {
        ErrorKind::DataRejected => {}
        ErrorKind::InvalidCommand
        | ErrorKind::SchemaMismatch
        | ErrorKind::Unsupported
        | ErrorKind::NotFound
        | ErrorKind::AlreadyExists
        | ErrorKind::Conflict
        | ErrorKind::Unauthenticated
        | ErrorKind::PermissionDenied
        | ErrorKind::Unavailable
        | ErrorKind::Cancelled
        | ErrorKind::Timeout
        | ErrorKind::PreparedLost
        | ErrorKind::Internal => return None,
    }
    match error.context().sqlstate.as_deref()? {
        "23502" => Some("not_null"),
        "23503" => Some("foreign_key"),
        "23505" => Some("unique"),
        "23514" => Some("check"),
        "23P01" => Some("exclusion"),
        "P0001" => Some("trigger"),
        _ => None,
    }
}

/// Inserts the rows of the accepted attempts that PostgreSQL takes, and passes on the others. `place` is the staged column
/// with the places of the rows, which order them. Returns the number of inserted rows, and the number of rows that were
/// staged if some were rejected.
///
/// # Errors
/// The errors of [`publish_rows`] that no row is the reason of, or of a kind that is not rejected; the errors of
/// `on_refused`.
pub async fn publish_good_rows(
    transaction: &Transaction,
    (target, staging): (&Relation, &Relation),
    xact_ids: &[String],
    (place, kept): (&Ident, KeptValues<'_>),
    is_rejected: &(dyn Fn(&str) -> bool + Sync),
    on_refused: OnRefused<'_>,
) -> Result<(u64, Option<u64>)> {
    check_casts(transaction, target, staging).await?;
    transaction.set_savepoint().await?;
    let error = match publish_rows(transaction, target, staging, xact_ids).await {
        Ok(inserted) => {
            transaction.release_savepoint().await?;
            return Ok((inserted, None));
        }
        Err(error) => error,
    };
    let can_reject = |error: &Error| kind_of(error).filter(|kind| is_rejected(kind));
    if can_reject(&error).is_none() {
        return Err(error);
    }
    transaction.return_to_savepoint().await?;
    let (numbered, count) = number_rows(transaction, staging, xact_ids, place).await?;
    let parts = Relation {
        name: numbered,
        ..staging.clone()
    };
    let statement = sql::publish_part(target, &parts);
    let mut inserted = 0;
    let mut next = vec![(1, count + 1)];
    while let Some((from, to)) = next.pop() {
        if to - from == count && count > 1 {
            divide(&mut next, from, to);
            continue;
        }
        let parameters: [&dyn Parameter; 2] = [&to_bigint(from), &to_bigint(to)];
        transaction.set_savepoint().await?;
        match transaction.execute_on_rows(&statement, &parameters).await {
            Ok(part) => {
                transaction.release_savepoint().await?;
                inserted += part;
            }
            Err(error) => {
                let error = cast_failed(error, target, staging).with_table(&target.name);
                let Some(kind) = can_reject(&error) else {
                    return Err(error);
                };
                transaction.return_to_savepoint().await?;
                if to - from > 1 {
                    divide(&mut next, from, to);
                    continue;
                }
                let found = read_row(transaction, &parts, from, (place, kept)).await?;
                on_refused(RefusedRow {
                    error,
                    kind,
                    ..found
                })?;
            }
        }
    }
    Ok((inserted, Some(count)))
}

/// Adds the parts of a range, so that the first is taken first.
fn divide(next: &mut Vec<(u64, u64)>, from: u64, to: u64) {
    let size = (to - from).div_ceil(PARTS).max(1);
    let mut parts = Vec::new();
    let mut start = from;
    while start < to {
        let end = to.min(start + size);
        parts.push((start, end));
        start = end;
    }
    next.extend(parts.into_iter().rev());
}

/// Copies the accepted rows into a temporary table, numbered from 1 in the order of their places. Returns its name and the
/// number of rows. The end of the transaction drops it.
async fn number_rows(
    transaction: &Transaction,
    staging: &Relation,
    xact_ids: &[String],
    place: &Ident,
) -> Result<(QualifiedName, u64)> {
    let name = Ident::new(format!("numbered_{}", Uuid::new_v4().simple()))?;
    let statement = sql::number_rows(&name, &staging.name, place);
    let count = transaction
        .execute_on_rows(&statement, &[&xact_ids])
        .await?;
    transaction.renew_role().await?;
    transaction.execute_all(&sql::index_numbers(&name)).await?;
    let numbered = QualifiedName {
        schema: Ident::new("pg_temp")?,
        name,
    };
    Ok((numbered, count))
}

/// Reads the place of a numbered row, and the values that are kept of it.
async fn read_row(
    transaction: &Transaction,
    numbered: &Relation,
    number: u64,
    (place, kept): (&Ident, KeptValues<'_>),
) -> Result<RefusedRow> {
    let all: Vec<Ident> = match kept.all {
        true => numbered.columns.iter().map(|c| c.name.clone()).collect(),
        false => Vec::new(),
    };
    let keys = kept.keys.iter().filter(|key| {
        let mut columns = numbered.columns.iter();
        columns.any(|column| column.name == **key)
    });
    let keys: Vec<Ident> = keys.cloned().collect();
    let statement = sql::read_numbered(&numbered.name, place, &keys, &all);
    let rows = transaction
        .query_on_rows(&statement, &[&to_bigint(number)])
        .await?;
    let row = rows
        .first()
        .ok_or_else(|| Error::internal("a numbered row is missing"))?;
    Ok(RefusedRow {
        place: from_bigint(row.get(0)),
        error: Error::internal("no error"),
        kind: "",
        keys: row.get(1),
        values: row.get(2),
    })
}

fn to_bigint(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::divide;

    #[test]
    fn parts_cover_their_range_in_order() {
        for (from, to) in [(1, 2), (1, 3), (5, 21), (5, 22), (1, 2_000_001)] {
            let mut next = Vec::new();
            divide(&mut next, from, to);
            let mut reached = from;
            while let Some((start, end)) = next.pop() {
                assert!(start == reached && end > start, "{from} {to}");
                reached = end;
            }
            assert_eq!(reached, to, "{from} {to}");
        }
    }
}
