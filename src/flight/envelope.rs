//! A message in either of its wire forms: protobuf `Any`, or the canonical JSON form of that `Any`.

use bytes::Bytes;
use prost::{Message, Name};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::json::{self, Answers};
use super::protobuf::occurrences;
use crate::error::{Error, Result};

/// How a message was written, and so how its answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WireForm {
    Protobuf,
    Json,
}

/// A message whose type is known and whose fields are not yet.
#[derive(Debug)]
pub(super) struct Envelope<'a> {
    name: String,
    body: Body<'a>,
    answers: Option<Answers>,
}

#[derive(Debug)]
enum Body<'a> {
    Protobuf(Vec<u8>),
    Json(&'a [u8]),
}

const TYPE_PREFIX: &str = "type.googleapis.com/";
/// Longer than the URL of any message.
const MAX_TYPE_BYTES: usize = 256;

impl<'a> Envelope<'a> {
    /// Reads the type, and nothing else. An object in JSON begins with a brace, a protobuf `Any` never does: its
    /// first byte is the tag of field 1.
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self> {
        let expected = "write a google.protobuf.Any with a message of pgflight.v1 in it, or its JSON form: \
                        {\"@type\": \"type.googleapis.com/pgflight.v1.…\", …}";
        if bytes.trim_ascii_start().first() != Some(&b'{') {
            let any = prost_types::Any::decode(bytes)
                .ok()
                .filter(|any| any.type_url.contains('/') && any.type_url.len() <= MAX_TYPE_BYTES)
                .ok_or_else(|| {
                    Error::invalid_command(format!("the command cannot be read; {expected}"))
                })?;
            return Ok(Self {
                name: name_in(&any.type_url),
                body: Body::Protobuf(any.value),
                answers: None,
            });
        }
        let url = json::type_url(bytes).map_err(|error| {
            Error::invalid_command(format!(
                "the command is not valid JSON ({error}); {expected}"
            ))
        })?;
        if url.is_empty() || url.len() > MAX_TYPE_BYTES {
            return Err(Error::invalid_command(format!(
                "the command has no \"@type\"; {expected}"
            )));
        }
        Ok(Self {
            name: name_in(&url),
            body: Body::Json(bytes),
            answers: None,
        })
    }

    pub(super) fn form(&self) -> WireForm {
        match self.body {
            Body::Protobuf(_) => WireForm::Protobuf,
            Body::Json(_) => WireForm::Json,
        }
    }

    pub(super) fn is<M: Name>(&self) -> bool {
        self.name == M::full_name()
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Takes the messages of a repeated field as answers gave them, up to a number.
    pub(super) fn accept_answers_in(self, answers: Answers) -> Self {
        Self {
            answers: Some(answers),
            ..self
        }
    }

    /// Reads the fields.
    pub(super) fn decode<M: Message + Name + Default + DeserializeOwned>(self) -> Result<M> {
        if !self.is::<M>() {
            return Err(Error::invalid_command(format!(
                "a {} was sent where a {} is expected",
                self.name,
                M::full_name()
            )));
        }
        let unreadable = |why: String| {
            Error::invalid_command(format!("the {} cannot be read: {why}", self.name))
        };
        match self.body {
            Body::Protobuf(bytes) => {
                if let Some(Answers { tag, most, .. }) = self.answers
                    && occurrences(&bytes, tag).count > most
                {
                    return Err(unreadable(json::too_many(most)));
                }
                M::decode(bytes.as_slice()).map_err(|error| unreadable(error.to_string()))
            }
            Body::Json(bytes) => {
                json::read(bytes, self.answers).map_err(|error| unreadable(error.to_string()))
            }
        }
    }
}

fn name_in(type_url: &str) -> String {
    type_url.rsplit('/').next().unwrap_or_default().to_owned()
}

/// Writes a message in the form of the question it answers.
pub(super) fn encode<M: Message + Name + Serialize>(message: &M, form: WireForm) -> Result<Bytes> {
    let type_url = format!("{TYPE_PREFIX}{}", M::full_name());
    match form {
        WireForm::Protobuf => {
            let any = prost_types::Any {
                type_url,
                value: message.encode_to_vec(),
            };
            Ok(any.encode_to_vec().into())
        }
        WireForm::Json => {
            let failed = |error| Error::internal("an answer cannot be written").with_source(error);
            let mut value = serde_json::to_value(message).map_err(failed)?;
            if let Value::Object(fields) = &mut value {
                fields.insert("@type".to_owned(), Value::String(type_url));
            }
            Ok(serde_json::to_vec(&value).map_err(failed)?.into())
        }
    }
}
