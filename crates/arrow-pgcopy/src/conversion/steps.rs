//! The steps that lead from the data to the column.

use arrow_schema::{DataType, Field};

use super::converted::{Converted, meaningless};
use super::{Conversion, Form, Overflow, Step, Zone};
use crate::field::values_type;
use crate::mapping::{FieldPlan, column_plan};
use crate::refusal::{Refusal, Word};
use crate::table::{Modifier, PgType};

impl Conversion {
    /// Returns the steps to a column of this type, and how the values are encoded after them.
    ///
    /// # Errors
    /// Refuses a pair of types that is not written, and a conversion without a meaning for it.
    pub(crate) fn plan(
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
            return Ok((steps, column_plan(field, ty, typmod)?));
        }
        let field = field.clone().with_data_type(data_type);
        let plan = column_plan(&field, ty, typmod)?;
        let by_postgresql = matches!(plan, FieldPlan::Cast { .. });
        if by_postgresql && steps.contains(&Step::Null) {
            return Err(meaningless(Word::Overflow, field.data_type(), base));
        }
        let infinity = |step: &Step| matches!(step, Step::Clamp { infinity: true, .. });
        Ok(if self.infinity_sentinels || steps.iter().any(infinity) {
            (steps, FieldPlan::Infinite(Box::new(plan)))
        } else {
            (steps, plan)
        })
    }

    /// Returns the steps like [`plan`](Self::plan), without the parts of the conversion that have no meaning for the
    /// pair of types.
    ///
    /// # Errors
    /// Refuses a pair of types that is not written.
    pub(crate) fn plan_where_meaningful(
        self,
        field: &Field,
        ty: &PgType,
        typmod: i32,
    ) -> Result<(Vec<Step>, FieldPlan), Refusal> {
        let plan = self.plan(field, ty, typmod);
        match plan.as_ref().err().and_then(Refusal::meaningless) {
            Some(word) => self.without(word).plan_where_meaningful(field, ty, typmod),
            None => plan,
        }
    }

    fn convert(&self, field: &Field, converted: &mut Converted<'_>) -> Result<(), Refusal> {
        if self.is_none() {
            return Ok(());
        }
        // Unions are only rendered as JSON, and the renderer resolves dictionaries and runs itself.
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
        // Values are clamped twice: before the steps, which could not convert what is too large, and after them.
        let clamped_before = held.is_some_and(|overflow| {
            converted.clamp_before(overflow, rounding, self.zone.is_some())
        });
        let time = matches!(
            converted.data_type,
            DataType::Time32(_) | DataType::Time64(_)
        );
        let part = self.form == Some(Form::Part);
        let timestamp = matches!(converted.data_type, DataType::Timestamp(_, _));
        // This comes before the zone: a shifted time may be out of the range of nanoseconds, and is within that of
        // microseconds.
        if let Some(rounding) = rounding.take_if(|_| timestamp && !part) {
            converted.round(rounding, held)?;
        }
        let zone = self.zone.as_deref().map(Zone::parse).transpose()?;
        let (zone, offset) = if time { (None, zone) } else { (zone, None) };
        if let Some(zone) = zone {
            converted.zone(zone, part)?;
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
                return converted.meaningless(Word::Overflow);
            }
        }
        if let Some(zone) = offset {
            converted.offset(&zone)?;
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
