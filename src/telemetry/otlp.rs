//! Exports traces by OTLP, with the feature `otlp`, if the environment names a collector.

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

/// Sends spans; [`Exporter::end`] sends the last.
pub(super) struct Exporter(SdkTracerProvider);

impl Exporter {
    /// Returns an exporter if the environment names a collector. Call it inside the runtime.
    ///
    /// # Errors
    /// The problem with the variables, as text.
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

    /// Returns the layer that exports this crate's spans, those of stages included, whatever the log's filter.
    pub(super) fn layer<S>(&self) -> impl Layer<S>
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        let ours = Targets::new().with_target("pgflight", LevelFilter::DEBUG);
        tracing_opentelemetry::layer()
            .with_tracer(self.0.tracer("pgflight"))
            .with_filter(ours)
    }

    /// Sends the remaining spans.
    pub(super) fn end(&self) {
        if let Err(error) = self.0.shutdown() {
            tracing::warn!(%error, "could not send the last spans");
        }
    }
}

/// Makes a span part of its caller's trace.
pub(super) fn join(span: &Span, traceparent: &str) {
    let carrier = [("traceparent".to_owned(), traceparent.to_owned())];
    let carrier = std::collections::HashMap::from(carrier);
    let context = TraceContextPropagator::new().extract(&carrier);
    if let Err(error) = span.set_parent(context) {
        tracing::debug!(%error, "could not join a span to its caller's trace");
    }
}
