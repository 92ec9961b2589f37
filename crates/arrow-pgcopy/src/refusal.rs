//! The reason why a pair of types is refused, or why a conversion has no meaning for it.

use std::borrow::Cow;
use std::fmt;

use crate::error::Error;

/// The reason why values of an Arrow type are not written into a PostgreSQL type, and what would work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// One fact, which follows `cannot write Arrow type A into P: `.
    reason: Cow<'static, str>,
    hint: Option<Cow<'static, str>>,
    /// A second hint: the conversion that allows the pair.
    conversion: Option<&'static str>,
    /// The part of the conversion that has no meaning for the pair, if that is the reason.
    meaningless: Option<Word>,
}

/// A part of a conversion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Word {
    Rounding,
    Zone,
    Nul,
    Overflow,
    Infinity,
    TooLong,
    Form,
    Unit,
    Srid,
}

impl Word {
    /// Returns what was asked for.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Rounding => "rounding",
            Self::Zone => "a zone",
            Self::Nul => "a replacement for NUL characters",
            Self::Overflow => "overflow",
            Self::Infinity => "infinity",
            Self::TooLong => "a length",
            Self::Form => "a form",
            Self::Unit => "a unit",
            Self::Srid => "an SRID",
        }
    }
}

impl Refusal {
    pub(crate) fn new(reason: impl Into<Cow<'static, str>>) -> Self {
        Self {
            reason: reason.into(),
            hint: None,
            conversion: None,
            meaningless: None,
        }
    }

    /// Marks the reason as a conversion without a meaning.
    pub(crate) fn of_meaningless(mut self, word: Word) -> Self {
        self.meaningless = Some(word);
        self
    }

    /// Returns the part of the conversion that has no meaning, if that is the reason.
    pub(crate) fn meaningless(&self) -> Option<Word> {
        self.meaningless
    }

    /// Says what would work: an imperative in lower case.
    pub(crate) fn with_hint(mut self, hint: impl Into<Cow<'static, str>>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds the conversion that allows the pair, as an imperative too.
    pub(crate) fn with_conversion(mut self, conversion: impl Into<Option<&'static str>>) -> Self {
        self.conversion = conversion.into();
        self
    }

    /// Turns this into the refusal of a value that is nested in another: `place` says where.
    ///
    /// Removes the conversion, since conversions change whole columns only.
    pub(crate) fn within(self, place: impl fmt::Display) -> Self {
        Self {
            reason: format!("{place}: {}", self.reason).into(),
            hint: self.hint,
            conversion: None,
            meaningless: None,
        }
    }

    /// Turns this into an error about a pair of types.
    pub(crate) fn into_error(self, arrow: impl fmt::Display, postgres: impl fmt::Display) -> Error {
        let error = Error::schema_mismatch(format!(
            "cannot write Arrow type {arrow} into {postgres}: {}",
            self.reason
        ));
        match (self.hint, self.conversion) {
            (Some(hint), Some(conversion)) => error.with_hint(format!("{hint}, or {conversion}")),
            (Some(hint), None) => error.with_hint(hint),
            (None, Some(conversion)) => error.with_hint(conversion),
            (None, None) => error,
        }
    }
}
