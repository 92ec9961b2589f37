//! The places of staged rows: one number for the partition and the row within its stream, which orders the rows of a
//! write.

use super::rules::{RejectRules, RejectValues};
use crate::error::{Error, Result};
use crate::pg::{KeptValues, RefusedRow, Reject, RejectReason};
use arrow_pgcopy::Ident;

/// The bits of the row. The others, but the sign, are for the partition.
const ROW_BITS: u32 = 40;
/// The least partition that has no room.
const MAX_PARTITIONS: u32 = 1 << (63 - ROW_BITS);

/// Returns the place of a row.
///
/// # Errors
/// [`ErrorKind::Unsupported`](crate::error::ErrorKind::Unsupported) for a partition or a row beyond those that a place can
/// name.
pub(crate) fn place(partition_id: u32, row: u64) -> Result<i64> {
    let place = (u64::from(partition_id) << ROW_BITS) | row;
    match i64::try_from(place) {
        Ok(place) if partition_id < MAX_PARTITIONS && row < 1 << ROW_BITS => Ok(place),
        Ok(_) | Err(_) => Err(Error::unsupported(
            "rows of so many partitions, or so many rows, cannot be rejected by PostgreSQL",
        )
        .with_hint(
            "number the partitions from 0, or name kinds in reject_kinds that are found before",
        )),
    }
}

/// Returns the partition and the row of a place.
pub(crate) fn split(place: u64) -> (u32, u64) {
    let partition_id = u32::try_from(place >> ROW_BITS).unwrap_or(u32::MAX);
    (partition_id, place & ((1 << ROW_BITS) - 1))
}

/// Returns what is kept of a row that PostgreSQL rejects.
pub(crate) fn kept<'a>(rules: &RejectRules, keys: &'a [Ident]) -> KeptValues<'a> {
    KeptValues {
        keys: match rules.values {
            RejectValues::None => &[],
            RejectValues::Keys | RejectValues::Row => keys,
        },
        all: rules.values == RejectValues::Row,
    }
}

/// Returns the reject for a row that PostgreSQL rejects. `attempt_of` names the attempt of a partition.
pub(crate) fn reject_of(refused: RefusedRow, attempt_of: impl Fn(u32) -> String) -> Reject {
    let (partition_id, row) = split(refused.place);
    let context = refused.error.context();
    Reject {
        partition_id,
        attempt_id: attempt_of(partition_id),
        row,
        kind: refused.kind.to_owned(),
        sqlstate: context.sqlstate.clone(),
        column: context.column.clone(),
        constraint: context.constraint.clone(),
        // Code may build the text of an exception from values.
        message: match refused.kind {
            "trigger" => "a trigger or a function raised an exception".to_owned(),
            _ => refused.error.to_string(),
        },
        keys: refused.keys,
        values: refused.values,
        ipc: None,
    }
}

/// Returns the reason of a single reject.
pub(crate) fn reason_of(reject: &Reject) -> RejectReason {
    RejectReason {
        kind: reject.kind.clone(),
        column: reject.column.clone().unwrap_or_default(),
        constraint: reject.constraint.clone().unwrap_or_default(),
        row_count: 1,
    }
}

/// Adds reasons that are equal.
pub(crate) fn merged(reasons: impl IntoIterator<Item = RejectReason>) -> Vec<RejectReason> {
    let mut merged: Vec<RejectReason> = Vec::new();
    for reason in reasons {
        let is_same = |other: &&mut RejectReason| {
            (&other.kind, &other.column, &other.constraint)
                == (&reason.kind, &reason.column, &reason.constraint)
        };
        match merged.iter_mut().find(is_same) {
            Some(same) => same.row_count += reason.row_count,
            None => merged.push(reason),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::{place, split};

    #[test]
    fn places_order_rows_by_partition_and_row() {
        let mut last = -1;
        for (partition, row) in [
            (0, 0),
            (0, 1),
            (0, (1 << 40) - 1),
            (1, 0),
            ((1 << 23) - 1, 5),
        ] {
            let found = place(partition, row).unwrap();
            assert!(found > last, "{partition} {row}");
            assert_eq!(split(u64::try_from(found).unwrap()), (partition, row));
            last = found;
        }
        assert!(place(1 << 23, 0).is_err() && place(0, 1 << 40).is_err());
        assert!(place(u32::MAX, u64::MAX).is_err());
    }
}
