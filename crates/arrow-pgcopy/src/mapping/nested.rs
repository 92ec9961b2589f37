//! Structs, maps and lists into arrays, composites, ranges, hstore, vectors, points and JSON documents.

use std::collections::HashSet;

use arrow_schema::{DataType, Field, Fields};

use super::arrow_to_postgres::field_plan;
use super::field_plan::{CompositeField, FieldPlan};
use super::limits::length;
use crate::field::{Source, extension, values_type};
use crate::refusal::Refusal;
use crate::table::{Attribute, Modifier, PgType, PgTypeKind};

/// `MAXDIM` of PostgreSQL's array.h.
const MAX_DIMENSIONS: u8 = 6;

/// Plans a struct as a composite: each attribute needs a field of its name, and each field an attribute, in any
/// order.
pub(crate) fn composite(fields: &Fields, attributes: &[Attribute]) -> Result<FieldPlan, Refusal> {
    if let Some(field) = fields
        .iter()
        .find(|field| !attributes.iter().any(|a| a.name == *field.name()))
    {
        return Err(Refusal::new(format!(
            "the composite type has no attribute {:?}",
            field.name()
        ))
        .with_hint("drop that field from the struct, or make the column jsonb"));
    }
    let planned = attributes.iter().map(|attribute| {
        let Some((source, field)) = fields.find(&attribute.name) else {
            return Err(Refusal::new(format!(
                "the struct has no field {:?}, which is an attribute of the composite type",
                attribute.name
            ))
            .with_hint("add the field, perhaps as NULLs"));
        };
        let plan = field_plan(field, &attribute.ty, attribute.typmod).map_err(|refusal| {
            refusal.within(format_args!(
                "its field {:?} is {} and the attribute is {}",
                attribute.name,
                field.data_type(),
                attribute.ty.name_with_modifier(attribute.typmod)
            ))
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

/// Plans the bounds of a range, from a struct of `lower`, `upper` and optional flags.
pub(crate) fn range_bound(fields: &Fields, subtype: &PgType) -> Result<Box<FieldPlan>, Refusal> {
    const SHAPE: &str = "a range is a struct of lower and upper, and perhaps booleans lower_inc, upper_inc and empty";
    let (Some((_, lower)), Some((_, upper))) = (fields.find("lower"), fields.find("upper")) else {
        return Err(Refusal::new(SHAPE));
    };
    let well_formed = fields.iter().all(|field| match field.name().as_str() {
        "lower" | "upper" => true,
        "lower_inc" | "upper_inc" | "empty" => *field.data_type() == DataType::Boolean,
        _ => false,
    });
    if !well_formed {
        return Err(Refusal::new(SHAPE));
    }
    if lower.data_type() != upper.data_type() {
        return Err(Refusal::new(format!(
            "its lower is {} and its upper {}",
            lower.data_type(),
            upper.data_type()
        ))
        .with_hint("cast one to the type of the other"));
    }
    field_plan(lower, subtype, -1)
        .map(Box::new)
        .map_err(|refusal| {
            refusal.within(format_args!(
                "its bounds are {} and the range's are {}",
                lower.data_type(),
                subtype.name
            ))
        })
}

/// Plans a list of ranges as a multirange.
pub(crate) fn multirange(item: &Field, subtype: &PgType) -> Result<FieldPlan, Refusal> {
    let DataType::Struct(fields) = item.data_type() else {
        return Err(Refusal::new(
            "a multirange is a list of structs of lower and upper",
        ));
    };
    Ok(FieldPlan::Multirange {
        bound: range_bound(fields, subtype)?,
    })
}

/// Plans a list of numbers as a `vector`, `halfvec` or `sparsevec`.
pub(crate) fn vector(
    item: &Field,
    kind: &PgTypeKind,
    modifier: Modifier,
) -> Result<FieldPlan, Refusal> {
    let item_type = values_type(item.data_type());
    if !std::ptr::eq(item_type, item.data_type()) {
        return Err(
            Refusal::new("the numbers of a vector must lie side by side")
                .with_hint(format!("cast the list's elements to {item_type}")),
        );
    }
    if !matches!(
        Source::of(item_type),
        Source::Float { .. } | Source::Integer
    ) {
        return Err(Refusal::new(format!(
            "a vector is a list of floats or integers, and these are {item_type}"
        )));
    }
    let dimensions = length(modifier);
    Ok(if *kind == PgTypeKind::Sparsevec {
        FieldPlan::Sparsevec { dimensions }
    } else {
        FieldPlan::Vector {
            dimensions,
            half: *kind == PgTypeKind::Halfvec,
        }
    })
}

/// Plans a list of two floats, or a struct of `x` and `y`, as a point.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "all other types hold no values within"
)]
pub(crate) fn point(data_type: &DataType) -> Result<FieldPlan, Refusal> {
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
    if is_point {
        Ok(FieldPlan::Point)
    } else {
        Err(Refusal::new(
            "a point is a list of two floats, or a struct of the floats x and y",
        ))
    }
}

/// Returns whether values lie side by side, without a dictionary or runs.
fn is_direct(field: &Field) -> bool {
    std::ptr::eq(values_type(field.data_type()), field.data_type())
}

/// Plans a map as an array of composites of `key` and `value`.
pub(crate) fn entries(map: &Field, element: &PgType) -> Result<FieldPlan, Refusal> {
    const SHAPE: &str =
        "a map goes into an array of a composite type whose attributes are key and value";
    let (PgTypeKind::Composite(attributes), DataType::Struct(fields)) =
        (&element.base().kind, map.data_type())
    else {
        return Err(Refusal::new(SHAPE));
    };
    // The fields of a map may have any names.
    let [key, value] = &fields[..] else {
        return Err(Refusal::new(SHAPE));
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

/// Plans a map or struct of strings as hstore.
pub(crate) fn hstore(data_type: &DataType) -> Result<FieldPlan, Refusal> {
    let is_text =
        |field: &Field| matches!(Source::of(field.data_type()), Source::Text | Source::Null);
    let fields = if let DataType::Struct(fields) = data_type {
        fields
    } else if let DataType::Map(entries, _) = data_type
        && let DataType::Struct(fields) = entries.data_type()
    {
        fields
    } else {
        return Err(Refusal::new("hstore is made from a map or a struct"));
    };
    match fields.iter().find(|field| !is_text(field)) {
        None => Ok(FieldPlan::Hstore),
        Some(field) => Err(Refusal::new(format!(
            "hstore holds only strings, and {:?} is {}",
            field.name(),
            field.data_type()
        ))
        .with_hint("cast it to a string, or make the column jsonb")),
    }
}

/// Plans nested lists as one array, with a dimension for each list around the elements.
pub(crate) fn array(list: &DataType, element: &PgType, typmod: i32) -> Result<FieldPlan, Refusal> {
    let mut dimensions = 0;
    let mut items = None;
    let mut inner = list;
    // The lists of an array must lie side by side, which those behind a dictionary or in runs do not. A list that
    // is an element itself, as in an array of vectors, is not a dimension.
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
                Refusal::new("PostgreSQL's arrays have at most 6 dimensions")
                    .with_hint("make the column jsonb"),
            );
        }
    }
    let Some(items) = items else {
        return Err(Refusal::new("it is no list"));
    };
    let plan = field_plan(items, element, typmod).map_err(|refusal| {
        refusal.within(format_args!(
            "its elements are {inner} and the array's are {}",
            element.name
        ))
    })?;
    Ok(FieldPlan::Array {
        element_oid: element.oid,
        dimensions,
        element: Box::new(plan),
    })
}

/// Returns whether a list of such items is a single value of this type.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "all other types hold no values within"
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

pub(crate) fn json(data_type: &DataType, binary: bool) -> Result<FieldPlan, Refusal> {
    if let Some(name) = first_doubled(data_type) {
        return Err(Refusal::new(format!(
            "a struct inside it has the field {name:?} more than once"
        ))
        .with_hint("rename or drop one of them"));
    }
    match first_unrenderable(data_type) {
        None => Ok(FieldPlan::Json { binary }),
        Some(inner) => Err(
            Refusal::new(format!("a {inner} inside it cannot be rendered as JSON"))
                .with_hint("cast that part before writing"),
        ),
    }
}

/// Returns the first field name that occurs twice in a nested struct: JSON would keep only one of the values.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "all other types hold no values within"
)]
fn first_doubled(data_type: &DataType) -> Option<&str> {
    let mut names = HashSet::new();
    match Source::of(values_type(data_type)) {
        Source::List { item } => first_doubled(item.data_type()),
        Source::Map { entries } => {
            // The names of a map's own fields are not written.
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

/// Returns the first nested type that cannot be rendered as JSON.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "all other types hold no values within"
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
            // A key is written as text, and a nested value has no form as text.
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

/// Returns the first nested list view. The values of a union are not made contiguous.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "all other types hold no values within"
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
