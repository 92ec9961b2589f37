//! Staging tables: where the rows of a write wait for its commit.

mod columns;
mod create;
mod discard;
mod identity;
mod rows;

pub use columns::{definitions_of, has_named_types, staged_columns};
pub use create::{
    Temporary, assume_role_to_fill, create_staging, create_temporary, grant_fill, new_staging_name,
};
pub use discard::drop_staging_of;
pub(super) use discard::end_copies_into;
pub use identity::{lock_staging, record_staging, staging_change};
pub use rows::{accepted_row_count, publish_rows};
pub(super) use rows::{cast_failed, check_casts};
