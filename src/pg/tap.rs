//! Listening in on what PostgreSQL sends, to hear of an error at once.
//!
//! While it copies, the driver does not look at PostgreSQL's answers before all rows are sent: it took
//! 300 MB after a first row that was refused, and of a backend that was terminated it says no more than
//! that the connection is closed. So the bytes are read here as they come by, and the first
//! ErrorResponse is kept; nothing is changed.
//!
//! The driver also drops the tag of a CommandComplete. PostgreSQL answers the COMMIT of a transaction that has
//! failed with the tag ROLLBACK and no error, so the last tag is kept as well.

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

use super::sqlstate::Told;
use super::tls::{Tls, Wire};

/// More of an error is not kept: the fields that are of use stand before its context.
const MAX_ERROR_BYTES: usize = 64 * 1024;
/// The tags that end a transaction are shorter.
const MAX_TAG_BYTES: usize = 32;
/// The process number, with which a BackendKeyData begins.
const PROCESS_BYTES: usize = 4;
/// Type and length, as every message of the protocol begins (PostgreSQL manual, 55.7).
const HEAD_BYTES: usize = 5;
/// What is read at once of what PostgreSQL said before it closed the connection.
const LAST_WORDS_BYTES: usize = 8 * 1024;

/// What was heard on one connection since it was last asked.
#[derive(Clone)]
pub(super) struct Heard {
    /// The first error.
    pub(super) error: watch::Sender<Option<Told>>,
    /// The tag of the last statement that was carried out: `COMMIT`.
    pub(super) tag: watch::Sender<Option<String>>,
}

impl Heard {
    pub(super) fn new() -> Self {
        Self {
            error: watch::Sender::new(None),
            tag: watch::Sender::new(None),
        }
    }
}

/// What becomes known of the other end while a connection is made.
#[derive(Default)]
pub(super) struct Greeting {
    /// How many hosts were reached so far.
    pub(super) reached: watch::Sender<u32>,
    /// The process that BackendKeyData names; 0 until then.
    pub(super) process: AtomicI32,
}

impl Greeting {
    pub(super) fn reached(&self) {
        self.reached.send_modify(|count| *count += 1);
    }
}

/// A stream to PostgreSQL that is listened in on.
pub(super) struct Tapped<S> {
    stream: S,
    messages: Messages,
    /// Told once all is read.
    write_error: Option<io::Error>,
}

impl<S> Tapped<S> {
    pub(super) fn new(stream: S, heard: Heard, greeting: Arc<Greeting>) -> Self {
        let messages = Messages {
            head: Vec::with_capacity(HEAD_BYTES),
            left: 0,
            kept: None,
            heard,
            greeting,
        };
        Self {
            stream,
            messages,
            write_error: None,
        }
    }
}

/// Cuts the bytes from PostgreSQL into messages.
struct Messages {
    /// Of the next message, as far as it has come.
    head: Vec<u8>,
    /// Bytes of the current message still to come.
    left: usize,
    /// What has come of the current message, where it is of use.
    kept: Option<Kept>,
    heard: Heard,
    greeting: Arc<Greeting>,
}

/// The beginning of a message that is of use.
struct Kept {
    kind: Kind,
    body: Vec<u8>,
}

/// The messages that are of use.
enum Kind {
    /// ErrorResponse.
    Error,
    /// CommandComplete.
    Tag,
    /// BackendKeyData.
    Key,
}

impl Kept {
    /// Of a message of this type; none where it is of no use.
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

    fn tell(&self, heard: &Heard, greeting: &Greeting) {
        match self.kind {
            Kind::Error => {
                let told = Told::parse(&self.body);
                // What follows an error in the same conversation is a consequence of it.
                heard.error.send_if_modified(|heard| {
                    let is_first = heard.is_none();
                    heard.get_or_insert(told);
                    is_first
                });
            }
            Kind::Tag => {
                let tag = self.body.strip_suffix(&[0]).unwrap_or(&self.body);
                let tag = String::from_utf8_lossy(tag).into_owned();
                heard.tag.send_replace(Some(tag));
            }
            Kind::Key => {
                if let Some(process) = self.body.first_chunk() {
                    let process = i32::from_be_bytes(*process);
                    greeting.process.store(process, Ordering::Relaxed);
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
                    kept.tell(&self.heard, &self.greeting);
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
    /// Reads to the end what PostgreSQL said before it closed the connection: of a backend that is
    /// terminated, why. The runtime may learn of it later than a write learns that nobody reads.
    fn poll_last_words(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut bytes = [0; LAST_WORDS_BYTES];
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
        ready!(self.poll_last_words(cx));
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

/// Puts the tap, and TLS below it, where the driver would put TLS, which is the one place where it lets
/// others at its socket: asked for `sslmode=require` and `sslnegotiation=direct`, it sends nothing of its
/// own first.
#[derive(Clone)]
pub(super) struct Tap {
    heard: Heard,
    greeting: Arc<Greeting>,
    tls: Tls,
    /// Who should be at the other end.
    host: String,
}

impl Tap {
    pub(super) fn new(heard: Heard, greeting: Arc<Greeting>, tls: Tls) -> Self {
        let host = String::new();
        Self {
            heard,
            greeting,
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
            self.greeting.reached();
            let wire = self.tls.secure(socket, &self.host).await?;
            Ok(Tapped::new(wire, self.heard, self.greeting))
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

    use super::{Greeting, Heard, Messages, Told};

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
        [&[kind][..], &length, body].concat()
    }

    #[test]
    fn first_error_and_last_tag_are_heard_however_bytes_are_cut() {
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
            let heard = Heard::new();
            let (head, left, kept) = (Vec::new(), 0, None);
            let mut messages = Messages {
                head,
                left,
                kept,
                heard: heard.clone(),
                greeting: Arc::new(Greeting::default()),
            };
            for piece in stream.chunks(size) {
                messages.take_in(piece);
            }
            assert_eq!(heard.tag.borrow().as_deref(), Some("ROLLBACK"));
            let told: Option<Told> = heard.error.borrow().clone();
            let told = told.expect("an error came by");
            assert_eq!(
                (told.sqlstate.as_str(), told.message.as_str()),
                ("57P01", "terminating")
            );
            assert_eq!((messages.left, messages.head.len()), (0, 0), "in step");
        }
    }
}
