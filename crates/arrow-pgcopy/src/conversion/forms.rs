//! Values in another form, and text that is cleaned or cut.

use arrow_schema::{DataType, Field};

use super::converted::Converted;
use super::{Form, Step};
use crate::field::Source;
use crate::field::extension;
use crate::mapping;
use crate::refusal::{Refusal, Word};
use crate::table::{Modifier, PgTypeKind};

/// `NAMEDATALEN` without the terminator.
const NAME_BYTES: u32 = 63;

/// The most bytes of a replacement for NUL, enough for `\u0000`: a value that consists of NULs grows by this factor.
const MAX_REPLACEMENT_BYTES: usize = 8;

impl Converted<'_> {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "all other types are no address"
    )]
    pub(crate) fn form(&mut self, form: Form, field: &Field) -> Result<(), Refusal> {
        use PgTypeKind as K;
        use Source as S;
        let kind = &self.ty.kind;
        let textual = matches!(kind, K::Text | K::Varchar | K::Bpchar | K::Name);
        let document = matches!(kind, K::Json | K::Jsonb);
        let source = Source::of(&self.data_type);
        let binary = matches!(source, S::Binary | S::FixedBinary { .. });
        let width = match source {
            S::FixedBinary { width } => Some(width),
            _ => None,
        };
        let address = match kind {
            K::Inet | K::Cidr => matches!(width, None | Some(4 | 16)),
            K::Macaddr => matches!(width, None | Some(6)),
            K::Macaddr8 => matches!(width, None | Some(6 | 8)),
            _ => false,
        };
        let integral = matches!(kind, K::Int2 | K::Int4 | K::Int8 | K::Numeric);
        let uuid = extension::name(field) == Some("arrow.uuid")
            && self.data_type == DataType::FixedSizeBinary(16);
        let text = DataType::LargeUtf8;
        match form {
            Form::Text if textual && (uuid || !binary) && source != S::Text => {
                if source.is_nested() {
                    mapping::json(&self.data_type, false)?;
                }
                self.push(Step::Text { uuid }, text)
            }
            Form::Number if source == S::Boolean && integral => {
                self.push(Step::Number, DataType::Int8)
            }
            Form::Number if source == S::Boolean && matches!(kind, K::Bit | K::Varbit) => {
                self.push(Step::Bit, text)
            }
            Form::Number if source == S::Integer && *kind == K::Bool => {
                self.push(Step::Boolean, DataType::Boolean)
            }
            Form::Utf8 | Form::Utf8Lossy if binary && (textual || document) => {
                self.push(Step::Decode(form), text)
            }
            Form::Hex | Form::Base64 if binary && textual => self.push(Step::Decode(form), text),
            Form::Utf8 | Form::Hex | Form::Base64 if source == S::Text && *kind == K::Bytea => {
                self.push(Step::Encode(form), DataType::LargeBinary)
            }
            Form::Address if binary && address => {
                let hardware = matches!(kind, K::Macaddr | K::Macaddr8);
                self.push(Step::Address { hardware }, text)
            }
            Form::Text
            | Form::Number
            | Form::Part
            | Form::Utf8
            | Form::Utf8Lossy
            | Form::Hex
            | Form::Base64
            | Form::Address => self.meaningless(Word::Form),
        }
    }

    pub(crate) fn nul(&mut self, replacement: &str) -> Result<(), Refusal> {
        if Source::of(&self.data_type) != Source::Text {
            return Err(Refusal::new(format!(
                "NUL characters can be removed from strings only, and this is {}",
                self.data_type
            ))
            .of_meaningless(Word::Nul));
        }
        if replacement.contains('\0') {
            return Err(Refusal::new(
                "the replacement for NUL characters contains one",
            ));
        }
        if replacement.len() > MAX_REPLACEMENT_BYTES {
            return Err(Refusal::new(format!(
                "the replacement for NUL characters has {} bytes, more than {MAX_REPLACEMENT_BYTES}",
                replacement.len()
            )));
        }
        let replacement = replacement.to_owned();
        self.push(Step::Nul { replacement }, DataType::LargeUtf8)
    }

    pub(crate) fn truncate(&mut self) -> Result<(), Refusal> {
        use PgTypeKind as K;
        if Source::of(&self.data_type) != Source::Text {
            return self.meaningless(Word::TooLong);
        }
        let (chars, bytes) = match (&self.ty.kind, self.modifier) {
            (K::Varchar | K::Bpchar, Modifier::Length(chars)) => (Some(chars), None),
            // The column takes text of any length.
            (K::Varchar | K::Bpchar, _) => return Ok(()),
            (K::Name, _) => (None, Some(NAME_BYTES)),
            _ => return self.meaningless(Word::TooLong),
        };
        self.push(Step::Truncate { chars, bytes }, DataType::LargeUtf8)
    }

    pub(crate) fn srid(&mut self, srid: u32) -> Result<(), Refusal> {
        let binary = matches!(
            Source::of(&self.data_type),
            Source::Binary | Source::FixedBinary { .. }
        );
        if binary && self.ty.kind == PgTypeKind::Geometry {
            self.push(Step::Srid(srid), DataType::LargeBinary)
        } else {
            self.meaningless(Word::Srid)
        }
    }
}
