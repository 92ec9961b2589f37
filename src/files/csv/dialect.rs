//! How a CSV file is written. The defaults are those of PostgreSQL's `COPY … (FORMAT csv, HEADER)`.

/// What to do with a column without a name: pandas and R write row names in such a column, the first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Unnamed {
    /// Reject the file.
    #[default]
    Reject,
    /// Give the column this name.
    Name(String),
    /// Leave the column out.
    Drop,
}

/// The form of a CSV file.
#[derive(Debug, Clone)]
pub struct Dialect {
    /// The separator of fields; `None` for a tab in files whose names end with `.tsv` or `.tab`, and a comma in others.
    pub delimiter: Option<u8>,
    /// The quote around fields; `None` where no character is a quote.
    pub quote: Option<u8>,
    /// The character before a quote within a quoted field; `None` for the quote itself.
    pub escape: Option<u8>,
    /// The unquoted fields that are NULL.
    pub nulls: Vec<String>,
    /// Whether the first line has the names of the columns.
    pub header: bool,
    /// The names of the columns in place of the header's; empty for the header's.
    pub columns: Vec<String>,
    /// The number of lines to leave out before the header.
    pub skip: u64,
    /// The character that lines to leave out begin with.
    pub comment: Option<u8>,
    /// The encoding, by a name or label of the WHATWG's Encoding Standard; `None` for UTF-8.
    pub encoding: Option<String>,
    /// What to do with a column without a name.
    pub unnamed: Unnamed,
}

impl Default for Dialect {
    fn default() -> Self {
        Self {
            delimiter: None,
            quote: Some(b'"'),
            escape: None,
            nulls: vec![String::new()],
            header: true,
            columns: Vec::new(),
            skip: 0,
            comment: None,
            encoding: None,
            unnamed: Unnamed::Reject,
        }
    }
}

impl Dialect {
    /// Returns the separator for a file of this name, without the ending of a compression.
    pub(super) fn delimiter_for(&self, name: &str) -> u8 {
        let name = name.to_ascii_lowercase();
        let is_tsv = [".tsv", ".tab"].iter().any(|ending| name.ends_with(ending));
        self.delimiter.unwrap_or(if is_tsv { b'\t' } else { b',' })
    }
}
