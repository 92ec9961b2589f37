//! The reasons why a value cannot be written, small enough for the inner loops.

/// The reason why one value cannot be written; becomes an error where column and row are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Problem {
    /// NULL in a NOT NULL column.
    Null,
    /// The value is outside the range of the PostgreSQL type.
    OutOfRange,
    /// The value has more digits than its Arrow type declares.
    BeyondDeclaredPrecision,
    /// The value has a finer fraction than the column keeps.
    LosesDigits,
    /// A floating-point column, or the element of a vector, would round the number.
    NotExact,
    /// NaN or an infinity, where only numbers are stored.
    NotFinite,
    /// Text contains a NUL character.
    Nul,
    /// Text has more characters than the column holds.
    TooManyCharacters,
    /// A `name` of 64 bytes or more.
    NameTooLong,
    /// An XML document declares another encoding than UTF-8.
    OtherEncoding,
    /// Text of the extension type `arrow.json` is not JSON.
    NotJson,
    /// Text is not a UUID.
    NotUuid,
    /// Bytes are not UTF-8.
    NotUtf8,
    /// Text or bytes are not in the form that the conversion names.
    NotInForm,
    /// A binary UUID has another length than 16 bytes.
    NotSixteenBytes,
    /// Text is not a label of the enum.
    UnknownLabel,
    /// An inner list is NULL or differs in length from its siblings.
    NotRectangular,
    /// A key of a map is NULL.
    NullKey,
    /// Text is not valid input for the type.
    NotParsed,
    /// A vector, a point, a multirange or a bit string contains a NULL.
    NullItem,
    /// A flag of a range is NULL.
    NullFlag,
    /// A map has a key twice.
    DuplicateKey,
    /// A vector or a point has the wrong number of elements.
    WrongDimensions,
    /// A bit string has the wrong number of bits.
    WrongBitCount,
    /// The value is larger than PostgreSQL allows for a field.
    FieldTooLarge,
    /// The row is larger than PostgreSQL allows.
    RowTooLarge,
    /// The plan does not fit the array, which is a defect of this crate.
    Unplanned,
}

/// A problem and its row, counted within the batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rejected {
    pub(crate) row: usize,
    pub(crate) problem: Problem,
}

impl Rejected {
    /// Adds the number of rows before its piece or slice to the row.
    pub(crate) fn after(self, first: usize) -> Self {
        Self {
            row: self.row + first,
            ..self
        }
    }
}

impl Problem {
    /// Adds the row, counted within the batch.
    pub(crate) fn at(self, row: usize) -> Rejected {
        Rejected { row, problem: self }
    }

    /// Returns whether the value is valid but outside the column's range.
    pub(crate) fn is_out_of_column_range(self) -> bool {
        matches!(self, Self::OutOfRange | Self::NotFinite)
    }
}
