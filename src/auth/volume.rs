//! The limits of how much is written.

/// The limits of one stream and of one write; `None` for no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Volume {
    /// Rows of a stream.
    pub max_rows_per_stream: Option<u64>,
    /// Bytes of COPY of a stream.
    pub max_bytes_per_stream: Option<u64>,
    /// Rows of all recorded streams of a write.
    pub max_rows_per_write: Option<u64>,
    /// Bytes of COPY of all recorded streams of a write.
    pub max_bytes_per_write: Option<u64>,
}

impl Volume {
    /// Returns every limit with the name of its option.
    pub fn options(&self) -> [(&'static str, Option<u64>); 4] {
        let Self {
            max_rows_per_stream,
            max_bytes_per_stream,
            max_rows_per_write,
            max_bytes_per_write,
        } = *self;
        [
            ("max_rows_per_stream", max_rows_per_stream),
            ("max_bytes_per_stream", max_bytes_per_stream),
            ("max_rows_per_write", max_rows_per_write),
            ("max_bytes_per_write", max_bytes_per_write),
        ]
    }
}
