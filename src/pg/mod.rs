//! The PostgreSQL edge: the only module that names `tokio_postgres`.
//!
//! A module uses only the modules before it in this list: `names`, `sql` and `copy_turns`, `connection`, `transaction`,
//! then `session`, `copy`, `pool` and `pooler`, then `ledger`, `catalog`, `publish`.

mod catalog;
mod connection;
mod copy;
mod copy_turns;
mod ledger;
mod names;
mod pool;
mod pooler;
mod publish;
mod session;
mod sql;
mod transaction;

pub use catalog::{
    LedgerFacts, ListedTable, MAX_LISTED, PrimaryKey, ServerFacts, Table, check_copied_types,
    check_literals, check_named, check_named_by_copy, check_same_name, check_same_table,
    check_sequences, checks_rows, count_at_once, describe_tables, find_compared, find_condition,
    find_geometry, find_keys, find_oid, find_staging, find_table, kinds_of_table, lock_named,
    lock_table, move_sequences, primary_key, qualify, resolve_requested_types, sequence_columns,
    server_facts, side_effects, similar_relations, staging_relation, unique_keys, writable_tables,
};
pub(crate) use connection::LOCK_NOT_AVAILABLE;
pub use connection::{ConnectionConfig, NOTICES, PasswordSource, show_detail};
pub use copy::CopySink;
pub use ledger::{
    Attempt, BatchPlace, Decision, Finished, LedgerVersion, LedgerWrite, NewWrite, Publish,
    REJECT_COLUMNS, Reject, RejectReason, Rejected, RowCounts, Sink, WriteFilter, WriteState,
    abort, advance_sink, attempts, begin, commit, committing_writes, count_open_writes,
    count_rejects, count_sinks, count_tombstones, count_writes, delete_ended_writes,
    delete_rejects, delete_stale_rejects, delete_stale_signs, ended_with_staging, ensure_schema,
    expire_drivers, expire_writes, find_attempt, find_write, finish_commit, has_schema,
    last_named_batch, ledger_version, lock_recorded_volume, lock_sink, lock_write_for_publish,
    migration, name_of_batch, publish_rejects, read_rejects, recent_writes, record_attempt,
    record_heartbeat, record_watch, recorded_volume, renew_heartbeat, set_driver, store_rejects,
    update_sink,
};
pub use names::STREAM_PREFIX;
pub use pool::{Pool, PoolConfig, PoolUsage, Timeouts, Usage};
pub use pooler::{Pooler, find_pooler};
pub use publish::{
    Gid, KeptValues, PreparedTransaction, PreparedTransactions, RefusedRow, Temporary,
    accepted_row_count, add_columns, add_columns_statement, add_primary_key,
    add_primary_key_statement, adopt_shadow, analyze_staged, assume_role_to_fill, check_can_end,
    check_primary_key, check_swappable, commit_prepared, count_prepared, count_rows,
    create_staging, create_table, create_table_statement, create_temporary, create_twin,
    definitions_of, delete_all, delete_by, delete_where, drop_locked_table, drop_staging_of,
    drop_table, grant_fill, has_named_types, hide_table, keep_accepted, lock_staging, merge,
    missing_columns, move_some_rejects, new_shadow_name, new_staging_name, only_owner_may_write,
    prepare, prepared_transactions, publish_good_rows, publish_rows, record_staging, reserve_slot,
    roll_back_one, roll_back_prepared, staged_columns, staging_change, swap_in, truncate,
    two_phase_obstacle,
};
pub use session::Session;
pub use sql::{
    Changes, CheckedCondition, Comparison, Condition, DELETED, DeleteWhen, EnvelopeKind,
    KeyedAction, Keys, Literal, LiteralKind, Merge, ROW, SEQUENCE, TableLock,
};
pub use transaction::{Outcome, Transaction};
