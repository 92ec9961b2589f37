//! One stream: its turn, its connections, its limits, and what ends it early.

mod advice;
mod exchanged_names;
pub(crate) mod fan_out;
mod ready;
mod renamed_schemas;
mod renamed_types;
mod round_trips;
mod under_way;
mod volume;
