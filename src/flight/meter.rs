//! Between HTTP/2 and gRPC: memory is waited for before a message is taken, and the sender is not waited
//! for without end.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use arrow_flight::FlightData;
use arrow_flight::flight_service_server::{FlightService, FlightServiceServer};
use bytes::{Buf, Bytes};
use futures_util::future::BoxFuture;
use http_body::{Frame, SizeHint};
use prost::Message;
use tokio::sync::watch;
use tokio::time::{Instant, Sleep, sleep};
use tonic::body::Body;
use tonic::codegen::{Service, http};
use tonic::server::NamedService;
use tonic::{Status, Streaming};

use super::gate::MAX_HEADER_BYTES;
use super::protobuf::occurrences;
use super::quota::Quota;
use super::server::CallLimits;
use crate::metrics::{Activity, Stream};
use crate::write::{Budget, Share};

/// Before every gRPC message: a byte that says whether it is compressed, and its length (gRPC over
/// HTTP/2, "Length-Prefixed-Message").
const PREFIX_BYTES: usize = 5;
const DO_PUT: &str = "/arrow.flight.protocol.FlightService/DoPut";
const DO_ACTION: &str = "/arrow.flight.protocol.FlightService/DoAction";
/// The number of `FlightData.flight_descriptor`.
const DESCRIPTOR: u32 = 1;

/// How requests are metered.
#[derive(Debug, Clone)]
pub(super) struct Meter {
    pub(super) budget: Budget,
    /// Larger messages are refused by who comes after; nothing is waited for.
    pub(super) max_message_bytes: u64,
    /// How long the sender of a stream may take for one message, as it may change.
    pub(super) call_limits: watch::Sender<CallLimits>,
}

impl Meter {
    fn idle_timeout(&self) -> Duration {
        self.call_limits.borrow().idle_timeout
    }
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
        let mut request = request;
        let inbox = (request.uri().path() == DO_PUT).then(Inbox::default);
        if let Some(inbox) = &inbox {
            request.extensions_mut().insert(inbox.clone());
        }
        let meter = self.meter.clone();
        // What other calls ask is a name.
        let is_short = ![DO_PUT, DO_ACTION].contains(&request.uri().path());
        let quota = request.extensions().get::<Arc<Quota>>().cloned();
        self.service.call(request.map(|body| MeteredBody {
            is_short,
            ..MeteredBody::new(body, meter, inbox, quota)
        }))
    }
}

/// The messages of a stream of rows that have come whole, each with the memory it takes.
///
/// tonic's own decoder would keep the bytes of a message until the next one comes, long after their
/// memory was given back. So they go past it: it is given an empty message for each that is here.
#[derive(Clone, Default)]
struct Inbox {
    delivery: Arc<Mutex<Option<Delivery>>>,
    stream: Arc<Stream>,
}

impl Inbox {
    fn delivery(&self) -> MutexGuard<'_, Option<Delivery>> {
        self.delivery.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Delivery {
    message: Bytes,
    share: Option<Share>,
}

/// The messages of a DoPut.
pub(super) struct Messages {
    inbox: Inbox,
    tickets: Streaming<FlightData>,
    share: Option<Share>,
}

impl Messages {
    /// Takes a request that has come through the meter.
    pub(super) fn new(request: tonic::Request<Streaming<FlightData>>) -> Self {
        let inbox = request.extensions().get::<Inbox>().cloned();
        Self {
            inbox: inbox.unwrap_or_default(),
            tickets: request.into_inner(),
            share: None,
        }
    }

    /// What is told of the stream.
    pub(super) fn stream(&self) -> Arc<Stream> {
        Arc::clone(&self.inbox.stream)
    }

    /// Waits for the next message; with this, the memory of the one before is given back.
    pub(super) async fn message(&mut self) -> Result<Option<FlightData>, Status> {
        self.share = None;
        let stream = self.stream();
        let Some(ticket) = stream
            .wait(Activity::Receive, self.tickets.message())
            .await?
        else {
            return Ok(None);
        };
        let Some(Delivery { message, share }) = self.inbox.delivery().take() else {
            return Ok(Some(ticket));
        };
        self.share = share;
        // A path of empty names would become twelve times as much memory.
        let described = occurrences(&message, DESCRIPTOR).bytes;
        if described > MAX_HEADER_BYTES {
            return Err(Status::invalid_argument(format!(
                "a descriptor has {described} bytes; at most {MAX_HEADER_BYTES} are taken"
            )));
        }
        let message = FlightData::decode(message);
        message.map(Some).map_err(|error| {
            Status::invalid_argument(format!("a message of the stream is no FlightData: {error}"))
        })
    }
}

/// A body that waits, before it takes a message in, until there is memory for it. What is not taken fills
/// the HTTP/2 window and stops the sender.
struct MeteredBody {
    body: Body,
    meter: Meter,
    /// What the sender may send, if it is known.
    quota: Option<Arc<Quota>>,
    /// Where messages with rows go.
    inbox: Option<Inbox>,
    /// What has come and was not looked at.
    pending: Bytes,
    prefix: Vec<u8>,
    /// What has come of a message with rows.
    message: Vec<u8>,
    /// Bytes of the current message still to come.
    left: usize,
    waiting: Option<BoxFuture<'static, Option<Share>>>,
    share: Option<Share>,
    deadline: Pin<Box<Sleep>>,
    is_timed: bool,
    is_short_of_memory: bool,
    /// Whether no message may be longer than a header.
    is_short: bool,
}

impl MeteredBody {
    fn new(body: Body, meter: Meter, inbox: Option<Inbox>, quota: Option<Arc<Quota>>) -> Self {
        Self {
            body,
            inbox,
            quota,
            pending: Bytes::new(),
            prefix: Vec::with_capacity(PREFIX_BYTES),
            message: Vec::new(),
            left: 0,
            waiting: None,
            share: None,
            deadline: Box::pin(sleep(meter.idle_timeout())),
            is_timed: false,
            is_short_of_memory: false,
            is_short: false,
            meter,
        }
    }

    /// The bytes of the message whose prefix has come.
    fn length(&self) -> usize {
        let length = self
            .prefix
            .get(1..)
            .and_then(|mut length| length.try_get_u32().ok());
        usize::try_from(length.unwrap_or_default()).unwrap_or(usize::MAX)
    }

    /// Reads the prefix of a message and begins to wait for its memory. One that is too
    /// large goes on as it is, and is refused there.
    fn begin(&mut self) -> Option<Frame<Bytes>> {
        self.left = self.length();
        let byte_count = u64::try_from(self.left).unwrap_or(u64::MAX);
        let prefix = std::mem::take(&mut self.prefix);
        let budget = self.meter.budget.clone();
        if byte_count > self.meter.max_message_bytes {
            self.inbox = None;
        } else {
            self.waiting = Some(match self.inbox {
                Some(_) => {
                    let quota = self.quota.clone();
                    Box::pin(async move {
                        if let Some(quota) = quota {
                            quota.pace(byte_count).await;
                        }
                        budget.message(byte_count).await
                    })
                }
                None => Box::pin(async move { budget.control(byte_count).await }),
            });
        }
        match self.inbox {
            Some(_) => None,
            None => Some(Frame::data(prefix.into())),
        }
    }

    /// Puts a message that has come whole where it is looked for.
    fn deliver(&mut self, inbox: &Inbox) -> Frame<Bytes> {
        let message = Bytes::from(std::mem::take(&mut self.message));
        inbox.stream.received(message.len());
        let share = self.share.take();
        *inbox.delivery() = Some(Delivery { message, share });
        Frame::data(Bytes::from_static(&[0; PREFIX_BYTES]))
    }

    /// Tells the stream's clock whether it is memory or the sender that is waited for.
    fn waits_for_memory(&mut self, waits: bool) {
        if let Some(inbox) = &self.inbox
            && waits != self.is_short_of_memory
        {
            self.is_short_of_memory = waits;
            inbox.stream.enter(match waits {
                true => Activity::Memory,
                false => Activity::Receive,
            });
        }
    }

    /// Runs while the sender is waited for: from the first time for a message until all of it is there.
    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<Status> {
        if !self.is_timed {
            let deadline = Instant::now() + self.meter.idle_timeout();
            self.deadline.as_mut().reset(deadline);
            self.is_timed = true;
        }
        ready!(self.deadline.as_mut().poll(cx));
        Poll::Ready(Status::deadline_exceeded(format!(
            "no whole message came within {}",
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
            if let Some(waiting) = &mut this.waiting {
                let share = waiting.as_mut().poll(cx);
                this.waits_for_memory(share.is_pending());
                this.share = ready!(share);
                this.waiting = None;
                if let Some(inbox) = this.inbox.clone() {
                    if this.message.try_reserve_exact(this.left).is_err() {
                        let told = "the system gives no memory for a message; see --memory-limit";
                        return Poll::Ready(Some(Err(Status::unavailable(told))));
                    }
                    if this.left == 0 {
                        return Poll::Ready(Some(Ok(this.deliver(&inbox))));
                    }
                }
            }
            if this.pending.is_empty() {
                match Pin::new(&mut this.body).poll_frame(cx) {
                    Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                        Ok(data) => this.pending = data,
                        Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                    },
                    Poll::Ready(None) if !this.prefix.is_empty() || !this.message.is_empty() => {
                        let told = "the stream ended in the middle of a message";
                        return Poll::Ready(Some(Err(Status::internal(told))));
                    }
                    Poll::Ready(end) => return Poll::Ready(end),
                    Poll::Pending => {
                        let late = ready!(this.poll_deadline(cx));
                        return Poll::Ready(Some(Err(late)));
                    }
                }
            } else if this.left > 0 {
                let piece = this.pending.split_to(this.left.min(this.pending.len()));
                this.left -= piece.len();
                this.is_timed &= this.left > 0;
                let Some(inbox) = this.inbox.clone() else {
                    return Poll::Ready(Some(Ok(Frame::data(piece))));
                };
                this.message.extend_from_slice(&piece);
                if this.left == 0 {
                    return Poll::Ready(Some(Ok(this.deliver(&inbox))));
                }
            } else {
                let size = (PREFIX_BYTES - this.prefix.len()).min(this.pending.len());
                this.prefix.extend_from_slice(&this.pending.split_to(size));
                if this.prefix.len() == PREFIX_BYTES {
                    // A call that says how is refused for it before its first message is looked at.
                    if this.prefix.first() != Some(&0) {
                        let told = "a message says that gRPC compressed it; messages are taken as they are, and \
                                    Arrow's own compression within them";
                        return Poll::Ready(Some(Err(Status::invalid_argument(told))));
                    }
                    if this.is_short && this.length() > MAX_HEADER_BYTES {
                        return Poll::Ready(Some(Err(Status::invalid_argument(format!(
                            "the request has {} bytes; at most {MAX_HEADER_BYTES} are taken",
                            this.length()
                        )))));
                    }
                    if let Some(frame) = this.begin() {
                        return Poll::Ready(Some(Ok(frame)));
                    }
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.pending.is_empty()
            && self.prefix.is_empty()
            && self.left == 0
            && self.waiting.is_none()
            && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}
