//! Writes of one stream.

pub(crate) mod doubt;
pub(crate) mod fan_out;
pub(crate) mod single;
pub(crate) mod whole_table;
