//! The client that `pgflight load` sends its rows with.

mod error;
mod outgoing;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use arrow_flight::encode::FlightDataEncoderBuilder;
use arrow_flight::error::FlightError;
use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::{Action, FlightDescriptor, SchemaAsIpc};
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::stream::{self, Stream, StreamExt, TryStreamExt};
use serde_json::{Map, Value};
use tokio::sync::oneshot;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Request, Status};

use self::error::from_status;
use self::outgoing::OutgoingMessages;
use crate::error::{Error, Result};
use crate::flight::command::envelope::{self, Envelope, WireForm};
use crate::proto::v1;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// The client notices a vanished server within the sum of both.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(20);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);
/// The approximate size of a message, far below the limit of any server.
const MESSAGE_BYTES: usize = 1024 * 1024;

/// The address of a server and the client's credentials. TLS files are given by their content, in PEM.
#[derive(Clone, Default)]
pub struct ClientConfig {
    /// `grpc://host:port`, or `grpc+tls://host:port` with TLS.
    pub url: String,
    /// The token of every call: `authorization: Bearer …`.
    pub token: Option<String>,
    /// The authorities to trust; required with TLS.
    pub authorities: Option<Vec<u8>>,
    /// The client's certificate and its key.
    pub identity: Option<(Vec<u8>, Vec<u8>)>,
}

/// A client of a running server. Clones share one connection.
#[derive(Clone)]
pub struct Client {
    flight: FlightServiceClient<Channel>,
    authorization: Option<MetadataValue<Ascii>>,
}

/// The receipt of a finished attempt, for [`Client::commit`].
#[derive(Debug, Clone)]
pub struct AttemptReceipt(v1::Receipt);

impl AttemptReceipt {
    /// Returns the number of staged rows.
    pub fn row_count(&self) -> u64 {
        self.0.row_count
    }

    /// Returns the partition whose rows they are.
    pub fn partition_id(&self) -> u32 {
        self.0.partition_id
    }
}

/// The status of a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteStatus {
    /// Whether its rows are in the table.
    pub is_committed: bool,
    /// The table, quoted where SQL needs it.
    pub table: String,
    /// Its number of rows.
    pub row_count: u64,
    /// Its bytes of COPY.
    pub byte_count: u64,
    /// When it ended, in RFC 3339; empty while it is open.
    pub finished_at: String,
    /// The interval between two heartbeats of its driver; `None` if the server takes none.
    pub heartbeat_interval: Option<Duration>,
}

/// The names that the calls of a write of many partitions carry.
#[derive(Debug, Clone)]
pub struct RemoteWrite {
    /// The write's id, made by the caller and unique.
    pub write_id: String,
    /// The server's target; empty for its default.
    pub target: String,
    /// The id of the driver, which sends the heartbeats.
    pub driver: String,
}

impl Client {
    /// Connects to a server.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidCommand`](crate::error::ErrorKind::InvalidCommand) when the address or the TLS files cannot be
    /// used, [`ErrorKind::Unavailable`](crate::error::ErrorKind::Unavailable) when no server answers.
    pub async fn connect(config: ClientConfig) -> Result<Self> {
        let unusable = |what: &str| {
            Error::invalid_command(format!("the server's address {:?} {what}", config.url))
                .with_hint("write grpc://host:port, or grpc+tls://host:port")
        };
        let (scheme, address) = match config.url.split_once("://") {
            Some(("grpc" | "grpc+tcp", address)) => ("http", address),
            Some(("grpc+tls", address)) => ("https", address),
            Some(_) => return Err(unusable("has an unknown scheme")),
            None => ("http", config.url.as_str()),
        };
        let mut endpoint = Endpoint::from_shared(format!("{scheme}://{address}"))
            .map_err(|_| unusable("is not a URL"))?
            .connect_timeout(CONNECT_TIMEOUT)
            .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
            .keep_alive_timeout(KEEPALIVE_TIMEOUT);
        if scheme == "https" {
            let authorities = config.authorities.ok_or_else(|| {
                Error::invalid_command("grpc+tls:// needs the authorities to trust")
                    .with_hint("name a file of certificates with --tls-ca")
            })?;
            let authorities = Certificate::from_pem(authorities);
            let mut tls = ClientTlsConfig::new().ca_certificate(authorities);
            if let Some((certificate, key)) = config.identity {
                tls = tls.identity(Identity::from_pem(certificate, key));
            }
            endpoint = endpoint.tls_config(tls).map_err(|error| {
                Error::invalid_command("cannot use the TLS files").with_source(error)
            })?;
        }
        let authorization = match &config.token {
            Some(token) => {
                let mut value: MetadataValue<Ascii> =
                    format!("Bearer {token}").parse().map_err(|_| {
                        Error::invalid_command(
                            "the token holds a character that no header may hold",
                        )
                    })?;
                value.set_sensitive(true);
                Some(value)
            }
            None => None,
        };
        let channel = endpoint.connect().await.map_err(|error| {
            Error::unavailable(format!("could not connect to {}", config.url)).with_source(error)
        })?;
        Ok(Self {
            flight: FlightServiceClient::new(channel),
            authorization,
        })
    }

    /// Begins a write; `spec` holds the fields of a `WriteSpec` in its JSON form.
    ///
    /// # Errors
    /// Any error that the server reports; [`ErrorKind::InvalidCommand`](crate::error::ErrorKind::InvalidCommand) for a
    /// spec that cannot be read.
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
            .map_err(|error| Error::invalid_command("cannot read the spec").with_source(error))?;
        let schema = SchemaAsIpc::new(schema, &Default::default()).try_into();
        let arrow_flight::SchemaResult { schema } = schema.map_err(|error| {
            Error::invalid_command("cannot encode the schema").with_source(error)
        })?;
        let request = v1::BeginRequest {
            write_id: write.write_id.clone(),
            spec: Some(spec),
            arrow_schema: schema.into(),
            sink: None,
            driver: write.driver.clone(),
        };
        self.write_action("begin", envelope::encode(&request, WireForm::Protobuf)?)
            .await
    }

    /// Publishes the rows of these attempts and of no others.
    ///
    /// # Errors
    /// Any error that the server reports.
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
        self.write_action("commit", envelope::encode(&request, WireForm::Protobuf)?)
            .await
    }

    /// Aborts a write; none of its rows are published.
    ///
    /// # Errors
    /// Any error that the server reports.
    pub async fn abort(&self, write: &RemoteWrite, reason: &str) -> Result<RemoteStatus> {
        let request = v1::AbortRequest {
            write_id: write.write_id.clone(),
            reason: reason.to_owned(),
            target: write.target.clone(),
        };
        self.write_action("abort", envelope::encode(&request, WireForm::Protobuf)?)
            .await
    }

    /// Sends a heartbeat of the write's driver.
    ///
    /// # Errors
    /// Any error that the server reports.
    pub async fn heartbeat(&self, write: &RemoteWrite) -> Result<()> {
        let request = v1::HeartbeatRequest {
            driver: write.driver.clone(),
            target: write.target.clone(),
        };
        let body = envelope::encode(&request, WireForm::Protobuf)?;
        let v1::HeartbeatResponse { .. } = self.call("heartbeat", body).await?;
        Ok(())
    }

    /// Sends an attempt: the schema at once, and the rows when the server is ready, which sets `ready`. An error among
    /// the batches ends the stream without its end record, so the server rolls it back.
    ///
    /// # Errors
    /// The first error among the batches, else any error that the server reports.
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
        let (signal_ready, is_ready) = oneshot::channel();
        let batches = async {
            match is_ready.await {
                Ok(()) => batches.left_stream(),
                // The server has ended the stream. Another attempt may need the rows, so none is read.
                Err(_) => stream::pending().right_stream(),
            }
        };
        let batches = batches.flatten_stream();
        let batches = batches.map_err(|error| FlightError::ExternalError(Box::new(error)));
        let encoder = FlightDataEncoderBuilder::new()
            .with_schema(schema)
            .with_max_flight_data_size(MESSAGE_BYTES)
            .with_flight_descriptor(Some(FlightDescriptor::new_cmd(command)))
            .build(batches);
        let failed = Arc::new(Mutex::new(None));
        let messages = OutgoingMessages::new(encoder, Arc::clone(&failed));
        let request = self.request(messages.into_stream());
        let answered = async {
            let mut answers = self.flight.clone().do_put(request).await?.into_inner();
            let (mut last, mut signal_ready) = (None, Some(signal_ready));
            while let Some(answer) = answers.message().await? {
                ready.store(true, Ordering::Relaxed);
                if let Some(signal_ready) = signal_ready.take() {
                    signal_ready.send(()).ok();
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

    async fn write_action(&self, action: &str, body: Bytes) -> Result<RemoteStatus> {
        let status: v1::WriteStatus = self.call(action, body).await?;
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

    async fn call<M>(&self, action: &str, body: Bytes) -> Result<M>
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
