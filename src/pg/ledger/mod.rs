//! The ledger: the state of every write and attempt, in the database that they write to.
//!
//! Every answer to a client is a function of these rows, so that every retry gets the same answer from any server.

mod attempts;
mod counts;
mod finish;
mod liveness;
mod migration;
mod reap;
mod record;
mod rejects;
mod sink;
mod writes;

pub use attempts::{attempts, find_attempt, lock_recorded_volume, record_attempt, recorded_volume};
pub use counts::RowCounts;
pub(in crate::pg) use counts::from_bigint;
pub use finish::{Finished, finish_commit};
pub use liveness::{
    delete_stale_signs, expire_drivers, record_heartbeat, record_watch, renew_heartbeat, set_driver,
};
pub(in crate::pg) use migration::lock_migration;
pub use migration::{LedgerVersion, ensure_schema, has_schema, ledger_version, migration};
pub use reap::{delete_ended_writes, ended_with_staging, expire_writes};
pub use record::{Attempt, BatchPlace, Decision, LedgerWrite, NewWrite, Publish, WriteState};
pub(in crate::pg) use rejects::take_rejects;
pub use rejects::{
    REJECT_COLUMNS, Reject, RejectReason, Rejected, count_rejects, delete_rejects,
    delete_stale_rejects, publish_rejects, read_rejects, store_rejects,
};
pub use sink::{
    Sink, advance_sink, count_sinks, last_named_batch, lock_sink, name_of_batch, update_sink,
};
pub use writes::{
    WriteFilter, abort, begin, commit, committing_writes, count_open_writes, count_tombstones,
    count_writes, find_write, lock_write_for_publish, recent_writes,
};
