//! NULL as a value.

use std::fmt::Display;

/// Returns the condition that a value is NULL. `IS NULL` would look into composites: it holds for a row of NULLs too.
/// PostgreSQL turns this form into a test that an index serves (`transformAExprDistinct`, parser/parse_expr.c).
pub(super) fn is_null(value: impl Display) -> String {
    format!("{value} IS NOT DISTINCT FROM NULL")
}

/// Returns the condition that a value is not NULL. `IS NOT NULL` would fail to hold for a row with one NULL.
pub(super) fn is_not_null(value: impl Display) -> String {
    format!("{value} IS DISTINCT FROM NULL")
}
