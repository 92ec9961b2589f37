//! The rules by which a write rejects rows.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use arrow_pgcopy::RejectKind;
use arrow_pgcopy::table::TableName;

/// The rules by which a write rejects rows instead of ending.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RejectRules {
    /// The most rows that may be rejected; `None` for any number.
    pub limit: Option<u64>,
    /// The greatest share of the rows that may be rejected; `None` for any.
    pub share: Option<Share>,
    /// The names of the kinds of errors that reject a row; empty for all.
    pub kinds: Vec<String>,
    /// The table of the caller for the rejected rows; `None` for the ledger's.
    pub table: Option<TableName>,
    /// The values that are kept.
    pub values: RejectValues,
    /// Which of several rows of the data with the same key are rejected.
    pub on_duplicate: OnDuplicate,
}

/// A share of rows, in ten thousandths of a percent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share(u32);

/// The values that are kept of a rejected row.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum RejectValues {
    /// None.
    None,
    /// Those of the keys.
    #[default]
    Keys,
    /// All.
    Row,
}

/// Which of several rows of the data with the same key are rejected.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum OnDuplicate {
    /// All but the first by partition and row.
    #[default]
    RejectLater,
    /// All.
    RejectAll,
}

/// The kinds of errors that only PostgreSQL finds, when the staged rows are inserted.
pub(crate) const LATER_KINDS: [&str; 5] =
    ["check", "unique", "foreign_key", "exclusion", "trigger"];
/// The kinds that are not found yet.
const UNSERVED_KINDS: [&str; 4] = ["domain", "policy", "duplicate", "outside"];

impl Share {
    const WHOLE: u32 = 1_000_000;

    /// Reads a percentage; `None` unless it is between 0 and 100.
    pub fn from_percent(percent: f64) -> Option<Self> {
        if !(0.0..=100.0).contains(&percent) {
            return None;
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "the value is between 0 and 1,000,000"
        )]
        Some(Self((percent * 10_000.0).round() as u32))
    }

    /// Returns the percentage.
    pub fn percent(self) -> f64 {
        f64::from(self.0) / 10_000.0
    }

    /// Returns whether a part of a whole is more than this share.
    pub(crate) fn is_less_than(self, part: u64, whole: u64) -> bool {
        u128::from(part) * u128::from(Self::WHOLE) > u128::from(whole) * u128::from(self.0)
    }
}

impl RejectRules {
    /// Returns whether an error of this kind rejects a row.
    pub(crate) fn reject(&self, kind: &str) -> bool {
        self.kinds.is_empty() || self.kinds.iter().any(|named| named == kind)
    }

    /// Checks that the kinds are known.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidCommand`](crate::error::ErrorKind::InvalidCommand) for an unknown kind.
    pub fn check_names(&self) -> Result<()> {
        let early = RejectKind::ALL.iter().map(|kind| kind.as_str());
        let known = early.chain(LATER_KINDS).chain(UNSERVED_KINDS);
        let known: Vec<&str> = known.collect();
        let mut kinds = self.kinds.iter();
        match kinds.find(|kind| !known.contains(&kind.as_str())) {
            None => Ok(()),
            Some(kind) => Err(Error::invalid_command(format!(
                "reject_kinds has {kind:?}, which is no kind"
            ))
            .with_hint(format!("use {}", known.join(", ")))),
        }
    }

    /// Returns the first of these kinds that the rules name; `None` if they name none, or all.
    pub(crate) fn first_named<'a>(
        &self,
        kinds: impl IntoIterator<Item = &'a str>,
    ) -> Option<&'a str> {
        let mut kinds = kinds.into_iter();
        kinds.find(|kind| self.kinds.iter().any(|named| named == kind))
    }
}

/// Returns the kinds that cannot be rejected, by a write whose rows wait in a staging table or by another.
pub(crate) fn unserved(is_staged: bool) -> Vec<&'static str> {
    let mut kinds = UNSERVED_KINDS.to_vec();
    if !is_staged {
        kinds.extend(LATER_KINDS);
    }
    kinds
}

/// Returns the error for a kind that cannot be rejected.
pub(crate) fn not_served(kind: &str, why: &str) -> Error {
    let early: Vec<&str> = RejectKind::ALL.iter().map(|kind| kind.as_str()).collect();
    Error::unsupported(format!("rows of kind {kind} cannot be rejected {why}")).with_hint(format!(
        "name kinds in reject_kinds that can: {}",
        early.join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use super::Share;

    #[test]
    fn a_share_is_compared_without_loss() {
        let check = |percent: f64, part: u64, whole: u64, is_more: bool| {
            let share = Share::from_percent(percent).unwrap();
            assert_eq!(
                share.is_less_than(part, whole),
                is_more,
                "{percent} {part} {whole}"
            );
        };
        check(1.0, 1, 100, false);
        check(1.0, 2, 100, true);
        check(0.0, 0, 100, false);
        check(0.0, 1, u64::MAX, true);
        check(100.0, u64::MAX, u64::MAX, false);
        check(0.0001, 1, 1_000_000, false);
        check(0.0001, 2, 1_000_000, true);
        // Nothing of nothing is not too much.
        check(0.0, 0, 0, false);
        for percent in [-0.1, 100.1, f64::NAN, f64::INFINITY] {
            assert_eq!(Share::from_percent(percent), None, "{percent}");
        }
    }
}
