//! Text into types, and values into text.

pub(crate) mod iso;
pub(crate) mod json;
pub(crate) mod parse;
