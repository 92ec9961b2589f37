//! The options of `pgflight load` about its files.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// A format of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum FileFormat {
    /// Apache Parquet.
    Parquet,
    /// Arrow IPC, as a file or a stream.
    Arrow,
    /// CSV, and text with another separator.
    Csv,
    /// JSON lines: an object on each line.
    Json,
}

/// A character that may be absent, which the word `none` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quote(pub Option<u8>);

/// The files of a load, and how they are read.
#[derive(Debug, Args)]
pub struct Read {
    /// Files, folders, patterns such as 'trips/*.csv.gz', or - for standard input. Each file is Parquet, Arrow IPC, CSV
    /// or JSON lines, and may be compressed with gzip, Zstandard, bzip2 or xz; its first bytes and its name say so.
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,

    /// Format of all files. Without it, each file's first bytes and its name decide, and CSV is the rest.
    #[arg(long, value_name = "FORMAT", help_heading = FILES)]
    pub format: Option<FileFormat>,

    /// Ignore folders named like day=2026-01-01, which are columns of the files in them otherwise.
    #[arg(long, help_heading = FILES)]
    pub no_hive: bool,

    /// Separator of CSV fields: an ASCII character, tab or \t, space, or a byte such as \x1f. Without it, a tab in files
    /// named .tsv or .tab, and a comma in others.
    #[arg(long, value_name = "CHARACTER", value_parser = character, help_heading = FILES)]
    pub delimiter: Option<u8>,

    /// Quote around CSV fields, or none.
    #[arg(long, value_name = "CHARACTER", default_value = "\"", value_parser = quote, help_heading = FILES)]
    pub quote: Quote,

    /// Character before a quote within a quoted CSV field. Without it, the quote itself.
    #[arg(long, value_name = "CHARACTER", value_parser = character, help_heading = FILES)]
    pub escape: Option<u8>,

    /// Unquoted CSV field that is NULL. May be repeated; an empty field is then NULL only if --null '' is given, too.
    #[arg(long = "null", value_name = "TEXT", default_value = "", hide_default_value = true, help_heading = FILES)]
    pub nulls: Vec<String>,

    /// The first line of CSV files has no names. Needs --columns.
    #[arg(long, requires = "columns", help_heading = FILES)]
    pub no_header: bool,

    /// Names of all columns of CSV files, in place of those in their first lines.
    #[arg(long, value_name = "NAMES", value_delimiter = ',', help_heading = FILES)]
    pub columns: Vec<String>,

    /// Name for a CSV column without one: the row names of pandas and R.
    #[arg(long, value_name = "NAME", help_heading = FILES)]
    pub name_unnamed: Option<String>,

    /// Leave out the CSV column without a name.
    #[arg(long, conflicts_with = "name_unnamed", help_heading = FILES)]
    pub drop_unnamed: bool,

    /// Number of lines to leave out at the beginning of CSV files.
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true, help_heading = FILES)]
    pub skip: u64,

    /// Character that begins the lines of CSV files to leave out.
    #[arg(long, value_name = "CHARACTER", value_parser = character, help_heading = FILES)]
    pub comment: Option<u8>,

    /// Encoding of CSV files, such as windows-1252, latin1, utf-16le or shift_jis. Without it, UTF-8.
    #[arg(long, value_name = "NAME", help_heading = FILES)]
    pub encoding: Option<String>,
}

const FILES: &str = "Options of files";

/// Reads a character of one byte, or its spelling.
fn character(text: &str) -> Result<u8, String> {
    let byte = match (text, text.as_bytes()) {
        (r"\t" | "tab", _) => b'\t',
        ("space", _) => b' ',
        (_, [b'\\', b'x', digits @ ..]) if digits.len() == 2 => std::str::from_utf8(digits)
            .ok()
            .and_then(|digits| u8::from_str_radix(digits, 16).ok())
            .unwrap_or(u8::MAX),
        (_, [byte]) => *byte,
        _ => u8::MAX,
    };
    match byte {
        b'\n' | b'\r' | 0 => Err("a line break or NUL cannot be this character".to_owned()),
        0x80.. => {
            Err(r"it is not one ASCII character, tab, \t, space, or a byte such as \x1f".to_owned())
        }
        byte => Ok(byte),
    }
}

fn quote(text: &str) -> Result<Quote, String> {
    match text {
        "none" | "" => Ok(Quote(None)),
        text => character(text).map(|byte| Quote(Some(byte))),
    }
}
