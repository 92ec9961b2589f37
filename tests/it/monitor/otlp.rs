//! Traces as a collector receives them, by OTLP.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use arrow::array::{ArrayRef, Int32Array};
use tonic::body::Body;
use tonic::codegen::{Service, http};
use tonic::server::{NamedService, UnaryService};
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;

use crate::support::{Database, Pgflight, Put, batch, path, wait_until};

/// The parts of `opentelemetry.proto.collector.trace.v1` and `opentelemetry.proto.trace.v1` that the test reads.
#[derive(Clone, PartialEq, prost::Message)]
struct ExportRequest {
    #[prost(message, repeated, tag = "1")]
    resources: Vec<Resource>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Resource {
    #[prost(message, repeated, tag = "2")]
    scopes: Vec<Scope>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Scope {
    #[prost(message, repeated, tag = "2")]
    spans: Vec<SentSpan>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct SentSpan {
    #[prost(bytes = "vec", tag = "1")]
    trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    span_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    parent_span_id: Vec<u8>,
    #[prost(string, tag = "5")]
    name: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ExportResponse {}

/// A collector that keeps the spans that it receives.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<SentSpan>>>);

type Answer<T> = Pin<Box<dyn Future<Output = Result<T, Infallible>> + Send>>;

impl NamedService for Collector {
    const NAME: &'static str = "opentelemetry.proto.collector.trace.v1.TraceService";
}

impl Service<http::Request<Body>> for Collector {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Answer<Self::Response>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let keep = Keep(self.clone());
        Box::pin(async move {
            let codec = ProstCodec::<ExportResponse, ExportRequest>::default();
            Ok(tonic::server::Grpc::new(codec).unary(keep, request).await)
        })
    }
}

struct Keep(Collector);

impl UnaryService<ExportRequest> for Keep {
    type Response = ExportResponse;
    type Future = Pin<Box<dyn Future<Output = Result<Response<ExportResponse>, Status>> + Send>>;

    fn call(&mut self, request: Request<ExportRequest>) -> Self::Future {
        let resources = request.into_inner().resources.into_iter();
        let spans =
            resources.flat_map(|resource| resource.scopes.into_iter().flat_map(|s| s.spans));
        self.0.0.lock().unwrap().extend(spans);
        Box::pin(async { Ok(Response::new(ExportResponse {})) })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_joins_its_callers_trace_with_a_span_per_stage() {
    let collector = Collector::default();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let incoming = tonic::transport::server::TcpIncoming::from(listener);
    let serving = tonic::transport::Server::builder().add_service(collector.clone());
    tokio::spawn(serving.serve_with_incoming(incoming));

    let database = Database::new().await;
    database.execute("CREATE TABLE t (n int)").await;
    let variables = [("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str())];
    let mut server = Pgflight::start_in(&database.url, &variables, &[]);
    let rows = batch(&[("n", Arc::new(Int32Array::from(vec![1, 2])) as ArrayRef)]);
    let messages = futures_util::stream::iter(Put::bare(path(&["t"]), &[rows]).0);
    let mut request = Request::new(messages);
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let parent = format!("00-{trace}-00f067aa0ba902b7-01");
    request
        .metadata_mut()
        .insert("traceparent", parent.parse().unwrap());
    let mut client = server.client().await;
    let mut answers = client.flight.do_put(request).await.unwrap().into_inner();
    while answers.message().await.unwrap().is_some() {}
    drop(client);
    // The server sends the remaining spans when it ends.
    server.signal("TERM");
    assert!(server.wait(Duration::from_secs(20)).success());
    let spans = || collector.0.lock().unwrap().clone();
    wait_until(async || !spans().is_empty(), "spans have come").await;
    let spans = spans();
    let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
    let stream = spans.iter().find(|span| span.name == "stream").unwrap();
    assert_eq!(hex(&stream.trace_id), trace);
    assert_eq!(hex(&stream.parent_span_id), "00f067aa0ba902b7");
    let stages = [
        "turn", "open", "plan", "meter", "gate", "decode", "encode", "send", "commit",
    ];
    for stage in stages {
        let mut found = spans.iter().filter(|span| span.name == stage);
        let span = found
            .next()
            .unwrap_or_else(|| panic!("no span {stage} in {spans:?}"));
        assert_eq!(hex(&span.trace_id), trace, "{stage}");
        assert_eq!(span.parent_span_id, stream.span_id, "{stage}");
        assert!(
            found.next().is_none(),
            "one span {stage} for all its visits"
        );
    }
}
