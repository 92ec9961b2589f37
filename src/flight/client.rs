//! The other end of the wire: what `pgflight load` sends to a running server.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use arrow_flight::encode::{FlightDataEncoder, FlightDataEncoderBuilder};
use arrow_flight::error::FlightError;
use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::{Action, FlightData, FlightDescriptor, SchemaAsIpc};
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::stream::{self, Stream, StreamExt, TryStreamExt};
use serde_json::{Map, Value};
use tokio::sync::oneshot;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Code, Request, Status};
use tonic_types::StatusExt;

use super::envelope::{self, Envelope, WireForm};
use crate::error::{Error, ErrorKind, Result};
use crate::proto::v1;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// A server that vanished is noticed within the sum of both.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(20);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);
/// Batches are cut to messages of about so many bytes, far below what any server takes.
const MESSAGE_BYTES: usize = 1024 * 1024;

/// How to reach a server. Files of TLS are given as what they hold, in PEM.
#[derive(Clone, Default)]
pub struct ClientConfig {
    /// `grpc://host:port`, or `grpc+tls://host:port` with TLS.
    pub url: String,
    /// Sent with every call as `authorization: Bearer …`.
    pub token: Option<String>,
    /// The authorities to trust; needed with TLS.
    pub authorities: Option<Vec<u8>>,
    /// A certificate of the client's own, and its key.
    pub identity: Option<(Vec<u8>, Vec<u8>)>,
}

/// A client of a running server. Clones share one connection.
#[derive(Clone)]
pub struct Client {
    flight: FlightServiceClient<Channel>,
    authorization: Option<MetadataValue<Ascii>>,
}

/// A finished attempt, to be handed to [`Client::commit`].
#[derive(Debug, Clone)]
pub struct AttemptReceipt(v1::Receipt);

impl AttemptReceipt {
    /// Rows that were staged.
    pub fn row_count(&self) -> u64 {
        self.0.row_count
    }
}

/// Where a write stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteStatus {
    /// Whether its rows are in the table.
    pub is_committed: bool,
    /// The table, quoted where SQL needs it.
    pub table: String,
    /// Rows of it.
    pub row_count: u64,
    /// Bytes of COPY.
    pub byte_count: u64,
    /// When it ended, as RFC 3339; empty while it is open.
    pub finished_at: String,
    /// Between two heartbeats of its driver; none where the server takes none.
    pub heartbeat_interval: Option<Duration>,
}

/// A write of many partitions, as its calls name it.
#[derive(Debug, Clone)]
pub struct RemoteWrite {
    /// Unique, made by the caller.
    pub write_id: String,
    /// The server's target; empty for its default.
    pub target: String,
    /// Who sends its heartbeats, by an id of its own.
    pub driver: String,
}

impl Client {
    /// Connects.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidCommand`] when the address or the files of TLS cannot be used,
    /// [`ErrorKind::Unavailable`] when nobody answers there.
    pub async fn connect(config: ClientConfig) -> Result<Self> {
        let unusable = |what: &str| {
            Error::invalid_command(format!(
                "the server's address {:?} {what}; write grpc://host:port, or grpc+tls://host:port",
                config.url
            ))
        };
        let (scheme, address) = match config.url.split_once("://") {
            Some(("grpc" | "grpc+tcp", address)) => ("http", address),
            Some(("grpc+tls", address)) => ("https", address),
            Some(_) => return Err(unusable("has another scheme")),
            None => ("http", config.url.as_str()),
        };
        let mut endpoint = Endpoint::from_shared(format!("{scheme}://{address}"))
            .map_err(|_| unusable("cannot be read"))?
            .connect_timeout(CONNECT_TIMEOUT)
            .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
            .keep_alive_timeout(KEEPALIVE_TIMEOUT);
        if scheme == "https" {
            let authorities = config.authorities.ok_or_else(|| {
                Error::invalid_command("grpc+tls:// needs the authorities to trust: --tls-ca FILE")
            })?;
            let authorities = Certificate::from_pem(authorities);
            let mut tls = ClientTlsConfig::new().ca_certificate(authorities);
            if let Some((certificate, key)) = config.identity {
                tls = tls.identity(Identity::from_pem(certificate, key));
            }
            endpoint = endpoint.tls_config(tls).map_err(|error| {
                Error::invalid_command("the files of TLS cannot be used").with_source(error)
            })?;
        }
        let authorization = match &config.token {
            Some(token) => {
                let mut value: MetadataValue<Ascii> = format!("Bearer {token}")
                    .parse()
                    .map_err(|_| Error::invalid_command("the token holds what no token may"))?;
                value.set_sensitive(true);
                Some(value)
            }
            None => None,
        };
        let channel = endpoint.connect().await.map_err(|error| {
            Error::unavailable(format!("no pgflight answers at {}", config.url)).with_source(error)
        })?;
        Ok(Self {
            flight: FlightServiceClient::new(channel),
            authorization,
        })
    }

    /// Opens a write; `spec` holds the fields of a `WriteSpec` in its JSON form.
    ///
    /// # Errors
    /// What the server said; [`ErrorKind::InvalidCommand`] for a spec that cannot be read.
    pub async fn begin(
        &self,
        write: &RemoteWrite,
        mut spec: Map<String, Value>,
        schema: &Schema,
    ) -> Result<RemoteStatus> {
        if !write.target.is_empty() {
            spec.insert("target".to_owned(), write.target.clone().into());
        }
        let spec: v1::WriteSpec = serde_json::from_value(Value::Object(spec))
            .map_err(|error| Error::invalid_command(format!("the spec cannot be read: {error}")))?;
        let schema = SchemaAsIpc::new(schema, &Default::default()).try_into();
        let arrow_flight::SchemaResult { schema } = schema.map_err(|error| {
            Error::invalid_command("the schema cannot be sent").with_source(error)
        })?;
        let request = v1::BeginRequest {
            write_id: write.write_id.clone(),
            spec: Some(spec),
            arrow_schema: schema.into(),
            sink: None,
            driver: write.driver.clone(),
        };
        self.act("begin", envelope::encode(&request, WireForm::Protobuf)?)
            .await
    }

    /// Publishes what these attempts have staged, and nothing else.
    ///
    /// # Errors
    /// What the server said.
    pub async fn commit(
        &self,
        write: &RemoteWrite,
        receipts: &[AttemptReceipt],
    ) -> Result<RemoteStatus> {
        let request = v1::CommitRequest {
            write_id: write.write_id.clone(),
            receipts: receipts.iter().map(|receipt| receipt.0.clone()).collect(),
            target: write.target.clone(),
            allow_no_receipts: false,
        };
        self.act("commit", envelope::encode(&request, WireForm::Protobuf)?)
            .await
    }

    /// Ends a write without publishing anything.
    ///
    /// # Errors
    /// What the server said.
    pub async fn abort(&self, write: &RemoteWrite, reason: &str) -> Result<RemoteStatus> {
        let request = v1::AbortRequest {
            write_id: write.write_id.clone(),
            reason: reason.to_owned(),
            target: write.target.clone(),
        };
        self.act("abort", envelope::encode(&request, WireForm::Protobuf)?)
            .await
    }

    /// Says that the driver of a write is alive.
    ///
    /// # Errors
    /// What the server said.
    pub async fn heartbeat(&self, write: &RemoteWrite) -> Result<()> {
        let request = v1::HeartbeatRequest {
            driver: write.driver.clone(),
            target: write.target.clone(),
        };
        let body = envelope::encode(&request, WireForm::Protobuf)?;
        let v1::HeartbeatResponse { .. } = self.ask("heartbeat", body).await?;
        Ok(())
    }

    /// Sends an attempt: the schema at once, and the rows when the server is ready, which sets `ready`. An error
    /// among the batches ends the stream without its end record, so that the server keeps nothing.
    ///
    /// # Errors
    /// The first error among the batches, else what the server answered.
    pub async fn attempt(
        &self,
        write: &RemoteWrite,
        partition_id: u32,
        attempt_id: String,
        schema: SchemaRef,
        batches: impl Stream<Item = Result<RecordBatch>> + Send + 'static,
        ready: &AtomicBool,
    ) -> Result<AttemptReceipt> {
        let command = v1::AttemptCommand {
            write_id: write.write_id.clone(),
            partition_id,
            attempt_id,
            target: write.target.clone(),
            announce_ready: true,
        };
        let command = envelope::encode(&command, WireForm::Protobuf)?;
        let (tell_ready, is_ready) = oneshot::channel();
        let batches = async {
            // Without an answer the stream has ended, and takes no rows either.
            is_ready.await.ok();
            batches
        };
        let batches = batches.flatten_stream();
        let batches = batches.map_err(|error| FlightError::ExternalError(Box::new(error)));
        let encoder = FlightDataEncoderBuilder::new()
            .with_schema(schema)
            .with_max_flight_data_size(MESSAGE_BYTES)
            .with_flight_descriptor(Some(FlightDescriptor::new_cmd(command)))
            .build(batches);
        let failed = Arc::new(Mutex::new(None));
        let messages = Sent {
            encoder,
            row_count: 0,
            batch_count: 0,
            failed: Arc::clone(&failed),
        };
        let request = self.request(messages.into_stream());
        let answered = async {
            let mut answers = self.flight.clone().do_put(request).await?.into_inner();
            let (mut last, mut tell_ready) = (None, Some(tell_ready));
            while let Some(answer) = answers.message().await? {
                ready.store(true, Ordering::Relaxed);
                if let Some(tell_ready) = tell_ready.take() {
                    tell_ready.send(()).ok();
                }
                last = Some(answer.app_metadata);
            }
            Ok::<_, Status>(last)
        };
        let answer = answered.await;
        let failed = failed.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(error) = failed {
            return Err(error);
        }
        let answer = answer.map_err(|status| from_status(&status))?;
        let answer = answer.ok_or_else(|| Error::internal("the server sent no receipt"))?;
        Ok(AttemptReceipt(Envelope::parse(&answer)?.decode()?))
    }

    async fn act(&self, action: &str, body: Bytes) -> Result<RemoteStatus> {
        let status: v1::WriteStatus = self.ask(action, body).await?;
        let interval = Duration::from_secs(status.heartbeat_seconds.into());
        Ok(RemoteStatus {
            is_committed: status.state() == v1::WriteState::Committed,
            table: status.table,
            row_count: status.row_count,
            byte_count: status.byte_count,
            finished_at: status.finished_at,
            heartbeat_interval: (!interval.is_zero()).then_some(interval),
        })
    }

    async fn ask<M>(&self, action: &str, body: Bytes) -> Result<M>
    where
        M: prost::Message + prost::Name + Default + serde::de::DeserializeOwned,
    {
        let request = self.request(Action::new(action, body));
        let answered = async {
            let mut answers = self.flight.clone().do_action(request).await?.into_inner();
            answers.message().await
        };
        let answer = answered.await.map_err(|status| from_status(&status))?;
        let answer = answer.ok_or_else(|| Error::internal("the server sent no answer"))?;
        Envelope::parse(&answer.body)?.decode()
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(authorization) = &self.authorization {
            let metadata = request.metadata_mut();
            metadata.insert("authorization", authorization.clone());
        }
        request
    }
}

/// The messages of an attempt as they are sent, counted for the end record.
struct Sent {
    encoder: FlightDataEncoder,
    row_count: u64,
    batch_count: u64,
    failed: Arc<Mutex<Option<Error>>>,
}

impl Sent {
    fn into_stream(self) -> impl Stream<Item = FlightData> + Send {
        stream::unfold(Some(self), |sent| async move {
            let mut sent = sent?;
            match sent.encoder.next().await {
                Some(Ok(message)) => {
                    sent.count(&message);
                    Some((message, Some(sent)))
                }
                Some(Err(error)) => {
                    sent.fail(error);
                    None
                }
                None => match sent.end() {
                    Ok(message) => Some((message, None)),
                    Err(error) => {
                        sent.fail(FlightError::ExternalError(Box::new(error)));
                        None
                    }
                },
            }
        })
    }

    /// The encoder cuts batches, so that they are counted as they go out.
    fn count(&mut self, message: &FlightData) {
        let header = arrow::ipc::root_as_message(&message.data_header).ok();
        let batch = header.and_then(|header| header.header_as_record_batch());
        let rows = batch.map_or(0, |batch| batch.length());
        if let Ok(rows @ 1..) = u64::try_from(rows) {
            self.row_count += rows;
            self.batch_count += 1;
        }
    }

    fn end(&self) -> Result<FlightData> {
        let record = v1::EndRecord {
            row_count: self.row_count,
            batch_count: self.batch_count,
        };
        Ok(FlightData {
            app_metadata: envelope::encode(&record, WireForm::Protobuf)?,
            ..FlightData::default()
        })
    }

    fn fail(&self, error: FlightError) {
        let error = if let FlightError::ExternalError(error) = error {
            match error.downcast::<Error>() {
                Ok(error) => *error,
                Err(error) => Error::internal("a batch cannot be sent").with_source(error),
            }
        } else {
            Error::invalid_command("a batch cannot be sent").with_source(error)
        };
        *self.failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }
}

/// An error as the server told it.
fn from_status(status: &Status) -> Error {
    let reason = status.get_details_error_info().map(|info| info.reason);
    let kind = reason.as_deref().and_then(ErrorKind::from_reason);
    // Without a reason it is not pgflight that speaks, but what lies between us.
    let broken = [
        Code::Unavailable,
        Code::Unknown,
        Code::Internal,
        Code::Cancelled,
    ];
    if kind.is_none() && broken.contains(&status.code()) {
        return Error::unavailable(format!(
            "the connection to the server broke, or is no gRPC, as where only one side speaks TLS ({})",
            status.message()
        ));
    }
    Error::new(
        kind.unwrap_or(ErrorKind::Internal),
        status.message().to_owned(),
    )
}
