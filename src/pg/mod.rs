//! The PostgreSQL edge: the only place that names `tokio_postgres`; a file per concern.

mod catalog;
mod connect;
mod connection;
mod copy;
mod ledger;
mod merge;
mod pool;
mod reap;
mod sql;
mod sqlstate;
mod staging;
mod table;
mod tap;
mod transaction;
mod turns;

pub use catalog::{
    TableLock, find_relation, lock_relation, similar_relation, staging_relation, writable_relations,
};
pub use connect::ConnectionConfig;
pub use copy::CopySink;
pub use ledger::{
    Attempt, LedgerWrite, NewWrite, Publish, WriteState, abort, attempts, begin, commit,
    ensure_schema, find_attempt, find_write, has_schema, lock_write_for_publish, migration,
    recent_writes, record_attempt,
};
pub use merge::{KeyedAction, Merge, check_unique_index, merge};
pub use pool::{Pool, PoolConfig};
pub use reap::{drop_staging_of, ended_with_staging, expire_writes, forget_writes};
pub use staging::{
    accepted_row_count, adopt_shadow, create_staging, create_temporary, definitions_of,
    new_shadow_name, new_staging_name, publish_rows,
};
pub use table::{create_table, delete_all, qualify, truncate};
pub use transaction::{Outcome, Transaction};
