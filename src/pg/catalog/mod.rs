//! Reads PostgreSQL's catalog: tables, their types and keys, and facts about the server.

mod effects;
mod facts;
mod keys;
mod list;
mod look;
mod names;
mod operators;
mod requested_types;
mod sequences;
mod trust;
mod types;

pub use effects::side_effects;
pub use facts::{LedgerFacts, ServerFacts, server_facts, unique_keys};
pub use keys::{PrimaryKey, find_keys, primary_key};
pub use list::{ListedTable, MAX_LISTED, count_at_once, describe_tables, writable_tables};
pub use look::{
    Table, check_same_name, check_same_table, checks_rows, find_oid, find_staging, find_table,
    kinds_of_table, lock_named, lock_table, staging_relation,
};
pub(in crate::pg) use look::{dropped, renamed};
pub use names::{find_geometry, qualify, similar_relations};
pub use operators::{check_literals, find_compared, find_condition};
pub use requested_types::{check_copied_types, resolve_requested_types};
pub use sequences::{check_sequences, move_sequences, sequence_columns};
pub use trust::{check_named, check_named_by_copy};
