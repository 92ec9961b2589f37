//! Which steps lead from the data to the column, by what was asked for.

use arrow_schema::{DECIMAL256_MAX_PRECISION, DataType, Field};

use super::overflow::{bounds, floats_bounds, widen};
use super::times::step;
use super::zone::offset;
use super::{Conversion, Form, Overflow, Rounding, Step};
use crate::plan::extension;
use crate::plan::field_plan::FieldPlan;
use crate::plan::mapping::{self, Refusal};
use crate::plan::relation::{Modifier, PgType, PgTypeKind};
use crate::plan::source::{Source, values_type};

impl Conversion {
    /// The steps to a column of this type, and how the values are encoded after them.
    ///
    /// # Errors
    /// A pair of types that is refused; what was asked for and means nothing for this one.
    pub(in crate::plan) fn plan(
        &self,
        field: &Field,
        ty: &PgType,
        typmod: i32,
    ) -> Result<(Vec<Step>, FieldPlan), Refusal> {
        let (base, base_typmod) = ty.resolve(typmod);
        let mut converted = Converted {
            steps: Vec::new(),
            data_type: values_type(field.data_type()).clone(),
            original: values_type(field.data_type()),
            ty: base,
            modifier: Modifier::of(base, base_typmod),
        };
        converted.shape(field)?;
        if converted.data_type != DataType::Null {
            self.convert(field, &mut converted)?;
        }
        let Converted {
            steps, data_type, ..
        } = converted;
        if steps.is_empty() && !self.infinity_sentinels {
            return Ok((steps, mapping::column_plan(field, ty, typmod)?));
        }
        let field = field.clone().with_data_type(data_type);
        let plan = mapping::column_plan(&field, ty, typmod)?;
        let by_postgresql = matches!(plan, FieldPlan::Cast { .. });
        if by_postgresql && steps.contains(&Step::Null) {
            return Err(meaningless("overflow", field.data_type(), base));
        }
        let infinity = |step: &Step| matches!(step, Step::Clamp { infinity: true, .. });
        Ok(
            match self.infinity_sentinels || steps.iter().any(infinity) {
                true => (steps, FieldPlan::Infinite(Box::new(plan))),
                false => (steps, plan),
            },
        )
    }

    fn convert(&self, field: &Field, converted: &mut Converted<'_>) -> Result<(), Refusal> {
        if self.is_none() {
            return Ok(());
        }
        // Nothing but a renderer of documents takes unions, and it looks behind dictionaries and runs itself.
        let is_union = matches!(converted.data_type, DataType::Union(_, _));
        let is_behind = converted.data_type != *field.data_type();
        if is_behind && converted.steps.is_empty() && !is_union {
            let values = Step::Values(converted.data_type.clone());
            converted.steps.push(values);
        }
        let held = self.overflow.filter(|asked| *asked != Overflow::Null);
        let mut rounding = self.rounding;
        if let Some(unit) = self.unit {
            converted.unit(unit, &mut rounding, held.is_some())?;
        }
        if let Some(form) = self.form.filter(|form| *form != Form::Part) {
            converted.form(form, field)?;
        }
        if self.infinity_sentinels {
            converted.check_infinity()?;
        }
        // Twice: what is too large for a step is held back before it, and what becomes so after it.
        let clamped_before =
            held.is_some_and(|overflow| converted.clamp_before(overflow, self.zone.is_some()));
        let time = matches!(
            converted.data_type,
            DataType::Time32(_) | DataType::Time64(_)
        );
        let part = self.form == Some(Form::Part);
        let timestamp = matches!(converted.data_type, DataType::Timestamp(_, _));
        // Before the zone: microseconds have room where nanoseconds end.
        if let Some(rounding) = rounding.take_if(|_| timestamp && !part) {
            converted.round(rounding, held)?;
        }
        let zone = self.zone.as_deref().map(offset).transpose()?;
        if let Some(east) = zone.filter(|_| !time) {
            converted.zone(east, part)?;
        }
        if part {
            converted.part()?;
        }
        if let Some(rounding) = rounding {
            converted.round(rounding, held)?;
        }
        let single = matches!(converted.steps.last(), Some(Step::Single { .. }));
        if let Some(overflow) = held {
            let clamped = converted.clamp(overflow);
            if !(clamped || clamped_before || single) {
                return converted.meaningless("overflow");
            }
        }
        if let Some(east) = zone.filter(|_| time) {
            converted.offset(east)?;
        }
        if let Some(replacement) = &self.nul {
            converted.nul(replacement)?;
        }
        if self.truncate {
            converted.truncate()?;
        }
        if let Some(srid) = self.srid {
            converted.srid(srid)?;
        }
        if self.overflow == Some(Overflow::Null) {
            converted.steps.push(Step::Null);
        }
        Ok(())
    }
}

/// A type on its way.
pub(super) struct Converted<'a> {
    pub(super) steps: Vec<Step>,
    pub(super) data_type: DataType,
    /// What it was, for messages.
    pub(super) original: &'a DataType,
    pub(super) ty: &'a PgType,
    pub(super) modifier: Modifier,
}

impl Converted<'_> {
    pub(super) fn push(&mut self, step: Step, data_type: DataType) -> Result<(), Refusal> {
        self.steps.push(step);
        self.data_type = data_type;
        Ok(())
    }

    pub(super) fn meaningless<T>(&self, what: &str) -> Result<T, Refusal> {
        Err(meaningless(what, self.original, self.ty))
    }

    /// A tensor has the dimensions of its shape, where the column can have them.
    fn shape(&mut self, field: &Field) -> Result<(), Refusal> {
        use PgTypeKind as K;
        if matches!(self.ty.kind, K::Array(_) | K::Json | K::Jsonb)
            && let Some(shaped) = extension::tensor(field)?
        {
            self.push(Step::Shape(shaped.clone()), shaped)?;
        }
        Ok(())
    }

    /// Sentinels are of dates and timestamps, and become what both have in PostgreSQL.
    fn check_infinity(&self) -> Result<(), Refusal> {
        use PgTypeKind as K;
        let counted = matches!(
            self.data_type,
            DataType::Date32 | DataType::Date64 | DataType::Timestamp(_, _)
        );
        let infinite = matches!(self.ty.kind, K::Date | K::Timestamp | K::Timestamptz);
        match counted && infinite {
            true => Ok(()),
            false => self.meaningless("infinity"),
        }
    }

    fn round(&mut self, rounding: Rounding, overflow: Option<Overflow>) -> Result<(), Refusal> {
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
            // There is nothing to lose.
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
            | (S::Decimal { .. } | S::Integer, K::Float8, _) => Err(format!(
                "numbers become {} by rounding to the nearest alone; ask for rounding: nearest",
                self.ty.name
            )),
            _ => self.meaningless("rounding"),
        }
    }

    /// Holds back what a step could not take.
    fn clamp_before(&mut self, overflow: Overflow, to_be_shifted: bool) -> bool {
        if matches!(Source::of(&self.data_type), Source::Float { .. }) {
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

    fn clamp(&mut self, overflow: Overflow) -> bool {
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

fn meaningless(what: &str, data_type: &DataType, ty: &PgType) -> Refusal {
    format!(
        "{what} was asked for and has no meaning for {data_type} into {}; leave that conversion out",
        ty.name
    )
}
