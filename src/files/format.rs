//! The formats, and which of them a file has.

use super::compressed::uncompressed_name;
use super::fault::unreadable;
use super::source::Source;
use crate::error::Result;

/// The bytes that Parquet and Arrow IPC files begin with. Arrow streams begin with a marker before a length.
const PARQUET_MAGIC: &[u8] = b"PAR1";
const ENCRYPTED_PARQUET_MAGIC: &[u8] = b"PARE";
const ARROW_MAGIC: &[u8] = b"ARROW1";
const FEATHER_V1_MAGIC: &[u8] = b"FEA1";
const ARROW_STREAM: &[u8] = &[0xff; 4];
const ORC_MAGIC: &[u8] = b"ORC";
const AVRO_MAGIC: &[u8] = b"Obj\x01";

/// The format of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Parquet.
    Parquet,
    /// Arrow IPC, as a file or a stream; also called Feather.
    Arrow,
    /// CSV, and text with another separator.
    Csv,
    /// JSON lines: an object on each line.
    Json,
}

/// How the bytes of a file are laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    Parquet,
    ArrowFile,
    ArrowStream,
    Csv,
    Json,
}

impl Layout {
    /// Returns the layout that a file's first bytes and then its name say. A file without a sign of another format is CSV.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidCommand`](crate::error::ErrorKind::InvalidCommand) when the first bytes contradict the name or
    /// the requested format, and for a format that cannot be read.
    pub(super) fn of(source: &Source, requested: Option<Format>) -> Result<Self> {
        let head = &*source.head;
        let by_name = by_name(&source.name);
        let found = if head.starts_with(PARQUET_MAGIC) {
            Self::Parquet
        } else if head.starts_with(ARROW_MAGIC) {
            Self::ArrowFile
        } else if head.starts_with(ARROW_STREAM) {
            Self::ArrowStream
        } else if let Some(name) = unread(head) {
            let hint = "convert it to Parquet";
            return Err(unreadable(&source.name, &format!("the file is {name}")).with_hint(hint));
        } else {
            let is_object = head.trim_ascii_start().starts_with(b"{");
            match requested.or(by_name) {
                Some(Format::Csv) => Self::Csv,
                Some(Format::Json) => Self::Json,
                None if is_object => Self::Json,
                None => Self::Csv,
                Some(Format::Parquet) => return Err(not(source, requested, "Parquet")),
                Some(Format::Arrow) => return Err(not(source, requested, "Arrow IPC")),
            }
        };
        match requested {
            Some(requested) if requested != found.format() => {
                Err(not(source, Some(requested), requested.name()))
            }
            _ => Ok(found),
        }
    }

    fn format(self) -> Format {
        match self {
            Self::Parquet => Format::Parquet,
            Self::ArrowFile | Self::ArrowStream => Format::Arrow,
            Self::Csv => Format::Csv,
            Self::Json => Format::Json,
        }
    }
}

impl Format {
    fn name(self) -> &'static str {
        match self {
            Self::Parquet => "Parquet",
            Self::Arrow => "Arrow IPC",
            Self::Csv => "CSV",
            Self::Json => "JSON",
        }
    }
}

fn not(source: &Source, requested: Option<Format>, name: &str) -> crate::error::Error {
    let why = if requested.is_some() {
        "--format says"
    } else {
        "its name says"
    };
    unreadable(&source.name, &format!("the file is not {name}, as {why}"))
}

/// Returns the format that the name of a file says.
fn by_name(name: &str) -> Option<Format> {
    let name = uncompressed_name(name).to_ascii_lowercase();
    Some(match name.rsplit_once('.')?.1 {
        "parquet" | "pq" => Format::Parquet,
        "arrow" | "arrows" | "feather" | "ipc" => Format::Arrow,
        "csv" | "tsv" | "tab" | "txt" => Format::Csv,
        "json" | "jsonl" | "ndjson" => Format::Json,
        _ => return None,
    })
}

/// Returns the name of a format that cannot be read.
fn unread(head: &[u8]) -> Option<&'static str> {
    let formats = [
        (ENCRYPTED_PARQUET_MAGIC, "encrypted Parquet"),
        (FEATHER_V1_MAGIC, "Feather of version 1"),
        (ORC_MAGIC, "ORC"),
        (AVRO_MAGIC, "Avro"),
    ];
    let found = formats.iter().find(|(magic, _)| head.starts_with(magic));
    // A CSV file may begin with such letters, and not with such a byte.
    let has_control = head.iter().any(|byte| *byte < 0x09);
    found.filter(|_| has_control).map(|(_, name)| *name)
}
