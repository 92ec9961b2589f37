//! Logs and traces: `tracing`, as text or JSON on standard error, and by OTLP with the feature `otlp`.

#[cfg(feature = "otlp")]
mod otlp;

use std::io::{self, IsTerminal};

use tracing::Span;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt, registry};

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line, for machines.
    Json,
}

/// Says what is wrong with a filter, if anything is.
///
/// # Errors
/// A text for people.
pub fn check_filter(filter: &str) -> Result<(), String> {
    let read = EnvFilter::try_new(filter);
    read.map(|_| ()).map_err(|error| error.to_string())
}

/// What has to be told that the process ends.
pub struct Telemetry {
    #[cfg(feature = "otlp")]
    exporter: Option<otlp::Exporter>,
}

impl Telemetry {
    /// Sends what is left to send. Blocks for a moment.
    pub fn end(self) {
        #[cfg(feature = "otlp")]
        if let Some(exporter) = self.exporter {
            exporter.end();
        }
    }
}

/// Starts logging and, where the environment names a collector, tracing; once per process, inside the runtime.
///
/// `filter` is a level or directives as `tracing_subscriber` reads them: `info`, `pgflight=debug`. `silenced` is a
/// target of which no line is written, whatever the filter says.
///
/// # Errors
/// A text that says what is wrong with the filter, or with the variables of OTLP.
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

/// Makes a span part of its caller's trace: `traceparent` is a header as W3C's Trace Context has it (3.2).
/// One that is not is left alone. The span has a field `trace_id`, and was not entered yet.
pub fn join(span: &Span, traceparent: &str) {
    let Some(trace_id) = trace_id(traceparent) else {
        return;
    };
    span.record("trace_id", trace_id);
    #[cfg(feature = "otlp")]
    otlp::join(span, traceparent);
}

/// The second of a header's four parts, when all are what they should be.
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
    fn a_trace_is_joined_when_its_header_is_what_the_standard_says() {
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
