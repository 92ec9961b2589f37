//! `hstore`, as `hstore_recv` of contrib/hstore reads it.
//!
//! The wire form has the number of pairs, and for each its key and its value with length words.

use arrow_array::cast::AsArray;
use arrow_array::{Array, StringArray};
use arrow_buffer::NullBuffer;

use crate::encode::column::{BoxedColumn, Level, Values, Varying, WORD, length_word, valid};
use crate::encode::problem::Problem;

/// Makes a column from maps, or from structs, whose field names are the keys.
pub(crate) fn pairs(array: &dyn Array, text: BindText) -> Result<BoxedColumn<'_>, Problem> {
    let nulls = valid(array);
    if let Some(structs) = array.as_struct_opt() {
        let fields = structs.fields().iter().zip(structs.columns());
        let pairs = fields.map(|(field, values)| {
            let key = StringArray::from(vec![field.name().as_str()]);
            let key = text(&key)?;
            let mut bytes = vec![0; key.measure_run(0..1)?];
            key.write_run(0..1, &mut bytes);
            Ok((bytes, text(values)?))
        });
        let values = Structs {
            pairs: pairs.collect::<Result<_, _>>()?,
        };
        return Ok(Box::new(Varying { values, nulls }));
    }
    let level = Level::of(array).ok_or(Problem::Unplanned)?;
    let entries = level.items.as_struct_opt().ok_or(Problem::Unplanned)?;
    let [keys, values] = entries.columns() else {
        return Err(Problem::Unplanned);
    };
    let values = Maps {
        level,
        key_nulls: keys.logical_nulls(),
        keys: text(keys)?,
        values: text(values)?,
    };
    Ok(Box::new(Varying { values, nulls }))
}

/// Binds keys or values, which are text or NULL in every row.
pub(crate) type BindText = fn(&dyn Array) -> Result<BoxedColumn<'_>, Problem>;

struct Maps<'a> {
    level: Level<'a>,
    key_nulls: Option<NullBuffer>,
    keys: BoxedColumn<'a>,
    values: BoxedColumn<'a>,
}

impl Maps<'_> {
    /// Rejects NULL and duplicate keys. PostgreSQL would silently keep one of the pairs with the same key.
    fn check_keys(&self, entries: std::ops::Range<usize>) -> Result<(), Problem> {
        let is_null = |entry| {
            self.key_nulls
                .as_ref()
                .is_some_and(|nulls| nulls.is_null(entry))
        };
        if entries.clone().any(is_null) {
            return Err(Problem::NullKey);
        }
        let mut bytes = vec![0; self.keys.measure_run(entries.clone())?];
        let mut borders = vec![0];
        for entry in entries {
            let start = borders.last().copied().unwrap_or_default();
            borders.push(start + self.keys.write_run(entry..entry + 1, &mut bytes[start..]));
        }
        let mut keys: Vec<&[u8]> = borders
            .windows(2)
            .map(|border| &bytes[border[0]..border[1]])
            .collect();
        keys.sort_unstable();
        if keys.windows(2).any(|pair| pair[0] == pair[1]) {
            Err(Problem::DuplicateKey)
        } else {
            Ok(())
        }
    }
}

impl Values for Maps<'_> {
    fn size(&self, row: usize) -> Result<usize, Problem> {
        let entries = self.level.range(row);
        self.check_keys(entries.clone())?;
        Ok(WORD + self.keys.measure_run(entries.clone())? + self.values.measure_run(entries)?)
    }

    fn put(&self, row: usize, out: &mut [u8]) -> usize {
        let entries = self.level.range(row);
        out[..WORD].copy_from_slice(&length_word(entries.len()));
        let mut at = WORD;
        for entry in entries {
            at += self.keys.write_run(entry..entry + 1, &mut out[at..]);
            at += self.values.write_run(entry..entry + 1, &mut out[at..]);
        }
        at
    }
}

struct Structs<'a> {
    /// Each key with its length word, and the column of its values.
    pairs: Vec<(Vec<u8>, BoxedColumn<'a>)>,
}

impl Values for Structs<'_> {
    fn size(&self, row: usize) -> Result<usize, Problem> {
        self.pairs.iter().try_fold(WORD, |size, (key, values)| {
            Ok(size + key.len() + values.measure_run(row..row + 1)?)
        })
    }

    fn put(&self, row: usize, out: &mut [u8]) -> usize {
        out[..WORD].copy_from_slice(&length_word(self.pairs.len()));
        let mut at = WORD;
        for (key, values) in &self.pairs {
            out[at..at + key.len()].copy_from_slice(key);
            at += key.len();
            at += values.write_run(row..row + 1, &mut out[at..]);
        }
        at
    }
}
