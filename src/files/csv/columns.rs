//! The columns of a CSV file: the names in its header or those of the command.

use std::collections::HashSet;

use super::dialect::{Dialect, Unnamed};
use super::records::{ENCODING_HINT, Records, fault_of};
use super::split::Record;
use crate::error::{Error, Result};
use crate::files::fault::{line_fault, unreadable};

const UNNAMED_HINT: &str = "name it with --name-unnamed NAME, or leave it out with --drop-unnamed; pandas and R write row names in such a column";
const ROW_NAME_HINT: &str = "a first field without a name is a row name of R: name its column with --name-unnamed NAME, or leave it out with --drop-unnamed; or name the file's separator with --delimiter, or its quote with --quote";

/// The columns of a file.
#[derive(Debug, Clone, Default)]
pub(super) struct Columns {
    /// Their names, without the column that is left out.
    pub(super) names: Vec<String>,
    /// The field that is left out.
    pub(super) dropped: Option<usize>,
}

impl Columns {
    /// Reads the header, if the file has one.
    pub(super) fn read(name: &str, dialect: &Dialect, records: &mut Records) -> Result<Self> {
        if !dialect.header {
            return match &*dialect.columns {
                [] => Err(Error::invalid_command(
                    "a file without a header needs the names of its columns",
                )
                .with_hint("give --columns with --no-header")),
                names => Self::named(name, 1, names.to_vec(), &Unnamed::Reject),
            };
        }
        let header = match records.next() {
            Ok(Some(header)) => header.clone(),
            Ok(None) => return Err(unreadable(name, "the file has no line of names")),
            Err(fault) => return Err(fault_of(name, &fault, None)),
        };
        let mut names = names_of(name, &header)?;
        if !dialect.columns.is_empty() {
            if dialect.columns.len() != names.len() {
                let (named, given) = (names.len(), dialect.columns.len());
                let given = count(given, "column");
                let reason = format!("--columns names {given}, and the header {named}");
                return Err(line_fault(name, header.line, None, &reason));
            }
            names.clone_from(&dialect.columns);
        }
        let width = match records.next() {
            Ok(first) => first.map(Record::len),
            Err(fault) => {
                let column = names.get(fault.field).map(String::as_str);
                return Err(fault_of(name, &fault, column));
            }
        };
        if width.is_some() {
            records.put_back();
        }
        // R's write.table writes row names and no name for them.
        if dialect.unnamed != Unnamed::Reject && width == Some(names.len() + 1) {
            names.insert(0, String::new());
        }
        Self::named(name, header.line, names, &dialect.unnamed)
    }

    fn named(file: &str, line: u64, names: Vec<String>, unnamed: &Unnamed) -> Result<Self> {
        let mut columns = Self::default();
        let mut seen = HashSet::new();
        for (index, mut name) in names.into_iter().enumerate() {
            if name.is_empty() {
                match unnamed {
                    Unnamed::Name(given) => name.clone_from(given),
                    Unnamed::Drop if columns.dropped.is_none() => {
                        columns.dropped = Some(index);
                        continue;
                    }
                    Unnamed::Drop => {
                        let reason = "more than one column has no name";
                        return Err(line_fault(file, line, None, reason)
                            .with_hint("name all columns with --columns"));
                    }
                    Unnamed::Reject => {
                        let reason = format!("column {} has no name", index + 1);
                        return Err(line_fault(file, line, None, &reason).with_hint(UNNAMED_HINT));
                    }
                }
            }
            if !seen.insert(name.clone()) {
                let reason = format!("two columns are named {name}");
                return Err(line_fault(file, line, None, &reason)
                    .with_hint("name the columns with --columns"));
            }
            columns.names.push(name);
        }
        Ok(columns)
    }

    /// Returns the name of the column of a field; `None` for a field that has no name.
    pub(super) fn of_field(&self, field: usize) -> Option<String> {
        match self.dropped {
            Some(dropped) if field == dropped => None,
            Some(dropped) if field > dropped => self.names.get(field - 1).cloned(),
            _ => self.names.get(field).cloned(),
        }
    }

    /// Checks that a record has a field for each column.
    pub(super) fn check(&self, name: &str, record: &Record) -> Result<()> {
        let expected = self.names.len() + usize::from(self.dropped.is_some());
        let found = record.len();
        if found == expected {
            return Ok(());
        }
        let reason = format!(
            "the line has {}, and the file has {}",
            count(found, "field"),
            count(expected, "column")
        );
        let error = line_fault(name, record.line, None, &reason);
        Err(if found == expected + 1 {
            error.with_hint(ROW_NAME_HINT)
        } else {
            error.with_hint("name the file's separator with --delimiter, its quote with --quote, lines to leave out with --skip or --comment")
        })
    }
}

fn count(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

fn names_of(name: &str, header: &Record) -> Result<Vec<String>> {
    let names = (0..header.len()).map(|index| {
        let (range, _) = header.field(index);
        let bytes = header.bytes.get(range).unwrap_or_default();
        let text = std::str::from_utf8(bytes)
            .ok()
            .filter(|text| !text.contains('\0'));
        text.map(str::to_owned).ok_or_else(|| {
            let reason = "the text is not UTF-8, or holds a NUL character";
            line_fault(name, header.line, None, reason).with_hint(ENCODING_HINT)
        })
    });
    names.collect()
}
