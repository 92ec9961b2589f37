//! The few statements that clients send around their rows. Each is matched word by word and run by its meaning; no text
//! of a client reaches PostgreSQL.

use super::session::Names;
use crate::error::{Error, Result};
use crate::write::TableStatement;
use arrow_pgcopy::table::TableName;

/// The length limit of a statement, which is longer than any that is served.
const MAX_BYTES: usize = 1024;

/// A statement that is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Statement {
    /// A statement about a table.
    OnTable(TableStatement, Name),
    /// `SELECT 1`, by which clients see whether the server answers.
    SelectOne,
}

/// The name of a table, with its schema and target if they are there: one to three parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Name(Vec<String>);

impl Name {
    /// Returns the target (empty: the default) and the table. The names of the session complete them.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidCommand`](crate::error::ErrorKind::InvalidCommand) for a part that cannot be a name.
    pub(super) fn complete(mut self, names: &Names) -> Result<(String, TableName)> {
        let catalog = (self.0.len() == 3).then(|| self.0.remove(0));
        let table = self.0.pop();
        let (target, schema) = names.complete(catalog, self.0.pop());
        let table = TableName::from_parts(schema.into_iter().chain(table).collect())?;
        Ok((target, table))
    }
}

/// A word in lower case, a quoted name, or any other character.
#[derive(Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    Quoted(String),
    Other(char),
}

/// Parses a statement. It may end in a semicolon.
///
/// # Errors
/// [`ErrorKind::Unsupported`](crate::error::ErrorKind::Unsupported) for any other statement. The error has no text of
/// the statement but its first word, if that is a word of SQL: the rest may hold values.
pub(super) fn parse(text: &str) -> Result<Statement> {
    let tokens = match text.len() <= MAX_BYTES {
        true => tokens(text),
        false => None,
    };
    let mut rest = tokens.as_deref().unwrap_or_default();
    if let [before @ .., Token::Other(';')] = rest {
        rest = before;
    }
    let found = match rest {
        [Token::Word(select), Token::Word(one)] if select == "select" && one == "1" => {
            return Ok(Statement::SelectOne);
        }
        _ => on_table(rest),
    };
    let Some((statement, parts)) = found else {
        return Err(refused(text));
    };
    Ok(Statement::OnTable(statement, Name(parts)))
}

fn on_table(tokens: &[Token]) -> Option<(TableStatement, Vec<String>)> {
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
    let is_word =
        |(token, word): (&Token, &&str)| matches!(token, Token::Word(found) if found == word);
    starts.into_iter().find_map(|(words, statement)| {
        let (start, name) = tokens.split_at_checked(words.len())?;
        let begins = start.iter().zip(words).all(is_word);
        begins
            .then(|| name_of(name))
            .flatten()
            .map(|name| (statement, name))
    })
}

/// Returns the parts of a name with dots between them, and nothing after it.
fn name_of(tokens: &[Token]) -> Option<Vec<String>> {
    let parts = tokens.split(|token| *token == Token::Other('.'));
    let parts = parts.map(|part| match part {
        [Token::Quoted(name)] => Some(name.clone()),
        [Token::Word(name)] if !name.starts_with(|first: char| first.is_ascii_digit()) => {
            Some(name.clone())
        }
        _ => None,
    });
    let parts: Vec<String> = parts.collect::<Option<_>>()?;
    (1..=3).contains(&parts.len()).then_some(parts)
}

/// Splits a statement; `None` for a quote without its end. Words are folded to lower case, as PostgreSQL folds ASCII.
fn tokens(text: &str) -> Option<Vec<Token>> {
    let mut tokens = Vec::new();
    let mut letters = text.chars().peekable();
    let is_in_word = |letter: &char| letter.is_alphanumeric() || *letter == '_' || *letter == '$';
    while let Some(letter) = letters.next() {
        if letter == '"' {
            let mut name = String::new();
            loop {
                match letters.next()? {
                    '"' if letters.next_if_eq(&'"').is_some() => name.push('"'),
                    '"' => break,
                    other => name.push(other),
                }
            }
            tokens.push(Token::Quoted(name));
        } else if is_in_word(&letter) {
            let mut word = String::from(letter);
            word.extend(std::iter::from_fn(|| letters.next_if(is_in_word)));
            word.make_ascii_lowercase();
            tokens.push(Token::Word(word));
        } else if !letter.is_ascii_whitespace() {
            tokens.push(Token::Other(letter));
        }
    }
    Some(tokens)
}

/// The first words of statements, with what to do instead.
const INSTEAD: [(&[&str], &str); 4] = [
    (
        &["insert", "copy", "merge", "update"],
        "send rows with CommandStatementIngest (adbc_ingest); x-pgflight-mode has the keyed modes",
    ),
    (
        &["create", "alter"],
        "ingest with mode create, or change tables with any PostgreSQL driver",
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
    use super::{Names, Statement, TableStatement, parse};
    use crate::error::ErrorKind;
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
            ("CREATE TABLE t (id int)", "CREATE"),
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
