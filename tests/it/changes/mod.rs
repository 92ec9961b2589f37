//! Writes that change a table: by its primary key, or a part of it.

mod apply;
mod concurrent;
mod condition;
mod counts;
mod debezium;
mod primary_key;
mod replace;
mod same_rows;
mod statements;
