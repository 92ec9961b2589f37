//! The Arrow type of a column between two steps.

use arrow_schema::{DataType, Field};

use super::Step;
use crate::field::extension;
use crate::refusal::{Refusal, Word};
use crate::table::{Modifier, PgType, PgTypeKind};

/// The steps of a column so far, and the Arrow type that they lead to.
pub(crate) struct Converted<'a> {
    pub(crate) steps: Vec<Step>,
    pub(crate) data_type: DataType,
    /// The type before the first step, for messages.
    pub(crate) original: &'a DataType,
    pub(crate) ty: &'a PgType,
    pub(crate) modifier: Modifier,
}

impl Converted<'_> {
    pub(crate) fn push(&mut self, step: Step, data_type: DataType) -> Result<(), Refusal> {
        self.steps.push(step);
        self.data_type = data_type;
        Ok(())
    }

    pub(crate) fn meaningless<T>(&self, word: Word) -> Result<T, Refusal> {
        Err(meaningless(word, self.original, self.ty))
    }

    /// Turns a tensor into nested lists of its shape, where the column has a place for them.
    pub(crate) fn shape(&mut self, field: &Field) -> Result<(), Refusal> {
        use PgTypeKind as K;
        if matches!(self.ty.kind, K::Array(_) | K::Json | K::Jsonb)
            && let Some(shaped) = extension::tensor(field)?
        {
            self.push(Step::Shape(shaped.clone()), shaped)?;
        }
        Ok(())
    }

    /// Refuses infinity sentinels except for dates and timestamps.
    pub(crate) fn check_infinity(&self) -> Result<(), Refusal> {
        use PgTypeKind as K;
        let counted = matches!(
            self.data_type,
            DataType::Date32 | DataType::Date64 | DataType::Timestamp(_, _)
        );
        let infinite = matches!(self.ty.kind, K::Date | K::Timestamp | K::Timestamptz);
        if counted && infinite {
            Ok(())
        } else {
            self.meaningless(Word::Infinity)
        }
    }
}

pub(crate) fn meaningless(word: Word, data_type: &DataType, ty: &PgType) -> Refusal {
    Refusal::new(format!(
        "{} was asked for and has no meaning for {data_type} into {}",
        word.as_str(),
        ty.name
    ))
    .with_hint("leave that conversion out")
    .of_meaningless(word)
}
