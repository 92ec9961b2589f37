//! Parses the condition of an overwrite: SQL's comparisons, BETWEEN, IN and IS NULL of columns, with AND, OR and NOT.
//!
//! The text never reaches PostgreSQL. `pg/sql/condition.rs` builds SQL from what is parsed here.

mod tokens;

use self::tokens::{Token, syntax_error, tokens};
use crate::error::{Error, Result};
use crate::pg::{Comparison, Condition, Literal, LiteralKind};
use arrow_pgcopy::Ident;

/// The length limit of a condition. The ledger keeps it.
const MAX_BYTES: usize = 64 * 1024;
/// The limit of conditions within each other.
const MAX_DEPTH: usize = 24;

/// Parses a condition. Names of columns keep their case; double quotes or back quotes may be around them.
///
/// # Errors
/// [`ErrorKind::InvalidCommand`](crate::error::ErrorKind::InvalidCommand) for a text that is not a condition, or too
/// long or too deep.
pub fn parse_condition(text: &str) -> Result<Condition> {
    if text.len() > MAX_BYTES {
        return Err(Error::invalid_command(format!(
            "replace_where has {} bytes, more than the limit of {MAX_BYTES}",
            text.len()
        )));
    }
    let mut parser = Parser {
        tokens: tokens(text)?,
        next: 0,
        depth: 0,
    };
    let condition = parser.any()?;
    match *parser.peek() == Token::End {
        true => Ok(condition),
        false => Err(parser.expected("AND, OR or the end")),
    }
}

struct Parser {
    /// The tokens, with the position of each in characters, from 1. The last is [`Token::End`].
    tokens: Vec<(Token, usize)>,
    next: usize,
    depth: usize,
}

impl Parser {
    fn peek(&self) -> &Token {
        self.tokens
            .get(self.next)
            .map_or(&Token::End, |(token, _)| token)
    }

    /// Moves on if the next token is this word, in any case.
    fn take_word(&mut self, word: &str) -> bool {
        let found = matches!(self.peek(), Token::Word(found) if found.eq_ignore_ascii_case(word));
        self.next += usize::from(found);
        found
    }

    fn take_sign(&mut self, sign: &str) -> bool {
        let found = matches!(self.peek(), Token::Sign(found) if *found == sign);
        self.next += usize::from(found);
        found
    }

    fn need_word(&mut self, word: &'static str) -> Result<()> {
        match self.take_word(word) {
            true => Ok(()),
            false => Err(self.expected(word)),
        }
    }

    fn need_sign(&mut self, sign: &'static str) -> Result<()> {
        match self.take_sign(sign) {
            true => Ok(()),
            false => Err(self.expected(sign)),
        }
    }

    /// Returns the error that the next token should be something else.
    fn expected(&self, what: &str) -> Error {
        let position = self.tokens.get(self.next).or(self.tokens.last());
        let position = position.map_or(1, |(_, position)| *position);
        syntax_error(position, &format!("{what} is expected"))
    }

    /// Parses conditions with OR between them.
    fn any(&mut self) -> Result<Condition> {
        if self.depth >= MAX_DEPTH {
            return Err(Error::invalid_command(format!(
                "replace_where is more than {MAX_DEPTH} conditions deep"
            )));
        }
        self.depth += 1;
        let mut parts = vec![self.all()?];
        while self.take_word("OR") {
            parts.push(self.all()?);
        }
        self.depth -= 1;
        Ok(one_or(parts, Condition::Any))
    }

    /// Parses conditions with AND between them.
    fn all(&mut self) -> Result<Condition> {
        let mut parts = vec![self.not()?];
        while self.take_word("AND") {
            parts.push(self.not()?);
        }
        Ok(one_or(parts, Condition::All))
    }

    fn not(&mut self) -> Result<Condition> {
        let mut is_negated = false;
        while self.take_word("NOT") {
            is_negated = !is_negated;
        }
        let condition = if self.take_sign("(") {
            let inner = self.any()?;
            self.need_sign(")")?;
            inner
        } else {
            self.predicate()?
        };
        Ok(negated(condition, is_negated))
    }

    /// Parses a column and what is said about it.
    fn predicate(&mut self) -> Result<Condition> {
        let column = match self.peek().clone() {
            Token::Word(name) if !is_keyword(&name) => name,
            Token::Quoted(name) => name,
            Token::Word(_) | Token::Text(_) | Token::Number(_) | Token::Sign(_) | Token::End => {
                return Err(self.expected("the name of a column"));
            }
        };
        self.next += 1;
        let column = Ident::new(column)?;
        if self.take_word("IS") {
            let is_negated = self.take_word("NOT");
            self.need_word("NULL")?;
            return Ok(negated(Condition::IsNull { column }, is_negated));
        }
        let is_negated = self.take_word("NOT");
        if self.take_word("BETWEEN") {
            let least = self.literal()?;
            self.need_word("AND")?;
            let greatest = self.literal()?;
            let bounds = [
                compares(&column, Comparison::GreaterOrEqual, least),
                compares(&column, Comparison::LessOrEqual, greatest),
            ];
            return Ok(negated(Condition::All(bounds.into()), is_negated));
        }
        if self.take_word("IN") {
            self.need_sign("(")?;
            let mut literals = vec![self.literal()?];
            while self.take_sign(",") {
                literals.push(self.literal()?);
            }
            self.need_sign(")")?;
            return Ok(negated(Condition::IsIn { column, literals }, is_negated));
        }
        if is_negated {
            return Err(self.expected("BETWEEN or IN"));
        }
        for (sign, by, is_negated) in [
            ("=", Comparison::Equal, false),
            ("<>", Comparison::Equal, true),
            ("<=", Comparison::LessOrEqual, false),
            ("<", Comparison::Less, false),
            (">=", Comparison::GreaterOrEqual, false),
            (">", Comparison::Greater, false),
        ] {
            if self.take_sign(sign) {
                let literal = self.literal()?;
                return Ok(negated(compares(&column, by, literal), is_negated));
            }
        }
        Err(self.expected("a comparison, BETWEEN, IN or IS"))
    }

    /// Parses a value: `'text'`, `DATE '2026-01-31'`, `'2026-01-31'::date`, a number, TRUE or FALSE.
    fn literal(&mut self) -> Result<Literal> {
        let sign = if self.take_sign("-") { "-" } else { "" };
        let (kind, text) = match self.peek().clone() {
            Token::Number(digits) => (LiteralKind::Number, format!("{sign}{digits}")),
            _ if !sign.is_empty() => return Err(self.expected("a number")),
            Token::Text(text) => (LiteralKind::Text, text),
            Token::Word(word) if word.eq_ignore_ascii_case("NULL") => {
                return Err(Error::invalid_command("replace_where compares with NULL")
                    .with_hint("use IS NULL or IS NOT NULL"));
            }
            Token::Word(word) if ["true", "false"].contains(&&*word.to_lowercase()) => {
                (LiteralKind::Boolean, word.to_lowercase())
            }
            Token::Word(word) => match self.tokens.get(self.next + 1) {
                Some((Token::Text(text), _)) => {
                    let text = text.clone();
                    self.next += 1;
                    (LiteralKind::Typed(word.to_lowercase()), text)
                }
                _ => return Err(self.expected("a value")),
            },
            Token::Quoted(_) | Token::Sign(_) | Token::End => {
                return Err(self.expected("a value"));
            }
        };
        self.next += 1;
        if kind == LiteralKind::Text && self.take_sign("::") {
            let Token::Word(word) = self.peek().clone() else {
                return Err(self.expected("the name of a type"));
            };
            self.next += 1;
            let kind = LiteralKind::Typed(word.to_lowercase());
            return Ok(Literal { kind, text });
        }
        Ok(Literal { kind, text })
    }
}

fn compares(column: &Ident, by: Comparison, literal: Literal) -> Condition {
    Condition::Compares {
        column: column.clone(),
        by,
        literal,
    }
}

fn negated(condition: Condition, is_negated: bool) -> Condition {
    match is_negated {
        true => Condition::Not(Box::new(condition)),
        false => condition,
    }
}

fn one_or(mut parts: Vec<Condition>, join: fn(Vec<Condition>) -> Condition) -> Condition {
    match parts.pop() {
        Some(only) if parts.is_empty() => only,
        last => {
            parts.extend(last);
            join(parts)
        }
    }
}

fn is_keyword(word: &str) -> bool {
    const KEYWORDS: [&str; 10] = [
        "AND", "OR", "NOT", "BETWEEN", "IN", "IS", "NULL", "TRUE", "FALSE", "LIKE",
    ];
    KEYWORDS
        .iter()
        .any(|keyword| keyword.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::parse_condition;
    use crate::pg::Condition;

    fn shown(text: &str) -> String {
        parse_condition(text).map_or_else(
            |error| error.report().to_string(),
            |condition| show(&condition),
        )
    }

    fn show(condition: &Condition) -> String {
        let list = |parts: &[Condition], between: &str| {
            let parts: Vec<String> = parts.iter().map(show).collect();
            format!("({})", parts.join(between))
        };
        match condition {
            Condition::All(parts) => list(parts, " & "),
            Condition::Any(parts) => list(parts, " | "),
            Condition::Not(inner) => format!("!{}", show(inner)),
            Condition::Compares {
                column,
                by,
                literal,
            } => format!(
                "{} {by:?} {:?}:{}",
                column.as_str(),
                literal.kind,
                literal.text
            ),
            Condition::IsIn { column, literals } => {
                let texts: Vec<&str> = literals.iter().map(|l| l.text.as_str()).collect();
                format!("{} in {}", column.as_str(), texts.join(";"))
            }
            Condition::IsNull { column } => format!("{} null", column.as_str()),
        }
    }

    #[test]
    fn conditions_bind_as_in_sql() {
        for (text, expected) in [
            ("day = '2026-01-31'", "day Equal Text:2026-01-31"),
            ("\"a \"\"b\" < 1", "a \"b Less Number:1"),
            ("`Tag`>=-1.5e-3", "Tag GreaterOrEqual Number:-1.5e-3"),
            ("a = 'it''s' ", "a Equal Text:it's"),
            (
                "a = 1 OR b = 2 AND NOT c IS NULL",
                "(a Equal Number:1 | (b Equal Number:2 & !c null))",
            ),
            (
                "(a = 1 or b = 2) and c is not null",
                "((a Equal Number:1 | b Equal Number:2) & !c null)",
            ),
            (
                "a NOT BETWEEN 1 AND 2 AND b",
                "replace_where is no condition: a comparison, BETWEEN, IN or IS is expected at character 28",
            ),
            (
                "d between date '2026-01-01' and '2026-01-31'::DATE",
                "(d GreaterOrEqual Typed(\"date\"):2026-01-01 & d LessOrEqual Typed(\"date\"):2026-01-31)",
            ),
            ("a NOT IN (1, 2)", "!a in 1;2"),
            ("a != true", "!a Equal Boolean:true"),
            ("NOT NOT a IS NULL", "a null"),
        ] {
            let shown = shown(text);
            assert!(shown.starts_with(expected), "{text}: {shown}");
        }
    }

    #[test]
    fn what_is_no_condition_is_rejected() {
        let deep = "(".repeat(30);
        let long = format!("a IN (1{})", ", 1".repeat(5_000));
        let longest = "(".repeat(65_000);
        for (text, part) in [
            ("", "the name of a column is expected at character 1"),
            ("1 = 1", "the name of a column is expected at character 1"),
            ("a = b", "a value is expected at character 5"),
            ("a = lower('x')", "a value is expected at character 5"),
            ("a = (SELECT 1)", "a value is expected at character 5"),
            (
                "a = 1; DROP TABLE t",
                "a sign that is unknown at character 6",
            ),
            (
                "a = 1 -- b",
                "AND, OR or the end is expected at character 7",
            ),
            ("é = 'ü' and ;", "a sign that is unknown at character 13"),
            (&long, "more than 10000 names, values and signs"),
            (&longest, "more than 10000 names, values and signs"),
            ("a = 'b", "a quote without its end at character 5"),
            ("a = 'b\0'", "a quote without its end at character 5"),
            ("a = NULL", "compares with NULL"),
            ("a = - 'b'", "a number is expected at character 7"),
            (
                "a = 'b'::(",
                "the name of a type is expected at character 10",
            ),
            ("a.b = 1", "IS is expected at character 2"),
            ("a NOT = 1", "BETWEEN or IN is expected at character 7"),
            ("(a = 1", ") is expected at character 7"),
            ("a IN ()", "a value is expected at character 7"),
            (&deep, "more than 24 conditions deep"),
            (&"x".repeat(70_000), "has 70000 bytes"),
        ] {
            let error = shown(text);
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
