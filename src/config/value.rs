//! The values of options: durations, sizes, addresses and counts, written in the file as on the command line.

use std::fmt::{self, Display};
use std::marker::PhantomData;
use std::net::{SocketAddr, ToSocketAddrs};
use std::ops::Range;
use std::str::FromStr;
use std::time::Duration;

use bytesize::ByteSize;
use serde::de::{Deserialize, Deserializer, Error, Visitor};
use serde_json::{Map, Value};

/// A duration: `30s`, `1h 30m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Time(pub(super) Duration);

/// A number of bytes: `64MiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Size(pub(super) ByteSize);

/// An address to listen on: `0.0.0.0:8815`. The host may be a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Address(pub(super) SocketAddr);

/// A whole number from 1 to `MAX`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Count<const MAX: u16>(pub(super) u16);

/// A whole number above 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Number(pub(super) u64);

/// A value and its place in the file, in bytes; no place on the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Located<T> {
    pub(super) value: T,
    pub(super) span: Option<Range<usize>>,
}

impl FromStr for Time {
    type Err = humantime::DurationError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        humantime::parse_duration(text).map(Self)
    }
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.parse().map(Self)
    }
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut addresses = text
            .to_socket_addrs()
            .map_err(|error| format!("{error} (write host:port, such as 0.0.0.0:8815)"))?;
        let first = addresses.next();
        first
            .map(Self)
            .ok_or_else(|| "the name has no address".to_owned())
    }
}

impl<const MAX: u16> TryFrom<i64> for Count<MAX> {
    type Error = String;

    fn try_from(number: i64) -> Result<Self, String> {
        match u16::try_from(number) {
            Ok(number) if (1..=MAX).contains(&number) => Ok(Self(number)),
            _ => Err(format!("expected a whole number from 1 to {MAX}")),
        }
    }
}

impl TryFrom<i64> for Number {
    type Error = String;

    fn try_from(number: i64) -> Result<Self, String> {
        match u64::try_from(number) {
            Ok(number) if number > 0 => Ok(Self(number)),
            _ => Err("expected a whole number above 0".to_owned()),
        }
    }
}

fn parse_number<T: TryFrom<i64, Error = String>>(text: &str) -> Result<T, String> {
    // A text that is not a number is out of every range.
    T::try_from(text.parse().unwrap_or(0))
}

impl<const MAX: u16> FromStr for Count<MAX> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        parse_number(text)
    }
}

impl FromStr for Number {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        parse_number(text)
    }
}

impl<T: FromStr> FromStr for Located<T> {
    type Err = T::Err;

    fn from_str(text: &str) -> Result<Self, T::Err> {
        let span = None;
        text.parse().map(|value| Self { value, span })
    }
}

impl Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_duration(self.0).fmt(f)
    }
}

/// Reads a value from text. The errors leave the text out, since it may be a secret in the wrong line.
struct Text<T> {
    expected: &'static str,
    value: PhantomData<T>,
}

impl<T: FromStr> Visitor<'_> for Text<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        let value = text.parse().ok();
        value.ok_or_else(|| E::custom(format!("expected {}", self.expected)))
    }
}

fn from_text<'de, T: FromStr, D: Deserializer<'de>>(
    deserializer: D,
    expected: &'static str,
) -> Result<T, D::Error> {
    let value = PhantomData;
    deserializer.deserialize_str(Text { expected, value })
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        from_text(
            deserializer,
            "a duration with its unit in quotes, such as \"30s\", \"5m\" or \"1h 30m\"",
        )
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        from_text(
            deserializer,
            "a size with its unit in quotes, such as \"64MiB\" or \"1GiB\"",
        )
    }
}

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        from_text(
            deserializer,
            "an address with its port in quotes, such as \"0.0.0.0:8815\"",
        )
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::try_from(i64::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

impl<'de, const MAX: u16> Deserialize<'de> for Count<MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::try_from(i64::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Located<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = toml::Spanned::<T>::deserialize(deserializer)?;
        let span = Some(spanned.span());
        let value = spanned.into_inner();
        Ok(Self { value, span })
    }
}

/// Parses a JSON object.
pub(super) fn object(text: &str) -> Result<Map<String, Value>, String> {
    serde_json::from_str(text).map_err(|error| error.to_string())
}

/// Returns the value of an option that has a default on the command line.
///
/// # Errors
/// [`ErrorKind::Internal`](crate::error::ErrorKind::Internal) when the option has no default after all.
pub(super) fn required<T>(value: Option<T>, option: &str) -> crate::error::Result<T> {
    value.ok_or_else(|| {
        let message = format!("option {option} has no default");
        crate::error::Error::internal(message)
    })
}

/// Defines `or`, which takes each option from `self` or else from `other`. The list must name every field.
macro_rules! impl_or {
    ($section:ident { $($field:ident),+ $(,)? }) => {
        impl $section {
            /// Takes each option from `self`, or from `other` where `self` does not set it.
            pub(in crate::config) fn or(self, other: Self) -> Self {
                Self { $($field: self.$field.or(other.$field)),+ }
            }
        }
    };
}
pub(super) use impl_or;
