//! The treatment of values that a conversion cannot change.

use crate::conversion::Step;
use crate::encode::problem::{Problem, Rejected};
use crate::mapping::FieldPlan;

/// The treatment of values that a step cannot change.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Policy {
    /// Whether values outside the column's range become NULL.
    pub(crate) lenient: bool,
    /// Whether the least and the greatest value of a type stay extremes, as they stand for infinity.
    pub(crate) infinite: bool,
}

impl Policy {
    /// Rejects every value that cannot be changed.
    pub(crate) const STRICT: Self = Self {
        lenient: false,
        infinite: false,
    };

    pub(crate) fn of(plan: &FieldPlan, steps: &[Step]) -> Self {
        Self {
            lenient: steps.contains(&Step::Null),
            infinite: matches!(plan, FieldPlan::Infinite(_)),
        }
    }

    /// Replaces a value that cannot be changed by NULL, or rejects it.
    pub(crate) fn without<T>(self, problem: Problem, row: usize) -> Result<Option<T>, Rejected> {
        if self.lenient && problem.is_out_of_column_range() {
            Ok(None)
        } else {
            Err(problem.at(row))
        }
    }
}
