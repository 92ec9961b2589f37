//! A message in one of its two wire forms: a protobuf `Any`, or the canonical JSON form of that `Any`.

use bytes::Bytes;
use prost::{Message, Name};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::json::{self, Answers};
use crate::error::{Error, Result};
use crate::flight::protobuf::occurrences;

/// The form of a message and of its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WireForm {
    Protobuf,
    Json,
}

/// A message whose type is parsed and whose fields are not.
#[derive(Debug)]
pub(crate) struct Envelope<'a> {
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
/// The length limit of type URLs, longer than that of any message.
const MAX_TYPE_BYTES: usize = 256;

impl<'a> Envelope<'a> {
    /// Parses the type, and nothing else. A JSON object begins with a brace; a protobuf `Any` begins with the tag of field 1.
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self> {
        let hint = "send a google.protobuf.Any with a message of pgflight.v1 in it, or its JSON form: \
                    {\"@type\": \"type.googleapis.com/pgflight.v1.…\", …}";
        if bytes.trim_ascii_start().first() != Some(&b'{') {
            let any = prost_types::Any::decode(bytes)
                .ok()
                .filter(|any| any.type_url.contains('/') && any.type_url.len() <= MAX_TYPE_BYTES)
                .ok_or_else(|| {
                    Error::invalid_command("the command is not a google.protobuf.Any")
                        .with_hint(hint)
                })?;
            return Ok(Self {
                name: name_in(&any.type_url),
                body: Body::Protobuf(any.value),
                answers: None,
            });
        }
        let url = json::type_url(bytes).map_err(|error| {
            Error::invalid_command("the command is not valid JSON")
                .with_hint(hint)
                .with_source(error)
        })?;
        if url.is_empty() || url.len() > MAX_TYPE_BYTES {
            return Err(Error::invalid_command("the command has no \"@type\"").with_hint(hint));
        }
        Ok(Self {
            name: name_in(&url),
            body: Body::Json(bytes),
            answers: None,
        })
    }

    pub(crate) fn form(&self) -> WireForm {
        match self.body {
            Body::Protobuf(_) => WireForm::Protobuf,
            Body::Json(_) => WireForm::Json,
        }
    }

    pub(crate) fn is<M: Name>(&self) -> bool {
        self.name == M::full_name()
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Accepts the messages of a repeated field as the server's answers had them, up to a number.
    pub(crate) fn accept_answers_in(self, answers: Answers) -> Self {
        Self {
            answers: Some(answers),
            ..self
        }
    }

    /// Parses the fields.
    pub(crate) fn decode<M: Message + Name + Default + DeserializeOwned>(self) -> Result<M> {
        if !self.is::<M>() {
            return Err(
                Error::invalid_command(format!("unexpected message {}", self.name))
                    .with_hint(format!("send a {}", M::full_name())),
            );
        }
        let unreadable = || Error::invalid_command(format!("cannot read the {}", self.name));
        match self.body {
            Body::Protobuf(bytes) => {
                if let Some(Answers { tag, limit, .. }) = self.answers
                    && occurrences(&bytes, tag).count > limit
                {
                    return Err(Error::invalid_command(format!(
                        "cannot read the {}: {}",
                        self.name,
                        json::too_many(limit)
                    )));
                }
                M::decode(bytes.as_slice()).map_err(|error| unreadable().with_source(error))
            }
            Body::Json(bytes) => {
                json::parse(bytes, self.answers).map_err(|error| unreadable().with_source(error))
            }
        }
    }
}

fn name_in(type_url: &str) -> String {
    type_url.rsplit('/').next().unwrap_or_default().to_owned()
}

/// Encodes a message in the form of the request that it answers.
pub(crate) fn encode<M: Message + Name + Serialize>(message: &M, form: WireForm) -> Result<Bytes> {
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
            let failed = |error| Error::internal("cannot write an answer").with_source(error);
            let mut value = serde_json::to_value(message).map_err(failed)?;
            if let Value::Object(fields) = &mut value {
                fields.insert("@type".to_owned(), Value::String(type_url));
            }
            Ok(serde_json::to_vec(&value).map_err(failed)?.into())
        }
    }
}
