//! The meter between HTTP/2 and gRPC: waits for memory before it takes a message in, and limits the wait for the sender.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use arrow_flight::FlightData;
use arrow_flight::flight_service_server::{FlightService, FlightServiceServer};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use http_body::{Body as _, Frame, SizeHint};
use prost::Message;
use tokio::sync::watch;
use tokio::time::{Instant, Sleep, sleep};
use tonic::body::Body;
use tonic::codegen::{Service, http};
use tonic::server::NamedService;
use tonic::{Status, Streaming};

use super::body_end::{BodyEnd, proven_end};
use super::gate::MAX_HEADER_BYTES;
use crate::flight::access::quota::Quota;
use crate::flight::limits::CallLimits;
use crate::flight::protobuf::occurrences;
use crate::metrics::{Activity, Metrics, Stream};
use crate::write::{Budget, Share};

/// The prefix of every gRPC message: a byte that says whether it is compressed, and its length (gRPC over HTTP/2,
/// "Length-Prefixed-Message").
const PREFIX_BYTES: usize = 5;
const DO_PUT: &str = "/arrow.flight.protocol.FlightService/DoPut";
const DO_ACTION: &str = "/arrow.flight.protocol.FlightService/DoAction";
/// The number of `FlightData.flight_descriptor`.
const DESCRIPTOR: u32 = 1;

/// The limits of requests.
#[derive(Debug, Clone)]
pub(crate) struct Meter {
    pub(crate) budget: Budget,
    /// Larger messages are passed through without waiting for memory; the gRPC layer rejects them.
    pub(crate) max_message_bytes: u64,
    /// The current limits of calls, for the idle timeout.
    pub(crate) call_limits: watch::Sender<CallLimits>,
    pub(crate) metrics: Metrics,
}

impl Meter {
    fn idle_timeout(&self) -> Duration {
        self.call_limits.borrow().idle_timeout
    }
}

/// The Flight service behind a meter.
#[derive(Clone)]
pub(crate) struct Metered<T> {
    pub(crate) service: FlightServiceServer<T>,
    pub(crate) meter: Meter,
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
        let mut request = request;
        let inbox = (request.uri().path() == DO_PUT).then(|| Inbox::new(&self.meter.metrics));
        if let Some(inbox) = &inbox {
            request.extensions_mut().insert(inbox.clone());
        }
        let meter = self.meter.clone();
        // The requests of other calls are names.
        let is_short = ![DO_PUT, DO_ACTION].contains(&request.uri().path());
        let quota = request.extensions().get::<Arc<Quota>>().cloned();
        self.service.call(request.map(|body| MeteredBody {
            is_short,
            ..MeteredBody::new(body, meter, inbox, quota)
        }))
    }
}

/// Holds the received message of a stream of rows, with the memory that it takes.
///
/// tonic's own decoder keeps the bytes of a message until the next one arrives, long after their memory was given back.
/// So messages bypass it: the decoder gets an empty placeholder for each message in the inbox.
#[derive(Clone)]
struct Inbox {
    delivery: Arc<Mutex<Option<Delivery>>>,
    stream: Arc<Stream>,
}

impl Inbox {
    fn new(metrics: &Metrics) -> Self {
        Self {
            delivery: Arc::default(),
            stream: metrics.stream(),
        }
    }

    fn delivery(&self) -> MutexGuard<'_, Option<Delivery>> {
        self.delivery.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Delivery {
    message: Bytes,
    share: Option<Share>,
}

/// The messages of a DoPut.
pub(crate) struct Messages {
    inbox: Inbox,
    placeholders: Streaming<FlightData>,
    share: Option<Share>,
}

impl Messages {
    /// Takes the messages of a request that passed the meter.
    pub(crate) fn new(request: tonic::Request<Streaming<FlightData>>, metrics: &Metrics) -> Self {
        let inbox = request.extensions().get::<Inbox>().cloned();
        Self {
            inbox: inbox.unwrap_or_else(|| Inbox::new(metrics)),
            placeholders: request.into_inner(),
            share: None,
        }
    }

    /// Returns the stream's metrics.
    pub(crate) fn stream(&self) -> Arc<Stream> {
        Arc::clone(&self.inbox.stream)
    }

    /// Waits for the next message, and gives back the memory of the one before.
    ///
    /// # Errors
    /// A status of the transport or of the meter.
    pub(crate) async fn message(&mut self) -> Result<Option<FlightData>, Status> {
        self.share = None;
        let stream = self.stream();
        let waiting = stream.wait(Activity::Receive, self.placeholders.message());
        let Some(placeholder) = waiting.await? else {
            return Ok(None);
        };
        let Some(Delivery { message, share }) = self.inbox.delivery().take() else {
            return Ok(Some(placeholder));
        };
        self.share = share;
        // A path of empty names takes twelve times its bytes in memory.
        let described = occurrences(&message, DESCRIPTOR).bytes;
        if described > MAX_HEADER_BYTES {
            return Err(Status::invalid_argument(format!(
                "a descriptor has {described} bytes, more than the limit of {MAX_HEADER_BYTES}"
            )));
        }
        let message = FlightData::decode(message);
        message.map(Some).map_err(|error| {
            Status::invalid_argument(format!(
                "a message of the stream is not FlightData: {error}"
            ))
        })
    }
}

/// A body that waits for memory before it takes a message in. Data that it does not take fills the HTTP/2 window and
/// stops the sender.
struct MeteredBody {
    body: Body,
    meter: Meter,
    /// The quota of the sender's principal, if it has one.
    quota: Option<Arc<Quota>>,
    /// Where messages with rows go; `None` when messages pass through to tonic.
    inbox: Option<Inbox>,
    /// Received bytes that are not read yet.
    pending: Bytes,
    state: State,
    /// The memory of the current message, or of the last one that passed through.
    share: Option<Share>,
    deadline: Pin<Box<Sleep>>,
    is_timed: bool,
    is_waiting_for_memory: bool,
    /// Whether messages are limited to [`MAX_HEADER_BYTES`].
    is_short: bool,
}

/// The progress through the messages of a body.
enum State {
    /// Reads the prefix of a message.
    Prefix(Vec<u8>),
    /// Waits for the memory of a message of `left` bytes.
    Memory {
        left: usize,
        waiting: BoxFuture<'static, Option<Share>>,
    },
    /// Reads the `left` bytes that a message lacks. With an inbox, `message` collects it.
    Message { left: usize, message: Vec<u8> },
}

impl State {
    fn next_message() -> Self {
        Self::Prefix(Vec::with_capacity(PREFIX_BYTES))
    }
}

impl MeteredBody {
    fn new(body: Body, meter: Meter, inbox: Option<Inbox>, quota: Option<Arc<Quota>>) -> Self {
        Self {
            body,
            inbox,
            quota,
            pending: Bytes::new(),
            state: State::next_message(),
            share: None,
            deadline: Box::pin(sleep(meter.idle_timeout())),
            is_timed: false,
            is_waiting_for_memory: false,
            is_short: false,
            meter,
        }
    }

    /// Waits for the memory of the current message. An empty message is complete then.
    fn poll_memory(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Frame<Bytes>>, Status>> {
        let State::Memory { left, waiting } = &mut self.state else {
            return Poll::Ready(Ok(None));
        };
        let left = *left;
        let share = waiting.as_mut().poll(cx);
        self.set_waiting_for_memory(share.is_pending());
        self.share = ready!(share);
        let mut message = Vec::new();
        if self.inbox.is_some() && message.try_reserve_exact(left).is_err() {
            let text = "the system has no memory for a message";
            return Poll::Ready(Err(Status::unavailable(text)));
        }
        self.state = State::Message { left, message };
        Poll::Ready(Ok(if left == 0 { self.complete() } else { None }))
    }

    /// Reads more bytes of the body into `pending`. `Ready(Err(…))` holds what ends the body or passes through.
    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BodyEnd>> {
        match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => Poll::Ready(match frame.into_data() {
                Ok(data) => {
                    self.pending = data;
                    Ok(())
                }
                Err(trailers) => Err(Some(Ok(trailers))),
            }),
            Poll::Ready(None) if self.is_within_message() => {
                let text = "the stream ended in the middle of a message";
                Poll::Ready(Err(Some(Err(Status::internal(text)))))
            }
            Poll::Ready(end) => Poll::Ready(Err(proven_end(&self.body, end))),
            Poll::Pending => {
                let timeout = ready!(self.poll_deadline(cx));
                Poll::Ready(Err(Some(Err(timeout))))
            }
        }
    }

    fn is_within_message(&self) -> bool {
        match &self.state {
            State::Prefix(prefix) => !prefix.is_empty(),
            State::Memory { .. } | State::Message { .. } => self.inbox.is_some(),
        }
    }

    /// Reads pending bytes of the prefix, and begins the message when the prefix is complete.
    fn read_prefix(&mut self) -> Result<Option<Frame<Bytes>>, Status> {
        let State::Prefix(prefix) = &mut self.state else {
            return Ok(None);
        };
        let size = (PREFIX_BYTES - prefix.len()).min(self.pending.len());
        prefix.extend_from_slice(&self.pending.split_to(size));
        let [compressed, a, b, c, d] = prefix[..] else {
            return Ok(None);
        };
        // tonic rejects a call that declares a compression before its first message.
        if compressed != 0 {
            return Err(Status::invalid_argument(
                "a message is compressed by gRPC; only Arrow's own compression is supported",
            ));
        }
        let prefix = std::mem::take(prefix);
        let length = u32::from_be_bytes([a, b, c, d]);
        if self.is_short && usize::try_from(length).is_ok_and(|bytes| bytes > MAX_HEADER_BYTES) {
            return Err(Status::invalid_argument(format!(
                "the request has {length} bytes, more than the limit of {MAX_HEADER_BYTES}"
            )));
        }
        self.begin(length);
        // Without an inbox, the message passes through with its prefix.
        Ok(match self.inbox {
            Some(_) => None,
            None => Some(Frame::data(prefix.into())),
        })
    }

    /// Begins a message: it waits for its memory, unless it is too large.
    fn begin(&mut self, length: u32) {
        let byte_count = u64::from(length);
        let left = usize::try_from(length).unwrap_or(usize::MAX);
        if byte_count > self.meter.max_message_bytes {
            self.inbox = None;
            let message = Vec::new();
            self.state = State::Message { left, message };
            return;
        }
        let budget = self.meter.budget.clone();
        let waiting: BoxFuture<'static, _> = if self.inbox.is_some() {
            let quota = self.quota.clone();
            Box::pin(async move {
                if let Some(quota) = quota {
                    quota.wait_for_rate(byte_count).await;
                }
                budget.message(byte_count).await
            })
        } else {
            Box::pin(async move { budget.control(byte_count).await })
        };
        self.state = State::Memory { left, waiting };
    }

    /// Reads pending bytes of the message.
    fn read_message(&mut self) -> Option<Frame<Bytes>> {
        let State::Message { left, message } = &mut self.state else {
            return None;
        };
        let piece = self.pending.split_to((*left).min(self.pending.len()));
        *left -= piece.len();
        let is_complete = *left == 0;
        self.is_timed &= !is_complete;
        if self.inbox.is_none() {
            if is_complete {
                self.state = State::next_message();
            }
            return Some(Frame::data(piece));
        }
        message.extend_from_slice(&piece);
        if is_complete { self.complete() } else { None }
    }

    /// Delivers a complete message to the inbox and returns a placeholder; returns `None` without an inbox.
    fn complete(&mut self) -> Option<Frame<Bytes>> {
        let state = std::mem::replace(&mut self.state, State::next_message());
        let inbox = self.inbox.as_ref()?;
        let State::Message { message, .. } = state else {
            return None;
        };
        let message = Bytes::from(message);
        inbox.stream.received(message.len());
        let share = self.share.take();
        *inbox.delivery() = Some(Delivery { message, share });
        Some(Frame::data(Bytes::from_static(&[0; PREFIX_BYTES])))
    }

    /// Switches the stream's clock between waiting for memory and waiting for the sender.
    fn set_waiting_for_memory(&mut self, is_waiting: bool) {
        if let Some(inbox) = &self.inbox
            && is_waiting != self.is_waiting_for_memory
        {
            self.is_waiting_for_memory = is_waiting;
            inbox.stream.enter(if is_waiting {
                Activity::Memory
            } else {
                Activity::Receive
            });
        }
    }

    /// Polls the idle timeout, which runs from the first wait for a message until the message is complete.
    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<Status> {
        if !self.is_timed {
            let deadline = Instant::now() + self.meter.idle_timeout();
            self.deadline.as_mut().reset(deadline);
            self.is_timed = true;
        }
        ready!(self.deadline.as_mut().poll(cx));
        Poll::Ready(Status::deadline_exceeded(format!(
            "no whole message arrived within {}, and the stream was rolled back",
            humantime::format_duration(self.meter.idle_timeout())
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
        loop {
            let is_reading = !matches!(this.state, State::Memory { .. });
            if is_reading && this.pending.is_empty() {
                if let Err(end) = ready!(this.poll_body(cx)) {
                    return Poll::Ready(end);
                }
                continue;
            }
            let read = match this.state {
                State::Prefix(_) => this.read_prefix(),
                State::Memory { .. } => ready!(this.poll_memory(cx)),
                State::Message { .. } => Ok(this.read_message()),
            };
            if let Some(frame) = read.transpose() {
                return Poll::Ready(Some(frame));
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        let is_between_messages = matches!(&self.state, State::Prefix(prefix) if prefix.is_empty());
        is_between_messages && self.pending.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

#[cfg(test)]
mod tests;
