//! Writes of one stream.

mod count;
mod done;
mod doubt;
mod empty_table;
mod ended;
pub(crate) mod fan_out;
pub(crate) mod kept;
pub(crate) mod single;
pub(crate) mod target;
pub(crate) mod whole_table;
