//! Traces by OTLP, where the feature `otlp` is on and the environment names a collector.

use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::SpanExporter;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::{Span, Subscriber};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::registry::LookupSpan;

/// The variables that name a collector (OpenTelemetry specification, "OTLP Exporter Configuration").
const ENDPOINTS: [&str; 2] = [
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
];

/// What sends spans; [`Exporter::end`] sends the last.
pub(super) struct Exporter(SdkTracerProvider);

impl Exporter {
    /// One, if the environment names a collector. Must be called inside the runtime.
    ///
    /// # Errors
    /// A text that says what is wrong with the variables.
    pub(super) fn from_environment() -> Result<Option<Self>, String> {
        let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        if !ENDPOINTS.iter().any(|name| is_set(name)) {
            return Ok(None);
        }
        let exporter = SpanExporter::builder().with_tonic().build();
        let exporter = exporter.map_err(|error| format!("{}: {error}", ENDPOINTS[1]))?;
        let resource = Resource::builder().with_service_name("pgflight").build();
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_resource(resource);
        Ok(Some(Self(provider.build())))
    }

    /// What hands our spans over: those of stages as well, whatever is logged.
    pub(super) fn layer<S>(&self) -> impl Layer<S>
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        let ours = Targets::new().with_target("pgflight", LevelFilter::DEBUG);
        tracing_opentelemetry::layer()
            .with_tracer(self.0.tracer("pgflight"))
            .with_filter(ours)
    }

    /// Sends what is left.
    pub(super) fn end(&self) {
        if let Err(error) = self.0.shutdown() {
            tracing::warn!(%error, "the last spans were not sent");
        }
    }
}

/// Makes a span part of its caller's trace.
pub(super) fn join(span: &Span, traceparent: &str) {
    let carrier = [("traceparent".to_owned(), traceparent.to_owned())];
    let carrier = std::collections::HashMap::from(carrier);
    let context = TraceContextPropagator::new().extract(&carrier);
    if let Err(error) = span.set_parent(context) {
        tracing::debug!(%error, "a span does not join its caller's trace");
    }
}
