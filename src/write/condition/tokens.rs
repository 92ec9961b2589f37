//! The tokens of a condition.

use crate::error::{Error, Result};

/// A part of the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    /// A name or a keyword without quotes.
    Word(String),
    /// A name in quotes.
    Quoted(String),
    /// A text between single quotes.
    Text(String),
    Number(String),
    /// An operator, a comma, a parenthesis or a double colon.
    Sign(&'static str),
    End,
}

/// The tokens of a condition at most. A condition has a few, and PostgreSQL would parse many for long.
const MAX_TOKENS: usize = 10_000;

/// Splits the text into tokens, each with its position in characters, from 1.
pub(super) fn tokens(text: &str) -> Result<Vec<(Token, usize)>> {
    const SIGNS: [&str; 13] = [
        "::", "<>", "!=", "<=", ">=", "=", "<", ">", "(", ")", ",", "-", "+",
    ];
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    let mut position = 1 + characters(text, rest);
    while let Some(first) = rest.chars().next() {
        if tokens.len() == MAX_TOKENS {
            return Err(Error::invalid_command(format!(
                "replace_where has more than {MAX_TOKENS} names, values and signs"
            ))
            .with_hint("name the columns of the part in replace_by"));
        }
        let (token, after) = if let Some(quote) = Some(first).filter(|c| "'\"`".contains(*c)) {
            let (content, after) = quoted(rest, quote)
                .ok_or_else(|| syntax_error(position, "a quote without its end"))?;
            let token = match quote {
                '\'' => Token::Text(content),
                _ => Token::Quoted(content),
            };
            (token, after)
        } else if first.is_ascii_digit() || first == '.' {
            let (digits, after) = number(rest);
            (Token::Number(digits.to_owned()), after)
        } else if first.is_alphabetic() || first == '_' {
            let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
            let end = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
            let (word, after) = rest.split_at(end);
            (Token::Word(word.to_owned()), after)
        } else if let Some(sign) = SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
            let after = rest.strip_prefix(sign).unwrap_or_default();
            let sign = if *sign == "!=" { "<>" } else { sign };
            (Token::Sign(sign), after)
        } else {
            return Err(syntax_error(position, "a sign that is unknown"));
        };
        tokens.push((token, position));
        position += characters(rest, after.trim_start());
        rest = after.trim_start();
    }
    tokens.push((Token::End, position));
    Ok(tokens)
}

/// Returns the number of characters of `text` before its end `rest`.
fn characters(text: &str, rest: &str) -> usize {
    let before = text.strip_suffix(rest).unwrap_or(text);
    before.chars().count()
}

/// Splits off what is between quotes, where a doubled quote stands for one. Returns `None` without the end, or with a
/// NUL, which PostgreSQL cannot hold.
fn quoted(text: &str, quote: char) -> Option<(String, &str)> {
    let mut content = String::new();
    let mut rest = text.strip_prefix(quote)?;
    loop {
        let (part, after) = rest.split_once(quote)?;
        content.push_str(part);
        match after.strip_prefix(quote) {
            Some(after) => {
                content.push(quote);
                rest = after;
            }
            None => return (!content.contains('\0')).then_some((content, after)),
        }
    }
}

/// Splits off a number: digits, a fraction, an exponent. PostgreSQL checks it.
fn number(text: &str) -> (&str, &str) {
    let mut last = ' ';
    let end = text.find(|c: char| {
        let is_exponent_sign = "+-".contains(c) && "eE".contains(last);
        let is_part = c.is_ascii_alphanumeric() || c == '.' || is_exponent_sign;
        last = c;
        !is_part
    });
    text.split_at(end.unwrap_or(text.len()))
}

/// Returns the error about a text that is no condition. Positions are in characters, from 1.
pub(super) fn syntax_error(position: usize, what: &str) -> Error {
    Error::invalid_command(format!(
        "replace_where is no condition: {what} at character {position}"
    ))
    .with_hint(
        "compare columns with values by = <> < <= > >=, BETWEEN, IN and IS NULL, and join them by AND, OR and NOT",
    )
}
