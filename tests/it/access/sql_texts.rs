//! All SQL of the server names schemas: of operators, functions, types and tables.
//!
//! PostgreSQL resolves names without a schema by the search_path, where other roles may have objects that fit better.
//! This test reads the SQL in the source, also SQL that no other test runs.

use std::fs;
use std::path::{Path, PathBuf};

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    /// A word, or a placeholder of `format!`.
    Word(String),
    Operator(String),
    Sign(char),
    /// A literal, a number or a parameter.
    Value,
}

/// Keywords that resolve an operator implicitly.
const HIDDEN_OPERATORS: [&str; 5] = ["LIKE", "ILIKE", "SIMILAR", "BETWEEN", "NULLIF"];
/// Types of the grammar, which no path changes.
const KEYWORD_TYPES: [&str; 6] = ["bigint", "int", "integer", "smallint", "boolean", "numeric"];

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else {
            found.push(path);
        }
    }
}

/// Returns the string literals of a Rust source, without those of its tests.
fn literals(source: &str) -> Vec<String> {
    let source = source.split("#[cfg(test)]").next().unwrap();
    let mut found = Vec::new();
    let mut chars = source.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '/' if chars.peek() == Some(&'/') => while chars.next().is_some_and(|c| c != '\n') {},
            '\'' => {
                // A character, an escape, or a lifetime.
                let mut ahead = chars.clone();
                let escaped = ahead.next() == Some('\\');
                if escaped || ahead.next() == Some('\'') {
                    chars = ahead;
                    while escaped && chars.next().is_some_and(|c| c != '\'') {}
                }
            }
            '"' => {
                let mut text = String::new();
                while let Some(c) = chars.next() {
                    match c {
                        '"' => break,
                        '\\' => match chars.next().unwrap() {
                            '\n' => while chars.next_if(|c| c.is_whitespace()).is_some() {},
                            'n' => text.push('\n'),
                            escaped => text.push(escaped),
                        },
                        c => text.push(c),
                    }
                }
                found.push(text);
            }
            _ => {}
        }
    }
    found
}

fn is_sql(text: &str) -> bool {
    let verbs = [
        "SELECT ", "INSERT ", "UPDATE ", "DELETE ", "WITH ", "WHERE ",
    ];
    let begins = verbs.iter().any(|verb| text.trim_start().starts_with(verb));
    begins || text.contains("pg_catalog.") || text.contains(" FROM ")
}

fn tokens(sql: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut chars = sql.chars().peekable();
    while let Some(c) = chars.next() {
        let is_word = |c: &char| c.is_alphanumeric() || *c == '_';
        let token = match c {
            c if c.is_whitespace() => continue,
            '-' if chars.peek() == Some(&'-') => {
                while chars.next().is_some_and(|c| c != '\n') {}
                continue;
            }
            '\'' => {
                while chars.next().is_some_and(|c| c != '\'') {}
                Token::Value
            }
            '"' => {
                let name = std::iter::from_fn(|| chars.next_if(|c| *c != '"')).collect();
                chars.next();
                Token::Word(name)
            }
            '{' => {
                let name: String = std::iter::from_fn(|| chars.next_if(|c| *c != '}')).collect();
                chars.next();
                Token::Word(format!("{{{name}}}"))
            }
            '$' | '0'..='9' => {
                while chars.next_if(char::is_ascii_digit).is_some() {}
                Token::Value
            }
            c if is_word(&c) => {
                let mut word = c.to_string();
                word.extend(std::iter::from_fn(|| chars.next_if(is_word)));
                Token::Word(word)
            }
            '(' | ')' | '[' | ']' | ',' | ';' | '.' => Token::Sign(c),
            ':' => {
                let is_cast = chars.next_if_eq(&':').is_some();
                Token::Sign(if is_cast { '‡' } else { ':' })
            }
            c => {
                let mut operator = c.to_string();
                let more = |c: &char| "+-*/<>=~!@#%^&|`?".contains(*c);
                operator.extend(std::iter::from_fn(|| chars.next_if(more)));
                Token::Operator(operator)
            }
        };
        tokens.push(token);
    }
    tokens
}

/// Returns the tokens before a place as text, the nearest first.
fn before(tokens: &[Token], at: usize) -> Vec<String> {
    let text = |token: &Token| match token {
        Token::Word(word) | Token::Operator(word) => word.clone(),
        Token::Sign(sign) => sign.to_string(),
        Token::Value => "''".to_owned(),
    };
    let mut found: Vec<String> = tokens[..at].iter().rev().take(8).map(text).collect();
    found.resize(8, String::new());
    found
}

/// Returns the names that a text leaves to the search_path.
fn problems(sql: &str) -> Vec<String> {
    let tokens = tokens(sql);
    let mut found = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        let before = before(&tokens, at);
        let before: Vec<&str> = before.iter().map(String::as_str).collect();
        let next = tokens.get(at + 1);
        let opens = next == Some(&Token::Sign('('));
        match token {
            Token::Operator(operator) => {
                let is_named = before[..4] == [".", "pg_catalog", "(", "OPERATOR"];
                let is_star = operator == "*" && ["(", "SELECT", ".", ","].contains(&before[0]);
                let is_argument = operator == "=>";
                // SET a = …, b = …; SET (a, b) = …; WITH (a = …, toast.b = …)
                let is_assigned = operator == "="
                    && (["SET", "LOCAL", ","].contains(&before[1])
                        || before[1..3] == ["(", "WITH"]
                        || before[1..4] == [".", "toast", ","]
                        || before[0] == ")" && before.windows(2).any(|two| two == ["(", "SET"]));
                let is_negative = operator == "-"
                    && before[0] == ")"
                    && before[2..5] == [".", "pg_catalog", "("]
                    && next == Some(&Token::Value);
                if !(is_named || is_star || is_argument || is_assigned || is_negative) {
                    found.push(format!("operator {operator} after {:?}", before[0]));
                }
            }
            Token::Word(word) if HIDDEN_OPERATORS.contains(&word.as_str()) => {
                found.push(word.clone());
            }
            Token::Word(word) if word == "IN" && opens => found.push("IN (…)".to_owned()),
            // A list of columns, and not rows of a DELETE.
            Token::Word(word)
                if word == "USING"
                    && opens
                    && tokens.get(at + 2) != Some(&Token::Word("{rows}".to_owned())) =>
            {
                found.push("USING (…)".to_owned());
            }
            // Against NULL, PostgreSQL takes no operator.
            Token::Word(word)
                if word == "DISTINCT"
                    && ["IS", "NOT"].contains(&before[0])
                    && tokens.get(at + 2) != Some(&Token::Word("NULL".to_owned())) =>
            {
                found.push("IS DISTINCT FROM".to_owned());
            }
            Token::Word(word)
                if word == "CASE" && next != Some(&Token::Word("WHEN".to_owned())) =>
            {
                found.push("CASE … WHEN".to_owned());
            }
            Token::Word(word)
                if opens && before[0] != "." && word.chars().all(|c| !c.is_uppercase()) =>
            {
                // The columns of an alias, of a WITH, or of a table that is created from checked names.
                let is_alias = [")", "ORDINALITY", "WITH", "RECURSIVE", "AS"].contains(&before[0]);
                let is_with = before[0] == "," && with_columns(&tokens[at + 1..]);
                if !(is_alias || is_with || word.starts_with('{')) {
                    found.push(format!("function {word}"));
                }
            }
            Token::Sign('‡') => {
                let is_fine = match next {
                    Some(Token::Word(word)) => {
                        word == "pg_catalog"
                            || word.starts_with('{')
                            || KEYWORD_TYPES.contains(&word.as_str())
                    }
                    _ => false,
                };
                if !is_fine {
                    found.push(format!("cast to {next:?}"));
                }
            }
            Token::Word(word)
                if word == "COLLATE" && next != Some(&Token::Word("pg_catalog".to_owned())) =>
            {
                found.push(format!("collation {next:?}"));
            }
            Token::Word(_) | Token::Sign(_) | Token::Value => {}
        }
    }
    found
}

/// Returns whether AS (…) follows a list in parentheses, as it does the columns of a WITH.
fn with_columns(tokens: &[Token]) -> bool {
    let end = tokens.iter().position(|token| *token == Token::Sign(')'));
    end.is_some_and(|end| tokens.get(end + 1) == Some(&Token::Word("AS".to_owned())))
}

#[test]
fn names_left_to_the_path_are_found() {
    let check = |sql: &str, expected: usize| {
        let found = problems(sql);
        assert_eq!(found.len(), expected, "{sql}: {found:?}");
    };
    check("SELECT a FROM pg_catalog.pg_class c WHERE c.oid = $1", 1);
    check("SELECT 1 WHERE a OPERATOR(pg_catalog.=) $1 AND b < 2", 1);
    check(
        "SELECT lower(a), pg_catalog.lower(b), c::text, d::pg_catalog.text",
        2,
    );
    check(
        "SELECT CASE a WHEN 'b' THEN 1 END, a IN ('b'), NULLIF(a, b)",
        3,
    );
    check("SELECT a IS NOT DISTINCT FROM b, a LIKE 'c', a || b", 3);
    check(
        "SELECT a IS DISTINCT FROM NULL, a IS NOT DISTINCT FROM NULL",
        0,
    );
    check("SELECT FROM a JOIN b USING (c) ORDER BY d COLLATE \"C\"", 2);
    check(
        "UPDATE pgflight.write SET a = 1, b = 2 WHERE c OPERATOR(pg_catalog.=) -1",
        0,
    );
    check(
        "SELECT pg_catalog.count(*) FROM pg_catalog.unnest($1) WITH ORDINALITY k(a, b)",
        0,
    );
}

#[test]
fn every_sql_text_of_the_server_names_schemas() {
    let mut sources = Vec::new();
    files(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("src"),
        &mut sources,
    );
    let mut seen = 0;
    let mut all = Vec::new();
    for path in sources {
        let extension = path
            .extension()
            .and_then(|it| it.to_str())
            .unwrap_or_default();
        let source = fs::read_to_string(&path).unwrap();
        let texts = match extension {
            "sql" => vec![source],
            "rs" => literals(&source)
                .into_iter()
                .filter(|text| is_sql(text))
                .collect(),
            _ => continue,
        };
        for text in texts {
            seen += 1;
            for problem in problems(&text) {
                all.push(format!(
                    "{}: {problem}\n    in {}",
                    path.display(),
                    text.trim()
                ));
            }
        }
    }
    assert!(seen > 80, "only {seen} texts were found");
    assert!(all.is_empty(), "{}", all.join("\n"));
}
