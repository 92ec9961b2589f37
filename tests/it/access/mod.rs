//! Permissions: callers, grants, roles, and code of other roles in the database.

pub(crate) mod attacks;
mod foreign_code;
mod hostile_types;
mod identity;
mod jwt;
mod matrix;
mod permission;
pub(crate) mod role;
mod role_in_force;
mod secrets;
mod sql_texts;
