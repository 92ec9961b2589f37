//! Measures how fast batches become COPY bytes, compared to memcpy of the same bytes and to the pgpq crate.
//!
//! ```sh
//! cargo bench --package pgflight-benches --bench encode
//! ```
//!
//! There are three tables, each a batch of 10,000 rows as Spark sends them: 19 columns like New York's taxi trips,
//! with decimals and NULLs; three columns of fixed size; and wide text. `decode+encode` begins with the Arrow IPC
//! message, as the server does. `memcpy` copies between the same two buffers again and again, which stay in the
//! caches if they fit; `memcpy from memory` copies between new buffers each time. All run on one core.

#![expect(clippy::unwrap_used, reason = "a benchmark may fail by panicking")]
#![allow(missing_docs, reason = "criterion's macros make public functions")]

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use arrow_array::RecordBatch;
use arrow_buffer::Buffer;
use arrow_ipc::reader::read_record_batch;
use arrow_ipc::root_as_message;
use arrow_ipc::writer::{DictionaryTracker, IpcDataGenerator, IpcWriteContext, IpcWriteOptions};
use arrow_pgcopy::Chunks;
use arrow_pgcopy::EncodePlan;
use bytes::{Bytes, BytesMut};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use pgflight_benches::{CHUNK, ROWS, Values};

/// More bytes than any processor's caches hold.
const BEYOND_CACHES: usize = 512 << 20;

fn measure(criterion: &mut Criterion, name: &str, columns: &[Values]) {
    let batch = pgflight_benches::batch(columns);
    let plan = EncodePlan::new(&batch.schema(), &pgflight_benches::table(columns)).unwrap();
    let mut chunks = Chunks::new(CHUNK);
    let mut expected = Vec::new();
    pgflight_benches::encode(&plan, &batch, &mut chunks, |chunk| {
        expected.extend_from_slice(&chunk);
    });

    let theirs = pgflight_benches::batch_for_pgpq(columns);
    let mut pgpq = pgpq::ArrowToPostgresBinaryEncoder::try_new(&theirs.schema()).unwrap();
    let mut buffer = BytesMut::with_capacity(2 * expected.len());
    pgpq.write_header(&mut buffer).unwrap();

    let mut group = criterion.benchmark_group(name);
    group.throughput(Throughput::ElementsAndBytes {
        elements: u64::try_from(ROWS).unwrap(),
        bytes: u64::try_from(expected.len()).unwrap(),
    });
    group
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2));
    group.bench_function("pgflight", |b| {
        b.iter(|| {
            pgflight_benches::encode(&plan, &batch, &mut chunks, |chunk| drop(black_box(chunk)));
        });
    });
    group.bench_function("pgpq", |b| {
        b.iter(|| {
            buffer.clear();
            pgpq.write_batch(&theirs, &mut buffer).unwrap();
            black_box(&buffer);
        });
    });
    let mut copy = vec![0; expected.len()];
    group.bench_function("memcpy", |b| {
        b.iter(|| {
            copy.copy_from_slice(black_box(&expected));
            black_box(&copy);
        });
    });
    let mut pairs = vec![(expected.clone(), copy); BEYOND_CACHES / (2 * expected.len()) + 1];
    let mut next = 0;
    group.bench_function("memcpy from memory", |b| {
        b.iter(|| {
            let (from, to) = &mut pairs[next];
            to.copy_from_slice(black_box(from));
            black_box(to);
            next = (next + 1) % pairs.len();
        });
    });
    let message = Message::of(&batch);
    group.bench_function("decode+encode", |b| {
        b.iter(|| {
            let batch = message.decode(&batch);
            pgflight_benches::encode(&plan, &batch, &mut chunks, |chunk| drop(black_box(chunk)));
        });
    });
}

/// A batch in its wire form.
struct Message {
    header: Vec<u8>,
    body: Bytes,
}

impl Message {
    fn of(batch: &RecordBatch) -> Self {
        let (_, encoded) = IpcDataGenerator::default()
            .encode(
                batch,
                &mut DictionaryTracker::new(false),
                &IpcWriteOptions::default(),
                &mut IpcWriteContext::default(),
            )
            .unwrap();
        Self {
            header: encoded.ipc_message,
            body: Bytes::from(encoded.arrow_data),
        }
    }

    fn decode(&self, like: &RecordBatch) -> RecordBatch {
        let message = root_as_message(&self.header).unwrap();
        let header = message.header_as_record_batch().unwrap();
        let body = Buffer::from(self.body.clone());
        let (schema, version) = (Arc::clone(like.schema_ref()), message.version());
        read_record_batch(&body, header, schema, &HashMap::new(), None, &version).unwrap()
    }
}

fn encode(criterion: &mut Criterion) {
    measure(criterion, "taxi", &pgflight_benches::taxi());
    measure(criterion, "fixed", &pgflight_benches::fixed());
    measure(criterion, "text", &pgflight_benches::text());
}

criterion_group!(benches, encode);
criterion_main!(benches);
