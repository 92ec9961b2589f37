//! Structs, maps and lists into types that are made of others: composites, ranges, hstore, vectors.

use arrow_schema::{DataType, Field, Fields};

use super::field_plan::{CompositeField, FieldPlan};
use super::mapping::{Refusal, Source, field_plan, length, values_type};
use super::relation::{Attribute, Modifier, PgType};

/// Each attribute must have a field of its name and each field an attribute, in any order.
pub(super) fn composite(fields: &Fields, attributes: &[Attribute]) -> Result<FieldPlan, Refusal> {
    if let Some(field) = fields
        .iter()
        .find(|field| !attributes.iter().any(|a| a.name == *field.name()))
    {
        return Err(format!(
            "the composite type has no attribute {:?}; drop that field from the struct, or make the column jsonb",
            field.name()
        ));
    }
    let planned = attributes.iter().map(|attribute| {
        let Some((source, field)) = fields.find(&attribute.name) else {
            return Err(format!(
                "the struct has no field {:?}, which is an attribute of the composite type; add it, perhaps as NULLs",
                attribute.name
            ));
        };
        let plan = field_plan(field, &attribute.ty, attribute.typmod).map_err(|reason| {
            format!(
                "its field {:?} is {} and the attribute is {}: {reason}",
                attribute.name,
                field.data_type(),
                attribute.ty.name_with_modifier(attribute.typmod)
            )
        })?;
        Ok(CompositeField {
            source,
            oid: attribute.ty.oid,
            plan,
        })
    });
    Ok(FieldPlan::Composite {
        fields: planned.collect::<Result<_, _>>()?,
    })
}

/// A struct of both bounds and perhaps flags is a range.
pub(super) fn range_bound(fields: &Fields, subtype: &PgType) -> Result<Box<FieldPlan>, Refusal> {
    const SHAPE: &str = "a range is a struct of lower and upper, and perhaps booleans lower_inc, upper_inc and empty";
    let (Some((_, lower)), Some((_, upper))) = (fields.find("lower"), fields.find("upper")) else {
        return Err(SHAPE.into());
    };
    let well_formed = fields.iter().all(|field| match field.name().as_str() {
        "lower" | "upper" => true,
        "lower_inc" | "upper_inc" | "empty" => *field.data_type() == DataType::Boolean,
        _ => false,
    });
    if !well_formed || lower.data_type() != upper.data_type() {
        return Err(SHAPE.into());
    }
    field_plan(lower, subtype, -1)
        .map(Box::new)
        .map_err(|reason| {
            format!(
                "its bounds are {} and the range's are {}: {reason}",
                lower.data_type(),
                subtype.name
            )
        })
}

pub(super) fn multirange(item: &Field, subtype: &PgType) -> Result<FieldPlan, Refusal> {
    let DataType::Struct(fields) = item.data_type() else {
        return Err("a multirange is a list of structs of lower and upper".into());
    };
    Ok(FieldPlan::Multirange {
        bound: range_bound(fields, subtype)?,
    })
}

pub(super) fn vector(item: &Field, modifier: Modifier, half: bool) -> Result<FieldPlan, Refusal> {
    let item_type = values_type(item.data_type());
    if !std::ptr::eq(item_type, item.data_type()) {
        return Err(format!(
            "the numbers of a vector must lie side by side; cast the list's elements to {item_type}"
        ));
    }
    if !matches!(
        Source::of(item_type),
        Source::Float { .. } | Source::Integer { .. }
    ) {
        return Err(format!(
            "a vector is a list of numbers, and these are {item_type}"
        ));
    }
    Ok(FieldPlan::Vector {
        dimensions: length(modifier),
        half,
    })
}

/// Only text goes into hstore, as keys and as values.
pub(super) fn hstore(data_type: &DataType) -> Result<FieldPlan, Refusal> {
    let is_text =
        |field: &Field| matches!(Source::of(field.data_type()), Source::Text | Source::Null);
    let fields = if let DataType::Struct(fields) = data_type {
        fields
    } else if let DataType::Map(entries, _) = data_type
        && let DataType::Struct(fields) = entries.data_type()
    {
        fields
    } else {
        return Err("hstore is made from a map or a struct".into());
    };
    match fields.iter().find(|field| !is_text(field)) {
        None => Ok(FieldPlan::Hstore),
        Some(field) => Err(format!(
            "hstore holds strings alone, and {:?} is {}; cast it to a string, or make the column jsonb",
            field.name(),
            field.data_type()
        )),
    }
}
