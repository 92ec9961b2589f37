//! The format of PostgreSQL's binary COPY, and the epochs and ranges of its types.
//!
//! A stream is a header, tuples, and a trailer; a tuple is a field count and its fields; a field is a length word
//! and that many bytes. All integers are big-endian. See [COPY, File Formats, Binary
//! Format](https://www.postgresql.org/docs/current/sql-copy.html).

/// The header: signature, flags (none), and the length of the extension (none).
pub const HEADER: [u8; 19] = *b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";

/// The trailer: a field count of −1.
pub const TRAILER: [u8; 2] = [0xff, 0xff];

/// The length word of a NULL field.
pub const NULL_FIELD: [u8; 4] = [0xff; 4];

/// Days from 1970-01-01, Arrow's epoch, to 2000-01-01, PostgreSQL's (`POSTGRES_EPOCH_JDATE` − `UNIX_EPOCH_JDATE`,
/// datatype/timestamp.h).
pub const EPOCH_DAYS: i32 = 10_957;

/// [`EPOCH_DAYS`] in microseconds.
pub const EPOCH_MICROS: i64 = EPOCH_DAYS as i64 * MICROS_PER_DAY;

/// Seconds of a day without leap seconds.
pub(crate) const SECONDS_PER_DAY: i64 = 86_400;

/// [`SECONDS_PER_DAY`] in milliseconds.
pub(crate) const MILLIS_PER_DAY: i64 = 1000 * SECONDS_PER_DAY;

/// Microseconds of a day without leap seconds.
pub const MICROS_PER_DAY: i64 = 86_400_000_000;

/// The first valid date, 4714-11-24 BC, in days since 2000 (`DATETIME_MIN_JULIAN`, datatype/timestamp.h).
pub const MIN_DATE: i32 = -2_451_545;

/// The end of valid dates, 5874898-01-01, in days since 2000 (`DATE_END_JULIAN`).
pub const END_DATE: i32 = 2_145_031_949;

/// The first valid timestamp, in microseconds since 2000 (`MIN_TIMESTAMP`).
pub const MIN_TIMESTAMP: i64 = -211_813_488_000_000_000;

/// The end of valid timestamps, 294277-01-01, in microseconds since 2000 (`END_TIMESTAMP`).
pub const END_TIMESTAMP: i64 = 9_223_371_331_200_000_000;

/// The version byte at the start of a `jsonb` value (`jsonb_recv`, jsonb.c).
pub(crate) const JSONB_VERSION: u8 = 1;

/// The most bytes of a field, and of a tuple: PostgreSQL stores each in one allocation (`MaxAllocSize`,
/// utils/memutils.h), which includes its own header.
pub const MAX_BYTES: usize = 0x3fff_ffff - 64;
