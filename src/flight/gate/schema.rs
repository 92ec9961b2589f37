//! The walk of a schema: its size, its types, and the buffers they promise.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::ipc::{DateUnit, Endianness, Field, IntervalUnit, KeyValue, Precision, Type};

use super::layout::{Layout, Node};
use super::malformed;
use crate::error::{Error, Result};

/// `MaxTupleAttributeNumber` of PostgreSQL is 1664, and a table has at most 1600 columns.
const MAX_COLUMNS: usize = 1600;
/// Nested values become jsonb; deeper ones are a mistake.
const MAX_DEPTH: usize = 16;
const MAX_FIELDS: usize = 10_000;
/// pandas describes every column in some 250 bytes.
const MAX_METADATA_BYTES: usize = 512 * 1024;
const MAX_METADATA_ENTRIES: usize = 10_000;
/// The longest name of the IANA database has 32.
const MAX_ZONE_BYTES: usize = 64;

/// What a schema promises: the nodes of its batches, and those of each dictionary by its id.
type Layouts = (Vec<Node>, HashMap<i64, Vec<Node>>);

/// Walks a schema.
pub(super) fn walk(schema: arrow::ipc::Schema<'_>) -> Result<Layouts> {
    if schema.endianness() != Endianness::Little {
        return Err(Error::invalid_command(
            "the schema says that the data is big-endian; send it little-endian",
        ));
    }
    let fields = schema.fields().ok_or_else(malformed)?;
    if fields.len() > MAX_COLUMNS {
        return Err(Error::invalid_command(format!(
            "the schema has {} columns; a table has at most {MAX_COLUMNS}",
            fields.len()
        )));
    }
    let mut walk = Walk::default();
    walk.add_metadata(schema.custom_metadata().into_iter().flatten())?;
    let mut columns = Vec::with_capacity(fields.len());
    for field in fields {
        let column = Arc::from(field.name().unwrap_or_default());
        walk.add_field(field, &column, 1, &mut columns)
            .map_err(|error| error.with_column(&*column))?;
    }
    Ok((columns, walk.dictionaries))
}

#[derive(Default)]
struct Walk {
    dictionaries: HashMap<i64, Vec<Node>>,
    field_count: usize,
    metadata_bytes: usize,
    metadata_entries: usize,
    in_dictionary: bool,
}

impl Walk {
    fn add_metadata<'a>(&mut self, entries: impl Iterator<Item = KeyValue<'a>>) -> Result<()> {
        for entry in entries {
            self.metadata_entries += 1;
            self.metadata_bytes +=
                entry.key().map_or(0, str::len) + entry.value().map_or(0, str::len);
            if self.metadata_bytes > MAX_METADATA_BYTES
                || self.metadata_entries > MAX_METADATA_ENTRIES
            {
                return Err(Error::invalid_command(format!(
                    "the metadata of the schema has more than {MAX_METADATA_BYTES} bytes or \
                     {MAX_METADATA_ENTRIES} entries; pgflight makes no use of it, leave it out"
                )));
            }
        }
        Ok(())
    }

    /// Adds a field and what is below it. A flatbuffer may hold one field and name it a million times,
    /// so it is the visits that are counted.
    fn add_field(
        &mut self,
        field: Field<'_>,
        column: &Arc<str>,
        depth: usize,
        nodes: &mut Vec<Node>,
    ) -> Result<()> {
        self.field_count += 1;
        if depth > MAX_DEPTH || self.field_count > MAX_FIELDS {
            return Err(Error::invalid_command(format!(
                "the schema is nested more than {MAX_DEPTH} deep or has more than {MAX_FIELDS} fields"
            )));
        }
        self.add_metadata(field.custom_metadata().into_iter().flatten())?;
        let Some(dictionary) = field.dictionary() else {
            return self.add_plain(field, column, depth, nodes);
        };
        if self.in_dictionary {
            return Err(Error::schema_mismatch(
                "a dictionary within a dictionary is not taken; send plain values",
            ));
        }
        let keys = dictionary.indexType().ok_or_else(malformed)?;
        nodes.push(Node {
            column: Arc::clone(column),
            layout: Layout::Fixed {
                bits: int_bits(keys.bitWidth())?,
            },
        });
        let mut values = Vec::new();
        self.in_dictionary = true;
        self.add_plain(field, column, depth, &mut values)?;
        self.in_dictionary = false;
        let known = self
            .dictionaries
            .entry(dictionary.id())
            .or_insert_with(|| values.clone());
        let layouts = |nodes: &[Node]| nodes.iter().map(|node| node.layout).collect::<Vec<_>>();
        if layouts(known) != layouts(&values) {
            return Err(Error::invalid_command(format!(
                "two columns of different types have dictionary id {}",
                dictionary.id()
            )));
        }
        Ok(())
    }

    fn add_plain(
        &mut self,
        field: Field<'_>,
        column: &Arc<str>,
        depth: usize,
        nodes: &mut Vec<Node>,
    ) -> Result<()> {
        let layout = layout(field)?;
        nodes.push(Node {
            column: Arc::clone(column),
            layout,
        });
        // What has no children by its type may name some; no array comes with them.
        if !matches!(layout, Layout::Validity | Layout::Offsets { .. }) {
            return Ok(());
        }
        field
            .children()
            .into_iter()
            .flatten()
            .try_for_each(|child| self.add_field(child, column, depth + 1, nodes))
    }
}

/// The buffers of a type; refuses types that no column takes, and numbers in types that make no sense.
fn layout(field: Field<'_>) -> Result<Layout> {
    let fixed = |bits| Ok(Layout::Fixed { bits });
    match field.type_type() {
        Type::Null => Ok(Layout::Null),
        Type::Bool => fixed(1),
        Type::Int => fixed(int_bits(
            field.type_as_int().ok_or_else(malformed)?.bitWidth(),
        )?),
        Type::FloatingPoint => {
            match field
                .type_as_floating_point()
                .ok_or_else(malformed)?
                .precision()
            {
                Precision::HALF => fixed(16),
                Precision::SINGLE => fixed(32),
                Precision::DOUBLE => fixed(64),
                _ => Err(malformed()),
            }
        }
        Type::Date => match field.type_as_date().ok_or_else(malformed)?.unit() {
            DateUnit::DAY => fixed(32),
            DateUnit::MILLISECOND => fixed(64),
            _ => Err(malformed()),
        },
        Type::Time => fixed(int_bits(
            field.type_as_time().ok_or_else(malformed)?.bitWidth(),
        )?),
        Type::Timestamp => {
            check_zone(field.type_as_timestamp().ok_or_else(malformed)?.timezone())?;
            fixed(64)
        }
        Type::Duration => fixed(64),
        Type::Interval => match field.type_as_interval().ok_or_else(malformed)?.unit() {
            IntervalUnit::YEAR_MONTH => fixed(32),
            IntervalUnit::DAY_TIME => fixed(64),
            IntervalUnit::MONTH_DAY_NANO => fixed(128),
            _ => Err(malformed()),
        },
        Type::Decimal => {
            let decimal = field.type_as_decimal().ok_or_else(malformed)?;
            let (bits, max_precision) = match decimal.bitWidth() {
                32 => (32, 9),
                64 => (64, 18),
                128 => (128, 38),
                256 => (256, 76),
                _ => return Err(malformed()),
            };
            let (precision, scale) = (decimal.precision(), decimal.scale());
            if !(1..=max_precision).contains(&precision)
                || !(-max_precision..=max_precision).contains(&scale)
            {
                return Err(Error::invalid_command(format!(
                    "a decimal of {bits} bits has precision {precision} and scale {scale}; it can have 1 to \
                     {max_precision} digits and as many decimal places"
                )));
            }
            fixed(bits)
        }
        Type::FixedSizeBinary => {
            let binary = field.type_as_fixed_size_binary().ok_or_else(malformed)?;
            fixed(positive("a binary of fixed size", binary.byteWidth())?.saturating_mul(8))
        }
        Type::FixedSizeList => {
            let list = field.type_as_fixed_size_list().ok_or_else(malformed)?;
            positive("a list of fixed size", list.listSize())?;
            Ok(Layout::Validity)
        }
        Type::Struct_ => Ok(Layout::Validity),
        Type::List | Type::Map => Ok(Layout::Offsets { width: 4 }),
        Type::LargeList => Ok(Layout::Offsets { width: 8 }),
        Type::Binary | Type::Utf8 => Ok(Layout::Bytes { width: 4 }),
        Type::LargeBinary | Type::LargeUtf8 => Ok(Layout::Bytes { width: 8 }),
        Type::BinaryView | Type::Utf8View => Ok(Layout::Views),
        other => Err(Error::schema_mismatch(format!(
            "Arrow's type {} is not taken; cast the column to a plain type",
            other.variant_name().unwrap_or("unknown")
        ))),
    }
}

fn int_bits(bits: i32) -> Result<u64> {
    match bits {
        8 | 16 | 32 | 64 => Ok(u64::from(bits.unsigned_abs())),
        _ => Err(malformed()),
    }
}

fn positive(what: &str, size: i32) -> Result<u64> {
    match u64::try_from(size) {
        Ok(size) if size > 0 => Ok(size),
        _ => Err(Error::invalid_command(format!(
            "{what} has size {size}; it must be above 0"
        ))),
    }
}

/// The zone says no more than that values are in UTC; as text it may only be what a zone can look like.
fn check_zone(zone: Option<&str>) -> Result<()> {
    let is_sound = |zone: &str| {
        (1..=MAX_ZONE_BYTES).contains(&zone.len())
            && zone
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"_+-/:".contains(&byte))
    };
    if zone.is_none_or(is_sound) {
        return Ok(());
    }
    Err(Error::invalid_command(
        "the time zone of a timestamp is neither a name such as Europe/Rome nor an offset such as +01:00",
    ))
}
