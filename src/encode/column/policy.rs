//! What is done with values that a conversion cannot change.

use crate::encode::problem::{Problem, Rejected};
use crate::plan::{FieldPlan, Step};

/// What becomes of values that a step cannot change.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Policy {
    /// Whether they become NULL, where the column does not hold them.
    pub(crate) lenient: bool,
    /// Whether the least and the greatest value of a type stay just that, as they stand for infinity.
    pub(crate) infinite: bool,
}

impl Policy {
    /// Every value is changed, or rejected.
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

    /// A value that cannot be changed: NULL, or rejected.
    pub(crate) fn without<T>(self, problem: Problem, row: usize) -> Result<Option<T>, Rejected> {
        match self.lenient && problem.is_unheld() {
            true => Ok(None),
            false => Err(problem.at(row)),
        }
    }
}
