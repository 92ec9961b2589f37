//! Messages with any header, valid or not, and the check that the server rejects them and keeps running.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array};
use arrow::datatypes::{DataType as D, Field, Schema};
use arrow::ipc::{
    BodyCompressionBuilder, Buffer, CompressionType, DictionaryBatchBuilder, FieldBuilder,
    FieldNode, MessageBuilder, MessageHeader, MetadataVersion, RecordBatchBuilder, SchemaBuilder,
    Struct_Builder, Type,
};
use arrow_flight::{FlightData, SchemaAsIpc};
use flatbuffers::FlatBufferBuilder;
use tonic::Code;

use crate::support::{CallError, Database, Pgflight, Put, batch, path};

pub(super) const GIB: i64 = 1 << 30;
pub(super) const LZ4: CompressionType = CompressionType::LZ4_FRAME;
pub(super) const ZSTD: CompressionType = CompressionType::ZSTD;

/// A batch with any header, valid or not.
#[derive(Clone, Default)]
pub(super) struct Raw {
    pub(super) rows: i64,
    /// Length and count of NULLs.
    pub(super) nodes: Vec<(i64, i64)>,
    /// Offset and length.
    pub(super) buffers: Vec<(i64, i64)>,
    pub(super) view_buffers: Vec<i64>,
    pub(super) codec: Option<CompressionType>,
    pub(super) body: Vec<u8>,
}

/// One column of one array.
pub(super) fn raw(rows: i64, buffers: &[(i64, i64)], body: &[u8]) -> Raw {
    Raw {
        rows,
        nodes: vec![(rows, 0)],
        buffers: buffers.to_vec(),
        body: body.to_vec(),
        ..Raw::default()
    }
}

impl Raw {
    pub(super) fn nodes(mut self, nodes: &[(i64, i64)]) -> Self {
        self.nodes = nodes.to_vec();
        self
    }

    pub(super) fn views(mut self, view_buffers: &[i64]) -> Self {
        self.view_buffers = view_buffers.to_vec();
        self
    }

    pub(super) fn codec(mut self, codec: CompressionType) -> Self {
        self.codec = Some(codec);
        self
    }

    pub(super) fn batch(self) -> FlightData {
        self.message(None)
    }

    pub(super) fn dictionary(self, id: i64, is_delta: bool) -> FlightData {
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

pub(super) fn schema_message(schema: &Schema) -> FlightData {
    let mut message: FlightData = SchemaAsIpc::new(schema, &Default::default()).into();
    message.flight_descriptor = Some(path(&["t"]));
    message
}

/// A schema whose structs share their children: it has few bytes, and a walk over it visits very many fields.
pub(super) fn schema_of_shared_structs(depth: usize, children: usize) -> FlightData {
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

pub(super) fn columns(columns: &[(&str, D)]) -> Schema {
    let field = |(name, data_type): &(&str, D)| Field::new(*name, data_type.clone(), true);
    Schema::new(columns.iter().map(field).collect::<Vec<_>>())
}

pub(super) fn list_of(inner: D) -> Arc<Field> {
    Arc::new(Field::new("item", inner, true))
}

pub(super) fn nested(depth: usize) -> D {
    (1..depth).fold(D::Int32, |inner, _| D::List(list_of(inner)))
}

pub(super) fn little(values: &[i32]) -> Vec<u8> {
    values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect()
}

pub(super) fn prefixed(length: i64, compressed: &[u8]) -> Vec<u8> {
    [&length.to_le_bytes()[..], compressed].concat()
}

pub const TABLE: &str = "CREATE TABLE t (n bigint, m bigint, s text, j jsonb, a int[], d numeric, ts timestamptz, b bool[], ss text[])";
pub(super) const LIMIT: u64 = 768 << 20;
pub(super) const SMALL: [&str; 4] = ["--memory-limit", "768MiB", "--max-copies", "4"];
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
pub(super) async fn check(cases: Vec<(&str, Vec<FlightData>, &str)>) {
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
