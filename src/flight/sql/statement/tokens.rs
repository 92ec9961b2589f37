//! The words and names of a statement.

use crate::error::Result;
use crate::flight::sql::session::Names;
use arrow_pgcopy::table::TableName;

/// The name of a table, with its schema and target if they are there: one to three parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::flight::sql) struct Name(Vec<String>);

impl Name {
    /// Parses a name with dots between its parts, and nothing after it; `None` for anything else.
    pub(super) fn parse(tokens: &[Token]) -> Option<Self> {
        let parts = tokens.split(|token| *token == Token::Other('.'));
        let parts = parts.map(|part| match part {
            [token] => token.name(),
            _ => None,
        });
        let parts: Vec<String> = parts.collect::<Option<_>>()?;
        (1..=3).contains(&parts.len()).then_some(Self(parts))
    }

    /// Returns the target (empty: the default) and the table. The names of the session complete them.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidCommand`](crate::error::ErrorKind::InvalidCommand) for a part that cannot be a name.
    pub(in crate::flight::sql) fn complete(mut self, names: &Names) -> Result<(String, TableName)> {
        let catalog = (self.0.len() == 3).then(|| self.0.remove(0));
        let table = self.0.pop();
        let (target, schema) = names.complete(catalog, self.0.pop());
        let table = TableName::from_parts(schema.into_iter().chain(table).collect())?;
        Ok((target, table))
    }
}

/// A word in lower case, a quoted name, or any other character.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    Word(String),
    Quoted(String),
    Other(char),
}

impl Token {
    /// Returns the name that a token is; `None` if it is none.
    pub(super) fn name(&self) -> Option<String> {
        match self {
            Self::Quoted(name) => Some(name.clone()),
            Self::Word(name) if !name.starts_with(|first: char| first.is_ascii_digit()) => {
                Some(name.clone())
            }
            Self::Word(_) | Self::Other(_) => None,
        }
    }

    /// Returns whether it is this word, which is in lower case.
    pub(super) fn is(&self, word: &str) -> bool {
        matches!(self, Self::Word(found) if found == word)
    }
}

/// Splits a statement; `None` for a quote without its end. Words are folded to lower case, as PostgreSQL folds ASCII.
pub(super) fn tokens(text: &str) -> Option<Vec<Token>> {
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
