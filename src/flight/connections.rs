//! The limit: how many connections there may be, in all and from one address.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
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

use super::server::CallLimits;
use super::tls::Tls;

/// How long nothing is accepted after that failed, as it does when the process has no files left.
const BACK_OFF: Duration = Duration::from_millis(100);

/// Counts connections; those beyond a limit are closed at once.
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

    /// The connections that are let in, secured where there is TLS. One that takes long to agree on it
    /// keeps nobody else waiting.
    pub(super) fn connections(
        self,
        incoming: TcpIncoming,
        tls: Option<Tls>,
    ) -> impl Stream<Item = io::Result<Connection>> {
        let max_handshakes = self.call_limits.borrow().max_connections;
        let connections = self.accept_all(incoming);
        let secured = connections.map(move |connection| {
            let tls = tls.clone();
            async move {
                match tls {
                    Some(tls) => connection.secure(&tls).await.map(Ok),
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
            tracing::debug!(%peer, all, own, "a connection beyond the limits is refused");
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

/// A connection that counts until it is dropped.
pub(super) struct Connection {
    stream: Either<TcpStream, TlsStream<TcpStream>>,
    permit: ConnectionPermit,
}

impl Connection {
    /// Agrees on TLS with a connection that has just come; none when that failed.
    pub(super) async fn secure(self, tls: &Tls) -> Option<Self> {
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
                tracing::debug!(peer = %permit.peer, %error, "a connection without agreement on TLS is closed");
                None
            }
        }
    }
}

/// What a connection takes of the limits.
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

/// What a connection tells about who is at its other end.
#[derive(Debug, Clone, Default)]
pub(super) struct Peer {
    /// Where it is.
    pub(super) address: Option<SocketAddr>,
    /// Whether nobody in between can read what is said.
    pub(super) is_secure: bool,
    /// Its certificate in DER, which an authority of ours has signed.
    pub(super) certificate: Option<Arc<[u8]>>,
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
