//! Where a file's bytes come from: a file that can be read again, or standard input and pipes, which cannot.

use std::fs::File;
use std::io::{self, Cursor, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tempfile::NamedTempFile;

use super::compressed::Compression;
use super::fault::{io_fault, unreadable};
use crate::error::{Error, Result};

/// The argument that names standard input.
pub(super) const STDIN: &str = "-";
/// The number of bytes that say the compression, and then the format.
const HEAD_BYTES: u64 = 16;

/// An open source of bytes.
pub(super) struct Source {
    /// Its path, or what it is called in errors.
    pub(super) name: String,
    /// Its size as it is stored; `None` for standard input and pipes.
    pub(super) byte_count: Option<u64>,
    /// The first bytes of its content.
    pub(super) head: Vec<u8>,
    compression: Compression,
    place: Place,
    bytes_read: Arc<AtomicU64>,
}

enum Place {
    File(PathBuf),
    /// A copy of the content, removed when the source is dropped.
    Copy(NamedTempFile),
    Once(Mutex<Option<Box<dyn Read + Send>>>),
}

impl Source {
    /// Opens a path, or standard input for `-`. `bytes_read` is set to the number of bytes read so far.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidCommand`](crate::error::ErrorKind::InvalidCommand) when it cannot be read or is empty.
    pub(super) fn open(path: &Path, bytes_read: Arc<AtomicU64>) -> Result<Self> {
        let is_stdin = path.as_os_str() == STDIN;
        let name = if is_stdin {
            "standard input".to_owned()
        } else {
            path.display().to_string()
        };
        let source = Self::begin(path, is_stdin, &name, bytes_read);
        let source = source.map_err(|error| io_fault(&name, &error))?;
        if source.head.is_empty() {
            return Err(unreadable(&name, "the file is empty"));
        }
        if source.head.starts_with(b"PK\x03\x04") {
            return Err(unreadable(&name, "the file is a zip archive")
                .with_hint("pipe its content: unzip -p FILE | pgflight load - …"));
        }
        Ok(source)
    }

    fn begin(
        path: &Path,
        is_stdin: bool,
        name: &str,
        bytes_read: Arc<AtomicU64>,
    ) -> io::Result<Self> {
        let mut source = Self {
            name: name.to_owned(),
            byte_count: None,
            head: Vec::new(),
            compression: Compression::None,
            place: Place::File(path.to_owned()),
            bytes_read,
        };
        let mut raw = Vec::new();
        let mut input: Box<dyn Read + Send> = if is_stdin {
            Box::new(io::stdin())
        } else {
            let file = File::open(path)?;
            let metadata = file.metadata()?;
            source.byte_count = metadata.is_file().then_some(metadata.len());
            Box::new(file)
        };
        input.by_ref().take(HEAD_BYTES).read_to_end(&mut raw)?;
        source.compression = Compression::of(&raw);
        let whole = Cursor::new(raw).chain(input);
        let mut content = source.compression.reader(source.watched(whole))?;
        let head = &mut source.head;
        content.by_ref().take(HEAD_BYTES).read_to_end(head)?;
        if source.byte_count.is_none() {
            let content = Cursor::new(source.head.clone()).chain(content);
            source.place = Place::Once(Mutex::new(Some(Box::new(content))));
        }
        Ok(source)
    }

    /// Returns whether the content can be read more than once.
    pub(super) fn is_repeatable(&self) -> bool {
        !matches!(self.place, Place::Once(_))
    }

    /// Returns a reader of the content from its beginning.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidCommand`](crate::error::ErrorKind::InvalidCommand) when the file cannot be opened, and when
    /// the content was read before and cannot be read again.
    pub(super) fn reader(&self) -> Result<Box<dyn Read + Send>> {
        let opened = match &self.place {
            Place::Once(content) => {
                let mut content = content.lock().unwrap_or_else(PoisonError::into_inner);
                return content.take().ok_or_else(|| read_twice(&self.name));
            }
            Place::File(path) => File::open(path),
            Place::Copy(copy) => copy.reopen(),
        };
        self.bytes_read.store(0, Ordering::Relaxed);
        let content = opened.and_then(|file| self.compression.reader(self.watched(file)));
        content.map_err(|error| io_fault(&self.name, &error))
    }

    /// Returns the source of a file that is not compressed and in which a reader can jump: itself, or a temporary copy
    /// of its content.
    ///
    /// # Errors
    /// The errors of [`Source::reader`], and those of writing the copy.
    pub(super) fn into_plain_file(self) -> Result<Self> {
        if self.is_repeatable() && self.compression == Compression::None {
            return Ok(self);
        }
        let mut content = self.reader()?;
        let copied = NamedTempFile::new().and_then(|mut copy| {
            io::copy(&mut content, &mut copy)?;
            copy.flush()?;
            Ok(copy)
        });
        let copy = copied.map_err(|error| io_fault(&self.name, &error))?;
        let size = copy.as_file().metadata();
        Ok(Self {
            byte_count: size.ok().map(|metadata| metadata.len()),
            compression: Compression::None,
            place: Place::Copy(copy),
            ..self
        })
    }

    /// Returns a source whose content can be read more than once: itself, or a temporary copy.
    ///
    /// # Errors
    /// The errors of [`Source::into_plain_file`].
    pub(super) fn into_repeatable(self) -> Result<Self> {
        if self.is_repeatable() {
            Ok(self)
        } else {
            self.into_plain_file()
        }
    }

    /// Opens the file of a source that [`Source::into_plain_file`] returned. Its reads are not counted.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidCommand`](crate::error::ErrorKind::InvalidCommand) when it cannot be opened.
    pub(super) fn file(&self) -> Result<File> {
        let opened = match &self.place {
            Place::File(path) => File::open(path),
            Place::Copy(copy) => copy.reopen(),
            Place::Once(_) => return Err(read_twice(&self.name)),
        };
        opened.map_err(|error| io_fault(&self.name, &error))
    }

    /// Sets the number of bytes read so far, for a reader that jumps.
    pub(super) fn set_bytes_read(&self, count: u64) {
        self.bytes_read.store(count, Ordering::Relaxed);
    }

    fn watched<R>(&self, file: R) -> Watched<R> {
        Watched {
            file,
            bytes_read: Arc::clone(&self.bytes_read),
        }
    }
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Source").field(&self.name).finish()
    }
}

/// The error for a pipe whose stream broke: what was read from it is gone.
pub(super) fn read_twice(name: &str) -> Error {
    Error::invalid_command(format!("cannot read {name} again from its beginning"))
        .with_hint("start the load again, or load from a file, which is sent again after an outage")
}

/// A file that counts the bytes read.
struct Watched<R> {
    file: R,
    bytes_read: Arc<AtomicU64>,
}

impl<R: Read> Read for Watched<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        let read = u64::try_from(count).unwrap_or(0);
        self.bytes_read.fetch_add(read, Ordering::Relaxed);
        Ok(count)
    }
}
