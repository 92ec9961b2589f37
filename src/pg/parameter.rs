//! Parameters of statements, each with the type that PostgreSQL is told.
//!
//! With the types known beforehand, a statement needs no name and one round trip. A named statement stays on
//! the connection that it was made on, and behind a pooler that may be another one a moment later.

use tokio_postgres::types::{ToSql, Type};

/// A parameter of a statement.
pub(super) trait Parameter: Sync {
    /// The value, and the type that PostgreSQL is told.
    fn typed(&self) -> (&(dyn ToSql + Sync), Type);
}

/// As the driver takes them.
pub(super) fn typed<'a>(parameters: &[&'a dyn Parameter]) -> Vec<(&'a (dyn ToSql + Sync), Type)> {
    parameters
        .iter()
        .map(|parameter| parameter.typed())
        .collect()
}

/// What has one type in PostgreSQL, whatever its value.
pub(super) trait Typed {
    /// This type.
    const TYPE: Type;
}

/// What has a type, and a type for arrays of it.
pub(super) trait Element: Typed {
    /// The type of an array.
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

impl Typed for f64 {
    const TYPE: Type = Type::FLOAT8;
}

impl Typed for bool {
    const TYPE: Type = Type::BOOL;
}
