//! Parses the rules by which a write rejects rows.

use std::collections::BTreeSet;

use super::conversion::unknown;
use crate::error::{Error, Result};
use crate::proto::v1;
use crate::write::{OnDuplicate, RejectRules, RejectShare, RejectValues};
use arrow_pgcopy::table::TableName;

/// The most kinds that a spec may name, and the length limit of the name of the table.
const MAX_KINDS: usize = 100;
const MAX_TABLE_BYTES: usize = 4096;

/// Parses the rules of a spec; `None` if a row that cannot be written ends the write.
///
/// # Errors
/// [`ErrorKind::InvalidCommand`](crate::error::ErrorKind::InvalidCommand) for a value that is unknown or not valid, and
/// for an option that has no effect.
pub(super) fn reject_rules(spec: &v1::WriteSpec) -> Result<Option<RejectRules>> {
    let on_error =
        v1::OnError::try_from(spec.on_error).map_err(|_| unknown("on_error", spec.on_error))?;
    match on_error {
        v1::OnError::Unspecified | v1::OnError::Abort => check_unused(spec).map(|()| None),
        v1::OnError::Reject => rules(spec).map(Some),
    }
}

fn rules(spec: &v1::WriteSpec) -> Result<RejectRules> {
    let values = v1::RejectValues::try_from(spec.reject_values)
        .map_err(|_| unknown("reject_values", spec.reject_values))?;
    let on_duplicate = v1::OnDuplicate::try_from(spec.on_duplicate)
        .map_err(|_| unknown("on_duplicate", spec.on_duplicate))?;
    let share = match spec.reject_percent {
        None => None,
        Some(percent) => Some(RejectShare::from_percent(percent).ok_or_else(|| {
            Error::invalid_command("reject_percent is not a number from 0 to 100")
                .with_hint("name a percentage of the rows, such as 0.5")
        })?),
    };
    if spec.reject_kinds.len() > MAX_KINDS || spec.reject_table.len() > MAX_TABLE_BYTES {
        return Err(Error::invalid_command(
            "reject_kinds has too many entries, or reject_table is too long",
        ));
    }
    let kinds: BTreeSet<&String> = spec.reject_kinds.iter().collect();
    let rules = RejectRules {
        limit: spec.reject_limit,
        share,
        kinds: kinds.into_iter().cloned().collect(),
        table: match spec.reject_table.is_empty() {
            true => None,
            false => Some(TableName::parse(&spec.reject_table)?),
        },
        values: match values {
            v1::RejectValues::None => RejectValues::None,
            v1::RejectValues::Unspecified | v1::RejectValues::Keys => RejectValues::Keys,
            v1::RejectValues::Row => RejectValues::Row,
        },
        on_duplicate: match on_duplicate {
            v1::OnDuplicate::Unspecified | v1::OnDuplicate::RejectLater => OnDuplicate::RejectLater,
            v1::OnDuplicate::RejectAll => OnDuplicate::RejectAll,
        },
    };
    rules.check_names()?;
    Ok(rules)
}

/// Rejects options that have no effect, instead of ignoring them.
fn check_unused(spec: &v1::WriteSpec) -> Result<()> {
    let used = [
        ("reject_limit", spec.reject_limit.is_some()),
        ("reject_percent", spec.reject_percent.is_some()),
        ("reject_kinds", !spec.reject_kinds.is_empty()),
        ("reject_table", !spec.reject_table.is_empty()),
        ("reject_values", spec.reject_values != 0),
        ("on_duplicate", spec.on_duplicate != 0),
    ];
    match used.into_iter().find(|(_, is_used)| *is_used) {
        None => Ok(()),
        Some((name, _)) => Err(Error::invalid_command(format!(
            "{name} is set, and on_error is not reject"
        ))
        .with_hint("set on_error to reject, or leave it out")),
    }
}
