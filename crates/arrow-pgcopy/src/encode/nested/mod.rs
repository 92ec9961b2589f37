//! Values made of others: arrays, composites, ranges, pairs, vectors, points, bits.

pub(crate) mod array;
pub(crate) mod bits;
pub(crate) mod composite;
pub(crate) mod hstore;
pub(crate) mod point;
pub(crate) mod range;
pub(crate) mod vector;
