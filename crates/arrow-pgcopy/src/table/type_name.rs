//! The name of a PostgreSQL type as a user writes it, checked before it becomes part of a statement.

use std::iter::Peekable;
use std::str::Chars;

use super::name::Ident;
use crate::error::{Error, Result};

/// Types of several words (PostgreSQL's manual, table of data types). A modifier may stand after the first word,
/// except for intervals, and after the last words in [`MODIFIED`].
const PHRASES: &[(&str, &[&str])] = &[
    ("double", &["precision"]),
    ("character", &["varying"]),
    ("char", &["varying"]),
    ("bit", &["varying"]),
    ("national", &["character", "varying"]),
    ("national", &["character"]),
    ("national", &["char", "varying"]),
    ("national", &["char"]),
    ("time", &["with", "time", "zone"]),
    ("time", &["without", "time", "zone"]),
    ("timestamp", &["with", "time", "zone"]),
    ("timestamp", &["without", "time", "zone"]),
    ("interval", &["year", "to", "month"]),
    ("interval", &["day", "to", "hour"]),
    ("interval", &["day", "to", "minute"]),
    ("interval", &["day", "to", "second"]),
    ("interval", &["hour", "to", "minute"]),
    ("interval", &["hour", "to", "second"]),
    ("interval", &["minute", "to", "second"]),
    ("interval", &["year"]),
    ("interval", &["month"]),
    ("interval", &["day"]),
    ("interval", &["hour"]),
    ("interval", &["minute"]),
    ("interval", &["second"]),
];

/// Names of types in `pg_type`, and those that `format_type` prints (utils/adt/format_type.c) where they differ.
const PRINTED: &[(&str, &str)] = &[
    ("bool", "boolean"),
    ("bpchar", "character"),
    ("char", "\"char\""),
    ("float4", "real"),
    ("float8", "double precision"),
    ("int2", "smallint"),
    ("int4", "integer"),
    ("int8", "bigint"),
    ("time", "time without time zone"),
    ("timestamp", "timestamp without time zone"),
    ("timestamptz", "timestamp with time zone"),
    ("timetz", "time with time zone"),
    ("varbit", "bit varying"),
    ("varchar", "character varying"),
];

/// Returns a name as `format_type` prints it: `integer[]` for `_int4`, as `pg_type` has it, and for `int4[]`. Other
/// names stay as they are.
pub(crate) fn printed(name: &str) -> String {
    let element = name.strip_prefix('_').or_else(|| name.strip_suffix("[]"));
    let own = element.unwrap_or(name);
    let known = PRINTED.iter().find(|(known, _)| *known == own);
    let own = known.map_or(own, |(_, printed)| printed);
    match element {
        Some(_) => format!("{own}[]"),
        None => own.to_owned(),
    }
}

/// The last words of [`PHRASES`] after which a modifier may stand.
const MODIFIED: &[&str] = &["varying", "character", "char", "second"];

/// The most modifiers that a type of PostgreSQL or of its known extensions has: `geometry(point,4326)`.
const MAX_MODIFIERS: usize = 2;

/// PostgreSQL's `MAXDIM`.
const MAX_DIMENSIONS: usize = 6;

/// Parses the name of a type and prints it anew, so that the result cannot be anything else in a statement.
///
/// Accepts a name, quoted or not, with or without a schema (`my_schema."Mood"`); types of several words (`double
/// precision`); one or two modifiers, numbers or words (`numeric(10,2)`, `timestamp(3) with time zone`); and
/// brackets for arrays (`text[]`, `int[3][3]`).
///
/// # Errors
/// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) for anything else.
pub(crate) fn parse(text: &str) -> Result<String> {
    let refused = || {
        Error::invalid_input(format!("{text:?} is not the name of a type")).with_hint(
            "write one such as text, numeric(10,2), timestamp(3) with time zone, my_schema.my_type or int[]",
        )
    };
    let tokens = tokens(text).ok_or_else(refused)?;
    Parser { tokens: &tokens }.type_name().ok_or_else(refused)
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    /// A bare word in lower case, as PostgreSQL reads it.
    Word(String),
    /// A name in double quotes, without them.
    Quoted(Ident),
    /// A number, perhaps with a minus sign.
    Number(String),
    /// One of `. ( ) , [ ]`.
    Sign(char),
}

fn tokens(text: &str) -> Option<Vec<Token>> {
    let mut chars = text.chars().peekable();
    let mut tokens = Vec::new();
    while let Some(first) = chars.peek().copied() {
        tokens.push(match first {
            ' ' => {
                chars.next();
                continue;
            }
            '.' | '(' | ')' | ',' | '[' | ']' => {
                chars.next();
                Token::Sign(first)
            }
            '"' => Token::Quoted(quoted(&mut chars)?),
            'a'..='z' | 'A'..='Z' | '_' => {
                let word = taken(&mut chars, |c| c.is_ascii_alphanumeric() || c == '_');
                // Rejects a name that PostgreSQL would cut.
                Ident::new(word.as_str()).ok()?;
                Token::Word(word.to_ascii_lowercase())
            }
            '0'..='9' | '-' => {
                chars.next();
                let digits = taken(&mut chars, |c| c.is_ascii_digit());
                let number = format!("{first}{digits}");
                number.parse::<i32>().ok()?;
                Token::Number(number)
            }
            _ => return None,
        });
    }
    Some(tokens)
}

fn taken(chars: &mut Peekable<Chars<'_>>, wanted: impl Fn(char) -> bool) -> String {
    let mut text = String::new();
    while let Some(c) = chars.next_if(|c| wanted(*c)) {
        text.push(c);
    }
    text
}

/// Reads the name up to the closing quote, where `""` is a quote.
fn quoted(chars: &mut Peekable<Chars<'_>>) -> Option<Ident> {
    chars.next();
    let mut name = String::new();
    loop {
        match chars.next()? {
            '"' if chars.next_if_eq(&'"').is_none() => return Ident::new(name).ok(),
            c => name.push(c),
        }
    }
}

struct Parser<'a> {
    tokens: &'a [Token],
}

impl Parser<'_> {
    fn type_name(mut self) -> Option<String> {
        let mut name = self.base()?;
        name += &self.dimensions()?;
        self.tokens.is_empty().then_some(name)
    }

    fn base(&mut self) -> Option<String> {
        let first = self.next()?;
        if let Token::Word(word) = &first {
            for (_, rest) in PHRASES.iter().filter(|(first, _)| first == word) {
                let mut ahead = Parser {
                    tokens: self.tokens,
                };
                let before = match word.as_str() {
                    "interval" => String::new(),
                    _ => ahead.modifiers()?,
                };
                if rest
                    .iter()
                    .all(|word| ahead.skip(&Token::Word((*word).to_owned())))
                {
                    self.tokens = ahead.tokens;
                    let last = rest.last().copied().unwrap_or_default();
                    let after = if before.is_empty() && MODIFIED.contains(&last) {
                        self.modifiers()?
                    } else {
                        String::new()
                    };
                    return Some(format!("{word}{before} {}{after}", rest.join(" ")));
                }
            }
        }
        let mut name = self.part(&first)?;
        if self.skip(&Token::Sign('.')) {
            let second = self.next()?;
            name = format!("{name}.{}", self.part(&second)?);
        }
        name += &self.modifiers()?;
        Some(name)
    }

    /// A bare word stays bare: quoting `int` would ask for a type of that very name.
    fn part(&self, token: &Token) -> Option<String> {
        match token {
            Token::Word(word) => Some(word.clone()),
            Token::Quoted(name) => Some(format!("\"{}\"", name.as_str().replace('"', "\"\""))),
            Token::Number(_) | Token::Sign(_) => None,
        }
    }

    /// `(10,2)`, or nothing.
    fn modifiers(&mut self) -> Option<String> {
        if !self.skip(&Token::Sign('(')) {
            return Some(String::new());
        }
        let mut modifiers = Vec::new();
        loop {
            let (Token::Number(text) | Token::Word(text)) = self.next()? else {
                return None;
            };
            modifiers.push(text);
            if self.skip(&Token::Sign(')')) {
                let few = modifiers.len() <= MAX_MODIFIERS;
                return few.then(|| format!("({})", modifiers.join(",")));
            }
            if !self.skip(&Token::Sign(',')) {
                return None;
            }
        }
    }

    /// `[]` or `[3]`, several times or not at all.
    fn dimensions(&mut self) -> Option<String> {
        let mut dimensions = Vec::new();
        while self.skip(&Token::Sign('[')) {
            let mut length = String::new();
            if let Some(Token::Number(number)) = self.tokens.first() {
                length.clone_from(number);
                self.next();
            }
            if length.starts_with('-') || !self.skip(&Token::Sign(']')) {
                return None;
            }
            dimensions.push(format!("[{length}]"));
        }
        (dimensions.len() <= MAX_DIMENSIONS).then(|| dimensions.concat())
    }

    fn next(&mut self) -> Option<Token> {
        let (first, rest) = self.tokens.split_first()?;
        self.tokens = rest;
        Some(first.clone())
    }

    fn skip(&mut self, token: &Token) -> bool {
        let found = self.tokens.first() == Some(token);
        if found {
            self.next();
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::parse;

    fn check(text: &str, expected: Option<&str>) {
        assert_eq!(parse(text).ok().as_deref(), expected, "{text}");
    }

    #[test]
    fn type_names_are_parsed_and_printed_anew() {
        check("text", Some("text"));
        check("  NUMERIC( 10 , 2 ) ", Some("numeric(10,2)"));
        check("numeric(3,-2)", Some("numeric(3,-2)"));
        check("double precision", Some("double precision"));
        check("Double  Precision[]", Some("double precision[]"));
        check(
            "timestamp(3) with time zone",
            Some("timestamp(3) with time zone"),
        );
        check(
            "timestamp without time zone",
            Some("timestamp without time zone"),
        );
        check("character varying(10)", Some("character varying(10)"));
        check("bit varying (10)", Some("bit varying(10)"));
        check("int[3][]", Some("int[3][]"));
        check(
            "my_schema.\"My \"\"Mood\"\"\"",
            Some("my_schema.\"My \"\"Mood\"\"\""),
        );
        check("\"My.Type\"[]", Some("\"My.Type\"[]"));
        check("geometry(Point,4326)", Some("geometry(point,4326)"));
        check("timestamp", Some("timestamp"));
        check(
            "INTERVAL day to second(3)",
            Some("interval day to second(3)"),
        );
        check("interval second (0)[]", Some("interval second(0)[]"));
        check("interval year to month", Some("interval year to month"));
        check("interval(3)", Some("interval(3)"));
    }

    #[test]
    fn text_that_is_not_a_type_name_is_rejected() {
        for text in [
            "",
            " ",
            "int; drop table x",
            "int default 1",
            "int not null",
            "int, b int",
            "int)",
            "int(",
            "int()",
            "int(1,2,3)",
            "int(1",
            "numeric(10,2) check (true)",
            "int -- comment",
            "int /* comment */",
            "text collate \"C\"",
            "a.b.c",
            ".a",
            "a.",
            "\"a",
            "\"\"",
            "'a'",
            "int[",
            "int[]]",
            "int[-1]",
            "int[1,2]",
            "$1",
            "té",
            "int\0",
            "int\n[]",
            "double precision(3)",
            "interval(3) second",
            "interval day(3)",
            "interval second to day",
            "time(3) with time zone(3)",
            "setof int",
            "99999999999",
            "int(99999999999)",
        ] {
            check(text, None);
        }
        check(&"x".repeat(64), None);
    }
}
