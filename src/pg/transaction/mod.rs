//! A transaction: its connection, the roles and the search_path of its statements, and its end.

mod access;
mod acting;
mod end;
mod leftovers;
mod lifecycle;
mod parameter;
mod roles;
mod savepoint;
mod statements;

pub use end::Outcome;
pub(in crate::pg) use lifecycle::Limits;
pub use lifecycle::Transaction;
pub(in crate::pg) use parameter::{Parameter, typed};
pub(in crate::pg) use roles::{Path, rows};
