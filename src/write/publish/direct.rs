//! Adds rows to a table that exists. Each attempt publishes its own rows, and the commit publishes nothing.

use crate::error::{Error, Result};
use crate::write::plan::decide::{ExistingPlan, reject_casts};

/// Checks that attempts can be copied into the table.
pub(crate) fn begin(plan: &ExistingPlan) -> Result<()> {
    if let Some(obstacle) = &plan.table.copy_obstacle {
        return Err(Error::unsupported(format!(
            "PostgreSQL refuses COPY into the table: {obstacle}"
        ))
        .with_hint("publish staged")
        .with_table(&plan.table.relation.name));
    }
    reject_casts(&plan.encode)
}
