//! Writes that change a table: by its primary key, or a part of it.

mod condition;
mod primary_key;
mod replace;
