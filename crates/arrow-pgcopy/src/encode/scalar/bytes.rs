//! Bytes as they are.

use super::uuid::UuidBytes;
use crate::encode::column::{Blobs, BoxedColumn, Shape, shaped};
use crate::encode::problem::Problem;
use crate::mapping::FieldPlan;

/// Makes a column of `bytea`, or of `uuid` from sixteen bytes.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the table in mapping is exhaustive"
)]
pub(crate) fn binary<'a, A: Blobs>(
    plan: &FieldPlan,
    array: &'a A,
) -> Result<BoxedColumn<'a>, Problem> {
    match plan {
        FieldPlan::Bytea => Ok(shaped(array, Bytea)),
        FieldPlan::Uuid => Ok(shaped(array, UuidBytes)),
        _ => Err(Problem::Unplanned),
    }
}

/// `bytearecv`, varlena.c.
struct Bytea;

impl Shape for Bytea {
    fn plain(&self) -> Option<u32> {
        Some(0)
    }

    fn size(&self, bytes: &[u8]) -> Result<usize, Problem> {
        Ok(bytes.len())
    }
}
