//! Checks the size and the types of a schema, and derives the buffers of its batches.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::ipc::{DateUnit, Endianness, Field, IntervalUnit, KeyValue, Precision, Type};

use super::layout::{Layout, Node};
use super::malformed;
use crate::error::{Error, Result};

/// `MaxTupleAttributeNumber` of PostgreSQL is 1664, and a table has at most 1600 columns.
const MAX_COLUMNS: usize = 1600;
/// The depth of nested values, which become jsonb.
const MAX_DEPTH: usize = 16;
const MAX_FIELDS: usize = 10_000;
/// The size limit of the metadata. pandas describes a column in about 250 bytes.
const MAX_METADATA_BYTES: usize = 512 * 1024;
const MAX_METADATA_ENTRIES: usize = 10_000;
/// The length limit of a time zone. The longest name of the IANA database has 32 bytes.
const MAX_ZONE_BYTES: usize = 64;

/// The nodes of a schema's batches, and the nodes of each dictionary by its id.
type Layouts = (Vec<Node>, HashMap<i64, Vec<Node>>);

/// Checks a schema and returns its nodes.
pub(super) fn walk(schema: arrow::ipc::Schema<'_>) -> Result<Layouts> {
    if schema.endianness() != Endianness::Little {
        return Err(
            Error::invalid_command("the schema declares big-endian data")
                .with_hint("send little-endian data"),
        );
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
                     {MAX_METADATA_ENTRIES} entries"
                ))
                .with_hint("leave metadata out that is not for pgflight"));
            }
        }
        Ok(())
    }

    /// Adds a field and its children. It counts visits, since a flatbuffer may hold one field and refer to it a million
    /// times.
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
                "a dictionary within a dictionary is not supported",
            )
            .with_hint("send plain values"));
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
        // A field may list children that its type does not have; the batches have no arrays for them.
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

/// Returns the buffers of a type. Rejects types that no column supports, and parameters out of range.
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
                    "a decimal of {bits} bits has precision {precision} and scale {scale}"
                ))
                .with_hint(format!(
                    "use a precision from 1 to {max_precision} and a scale from -{max_precision} to {max_precision}"
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
            "the Arrow type {} is not supported",
            other.variant_name().unwrap_or("unknown")
        ))
        .with_hint("cast the column to a plain type")),
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
            "{what} has size {size}, which is not above 0"
        ))),
    }
}

/// Checks the form of a time zone. Only its presence matters: the values are in UTC.
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
    Err(
        Error::invalid_command("the time zone of a timestamp is not valid")
            .with_hint("use a name such as Europe/Rome, or an offset such as +01:00"),
    )
}
