//! A tap on the socket that reads PostgreSQL's answers as they arrive, to report an error at once.
//!
//! During a COPY the driver does not read PostgreSQL's answers before all rows are sent: it took 300 MB after a
//! rejected first row. When a backend is terminated, it only reports that the connection is closed. So the tap parses
//! the bytes as they arrive and keeps the first ErrorResponse. It changes nothing.
//!
//! The driver also drops the tag of a CommandComplete. PostgreSQL answers the COMMIT of a failed transaction with the
//! tag ROLLBACK and no error, so the tap keeps the last tag as well.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::task::{Context, Poll, ready};

use futures_util::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::watch;
use tokio_postgres::Socket;
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};

use super::server_error::ServerError;
use super::tls::{Tls, Wire};

/// The bytes of an error that are kept. The useful fields stand before its context.
const MAX_ERROR_BYTES: usize = 64 * 1024;
/// The bytes of a tag that are kept. The tags that end a transaction are shorter.
const MAX_TAG_BYTES: usize = 32;
/// The length of the process id at the beginning of a BackendKeyData.
const PROCESS_BYTES: usize = 4;
/// The length of the type and the length field of a message (PostgreSQL manual, 55.7).
const HEAD_BYTES: usize = 5;
/// The size of one read from a connection that PostgreSQL has closed.
const DRAIN_BYTES: usize = 8 * 1024;

/// The replies of PostgreSQL on one connection that the tap keeps. The reader resets them.
#[derive(Clone)]
pub(super) struct Replies {
    /// The first error.
    pub(super) first_error: watch::Sender<Option<ServerError>>,
    /// The tag of the last statement that succeeded, as in `COMMIT`.
    pub(super) last_tag: watch::Sender<Option<String>>,
}

impl Replies {
    pub(super) fn new() -> Self {
        Self {
            first_error: watch::Sender::new(None),
            last_tag: watch::Sender::new(None),
        }
    }
}

/// The progress of a connection that is being opened.
#[derive(Default)]
pub(super) struct Handshake {
    /// Number of hosts that were reached so far.
    pub(super) reached: watch::Sender<u32>,
    /// The process id in BackendKeyData; 0 until it arrives.
    pub(super) process: AtomicI32,
}

impl Handshake {
    pub(super) fn host_reached(&self) {
        self.reached.send_modify(|count| *count += 1);
    }
}

/// A stream to PostgreSQL with a tap.
pub(super) struct Tapped<S> {
    stream: S,
    messages: Messages,
    /// A failed write, returned when everything is read.
    write_error: Option<io::Error>,
}

impl<S> Tapped<S> {
    pub(super) fn new(stream: S, replies: Replies, handshake: Arc<Handshake>) -> Self {
        let messages = Messages {
            head: Vec::with_capacity(HEAD_BYTES),
            left: 0,
            kept: None,
            replies,
            handshake,
        };
        Self {
            stream,
            messages,
            write_error: None,
        }
    }
}

/// Splits the bytes from PostgreSQL into messages.
struct Messages {
    /// The type and length of the next message, as far as they have arrived.
    head: Vec<u8>,
    /// Bytes of the current message still to come.
    left: usize,
    /// The current message, if it is kept.
    kept: Option<Kept>,
    replies: Replies,
    handshake: Arc<Handshake>,
}

/// The beginning of a message that is kept.
struct Kept {
    kind: Kind,
    body: Vec<u8>,
}

/// The messages that are kept.
enum Kind {
    /// ErrorResponse.
    Error,
    /// CommandComplete.
    Tag,
    /// BackendKeyData.
    Key,
}

impl Kept {
    /// Returns an empty message of this type; `None` for a type that is not kept.
    fn new(kind: u8) -> Option<Self> {
        let kind = match kind {
            b'E' => Kind::Error,
            b'C' => Kind::Tag,
            b'K' => Kind::Key,
            _ => return None,
        };
        let body = Vec::new();
        Some(Self { kind, body })
    }

    fn take_in(&mut self, bytes: &[u8]) {
        let most = match self.kind {
            Kind::Error => MAX_ERROR_BYTES,
            Kind::Tag => MAX_TAG_BYTES,
            Kind::Key => PROCESS_BYTES,
        };
        let room = most.saturating_sub(self.body.len());
        self.body
            .extend_from_slice(bytes.get(..room).unwrap_or(bytes));
    }

    fn publish(&self, replies: &Replies, handshake: &Handshake) {
        match self.kind {
            Kind::Error => {
                let error = ServerError::parse(&self.body);
                // Later errors are consequences of the first.
                replies.first_error.send_if_modified(|first| {
                    let is_first = first.is_none();
                    first.get_or_insert(error);
                    is_first
                });
            }
            Kind::Tag => {
                let tag = self.body.strip_suffix(&[0]).unwrap_or(&self.body);
                let tag = String::from_utf8_lossy(tag).into_owned();
                replies.last_tag.send_replace(Some(tag));
            }
            Kind::Key => {
                if let Some(process) = self.body.first_chunk() {
                    let process = i32::from_be_bytes(*process);
                    handshake.process.store(process, Ordering::Relaxed);
                }
            }
        }
    }
}

impl Messages {
    fn take_in(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.left > 0 {
                let (body, rest) = bytes.split_at(self.left.min(bytes.len()));
                self.left -= body.len();
                bytes = rest;
                if let Some(kept) = &mut self.kept {
                    kept.take_in(body);
                }
                if self.left == 0
                    && let Some(kept) = self.kept.take()
                {
                    kept.publish(&self.replies, &self.handshake);
                }
                continue;
            }
            let (head, rest) = bytes.split_at((HEAD_BYTES - self.head.len()).min(bytes.len()));
            self.head.extend_from_slice(head);
            bytes = rest;
            if let [kind, length @ ..] = self.head.as_slice()
                && let Ok(length) = <[u8; 4]>::try_from(length)
            {
                // The length counts itself.
                self.left = usize::try_from(u32::from_be_bytes(length))
                    .unwrap_or(usize::MAX)
                    .saturating_sub(4);
                self.kept = Kept::new(*kind);
                self.head.clear();
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Tapped<S> {
    /// Reads what PostgreSQL sent before it closed the connection: a terminated backend reports the reason. A write may
    /// fail before the runtime reports that there is something to read.
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut bytes = [0; DRAIN_BYTES];
        loop {
            let mut buffer = ReadBuf::new(&mut bytes);
            match ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer)) {
                Ok(()) if !buffer.filled().is_empty() => self.messages.take_in(buffer.filled()),
                Ok(()) | Err(_) => return Poll::Ready(()),
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Tapped<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if let Some(new) = buffer.filled().get(before..) {
            self.messages.take_in(new);
        }
        polled
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Tapped<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.write_error.is_none() {
            match ready!(Pin::new(&mut self.stream).poll_write(cx, bytes)) {
                Ok(count) => return Poll::Ready(Ok(count)),
                Err(error) => self.write_error = Some(error),
            }
        }
        ready!(self.poll_drain(cx));
        let error = self.write_error.take();
        Poll::Ready(Err(error.unwrap_or(io::ErrorKind::BrokenPipe.into())))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Installs the tap, and TLS below it, in the place of the driver's TLS. That is the one place where the driver hands
/// out its socket: with `sslmode=require` and `sslnegotiation=direct` it sends nothing before.
#[derive(Clone)]
pub(super) struct Tap {
    replies: Replies,
    handshake: Arc<Handshake>,
    tls: Tls,
    /// The host that the certificate must name.
    host: String,
}

impl Tap {
    pub(super) fn new(replies: Replies, handshake: Arc<Handshake>, tls: Tls) -> Self {
        let host = String::new();
        Self {
            replies,
            handshake,
            tls,
            host,
        }
    }
}

impl MakeTlsConnect<Socket> for Tap {
    type Stream = Tapped<Wire>;
    type TlsConnect = Self;
    type Error = io::Error;

    fn make_tls_connect(&mut self, host: &str) -> io::Result<Self> {
        let host = host.to_owned();
        Ok(Self {
            host,
            ..self.clone()
        })
    }
}

impl TlsConnect<Socket> for Tap {
    type Stream = Tapped<Wire>;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<Tapped<Wire>>>;

    fn connect(self, socket: Socket) -> Self::Future {
        Box::pin(async move {
            self.handshake.host_reached();
            let wire = self.tls.secure(socket, &self.host).await?;
            Ok(Tapped::new(wire, self.replies, self.handshake))
        })
    }
}

impl TlsStream for Tapped<Wire> {
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{Handshake, Messages, Replies, ServerError};

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
        [&[kind][..], &length, body].concat()
    }

    #[test]
    fn the_first_error_and_last_tag_are_kept_for_any_split() {
        let stream = [
            message(b'C', b"COPY 1\0"),
            message(b'Z', b"E"),
            message(b'E', b"SFATAL\0C57P01\0Mterminating\0\0"),
            message(b'E', b"SERROR\0C25P02\0Maborted\0\0"),
            message(b'C', b"ROLLBACK\0"),
            message(b'N', b""),
        ]
        .concat();
        for size in 1..=stream.len() {
            let replies = Replies::new();
            let (head, left, kept) = (Vec::new(), 0, None);
            let mut messages = Messages {
                head,
                left,
                kept,
                replies: replies.clone(),
                handshake: Arc::new(Handshake::default()),
            };
            for piece in stream.chunks(size) {
                messages.take_in(piece);
            }
            assert_eq!(replies.last_tag.borrow().as_deref(), Some("ROLLBACK"));
            let error: Option<ServerError> = replies.first_error.borrow().clone();
            let error = error.expect("the stream has an error");
            assert_eq!(
                (error.sqlstate.as_str(), error.message.as_str()),
                ("57P01", "terminating")
            );
            assert_eq!((messages.left, messages.head.len()), (0, 0), "in step");
        }
    }
}
