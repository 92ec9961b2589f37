//! Rounding, and clamping to the column's range.

use arrow_schema::{DECIMAL256_MAX_PRECISION, DataType};

use super::converted::Converted;
use super::overflow::{bounds, floats_bounds, widen};
use super::times::step;
use super::{Overflow, Rounding, Step};
use crate::field::Source;
use crate::refusal::{Refusal, Word};
use crate::table::{Modifier, PgTypeKind};

impl Converted<'_> {
    pub(crate) fn round(
        &mut self,
        rounding: Rounding,
        overflow: Option<Overflow>,
    ) -> Result<(), Refusal> {
        use DataType as D;
        use PgTypeKind as K;
        use Source as S;
        let nearest = rounding == Rounding::Nearest;
        let kind = &self.ty.kind;
        let temporal = matches!(
            kind,
            K::Time | K::Timetz | K::Timestamp | K::Timestamptz | K::Interval
        );
        let scale = match (kind, self.modifier) {
            (K::Numeric, Modifier::Numeric { scale, .. }) => i8::try_from(scale).ok(),
            (K::Int2 | K::Int4 | K::Int8, _) => Some(0),
            (K::Money { fraction_digits }, _) => i8::try_from(*fraction_digits).ok(),
            _ => None,
        };
        match (Source::of(&self.data_type), kind, scale) {
            (S::Timestamp | S::TimestampWithZone | S::Time | S::Duration | S::Interval, _, _)
                if temporal =>
            {
                self.micros(step(self.modifier), Some(rounding))
            }
            // The column keeps all digits.
            (S::Decimal { scale: from, .. }, _, Some(scale)) if from <= scale => Ok(()),
            (S::Float { .. }, K::Numeric, Some(scale)) => {
                let scale = scale.into();
                self.steps.push(Step::Fraction { scale, rounding });
                Ok(())
            }
            (S::Decimal { .. } | S::Float { .. }, _, Some(scale)) => self.push(
                Step::Scale { scale, rounding },
                D::Decimal256(DECIMAL256_MAX_PRECISION, scale),
            ),
            (S::Float { double: true } | S::Decimal { .. } | S::Integer, K::Float4, _)
                if nearest =>
            {
                self.push(Step::Single { overflow }, D::Float32)
            }
            (S::Decimal { .. } | S::Integer, K::Float8, _) if nearest => {
                self.push(Step::Double, D::Float64)
            }
            (S::Float { double: true } | S::Decimal { .. } | S::Integer, K::Float4, _)
            | (S::Decimal { .. } | S::Integer, K::Float8, _) => Err(Refusal::new(format!(
                "numbers become {} only by rounding to the nearest",
                self.ty.name
            ))
            .with_hint("ask for rounding: nearest")),
            _ => self.meaningless(Word::Rounding),
        }
    }

    /// Clamps values before a step that could not convert them.
    pub(crate) fn clamp_before(
        &mut self,
        overflow: Overflow,
        rounding: Option<Rounding>,
        to_be_shifted: bool,
    ) -> bool {
        // Floats are clamped to decimals, which they become by rounding.
        if rounding.is_some() && matches!(Source::of(&self.data_type), Source::Float { .. }) {
            let step = floats_bounds(&self.ty.kind, overflow);
            let any = step.is_some();
            self.steps.extend(step);
            return any;
        }
        let any = self.clamp(overflow);
        if let (true, Some(step)) = (to_be_shifted, self.steps.last_mut()) {
            widen(step, &self.data_type);
        }
        any
    }

    pub(crate) fn clamp(&mut self, overflow: Overflow) -> bool {
        let step = bounds(&self.data_type, self.ty, self.modifier, overflow);
        let any = step.is_some();
        if let Some(step) = step
            && self.steps.last() != Some(&step)
        {
            self.steps.push(step);
        }
        any
    }
}
