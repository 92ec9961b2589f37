//! The listener of the monitor: few connections and short, read-only requests.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::routes::Routes;
use crate::error::{Error, Result};
use crate::metrics::Metrics;
use crate::write::{Budget, Targets};

/// The limit of connections; more wait to be accepted.
const MAX_CONNECTIONS: usize = 32;
/// The time to receive the head of a request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// The time that a connection may stay open, so that idle ones make room.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(300);
/// The pause after a failed accept.
const BACK_OFF: Duration = Duration::from_millis(100);

/// A listener that does not serve yet.
pub struct Monitor {
    listener: TcpListener,
    address: SocketAddr,
}

impl Monitor {
    /// Binds the address; port 0 picks a free one.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`](crate::error::ErrorKind::Unavailable) when it cannot be bound.
    pub async fn bind(listen: SocketAddr) -> Result<Self> {
        let failed = |error: std::io::Error| {
            Error::unavailable(format!("could not listen on {listen}"))
                .with_hint("give another address with --metrics-listen")
                .with_source(error)
        };
        let listener = TcpListener::bind(listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self { listener, address })
    }

    /// Returns the address it listens on, with the port that was picked.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until the future is dropped, which closes every connection.
    pub async fn serve(self, targets: Targets, budget: Budget, metrics: Metrics) {
        let routes = Arc::new(Routes::new(&targets, budget, metrics.clone()));
        tokio::join!(metrics.keep_history(), accept(self.listener, routes));
    }
}

async fn accept(listener: TcpListener, routes: Arc<Routes>) {
    let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let Ok(permits) = Arc::clone(&permits).acquire_owned().await else {
            return;
        };
        while connections.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((stream, _)) => {
                let routes = Arc::clone(&routes);
                connections.spawn(async move {
                    let _place = permits;
                    answer(stream, routes).await;
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept connections for metrics");
                tokio::time::sleep(BACK_OFF).await;
            }
        }
    }
}

async fn answer(stream: TcpStream, routes: Arc<Routes>) {
    let service = service_fn(move |request: Request<Incoming>| {
        let routes = Arc::clone(&routes);
        async move {
            // No answer depends on a request's body, so it is not read.
            let answer = routes.respond(request.method(), request.uri().path());
            Ok::<_, Infallible>(answer.await)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(REQUEST_TIMEOUT)
        .max_buf_size(16 * 1024)
        .serve_connection(TokioIo::new(stream), service);
    match tokio::time::timeout(CONNECTION_TIMEOUT, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a connection for metrics ended"),
        Err(_) => tracing::debug!("closed a connection for metrics after its time limit"),
    }
}
