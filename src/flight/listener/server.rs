//! The gRPC server: explicit limits, health, reflection, and a drain before the end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arrow_flight::flight_service_server::FlightServiceServer;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tonic::transport::server::TcpIncoming;
use tonic_health::server::{HealthReporter, health_reporter};

use super::connections::ConnectionLimit;
use super::tls::{Tls, TlsFiles};
use crate::error::{Error, Result};
use crate::flight::access::auth::{Guarded, Identity};
use crate::flight::ingress::meter::{Meter, Metered};
use crate::flight::lifecycle::Lifecycle;
use crate::flight::limits::CallLimits;
use crate::flight::service::Service;
use crate::flight::sql::Sessions;
use crate::metrics::Metrics;
use crate::proto::DESCRIPTOR_SETS;
use crate::write::{Budget, Targets};

/// The limit of concurrent calls on a connection, which tonic leaves unlimited. A Spark worker needs one each.
const MAX_CONCURRENT_STREAMS: u32 = 32;
/// The bounds of the frame size; HTTP/2 allows 16 KiB to 16 MiB (RFC 9113, 6.5.2).
const MIN_FRAME_BYTES: u32 = 16 * 1024;
const MAX_FRAME_BYTES: u32 = 1024 * 1024;
/// Bounds the memory for a peer that opens and resets streams (RUSTSEC-2024-0003), which tonic leaves unlimited.
const MAX_LOCAL_ERROR_RESET_STREAMS: usize = 1024;
/// The limit of pending stream resets before the connection is closed (CVE-2023-44487).
const MAX_PENDING_RESET_STREAMS: usize = 20;
const MAX_HEADER_LIST_BYTES: u32 = 16 * 1024;
/// The server notices a dead client within the sum of both.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(20);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);
/// Shorter than the idle limits of NAT gateways and network load balancers.
const TCP_KEEPALIVE: Duration = Duration::from_secs(60);
/// The time to send the last answers after the last call has ended.
const FLUSH_GRACE: Duration = Duration::from_secs(2);

/// The configuration of the server.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// The address to listen on; port 0 picks a free one.
    pub listen: SocketAddr,
    /// The TLS files; without them, connections are not encrypted.
    pub tls: Option<TlsFiles>,
    /// The size limit of a gRPC message, in bytes.
    pub max_message_bytes: usize,
    /// The age at which a connection takes no more calls and closes after its last one.
    pub max_connection_age: Duration,
    /// The limits of calls and connections.
    pub limits: CallLimits,
}

/// A server that is bound to its address and does not serve yet.
pub struct Server {
    limits: watch::Sender<CallLimits>,
    listener: TcpListener,
    address: SocketAddr,
    service: Service,
    config: ServerConfig,
    identity: Identity,
    tls: Option<Tls>,
}

impl Server {
    /// Reads the certificates and binds the address.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidCommand`](crate::error::ErrorKind::InvalidCommand) when the certificates cannot be used,
    /// [`ErrorKind::Unavailable`](crate::error::ErrorKind::Unavailable) when the address cannot be bound.
    pub async fn bind(
        config: ServerConfig,
        identity: Identity,
        budget: Budget,
        targets: Targets,
        metrics: Metrics,
    ) -> Result<Self> {
        let failed = |error: std::io::Error| {
            Error::unavailable(format!("could not listen on {}", config.listen))
                .with_hint("give another address with --listen")
                .with_source(error)
        };
        let tls = config.tls.clone().map(Tls::load).transpose()?;
        let listener = TcpListener::bind(config.listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let max_message_bytes = u64::try_from(config.max_message_bytes).unwrap_or(u64::MAX);
        let limits = watch::Sender::new(config.limits.clone());
        let service = Service {
            targets,
            max_message_bytes,
            budget,
            call_limits: limits.clone(),
            lifecycle: Arc::new(Lifecycle::default()),
            metrics,
            sessions: Sessions::default(),
        };
        Ok(Self {
            limits,
            listener,
            address,
            service,
            config,
            identity,
            tls,
        })
    }

    /// Returns the address it listens on, with the port that was picked.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns a sender for new limits, which apply to later streams, messages and connections.
    pub fn limits(&self) -> watch::Sender<CallLimits> {
        self.limits.clone()
    }

    /// Serves until `signal` completes, then drains: the server rejects new writes as UNAVAILABLE, lets running streams
    /// and their commits finish within the drain timeout, and then ends the rest and rolls it back.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`](crate::error::ErrorKind::Internal) when the listener fails.
    pub async fn serve(self, signal: impl Future<Output = ()> + Send) -> Result<()> {
        let (health, health_service) = health_reporter();
        set_health(&health, true).await;
        let mut reflection = tonic_reflection::server::Builder::configure();
        for descriptors in DESCRIPTOR_SETS {
            reflection = reflection.register_encoded_file_descriptor_set(descriptors);
        }
        let reflection = reflection.build_v1().map_err(|error| {
            Error::internal("cannot read the descriptors for reflection").with_source(error)
        })?;
        let flight = FlightServiceServer::new(self.service.clone()).max_decoding_message_size(
            usize::try_from(self.service.max_message_bytes).unwrap_or(usize::MAX),
        );
        let config = self.config;
        let flight = Metered {
            service: flight,
            meter: Meter {
                budget: self.service.budget.clone(),
                max_message_bytes: self.service.max_message_bytes,
                call_limits: self.limits.clone(),
                metrics: self.service.metrics.clone(),
            },
        };
        let identity = self.identity;
        let flight = Guarded {
            service: flight,
            identity: identity.clone(),
        };
        let reflection = Guarded {
            service: reflection,
            identity: identity.clone(),
        };
        // The window is the memory for data that no call has read yet, and so the back-pressure. A connection has room
        // for two streams, so that one stalled COPY does not stop its other calls.
        let window = u32::try_from(self.service.budget.window_bytes()).unwrap_or(u32::MAX);
        let limit = ConnectionLimit::new(self.limits.clone());
        let incoming = TcpIncoming::from(self.listener)
            .with_nodelay(Some(true))
            .with_keepalive(Some(TCP_KEEPALIVE));

        let lifecycle = Arc::clone(&self.service.lifecycle);
        let metrics = self.service.metrics.clone();
        let drained = drain(
            signal,
            health,
            Arc::clone(&lifecycle),
            self.limits,
            metrics.clone(),
        );
        let served = tonic::transport::Server::builder()
            .initial_stream_window_size(window)
            .initial_connection_window_size(window.saturating_mul(2))
            // The default frame of 16 KiB would also be the size of a read from the socket.
            .max_frame_size(Some(window.clamp(MIN_FRAME_BYTES, MAX_FRAME_BYTES)))
            .max_concurrent_streams(MAX_CONCURRENT_STREAMS)
            .http2_max_local_error_reset_streams(Some(MAX_LOCAL_ERROR_RESET_STREAMS))
            .http2_max_pending_accept_reset_streams(Some(MAX_PENDING_RESET_STREAMS))
            .http2_max_header_list_size(MAX_HEADER_LIST_BYTES)
            .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
            .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
            .max_connection_age(config.max_connection_age)
            .add_service(flight)
            .add_service(health_service)
            .add_service(reflection)
            .serve_with_incoming_shutdown(
                limit.connections(incoming, self.tls.clone(), metrics.clone()),
                drained,
            );
        tokio::select! {
            served = served => served.map_err(|error| Error::internal("the listener failed").with_source(error)),
            () = follow(self.tls, &metrics) => Ok(()),
            () = identity.follow() => Ok(()),
            // Ends the process even if a client keeps its connection open.
            () = async { lifecycle.stopping.cancelled().await; tokio::time::sleep(FLUSH_GRACE).await } => Ok(()),
        }
    }
}

/// Reloads changed certificates; never completes.
async fn follow(tls: Option<Tls>, metrics: &Metrics) {
    match tls {
        Some(tls) => tls.follow(metrics).await,
        None => std::future::pending().await,
    }
}

/// Completes when the last call has ended or the drain timeout has passed.
async fn drain(
    signal: impl Future<Output = ()>,
    health: HealthReporter,
    lifecycle: Arc<Lifecycle>,
    limits: watch::Sender<CallLimits>,
    metrics: Metrics,
) {
    signal.await;
    let timeout = limits.borrow().drain_timeout;
    tracing::info!(timeout = %humantime::format_duration(timeout), running = lifecycle.calls.len(), "draining");
    metrics.set_draining();
    set_health(&health, false).await;
    lifecycle.draining.cancel();
    lifecycle.calls.close();
    match tokio::time::timeout(timeout, lifecycle.calls.wait()).await {
        Ok(()) => tracing::info!("drained: every running stream has ended"),
        Err(_) => tracing::warn!(
            ended = lifecycle.calls.len(),
            "drain timeout: ending the streams that still run"
        ),
    }
    lifecycle.stopping.cancel();
}

async fn set_health(health: &HealthReporter, serving: bool) {
    let status = if serving {
        tonic_health::ServingStatus::Serving
    } else {
        tonic_health::ServingStatus::NotServing
    };
    // The empty name stands for the whole server.
    for service in ["", "arrow.flight.protocol.FlightService"] {
        health.set_service_status(service, status).await;
    }
}
