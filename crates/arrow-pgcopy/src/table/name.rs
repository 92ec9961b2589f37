//! Names of tables and columns, checked once and quoted the same everywhere.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// The longest name that PostgreSQL keeps, in bytes (`NAMEDATALEN` − 1). It cuts longer ones, so that two names may
/// become one.
pub const MAX_NAME_BYTES: usize = 63;

/// A name that PostgreSQL can store unchanged: 1 to 63 bytes, no NUL. It keeps its case.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Ident(String);

impl TryFrom<String> for Ident {
    type Error = Error;

    fn try_from(name: String) -> Result<Self> {
        Self::new(name)
    }
}

impl From<Ident> for String {
    fn from(name: Ident) -> Self {
        name.0
    }
}

impl Ident {
    /// Checks a name and takes it over.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) when the name is empty, longer than 63 bytes, or
    /// contains a NUL.
    pub fn new(name: impl Into<String>) -> Result<Self> {
        let name = name.into();
        let problem = if name.is_empty() {
            "is empty"
        } else if name.len() > MAX_NAME_BYTES {
            "is longer than the 63 bytes that PostgreSQL keeps"
        } else if name.contains('\0') {
            "contains a NUL byte"
        } else {
            return Ok(Self(name));
        };
        Err(Error::invalid_input(format!("the name {name:?} {problem}")))
    }

    /// Returns the name as the catalog has it, without quotes.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Prints the name for SQL, quoted where it must be: `trips`, but `"Trips"`, `"select"`, `"a""b"`.
///
/// A name stays bare when it is a lower-case word and not a keyword that PostgreSQL reserves. (`quote_ident` in
/// PostgreSQL's ruleutils.c does the same with its own list.)
impl fmt::Display for Ident {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = self
            .0
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
            && !self.0.as_bytes()[0].is_ascii_digit()
            && !RESERVED.contains(&self.0.as_str());
        if plain {
            f.write_str(&self.0)
        } else {
            write!(f, "\"{}\"", self.0.replace('"', "\"\""))
        }
    }
}

/// The keywords that cannot be the bare name of a table or column (PostgreSQL 18 manual, appendix C).
const RESERVED: &[&str] = &[
    "all",
    "analyse",
    "analyze",
    "and",
    "any",
    "array",
    "as",
    "asc",
    "asymmetric",
    "authorization",
    "between",
    "bigint",
    "binary",
    "bit",
    "boolean",
    "both",
    "case",
    "cast",
    "char",
    "character",
    "check",
    "coalesce",
    "collate",
    "collation",
    "column",
    "concurrently",
    "constraint",
    "create",
    "cross",
    "current_catalog",
    "current_date",
    "current_role",
    "current_schema",
    "current_time",
    "current_timestamp",
    "current_user",
    "dec",
    "decimal",
    "default",
    "deferrable",
    "desc",
    "distinct",
    "do",
    "else",
    "end",
    "except",
    "exists",
    "extract",
    "false",
    "fetch",
    "float",
    "for",
    "foreign",
    "freeze",
    "from",
    "full",
    "grant",
    "greatest",
    "group",
    "grouping",
    "having",
    "ilike",
    "in",
    "initially",
    "inner",
    "inout",
    "int",
    "integer",
    "intersect",
    "interval",
    "into",
    "is",
    "isnull",
    "join",
    "lateral",
    "leading",
    "least",
    "left",
    "like",
    "limit",
    "localtime",
    "localtimestamp",
    "merge_action",
    "national",
    "natural",
    "nchar",
    "none",
    "normalize",
    "not",
    "notnull",
    "null",
    "nullif",
    "numeric",
    "offset",
    "on",
    "only",
    "or",
    "order",
    "out",
    "outer",
    "overlaps",
    "overlay",
    "placing",
    "position",
    "precision",
    "primary",
    "real",
    "references",
    "returning",
    "right",
    "row",
    "select",
    "session_user",
    "setof",
    "similar",
    "smallint",
    "some",
    "substring",
    "symmetric",
    "system_user",
    "table",
    "tablesample",
    "then",
    "time",
    "timestamp",
    "to",
    "trailing",
    "treat",
    "trim",
    "true",
    "union",
    "unique",
    "user",
    "using",
    "values",
    "varchar",
    "variadic",
    "verbose",
    "when",
    "where",
    "window",
    "with",
    "xmlattributes",
    "xmlconcat",
    "xmlelement",
    "xmlexists",
    "xmlforest",
    "xmlnamespaces",
    "xmlparse",
    "xmlpi",
    "xmlroot",
    "xmlserialize",
    "xmltable",
];

/// The name of a table as a caller gives it: with a schema, or without one, for PostgreSQL's search_path to find.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TableName {
    /// The schema, if one was given.
    pub schema: Option<Ident>,
    /// The table.
    pub name: Ident,
}

impl TableName {
    /// Parses `name` or `schema.name`. A part in double quotes may contain dots, and `""` for a quote.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) when there are more than two parts, a part is
    /// not a valid name, or a quote is not closed.
    pub fn parse(text: &str) -> Result<Self> {
        Self::from_parts(split(text)?)
    }

    /// Takes the parts of a path as they are: `["table"]` or `["schema", "table"]`.
    ///
    /// # Errors
    /// The same as [`TableName::parse`].
    pub fn from_parts(parts: Vec<String>) -> Result<Self> {
        let count = parts.len();
        let mut parts = parts.into_iter();
        match (count, parts.next(), parts.next()) {
            (1, Some(name), None) => Ok(Self {
                schema: None,
                name: Ident::new(name)?,
            }),
            (2, Some(schema), Some(name)) => Ok(Self {
                schema: Some(Ident::new(schema)?),
                name: Ident::new(name)?,
            }),
            _ => Err(Error::invalid_input(format!(
                "a table is named by `name` or `schema.name`, not by {count} parts"
            ))
            .with_hint("put a name that contains a dot in double quotes")),
        }
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.schema {
            Some(schema) => write!(f, "{schema}.{}", self.name),
            None => write!(f, "{}", self.name),
        }
    }
}

/// The name of a table with its schema, as the catalog has it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct QualifiedName {
    /// The schema.
    pub schema: Ident,
    /// The table.
    pub name: Ident,
}

impl fmt::Display for QualifiedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.schema, self.name)
    }
}

fn split(text: &str) -> Result<Vec<String>> {
    let unclosed = || {
        Error::invalid_input(format!(
            "the table name {text:?} has an unpaired double quote"
        ))
    };
    let mut parts = vec![String::new()];
    let mut chars = text.chars().peekable();
    let mut at_start = true;
    while let Some(c) = chars.next() {
        let part = parts.last_mut().ok_or_else(unclosed)?;
        match c {
            '"' if at_start => {
                loop {
                    match chars.next().ok_or_else(unclosed)? {
                        '"' if chars.peek() == Some(&'"') => {
                            chars.next();
                            part.push('"');
                        }
                        '"' => break,
                        c => part.push(c),
                    }
                }
                if !matches!(chars.peek(), None | Some('.')) {
                    return Err(unclosed());
                }
                at_start = false;
            }
            '"' => return Err(unclosed()),
            '.' => {
                parts.push(String::new());
                at_start = true;
            }
            c => {
                part.push(c);
                at_start = false;
            }
        }
    }
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::TableName;

    fn check(text: &str, expected: Result<&str, &str>) {
        match (TableName::parse(text), expected) {
            (Ok(name), Ok(expected)) => assert_eq!(name.to_string(), expected, "{text}"),
            (Err(error), Err(expected)) => {
                assert!(error.to_string().contains(expected), "{text}: {error}")
            }
            (got, expected) => panic!("{text}: {got:?} instead of {expected:?}"),
        }
    }

    #[test]
    fn table_names_keep_case_and_are_quoted_for_sql() {
        check("trips", Ok("trips"));
        check("public.trips_2013", Ok("public.trips_2013"));
        check("Public.Trips", Ok("\"Public\".\"Trips\""));
        check("select", Ok("\"select\""));
        check("2013", Ok("\"2013\""));
        check(
            "\"a.b\".\"say \"\"hi\"\"\"",
            Ok("\"a.b\".\"say \"\"hi\"\"\""),
        );
        check("x; drop table y", Ok("\"x; drop table y\""));
        check("été", Ok("\"été\""));
    }

    #[test]
    fn table_names_that_postgresql_cannot_store_are_rejected() {
        check("", Err("is empty"));
        check("a..b", Err("3 parts"));
        check(".b", Err("is empty"));
        check("a.b.c", Err("3 parts"));
        check("\"a", Err("double quote"));
        check("a\"b", Err("double quote"));
        check("\"a\"b", Err("double quote"));
        check("a\0b", Err("NUL"));
        check(&"x".repeat(64), Err("63 bytes"));
    }
}
