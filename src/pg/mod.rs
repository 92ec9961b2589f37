//! The PostgreSQL edge: the only place that names `tokio_postgres`; a file per concern.

mod access;
mod catalog;
mod connect;
mod connection;
mod copy;
mod effects;
mod equality;
mod facts;
mod ledger;
mod liveness;
mod merge;
mod migration;
mod parameter;
mod password;
mod pool;
mod pooler;
mod prepared;
mod reap;
mod roles;
mod sequences;
mod sink;
mod sql;
mod sqlstate;
mod staging;
mod swap;
mod table;
mod tap;
mod tls;
mod transaction;
mod turns;
mod words;

pub use catalog::{
    TableLock, check_rights, check_same_table, find_geometry, find_relation, lock_relation,
    similar_relations, staging_relation, writable_relations,
};
pub use connect::ConnectionConfig;
pub use connection::NOTICES;
pub use copy::CopySink;
pub use effects::{copy_obstacle, side_effects};
pub use facts::{LedgerFacts, ServerFacts, server_facts, unique_keys};
pub use ledger::{
    Attempt, BatchPlace, Decision, Finished, LedgerWrite, NewWrite, Publish, STREAM_PREFIX,
    WriteState, abort, attempts, begin, commit, committing_writes, count_open_writes,
    count_tombstones, count_writes, find_attempt, find_write, finish_commit, lock_recorded_volume,
    lock_write_for_publish, recent_writes, record_attempt, recorded_volume,
};
pub use liveness::{
    expire_drivers, forget_signs, hear_driver, hear_driver_again, keep_watch, set_driver,
};
pub use merge::{KeyedAction, Merge, check_comparable, check_unique_index, merge};
pub use migration::{LedgerVersion, ensure_schema, has_schema, ledger_version, migration};
pub use password::PasswordSource;
pub use pool::{Pool, PoolConfig, PoolUsage, Session, Timeouts, Usage};
pub use pooler::{Pooler, find_pooler};
pub use prepared::{
    Gid, PreparedTransaction, PreparedTransactions, check_can_end, commit_prepared, count_prepared,
    prepare, prepared_transactions, reserve_place, roll_back_one, roll_back_prepared,
    two_phase_obstacle,
};
pub use reap::{drop_staging_of, ended_with_staging, expire_writes, forget_writes};
pub use sequences::{check_sequences, move_sequences, sequence_columns};
pub use sink::{
    Sink, advance_sink, count_sinks, last_named_batch, lock_sink, name_of_batch, update_sink,
};
pub use sqlstate::show_detail;
pub use staging::{
    accepted_row_count, adopt_shadow, assume_role_to_fill, create_staging, create_temporary,
    definitions_of, is_the_owners_alone, keep_accepted, let_role_fill, lock_staging, make_shadow,
    new_shadow_name, new_staging_name, publish_rows, record_staging, staging_change,
};
pub use swap::{check_swappable, create_twin, swap_in};
pub use table::{
    add_columns, add_columns_statement, add_primary_key, add_primary_key_statement, check_owned,
    check_primary_key, check_truncatable, create_table, create_table_statement, delete_all,
    drop_table, missing_columns, qualify, truncate,
};
pub use transaction::{Outcome, Transaction};
