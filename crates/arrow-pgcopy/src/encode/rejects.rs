//! The rows of a batch that cannot be encoded, for callers that keep them apart and write the others.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use arrow_array::{Array, ArrayRef, RecordBatch};

use super::batch::{BLOCK_ROWS, FIELD_COUNT, check_columns};
use super::bind::{bind, owned};
use super::column::{AllNull, BoxedColumn, Column, Policy, u32_size};
use super::convert::convert;
use super::piece::{Piece, Shifted};
use super::problem::{Problem, Rejected};
use super::report::report;
use crate::error::{Error, Result};
use crate::plan::{ColumnPlan, EncodePlan};

/// The reason why a row is rejected, in the words of options and tables.
///
/// The enum is closed: a new kind is a breaking change, so that a `match` over kinds is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RejectKind {
    /// The value cannot be converted into the column's type without changing it.
    Conversion,
    /// The value is outside the range of the column's type.
    Range,
    /// The value, or the row, is longer or shorter than PostgreSQL or the column's type allows.
    Length,
    /// Text contains a NUL character.
    Nul,
    /// Bytes are not UTF-8.
    Utf8,
    /// Text is not a label of the enum.
    Enum,
    /// NULL in a NOT NULL column.
    NotNull,
    /// A JSON or XML document that PostgreSQL would not take.
    Document,
}

impl RejectKind {
    /// All kinds.
    pub const ALL: [Self; 8] = [
        Self::Conversion,
        Self::Range,
        Self::Length,
        Self::Nul,
        Self::Utf8,
        Self::Enum,
        Self::NotNull,
        Self::Document,
    ];

    /// Returns the name, such as `not_null`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Conversion => "conversion",
            Self::Range => "range",
            Self::Length => "length",
            Self::Nul => "nul",
            Self::Utf8 => "utf8",
            Self::Enum => "enum",
            Self::NotNull => "not_null",
            Self::Document => "document",
        }
    }

    fn of(problem: Problem) -> Self {
        match problem {
            Problem::Null => Self::NotNull,
            Problem::OutOfRange | Problem::BeyondDeclaredPrecision | Problem::NotFinite => {
                Self::Range
            }
            Problem::TooManyCharacters
            | Problem::NameTooLong
            | Problem::NotSixteenBytes
            | Problem::WrongDimensions
            | Problem::WrongBitCount
            | Problem::FieldTooLarge
            | Problem::RowTooLarge => Self::Length,
            Problem::Nul => Self::Nul,
            Problem::NotUtf8 => Self::Utf8,
            Problem::UnknownLabel => Self::Enum,
            Problem::OtherEncoding | Problem::NotJson => Self::Document,
            Problem::LosesDigits
            | Problem::NotExact
            | Problem::NotUuid
            | Problem::NotInForm
            | Problem::NotRectangular
            | Problem::NullKey
            | Problem::NotParsed
            | Problem::NullItem
            | Problem::NullFlag
            | Problem::DuplicateKey
            | Problem::Unplanned => Self::Conversion,
        }
    }
}

impl fmt::Display for RejectKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for RejectKind {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        let kind = Self::ALL.into_iter().find(|kind| kind.as_str() == name);
        kind.ok_or_else(|| {
            let names = Self::ALL.map(Self::as_str).join(", ");
            Error::invalid_input(format!("{name:?} is not a kind of rejected rows"))
                .with_hint(format!("use one of {names}"))
        })
    }
}

/// A row that cannot be encoded.
#[derive(Debug)]
pub struct RejectedRow {
    /// The row within the batch, from 0.
    pub index: usize,
    /// The reason.
    pub kind: RejectKind,
    /// The first column that cannot be encoded, the row within the stream, the SQLSTATE that PostgreSQL would report,
    /// and a message without the value.
    pub error: Error,
}

/// Returns the rows of a batch that cannot be encoded, in their order, each with the first column that is the reason.
///
/// It stops after `limit + 1` rows, so that a caller with a limit learns that it is exceeded. `first_row` is the
/// batch's first row within its stream. The rows that are left can be encoded: take them with
/// `arrow_select::filter::filter_record_batch`.
///
/// Values are converted in pieces, as [`BatchEncoder`](crate::BatchEncoder) converts them, which takes at most
/// [`memory_to_reject`] bytes.
///
/// ```
/// use std::sync::Arc;
///
/// use arrow_array::{Int64Array, RecordBatch};
/// use arrow_pgcopy::{
///     Column, EncodePlan, Ident, PgType, QualifiedName, RejectKind, Relation, rejected_rows,
/// };
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let numbers = Int64Array::from(vec![1, i64::MAX, 3]);
/// let batch = RecordBatch::try_from_iter([("n", Arc::new(numbers) as _)])?;
/// let integer = PgType::builtin(23).ok_or("the type is not built in")?;
/// let table = Relation {
///     oid: 16_384,
///     name: QualifiedName { schema: Ident::new("public")?, name: Ident::new("numbers")? },
///     columns: vec![Column::new(Ident::new("n")?, integer)],
/// };
/// let plan = EncodePlan::new(&batch.schema(), &table)?;
///
/// let rejected = rejected_rows(&plan, &batch, 0, 10)?;
/// assert_eq!(rejected.len(), 1);
/// assert_eq!((rejected[0].index, rejected[0].kind), (1, RejectKind::Range));
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`ErrorKind::Internal`](crate::ErrorKind::Internal) when the batch has other columns than the plan.
pub fn rejected_rows(
    plan: &EncodePlan,
    batch: &RecordBatch,
    first_row: u64,
    limit: usize,
) -> Result<Vec<RejectedRow>> {
    check_columns(plan, batch)?;
    let mut search = Search::new(plan, batch, first_row)?;
    let mut found = Vec::new();
    while let Some(rows) = search.next_block() {
        for (index, reason) in search.block(rows)? {
            found.push(search.row(index, reason));
            if found.len() > limit {
                return Ok(found);
            }
        }
    }
    Ok(found)
}

/// Returns the bytes of memory that [`rejected_rows`] takes to convert values of a batch, at most; 0 if the plan
/// converts none.
pub fn memory_to_reject(plan: &EncodePlan, batch: &RecordBatch) -> u64 {
    let mut piece = Piece::none();
    let mut most = 0;
    while piece.rows.end < batch.num_rows() {
        piece = piece.next(plan, batch);
        most = most.max(piece.memory);
    }
    most
}

/// The first column of a row that cannot be encoded.
#[derive(Debug, Clone, Copy)]
struct Reason {
    column: usize,
    problem: Problem,
}

/// A walk over the blocks of a batch, in which a row that is rejected costs at most one more check of its block.
struct Search<'a> {
    plan: &'a EncodePlan,
    batch: &'a RecordBatch,
    first_row: u64,
    /// The columns that are not converted. Those that are have a placeholder.
    bound: Vec<BoxedColumn<'a>>,
    /// Bytes of the field count and of all fields of a constant size.
    constant_size: u32,
    piece: Piece,
    /// The next row to check.
    next: usize,
    /// Bytes of each tuple of the block, so far.
    sizes: Vec<u32>,
}

impl<'a> Search<'a> {
    fn new(plan: &'a EncodePlan, batch: &'a RecordBatch, first_row: u64) -> Result<Self> {
        let mut search = Self {
            plan,
            batch,
            first_row,
            bound: Vec::with_capacity(batch.num_columns()),
            constant_size: u32_size(FIELD_COUNT),
            piece: Piece::none(),
            next: 0,
            sizes: Vec::new(),
        };
        for (index, (column, array)) in plan.columns().iter().zip(batch.columns()).enumerate() {
            let bound = if column.steps.is_empty() {
                bind(&column.field, array)
            } else {
                Ok(Box::new(AllNull) as BoxedColumn<'_>)
            };
            let bound = bound.map_err(|problem| {
                report(problem, &plan.columns()[index], search.number(search.next))
            })?;
            if column.steps.is_empty() {
                search.constant_size += bound.constant_size().unwrap_or(0);
            }
            search.bound.push(bound);
        }
        Ok(search)
    }

    /// Returns the rows of the next block, which are in one piece.
    fn next_block(&mut self) -> Option<Range<usize>> {
        if self.next == self.batch.num_rows() {
            return None;
        }
        if self.next == self.piece.rows.end {
            self.piece = self.piece.next(self.plan, self.batch);
        }
        let end = self.piece.rows.end.min(self.next + BLOCK_ROWS);
        let rows = self.next..end;
        self.next = end;
        Some(rows)
    }

    /// Returns the rows of a block that cannot be encoded.
    fn block(&mut self, rows: Range<usize>) -> Result<Vec<(usize, Reason)>> {
        self.sizes.clear();
        self.sizes.resize(rows.len(), self.constant_size);
        let mut reasons: Vec<Option<Reason>> = vec![None; rows.len()];
        let planned = self.plan.columns().iter().zip(self.batch.columns());
        for (column, (planned, array)) in planned.enumerate() {
            if !planned.nullable {
                let nulls = array.slice(rows.start, rows.len()).logical_nulls();
                for (at, reason) in reasons.iter_mut().enumerate() {
                    if reason.is_none() && nulls.as_ref().is_some_and(|nulls| nulls.is_null(at)) {
                        let problem = Problem::Null;
                        *reason = Some(Reason { column, problem });
                    }
                }
            }
            let mut unchecked = without_reason(&reasons);
            while let Some(run) = unchecked.pop() {
                let within = rows.start + run.start..rows.start + run.end;
                let sizes = &mut self.sizes[run.clone()];
                let bound = &mut self.bound[column];
                let Err(Rejected { row, problem }) = check(planned, array, bound, within, sizes)
                else {
                    continue;
                };
                if problem == Problem::Unplanned {
                    return Err(report(problem, planned, self.number(row)));
                }
                let at = row - rows.start;
                reasons[at] = Some(Reason { column, problem });
                unchecked.push(run.start..at);
                unchecked.push(at + 1..run.end);
            }
        }
        let rejected = reasons.into_iter().enumerate();
        let rejected = rejected.filter_map(|(at, reason)| Some((rows.start + at, reason?)));
        Ok(rejected.collect())
    }

    fn row(&self, index: usize, Reason { column, problem }: Reason) -> RejectedRow {
        RejectedRow {
            index,
            kind: RejectKind::of(problem),
            error: report(problem, &self.plan.columns()[column], self.number(index)),
        }
    }

    /// Returns the row within the stream.
    fn number(&self, index: usize) -> u64 {
        let index = u64::try_from(index).unwrap_or(u64::MAX);
        self.first_row.saturating_add(index)
    }
}

/// Checks rows of a column as the encoder does, and adds their bytes to `sizes`, which it leaves alone if it rejects one.
fn check(
    planned: &ColumnPlan,
    array: &ArrayRef,
    bound: &mut BoxedColumn<'_>,
    rows: Range<usize>,
    sizes: &mut [u32],
) -> Result<(), Rejected> {
    if rows.is_empty() {
        return Ok(());
    }
    let mut grown = sizes.to_vec();
    if planned.steps.is_empty() {
        bound.prepare(rows.clone());
        bound.measure(rows, &mut grown)?;
    } else {
        let first = rows.start;
        let policy = Policy::of(&planned.field, &planned.steps);
        let values = array.slice(first, rows.len());
        let values = convert(&values, &planned.steps, policy);
        let values = values.map_err(|rejected| rejected.after(first))?;
        let column = owned(&planned.field, &values, policy);
        let column = column.map_err(|problem| problem.at(first))?;
        let mut column = Shifted { column, first };
        column.prepare(rows.clone());
        column.measure(rows, &mut grown)?;
    }
    sizes.copy_from_slice(&grown);
    Ok(())
}

/// Returns the runs of rows that have no reason yet.
fn without_reason(reasons: &[Option<Reason>]) -> Vec<Range<usize>> {
    let mut runs = Vec::new();
    let mut start = 0;
    for (at, reason) in reasons.iter().enumerate() {
        if reason.is_some() {
            runs.push(start..at);
            start = at + 1;
        }
    }
    runs.push(start..reasons.len());
    runs.retain(|run| !run.is_empty());
    runs
}
