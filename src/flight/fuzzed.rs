//! The entry points of the fuzz targets, and a test that runs their seeds.

use arrow_flight::{FlightData, FlightDescriptor};
use futures_util::FutureExt;
use prost::Message;

use super::command::envelope::Envelope;
use super::command::{self, RECEIPTS};
use super::ingress::decode::{self, Decoder};
use super::ingress::gate::Limits;
use crate::metrics::{Metrics, decode_panics};
use crate::proto::v1;
use crate::write::{Budget, BudgetConfig};

const LIMITS: Limits = Limits {
    max_decoded_bytes: 1 << 20,
    max_dictionary_bytes: 1 << 20,
};
/// The memory limit, beyond which a false length would show.
const MEMORY_LIMIT: u64 = 256 << 20;

/// Parses a command in one of its places, which the first byte selects.
pub fn read_command(input: &[u8]) {
    let Some((place, bytes)) = input.split_first() else {
        return;
    };
    fn message(bytes: &[u8]) -> Option<Envelope<'_>> {
        Envelope::parse(bytes).ok()
    }
    match place % 8 {
        0 => drop(command::put_command(Some(FlightDescriptor::new_cmd(
            bytes.to_vec(),
        )))),
        1 => {
            let parts = bytes.split(|byte| *byte == b'/');
            let parts = parts.map(|part| String::from_utf8_lossy(part).into_owned());
            drop(command::path(FlightDescriptor::new_path(parts.collect())));
        }
        2 => drop(command::end_record(bytes)),
        3 => {
            let request = message(bytes).and_then(|m| m.decode::<v1::BeginRequest>().ok());
            if let Some(request) = request {
                drop(command::write_spec(request.spec));
                drop(decode::schema(&request.arrow_schema, LIMITS));
            }
        }
        4 => {
            let commit = message(bytes).map(|m| m.accept_answers_in(RECEIPTS));
            let request = commit.and_then(|m| m.decode::<v1::CommitRequest>().ok());
            for receipt in request.into_iter().flat_map(|request| request.receipts) {
                drop(command::receipt("w", receipt));
            }
        }
        5 => drop(message(bytes).map(|m| m.decode::<v1::StatusRequest>())),
        6 => drop(decode::schema(bytes, LIMITS)),
        _ => drop(FlightDescriptor::decode(bytes).map(|d| command::put_command(Some(d)))),
    }
}

/// Decodes a stream of `FlightData` messages, each after its length in four bytes, as gRPC frames them.
///
/// # Panics
/// When the decoder panicked, which the gate is meant to prevent.
pub fn read_stream(input: &[u8]) {
    let before = decode_panics();
    read_messages(input);
    assert_eq!(
        decode_panics(),
        before,
        "the decoder panicked behind the gate"
    );
}

fn read_messages(mut input: &[u8]) -> Option<()> {
    let budget = BudgetConfig {
        memory_limit: MEMORY_LIMIT,
        max_message_bytes: 1 << 20,
        max_copies: 1,
        max_connections: 1,
    };
    let mut next = || {
        let (length, rest) = input.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
        let (message, rest) = rest.split_at_checked(length)?;
        input = rest;
        FlightData::decode(message).ok()
    };
    let first = next()?;
    let budget = Budget::new(&budget).ok()?;
    let mut decoder = Decoder::begin(&first, LIMITS, budget, Metrics::default().stream()).ok()?;
    while let Some(message) = next() {
        // Each message gives its memory back, so there is always enough.
        decoder.next(message).now_or_never()?.ok()?;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{read_command, read_stream};

    /// Changes, removes, repeats or inserts bytes at random, as cargo-fuzz does without coverage.
    fn change(seed: &[u8], random: &mut fastrand::Rng) -> Vec<u8> {
        let mut bytes = seed.to_vec();
        for _ in 0..random.usize(1..6) {
            let at = random.usize(..=bytes.len());
            let end = (at + random.usize(..9)).min(bytes.len());
            match random.u8(..5) {
                0 if at < bytes.len() => bytes[at] ^= 1 << random.u8(..8),
                1 if at < bytes.len() => {
                    bytes[at] = random.choice([0, 1, 0x7f, 0x80, 0xff]).unwrap_or(0)
                }
                2 => drop(bytes.drain(at..end)),
                3 => bytes.splice(at..at, bytes[at..end].to_vec()).for_each(drop),
                _ => bytes.insert(at, random.u8(..)),
            }
        }
        bytes
    }

    #[test]
    fn fuzz_seeds_and_their_mutations_do_not_panic() {
        check("command", read_command);
        check("stream", read_stream);
    }

    fn check(target: &str, read: fn(&[u8])) {
        let mut random = fastrand::Rng::with_seed(1);
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("fuzz/seeds")
            .join(target);
        let mut count = 0;
        for entry in std::fs::read_dir(&folder).unwrap() {
            let seed = std::fs::read(entry.unwrap().path()).unwrap();
            read(&seed);
            for _ in 0..500 {
                read(&change(&seed, &mut random));
            }
            count += 1;
        }
        assert!(count >= 5, "{count} seeds of {target}");
    }
}
