//! How much may be written.

/// The most that one stream and one write may hold; none where there is no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Volume {
    /// Rows of a stream.
    pub max_rows_per_stream: Option<u64>,
    /// Bytes of a stream, as COPY sends them to PostgreSQL.
    pub max_bytes_per_stream: Option<u64>,
    /// Rows of all recorded streams of a write.
    pub max_rows_per_write: Option<u64>,
    /// Bytes of all recorded streams of a write, as COPY sends them to PostgreSQL.
    pub max_bytes_per_write: Option<u64>,
}

impl Volume {
    /// Every limit, with the name of its option.
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
