//! What an operator sees: metrics, probes, the status page, logs and traces.

#[cfg(feature = "otlp")]
mod otlp;
mod page;
mod port;
mod publish;
mod traces;
