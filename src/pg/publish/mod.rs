//! Publishes rows in their target: staging, shadow tables, prepared transactions, merge and swap.

mod bisect;
mod merge;
mod prepared;
mod rejects;
mod replace;
mod shadow;
mod staging;
mod swap;
mod table;

pub use bisect::{KeptValues, RefusedRow, publish_good_rows};
pub use merge::merge;
pub use prepared::{
    Gid, PreparedTransaction, PreparedTransactions, check_can_end, commit_prepared, count_prepared,
    prepare, prepared_transactions, reserve_slot, roll_back_one, roll_back_prepared,
    two_phase_obstacle,
};
pub use rejects::move_some_rejects;
pub use replace::{analyze_staged, delete_by, delete_where};
pub use shadow::{adopt_shadow, hide_table, keep_accepted, new_shadow_name, only_owner_may_write};
pub use staging::{
    Temporary, accepted_row_count, assume_role_to_fill, create_staging, create_temporary,
    definitions_of, drop_staging_of, grant_fill, has_named_types, lock_staging, new_staging_name,
    publish_rows, record_staging, staged_columns, staging_change,
};
pub use swap::{check_swappable, create_twin, swap_in};
pub use table::{
    add_columns, add_columns_statement, add_primary_key, add_primary_key_statement,
    check_primary_key, count_rows, create_table, create_table_statement, delete_all,
    drop_locked_table, drop_table, missing_columns, truncate,
};
