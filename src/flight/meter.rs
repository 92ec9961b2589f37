//! Between HTTP/2 and gRPC: memory is waited for before a message is taken, and the sender is not waited
//! for without end.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use arrow_flight::flight_service_server::{FlightService, FlightServiceServer};
use bytes::{Buf, Bytes};
use futures_util::future::BoxFuture;
use http_body::{Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep};
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::{Service, http};
use tonic::server::NamedService;

use crate::write::{Budget, Share};

/// Before every gRPC message: a byte that says whether it is compressed, and its length (gRPC over
/// HTTP/2, "Length-Prefixed-Message").
const PREFIX_BYTES: usize = 5;
const DO_PUT: &str = "/arrow.flight.protocol.FlightService/DoPut";

/// How requests are metered.
#[derive(Debug, Clone)]
pub(super) struct Meter {
    pub(super) budget: Budget,
    /// Larger messages are refused by who comes after; nothing is waited for.
    pub(super) max_message_bytes: u64,
    /// How long the sender of a stream may take for one message.
    pub(super) idle_timeout: Duration,
}

/// The Flight service behind a meter.
#[derive(Clone)]
pub(super) struct Metered<T> {
    pub(super) service: FlightServiceServer<T>,
    pub(super) meter: Meter,
}

impl<T> NamedService for Metered<T> {
    const NAME: &'static str = FlightServiceServer::<()>::NAME;
}

impl<T: FlightService> Service<http::Request<Body>> for Metered<T> {
    type Response = http::Response<Body>;
    type Error = std::convert::Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let carries_rows = request.uri().path() == DO_PUT;
        let meter = self.meter.clone();
        self.service
            .call(request.map(|body| MeteredBody::new(body, meter, carries_rows)))
    }
}

/// A body that waits, before it gives a message out, until there is memory for it, and keeps that until
/// it is asked for the next: a stream is not read on before its last rows are with PostgreSQL. What is
/// not asked for fills the HTTP/2 window and stops the sender.
struct MeteredBody {
    body: Body,
    meter: Meter,
    carries_rows: bool,
    /// What has come and was not given out.
    pending: Bytes,
    prefix: Vec<u8>,
    /// Bytes of the current message still to be given out.
    left: u64,
    waiting: Option<BoxFuture<'static, Option<Share>>>,
    share: Option<Share>,
    deadline: Pin<Box<Sleep>>,
    is_timed: bool,
}

impl MeteredBody {
    fn new(body: Body, meter: Meter, carries_rows: bool) -> Self {
        Self {
            body,
            carries_rows,
            pending: Bytes::new(),
            prefix: Vec::with_capacity(PREFIX_BYTES),
            left: 0,
            waiting: None,
            share: None,
            deadline: Box::pin(sleep(meter.idle_timeout)),
            is_timed: false,
            meter,
        }
    }

    /// Begins to wait for the memory of a message.
    fn wait_for_share(&mut self) {
        let (byte_count, budget) = (self.left, self.meter.budget.clone());
        if byte_count > self.meter.max_message_bytes {
            return;
        }
        self.waiting = Some(match self.carries_rows {
            true => Box::pin(async move { budget.message(byte_count).await }),
            false => Box::pin(async move { budget.control(byte_count).await }),
        });
    }

    /// Runs while the sender is waited for: from the first time for a message until all of it is there.
    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<Status> {
        if !self.is_timed {
            let deadline = Instant::now() + self.meter.idle_timeout;
            self.deadline.as_mut().reset(deadline);
            self.is_timed = true;
        }
        ready!(self.deadline.as_mut().poll(cx));
        Poll::Ready(Status::deadline_exceeded(format!(
            "no whole message came within {}",
            humantime::format_duration(self.meter.idle_timeout)
        )))
    }
}

impl http_body::Body for MeteredBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        if this.left == 0 && this.prefix.is_empty() {
            // The message before is done with.
            this.share = None;
        }
        loop {
            if let Some(waiting) = &mut this.waiting {
                this.share = ready!(waiting.as_mut().poll(cx));
                this.waiting = None;
            }
            if this.prefix.len() == PREFIX_BYTES {
                let prefix = Bytes::from(std::mem::take(&mut this.prefix));
                return Poll::Ready(Some(Ok(Frame::data(prefix))));
            }
            if this.left > 0 && !this.pending.is_empty() {
                let size = usize::try_from(this.left).unwrap_or(usize::MAX);
                let piece = this.pending.split_to(size.min(this.pending.len()));
                this.left -= u64::try_from(piece.len()).unwrap_or(this.left);
                if this.left == 0 {
                    this.is_timed = false;
                }
                return Poll::Ready(Some(Ok(Frame::data(piece))));
            }
            if !this.pending.is_empty() {
                let size = (PREFIX_BYTES - this.prefix.len()).min(this.pending.len());
                this.prefix.extend_from_slice(&this.pending.split_to(size));
                if let Some(mut length) = this.prefix.get(1..PREFIX_BYTES) {
                    this.left = u64::from(length.get_u32());
                    this.wait_for_share();
                }
                continue;
            }
            match Pin::new(&mut this.body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => this.pending = data,
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
                Poll::Ready(end) => return Poll::Ready(end),
                Poll::Pending => {
                    let late = ready!(this.poll_deadline(cx));
                    return Poll::Ready(Some(Err(late)));
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.pending.is_empty() && self.prefix.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}
