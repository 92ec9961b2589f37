//! Logs and traces: `tracing`, as text or JSON on standard error, and by OTLP with the feature `otlp`.

#[cfg(feature = "otlp")]
mod otlp;

use std::io::{self, IsTerminal};

use tracing::Span;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt, registry};

/// The format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line, for machines.
    Json,
}

/// Checks a filter of the log.
///
/// # Errors
/// The problem, as text.
pub fn check_filter(filter: &str) -> Result<(), String> {
    let read = EnvFilter::try_new(filter);
    read.map(|_| ()).map_err(|error| error.to_string())
}

/// The running telemetry, to be ended with [`Telemetry::end`].
pub struct Telemetry {
    #[cfg(feature = "otlp")]
    exporter: Option<otlp::Exporter>,
}

impl Telemetry {
    /// Sends the remaining spans. Blocks for a moment.
    pub fn end(self) {
        #[cfg(feature = "otlp")]
        if let Some(exporter) = self.exporter {
            exporter.end();
        }
    }
}

/// Starts logging and, if the environment names a collector, tracing. Call it once per process, inside the runtime.
///
/// `filter` is a level or directives as `tracing_subscriber` reads them: `info`, `pgflight=debug`. `silenced` is a
/// target whose lines are never written, whatever the filter says.
///
/// # Errors
/// The problem with the filter or with the variables of OTLP, as text.
pub fn start(format: LogFormat, filter: &str, silenced: &str) -> Result<Telemetry, String> {
    let filter = EnvFilter::try_new(filter).map_err(|error| error.to_string())?;
    let silence = format!("{silenced}=off").parse();
    let silence = silence.map_err(|error: ParseError| error.to_string())?;
    let filter = filter.add_directive(silence);
    let lines = fmt::layer().with_writer(io::stderr);
    let lines: Box<dyn Layer<Registry> + Send + Sync> = match format {
        LogFormat::Text => Box::new(
            lines
                .with_target(false)
                .with_ansi(io::stderr().is_terminal())
                .with_filter(filter),
        ),
        LogFormat::Json => Box::new(lines.json().flatten_event(true).with_filter(filter)),
    };
    let subscriber = registry().with(lines);
    #[cfg(feature = "otlp")]
    let (exporter, subscriber) = {
        let exporter = otlp::Exporter::from_environment()?;
        let layer = exporter.as_ref().map(otlp::Exporter::layer);
        (exporter, subscriber.with(layer))
    };
    subscriber.try_init().map_err(|error| error.to_string())?;
    Ok(Telemetry {
        #[cfg(feature = "otlp")]
        exporter,
    })
}

/// Makes a span part of its caller's trace. `traceparent` is a header of W3C's Trace Context (3.2); an invalid one is
/// ignored. The span needs a field `trace_id` and must not have been entered yet.
pub fn join(span: &Span, traceparent: &str) {
    let Some(trace_id) = trace_id(traceparent) else {
        return;
    };
    span.record("trace_id", trace_id);
    #[cfg(feature = "otlp")]
    otlp::join(span, traceparent);
}

/// Returns the trace id, the second of a header's four parts, if the header is valid.
fn trace_id(traceparent: &str) -> Option<&str> {
    let parts: Vec<&str> = traceparent.split('-').collect();
    let [version, trace, parent, flags] = parts[..] else {
        return None;
    };
    let is_id = |text: &str, length: usize| {
        let is_hex = |b: u8| b.is_ascii_digit() || matches!(b, b'a'..=b'f');
        text.len() == length && text.bytes().all(is_hex) && text.bytes().any(|b| b != b'0')
    };
    let is_there = |text: &str| text.len() == 2 && text.bytes().all(|b| b.is_ascii_hexdigit());
    let is_sound = is_there(version) && version != "ff" && is_there(flags);
    (is_sound && is_id(trace, 32) && is_id(parent, 16)).then_some(trace)
}

#[cfg(test)]
mod tests {
    use super::trace_id;

    #[test]
    fn only_a_valid_traceparent_joins_a_trace() {
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
        let header = format!("00-{trace}-00f067aa0ba902b7-01");
        assert_eq!(trace_id(&header), Some(trace));
        for wrong in [
            "",
            "00",
            &header.to_uppercase(),
            &header.replace("00-", "ff-"),
            &header.replace(trace, &"0".repeat(32)),
            &header.replace("00f067aa0ba902b7", "0000000000000000"),
            &format!("{header}-more"),
            &header.replace('4', "<"),
        ] {
            assert_eq!(trace_id(wrong), None, "{wrong}");
        }
    }
}
