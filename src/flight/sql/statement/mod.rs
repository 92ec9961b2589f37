//! The few statements that clients send around their rows. Each is matched word by word and run by its meaning; no text
//! of a client reaches PostgreSQL.

mod create;
mod insert;
mod tokens;

use self::create::create;
use self::insert::insert;
use self::tokens::{Token, tokens};
use crate::error::{Error, Result};
use crate::write::TableStatement;

pub(super) use self::create::Create;
pub(super) use self::insert::Insert;
pub(super) use self::tokens::Name;

/// The length limit of a statement, which is longer than any that is served.
const MAX_BYTES: usize = 1024;
/// The length limit of a statement that may name each of 1,600 columns.
const MAX_BYTES_OF_COLUMNS: usize = 256 * 1024;

/// A statement that is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Statement {
    /// A statement about a table.
    OnTable(TableStatement, Name),
    /// `CREATE TABLE`.
    Create(Create),
    /// `SELECT count(*)` of a table.
    Count(Name),
    /// `SELECT 1`, by which clients see whether the server answers.
    SelectOne,
}

/// Parses a statement. It may end in a semicolon.
///
/// # Errors
/// [`ErrorKind::Unsupported`](crate::error::ErrorKind::Unsupported) for any other statement. The error has no text of
/// the statement but its first word, if that is a word of SQL: the rest may hold values.
pub(super) fn parse(text: &str) -> Result<Statement> {
    let tokens = tokens_up_to(MAX_BYTES_OF_COLUMNS, text);
    if let Some(create) = create(&tokens) {
        return Ok(Statement::Create(create));
    }
    let short = match text.len() <= MAX_BYTES {
        true => &*tokens,
        false => &[],
    };
    let found = match short {
        [select, Token::Word(one)] if select.is("select") && one == "1" => {
            Some(Statement::SelectOne)
        }
        [
            select,
            count,
            Token::Other('('),
            Token::Other('*'),
            Token::Other(')'),
            from,
            name @ ..,
        ] if select.is("select") && count.is("count") && from.is("from") => {
            Name::parse(name).map(Statement::Count)
        }
        rest => on_table(rest).map(|(statement, name)| Statement::OnTable(statement, name)),
    };
    found.ok_or_else(|| refused(text))
}

/// Parses a statement that a client prepares: only an INSERT of parameters.
///
/// # Errors
/// As [`parse`], for any other statement.
pub(super) fn parse_prepared(text: &str) -> Result<Insert> {
    let tokens = tokens_up_to(MAX_BYTES_OF_COLUMNS, text);
    if let Some(insert) = insert(&tokens) {
        return Ok(insert);
    }
    parse(text)?;
    Err(
        Error::unsupported("this statement is not served as a prepared one")
            .with_hint("send it without preparing it"),
    )
}

/// Splits a statement, which may end in a semicolon; without tokens if it is longer or a quote has no end.
fn tokens_up_to(limit: usize, text: &str) -> Vec<Token> {
    if text.len() > limit {
        return Vec::new();
    }
    let mut tokens = tokens(text).unwrap_or_default();
    if tokens.last() == Some(&Token::Other(';')) {
        tokens.pop();
    }
    tokens
}

fn on_table(tokens: &[Token]) -> Option<(TableStatement, Name)> {
    let starts = [
        (
            &["drop", "table", "if", "exists"][..],
            TableStatement::Drop { if_exists: true },
        ),
        (
            &["drop", "table"],
            TableStatement::Drop { if_exists: false },
        ),
        (&["delete", "from"], TableStatement::Delete),
        (&["truncate", "table"], TableStatement::Truncate),
        (&["truncate"], TableStatement::Truncate),
    ];
    starts.into_iter().find_map(|(words, statement)| {
        let (start, name) = tokens.split_at_checked(words.len())?;
        let mut pairs = start.iter().zip(words);
        let begins = pairs.all(|(token, word)| token.is(word));
        let name = begins.then(|| Name::parse(name));
        name.flatten().map(|name| (statement, name))
    })
}

/// The first words of statements, with what to do instead.
const INSTEAD: [(&[&str], &str); 5] = [
    (
        &["insert"],
        "send rows with CommandStatementIngest (adbc_ingest), or prepare INSERT INTO name (columns) VALUES (?, …) with one ? \
         for each column, and bind the rows",
    ),
    (
        &["copy", "merge", "update"],
        "send rows with CommandStatementIngest (adbc_ingest); x-pgflight-mode has the keyed modes",
    ),
    (
        &["create", "alter"],
        "ingest with mode create, or send CREATE TABLE [IF NOT EXISTS] name (column type [NOT NULL], …, PRIMARY KEY (…)) with \
         usual types and nothing else; change tables with any PostgreSQL driver",
    ),
    (
        &["begin", "start", "commit", "rollback", "savepoint", "set"],
        "begin and end transactions as your client does: by autocommit off, commit() and rollback()",
    ),
    (
        &["drop", "delete", "truncate"],
        "send DROP TABLE [IF EXISTS] name, DELETE FROM name or TRUNCATE name, with nothing after the name",
    ),
];

fn refused(text: &str) -> Error {
    let end = text.trim_start();
    let first: String = end
        .chars()
        .take_while(char::is_ascii_alphabetic)
        .take(16)
        .collect();
    let first = first.to_ascii_lowercase();
    let known = INSTEAD
        .iter()
        .find(|(words, _)| words.contains(&first.as_str()));
    let (what, hint) = match (known, first.as_str()) {
        (Some((_, hint)), word) => (word.to_ascii_uppercase(), *hint),
        (None, "select" | "with" | "show" | "explain" | "values" | "table") => (
            first.to_ascii_uppercase(),
            "query with any PostgreSQL driver; this server takes rows, for instance by adbc_ingest",
        ),
        (None, _) => (
            "this statement".to_owned(),
            "send rows with CommandStatementIngest (adbc_ingest), and query with any PostgreSQL driver",
        ),
    };
    Error::unsupported(format!("{what} is not served in this form")).with_hint(hint)
}

#[cfg(test)]
mod tests {
    use super::{Statement, TableStatement, parse};
    use crate::error::ErrorKind;
    use crate::flight::sql::session::Names;
    use arrow_pgcopy::table::TableName;

    #[test]
    fn served_statements_are_matched_word_by_word() {
        let drop = |if_exists| TableStatement::Drop { if_exists };
        let cases = [
            ("DROP TABLE t", drop(false), "", &["t"][..]),
            (
                "drop\ttable\nIF  EXISTS \"S\".\"T\" ;",
                drop(true),
                "",
                &["S", "T"],
            ),
            ("DROP TABLE Trips", drop(false), "", &["trips"]),
            ("DROP TABLE \"a\"\"b;c\"", drop(false), "", &["a\"b;c"]),
            ("DROP TABLE if", drop(false), "", &["if"]),
            (
                "DELETE FROM public . t",
                TableStatement::Delete,
                "",
                &["public", "t"],
            ),
            ("TRUNCATE t", TableStatement::Truncate, "", &["t"]),
            (
                "truncate table other.s.t;",
                TableStatement::Truncate,
                "other",
                &["s", "t"],
            ),
        ];
        for (text, statement, target, table) in cases {
            let table =
                TableName::from_parts(table.iter().map(|part| (*part).to_owned()).collect());
            let Statement::OnTable(found, name) = parse(text).unwrap() else {
                panic!("{text}");
            };
            assert_eq!(found, statement, "{text}");
            let named = name.complete(&Names::default()).unwrap();
            assert_eq!(named, (target.to_owned(), table.unwrap()), "{text}");
        }
        for text in ["SELECT count(*) FROM s.t;", "select COUNT ( * ) from s . T"] {
            let Statement::Count(name) = parse(text).unwrap() else {
                panic!("{text}");
            };
            let table = TableName::from_parts(vec!["s".to_owned(), "t".to_owned()]);
            let named = name.complete(&Names::default()).unwrap();
            assert_eq!(named, (String::new(), table.unwrap()), "{text}");
        }
        for text in ["SELECT 1", " select 1 ;"] {
            assert_eq!(parse(text).unwrap(), Statement::SelectOne, "{text}");
        }
    }

    #[test]
    fn everything_else_is_refused_without_its_values() {
        let long = format!("DROP TABLE \"{}\"", "x".repeat(2000));
        let cases = [
            ("", "this statement"),
            (";", "this statement"),
            ("DROP TABLE", "DROP"),
            ("DROP TABLE t, s3cret", "DROP"),
            ("DROP TABLE t CASCADE", "DROP"),
            ("DROP TABLE t; DROP TABLE s3cret", "DROP"),
            ("DROP TABLE t;;", "DROP"),
            ("DROP TABLE t -- s3cret", "DROP"),
            ("DROP TABLE \"s3cret", "DROP"),
            ("DROP TABLE a.b.c.d", "DROP"),
            ("DROP TABLE .t", "DROP"),
            ("DROP TABLE 1t", "DROP"),
            ("DROP VIEW t", "DROP"),
            ("DELETE FROM t WHERE id = 's3cret'", "DELETE"),
            ("TRUNCATE t RESTART IDENTITY", "TRUNCATE"),
            ("SELECT 's3cret'", "SELECT"),
            ("SELECT 1, 2", "SELECT"),
            ("insert into t values ('s3cret')", "INSERT"),
            ("CREATE TABLE t (id int DEFAULT 's3cret')", "CREATE"),
            ("SELECT count(*) FROM t WHERE a = 's3cret'", "SELECT"),
            ("SELECT count(s3cret) FROM t", "SELECT"),
            ("SELECT count(*) FROM t, s3cret", "SELECT"),
            ("BEGIN", "BEGIN"),
            ("s3cret", "this statement"),
            ("secret", "this statement"),
            ("/* s3cret */ SELECT 1", "this statement"),
            (&long, "DROP"),
        ];
        for (text, named) in cases {
            let error = parse(text).expect_err(text);
            let report = error.report().to_string();
            assert!(report.starts_with(named), "{text}: {report}");
            assert!(
                !report.contains("s3cret") && !report.contains("secret"),
                "{report}"
            );
            if !named.is_empty() {
                assert_eq!(error.kind(), ErrorKind::Unsupported, "{text}");
                assert!(error.hint().is_some(), "{text}");
            }
        }
    }
}
