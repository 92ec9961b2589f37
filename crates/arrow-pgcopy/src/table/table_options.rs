//! The options after the columns of CREATE TABLE, checked before they become part of a statement.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::name::Ident;
use crate::error::{Error, Result};

/// Storage parameters and tablespace for CREATE TABLE. `Display` prints them as SQL; the default is none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TableOptions(String);

impl TableOptions {
    /// Returns whether there are no options.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for TableOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<TableOptions> for String {
    fn from(options: TableOptions) -> Self {
        options.0
    }
}

impl TryFrom<String> for TableOptions {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

/// Parses `WITH (fillfactor = 70, toast.autovacuum_enabled = off) TABLESPACE fast`. Either part may be left out.
///
/// Names and values are words and numbers; a value may be in single quotes (PostgreSQL manual, CREATE TABLE,
/// "Storage Parameters"). PostgreSQL checks whether a parameter exists when it creates the table.
///
/// # Errors
/// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput), with the text that cannot be parsed.
impl FromStr for TableOptions {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let mut clauses = Vec::new();
        let mut rest = text.trim();
        if let Some(after) = keyword(rest, "with") {
            let inside = after.strip_prefix('(').and_then(|it| it.split_once(')'));
            let (parameters, after) = inside.ok_or_else(|| unreadable(after))?;
            let parameters: Vec<String> = parameters
                .split(',')
                .map(parameter)
                .collect::<Result<_>>()?;
            clauses.push(format!("WITH ({})", parameters.join(", ")));
            rest = after.trim_start();
        }
        if let Some(after) = keyword(rest, "tablespace") {
            let name = match after.strip_prefix('"').and_then(|it| it.strip_suffix('"')) {
                Some(quoted) if !quoted.contains('"') => quoted.to_owned(),
                None if is_word(after) => after.to_ascii_lowercase(),
                Some(_) | None => return Err(unreadable(after)),
            };
            clauses.push(format!("TABLESPACE {}", Ident::new(name)?));
            rest = "";
        }
        if rest.is_empty() {
            Ok(Self(clauses.join(" ")))
        } else {
            Err(unreadable(rest))
        }
    }
}

/// Returns the text after a keyword of any case, without leading blanks.
fn keyword<'a>(text: &'a str, word: &str) -> Option<&'a str> {
    let (head, rest) = text.split_at_checked(word.len())?;
    let ends = !rest.starts_with(is_word_char);
    (head.eq_ignore_ascii_case(word) && ends).then(|| rest.trim_start())
}

fn parameter(text: &str) -> Result<String> {
    let (name, value) = match text.split_once('=') {
        Some((name, value)) => (name.trim(), Some(value.trim())),
        None => (text.trim(), None),
    };
    if !name.split('.').all(is_word) {
        return Err(unreadable(text));
    }
    let Some(value) = value else {
        return Ok(name.to_ascii_lowercase());
    };
    let quoted = value
        .strip_prefix('\'')
        .and_then(|it| it.strip_suffix('\''));
    let value = quoted.unwrap_or(value);
    let is_plain = |c: char| is_word_char(c) || matches!(c, '.' | '+' | '-');
    if !value.is_empty() && value.chars().all(is_plain) {
        Ok(format!("{} = '{value}'", name.to_ascii_lowercase()))
    } else {
        Err(unreadable(text))
    }
}

fn is_word(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.chars().all(is_word_char)
}

fn is_word_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

fn unreadable(rest: &str) -> Error {
    Error::invalid_input(format!(
        "the table options cannot be read from {:?} on",
        rest.trim()
    ))
    .with_hint("write WITH (parameter = value, …), TABLESPACE name, or both")
}

#[cfg(test)]
mod tests {
    use super::TableOptions;

    #[test]
    fn table_options_are_parameters_and_a_tablespace() {
        let check = |text: &str, expected: Option<&str>| {
            let read: Result<TableOptions, _> = text.parse();
            let read = read.map(|options| options.to_string());
            assert_eq!(read.as_deref().ok(), expected, "{text}: {read:?}");
            // The printed form parses to the same options.
            if let Ok(read) = &read {
                assert_eq!(read.parse::<TableOptions>().unwrap().to_string(), *read);
            }
        };
        check("", Some(""));
        check(" with(Fillfactor=70)", Some("WITH (fillfactor = '70')"));
        check(
            "WITH (autovacuum_enabled, toast.autovacuum_enabled = 'off', a = -1.5e+3) TABLESPACE Fast",
            Some(
                "WITH (autovacuum_enabled, toast.autovacuum_enabled = 'off', a = '-1.5e+3') TABLESPACE fast",
            ),
        );
        check("tablespace \"Fast ones\"", Some("TABLESPACE \"Fast ones\""));
        for wrong in [
            "PARTITION BY LIST (a)",
            "WITH",
            "WITH ()",
            "WITH (a = 1",
            "WITH (a = b c)",
            "WITH (a = '; DROP TABLE t')",
            "WITH (a = 1); DROP TABLE t",
            "WITH (\"a\" = 1)",
            "WITH (a.b.c. = 1)",
            "TABLESPACE",
            "TABLESPACE a b",
            "TABLESPACE \"\"",
            "TABLESPACE a; DROP TABLE t",
            "within (a = 1)",
            "ENGINE=InnoDB",
            "TABLESPACE \"a\"b\"",
        ] {
            check(wrong, None);
        }
    }
}
