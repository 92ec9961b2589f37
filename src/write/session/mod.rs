//! A write of many partitions: begin, attempts, commit or abort.

pub(crate) mod abort;
pub(crate) mod attempt;
pub(crate) mod begin;
pub(crate) mod commit;
pub(crate) mod once;
pub(crate) mod outcome;
pub(crate) mod rejects;
pub(crate) mod repeated;
pub(crate) mod sink;
pub(crate) mod status;
pub(crate) mod two_phase;
