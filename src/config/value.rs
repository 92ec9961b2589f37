//! Values of the file that are more than TOML's own: durations, sizes, addresses and counts in their
//! bounds, each written as on the command line.

use std::fmt;
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::time::Duration;

use bytesize::ByteSize;
use serde::de::{Deserialize, Deserializer, Error, Visitor};

use super::serve::address;

/// A duration: `"30s"`, `"1h 30m"`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Time(pub(super) Duration);

/// A number of bytes: `"64MiB"`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Size(pub(super) ByteSize);

/// An address to listen on: `"0.0.0.0:8815"`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Address(pub(super) SocketAddr);

/// A whole number from 1 to `MAX`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Count<const MAX: u16>(pub(super) u16);

/// A whole number above 0.
#[derive(Debug, Clone, Copy)]
pub(super) struct Number(pub(super) u64);

/// Text that a value is read from. What cannot be read is not repeated: it may be a secret that went
/// into the wrong line.
struct Text<T> {
    expected: &'static str,
    read: fn(&str) -> Option<T>,
    value: PhantomData<T>,
}

impl<T> Text<T> {
    fn new(expected: &'static str, read: fn(&str) -> Option<T>) -> Self {
        Self {
            expected,
            read,
            value: PhantomData,
        }
    }
}

impl<T> Visitor<'_> for Text<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        (self.read)(text).ok_or_else(|| E::custom(format!("expected {}", self.expected)))
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let expected = "a duration with its unit in quotes, such as \"30s\", \"5m\" or \"1h 30m\"";
        let read = |text: &str| humantime::parse_duration(text).ok().map(Self);
        deserializer.deserialize_str(Text::new(expected, read))
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let expected = "a size with its unit in quotes, such as \"64MiB\" or \"1GiB\"";
        let read = |text: &str| text.parse().ok().map(Self);
        deserializer.deserialize_str(Text::new(expected, read))
    }
}

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let expected = "an address with its port in quotes, such as \"0.0.0.0:8815\"";
        let read = |text: &str| address(text).ok().map(Self);
        deserializer.deserialize_str(Text::new(expected, read))
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u64::try_from(i64::deserialize(deserializer)?) {
            Ok(number) if number > 0 => Ok(Self(number)),
            _ => Err(D::Error::custom("expected a whole number above 0")),
        }
    }
}

impl<'de, const MAX: u16> Deserialize<'de> for Count<MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = i64::deserialize(deserializer)?;
        match u16::try_from(number) {
            Ok(number) if (1..=MAX).contains(&number) => Ok(Self(number)),
            _ => Err(D::Error::custom(format!(
                "expected a whole number from 1 to {MAX}"
            ))),
        }
    }
}
