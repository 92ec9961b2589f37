//! An operator's view: metrics, probes, the status page, logs and traces.

#[cfg(feature = "otlp")]
mod otlp;
mod page;
mod port;
mod publish;
mod traces;
