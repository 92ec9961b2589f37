//! Structs, maps and lists into types that are made of others: arrays, composites, ranges, hstore,
//! vectors, points; and into documents.

use std::collections::HashSet;

use arrow_schema::{DataType, Field, Fields};

use super::extension;
use super::field_plan::{CompositeField, FieldPlan};
use super::limits::length;
use super::mapping::{Refusal, field_plan};
use super::relation::{Attribute, Modifier, PgType, PgTypeKind};
use super::source::{Source, values_type};

/// `MAXDIM` of PostgreSQL's array.h.
const MAX_DIMENSIONS: u8 = 6;

/// As [`field_plan`], of what is within a column, where nothing can be asked for.
fn inner_plan(field: &Field, ty: &PgType, typmod: i32) -> Result<FieldPlan, Refusal> {
    field_plan(field, ty, typmod).map_err(|reason| match reason.contains("(conversion") {
        true => {
            format!("{reason}; but conversions change whole columns only, not what is within them")
        }
        false => reason,
    })
}

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
        let plan = inner_plan(field, &attribute.ty, attribute.typmod).map_err(|reason| {
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
    if !well_formed {
        return Err(SHAPE.into());
    }
    if lower.data_type() != upper.data_type() {
        return Err(format!(
            "its lower is {} and its upper {}; cast one to the type of the other",
            lower.data_type(),
            upper.data_type()
        ));
    }
    inner_plan(lower, subtype, -1)
        .map(Box::new)
        .map_err(|reason| {
            format!(
                "its bounds are {} and the range's are {}: {reason}",
                lower.data_type(),
                subtype.name
            )
        })
}

/// A list of what is a range is a multirange.
pub(super) fn multirange(item: &Field, subtype: &PgType) -> Result<FieldPlan, Refusal> {
    let DataType::Struct(fields) = item.data_type() else {
        return Err("a multirange is a list of structs of lower and upper".into());
    };
    Ok(FieldPlan::Multirange {
        bound: range_bound(fields, subtype)?,
    })
}

/// A list of numbers is a vector of the extension vector, of whichever kind the column has.
pub(super) fn vector(
    item: &Field,
    kind: &PgTypeKind,
    modifier: Modifier,
) -> Result<FieldPlan, Refusal> {
    let item_type = values_type(item.data_type());
    if !std::ptr::eq(item_type, item.data_type()) {
        return Err(format!(
            "the numbers of a vector must lie side by side; cast the list's elements to {item_type}"
        ));
    }
    if !matches!(
        Source::of(item_type),
        Source::Float { .. } | Source::Integer
    ) {
        return Err(format!(
            "a vector is a list of floats or integers, and these are {item_type}"
        ));
    }
    let dimensions = length(modifier);
    Ok(match *kind == PgTypeKind::Sparsevec {
        true => FieldPlan::Sparsevec { dimensions },
        false => FieldPlan::Vector {
            dimensions,
            half: *kind == PgTypeKind::Halfvec,
        },
    })
}

/// A list of two floats is a point, and so is a struct of `x` and `y`.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "only what holds others is of interest"
)]
pub(super) fn point(data_type: &DataType) -> Result<FieldPlan, Refusal> {
    let is_float = |field: &Field| matches!(Source::of(field.data_type()), Source::Float { .. });
    let is_point = match Source::of(data_type) {
        Source::List { item } => is_float(item) && is_direct(item),
        Source::Struct { fields } => {
            let names = [fields.find("x"), fields.find("y")];
            let both = names.iter().flatten();
            fields.len() == 2 && both.filter(|(_, field)| is_float(field)).count() == 2
        }
        _ => false,
    };
    match is_point {
        true => Ok(FieldPlan::Point),
        false => Err("a point is a list of two floats, or a struct of the floats x and y".into()),
    }
}

/// Whether values lie side by side, and not behind a dictionary or in runs.
fn is_direct(field: &Field) -> bool {
    std::ptr::eq(values_type(field.data_type()), field.data_type())
}

/// A map is an array of pairs, where the column's elements are composites of `key` and `value`.
pub(super) fn entries(map: &Field, element: &PgType) -> Result<FieldPlan, Refusal> {
    const SHAPE: &str =
        "a map goes into an array of a composite type whose attributes are key and value";
    let (PgTypeKind::Composite(attributes), DataType::Struct(fields)) =
        (&element.base().kind, map.data_type())
    else {
        return Err(SHAPE.into());
    };
    // Arrow leaves the names of a map's fields to its maker.
    let [key, value] = &fields[..] else {
        return Err(SHAPE.into());
    };
    let named = Fields::from(vec![
        key.as_ref().clone().with_name("key"),
        value.as_ref().clone().with_name("value"),
    ]);
    Ok(FieldPlan::Array {
        element_oid: element.oid,
        dimensions: 1,
        element: Box::new(composite(&named, attributes)?),
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

/// Lists around elements become the dimensions of one array.
pub(super) fn array(list: &DataType, element: &PgType, typmod: i32) -> Result<FieldPlan, Refusal> {
    let mut dimensions = 0;
    let mut items = None;
    let mut inner = list;
    // Lists behind a dictionary or in runs are not side by side, as those of one array must be. Where
    // a list is an element, as for an array of vectors, it is not a dimension.
    while let (Source::List { item }, true) =
        (Source::of(inner), std::ptr::eq(values_type(inner), inner))
    {
        if dimensions > 0 && takes_lists(element, item) {
            break;
        }
        dimensions += 1;
        items = Some(item);
        inner = item.data_type();
        if dimensions > MAX_DIMENSIONS {
            return Err(
                "PostgreSQL's arrays have at most 6 dimensions; make the column jsonb".into(),
            );
        }
    }
    let Some(items) = items else {
        return Err("it is no list".into());
    };
    let plan = inner_plan(items, element, typmod).map_err(|reason| {
        format!(
            "its elements are {inner} and the array's are {}: {reason}",
            element.name
        )
    })?;
    Ok(FieldPlan::Array {
        element_oid: element.oid,
        dimensions,
        element: Box::new(plan),
    })
}

/// Whether a list of such items is one value of this type.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "only what holds others is of interest"
)]
fn takes_lists(ty: &PgType, item: &Field) -> bool {
    let kind = &ty.base().kind;
    match Source::of(item.data_type()) {
        Source::Boolean => matches!(kind, PgTypeKind::Bit | PgTypeKind::Varbit),
        Source::Float { .. } if *kind == PgTypeKind::Point => true,
        _ => matches!(
            kind,
            PgTypeKind::Vector
                | PgTypeKind::Halfvec
                | PgTypeKind::Sparsevec
                | PgTypeKind::Multirange(_)
        ),
    }
}

pub(super) fn json(data_type: &DataType, binary: bool) -> Result<FieldPlan, Refusal> {
    if let Some(name) = first_doubled(data_type) {
        return Err(format!(
            "a struct inside it has the field {name:?} more than once; rename or drop one of them"
        ));
    }
    match first_unrenderable(data_type) {
        None => Ok(FieldPlan::Json { binary }),
        Some(inner) => Err(format!(
            "a {inner} inside it cannot be rendered as JSON; cast that part before writing"
        )),
    }
}

/// The first name that a struct within has twice, of which a document would keep one value.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "only what holds others is of interest"
)]
fn first_doubled(data_type: &DataType) -> Option<&str> {
    let mut names = HashSet::new();
    match Source::of(values_type(data_type)) {
        Source::List { item } => first_doubled(item.data_type()),
        Source::Map { entries } => {
            // The names of a map's own fields are its maker's, and not written.
            let DataType::Struct(fields) = entries.data_type() else {
                return None;
            };
            fields
                .iter()
                .find_map(|field| first_doubled(field.data_type()))
        }
        Source::Struct { fields } => fields
            .iter()
            .find(|field| !names.insert(field.name()))
            .map(|field| field.name().as_str())
            .or_else(|| {
                fields
                    .iter()
                    .find_map(|field| first_doubled(field.data_type()))
            }),
        _ => None,
    }
}

/// The first type within that has no place in a JSON document.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "only what holds others is of interest"
)]
fn first_unrenderable(data_type: &DataType) -> Option<&DataType> {
    let data_type = values_type(data_type);
    if extension::holds_variants(data_type) {
        return Some(data_type);
    }
    match Source::of(data_type) {
        Source::List { item } => first_unrenderable(item.data_type()),
        Source::Struct { fields } => fields
            .iter()
            .find_map(|field| first_unrenderable(field.data_type())),
        Source::Map { entries } => {
            // A key becomes text, which a nested value does not.
            let DataType::Struct(fields) = entries.data_type() else {
                return Some(data_type);
            };
            let key = fields.first().map(|key| key.data_type());
            let nested = key.filter(|key| Source::of(key).is_nested());
            nested.or_else(|| first_unrenderable(entries.data_type()))
        }
        Source::Union => {
            let DataType::Union(fields, _) = data_type else {
                return Some(data_type);
            };
            let mut inner = fields.iter().map(|(_, field)| field.data_type());
            inner.find_map(|inner| first_view(inner).or_else(|| first_unrenderable(inner)))
        }
        _ => None,
    }
}

/// The first view of lists within: what a union holds is not put side by side.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "only what holds others is of interest"
)]
fn first_view(data_type: &DataType) -> Option<&DataType> {
    let data_type = values_type(data_type);
    if matches!(
        data_type,
        DataType::ListView(_) | DataType::LargeListView(_)
    ) {
        return Some(data_type);
    }
    match Source::of(data_type) {
        Source::List { item } => first_view(item.data_type()),
        Source::Map { entries } => first_view(entries.data_type()),
        Source::Struct { fields } => fields.iter().find_map(|f| first_view(f.data_type())),
        _ => None,
    }
}
