//! What the catalog says about tables.

mod list;
mod look;
mod names;
mod types;

pub use list::writable_relations;
pub use look::{
    Table, TableLock, find_staging, find_table, lock_named, lock_table, staging_relation,
};
pub use names::{find_geometry, qualify, similar_relations};
