//! The PostgreSQL edge: the only place that names `tokio_postgres`; a file per concern.

mod catalog;
mod connect;
mod copy;
mod ledger;
mod pool;
mod sql;
mod sqlstate;
mod staging;
mod table;
mod transaction;

pub use catalog::{
    TableLock, find_relation, lock_relation, similar_relation, staging_relation, writable_relations,
};
pub use connect::ConnectionConfig;
pub use copy::CopySink;
pub use ledger::{
    Attempt, LedgerWrite, NewWrite, Publish, WriteState, abort, attempts, begin, ensure_schema,
};
pub use ledger::{commit, find_attempt, find_write, lock_write_for_publish, record_attempt};
pub use pool::{Pool, PoolConfig};
pub use staging::{
    accepted_row_count, create_staging, definitions_of, drop_staging, new_staging_name,
    publish_rows,
};
pub use table::{create_table, create_table_like, delete_all, qualify, truncate};
pub use transaction::{Outcome, Transaction};
