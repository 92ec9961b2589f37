//! Accepts connections: at most a number in all and from one address, with TLS where it is configured.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::ready;
use futures_util::stream::{Stream, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::server::TlsStream;
use tokio_util::either::Either;
use tonic::transport::server::{Connected, TcpIncoming};

use super::tls::Tls;
use crate::flight::limits::CallLimits;
use crate::flight::peer::Peer;
use crate::metrics::Metrics;

/// The pause after a failed accept, as when the process has no file descriptors left.
const BACK_OFF: Duration = Duration::from_millis(100);

/// Counts connections by address and closes those beyond a limit at once.
#[derive(Debug, Clone)]
pub(super) struct ConnectionLimit {
    call_limits: watch::Sender<CallLimits>,
    counts: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

impl ConnectionLimit {
    pub(super) fn new(call_limits: watch::Sender<CallLimits>) -> Self {
        Self {
            call_limits,
            counts: Arc::default(),
        }
    }

    /// Accepts connections within the limits and performs the TLS handshake, concurrently for all.
    pub(super) fn connections(
        self,
        incoming: TcpIncoming,
        tls: Option<Tls>,
        metrics: Metrics,
    ) -> impl Stream<Item = io::Result<Connection>> {
        let max_handshakes = self.call_limits.borrow().max_connections;
        let connections = self.accept_all(incoming);
        let secured = connections.map(move |connection| {
            let (tls, metrics) = (tls.clone(), metrics.clone());
            async move {
                match tls {
                    Some(tls) => connection.secure(&tls, &metrics).await.map(Ok),
                    None => Some(Ok(connection)),
                }
            }
        });
        secured.buffer_unordered(max_handshakes).filter_map(ready)
    }

    fn accept_all(self, incoming: TcpIncoming) -> impl Stream<Item = Connection> {
        incoming.filter_map(move |accepted| {
            let limit = self.clone();
            async move {
                match accepted {
                    Ok(stream) => limit.accept(stream),
                    Err(error) => {
                        tracing::warn!(%error, "cannot accept connections");
                        tokio::time::sleep(BACK_OFF).await;
                        None
                    }
                }
            }
        })
    }

    fn accept(&self, stream: TcpStream) -> Option<Connection> {
        let peer = stream.peer_addr().ok()?.ip();
        let mut counts = self.counts();
        let limits = self.call_limits.borrow().clone();
        let all: usize = counts.values().sum();
        let own = counts.entry(peer).or_default();
        if all >= limits.max_connections || *own >= limits.max_connections_per_peer {
            tracing::debug!(%peer, all, own, "closed a connection beyond the limits");
            return None;
        }
        *own += 1;
        drop(counts);
        let limit = self.clone();
        Some(Connection {
            stream: Either::Left(stream),
            permit: ConnectionPermit { peer, limit },
        })
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection that counts against the limits until it is dropped.
pub(super) struct Connection {
    stream: Either<TcpStream, TlsStream<TcpStream>>,
    permit: ConnectionPermit,
}

impl Connection {
    /// Performs the TLS handshake; returns `None` when it failed.
    pub(super) async fn secure(self, tls: &Tls, metrics: &Metrics) -> Option<Self> {
        let Either::Left(stream) = self.stream else {
            return Some(self);
        };
        let permit = self.permit;
        match tls.accept(stream).await {
            Ok(stream) => Some(Self {
                stream: Either::Right(stream),
                permit,
            }),
            Err(error) => {
                tracing::info!(peer = %permit.peer, %error, "closed a connection: the TLS handshake failed");
                metrics.count_refused_handshake();
                None
            }
        }
    }
}

/// The share of the limits that a connection holds. Dropping it gives the share back.
struct ConnectionPermit {
    peer: IpAddr,
    limit: ConnectionLimit,
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        let mut counts = self.limit.counts();
        if let Some(own) = counts.get_mut(&self.peer) {
            *own = own.saturating_sub(1);
            if *own == 0 {
                counts.remove(&self.peer);
            }
        }
    }
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        match &self.stream {
            Either::Left(stream) => Peer {
                address: stream.peer_addr().ok(),
                ..Peer::default()
            },
            Either::Right(stream) => {
                let (stream, session) = stream.get_ref();
                let certificates = session.peer_certificates().unwrap_or_default();
                Peer {
                    address: stream.peer_addr().ok(),
                    is_secure: true,
                    certificate: certificates.first().map(|der| Arc::from(der.as_ref())),
                }
            }
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
