//! Rows that cannot be written and do not end their write: they are kept apart, each with its reason.

pub(crate) mod collected;
pub(crate) mod limits;
pub(crate) mod places;
pub(crate) mod rules;
pub(crate) mod values;
