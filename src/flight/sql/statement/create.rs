//! `CREATE TABLE name (column type [NOT NULL], …)`, as clients write it that make their tables themselves.

use super::tokens::{Name, Token};

/// A table to create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::flight::sql) struct Create {
    pub(in crate::flight::sql) name: Name,
    pub(in crate::flight::sql) if_not_exists: bool,
    pub(in crate::flight::sql) columns: Vec<Column>,
    /// Its columns; empty without one.
    pub(in crate::flight::sql) primary_key: Vec<String>,
}

/// A column of a table to create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::flight::sql) struct Column {
    pub(in crate::flight::sql) name: String,
    /// The type in PostgreSQL, with its modifier.
    pub(in crate::flight::sql) sql_type: String,
    pub(in crate::flight::sql) is_nullable: bool,
}

/// The types that are served, with their names in PostgreSQL and the most parameters that they take.
const TYPES: [(&[&str], &str, usize); 36] = [
    (&["bool"], "bool", 0),
    (&["boolean"], "bool", 0),
    (&["tinyint"], "int2", 0),
    (&["smallint"], "int2", 0),
    (&["int2"], "int2", 0),
    (&["int"], "int4", 0),
    (&["integer"], "int4", 0),
    (&["int4"], "int4", 0),
    (&["bigint"], "int8", 0),
    (&["int8"], "int8", 0),
    (&["real"], "float4", 0),
    (&["float4"], "float4", 0),
    (&["double", "precision"], "float8", 0),
    (&["double"], "float8", 0),
    (&["float8"], "float8", 0),
    (&["numeric"], "numeric", 2),
    (&["decimal"], "numeric", 2),
    (&["text"], "text", 0),
    (&["clob"], "text", 0),
    (&["string"], "text", 0),
    (&["varchar"], "varchar", 1),
    (&["character", "varying"], "varchar", 1),
    (&["char"], "bpchar", 1),
    (&["character"], "bpchar", 1),
    (&["bpchar"], "bpchar", 1),
    (&["bytea"], "bytea", 0),
    (&["blob"], "bytea", 0),
    (&["date"], "date", 0),
    (&["time"], "time", 1),
    (&["timestamp"], "timestamp", 1),
    (&["datetime"], "timestamp", 0),
    (&["timestamptz"], "timestamptz", 1),
    (&["interval"], "interval", 0),
    (&["uuid"], "uuid", 0),
    (&["json"], "json", 0),
    (&["jsonb"], "jsonb", 0),
];

/// Parses a table to create; `None` for anything else.
pub(super) fn create(tokens: &[Token]) -> Option<Create> {
    let rest = after(tokens, &["create", "table"])?;
    let (if_not_exists, rest) = match after(rest, &["if", "not", "exists"]) {
        Some(rest) => (true, rest),
        None => (false, rest),
    };
    let begins = |token: &Token| *token == Token::Other('(');
    let (name, rest) = rest.split_at_checked(rest.iter().position(begins)?)?;
    let [_, items @ .., Token::Other(')')] = rest else {
        return None;
    };
    let mut create = Create {
        name: Name::parse(name)?,
        if_not_exists,
        columns: Vec::new(),
        primary_key: Vec::new(),
    };
    for item in items_of(items)? {
        if let Some(key) = after(item, &["primary", "key"]) {
            let [Token::Other('('), key @ .., Token::Other(')')] = key else {
                return None;
            };
            create.set_key(names(key)?)?;
            continue;
        }
        let [name, rest @ ..] = item else {
            return None;
        };
        let (sql_type, mut rest) = sql_type(rest)?;
        let name = name.name()?;
        let mut is_nullable = true;
        while !rest.is_empty() {
            if let Some(after) = after(rest, &["not", "null"]) {
                (is_nullable, rest) = (false, after);
            } else if let Some(after) = after(rest, &["primary", "key"]) {
                create.set_key(vec![name.clone()])?;
                rest = after;
            } else {
                rest = after(rest, &["null"])?;
            }
        }
        create.columns.push(Column {
            name,
            sql_type,
            is_nullable,
        });
    }
    (!create.columns.is_empty()).then_some(create)
}

impl Create {
    /// Sets the primary key; `None` if there is one.
    fn set_key(&mut self, key: Vec<String>) -> Option<()> {
        if !self.primary_key.is_empty() {
            return None;
        }
        self.primary_key = key;
        Some(())
    }
}

/// Returns what comes after these words; `None` if the tokens do not begin with them.
fn after<'a>(tokens: &'a [Token], words: &[&str]) -> Option<&'a [Token]> {
    let (start, rest) = tokens.split_at_checked(words.len())?;
    let mut pairs = start.iter().zip(words);
    pairs.all(|(token, word)| token.is(word)).then_some(rest)
}

/// Splits a list at the commas that are in no parentheses; `None` if the parentheses do not match.
fn items_of(tokens: &[Token]) -> Option<Vec<&[Token]>> {
    let (mut items, mut depth, mut from) = (Vec::new(), 0_u32, 0);
    for (at, token) in tokens.iter().enumerate() {
        match token {
            Token::Other('(') => depth += 1,
            Token::Other(')') => depth = depth.checked_sub(1)?,
            Token::Other(',') if depth == 0 => {
                items.push(tokens.get(from..at)?);
                from = at + 1;
            }
            Token::Other(_) | Token::Word(_) | Token::Quoted(_) => {}
        }
    }
    items.push(tokens.get(from..)?);
    (depth == 0).then_some(items)
}

/// Parses names with commas between them.
fn names(tokens: &[Token]) -> Option<Vec<String>> {
    let names = tokens.split(|token| *token == Token::Other(','));
    let names = names.map(|name| match name {
        [name] => name.name(),
        _ => None,
    });
    names.collect()
}

/// Parses a type. Returns its name in PostgreSQL with its parameters, and what comes after it.
fn sql_type(tokens: &[Token]) -> Option<(String, &[Token])> {
    if let Some(rest) = after(tokens, &["float"]) {
        let (bits, rest) = parameters(rest)?;
        let name = match *bits {
            [] | [25..=53] => "float8",
            [1..=24] => "float4",
            _ => return None,
        };
        return Some((name.to_owned(), rest));
    }
    let mut found = TYPES
        .iter()
        .filter_map(|(words, name, most)| Some((after(tokens, words)?, *name, *most)));
    let (rest, mut name, most) = found.next()?;
    let (parameters, mut rest) = parameters(rest)?;
    if let ("time" | "timestamp", Some(after)) = (name, after(rest, &["without", "time", "zone"])) {
        rest = after;
    }
    if let ("timestamp", Some(after)) = (name, after(rest, &["with", "time", "zone"])) {
        (name, rest) = ("timestamptz", after);
    }
    if parameters.len() > most {
        return None;
    }
    let sql_type = match &*parameters {
        [] if name == "bpchar" => "bpchar(1)".to_owned(),
        [] => name.to_owned(),
        [one] => format!("{name}({one})"),
        [one, two, ..] => format!("{name}({one},{two})"),
    };
    Some((sql_type, rest))
}

/// Parses the parameters of a type, if there are any: small numbers in parentheses.
fn parameters(tokens: &[Token]) -> Option<(Vec<u32>, &[Token])> {
    let [Token::Other('('), rest @ ..] = tokens else {
        return Some((Vec::new(), tokens));
    };
    let end = rest.iter().position(|token| *token == Token::Other(')'))?;
    let (numbers, rest) = rest.split_at_checked(end)?;
    let numbers = numbers.split(|token| *token == Token::Other(','));
    let numbers = numbers.map(|number| match number {
        [Token::Word(digits)] => digits.parse().ok(),
        _ => None,
    });
    let numbers: Vec<u32> = numbers.collect::<Option<_>>()?;
    Some((numbers, rest.get(1..)?))
}

#[cfg(test)]
mod tests {
    use super::create;
    use crate::flight::sql::statement::tokens::tokens;

    /// Returns the columns and the key of a table to create.
    fn columns(text: &str) -> Option<String> {
        let create = create(&tokens(text)?)?;
        let mut items: Vec<String> = Vec::new();
        for column in create.columns {
            let not_null = if column.is_nullable { "" } else { " not null" };
            items.push(format!("{} {}{not_null}", column.name, column.sql_type));
        }
        if !create.primary_key.is_empty() {
            items.push(format!("key {}", create.primary_key.join("+")));
        }
        if create.if_not_exists {
            items.push("if".to_owned());
        }
        Some(items.join(", "))
    }

    #[test]
    fn a_table_is_a_list_of_names_and_types() {
        let cases = [
            // pandas, by SQLAlchemy and by itself.
            (
                "\nCREATE TABLE t (\n\tid BIGINT, \n\t\"Name\" TEXT, \n\tx FLOAT(53), \n\tat TIMESTAMP WITHOUT TIME ZONE\n)\n\n",
                "id int8, Name text, x float8, at timestamp",
            ),
            (
                "CREATE TABLE \"t\" (\n\"index\" INTEGER,\n  \"a\" TEXT\n)",
                "index int4, a text",
            ),
            // DuckDB.
            (
                "CREATE TABLE s.t(i INTEGER PRIMARY KEY, d DECIMAL(18,3) NOT NULL, z TIMESTAMP WITH TIME ZONE, b BLOB, v VARCHAR, f DOUBLE, ok BOOLEAN);",
                "i int4, d numeric(18,3) not null, z timestamptz, b bytea, v varchar, f float8, ok bool, key i",
            ),
            // Spark's dialects, and the rest.
            (
                "create table if not exists t (a double precision NULL, c char, d varchar(10) not null, e timestamp(3) with time zone, f float(24), primary key (a, \"d\"))",
                "a float8, c bpchar(1), d varchar(10) not null, e timestamptz(3), f float4, key a+d, if",
            ),
        ];
        for (text, expected) in cases {
            let text = text.trim_end_matches(';');
            assert_eq!(columns(text).as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn any_other_table_is_none() {
        for text in [
            "CREATE TABLE t",
            "CREATE TABLE t ()",
            "CREATE TABLE t (a)",
            "CREATE TABLE t (a money)",
            "CREATE TABLE t (a int[])",
            "CREATE TABLE t (a int(4))",
            "CREATE TABLE t (a numeric(1,2,3))",
            "CREATE TABLE t (a varchar(x))",
            "CREATE TABLE t (a varchar(-1))",
            "CREATE TABLE t (a float(54))",
            "CREATE TABLE t (a int DEFAULT 1)",
            "CREATE TABLE t (a int UNIQUE)",
            "CREATE TABLE t (a int CHECK (a > 0))",
            "CREATE TABLE t (a int REFERENCES u)",
            "CREATE TABLE t (a serial)",
            "CREATE TABLE t (a int,)",
            "CREATE TABLE t (a int) WITH (fillfactor = 10)",
            "CREATE TABLE t (a int PRIMARY KEY, PRIMARY KEY (a))",
            "CREATE TABLE t (PRIMARY KEY (a))",
            "CREATE TABLE t (a int, PRIMARY KEY ())",
            "CREATE TABLE t (a int)) (",
            "CREATE TABLE t AS SELECT 1",
            "CREATE TEMPORARY TABLE t (a int)",
            "CREATE VIEW t (a int)",
            "CREATE TABLE a.b.c.d (a int)",
        ] {
            assert_eq!(columns(text), None, "{text}");
        }
    }
}
