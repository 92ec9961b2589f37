//! The JSON form of a message, read field by field: nothing is built but the message itself, so that what no
//! message has costs no memory.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, Error, IgnoredAny, IntoDeserializer,
    MapAccess, SeqAccess, Visitor,
};

const TYPE: &str = "@type";

/// A repeated field whose messages come as answers gave them: in JSON with their "@type", which the canonical
/// form has on the outermost message alone.
#[derive(Debug, Clone, Copy)]
pub(super) struct Answers {
    /// Its name in JSON.
    pub(super) field: &'static str,
    /// Its number in protobuf.
    pub(super) tag: u32,
    /// More messages than this are refused.
    pub(super) most: usize,
}

/// Reads the type that a message says it has; empty for none.
pub(super) fn type_url(bytes: &[u8]) -> serde_json::Result<Cow<'_, str>> {
    #[derive(Deserialize)]
    struct Typed<'a> {
        #[serde(rename = "@type", borrow, default)]
        type_url: Cow<'a, str>,
    }
    serde_json::from_slice(bytes).map(|Typed { type_url }| type_url)
}

/// Reads the fields of a message beside its type.
pub(super) fn read<M: DeserializeOwned>(
    bytes: &[u8],
    answers: Option<Answers>,
) -> serde_json::Result<M> {
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let seed = Message {
        seed: PhantomData::<M>,
        answers,
    };
    let message = seed.deserialize(&mut json)?;
    json.end()?;
    Ok(message)
}

/// A message that may have its type beside its fields.
struct Message<S> {
    seed: S,
    answers: Option<Answers>,
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Message<S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<S::Value, D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de, S: DeserializeSeed<'de>> Visitor<'de> for Message<S> {
    type Value = S::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a message")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<S::Value, A::Error> {
        let fields = Fields {
            map,
            answers: self.answers,
            is_answers: false,
        };
        self.seed.deserialize(MapAccessDeserializer::new(fields))
    }
}

/// The fields of a message without its type.
struct Fields<A> {
    map: A,
    answers: Option<Answers>,
    /// Whether the value that comes next is of the field with answers.
    is_answers: bool,
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Fields<A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, A::Error> {
        while let Some(key) = self.map.next_key::<String>()? {
            if key == TYPE {
                self.map.next_value::<IgnoredAny>()?;
                continue;
            }
            self.is_answers = self.answers.is_some_and(|answers| answers.field == key);
            return seed.deserialize(key.into_deserializer()).map(Some);
        }
        Ok(None)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, A::Error> {
        match self.answers.filter(|_| self.is_answers) {
            Some(Answers { most, .. }) => self.map.next_value_seed(Messages { seed, most }),
            None => self.map.next_value_seed(seed),
        }
    }
}

/// A list of so many messages at most, each of which may have its type.
struct Messages<S> {
    seed: S,
    most: usize,
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Messages<S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<S::Value, D::Error> {
        json.deserialize_seq(self)
    }
}

impl<'de, S: DeserializeSeed<'de>> Visitor<'de> for Messages<S> {
    type Value = S::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of messages")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<S::Value, A::Error> {
        let elements = Elements {
            seq,
            left: self.most,
            most: self.most,
        };
        self.seed.deserialize(SeqAccessDeserializer::new(elements))
    }
}

struct Elements<A> {
    seq: A,
    left: usize,
    most: usize,
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Elements<A> {
    type Error = A::Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, A::Error> {
        let element = Message {
            seed,
            answers: None,
        };
        let element = self.seq.next_element_seed(element)?;
        match (&element, self.left.checked_sub(1)) {
            (None, _) => {}
            (Some(_), Some(left)) => self.left = left,
            (Some(_), None) => return Err(A::Error::custom(too_many(self.most))),
        }
        Ok(element)
    }
}

/// The error about a list that is too long.
pub(super) fn too_many(most: usize) -> String {
    format!("it has more than {most} receipts")
}
