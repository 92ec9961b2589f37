//! Random schemas, types and values through plan and encoder. The judge is a parser that is written from
//! PostgreSQL's receive functions, and not from the encoder.
//!
//! A case is made from bytes, as a fuzzer provides them; `fuzz/` runs the same cases guided by coverage. Here,
//! inputs with a new outcome (a pair of types and its result) are kept and mutated. `PGFLIGHT_FUZZ_SECONDS` makes a
//! run longer, `PGFLIGHT_SEED` repeats one.

#![expect(clippy::disallowed_types, reason = "a run may be limited by time")]

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use super::cases::{judge, run};
use super::{array_of, pg_type};
use crate::table::{PgType, PgTypeKind as K};

/// Bytes of an input: enough for a few columns of a few rows.
const INPUT: usize = 2048;

/// Mutates an input that reached something new, or makes a random one.
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

/// The inputs that a fuzzer found to reach different parts, padded to the same length.
fn seeds() -> Vec<Vec<u8>> {
    let folder = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../fuzz/seeds/plan_and_encode"
    );
    let files = std::fs::read_dir(folder).unwrap();
    let seeds = files.map(|file| {
        let mut seed = std::fs::read(file.unwrap().path()).unwrap();
        seed.resize(INPUT, 0);
        seed
    });
    seeds.collect()
}

#[test]
fn everything_encoded_can_be_received() {
    let number = |name: &str| {
        std::env::var(name)
            .ok()
            .and_then(|text| text.parse::<u64>().ok())
    };
    let seed = number("PGFLIGHT_SEED").unwrap_or_else(|| fastrand::u64(..));
    let limit = number("PGFLIGHT_FUZZ_SECONDS").map(Duration::from_secs);
    let mut rng = fastrand::Rng::with_seed(seed);
    let (mut corpus, mut reached) = (seeds(), HashSet::new());
    let (mut executions, mut cells) = (0_u64, 0);
    let started = Instant::now();
    // A count, so that all machines run the same, unless a time is given.
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

/// Judges bytes for a column of this type.
fn checked(kind: K, bytes: &[u8]) -> std::result::Result<(), String> {
    let ty: PgType = pg_type(kind);
    judge(&ty, -1, bytes)
}

#[test]
fn the_judge_rejects_invalid_bytes() {
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
        // Arrays contain the element's OID.
        let good = if let K::Array(element) = &kind {
            [&good[..8], &element.oid.to_be_bytes()].concat()
        } else {
            good.to_vec()
        };
        assert_eq!(checked(kind.clone(), &good), Ok(()), "{kind:?}");
        assert!(checked(kind.clone(), bad).is_err(), "{kind:?}");
    }
}
