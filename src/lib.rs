//! Lands Apache Arrow data in PostgreSQL through binary COPY.

pub mod encode;
pub mod error;
pub mod plan;
