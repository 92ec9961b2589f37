//! The limits of rejected rows.

use super::rules::RejectRules;
use crate::error::{Error, Result};
use crate::pg::{RejectReason, Rejected};

impl RejectRules {
    /// Checks the number of rejected rows.
    ///
    /// # Errors
    /// [`ErrorKind::DataRejected`](crate::error::ErrorKind::DataRejected) with the commonest of these reasons when more
    /// rows are rejected than the limit allows.
    pub(crate) fn check_limit(
        &self,
        rejected: u64,
        reasons: impl FnOnce() -> Vec<RejectReason>,
    ) -> Result<()> {
        match self.limit {
            Some(limit) if rejected > limit => Err(Error::data_rejected(format!(
                "{rejected} row(s) are rejected, and reject_limit is {limit}: {}",
                shown(reasons())
            ))
            .with_hint("correct the rows, or raise reject_limit; nothing was written")),
            Some(_) | None => Ok(()),
        }
    }

    /// Checks the number of rejected rows, and their share of all rows that were sent.
    ///
    /// # Errors
    /// The errors of [`RejectRules::check_limit`], also when the share is too large.
    pub(crate) fn check_limits(
        &self,
        rejected: u64,
        sent: u64,
        reasons: impl Fn() -> Vec<RejectReason>,
    ) -> Result<()> {
        self.check_limit(rejected, &reasons)?;
        match self.share {
            Some(share) if share.is_less_than(rejected, sent) => {
                Err(Error::data_rejected(format!(
                    "{rejected} of {sent} row(s) are rejected, and reject_percent is {}: {}",
                    share.percent(),
                    shown(reasons())
                ))
                .with_hint("correct the rows, or raise reject_percent; nothing was written"))
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// Returns the commonest reasons for a message.
fn shown(reasons: Vec<RejectReason>) -> String {
    let reasons = Rejected::of(reasons).reasons;
    let reasons: Vec<String> = reasons.iter().map(ToString::to_string).collect();
    reasons.join(", ")
}

#[cfg(test)]
mod tests {
    use super::super::rules::Share;
    use super::RejectRules;
    use crate::pg::RejectReason;

    fn check(limit: Option<u64>, percent: Option<f64>, rejected: u64, sent: u64, part: &str) {
        let rules = RejectRules {
            limit,
            share: percent.and_then(Share::from_percent),
            ..RejectRules::default()
        };
        let reasons = || {
            vec![RejectReason {
                kind: "range".to_owned(),
                column: "n".to_owned(),
                constraint: String::new(),
                row_count: rejected,
            }]
        };
        let found = rules.check_limits(rejected, sent, reasons);
        let message = found.map_err(|error| error.to_string()).err();
        match (message, part) {
            (None, "") => {}
            (Some(message), part) if !part.is_empty() => {
                assert!(message.contains(part), "{message}");
                assert!(message.ends_with(&format!("{rejected} range in column \"n\"")));
            }
            (message, part) => panic!("{message:?}, expected {part:?}"),
        }
    }

    #[test]
    fn limits_allow_as_many_rows_as_they_name() {
        check(None, None, 1_000, 1_000, "");
        check(Some(2), None, 2, 10, "");
        check(
            Some(2),
            None,
            3,
            10,
            "3 row(s) are rejected, and reject_limit is 2",
        );
        check(Some(0), None, 0, 10, "");
        check(Some(0), None, 1, 10, "reject_limit is 0");
        check(None, Some(10.0), 1, 10, "");
        check(
            None,
            Some(10.0),
            2,
            10,
            "2 of 10 row(s) are rejected, and reject_percent is 10",
        );
        check(Some(5), Some(12.5), 2, 10, "reject_percent is 12.5");
        check(None, Some(0.0), 0, 0, "");
    }
}
