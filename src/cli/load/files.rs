//! The files of a load, from its options.

use pgflight::config::{FileFormat, Quote, ReadFiles};
use pgflight::error::{Error, Result};
use pgflight::files::{Dialect, Format, ReadOptions, RowFile, Unnamed, find_files, open_files};

/// Finds and opens the files.
pub(super) fn open(options: &ReadFiles) -> Result<Vec<RowFile>> {
    let paths = find_files(&options.files)?;
    open_files(
        &paths,
        &ReadOptions {
            format: options.format.map(|format| match format {
                FileFormat::Parquet => Format::Parquet,
                FileFormat::Arrow => Format::Arrow,
                FileFormat::Csv => Format::Csv,
                FileFormat::Json => Format::Json,
            }),
            csv: dialect(options)?,
            no_hive: options.no_hive,
        },
    )
}

fn dialect(options: &ReadFiles) -> Result<Dialect> {
    let Quote(quote) = options.quote;
    let specials = [
        ("--delimiter", Some(options.delimiter.unwrap_or(b','))),
        ("--quote", quote),
        ("--comment", options.comment),
    ];
    for (place, (option, byte)) in specials.iter().enumerate() {
        let same = specials[..place]
            .iter()
            .find(|(_, other)| byte.is_some() && other == byte);
        if let Some((other, _)) = same {
            return Err(Error::invalid_command(format!(
                "{other} and {option} name one character"
            )));
        }
    }
    let parts = [options.delimiter.unwrap_or(b','), b'\n', b'\r'];
    let parts = parts.into_iter().chain(quote);
    let ends = |byte: u8| parts.clone().any(|part| part == byte);
    if options.nulls.iter().any(|null| null.bytes().any(ends)) {
        return Err(Error::invalid_command(
            "--null holds a separator, a quote or a line break, which an unquoted field cannot",
        ));
    }
    if options.escape.is_some() && quote.is_none() {
        return Err(Error::invalid_command("--escape needs a quote"));
    }
    Ok(Dialect {
        delimiter: options.delimiter,
        quote,
        escape: options.escape,
        nulls: options.nulls.clone(),
        header: !options.no_header,
        columns: options.columns.clone(),
        skip: options.skip,
        comment: options.comment,
        encoding: options.encoding.clone(),
        unnamed: match &options.name_unnamed {
            Some(name) => Unnamed::Name(name.clone()),
            None if options.drop_unnamed => Unnamed::Drop,
            None => Unnamed::Reject,
        },
    })
}
