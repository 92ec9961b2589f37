//! Splits CSV into records exactly as PostgreSQL's `COPY` does (`CopyReadLineText` and `CopyReadAttributesCSV` of
//! copyfromparse.c). It is our own because it must tell `""` from an unquoted empty field, and report a quote that does
//! not end; the crates csv, csv-core and arrow-csv do neither. It differs from COPY in one point: a line `\.` is data,
//! as in PostgreSQL 18, where older releases end the file at it without an error.

use std::io::{self, BufRead, BufReader, Read};

/// The most bytes of a record, as in PostgreSQL.
const MAX_RECORD: usize = (1 << 30) - 1;
const BUFFER: usize = 256 * 1024;

/// The characters of a file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Characters {
    pub(super) delimiter: u8,
    pub(super) quote: Option<u8>,
    pub(super) escape: Option<u8>,
    pub(super) comment: Option<u8>,
}

/// A record: its fields, and where it begins.
#[derive(Debug, Default, Clone)]
pub(super) struct Record {
    /// The line in which it begins, from 1.
    pub(super) line: u64,
    /// The bytes of all fields without quotes and separators.
    pub(super) bytes: Vec<u8>,
    /// The end of each field in the bytes.
    ends: Vec<usize>,
    /// Whether a part of the field was quoted.
    quoted: Vec<bool>,
}

impl Record {
    /// Returns the number of fields, at least one.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// Returns where a field begins and ends, and whether a part of it was quoted.
    pub(super) fn field(&self, index: usize) -> (std::ops::Range<usize>, bool) {
        let begin = index
            .checked_sub(1)
            .and_then(|before| self.ends.get(before));
        let end = self.ends.get(index).copied().unwrap_or(self.bytes.len());
        let quoted = self.quoted.get(index).copied().unwrap_or(false);
        (begin.copied().unwrap_or(0)..end, quoted)
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
        self.quoted.clear();
    }

    fn end_field(&mut self, quoted: &mut bool) {
        self.ends.push(self.bytes.len());
        self.quoted.push(std::mem::take(quoted));
    }
}

/// What is wrong with a file, and where.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) line: u64,
    /// The field, counted from 0.
    pub(super) field: usize,
    pub(super) reason: Reason,
}

/// The kinds of faults.
#[derive(Debug)]
pub(super) enum Reason {
    /// The file ends within a quoted field, which begins at the place of the fault.
    OpenQuote,
    /// A carriage return where the other lines end with a newline.
    CarriageReturn,
    /// A newline where the other lines end with a carriage return.
    Newline,
    TooLong,
    Io(io::Error),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LineEnd {
    Newline,
    CarriageReturn,
    Both,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before the first byte of a record.
    Begin,
    Unquoted,
    Quoted,
    /// After the escape in a quoted field.
    Escaped,
    /// In a line that is left out.
    Skipped,
    /// After a carriage return: the end of a record, or of a line that is left out.
    Returned {
        skipped: bool,
    },
}

/// Splits a stream of bytes into records.
pub(super) struct Splitter<R> {
    input: BufReader<R>,
    characters: Characters,
    /// Whether a byte ends a run of plain bytes outside quotes, and within them.
    stops: [[bool; 256]; 2],
    line_end: Option<LineEnd>,
    line: u64,
    skipped_lines: u64,
}

impl<R: Read> Splitter<R> {
    /// Reads a stream and leaves out this number of lines at its beginning.
    pub(super) fn new(input: R, characters: Characters, skipped_lines: u64) -> Self {
        let mut stops = [[false; 256]; 2];
        let outside = [
            Some(characters.delimiter),
            characters.quote,
            Some(b'\n'),
            Some(b'\r'),
        ];
        let within = [
            characters.quote,
            characters.escape,
            Some(b'\n'),
            Some(b'\r'),
        ];
        for (stops, bytes) in stops.iter_mut().zip([outside, within]) {
            for byte in bytes.into_iter().flatten() {
                stops[usize::from(byte)] = true;
            }
        }
        Self {
            input: BufReader::with_capacity(BUFFER, input),
            characters,
            stops,
            line_end: None,
            line: 1,
            skipped_lines,
        }
    }

    /// Reads the next record; `false` at the end of the stream.
    ///
    /// # Errors
    /// A fault, after which nothing more can be read.
    pub(super) fn next(&mut self, record: &mut Record) -> Result<bool, Fault> {
        record.clear();
        record.line = self.line;
        let mut state = if self.skipped_lines > 0 {
            State::Skipped
        } else {
            State::Begin
        };
        let (mut quoted, mut quote_line) = (false, self.line);
        loop {
            let place = (self.line, record.ends.len());
            let fault = |reason| Fault {
                line: place.0,
                field: place.1,
                reason,
            };
            let chunk = match self.input.fill_buf() {
                Ok(chunk) => chunk,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(fault(Reason::Io(error))),
            };
            let Some(&byte) = chunk.first() else {
                return match state {
                    State::Begin | State::Skipped | State::Returned { skipped: true } => Ok(false),
                    State::Escaped if self.characters.escape == self.characters.quote => {
                        state = State::Unquoted;
                        continue;
                    }
                    State::Quoted | State::Escaped => {
                        let line = quote_line;
                        Err(Fault {
                            line,
                            ..fault(Reason::OpenQuote)
                        })
                    }
                    State::Unquoted | State::Returned { skipped: false } => {
                        record.end_field(&mut quoted);
                        self.line += 1;
                        Ok(true)
                    }
                };
            };
            if record.bytes.len() > MAX_RECORD {
                return Err(fault(Reason::TooLong));
            }
            match state {
                State::Begin => {
                    record.line = self.line;
                    let is_comment = self.characters.comment == Some(byte);
                    state = if is_comment {
                        State::Skipped
                    } else {
                        State::Unquoted
                    };
                }
                State::Unquoted | State::Quoted => {
                    let stops = &self.stops[usize::from(state == State::Quoted)];
                    let plain = chunk.iter().position(|byte| stops[usize::from(*byte)]);
                    let plain = plain.unwrap_or(chunk.len());
                    if plain > 0 {
                        record.bytes.extend_from_slice(&chunk[..plain]);
                        self.input.consume(plain);
                        continue;
                    }
                    self.input.consume(1);
                    if state == State::Quoted {
                        state = self.within_quotes(byte, record);
                        continue;
                    }
                    match byte {
                        b'\n' => {
                            self.newline().map_err(fault)?;
                            record.end_field(&mut quoted);
                            return Ok(true);
                        }
                        b'\r' => state = self.returned(false).map_err(fault)?,
                        byte if byte == self.characters.delimiter => record.end_field(&mut quoted),
                        _ => {
                            (state, quoted, quote_line) = (State::Quoted, true, self.line);
                        }
                    }
                }
                State::Escaped => {
                    let Characters { quote, escape, .. } = self.characters;
                    if Some(byte) == quote || Some(byte) == escape {
                        record.bytes.push(byte);
                        self.input.consume(1);
                        state = State::Quoted;
                    } else if quote == escape {
                        state = State::Unquoted;
                    } else {
                        record.bytes.extend(escape);
                        state = State::Quoted;
                    }
                }
                State::Skipped => {
                    let end = chunk.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
                    let Some(end) = end else {
                        let all = chunk.len();
                        self.input.consume(all);
                        continue;
                    };
                    let byte = chunk[end];
                    self.input.consume(end + 1);
                    if byte == b'\r' {
                        state = self.returned(true).map_err(fault)?;
                    } else {
                        self.newline().map_err(fault)?;
                        state = self.skipped();
                    }
                }
                State::Returned { skipped } => {
                    let ends_both = byte == b'\n';
                    if self.line_end.is_none() {
                        let both = if ends_both {
                            LineEnd::Both
                        } else {
                            LineEnd::CarriageReturn
                        };
                        self.line_end = Some(both);
                    }
                    if self.line_end == Some(LineEnd::Both) {
                        if !ends_both {
                            return Err(fault(Reason::CarriageReturn));
                        }
                        self.input.consume(1);
                    }
                    self.line += 1;
                    if skipped {
                        state = self.skipped();
                    } else {
                        record.end_field(&mut quoted);
                        return Ok(true);
                    }
                }
            }
        }
    }

    /// Takes a byte of a quoted field that is not plain.
    fn within_quotes(&mut self, byte: u8, record: &mut Record) -> State {
        // The escape may be the quote itself.
        if Some(byte) == self.characters.escape {
            return State::Escaped;
        }
        if Some(byte) == self.characters.quote {
            return State::Unquoted;
        }
        let counts_returns = self.line_end == Some(LineEnd::CarriageReturn);
        if (byte == b'\r') == counts_returns {
            self.line += 1;
        }
        record.bytes.push(byte);
        State::Quoted
    }

    fn newline(&mut self) -> Result<(), Reason> {
        if *self.line_end.get_or_insert(LineEnd::Newline) != LineEnd::Newline {
            return Err(Reason::Newline);
        }
        self.line += 1;
        Ok(())
    }

    fn returned(&self, skipped: bool) -> Result<State, Reason> {
        if self.line_end == Some(LineEnd::Newline) {
            return Err(Reason::CarriageReturn);
        }
        Ok(State::Returned { skipped })
    }

    /// Counts a line that was left out, and returns what the next one is.
    fn skipped(&mut self) -> State {
        self.skipped_lines = self.skipped_lines.saturating_sub(1);
        if self.skipped_lines > 0 {
            State::Skipped
        } else {
            State::Begin
        }
    }
}
