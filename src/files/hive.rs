//! Folders named like `day=2026-01-01`, as Spark and Hive write them: each is a column with one value for its files.

use std::path::{Component, Path};

use percent_encoding::percent_decode_str;

use super::fault::unreadable;
use crate::error::Result;

/// The name of the folder of rows whose column is NULL.
const NULL: &str = "__HIVE_DEFAULT_PARTITION__";

/// A column that a folder's name holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HiveColumn {
    pub(super) name: String,
    /// The value of all rows, as text; `None` for NULL.
    pub(super) value: Option<String>,
}

/// Returns the columns of a file's folders, outermost first. Their names and values may be percent-encoded.
///
/// # Errors
/// [`ErrorKind::InvalidCommand`](crate::error::ErrorKind::InvalidCommand) when a folder's name is not UTF-8, and when
/// two folders name one column.
pub(super) fn hive_columns(path: &Path) -> Result<Vec<HiveColumn>> {
    let folders = path.parent().into_iter().flat_map(Path::components);
    let mut columns: Vec<HiveColumn> = Vec::new();
    for folder in folders {
        let Component::Normal(folder) = folder else {
            continue;
        };
        let folder = folder.to_string_lossy();
        let Some((name, value)) = folder.split_once('=').filter(|(name, _)| !name.is_empty())
        else {
            continue;
        };
        let decode = |text: &str| percent_decode_str(text).decode_utf8().map(String::from);
        let (Ok(column), Ok(decoded)) = (decode(name), decode(value)) else {
            let reason = "the name of one of its folders is not UTF-8";
            return Err(unreadable(&path.display().to_string(), reason));
        };
        if columns.iter().any(|other| other.name == column) {
            let reason = format!("two of its folders name the column {column}");
            return Err(unreadable(&path.display().to_string(), &reason));
        }
        columns.push(HiveColumn {
            name: column,
            value: (value != NULL).then_some(decoded),
        });
    }
    Ok(columns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_named_name_equals_value_are_columns() {
        let columns = |path: &str| {
            let columns = hive_columns(Path::new(path)).unwrap().into_iter();
            columns
                .map(|column| (column.name, column.value))
                .collect::<Vec<_>>()
        };
        let text = |name: &str, value: &str| (name.to_owned(), Some(value.to_owned()));
        assert_eq!(columns("a.csv"), []);
        assert_eq!(columns("/data/=x/a=b.csv"), []);
        assert_eq!(
            columns("t/day=2026-01-01/at=10%3A30/a.csv"),
            [text("day", "2026-01-01"), text("at", "10:30")]
        );
        let null = ("day".to_owned(), None);
        assert_eq!(columns("day=__HIVE_DEFAULT_PARTITION__/a.csv"), [null]);
        assert_eq!(columns("day=/a.csv"), [text("day", "")]);
        assert!(hive_columns(Path::new("a=1/a=2/x.csv")).is_err());
        assert!(hive_columns(Path::new("a=%ff/x.csv")).is_err());
    }
}
