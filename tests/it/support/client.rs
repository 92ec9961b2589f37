//! A Flight client that sends any messages, valid or not.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::utils::batches_to_flight_data;
use arrow_flight::{Action, FlightData, FlightDescriptor};
use base64::prelude::{BASE64_STANDARD, Engine};
use bytes::Bytes;
use futures_util::{Stream, TryStreamExt, stream};
use serde_json::{Value, json};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

const TYPE: &str = "type.googleapis.com/pgflight.v1.";

pub struct Client {
    pub flight: FlightServiceClient<InterceptedService<Channel, Headers>>,
    pub channel: Channel,
}

/// The headers of every call.
#[derive(Clone, Default)]
pub struct Headers(Vec<(&'static str, String)>);

impl Interceptor for Headers {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        for (name, value) in &self.0 {
            request.metadata_mut().append(*name, value.parse().unwrap());
        }
        Ok(request)
    }
}

/// The messages of a stream.
#[derive(Clone)]
pub struct Put(pub Vec<FlightData>);

impl Client {
    pub async fn connect(address: &str) -> Self {
        Self::try_connect(address).await.unwrap()
    }

    pub async fn try_connect(address: &str) -> Result<Self, Status> {
        let endpoint = Channel::from_shared(format!("http://{address}")).unwrap();
        let channel = endpoint
            .connect()
            .await
            .map_err(|error| Status::unavailable(error.to_string()))?;
        Ok(Self::over(channel))
    }

    /// Makes a client on an existing connection.
    pub fn over(channel: Channel) -> Self {
        Self::saying(channel, &[])
    }

    /// Returns a client on the same connection with these values of the header `authorization`.
    pub fn authorized(&self, values: &[&str]) -> Self {
        Self::saying(self.channel.clone(), values)
    }

    /// Returns a client on the same connection with a token.
    pub fn bearing(&self, token: &str) -> Self {
        self.authorized(&[&format!("Bearer {token}")])
    }

    fn saying(channel: Channel, authorization: &[&str]) -> Self {
        let values = authorization
            .iter()
            .map(|value| ("authorization", (*value).to_owned()));
        let headers = Headers(values.collect());
        let flight = FlightServiceClient::with_interceptor(channel.clone(), headers)
            .max_encoding_message_size(usize::MAX);
        Self { flight, channel }
    }

    /// Sends a stream and returns its receipt.
    pub async fn put(&mut self, put: Put) -> Result<Value, Status> {
        self.put_stream(stream::iter(put.0)).await
    }

    pub async fn put_stream(
        &mut self,
        messages: impl Stream<Item = FlightData> + Send + 'static,
    ) -> Result<Value, Status> {
        let mut answers = self.flight.do_put(messages).await?.into_inner();
        let mut receipts = Vec::new();
        while let Some(answer) = answers.message().await? {
            receipts.push(serde_json::from_slice(&answer.app_metadata).unwrap());
        }
        assert_eq!(receipts.len(), 1, "exactly one receipt");
        Ok(receipts.remove(0))
    }

    /// Runs an action in JSON.
    pub async fn act(
        &mut self,
        action: &str,
        message: &str,
        fields: Value,
    ) -> Result<Value, Status> {
        let body = self.act_bytes(action, json(message, fields)).await?;
        Ok(serde_json::from_slice(&body).unwrap())
    }

    pub async fn act_bytes(&mut self, action: &str, body: Bytes) -> Result<Bytes, Status> {
        let action = Action {
            r#type: action.to_owned(),
            body,
        };
        // A connection may break after the result and before the status.
        let results: Vec<_> = self
            .flight
            .do_action(action)
            .await?
            .into_inner()
            .try_collect()
            .await?;
        assert_eq!(results.len(), 1, "exactly one result");
        Ok(results.into_iter().next().unwrap().body)
    }

    /// Plans a write of these columns.
    pub async fn plan(
        &mut self,
        columns: &[(&str, ArrayRef)],
        spec: Value,
    ) -> Result<Value, Status> {
        let schema = encoded_schema(&batch(columns));
        let fields = json!({"spec": spec, "arrowSchema": schema});
        self.act("plan", "PlanRequest", fields).await
    }

    pub async fn begin(
        &mut self,
        write_id: &str,
        spec: Value,
        rows: &RecordBatch,
    ) -> Result<Value, Status> {
        self.begin_with(json!({"writeId": write_id, "spec": spec}), rows)
            .await
    }

    /// Begins a write with these fields and the schema of the rows.
    pub async fn begin_with(
        &mut self,
        mut fields: Value,
        rows: &RecordBatch,
    ) -> Result<Value, Status> {
        fields["arrowSchema"] = encoded_schema(rows).into();
        self.act("begin", "BeginRequest", fields).await
    }

    /// Sends a heartbeat and returns the ids of the driver's open writes.
    pub async fn heartbeat(&mut self, driver: &str) -> Result<Vec<String>, Status> {
        let answer = self
            .act("heartbeat", "HeartbeatRequest", json!({"driver": driver}))
            .await?;
        let ids = answer["openWriteIds"].as_array().cloned();
        let ids = ids.unwrap_or_default().into_iter();
        Ok(ids.map(|id| id.as_str().unwrap().to_owned()).collect())
    }

    pub async fn commit(&mut self, write_id: &str, receipts: &[Value]) -> Result<Value, Status> {
        self.act(
            "commit",
            "CommitRequest",
            json!({"writeId": write_id, "receipts": receipts}),
        )
        .await
    }

    pub async fn abort(&mut self, write_id: &str) -> Result<Value, Status> {
        self.act(
            "abort",
            "AbortRequest",
            json!({"writeId": write_id, "reason": "tested"}),
        )
        .await
    }

    pub async fn status(&mut self, write_id: &str) -> Result<Value, Status> {
        self.act("status", "StatusRequest", json!({"writeId": write_id}))
            .await
    }
}

impl Put {
    /// The schema and the batches, without an end record.
    pub fn bare(descriptor: FlightDescriptor, batches: &[RecordBatch]) -> Self {
        let mut messages = batches_to_flight_data(&batches[0].schema(), batches).unwrap();
        messages[0].flight_descriptor = Some(descriptor);
        Self(messages)
    }

    /// The schema, the batches and the end record.
    pub fn whole(descriptor: FlightDescriptor, batches: &[RecordBatch]) -> Self {
        let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
        let filled = batches.iter().filter(|batch| batch.num_rows() > 0).count();
        Self::bare(descriptor, batches).and(end_record(rows, filled))
    }

    pub fn and(mut self, message: FlightData) -> Self {
        self.0.push(message);
        self
    }
}

fn encoded_schema(rows: &RecordBatch) -> String {
    let schema = arrow_flight::SchemaAsIpc::new(&rows.schema(), &Default::default()).try_into();
    let arrow_flight::SchemaResult { schema } = schema.unwrap();
    BASE64_STANDARD.encode(schema)
}

pub fn path(parts: &[&str]) -> FlightDescriptor {
    FlightDescriptor::new_path(parts.iter().map(|part| (*part).to_owned()).collect())
}

/// The descriptor of a one-stream write.
pub fn write(spec: Value) -> FlightDescriptor {
    FlightDescriptor::new_cmd(json("WriteCommand", json!({"spec": spec})))
}

/// The descriptor of an attempt.
pub fn attempt(write_id: &str, partition_id: u32, attempt_id: &str) -> FlightDescriptor {
    let fields = json!({"writeId": write_id, "partitionId": partition_id, "attemptId": attempt_id});
    FlightDescriptor::new_cmd(json("AttemptCommand", fields))
}

pub fn end_record(row_count: usize, batch_count: usize) -> FlightData {
    let fields = json!({"rowCount": row_count.to_string(), "batchCount": batch_count.to_string()});
    FlightData {
        app_metadata: json("EndRecord", fields),
        ..Default::default()
    }
}

/// A message of the protocol in its JSON form.
pub fn json(message: &str, mut fields: Value) -> Bytes {
    fields["@type"] = Value::String(format!("{TYPE}{message}"));
    serde_json::to_vec(&fields).unwrap().into()
}

pub fn batch(columns: &[(&str, ArrayRef)]) -> RecordBatch {
    let columns = columns
        .iter()
        .map(|(name, array)| (*name, Arc::clone(array), true));
    RecordBatch::try_from_iter_with_nullable(columns).unwrap()
}

/// An error of a call: the code and the message of its status, and the details beside them.
#[derive(Debug)]
pub struct CallError {
    pub code: Code,
    pub message: String,
    pub reason: String,
    pub details: BTreeMap<String, String>,
}

impl From<Status> for CallError {
    fn from(status: Status) -> Self {
        use tonic_types::StatusExt;
        let info = status
            .get_details_error_info()
            .expect("every error carries its details");
        Self {
            code: status.code(),
            message: status.message().to_owned(),
            reason: info.reason,
            details: info.metadata.into_iter().collect(),
        }
    }
}

/// A runtime that stands for a client's process: when it is shut down, all its connections are gone at once.
pub fn client_process() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap()
}
