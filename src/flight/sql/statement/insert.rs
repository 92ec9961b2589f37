//! `INSERT INTO name (columns) VALUES (?, …)`, whose rows are bound to it as Arrow batches.

use std::collections::HashSet;

use arrow::datatypes::{DataType, Field, Schema, TimeUnit};

use super::tokens::{Name, Token};
use crate::error::{Error, Result};

/// An INSERT of parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::flight::sql) struct Insert {
    /// The table.
    pub(in crate::flight::sql) name: Name,
    /// Its columns; `None` for all.
    columns: Option<Vec<String>>,
    parameter_count: usize,
}

impl Insert {
    /// Returns the schema of the parameters: the columns of the statement, from those of the table.
    ///
    /// # Errors
    /// [`ErrorKind::SchemaMismatch`](crate::error::ErrorKind::SchemaMismatch) for a column that the table does not have,
    /// for one that comes twice, and for another number of parameters than columns.
    pub(in crate::flight::sql) fn parameters(&self, table: &Schema) -> Result<Schema> {
        let names: Vec<&str> = match &self.columns {
            Some(columns) => columns.iter().map(String::as_str).collect(),
            None => table
                .fields()
                .iter()
                .map(|field| field.name().as_str())
                .collect(),
        };
        if names.len() != self.parameter_count {
            return Err(Error::schema_mismatch(format!(
                "the INSERT has {} columns and {} ?",
                names.len(),
                self.parameter_count
            ))
            .with_hint("name the columns in parentheses after the table, with one ? for each"));
        }
        let mut seen = HashSet::new();
        let fields = names.into_iter().map(|name| {
            if !seen.insert(name) {
                return Err(
                    Error::schema_mismatch("the INSERT names a column twice").with_column(name)
                );
            }
            let found = table.fields().iter().find(|field| field.name() == name);
            found.map(|field| parameter(field)).ok_or_else(|| {
                Error::schema_mismatch(
                    "the table has no column of that name, or PostgreSQL generates it",
                )
                .with_hint("unquoted names are in lower case; leave generated columns out")
                .with_column(name)
            })
        });
        Ok(Schema::new(fields.collect::<Result<Vec<_>>>()?))
    }
}

/// Returns the parameter for a column. Arrow's JDBC driver counts milliseconds in a time or a timestamp, whatever the unit
/// of the parameter says.
#[expect(clippy::wildcard_enum_match_arm, reason = "only times are of interest")]
fn parameter(column: &Field) -> Field {
    let data_type = match column.data_type() {
        DataType::Time64(_) => DataType::Time32(TimeUnit::Millisecond),
        DataType::Timestamp(_, zone) => DataType::Timestamp(TimeUnit::Millisecond, zone.clone()),
        other => other.clone(),
    };
    column.clone().with_data_type(data_type)
}

/// Parses an INSERT of parameters; `None` for anything else.
pub(super) fn insert(tokens: &[Token]) -> Option<Insert> {
    let [insert, into, rest @ ..] = tokens else {
        return None;
    };
    if !insert.is("insert") || !into.is("into") {
        return None;
    }
    let ends_name = |token: &Token| *token == Token::Other('(') || token.is("values");
    let (name, rest) = rest.split_at_checked(rest.iter().position(ends_name)?)?;
    let name = Name::parse(name)?;
    let (columns, rest) = match rest {
        [Token::Other('('), ..] => {
            let (columns, rest) = list(rest)?;
            let columns: Option<Vec<String>> = columns.iter().map(Token::name).collect();
            (Some(columns?), rest)
        }
        _ => (None, rest),
    };
    let [values, rest @ ..] = rest else {
        return None;
    };
    let (parameters, rest) = list(rest)?;
    let are_parameters = parameters.iter().all(|token| *token == Token::Other('?'));
    let is_insert = values.is("values") && are_parameters && rest.is_empty();
    is_insert.then_some(Insert {
        name,
        columns,
        parameter_count: parameters.len(),
    })
}

/// Parses a list in parentheses, with commas between its items, which are one token each. Returns the items and what comes
/// after the list.
fn list(tokens: &[Token]) -> Option<(Vec<Token>, &[Token])> {
    let [Token::Other('('), tokens @ ..] = tokens else {
        return None;
    };
    let end = tokens
        .iter()
        .position(|token| *token == Token::Other(')'))?;
    let (items, rest) = tokens.split_at_checked(end)?;
    let items = items.split(|token| *token == Token::Other(','));
    let items = items.map(|item| match item {
        [item] => Some(item.clone()),
        _ => None,
    });
    let items = items.collect::<Option<Vec<Token>>>()?;
    Some((items, rest.get(1..)?))
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{DataType, Field, Schema};

    use super::insert;
    use crate::flight::sql::statement::tokens::tokens;

    /// Returns the columns of an INSERT into a table with the columns a, b and "C d".
    fn columns(text: &str) -> Option<Result<String, String>> {
        let field = |name| Field::new(name, DataType::Int32, true);
        let table = Schema::new(["a", "b", "C d"].map(field).to_vec());
        let parameters = insert(&tokens(text)?)?.parameters(&table);
        Some(match parameters {
            Ok(schema) => {
                let names = schema.fields().iter().map(|field| field.name().clone());
                Ok(names.collect::<Vec<_>>().join(","))
            }
            Err(error) => Err(error.report().to_string()),
        })
    }

    #[test]
    fn an_insert_takes_one_parameter_for_each_column() {
        let cases = [
            ("INSERT INTO t VALUES (?, ?, ?)", Ok("a,b,C d")),
            (
                "insert into \"S\".t (B,\"C d\")\nvalues (? , ?)",
                Ok("b,C d"),
            ),
            ("INSERT INTO x.s.t(a) VALUES(?)", Ok("a")),
            ("INSERT INTO t VALUES (?, ?)", Err("3 columns and 2 ?")),
            ("INSERT INTO t (a, b) VALUES (?)", Err("2 columns and 1 ?")),
            ("INSERT INTO t (a, \"a\") VALUES (?, ?)", Err("twice")),
            ("INSERT INTO t (\"A\") VALUES (?)", Err("column A")),
        ];
        for (text, expected) in cases {
            let found = columns(text).unwrap_or_else(|| panic!("{text}"));
            match (found, expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{text}"),
                (Err(found), Err(part)) => assert!(found.contains(part), "{text}: {found}"),
                (found, _) => panic!("{text}: {found:?}"),
            }
        }
    }

    #[test]
    fn any_other_insert_is_none() {
        for text in [
            "INSERT INTO t",
            "INSERT INTO t VALUES",
            "INSERT INTO t VALUES ()",
            "INSERT INTO t () VALUES (?)",
            "INSERT INTO t VALUES (?), (?)",
            "INSERT INTO t VALUES (?) ON CONFLICT DO NOTHING",
            "INSERT INTO t VALUES (?) RETURNING a",
            "INSERT INTO t VALUES (1)",
            "INSERT INTO t VALUES (??)",
            "INSERT INTO t VALUES (? ?)",
            "INSERT INTO t VALUES (?,)",
            "INSERT INTO t VALUES (?",
            "INSERT INTO t (a b) VALUES (?)",
            "INSERT INTO t (a.b) VALUES (?)",
            "INSERT INTO t (1) VALUES (?)",
            "INSERT INTO a.b.c.d VALUES (?)",
            "INSERT INTO (a) VALUES (?)",
            "INSERT INTO t DEFAULT VALUES",
            "INSERT INTO t SELECT ?",
            "INSERT t VALUES (?)",
        ] {
            assert_eq!(columns(text), None, "{text}");
        }
    }
}
