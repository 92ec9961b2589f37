//! Random schemas, types and values through plan and encoder, judged by a parser that knows what
//! PostgreSQL's receive functions read and nothing of the encoder.
//!
//! A case is made of bytes, as a fuzzer would make it. Inputs that reach something new (a pair of types
//! and what became of it) are kept and changed further. `PGFLIGHT_FUZZ_SECONDS` makes a run longer,
//! `PGFLIGHT_SEED` repeats one.

#![expect(
    clippy::disallowed_types,
    clippy::wildcard_enum_match_arm,
    reason = "a run is as long as the clock says, and what is not named is left as it is"
)]

use std::collections::{BTreeMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arbitrary::{Arbitrary, Result, Unstructured};
use arrow_array::types::*;
use arrow_array::*;
use arrow_buffer::{IntervalDayTime, IntervalMonthDayNano, NullBuffer, OffsetBuffer, i256};
use arrow_schema::{DataType, Field, Fields};

use super::judge::judge;
use super::property::parse;
use super::{array_of, batch, column, encode, pg_type, relation};
use crate::error::ErrorKind;
use crate::plan::{Attribute, Conversion, EncodePlan, PgType, PgTypeKind as K, Rounding};

/// How deep arrays and types are nested.
const DEPTH: usize = 3;
/// Bytes of an input: enough for a few columns of a few rows.
const INPUT: usize = 2048;
/// Types that are tried for a column before it is taken as refused.
const TRIES: usize = 6;

type F16 = <Float16Type as ArrowPrimitiveType>::Native;

/// Rows of an optional value each.
fn values<T>(
    u: &mut Unstructured<'_>,
    rows: usize,
    mut value: impl FnMut(&mut Unstructured<'_>) -> Result<T>,
) -> Result<Vec<Option<T>>> {
    (0..rows)
        .map(|_| match u.ratio(1, 6)? {
            true => Ok(None),
            false => value(u).map(Some),
        })
        .collect()
}

/// Small numbers, and now and then an extreme or any other.
fn integer<T>(u: &mut Unstructured<'_>, least: T, most: T) -> Result<T>
where
    T: for<'a> Arbitrary<'a> + TryFrom<i8>,
{
    Ok(match u.int_in_range(0..=30)? {
        1 => least,
        2 => most,
        3 => u.arbitrary()?,
        _ => {
            let small = u.int_in_range(-4..=20_i8)?;
            T::try_from(small).unwrap_or(least)
        }
    })
}

const WORDS: [&str; 24] = [
    "true",
    "NaN",
    "-Infinity",
    "1e-7",
    "2013-01-01",
    "T",
    " ",
    "12:30:00.25",
    "Z",
    "+02:00",
    "10.0.0.0/8",
    "::1",
    "08:00:2b:01:02:03",
    "6ba7b810-9dad-11d1-80b4-00c04fd430c8",
    "\\x00ff",
    "red",
    "{}",
    "\"",
    "\\",
    "é",
    "\0",
    "0",
    "-",
    "99999999999999999999",
];

/// Rows of one word, which may be just right for a type, and now and then of any text.
fn texts(u: &mut Unstructured<'_>, rows: usize) -> Result<Vec<Option<String>>> {
    let word = *u.choose(&WORDS)?;
    values(u, rows, |u| match u.int_in_range(0..=24)? {
        1 => u.arbitrary(),
        2 => Ok(u.choose(&WORDS)?.repeat(u.int_in_range(1..=3)?)),
        _ => Ok(word.to_owned()),
    })
}

/// Zero, or whatever else bits mean.
fn float<B, T>(u: &mut Unstructured<'_>, from_bits: fn(B) -> T) -> Result<T>
where
    B: for<'a> Arbitrary<'a> + From<u8>,
{
    Ok(from_bits(match u.ratio(1, 4)? {
        true => u.arbitrary()?,
        false => B::from(0),
    }))
}

fn zone(u: &mut Unstructured<'_>) -> Result<Option<Arc<str>>> {
    Ok(u.choose(&[
        None,
        Some("UTC"),
        Some("+02:00"),
        Some("Europe/Berlin"),
        Some("?"),
    ])?
    .map(Arc::from))
}

fn array(u: &mut Unstructured<'_>, rows: usize, depth: usize) -> Result<ArrayRef> {
    macro_rules! integers {
        ($t:ty) => {{
            type N = <$t as ArrowPrimitiveType>::Native;
            let values = values(u, rows, |u| integer::<N>(u, N::MIN, N::MAX))?;
            PrimitiveArray::<$t>::from(values)
        }};
    }
    macro_rules! decimals {
        ($t:ty, $values:expr) => {{
            let precision = u.int_in_range(1..=<$t as DecimalType>::MAX_PRECISION)?;
            let most = i8::try_from(precision).unwrap();
            let scale = u.int_in_range(-5..=most)?;
            let array = PrimitiveArray::<$t>::from($values);
            Arc::new(array.with_precision_and_scale(precision, scale).unwrap())
        }};
    }
    let flat = 36;
    Ok(
        match u.int_in_range(0..=if depth == 0 { flat } else { flat + 8 })? {
            0 => Arc::new(NullArray::new(rows)),
            1 => Arc::new(BooleanArray::from(values(u, rows, |u| {
                u.arbitrary::<bool>()
            })?)),
            2 => Arc::new(integers!(Int8Type)),
            3 => Arc::new(integers!(Int16Type)),
            4 => Arc::new(integers!(Int32Type)),
            5 => Arc::new(integers!(Int64Type)),
            6 => Arc::new(integers!(UInt8Type)),
            7 => Arc::new(integers!(UInt16Type)),
            8 => Arc::new(integers!(UInt32Type)),
            9 => Arc::new(integers!(UInt64Type)),
            10 => Arc::new(Float16Array::from(values(u, rows, |u| {
                float(u, F16::from_bits)
            })?)),
            11 => Arc::new(Float32Array::from(values(u, rows, |u| {
                float(u, f32::from_bits)
            })?)),
            12 => Arc::new(Float64Array::from(values(u, rows, |u| {
                float(u, f64::from_bits)
            })?)),
            13 => decimals!(
                Decimal32Type,
                values(u, rows, |u| integer(u, i32::MIN, i32::MAX))?
            ),
            14 => decimals!(
                Decimal64Type,
                values(u, rows, |u| integer(u, i64::MIN, i64::MAX))?
            ),
            15 => decimals!(
                Decimal128Type,
                values(u, rows, |u| integer(u, i128::MIN, i128::MAX))?
            ),
            16 => decimals!(
                Decimal256Type,
                values(u, rows, |u| Ok(i256::from_parts(
                    u.arbitrary()?,
                    integer(u, i128::MIN, i128::MAX)?
                )))?
            ),
            17 => Arc::new(StringArray::from(texts(u, rows)?)),
            18 => Arc::new(LargeStringArray::from(texts(u, rows)?)),
            19 => Arc::new(texts(u, rows)?.into_iter().collect::<StringViewArray>()),
            20 => Arc::new(
                values(u, rows, |u| u.arbitrary::<Vec<u8>>())?
                    .into_iter()
                    .collect::<BinaryArray>(),
            ),
            21 => Arc::new(
                values(u, rows, |u| u.arbitrary::<Vec<u8>>())?
                    .into_iter()
                    .collect::<BinaryViewArray>(),
            ),
            22 => {
                let values = values(u, rows, |u| u.arbitrary::<[u8; 16]>())?.into_iter();
                Arc::new(FixedSizeBinaryArray::try_from_sparse_iter_with_size(values, 16).unwrap())
            }
            23 => Arc::new(integers!(Date32Type)),
            24 => Arc::new(integers!(Date64Type)),
            25 => Arc::new(integers!(Time32SecondType)),
            26 => Arc::new(integers!(Time32MillisecondType)),
            27 => Arc::new(integers!(Time64MicrosecondType)),
            28 => Arc::new(integers!(Time64NanosecondType)),
            29 => Arc::new(integers!(TimestampSecondType).with_timezone_opt(zone(u)?)),
            30 => Arc::new(integers!(TimestampMillisecondType).with_timezone_opt(zone(u)?)),
            31 => Arc::new(integers!(TimestampMicrosecondType).with_timezone_opt(zone(u)?)),
            32 => Arc::new(integers!(TimestampNanosecondType).with_timezone_opt(zone(u)?)),
            33 => Arc::new(integers!(DurationSecondType)),
            34 => Arc::new(integers!(DurationNanosecondType)),
            35 => Arc::new(IntervalDayTimeArray::from(values(u, rows, |u| {
                Ok(IntervalDayTime::new(
                    u.arbitrary()?,
                    integer(u, i32::MIN, i32::MAX)?,
                ))
            })?)),
            36 => Arc::new(IntervalMonthDayNanoArray::from(values(u, rows, |u| {
                Ok(IntervalMonthDayNano::new(
                    u.arbitrary()?,
                    u.arbitrary()?,
                    integer(u, i64::MIN, i64::MAX)?,
                ))
            })?)),
            37..=39 => list(u, rows, depth)?,
            40 => {
                let size = u.int_in_range(0..=3)?;
                let items = array(u, rows * size, depth - 1)?;
                let field = Arc::new(Field::new("item", items.data_type().clone(), true));
                let size = i32::try_from(size).unwrap();
                let made = FixedSizeListArray::try_new(field, size, items, validity(u, rows)?);
                // Of size 0 it does not say how many rows it has.
                made.ok().filter(|made| made.len() == rows).map_or_else(
                    || Arc::new(NullArray::new(rows)) as ArrayRef,
                    |made| Arc::new(made),
                )
            }
            41 => {
                let names = *u.choose(&[&["a", "b"][..], &["a"], &["lower", "upper"]])?;
                let arrays = names.iter().map(|_| array(u, rows, depth - 1));
                let arrays = arrays.collect::<Result<Vec<_>>>()?;
                let fields: Fields = names
                    .iter()
                    .zip(&arrays)
                    .map(|(name, array)| Field::new(*name, array.data_type().clone(), true))
                    .collect();
                Arc::new(StructArray::new(fields, arrays, validity(u, rows)?))
            }
            42 => {
                let lengths = lengths(u, rows)?;
                let count = lengths.iter().sum();
                let keys: ArrayRef = Arc::new(
                    (0..count)
                        .map(|_| u.choose(&WORDS).map(Some))
                        .collect::<Result<StringArray>>()?,
                );
                let items = array(u, count, depth - 1)?;
                let fields = Fields::from(vec![
                    Field::new("key", DataType::Utf8, false),
                    Field::new("value", items.data_type().clone(), true),
                ]);
                let entries = StructArray::new(fields.clone(), vec![keys, items], None);
                let field = Arc::new(Field::new("entries", DataType::Struct(fields), false));
                let offsets = OffsetBuffer::from_lengths(lengths);
                Arc::new(MapArray::new(
                    field,
                    offsets,
                    entries,
                    validity(u, rows)?,
                    false,
                ))
            }
            43 => {
                let items = array(u, 3, depth - 1)?;
                let keys = values(u, rows, |u| u.int_in_range(0..=2_i32))?;
                Arc::new(DictionaryArray::new(Int32Array::from(keys), items))
            }
            _ => {
                let length = i32::try_from(rows).unwrap();
                let ends = [length / 2, length];
                let ends: Vec<i32> = ends.into_iter().filter(|end| *end > 0).take(2).collect();
                let ends: Vec<i32> = match ends[..] {
                    [a, b] if a == b => vec![a],
                    _ => ends,
                };
                let items = array(u, ends.len(), depth - 1)?;
                Arc::new(RunArray::<Int32Type>::try_new(&Int32Array::from(ends), &items).unwrap())
            }
        },
    )
}

fn lengths(u: &mut Unstructured<'_>, rows: usize) -> Result<Vec<usize>> {
    (0..rows).map(|_| u.int_in_range(0..=3)).collect()
}

fn validity(u: &mut Unstructured<'_>, rows: usize) -> Result<Option<NullBuffer>> {
    let valid: Vec<bool> = (0..rows).map(|_| u.ratio(4, 5)).collect::<Result<_>>()?;
    Ok(Some(NullBuffer::from(valid)))
}

fn list(u: &mut Unstructured<'_>, rows: usize, depth: usize) -> Result<ArrayRef> {
    let lengths = lengths(u, rows)?;
    let items = array(u, lengths.iter().sum(), depth - 1)?;
    let field = Arc::new(Field::new("item", items.data_type().clone(), true));
    let nulls = validity(u, rows)?;
    Ok(match u.arbitrary()? {
        true => Arc::new(ListArray::new(
            field,
            OffsetBuffer::from_lengths(lengths),
            items,
            nulls,
        )),
        false => Arc::new(LargeListArray::new(
            field,
            OffsetBuffer::from_lengths(lengths),
            items,
            nulls,
        )),
    })
}

/// A type that a column can have, with a modifier that PostgreSQL would give it.
fn kind(u: &mut Unstructured<'_>, depth: usize) -> Result<(K, i32)> {
    const FLAT: [K; 36] = [
        K::Bool,
        K::Int2,
        K::Int4,
        K::Int8,
        K::Oid,
        K::Float4,
        K::Float8,
        K::Numeric,
        K::Numeric,
        K::Text,
        K::Varchar,
        K::Bpchar,
        K::Name,
        K::Bytea,
        K::Json,
        K::Jsonb,
        K::Uuid,
        K::Date,
        K::Time,
        K::Timestamp,
        K::Timestamptz,
        K::Interval,
        K::Timetz,
        K::Bit,
        K::Varbit,
        K::Inet,
        K::Cidr,
        K::Macaddr,
        K::Macaddr8,
        K::VersionedText,
        K::Hstore,
        K::Vector,
        K::Halfvec,
        K::Geometry,
        K::Other,
        K::Money { fraction_digits: 2 },
    ];
    let boxed = |(kind, _): (K, i32)| Box::new(pg_type(kind));
    let chosen = u.int_in_range(0..=if depth == 0 { 36 } else { 42 })?;
    if let Some(kind) = FLAT.get(chosen) {
        let typmod = match kind {
            _ if u.arbitrary()? => -1,
            K::Numeric => (u.int_in_range(1..=40)? << 16 | (u.int_in_range(-3..=40)? & 0x7ff)) + 4,
            K::Varchar | K::Bpchar => u.int_in_range(1..=6)? + 4,
            K::Bit | K::Varbit | K::Vector | K::Halfvec => u.int_in_range(1..=9)?,
            K::Time | K::Timetz | K::Timestamp | K::Timestamptz => u.int_in_range(0..=6)?,
            K::Interval => 0x7fff << 16 | u.int_in_range(0..=6)?,
            _ => -1,
        };
        return Ok((kind.clone(), typmod));
    }
    Ok(match chosen {
        36 => (K::Enum(vec!["red".into(), "0".into(), String::new()]), -1),
        37 | 38 => {
            let (element, typmod) = kind(u, 0)?;
            (array_of(element), typmod)
        }
        39 => {
            let names = *u.choose(&[&["a", "b"][..], &["b", "a", "c"], &["lower"]])?;
            let attributes = names.iter().map(|name| {
                let (kind, typmod) = kind(u, depth - 1)?;
                Ok(Attribute {
                    name: (*name).to_owned(),
                    ty: pg_type(kind),
                    typmod,
                })
            });
            (K::Composite(attributes.collect::<Result<_>>()?), -1)
        }
        40 => (K::Range(boxed(kind(u, 0)?)), -1),
        41 => (K::Multirange(boxed(kind(u, 0)?)), -1),
        _ => {
            let (base, typmod) = kind(u, depth - 1)?;
            (
                K::Domain {
                    base: Box::new(pg_type(base)),
                    typmod,
                },
                -1,
            )
        }
    })
}

fn conversion(u: &mut Unstructured<'_>) -> Result<Conversion> {
    Ok(Conversion {
        rounding: *u.choose(&[None, Some(Rounding::Floor), Some(Rounding::Nearest)])?,
        zone: u
            .choose(&[None, Some("UTC"), Some("-05:30"), Some("x")])?
            .map(str::to_owned),
        remove_nul: u.arbitrary()?,
    })
}

/// What one case did: each column's types and whether it was refused, rejected or written.
#[derive(Default)]
struct Seen {
    reached: Vec<String>,
    cells: usize,
}

impl Seen {
    /// Precisions and what is deep inside are left out: else everything were new.
    fn reach(&mut self, data_type: &DataType, type_name: &str, outcome: &str) {
        let types = format!("{type_name} {data_type}");
        let types = types
            .chars()
            .filter(|c| !c.is_ascii_digit() || !types.contains('('));
        let types: String = types.take(60).collect();
        self.reached.push(format!("{types} {outcome}"));
    }
}

fn run(input: &[u8]) -> Result<Seen> {
    let u = &mut Unstructured::new(input);
    let mut seen = Seen::default();
    let rows = u.int_in_range(0..=20)?;
    let (mut arrays, mut columns, mut conversions) = (Vec::new(), Vec::new(), BTreeMap::new());
    for _ in 0..u.int_in_range(1..=4)? {
        let array = array(u, rows, DEPTH)?;
        let name = format!("c{}", arrays.len());
        let asked: BTreeMap<_, _> = match u.ratio(1, 4)? {
            true => [(name.clone(), conversion(u)?)].into(),
            false => BTreeMap::new(),
        };
        for _ in 0..TRIES {
            let (kind, typmod) = kind(u, DEPTH)?;
            let mut column = column(&name, kind, typmod);
            column.nullable = u.ratio(7, 8)?;
            let field = Field::new(&name, array.data_type().clone(), true);
            let schema = arrow_schema::Schema::new(vec![field]);
            let alone = relation(vec![column.clone()]);
            let plan = EncodePlan::with_conversions(&schema, &alone, &asked);
            let straight = plan.is_ok_and(|plan| plan.first_cast().is_none());
            let outcome = if straight { "taken" } else { "refused" };
            seen.reach(array.data_type(), &column.ty.name, outcome);
            if straight {
                arrays.push(array);
                columns.push(column);
                conversions.extend(asked);
                break;
            }
        }
    }
    let batch = match arrays.is_empty() {
        true => return Ok(seen),
        false => batch(arrays),
    };
    let plan =
        EncodePlan::with_conversions(&batch.schema(), &relation(columns.clone()), &conversions)
            .expect("each column was taken alone");
    let target = u.int_in_range(1..=4000)?;
    let mut outcome = "written".to_owned();
    let mut batch = batch;
    let bytes = loop {
        match encode(&plan, &batch, target) {
            Ok(bytes) => break bytes,
            Err(error) => {
                let context = error.context();
                assert_eq!(error.kind(), ErrorKind::DataRejected, "{plan}: {error}");
                outcome = format!(
                    "rejected {}",
                    context.sqlstate.as_deref().unwrap_or_default()
                );
                // The rows before it have still to be taken, unless another column minds.
                let row = context.row.expect("a rejected value has a row");
                let row = usize::try_from(row).unwrap();
                assert!(row < batch.num_rows(), "{plan}: {error}");
                batch = batch.slice(0, row);
            }
        }
    };
    let tuples = parse(&bytes);
    assert_eq!(tuples.len(), batch.num_rows(), "{plan}");
    for tuple in &tuples {
        assert_eq!(tuple.len(), columns.len(), "{plan}");
        for (column, field) in columns.iter().zip(tuple) {
            let judged = match field {
                Some(bytes) => judge(&column.ty, column.typmod, bytes),
                None if column.nullable => Ok(()),
                None => Err("NULL in a column that takes none".to_owned()),
            };
            judged.unwrap_or_else(|problem| panic!("{plan}: {problem}: {field:?}"));
            seen.cells += 1;
        }
    }
    let middle = u.int_in_range(0..=batch.num_rows())?;
    let halves = [
        batch.slice(0, middle),
        batch.slice(middle, batch.num_rows() - middle),
    ];
    let halves = halves.map(|half| encode(&plan, &half, 4000).expect("the whole was taken"));
    assert_eq!(halves.concat(), bytes, "{plan}: in two halves");
    for column in plan.columns() {
        seen.reach(&column.data_type, &column.type_name, &outcome);
    }
    Ok(seen)
}

/// Changes some bytes of an input that reached something new, or makes one of its own.
fn next_input(rng: &mut fastrand::Rng, corpus: &[Vec<u8>]) -> Vec<u8> {
    if corpus.is_empty() || rng.u8(..) < 64 {
        return (0..INPUT).map(|_| rng.u8(..)).collect();
    }
    let mut input = corpus[rng.usize(0..corpus.len())].clone();
    for _ in 0..rng.usize(1..8) {
        let at = rng.usize(0..input.len());
        match rng.u8(0..4) {
            0 => input[at] = rng.u8(..),
            1 => input[at] ^= 1 << rng.u8(0..8),
            2 => input[at] = [0, 1, 0x7f, 0x80, 0xff][rng.usize(0..5)],
            _ => {
                let length = rng.usize(0..64).min(INPUT - at);
                let from = rng.usize(0..=INPUT - length);
                input.copy_within(from..from + length, at);
            }
        }
    }
    input
}

#[test]
fn whatever_is_planned_and_encoded_can_be_received() {
    let number = |name: &str| {
        std::env::var(name)
            .ok()
            .and_then(|text| text.parse::<u64>().ok())
    };
    let seed = number("PGFLIGHT_SEED").unwrap_or_else(|| fastrand::u64(..));
    let limit = number("PGFLIGHT_FUZZ_SECONDS").map(Duration::from_secs);
    let mut rng = fastrand::Rng::with_seed(seed);
    let (mut corpus, mut reached) = (Vec::new(), HashSet::new());
    let (mut executions, mut cells) = (0_u64, 0);
    let started = Instant::now();
    // A count rather than a time unless asked for: the same on any machine.
    while limit.map_or(executions < 2000, |limit| started.elapsed() < limit) {
        let input = next_input(&mut rng, &corpus);
        let seen = catch_unwind(AssertUnwindSafe(|| run(&input)));
        let seen = seen.unwrap_or_else(|_| panic!("PGFLIGHT_SEED={seed}, execution {executions}"));
        executions += 1;
        let Ok(seen) = seen else { continue };
        cells += seen.cells;
        let before = reached.len();
        reached.extend(seen.reached);
        if reached.len() > before && corpus.len() < 20_000 {
            corpus.push(input);
        }
    }
    println!(
        "PGFLIGHT_SEED={seed}: {executions} executions, {cells} cells, {} outcomes reached, corpus of {}",
        reached.len(),
        corpus.len()
    );
    assert!(cells > 0, "nothing was written");
}

/// A column's type, for the judge's own test.
fn checked(kind: K, bytes: &[u8]) -> std::result::Result<(), String> {
    let ty: PgType = pg_type(kind);
    judge(&ty, -1, bytes)
}

#[test]
fn the_judge_finds_what_could_not_be_received() {
    for (kind, good, bad) in [
        (K::Int4, &[0, 0, 0, 1][..], &[0, 0, 1][..]),
        (K::Bool, &[1], &[2]),
        (K::Text, b"a", b"a\0"),
        (K::Jsonb, b"\x01{}", b"{}"),
        (
            K::Numeric,
            &[0, 1, 0, 0, 0, 0, 0, 0, 0, 7],
            &[0, 1, 0, 0, 0, 0, 0, 0, 0x27, 0x10],
        ),
        (K::Varbit, &[0, 0, 0, 3, 0xe0], &[0, 0, 0, 3, 0xf0]),
        (array_of(K::Int2), &[0; 12], &[0, 0, 0, 1]),
        (K::Enum(vec!["a".into()]), b"a", b"b"),
    ] {
        // The element's OID, where there is one.
        let good = match &kind {
            K::Array(element) => [&good[..8], &element.oid.to_be_bytes()].concat(),
            _ => good.to_vec(),
        };
        assert_eq!(checked(kind.clone(), &good), Ok(()), "{kind:?}");
        assert!(checked(kind.clone(), bad).is_err(), "{kind:?}");
    }
}
