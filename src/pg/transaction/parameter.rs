//! Parameters of statements, each with its type in PostgreSQL.
//!
//! With the types known beforehand, a statement needs no name and one round trip. A named statement stays on the
//! connection that prepared it, and behind a pooler the next statement may run on another one.

use tokio_postgres::types::{ToSql, Type};

/// A parameter of a statement.
pub(in crate::pg) trait Parameter: Sync {
    /// Returns the value and its type in PostgreSQL.
    fn typed(&self) -> (&(dyn ToSql + Sync), Type);
}

/// Converts parameters to the form that the driver takes.
pub(in crate::pg) fn typed<'a>(
    parameters: &[&'a dyn Parameter],
) -> Vec<(&'a (dyn ToSql + Sync), Type)> {
    parameters
        .iter()
        .map(|parameter| parameter.typed())
        .collect()
}

/// A Rust type with one type in PostgreSQL.
pub(in crate::pg) trait Typed {
    /// The type in PostgreSQL.
    const TYPE: Type;
}

/// A Rust type with an array type in PostgreSQL.
pub(in crate::pg) trait Element: Typed {
    /// The array type in PostgreSQL.
    const ARRAY: Type;
}

impl<T: Typed + ToSql + Sync> Parameter for T {
    fn typed(&self) -> (&(dyn ToSql + Sync), Type) {
        (self, T::TYPE)
    }
}

impl<T: Typed> Typed for Option<T> {
    const TYPE: Type = T::TYPE;
}

impl<T: Typed + ?Sized> Typed for &T {
    const TYPE: Type = T::TYPE;
}

impl<T: Element + ?Sized> Element for &T {
    const ARRAY: Type = T::ARRAY;
}

impl<T: Element> Typed for [T] {
    const TYPE: Type = T::ARRAY;
}

impl<T: Element> Typed for Vec<T> {
    const TYPE: Type = T::ARRAY;
}

impl Typed for str {
    const TYPE: Type = Type::TEXT;
}

impl Element for str {
    const ARRAY: Type = Type::TEXT_ARRAY;
}

impl Typed for String {
    const TYPE: Type = Type::TEXT;
}

impl Element for String {
    const ARRAY: Type = Type::TEXT_ARRAY;
}

impl Typed for u32 {
    const TYPE: Type = Type::OID;
}

impl Element for u32 {
    const ARRAY: Type = Type::OID_ARRAY;
}

impl Typed for i32 {
    const TYPE: Type = Type::INT4;
}

impl Typed for i64 {
    const TYPE: Type = Type::INT8;
}

impl Element for i64 {
    const ARRAY: Type = Type::INT8_ARRAY;
}

impl<T: Element> Element for Option<T> {
    const ARRAY: Type = T::ARRAY;
}

impl Typed for f64 {
    const TYPE: Type = Type::FLOAT8;
}

impl Typed for bool {
    const TYPE: Type = Type::BOOL;
}
