//! From a plan and a batch to the bytes of binary COPY: pure, no I/O.
//!
//! This is what another project would take: Arrow record batches in, bytes for
//! `COPY … FROM STDIN (FORMAT binary)` out, encoded for the types that the table's columns really have.
//! Nothing here connects, waits, spawns or logs; what a driver needs is the bytes.
//!
//! First a plan is made, once, of the data's schema and the table as the catalog has it. Every field is
//! matched to a column by name, and a pair of types that would change a value is refused, with what would
//! work. Then each batch is encoded by it, in chunks of a size that the driver likes.
//!
//! ```
//! use std::sync::Arc;
//!
//! use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
//! use pgflight::encode::{BatchEncoder, Chunks, format};
//! use pgflight::plan::{Column, EncodePlan, Ident, PgType, QualifiedName, Relation};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // As `SELECT attname, atttypid, atttypmod FROM pg_attribute …` tells it.
//! let column = |name: &str, oid: u32| -> Result<Column, Box<dyn std::error::Error>> {
//!     let ty = PgType::builtin(oid).ok_or("a type of somebody else's")?;
//!     Ok(Column::new(Ident::new(name)?, ty))
//! };
//! let table = Relation {
//!     oid: 16_384,
//!     name: QualifiedName {
//!         schema: Ident::new("public")?,
//!         name: Ident::new("trips")?,
//!     },
//!     columns: vec![column("id", 23)?, column("note", 3802)?],
//! };
//!
//! let ids: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
//! let notes: ArrayRef = Arc::new(StringArray::from(vec![Some("{}"), None]));
//! let batch = RecordBatch::try_from_iter_with_nullable([("note", notes, true), ("id", ids, true)])?;
//!
//! let plan = EncodePlan::new(&batch.schema(), &table)?;
//! assert_eq!(plan.columns()[1].encoding(), "as int4");
//!
//! // COPY public.trips (note, id) FROM STDIN (FORMAT binary): the columns of the plan, in its order.
//! let mut copy = format::HEADER.to_vec();
//! let mut chunks = Chunks::new(256 << 10);
//! let mut encoder = BatchEncoder::new(&plan, &batch, 0)?;
//! while let Some(chunk) = encoder.next_chunk(&mut chunks)? {
//!     copy.extend_from_slice(&chunk);
//! }
//! copy.extend_from_slice(&format::TRAILER);
//! // Two tuples: a field count, and for each field its length (−1 for NULL) and its bytes.
//! let tuples = b"\0\x02\0\0\0\x03\x01{}\0\0\0\x04\0\0\0\x01\0\x02\xff\xff\xff\xff\0\0\0\x04\0\0\0\x02";
//! assert_eq!(copy[19..copy.len() - 2], *tuples);
//! # Ok(())
//! # }
//! ```
//!
//! A value that does not fit is an error that names column and row, and never the value; nothing of its
//! block was given out then. What may be changed in values (rounding, zones, forms) is asked for by
//! column:
//!
//! ```
//! # use std::sync::Arc;
//! # use arrow_array::{ArrayRef, Float64Array, RecordBatch};
//! # use pgflight::encode::{BatchEncoder, Chunks};
//! # use pgflight::plan::{Column, Ident, PgType, QualifiedName, Relation};
//! use pgflight::plan::{Conversion, EncodePlan, Rounding};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let integer = PgType::builtin(23).ok_or("no integer")?;
//! # let column = Column::new(Ident::new("n")?, integer);
//! # let name = QualifiedName { schema: Ident::new("public")?, name: Ident::new("t")? };
//! # let table = Relation { oid: 16_384, name, columns: vec![column] };
//! # let numbers: ArrayRef = Arc::new(Float64Array::from(vec![2.5, 1e12]));
//! # let batch = RecordBatch::try_from_iter_with_nullable([("n", numbers, true)])?;
//! // Doubles into a column of integers: refused, unless it is said how.
//! assert!(EncodePlan::new(&batch.schema(), &table).is_err());
//! let nearest = Conversion {
//!     rounding: Some(Rounding::Nearest),
//!     ..Conversion::default()
//! };
//! let asked = [("n".to_owned(), nearest)].into();
//! let plan = EncodePlan::with_conversions(&batch.schema(), &table, &asked)?;
//! let mut encoder = BatchEncoder::new(&plan, &batch, 0)?;
//! let error = encoder.next_chunk(&mut Chunks::new(1 << 16)).unwrap_err();
//! assert_eq!(error.context().row, Some(1));
//! assert_eq!(error.context().sqlstate.as_deref(), Some("22003"));
//! # Ok(())
//! # }
//! ```

mod array;
mod batch;
mod bind;
mod bits;
mod chunks;
mod column;
mod composite;
mod convert;
mod dictionary;
mod digits;
mod fixed;
mod float_digits;
pub mod format;
mod hstore;
mod iso;
mod json;
mod money;
mod numeric;
mod parse;
mod piece;
mod point;
mod prepared;
mod problem;
mod range;
mod shortest;
mod temporal;
#[cfg(test)]
mod tests;
mod varlen;
mod vector;

pub use batch::BatchEncoder;
pub use chunks::Chunks;
