//! JSON lines: an object on each line. Its members are columns of text, numbers with all their digits, and objects and
//! arrays as JSON.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::io::{BufRead, BufReader, Read};
use std::sync::Arc;

use arrow::array::{ArrayBuilder, RecordBatch, StringBuilder};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::error::Category;
use serde_json::value::RawValue;

use super::fault::{line_fault, reason, unreadable};
use super::rows::{BATCH_BYTES, BATCH_ROWS, Batches, Rows};
use super::source::Source;
use super::text::{finish, until_error};
use crate::error::{Error, Result};

/// A file of JSON lines.
#[derive(Debug)]
pub(super) struct JsonLines {
    source: Source,
    schema: SchemaRef,
}

impl JsonLines {
    /// Reads the whole file for the names of its columns, since a line may leave out members.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidCommand`](crate::error::ErrorKind::InvalidCommand) when a line is no object.
    pub(super) fn open(source: Source) -> Result<Self> {
        if source.head.trim_ascii_start().starts_with(b"[") {
            let reason = "the file is one JSON array, not lines of objects";
            return Err(unreadable(&source.name, reason)
                .with_hint("convert it: jq -c '.[]' FILE | pgflight load - --format json …"));
        }
        let source = source.into_repeatable()?;
        let (mut names, mut seen) = (Vec::new(), HashSet::new());
        let mut lines = Lines::new(&source)?;
        while let Some((_, object)) = lines.next(&source.name)? {
            for (name, _) in object.0 {
                if seen.insert(name.clone()) {
                    names.push(Field::new(name, DataType::Utf8, true));
                }
            }
        }
        if names.is_empty() {
            return Err(unreadable(
                &source.name,
                "the file has no members of objects",
            ));
        }
        let schema = Arc::new(Schema::new(names));
        Ok(Self { source, schema })
    }
}

impl Rows for JsonLines {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn batches(&self) -> Result<Batches> {
        let fields = self.schema.fields().iter().enumerate();
        let mut batches = JsonBatches {
            name: self.source.name.clone(),
            lines: Lines::new(&self.source)?,
            places: fields
                .map(|(place, field)| (field.name().clone(), place))
                .collect(),
            schema: self.schema(),
        };
        Ok(until_error(move || batches.batch()))
    }

    fn line_of(&self, row: u64) -> Option<u64> {
        let mut lines = Lines::new(&self.source).ok()?;
        for _ in 0..=row {
            lines.next(&self.source.name).ok()??;
        }
        Some(lines.number)
    }
}

/// The lines of a file.
struct Lines {
    content: BufReader<Box<dyn Read + Send>>,
    line: Vec<u8>,
    /// The number of the current line, from 1.
    number: u64,
}

impl Lines {
    fn new(source: &Source) -> Result<Self> {
        Ok(Self {
            content: BufReader::with_capacity(256 * 1024, source.reader()?),
            line: Vec::new(),
            number: 0,
        })
    }

    /// Returns the next object and its line; `None` at the end. Lines of blanks are left out.
    fn next(&mut self, name: &str) -> Result<Option<(u64, Object<'_>)>> {
        loop {
            self.line.clear();
            self.number += 1;
            let read = self.content.read_until(b'\n', &mut self.line);
            let number = self.number;
            let count = read.map_err(|error| line_fault(name, number, None, &reason(&error)))?;
            if count == 0 {
                return Ok(None);
            }
            if !self.line.trim_ascii().is_empty() {
                break;
            }
        }
        match serde_json::from_slice(&self.line) {
            Ok(object) => Ok(Some((self.number, object))),
            Err(error) => Err(invalid(name, self.number, &error)),
        }
    }
}

/// The error for a line that is no object. It leaves out the library's message, which may hold a value.
fn invalid(name: &str, line: u64, error: &serde_json::Error) -> Error {
    let reason = match error.classify() {
        Category::Data => "the line is no JSON object with distinct names".to_owned(),
        Category::Io | Category::Syntax | Category::Eof => format!(
            "the line is not JSON from its character {} on",
            error.column()
        ),
    };
    line_fault(name, line, None, &reason).with_hint("write an object on each line, in UTF-8")
}

/// The members of an object, in their order.
struct Object<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Object<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Vec<(String, &'de RawValue)>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members: Self::Value = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(members)
            }
        }
        deserializer.deserialize_map(Members).map(Self)
    }
}

/// The batches of a file.
struct JsonBatches {
    name: String,
    lines: Lines,
    /// The place of each column.
    places: HashMap<String, usize>,
    schema: SchemaRef,
}

impl JsonBatches {
    fn batch(&mut self) -> Result<Option<RecordBatch>> {
        let mut builders: Vec<StringBuilder> = Vec::new();
        builders.resize_with(self.places.len(), StringBuilder::new);
        let (mut rows, mut bytes) = (0, 0);
        while rows < BATCH_ROWS && bytes < BATCH_BYTES {
            let Some((number, object)) = self.lines.next(&self.name)? else {
                break;
            };
            for (name, value) in object.0 {
                let error = |reason| line_fault(&self.name, number, Some(&name), reason);
                let place = self
                    .places
                    .get(&name)
                    .and_then(|place| builders.get_mut(*place));
                let Some(builder) = place else {
                    return Err(error("the column was not in the file when the load began"));
                };
                if builder.len() > rows {
                    return Err(error("the object has two members of this name"));
                }
                let text = value.get();
                bytes += text.len();
                if text == "null" {
                    builder.append_null();
                } else if text.starts_with('"') {
                    let text: String = serde_json::from_str(text)
                        .map_err(|_| error("the string is no valid Unicode"))?;
                    builder.append_value(text);
                } else {
                    builder.append_value(text);
                }
            }
            rows += 1;
            for builder in builders.iter_mut().filter(|builder| builder.len() < rows) {
                builder.append_null();
            }
        }
        finish(&mut builders, rows, &self.schema, &self.name)
    }
}
