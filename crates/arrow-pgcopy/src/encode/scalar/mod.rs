//! Values that hold no others: numbers, dates and times, text, bytes.

pub(crate) mod boolean;
pub(crate) mod bytes;
pub(crate) mod digits;
pub(crate) mod float_digits;
pub(crate) mod integer;
pub(crate) mod money;
pub(crate) mod numeric;
pub(crate) mod numeric_float;
pub(crate) mod temporal;
pub(crate) mod text;
pub(crate) mod uuid;
