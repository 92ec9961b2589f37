//! An Arrow field as the mapping sees it: its kind of values and its extension type.

pub(crate) mod extension;
mod source;

pub(crate) use extension::Meaning;
pub(crate) use source::Source;
pub(crate) use source::values_type;
