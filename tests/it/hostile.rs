//! Messages that try to crash the decoder or to exhaust memory: the server rejects them with a precise error,
//! keeps running, and writes no rows.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BooleanArray, DictionaryArray, Int8Array, Int32Array, Int64Array, ListArray,
    NullArray, RecordBatch, StringArray, StructArray,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType as D, Field, Fields, Schema, TimeUnit, UnionFields, UnionMode};
use arrow::datatypes::{Int8Type, Int32Type};
use arrow::ipc::writer::IpcWriteOptions;
use arrow::ipc::{
    BodyCompressionBuilder, Buffer, CompressionType, DictionaryBatchBuilder, FieldBuilder,
    FieldNode, MessageBuilder, MessageHeader, MetadataVersion, RecordBatchBuilder, SchemaBuilder,
    Struct_Builder, Type,
};
use arrow_flight::encode::{DictionaryHandling, FlightDataEncoderBuilder};
use arrow_flight::{FlightData, SchemaAsIpc};
use bytes::Bytes;
use flatbuffers::FlatBufferBuilder;
use futures_util::{StreamExt, stream};
use http_body_util::{BodyExt, Full};
use tonic::codegen::{Service, http};
use tonic::{Code, Status};

use crate::support::{CallError, Database, Pgflight, Put, batch, path};

const GIB: i64 = 1 << 30;
const LZ4: CompressionType = CompressionType::LZ4_FRAME;
const ZSTD: CompressionType = CompressionType::ZSTD;

/// A batch with any header, valid or not.
#[derive(Clone, Default)]
struct Raw {
    rows: i64,
    /// Length and count of NULLs.
    nodes: Vec<(i64, i64)>,
    /// Offset and length.
    buffers: Vec<(i64, i64)>,
    view_buffers: Vec<i64>,
    codec: Option<CompressionType>,
    body: Vec<u8>,
}

/// One column of one array.
fn raw(rows: i64, buffers: &[(i64, i64)], body: &[u8]) -> Raw {
    Raw {
        rows,
        nodes: vec![(rows, 0)],
        buffers: buffers.to_vec(),
        body: body.to_vec(),
        ..Raw::default()
    }
}

impl Raw {
    fn nodes(mut self, nodes: &[(i64, i64)]) -> Self {
        self.nodes = nodes.to_vec();
        self
    }

    fn views(mut self, view_buffers: &[i64]) -> Self {
        self.view_buffers = view_buffers.to_vec();
        self
    }

    fn codec(mut self, codec: CompressionType) -> Self {
        self.codec = Some(codec);
        self
    }

    fn batch(self) -> FlightData {
        self.message(None)
    }

    fn dictionary(self, id: i64, is_delta: bool) -> FlightData {
        self.message(Some((id, is_delta)))
    }

    fn message(self, dictionary: Option<(i64, bool)>) -> FlightData {
        let mut fbb = FlatBufferBuilder::new();
        let nodes: Vec<FieldNode> = self
            .nodes
            .iter()
            .map(|(n, z)| FieldNode::new(*n, *z))
            .collect();
        let buffers: Vec<Buffer> = self
            .buffers
            .iter()
            .map(|(o, n)| Buffer::new(*o, *n))
            .collect();
        let nodes = fbb.create_vector(&nodes);
        let buffers = fbb.create_vector(&buffers);
        let counts = fbb.create_vector(&self.view_buffers);
        let compression = self.codec.map(|codec| {
            let mut compression = BodyCompressionBuilder::new(&mut fbb);
            compression.add_codec(codec);
            compression.finish()
        });
        let mut batch = RecordBatchBuilder::new(&mut fbb);
        batch.add_length(self.rows);
        batch.add_nodes(nodes);
        batch.add_buffers(buffers);
        batch.add_variadicBufferCounts(counts);
        if let Some(compression) = compression {
            batch.add_compression(compression);
        }
        let batch = batch.finish();
        let (kind, header) = match dictionary {
            None => (MessageHeader::RecordBatch, batch.as_union_value()),
            Some((id, is_delta)) => {
                let mut dictionary = DictionaryBatchBuilder::new(&mut fbb);
                dictionary.add_id(id);
                dictionary.add_data(batch);
                dictionary.add_isDelta(is_delta);
                (
                    MessageHeader::DictionaryBatch,
                    dictionary.finish().as_union_value(),
                )
            }
        };
        let mut message = MessageBuilder::new(&mut fbb);
        message.add_version(MetadataVersion::V5);
        message.add_header_type(kind);
        message.add_header(header);
        message.add_bodyLength(i64::try_from(self.body.len()).unwrap());
        let message = message.finish();
        fbb.finish(message, None);
        FlightData {
            data_header: fbb.finished_data().to_vec().into(),
            data_body: self.body.into(),
            ..Default::default()
        }
    }
}

fn schema_message(schema: &Schema) -> FlightData {
    let mut message: FlightData = SchemaAsIpc::new(schema, &Default::default()).into();
    message.flight_descriptor = Some(path(&["t"]));
    message
}

/// A schema whose structs share their children: small as bytes, and huge when it is walked.
fn schema_of_shared_structs(depth: usize, children: usize) -> FlightData {
    let mut fbb = FlatBufferBuilder::new();
    let name = fbb.create_string("c");
    let mut child = None;
    for _ in 0..depth {
        let children = child.map(|child| fbb.create_vector(&vec![child; children]));
        let of_structs = Struct_Builder::new(&mut fbb).finish();
        let mut field = FieldBuilder::new(&mut fbb);
        field.add_name(name);
        field.add_type_type(Type::Struct_);
        field.add_type_(of_structs.as_union_value());
        if let Some(children) = children {
            field.add_children(children);
        }
        child = Some(field.finish());
    }
    let fields = fbb.create_vector(&[child.unwrap()]);
    let mut schema = SchemaBuilder::new(&mut fbb);
    schema.add_fields(fields);
    let schema = schema.finish();
    let mut message = MessageBuilder::new(&mut fbb);
    message.add_version(MetadataVersion::V5);
    message.add_header_type(MessageHeader::Schema);
    message.add_header(schema.as_union_value());
    let message = message.finish();
    fbb.finish(message, None);
    FlightData {
        flight_descriptor: Some(path(&["t"])),
        data_header: fbb.finished_data().to_vec().into(),
        ..Default::default()
    }
}

fn columns(columns: &[(&str, D)]) -> Schema {
    let field = |(name, data_type): &(&str, D)| Field::new(*name, data_type.clone(), true);
    Schema::new(columns.iter().map(field).collect::<Vec<_>>())
}

fn list_of(inner: D) -> Arc<Field> {
    Arc::new(Field::new("item", inner, true))
}

fn nested(depth: usize) -> D {
    (1..depth).fold(D::Int32, |inner, _| D::List(list_of(inner)))
}

fn little(values: &[i32]) -> Vec<u8> {
    values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect()
}

fn prefixed(length: i64, compressed: &[u8]) -> Vec<u8> {
    [&length.to_le_bytes()[..], compressed].concat()
}

pub const TABLE: &str = "CREATE TABLE t (n bigint, m bigint, s text, j jsonb, a int[], d numeric, ts timestamptz, b bool[], ss text[])";
const LIMIT: u64 = 768 << 20;
const SMALL: [&str; 4] = ["--memory-limit", "768MiB", "--max-copies", "4"];
/// Some of the rejected messages, for other tests.
pub fn samples() -> Vec<(&'static str, Vec<FlightData>)> {
    let of = |schema: Schema, raw: Raw| vec![schema_message(&schema), raw.batch()];
    let long = || columns(&[("n", D::Int64)]);
    let huge = 1_i64 << 40;
    vec![
        (
            "a buffer past the body",
            of(long(), raw(1, &[(0, 0), (64, 8)], &[7; 8])),
        ),
        (
            "LZ4 to 1 TiB",
            of(
                long(),
                raw(1, &[(0, 0), (0, 64)], &prefixed(1024 * GIB, &[0; 56])).codec(LZ4),
            ),
        ),
        (
            "endless NULLs",
            of(
                columns(&[("n", D::Null)]),
                raw(huge, &[], &[]).nodes(&[(huge, huge)]),
            ),
        ),
        ("shared structs", vec![schema_of_shared_structs(15, 2)]),
    ]
}

/// Sends streams that must all be rejected, and then a valid one.
async fn check(cases: Vec<(&str, Vec<FlightData>, &str)>) {
    let database = Database::new().await;
    database.execute(TABLE).await;
    // The memory limit that the server is configured with; beyond it, an allocation fails and the process aborts.
    let server = Pgflight::start_below(&database, LIMIT, &SMALL);
    let mut client = server.client().await;
    for (what, messages, part) in cases {
        let status = client.put(Put(messages)).await.expect_err(what);
        assert_eq!(status.code(), Code::InvalidArgument, "{what}: {status}");
        assert!(status.message().contains(part), "{what}: {status}");
        assert_eq!(
            CallError::from(status).details["retryable"],
            "false",
            "{what}"
        );
        assert!(!server.has_panicked(), "{what}");
    }
    assert_eq!(database.text("SELECT count(*) FROM t").await, "0");
    let good = batch(&[("n", Arc::new(Int64Array::from(vec![1])) as ArrayRef)]);
    client.put(Put::bare(path(&["t"]), &[good])).await.unwrap();
    assert_eq!(database.text("SELECT count(*) FROM t").await, "1");
    server.assert_unharmed("all of it").await;
}

#[tokio::test]
async fn schemas_over_a_limit_and_unsupported_types_are_rejected() {
    let one = |data_type| schema_message(&columns(&[("n", data_type)]));
    let ends = Arc::new(Field::new("run_ends", D::Int32, false));
    let unions = UnionFields::try_new([0], [Field::new("x", D::Int32, true)]).unwrap();
    let many = |count: usize| {
        let field = |n| Field::new(format!("c{n}"), D::Int32, true);
        schema_message(&Schema::new((0..count).map(field).collect::<Vec<_>>()))
    };
    let with_metadata = |entries: Vec<(String, String)>| {
        let metadata: HashMap<_, _> = entries.into_iter().collect();
        schema_message(&columns(&[("n", D::Int64)]).with_metadata(metadata))
    };
    let zone = |zone: &str| one(D::Timestamp(TimeUnit::Microsecond, Some(zone.into())));
    let inner = D::Dictionary(Box::new(D::Int32), Box::new(D::Utf8));
    let inner = D::Struct(Fields::from(vec![Field::new("x", inner, true)]));
    let cases = vec![
        (
            "run ends",
            one(D::RunEndEncoded(ends, list_of(D::Int32))),
            "type RunEndEncoded is not supported",
        ),
        (
            "dense union",
            one(D::Union(unions.clone(), UnionMode::Dense)),
            "type Union is not supported",
        ),
        (
            "sparse union",
            one(D::Union(unions, UnionMode::Sparse)),
            "type Union is not supported",
        ),
        (
            "list view",
            one(D::ListView(list_of(D::Int32))),
            "type ListView is not supported",
        ),
        ("binary of -1", one(D::FixedSizeBinary(-1)), "size -1"),
        ("binary of 0", one(D::FixedSizeBinary(0)), "size 0"),
        (
            "list of 0",
            one(D::FixedSizeList(list_of(D::Int32), 0)),
            "size 0",
        ),
        (
            "list of -5",
            one(D::FixedSizeList(list_of(D::Int32), -5)),
            "size -5",
        ),
        (
            "decimal(200,-100)",
            one(D::Decimal128(200, -100)),
            "precision 200",
        ),
        ("decimal(0,0)", one(D::Decimal128(0, 0)), "precision 0"),
        ("decimal(5,-100)", one(D::Decimal128(5, -100)), "scale -100"),
        ("zone of SQL", zone("UTC'; DROP TABLE t; --"), "time zone"),
        ("long zone", zone(&"x".repeat(65)), "time zone"),
        ("empty zone", zone(""), "time zone"),
        ("depth of 17", one(nested(17)), "nested more than 16 deep"),
        ("depth of 60", one(nested(60)), "nested more than 16 deep"),
        (
            "depth of 1000",
            one(nested(1000)),
            "not an Arrow IPC message",
        ),
        ("1601 columns", many(1601), "1601 columns"),
        ("10,000 columns", many(10_000), "10000 columns"),
        (
            "shared structs",
            schema_of_shared_structs(15, 2),
            "more than 10000 fields",
        ),
        (
            "shared structs at large",
            schema_of_shared_structs(5, 1000),
            "not an Arrow IPC message",
        ),
        (
            "long metadata",
            with_metadata(vec![("k".into(), "x".repeat(600 << 10))]),
            "metadata",
        ),
        (
            "metadata over all",
            with_metadata(vec![("k".into(), "x".repeat(1 << 20))]),
            "limit of 1048576",
        ),
        (
            "many metadata",
            with_metadata(
                (0..10_001)
                    .map(|n| (n.to_string(), String::new()))
                    .collect(),
            ),
            "metadata",
        ),
        (
            "nested dictionaries",
            one(D::Dictionary(Box::new(D::Int32), Box::new(inner))),
            "dictionary within",
        ),
        (
            "name twice",
            schema_message(&columns(&[("n", D::Int64), ("n", D::Int64)])),
            "more than once",
        ),
        (
            "name with NUL",
            schema_message(&columns(&[("n\0", D::Int64)])),
            "n\\0",
        ),
        (
            "empty name",
            schema_message(&columns(&[("", D::Int64)])),
            "\"\"",
        ),
    ];
    let cases = cases
        .into_iter()
        .map(|(what, message, part)| (what, vec![message], part));
    check(cases.collect()).await;
}

/// Reproducible random numbers: Marsaglia's xorshift of 64 bits.
fn random_bytes(seed: u64) -> impl Iterator<Item = u8> {
    let mut state = seed;
    std::iter::repeat_with(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[7]
    })
}

#[tokio::test]
async fn cut_and_random_headers_are_rejected() {
    let rows = batch(&[("n", Arc::new(Int64Array::from(vec![1, 2])) as ArrayRef)]);
    let good = Put::bare(path(&["t"]), &[rows]).0;
    let cut = |message: usize, end: usize| {
        let mut messages = good.clone();
        messages[message].data_header.truncate(end);
        messages
    };
    let mut cases = Vec::new();
    for message in [0, 1] {
        // An empty header is no message, and the last bytes are padding.
        for end in 1..good[message].data_header.len() - 8 {
            cases.push(("cut", cut(message, end), ""));
        }
    }
    let mut random = random_bytes(7);
    for message in [0, 1] {
        for length in 1..200 {
            let mut messages = good.clone();
            messages[message].data_header = random.by_ref().take(length).collect();
            cases.push(("random", messages, "not an Arrow IPC message"));
        }
    }
    assert!(cases.len() > 500);
    check(cases).await;
}

#[tokio::test]
async fn malformed_and_oversized_batches_are_rejected() {
    let eight = &[7_u8; 8];
    let long = |raw: Raw| (columns(&[("n", D::Int64)]), raw);
    let two = |raw: Raw| (columns(&[("n", D::Int64), ("m", D::Int64)]), raw);
    let text = |raw: Raw| (columns(&[("s", D::Utf8)]), raw);
    let view = |raw: Raw| (columns(&[("s", D::Utf8View)]), raw);
    let empty_struct = || D::Struct(Fields::empty());
    let int_pair = || D::Struct(Fields::from(vec![Field::new("x", D::Int32, true)]));
    let lists = |size| D::FixedSizeList(list_of(D::Int32), size);
    let huge = 1_i64 << 40;
    let lying = |codec, prefix| {
        let body = prefixed(prefix, &[0; 56]);
        raw(1, &[(0, 0), (0, 64)], &body).codec(codec)
    };
    // Every view refers to a whole buffer of 1 MiB: its length, its first four bytes, buffer 0, offset 0.
    let one_view = [(1_i32 << 20).to_le_bytes(), *b"aaaa", [0; 4], [0; 4]].concat();
    let long_view = |length: i32, prefix| [length.to_le_bytes(), prefix, [0; 4], [0; 4]].concat();
    let short_view = |bytes: [u8; 2]| [&[2, 0, 0, 0, bytes[0], bytes[1]][..], &[0; 10]].concat();
    let views = one_view.repeat(100_000);
    let view_bytes = i64::try_from(views.len()).unwrap();
    let shared_views = raw(
        100_000,
        &[(0, 0), (0, view_bytes), (view_bytes, 1 << 20)],
        &[views, vec![b'a'; 1 << 20]].concat(),
    );
    let text_of = |offsets: &[i32], bytes: &[u8]| {
        let offsets = little(offsets);
        let length = i64::try_from(offsets.len()).unwrap();
        let body = [&offsets[..], bytes].concat();
        raw(
            length / 4 - 1,
            &[
                (0, 0),
                (0, length),
                (length, i64::try_from(bytes.len()).unwrap()),
            ],
            &body,
        )
    };
    let cases = vec![
        (
            "buffer past the body",
            long(raw(1, &[(0, 0), (64, 8)], eight)),
            "8 bytes at offset 64",
        ),
        (
            "buffer longer than the body",
            long(raw(1, &[(0, 0), (0, 16)], eight)),
            "16 bytes at offset 0",
        ),
        (
            "negative offset",
            long(raw(1, &[(0, 0), (-8, 8)], eight)),
            "at offset -8",
        ),
        (
            "negative length",
            long(raw(1, &[(0, 0), (0, -1)], eight)),
            "-1 bytes",
        ),
        (
            "offset that overflows",
            long(raw(1, &[(0, 0), (i64::MAX, i64::MAX)], eight)),
            "of a body",
        ),
        (
            "values too few for the rows",
            long(raw(2, &[(0, 0), (0, 8)], eight)),
            "needs 16",
        ),
        (
            "negative rows",
            long(raw(-1, &[(0, 0), (0, 8)], eight)),
            "-1 rows",
        ),
        (
            "negative node",
            long(raw(1, &[(0, 0), (0, 8)], eight).nodes(&[(-1, 0)])),
            "-1 values",
        ),
        (
            "endless node",
            long(raw(1, &[(0, 0), (0, 8)], eight).nodes(&[(i64::MAX, 0)])),
            "needs",
        ),
        (
            "node of other rows",
            long(raw(2, &[(0, 0), (0, 8)], eight).nodes(&[(1, 0)])),
            "cannot decode",
        ),
        (
            "negative NULLs",
            long(raw(1, &[(0, 0), (0, 8)], eight).nodes(&[(1, -1)])),
            "-1 NULLs",
        ),
        (
            "more NULLs than values",
            long(raw(1, &[(0, 0), (0, 8)], eight).nodes(&[(1, 2)])),
            "2 NULLs",
        ),
        (
            "NULLs without validity",
            long(raw(1, &[(0, 0), (0, 8)], eight).nodes(&[(1, 1)])),
            "validity",
        ),
        (
            "NULLs that are none",
            two(Raw {
                nodes: vec![(1, 1), (1, 0)],
                ..raw(1, &[(0, 8), (8, 8), (0, 0), (16, 8)], &[255; 24])
            }),
            "cannot decode",
        ),
        (
            "no node",
            long(raw(1, &[(0, 0), (0, 8)], eight).nodes(&[])),
            "fewer arrays",
        ),
        (
            "a node too many",
            long(raw(1, &[(0, 0), (0, 8)], eight).nodes(&[(1, 0), (1, 0)])),
            "fewer arrays",
        ),
        (
            "a buffer too few",
            long(raw(1, &[(0, 0)], eight)),
            "fewer buffers",
        ),
        (
            "a buffer too many",
            long(raw(1, &[(0, 0), (0, 8), (0, 0)], eight)),
            "fewer buffers",
        ),
        (
            "shared buffer",
            two(raw(1, &[(0, 0), (0, 8), (0, 0), (0, 8)], eight).nodes(&[(1, 0), (1, 0)])),
            "share",
        ),
        (
            "a buffer within another, beside bytes that none has",
            two(raw(1, &[(0, 0), (0, 8), (0, 0), (4, 8)], &[7; 32]).nodes(&[(1, 0), (1, 0)])),
            "share the byte at 4",
        ),
        (
            "the same buffer twice in a body with room for two",
            two(raw(1, &[(0, 0), (8, 8), (0, 0), (8, 8)], &[7; 32]).nodes(&[(1, 0), (1, 0)])),
            "share the byte at 8",
        ),
        (
            "a later buffer that reaches into an earlier",
            two(raw(1, &[(0, 0), (16, 8), (0, 0), (8, 16)], &[7; 32]).nodes(&[(1, 0), (1, 0)])),
            "share the byte at 16",
        ),
        (
            "offsets that are the text too",
            text(raw(1, &[(0, 0), (0, 8), (4, 3)], &[0; 64])),
            "share the byte at 4",
        ),
        (
            "validity that is the values too",
            long(raw(1, &[(0, 1), (0, 8)], &[1; 64])),
            "share the byte at 0",
        ),
        (
            "shared ZSTD buffer",
            two(raw(
                1,
                &[(0, 0), (0, 64), (0, 0), (0, 64)],
                &prefixed(8, &[0; 56]),
            )
            .nodes(&[(1, 0), (1, 0)])
            .codec(ZSTD)),
            "share",
        ),
        (
            "offsets of odd length",
            text(raw(1, &[(0, 0), (0, 9), (9, 3)], &[0; 12])),
            "offsets",
        ),
        (
            "offsets too few",
            text(raw(3, &[(0, 0), (0, 8), (8, 4)], &[0; 12])),
            "needs 16",
        ),
        (
            "offsets past the text",
            text(text_of(&[0, 9], b"abc")),
            "cannot decode",
        ),
        (
            "offsets that decrease",
            text(text_of(&[0, 3, 1, 3], b"abc")),
            "cannot decode",
        ),
        (
            "negative offsets",
            text(text_of(&[-1, 3], b"abc")),
            "cannot decode",
        ),
        (
            "text that is no UTF-8",
            text(text_of(&[0, 2], &[0xc3, 0x28])),
            "is not UTF-8",
        ),
        (
            "large text that is no UTF-8",
            (
                columns(&[("s", D::LargeUtf8)]),
                raw(
                    1,
                    &[(0, 0), (0, 16), (16, 2)],
                    &[&[0; 8][..], &[2, 0, 0, 0, 0, 0, 0, 0, 0xc3, 0x28]].concat(),
                ),
            ),
            "is not UTF-8",
        ),
        (
            "a view of no UTF-8",
            view(raw(1, &[(0, 0), (0, 16)], &short_view([0xc3, 0x28])).views(&[0])),
            "is not UTF-8",
        ),
        (
            "a view that begins otherwise than its string",
            view(
                raw(
                    1,
                    &[(0, 0), (0, 16), (16, 16)],
                    &[long_view(16, *b"abcd"), vec![b'x'; 16]].concat(),
                )
                .views(&[1]),
            ),
            "cannot decode",
        ),
        (
            "lists that go back",
            (
                columns(&[("a", D::List(list_of(D::Int32)))]),
                raw(
                    2,
                    &[(0, 0), (0, 12), (0, 0), (12, 8)],
                    &little(&[0, 2, 1, 7, 7]),
                )
                .nodes(&[(2, 0), (2, 0)]),
            ),
            "cannot decode",
        ),
        (
            "lists past their values",
            (
                columns(&[("a", D::List(list_of(D::Int32)))]),
                raw(1, &[(0, 0), (0, 8), (0, 0), (8, 8)], &little(&[0, 9, 7, 7]))
                    .nodes(&[(1, 0), (2, 0)]),
            ),
            "cannot decode",
        ),
        (
            "views that share",
            view(shared_views.views(&[1])),
            "views of a batch show",
        ),
        (
            "views without count",
            view(raw(0, &[(0, 0), (0, 0)], &[])),
            "fewer buffers",
        ),
        (
            "views of a negative count",
            view(raw(0, &[(0, 0), (0, 0)], &[]).views(&[-1])),
            "fewer buffers",
        ),
        (
            "views of an endless count",
            view(raw(0, &[(0, 0), (0, 0)], &[]).views(&[i64::MAX])),
            "fewer buffers",
        ),
        (
            "view counts too many",
            view(raw(0, &[(0, 0), (0, 0)], &[]).views(&[0, 0])),
            "fewer buffers",
        ),
        (
            "view into no buffer",
            view(raw(1, &[(0, 0), (0, 16)], &one_view).views(&[0])),
            "cannot decode",
        ),
        (
            "compressed views",
            view(
                raw(1, &[(0, 0), (0, 24)], &prefixed(-1, &one_view))
                    .views(&[0])
                    .codec(LZ4),
            ),
            "views in a compressed",
        ),
        (
            "LZ4 to 64 GiB",
            long(lying(LZ4, 64 * GIB)),
            "more than LZ4 can",
        ),
        (
            "LZ4 to 1 TiB",
            long(lying(LZ4, 1024 * GIB)),
            "more than LZ4 can",
        ),
        (
            "LZ4 to all there is",
            long(lying(LZ4, i64::MAX)),
            "more than LZ4 can",
        ),
        ("LZ4 to -2", long(lying(LZ4, -2)), "decompress to -2"),
        ("LZ4 that is none", long(lying(LZ4, 8)), "cannot decode"),
        (
            "ZSTD to 1 TiB",
            long(lying(ZSTD, 1024 * GIB)),
            "when decompressed",
        ),
        (
            "ZSTD to all there is",
            long(lying(ZSTD, i64::MAX)),
            "when decompressed",
        ),
        (
            "ZSTD to 512 MiB",
            long(lying(ZSTD, GIB / 2)),
            "when decompressed",
        ),
        ("ZSTD to -2", long(lying(ZSTD, -2)), "decompress to -2"),
        ("ZSTD that is none", long(lying(ZSTD, 8)), "cannot decode"),
        (
            "buffer too short for its prefix",
            long(raw(1, &[(0, 0), (0, 3)], eight).codec(ZSTD)),
            "too few for its length",
        ),
        (
            "unknown codec",
            long(raw(1, &[(0, 0), (0, 8)], eight).codec(CompressionType(7))),
            "unknown codec",
        ),
        (
            "endless NULLs",
            (
                columns(&[("n", D::Null)]),
                raw(huge, &[], &[]).nodes(&[(huge, huge)]),
            ),
            "may take no bytes",
        ),
        (
            "endless rows of nothing",
            (Schema::empty(), raw(huge, &[], &[]).nodes(&[])),
            "1099511627776",
        ),
        (
            "endless empty structs",
            (columns(&[("j", empty_struct())]), raw(huge, &[(0, 0)], &[])),
            "may take no bytes",
        ),
        (
            "endless lists",
            (
                columns(&[("a", lists(i32::MAX))]),
                raw(huge, &[(0, 0), (0, 0), (0, 0)], &[]).nodes(&[(huge, 0), (0, 0)]),
            ),
            "may take no bytes",
        ),
        (
            "an array of more than PostgreSQL's 134,217,727 elements",
            (
                columns(&[("a", D::List(list_of(D::Null)))]),
                raw(1, &[(0, 0), (0, 8)], &little(&[0, 1 << 27]))
                    .nodes(&[(1, 0), (1 << 27, 1 << 27)]),
            ),
            "may take no bytes",
        ),
        (
            "lists longer than their values",
            (
                columns(&[("a", lists(3))]),
                raw(2, &[(0, 0), (0, 0), (0, 4)], eight).nodes(&[(2, 0), (1, 0)]),
            ),
            "cannot decode",
        ),
        (
            "struct longer than its child",
            (
                columns(&[("j", int_pair())]),
                raw(2, &[(0, 0), (0, 0), (0, 4)], eight).nodes(&[(2, 0), (1, 0)]),
            ),
            "cannot decode",
        ),
    ];
    let cases = cases.into_iter().map(|(what, (schema, raw), part)| {
        (what, vec![schema_message(&schema), raw.batch()], part)
    });
    check(cases.collect()).await;
}

#[tokio::test]
async fn unknown_malformed_and_endless_dictionaries_are_rejected() {
    let keys = Int32Array::from(vec![0, 1]);
    let values = Arc::new(StringArray::from(vec!["a", "b"]));
    let rows = batch(&[(
        "s",
        Arc::new(DictionaryArray::<Int32Type>::try_new(keys, values).unwrap()),
    )]);
    let messages = FlightDataEncoderBuilder::new()
        .with_dictionary_handling(DictionaryHandling::Resend)
        .with_flight_descriptor(Some(path(&["t"])))
        .build(stream::iter([Ok(rows)]));
    let good: Vec<FlightData> = messages.map(Result::unwrap).collect().await;
    let [schema, dictionary, rows] = <[FlightData; 3]>::try_from(good).unwrap();
    let values = |offsets: &[i32], text: &[u8]| {
        let body = [&little(offsets)[..], text].concat();
        let offsets = i64::try_from(4 * offsets.len()).unwrap();
        raw(
            offsets / 4 - 1,
            &[
                (0, 0),
                (0, offsets),
                (offsets, i64::try_from(text.len()).unwrap()),
            ],
            &body,
        )
    };
    let keys_beyond = raw(1, &[(0, 0), (0, 4)], &little(&[7]));
    let deltas = |count: usize| {
        let delta = values(&[0, 1], b"x").dictionary(0, true);
        let first = values(&[0, 1], b"x").dictionary(0, false);
        [vec![schema.clone(), first], vec![delta; count]].concat()
    };
    let large = values(&[0, 40 << 20], &vec![b'x'; 40 << 20]);
    let growing = std::iter::once(large.clone().dictionary(0, false))
        .chain((0..7).map(|_| large.clone().dictionary(0, true)));
    let cases = vec![
        (
            "unknown id",
            vec![schema.clone(), values(&[0, 1], b"x").dictionary(99, false)],
            "id 99",
        ),
        (
            "delta of nothing",
            vec![schema.clone(), values(&[0, 1], b"x").dictionary(0, true)],
            "cannot decode",
        ),
        (
            "missing dictionary",
            vec![schema.clone(), rows.clone()],
            "an index is not in its dictionary",
        ),
        (
            "key beyond the values",
            vec![schema.clone(), dictionary.clone(), keys_beyond.batch()],
            "an index is not in its dictionary",
        ),
        (
            "keys of odd length",
            vec![
                schema.clone(),
                dictionary.clone(),
                raw(1, &[(0, 0), (0, 5)], &[0; 8]).batch(),
            ],
            "needs 4",
        ),
        (
            "values past the body",
            vec![
                schema.clone(),
                raw(1, &[(0, 0), (0, 8), (8, 9)], &[0; 8]).dictionary(0, false),
            ],
            "of a body",
        ),
        (
            "dictionary in place of the schema",
            vec![FlightData {
                flight_descriptor: Some(path(&["t"])),
                ..dictionary
            }],
            "does not begin with",
        ),
        (
            "batch in place of the schema",
            vec![FlightData {
                flight_descriptor: Some(path(&["t"])),
                ..rows
            }],
            "does not begin with",
        ),
        ("endless deltas", deltas(1001), "1001 deltas"),
        (
            "growing deltas",
            std::iter::once(schema.clone()).chain(growing).collect(),
            "dictionaries of the stream hold",
        ),
    ];
    check(cases).await;
}

/// The messages of a batch with its dictionaries, compressed or not.
async fn messages(rows: RecordBatch, codec: Option<CompressionType>) -> Vec<FlightData> {
    let options = IpcWriteOptions::default()
        .try_with_compression(codec)
        .unwrap();
    FlightDataEncoderBuilder::new()
        .with_dictionary_handling(DictionaryHandling::Resend)
        .with_max_flight_data_size(usize::MAX)
        .with_options(options)
        .with_flight_descriptor(Some(path(&["t"])))
        .build(stream::iter([Ok(rows)]))
        .map(Result::unwrap)
        .collect()
        .await
}

#[tokio::test]
async fn decompression_bombs_are_rejected_before_they_expand() {
    const MANY: usize = 60_000_000;
    let zeros = || Arc::new(Int64Array::from(vec![0; 32 << 20])) as ArrayRef;
    // One value of a mebibyte that any number of keys refer to.
    let long = || Arc::new(StringArray::from(vec!["x".repeat(1 << 20)])) as ArrayRef;
    let named = |count: usize| {
        let keys = Int8Array::from(vec![0; count]);
        Arc::new(DictionaryArray::<Int8Type>::try_new(keys, long()).unwrap()) as ArrayRef
    };
    let in_list = |items: ArrayRef| {
        let offsets = OffsetBuffer::from_lengths([items.len()]);
        let item = Arc::new(Field::new("item", items.data_type().clone(), true));
        Arc::new(ListArray::new(item, offsets, items, None)) as ArrayRef
    };
    let in_struct = |name: String, items: ArrayRef| {
        let field = Arc::new(Field::new(name, items.data_type().clone(), true));
        Arc::new(StructArray::from(vec![(field, items)])) as ArrayRef
    };
    let flags = || Arc::new(BooleanArray::from(vec![false; MANY])) as ArrayRef;
    let controls = || Arc::new(StringArray::from(vec!["\u{1}".repeat(40 << 20)])) as ArrayRef;
    let cases: [(&str, &str, ArrayRef, Option<CompressionType>, &str); 10] = [
        (
            "control characters, which JSON escapes",
            "j",
            in_list(controls()),
            None,
            "larger",
        ),
        ("zeros by LZ4", "n", zeros(), Some(LZ4), "when decompressed"),
        (
            "zeros by ZSTD",
            "n",
            zeros(),
            Some(ZSTD),
            "when decompressed",
        ),
        ("an array of flags", "b", in_list(flags()), None, "larger"),
        ("flags as JSON", "j", in_list(flags()), None, "larger"),
        (
            "a long name in every row",
            "j",
            in_struct("x".repeat(100_000), Arc::new(NullArray::new(1_000_000))),
            None,
            "larger",
        ),
        (
            "a long value in every field",
            "j",
            in_struct("x".into(), named(100_000)),
            None,
            "larger",
        ),
        (
            "an array of one long value, beyond 1 GiB",
            "ss",
            in_list(named(1100)),
            None,
            "larger",
        ),
        (
            "compressed keys of a long value",
            "ss",
            in_list(named(1000)),
            Some(ZSTD),
            "larger",
        ),
        ("keys of a byte", "s", named(MANY), None, "larger"),
    ];
    let mut sent = Vec::new();
    for (what, column, array, codec, part) in cases {
        sent.push((what, messages(batch(&[(column, array)]), codec).await, part));
    }
    check(sent).await;
}

#[tokio::test]
async fn moderate_expansion_is_accepted() {
    let database = Database::new().await;
    database.execute(TABLE).await;
    let server = Pgflight::start_below(&database, LIMIT, &SMALL);
    let mut client = server.client().await;
    let keys = Int8Array::from(vec![0; 100]);
    let values = Arc::new(StringArray::from(vec!["x".repeat(1 << 17)]));
    let items = Arc::new(DictionaryArray::<Int8Type>::try_new(keys, values).unwrap());
    let item = Arc::new(Field::new("item", items.data_type().clone(), true));
    let lists = ListArray::new(item, OffsetBuffer::from_lengths([40, 60]), items, None);
    for codec in [None, Some(ZSTD)] {
        let rows = batch(&[("ss", Arc::new(lists.clone()) as ArrayRef)]);
        client.put(Put(messages(rows, codec).await)).await.unwrap();
    }
    let sums = "SELECT sum(cardinality(ss)) || ':' || sum(length(array_to_string(ss, ''))) FROM t";
    assert_eq!(database.text(sums).await, format!("200:{}", 200 << 17));
}

#[tokio::test]
async fn a_million_batches_of_one_row_leak_no_memory() {
    const BATCHES: usize = 1_000_000;
    let database = Database::new().await;
    database.execute("CREATE UNLOGGED TABLE t (n int)").await;
    let server = Pgflight::start(&database);
    let mut client = server.client().await;
    let rows = batch(&[("n", Arc::new(Int32Array::from(vec![7])) as ArrayRef)]);
    let first = Put::bare(path(&["t"]), std::slice::from_ref(&rows));
    client.put(first.clone()).await.unwrap();
    let before = server.memory("VmRSS");
    let [schema, row] = <[FlightData; 2]>::try_from(first.0).unwrap();
    let many = stream::iter([schema]).chain(stream::iter(std::iter::repeat_n(row, BATCHES)));
    let receipt = client.put_stream(many).await.unwrap();
    assert_eq!(receipt["rowCount"], BATCHES.to_string());
    let peak = server.memory("VmHWM");
    assert!(
        peak < before + (64 << 20),
        "{} MiB before, {} MiB at most",
        before >> 20,
        peak >> 20
    );
}

#[tokio::test]
async fn compressed_grpc_messages_are_rejected() {
    let database = Database::new().await;
    database.execute("CREATE TABLE t (n int)").await;
    let server = Pgflight::start(&database);
    let client = server.client().await;
    let bomb = [&[1, 0, 0, 0, 8][..], &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0]].concat();
    for (encoding, code) in [
        (None, Code::InvalidArgument),
        (Some("gzip"), Code::Unimplemented),
        (Some("zstd"), Code::Unimplemented),
        (Some("rot13"), Code::Unimplemented),
    ] {
        for method in ["DoPut", "DoAction"] {
            let mut request = http::Request::post(format!(
                "http://{}/arrow.flight.protocol.FlightService/{method}",
                server.address
            ))
            .header("content-type", "application/grpc")
            .header("te", "trailers");
            if let Some(encoding) = encoding {
                request = request.header("grpc-encoding", encoding);
            }
            let body = tonic::body::Body::new(Full::new(Bytes::from(bomb.clone())));
            let mut channel = client.channel.clone();
            std::future::poll_fn(|cx| channel.poll_ready(cx))
                .await
                .unwrap();
            let mut answer = channel.call(request.body(body).unwrap()).await.unwrap();
            let status = match Status::from_header_map(answer.headers()) {
                Some(status) => status,
                None => {
                    let whole = std::mem::take(answer.body_mut()).collect().await.unwrap();
                    Status::from_header_map(whole.trailers().unwrap()).unwrap()
                }
            };
            assert_eq!(status.code(), code, "{method} {encoding:?}: {status}");
        }
    }
    let good = batch(&[("n", Arc::new(Int32Array::from(vec![1])) as ArrayRef)]);
    let mut client = server.client().await;
    client.put(Put::bare(path(&["t"]), &[good])).await.unwrap();
    assert_eq!(database.text("SELECT count(*) FROM t").await, "1");
}

#[tokio::test]
async fn compressed_batches_keep_their_values() {
    let database = Database::new().await;
    database.execute(TABLE).await;
    let server = Pgflight::start(&database);
    let mut client = server.client().await;
    let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..10_000));
    let texts: ArrayRef = Arc::new(StringArray::from_iter(
        (0..10_000).map(|n| (n % 7 > 0).then(|| n.to_string())),
    ));
    for codec in [LZ4, ZSTD] {
        let rows = batch(&[("n", Arc::clone(&numbers)), ("s", Arc::clone(&texts))]);
        let messages = messages(rows, Some(codec)).await;
        let body = messages[1].data_body.len();
        assert!(body < 120_000, "{body} bytes: compressed");
        client.put(Put(messages)).await.unwrap();
        let sums =
            "SELECT count(*) || ':' || sum(n) || ':' || sum(s::int) || ':' || count(s) FROM t";
        assert_eq!(database.text(sums).await, "10000:49995000:42852858:8571");
        database.execute("TRUNCATE t").await;
    }
}

/// Memory that streams of a few MiB may add to that of a started server.
const LITTLE: u64 = 160 << 20;

/// Sends a write of one batch to a table with one column.
async fn converted(
    server: &Pgflight,
    asked: serde_json::Value,
    array: ArrayRef,
) -> Result<serde_json::Value, Status> {
    let spec =
        serde_json::json!({"table": "t", "mode": "MODE_APPEND", "conversions": {"c": asked}});
    let rows = batch(&[("c", array)]);
    let count = rows.num_rows();
    let mut sent = messages(rows, None).await;
    sent[0].flight_descriptor = Some(crate::support::write(spec));
    let whole = Put(sent).and(crate::support::end_record(count, 1));
    server.client().await.put(whole).await
}

#[tokio::test]
async fn a_long_replacement_for_nul_is_rejected() {
    let database = Database::new().await;
    database.execute("CREATE TABLE t (c text)").await;
    let server = Pgflight::start_below(&database, LIMIT, &SMALL);
    let before = server.memory("VmHWM");
    let long = "A".repeat(60_000);
    let zeros = || Arc::new(StringArray::from(vec!["\0".repeat(30_000)])) as ArrayRef;
    let asked = serde_json::json!({"nul": "NUL_REPLACE", "nulReplacement": long});
    let by_option = converted(&server, asked, zeros()).await.unwrap_err();
    let field = Field::new("c", D::Utf8, true).with_metadata(HashMap::from([
        ("pgflight.nul".to_owned(), "replace".to_owned()),
        ("pgflight.nul_replacement".to_owned(), long),
    ]));
    let rows = RecordBatch::try_new(Arc::new(Schema::new(vec![field])), vec![zeros()]).unwrap();
    let mut client = server.client().await;
    let by_metadata = client.put(Put::bare(path(&["t"]), &[rows])).await;
    let by_metadata = by_metadata.unwrap_err();
    for (status, part) in [(by_option, "60000 bytes"), (by_metadata, "60000 bytes")] {
        assert!(status.message().contains(part), "{status}");
        assert_eq!(CallError::from(status).details["retryable"], "false");
    }
    assert!(server.memory("VmHWM") < before + LITTLE);
    assert_eq!(database.text("SELECT count(*) FROM t").await, "0");
}

#[tokio::test]
async fn converted_values_of_many_rows_are_never_held_at_once() {
    const MIB: usize = 1 << 20;
    let database = Database::new().await;
    let options = [&SMALL[..], &["--max-bytes-per-stream", "20MiB"]].concat();
    let server = Pgflight::start_below(&database, LIMIT, &options);
    let before = server.memory("VmHWM");
    let named = |values: ArrayRef| {
        let keys = Int32Array::from(vec![0; 600]);
        Arc::new(DictionaryArray::<Int32Type>::try_new(keys, values).unwrap()) as ArrayRef
    };
    let text = || Arc::new(StringArray::from(vec!["a".repeat(MIB)])) as ArrayRef;
    let blob = || Arc::new(arrow::array::BinaryArray::from_vec(vec![&[0xff; MIB][..]])) as ArrayRef;
    let form = |form: &str| serde_json::json!({"form": form});
    let cut = || serde_json::json!({"tooLong": "TOO_LONG_TRUNCATE"});
    let remove = || serde_json::json!({"nul": "NUL_REMOVE"});
    let bytes = || Arc::new(Int8Array::from(vec![1; 8 << 20])) as ArrayRef;
    let days = || serde_json::json!({"unit": "UNIT_DAYS"});
    let cases = [
        ("truncate", "varchar(3)", cut(), named(text()), true),
        ("remove", "text", remove(), named(text()), false),
        ("hex", "text", form("FORM_HEX"), named(blob()), false),
        ("base64", "text", form("FORM_BASE64"), named(blob()), false),
        (
            "lossy",
            "text",
            form("FORM_UTF8_LOSSY"),
            named(blob()),
            false,
        ),
        ("bytes", "bytea", form("FORM_UTF8"), named(text()), false),
        // Numbers of one byte become fields of eight bytes.
        ("days", "date", days(), bytes(), false),
    ];
    for (what, sql_type, asked, array, lands) in cases {
        let table = format!("DROP TABLE IF EXISTS t; CREATE TABLE t (c {sql_type})");
        database.execute(&table).await;
        match (converted(&server, asked, array).await, lands) {
            (Ok(_), true) => {}
            (Err(status), false) => {
                assert_eq!(CallError::from(status).reason, "DATA_REJECTED", "{what}")
            }
            (landed, _) => panic!("{what}: {landed:?}"),
        }
        let peak = server.memory("VmHWM") - before;
        assert!(peak < LITTLE, "{what}: {} MiB", peak >> 20);
    }
    assert_eq!(database.text("SELECT count(*) FROM t").await, "0");
    server.assert_unharmed("all of it").await;
}

#[tokio::test]
async fn a_long_value_is_converted_if_memory_allows() {
    let database = Database::new().await;
    database.execute("CREATE TABLE t (c text)").await;
    let server = Pgflight::start_below(&database, LIMIT, &SMALL);
    let of = |mib: usize| Arc::new(StringArray::from(vec!["\0".repeat(mib << 20)])) as ArrayRef;
    let asked = || serde_json::json!({"nul": "NUL_REPLACE", "nulReplacement": "\\u0000__"});
    converted(&server, asked(), of(4)).await.unwrap();
    let lengths = "SELECT string_agg(length(c)::text, ' ') FROM t";
    assert_eq!(database.text(lengths).await, ((8 * 4) << 20).to_string());
    let refused = converted(&server, asked(), of(30)).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
    assert!(refused.message().contains("memory"), "{refused}");
    server.assert_unharmed("all of it").await;
}
