//! SQL that holds names. It is built here alone, from checked names, or by PostgreSQL's `format` in
//! `publish/swap/`.

mod changes;
mod condition;
mod keyed;
mod list;
mod null;
mod replace;
mod rows;
mod rules;
mod tables;

pub(in crate::pg) use changes::{Insert, NewRows, delete_changed, insert};
pub use condition::{CheckedCondition, Comparison, Condition, Literal, LiteralKind};
pub(in crate::pg) use condition::{Comparable, OUTSIDE};
pub(in crate::pg) use keyed::{Equality, change, count_bad_keys};
pub use keyed::{KeyedAction, Keys, Merge};
pub(in crate::pg) use replace::{delete_by, delete_where, null_patterns};
pub(in crate::pg) use rows::{
    casts, copy_in, count_accepted, count_accepted_and_all, delete_unaccepted, index_numbers,
    number_rows, publish, publish_part, read_numbered,
};
pub(in crate::pg) use rules::Newer;
pub use rules::{Changes, DELETED, DeleteWhen, EnvelopeKind, ROW, SEQUENCE};
pub use tables::TableLock;
pub(in crate::pg) use tables::{
    FORGET_LOCK, add_columns, add_primary_key, analyze, analyze_columns, count_rows,
    create_staging, create_table, create_temporary, delete_all, drop_table, drop_table_and_views,
    grant_fill, grant_insert, grant_schema, lock_by_insert, lock_for_reading, lock_table,
    move_sequence, rename_table, set_role, truncate, try_primary_key,
};
