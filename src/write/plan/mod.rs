//! Plans what a write does to its table, before its rows.

pub(crate) mod changes;
pub(crate) mod decide;
pub(crate) mod evolution;
pub(crate) mod keyed;
pub(crate) mod method;
pub(crate) mod part;
pub(crate) mod permission;
pub(crate) mod rejects;
pub(crate) mod relations;
