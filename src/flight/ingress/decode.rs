//! The stage *decode*: turns the messages of a DoPut into batches and the end record.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::buffer::Buffer;
use arrow::datatypes::{Schema, SchemaRef};
use arrow::ipc::MessageHeader;
use arrow::ipc::convert::try_fb_to_schema;
use arrow::ipc::reader::read_dictionary;
use arrow_flight::FlightData;
use futures_util::stream::{self, Stream};
use tonic::{Code, Status};

use super::columns::{Received, undecodable, undecodable_column};
use super::expansion::expansion;
use super::gate::{self, Gate, Limits, MAX_HEADER_BYTES, malformed};
use super::meter::Messages;
use crate::error::{Error, Result};
use crate::flight::command;
use crate::metrics::{self, Activity, Stream as Flow};
use crate::write::{Budget, Share, Size, StreamMessage};

/// Decodes a stream after its schema. It keeps the dictionaries itself, since arrow-flight's decoder fails on a
/// message with nothing but metadata and restarts on a second schema.
pub(crate) struct Decoder {
    schema: SchemaRef,
    gate: Gate,
    limits: Limits,
    dictionaries: HashMap<i64, ArrayRef>,
    budget: Budget,
    stream: Arc<Flow>,
    /// Memory of the dictionaries, by id; a delta adds a share.
    dictionary_shares: HashMap<i64, Vec<Share>>,
    /// Memory of the last decompressed message. PostgreSQL has its rows when the next message is read.
    decompressed: Option<Share>,
    /// Memory for the rows of the last message while they are encoded.
    expanded: Option<Share>,
    /// Rows decoded so far.
    row_count: u64,
    /// Bytes of dictionaries since the last batch.
    dictionary_bytes: u64,
}

impl Decoder {
    /// Begins with the first message, which must hold the schema.
    pub(crate) fn begin(
        first: &FlightData,
        limits: Limits,
        budget: Budget,
        stream: Arc<Flow>,
    ) -> Result<Self> {
        let (gate, schema) = read_schema(&first.data_header, limits)?;
        Ok(Self {
            schema: Arc::new(schema),
            gate,
            limits,
            dictionaries: HashMap::new(),
            budget,
            stream,
            dictionary_shares: HashMap::new(),
            decompressed: None,
            expanded: None,
            row_count: 0,
            dictionary_bytes: 0,
        })
    }

    pub(crate) fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    /// Gives the columns these names, by position.
    ///
    /// # Errors
    /// [`ErrorKind::SchemaMismatch`](crate::error::ErrorKind::SchemaMismatch) for another number of columns.
    pub(crate) fn name_columns(&mut self, names: &[String]) -> Result<()> {
        let fields = self.schema.fields();
        if fields.len() != names.len() {
            return Err(Error::schema_mismatch(format!(
                "the statement has {} parameters, and the rows have {} columns",
                names.len(),
                fields.len()
            ))
            .with_hint("bind one column for each ? of the statement"));
        }
        let named = fields.iter().zip(names);
        let named = named.map(|(field, name)| field.as_ref().clone().with_name(name));
        let metadata = self.schema.metadata().clone();
        self.schema = Arc::new(Schema::new_with_metadata(
            named.collect::<Vec<_>>(),
            metadata,
        ));
        Ok(())
    }

    /// Returns the rest of the stream, decoded message by message as it is polled.
    pub(crate) fn decode(
        self,
        messages: Messages,
    ) -> impl Stream<Item = Result<StreamMessage>> + Send {
        stream::try_unfold((self, messages), |(mut decoder, mut messages)| async move {
            loop {
                (decoder.decompressed, decoder.expanded) = (None, None);
                let Some(data) = messages
                    .message()
                    .await
                    .map_err(|status| transport_error(&status))?
                else {
                    return Ok(None);
                };
                if let Some(message) = decoder.next(data).await? {
                    return Ok(Some((message, (decoder, messages))));
                }
            }
        })
    }

    pub(crate) async fn next(&mut self, data: FlightData) -> Result<Option<StreamMessage>> {
        if data.flight_descriptor.is_some() {
            return Err(Error::invalid_command(
                "a second descriptor came in the middle of the stream",
            ));
        }
        if data.app_metadata.len() > MAX_HEADER_BYTES {
            return Err(Error::invalid_command(format!(
                "a message has {} bytes of metadata, more than the limit of {MAX_HEADER_BYTES}",
                data.app_metadata.len()
            )));
        }
        if data.data_header.is_empty() {
            if data.app_metadata.is_empty() {
                return Ok(None);
            }
            let record = command::end_record(&data.app_metadata)?;
            return Ok(Some(StreamMessage::End(record)));
        }
        Ok(match self.read(&data).await? {
            Some((batch, _)) if batch.num_rows() == 0 && !data.app_metadata.is_empty() => {
                Some(StreamMessage::End(command::end_record(&data.app_metadata)?))
            }
            Some((batch, size)) => Some(StreamMessage::Batch(batch, size)),
            None => None,
        })
    }

    async fn read(&mut self, data: &FlightData) -> Result<Option<(RecordBatch, Size)>> {
        let message = gate::message(&data.data_header)?;
        match message.header_type() {
            MessageHeader::RecordBatch => {
                let batch = message.header_as_record_batch().ok_or_else(malformed)?;
                let check = || self.gate.check_batch(batch, &data.data_body);
                let byte_count = self.stream.work(Activity::Gate, check)?;
                if batch.compression().is_some() {
                    let decompressed = self.budget.decompressed(byte_count);
                    self.decompressed = self.stream.wait(Activity::Memory, decompressed).await;
                }
                let read = || {
                    let received = Received {
                        // Shared, not copied. The reader copies only the buffers that need an alignment and do not
                        // have it, since protobuf puts the body at any address. Text needs none.
                        body: &Buffer::from(data.data_body.clone()),
                        batch,
                        schema: &self.schema,
                        dictionaries: &self.dictionaries,
                        version: message.version(),
                        first_row: self.row_count,
                    };
                    received.read()
                };
                let batch = self
                    .stream
                    .work(Activity::Decode, || catch_panics("batch", read))?;
                self.stream.decoded(batch.num_rows());
                self.row_count += u64::try_from(batch.num_rows()).unwrap_or(u64::MAX);
                let expansion = expansion(&batch);
                self.expanded = self.expand(expansion.memory, byte_count).await?;
                let size = Size {
                    brought: byte_count.saturating_add(std::mem::take(&mut self.dictionary_bytes)),
                    named: expansion.named,
                    spare: covered(byte_count).saturating_sub(expansion.memory),
                    is_held: self.decompressed.is_some() || self.expanded.is_some(),
                };
                Ok(Some((batch, size)))
            }
            MessageHeader::DictionaryBatch => {
                let batch = message.header_as_dictionary_batch().ok_or_else(malformed)?;
                let check = || self.gate.check_dictionary(batch, &data.data_body);
                let byte_count = self.stream.work(Activity::Gate, check)?;
                self.dictionary_bytes = self.dictionary_bytes.saturating_add(byte_count);
                let shares = self.dictionary_shares.entry(batch.id()).or_default();
                if !batch.isDelta() {
                    shares.clear();
                }
                shares.push(self.budget.dictionary(byte_count)?);
                let dictionaries = &mut self.dictionaries;
                let read = || {
                    let version = message.version();
                    // A copy, since the dictionary outlives the message.
                    let body = Buffer::from(data.data_body.as_ref());
                    read_dictionary(&body, batch, &self.schema, dictionaries, &version).map_err(
                        |error| undecodable_column(self.gate.column_of(batch.id()), &error),
                    )
                };
                let read = || catch_panics("dictionary", read);
                self.stream.work(Activity::Decode, read).map(|()| None)
            }
            MessageHeader::Schema => Err(Error::invalid_command(
                "a second schema came in the middle of the stream",
            )),
            _ => Err(malformed()),
        }
    }
}

/// A message's share of memory covers encoded output up to this multiple of its size.
const COVERED_EXPANSION: u64 = 2;

fn covered(byte_count: u64) -> u64 {
    byte_count.saturating_mul(COVERED_EXPANSION)
}

impl Decoder {
    /// Takes the memory that encoding a batch of `byte_count` bytes needs beyond the share of its message.
    async fn expand(&self, memory: u64, byte_count: u64) -> Result<Option<Share>> {
        let most = self.limits.max_decoded_bytes;
        let more = memory.saturating_sub(covered(byte_count));
        if more > most {
            return Err(Error::invalid_command(format!(
                "nested columns and dictionaries make a batch of {byte_count} bytes {more} bytes larger when it \
                 is encoded, more than the limit of {most}"
            ))
            .with_hint("send fewer rows in a batch"));
        }
        match &self.decompressed {
            _ if more == 0 => Ok(None),
            None => {
                let waiting = self.budget.decompressed(more);
                Ok(self.stream.wait(Activity::Memory, waiting).await)
            }
            Some(_) => self.budget.decompressed_too(more).map(Some),
        }
    }
}

/// Reads an encapsulated IPC schema message: an optional `FF FF FF FF`, four bytes of length, the message (Arrow
/// columnar format, "Encapsulated message format").
pub(crate) fn schema(bytes: &[u8], limits: Limits) -> Result<Schema> {
    if bytes.is_empty() {
        return Err(Error::invalid_command("the command has no arrow_schema"));
    }
    let bytes = bytes.strip_prefix(&[0xff; 4]).unwrap_or(bytes);
    let header = bytes
        .split_first_chunk::<4>()
        .and_then(|(length, rest)| rest.get(..usize::try_from(i32::from_le_bytes(*length)).ok()?));
    let header = header.ok_or_else(|| {
        Error::invalid_command("arrow_schema is shorter than the length that it begins with")
    })?;
    Ok(read_schema(header, limits)?.1)
}

fn read_schema(header: &[u8], limits: Limits) -> Result<(Gate, Schema)> {
    let message = gate::message(header)?;
    let schema = message
        .header_as_schema()
        .ok_or_else(|| Error::invalid_command("the stream does not begin with an Arrow schema"))?;
    let gate = Gate::new(schema, limits)?;
    Ok((
        gate,
        catch_panics("schema", || {
            try_fb_to_schema(schema).map_err(|error| undecodable("schema", &error))
        })?,
    ))
}

/// Turns a panic of arrow's reader into an error, and reports it. The gate rejects everything that the reader is
/// known to panic on; an unknown cause must end the stream and not the server.
fn catch_panics<T>(what: &str, read: impl FnOnce() -> Result<T>) -> Result<T> {
    match catch_unwind(AssertUnwindSafe(read)) {
        Ok(read) => read,
        Err(_) => {
            let decode_panics = metrics::count_decode_panic();
            tracing::error!(
                what,
                decode_panics,
                "the Arrow decoder panicked: please report the data that was sent"
            );
            Err(Error::invalid_command(format!(
                "the Arrow {what} message is malformed"
            )))
        }
    }
}

/// Maps a transport error to the reason that the stream ended.
pub(crate) fn transport_error(status: &Status) -> Error {
    if status.code() == Code::DeadlineExceeded {
        return Error::timeout(status.message().to_owned())
            .with_hint("send the stream again, or raise --idle-timeout");
    }
    if status.code() == Code::InvalidArgument {
        return Error::invalid_command(status.message().to_owned());
    }
    if status.code() == Code::Unavailable {
        return Error::unavailable(status.message().to_owned())
            .with_hint("try again later, or raise --memory-limit");
    }
    if matches!(status.code(), Code::OutOfRange | Code::ResourceExhausted) {
        return Error::invalid_command(format!(
            "a message is larger than the server's limit: {}",
            status.message()
        ))
        .with_hint("send smaller batches, or raise --max-message-size");
    }
    if status.code() == Code::Aborted {
        return Error::cancelled(status.message().to_owned());
    }
    Error::cancelled(format!(
        "the client's connection broke: {}",
        status.message()
    ))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{
        ArrayRef, BooleanArray, Decimal128Array, DictionaryArray, FixedSizeListArray, Int32Array,
        Int64Array, LargeStringArray, ListArray, NullArray, RecordBatch, StringArray,
        StringViewArray, StructArray,
    };
    use arrow::datatypes::Int32Type;
    use arrow::datatypes::{DataType, Field};
    use arrow::ipc::CompressionType;
    use arrow::ipc::writer::IpcWriteOptions;
    use arrow_flight::FlightData;
    use arrow_flight::encode::{DictionaryHandling, FlightDataEncoderBuilder};
    use futures_util::{FutureExt, StreamExt, stream};

    use super::{Budget, Decoder, Limits, metrics};
    use crate::write::BudgetConfig;

    const LIMITS: Limits = Limits {
        max_decoded_bytes: 1 << 20,
        max_dictionary_bytes: 1 << 20,
    };

    /// Makes a stream with every layout of buffers.
    fn stream_of_all_layouts(compression: Option<CompressionType>) -> Vec<FlightData> {
        let ints = Int32Array::from(vec![Some(1), None, Some(3)]);
        let item = Arc::new(Field::new("item", DataType::Int32, true));
        let triples = vec![
            Some(vec![Some(1), Some(2)]),
            None,
            Some(vec![None, Some(4)]),
        ];
        let keys = Int32Array::from(vec![Some(0), Some(1), None]);
        let words = Arc::new(StringArray::from(vec!["left", "right"]));
        let mut columns: Vec<(&str, ArrayRef)> = vec![
            ("long", Arc::new(Int64Array::from(vec![1, 2, 3]))),
            (
                "bool",
                Arc::new(BooleanArray::from(vec![Some(true), None, Some(false)])),
            ),
            ("null", Arc::new(NullArray::new(3))),
            (
                "decimal",
                Arc::new(Decimal128Array::from(vec![Some(1), None, Some(3)])),
            ),
            (
                "text",
                Arc::new(StringArray::from(vec![Some("a"), None, Some("ccc")])),
            ),
            (
                "large",
                Arc::new(LargeStringArray::from(vec!["a", "bb", "ccc"])),
            ),
            (
                "list",
                Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(
                    triples.clone(),
                )),
            ),
            (
                "fixed",
                Arc::new(FixedSizeListArray::from_iter_primitive::<Int32Type, _, _>(
                    triples, 2,
                )),
            ),
            (
                "struct",
                Arc::new(StructArray::from(vec![(item, Arc::new(ints) as ArrayRef)])),
            ),
            (
                "words",
                Arc::new(DictionaryArray::<Int32Type>::try_new(keys, words).unwrap()),
            ),
        ];
        if compression.is_none() {
            let views = vec![
                Some("a"),
                None,
                Some("a view that is too long to be inline"),
            ];
            columns.push(("view", Arc::new(StringViewArray::from(views))));
        }
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let options = IpcWriteOptions::default()
            .try_with_compression(compression)
            .unwrap();
        let messages = FlightDataEncoderBuilder::new()
            .with_options(options)
            .with_dictionary_handling(DictionaryHandling::Resend)
            .build(stream::iter([Ok(batch.clone()), Ok(batch)]));
        let messages: Vec<_> = messages
            .map(Result::unwrap)
            .collect()
            .now_or_never()
            .unwrap();
        assert_eq!(messages.len(), 4, "a schema, a dictionary, two batches");
        messages
    }

    /// Decodes a whole stream and returns its number of rows.
    fn decode(messages: &[FlightData]) -> crate::error::Result<usize> {
        let (first, rest) = messages.split_first().unwrap();
        let budget = BudgetConfig {
            memory_limit: 256 << 20,
            max_message_bytes: 1 << 20,
            max_copies: 1,
            max_connections: 1,
        };
        let mut decoder = Decoder::begin(
            first,
            LIMITS,
            Budget::new(&budget)?,
            metrics::Metrics::default().stream(),
        )?;
        let mut rows = 0;
        for message in rest {
            let read = decoder
                .read(message)
                .now_or_never()
                .expect("there is memory");
            rows += read?.map_or(0, |(batch, _)| batch.num_rows());
        }
        Ok(rows)
    }

    /// The gate must leave nothing for `catch_unwind`. `PGFLIGHT_MUTATIONS` sets the number of tries.
    #[test]
    fn changed_bytes_never_make_the_decoder_panic() {
        let streams = [
            None,
            Some(CompressionType::LZ4_FRAME),
            Some(CompressionType::ZSTD),
        ]
        .map(stream_of_all_layouts);
        for messages in &streams {
            assert_eq!(decode(messages).unwrap(), 6);
        }
        let tries = std::env::var("PGFLIGHT_MUTATIONS").map_or(20_000, |n| n.parse().unwrap());
        let mut random = fastrand::Rng::with_seed(1);
        let mut rejected = 0;
        for _ in 0..tries {
            let mut messages = streams[random.usize(..streams.len())].clone();
            let message = random.usize(..messages.len());
            let message = &mut messages[message];
            let bytes = match random.u8(..4) {
                0 if !message.data_body.is_empty() => &mut message.data_body,
                _ => &mut message.data_header,
            };
            let mut changed = bytes.to_vec();
            for _ in 0..random.usize(1..4) {
                let at = random.usize(..changed.len());
                // Changes whole lengths and offsets as well as single bytes.
                match changed.get_mut(at..at + 8) {
                    Some(eight) if random.bool() => {
                        let value: i64 = match random.u8(..4) {
                            0 => random.i64(..),
                            1 => random.i64(-16..16),
                            2 => 1 << random.u8(..63),
                            _ => i64::MAX - random.i64(0..16),
                        };
                        eight.copy_from_slice(&value.to_le_bytes());
                    }
                    _ => changed[at] = random.u8(..),
                }
            }
            *bytes = changed.into();
            rejected += usize::from(decode(&messages).is_err());
            assert_eq!(metrics::decode_panics(), 0, "{messages:?}");
        }
        assert!(rejected > tries / 4, "{rejected} of {tries} rejected");
    }
}
