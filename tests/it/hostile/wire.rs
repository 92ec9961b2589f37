//! Hostile bytes: frames that keep the server busy or fill its memory, and bytes that are not gRPC.
//! The connections end soon, the server serves others meanwhile, and its memory does not grow.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, Int32Array};
use futures_util::{StreamExt, stream};
use prost::Message;

use crate::support::{COPIES, Client, Database, Pgflight, Put, batch, path, wait_until};

/// RFC 9113, 3.4.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Types of frames (RFC 9113, 6).
pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;
/// A larger growth means that the server kept data.
const MAX_GROWTH: u64 = 48 << 20;

pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let head = [length[1], length[2], length[3], kind, flags];
    [&head[..], &stream.to_be_bytes(), payload].concat()
}

/// A header as a literal without indexing (RFC 7541, 6.2.2).
fn header(name: &str, value: &str) -> Vec<u8> {
    let text = |text: &str| {
        let mut bytes = Vec::new();
        match text.len() {
            length @ 0..127 => bytes.push(u8::try_from(length).unwrap()),
            length => {
                bytes.push(127);
                let mut rest = length - 127;
                while rest >= 128 {
                    bytes.push(u8::try_from(rest % 128).unwrap() | 128);
                    rest /= 128;
                }
                bytes.push(u8::try_from(rest).unwrap());
            }
        }
        bytes.extend_from_slice(text.as_bytes());
        bytes
    };
    [vec![0], text(name), text(value)].concat()
}

/// The headers of a call.
fn call(method: &str, content_type: &str) -> Vec<u8> {
    let path = format!("/arrow.flight.protocol.FlightService/{method}");
    let headers = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", &path),
        (":authority", "localhost"),
        ("content-type", content_type),
        ("te", "trailers"),
    ];
    headers.map(|(name, value)| header(name, value)).concat()
}

pub fn put() -> Vec<u8> {
    call("DoPut", "application/grpc")
}

/// The headers of a call with a token.
pub fn call_by(method: &str, token: &str) -> Vec<u8> {
    let token = header("authorization", &format!("Bearer {token}"));
    [call(method, "application/grpc"), token].concat()
}

/// A message of gRPC.
pub fn message(bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).unwrap().to_be_bytes();
    [&[0][..], &length, bytes].concat()
}

/// A connection of bytes.
pub struct Wire(TcpStream);

/// The answer up to the close or to a pause.
#[derive(Debug, Default)]
struct Heard {
    kinds: Vec<u8>,
    resets: usize,
    bytes: Vec<u8>,
    closed: bool,
}

impl Wire {
    pub fn open(server: &Pgflight) -> Self {
        Self::open_at(&server.address)
    }

    fn open_at(address: &str) -> Self {
        let wire = Self::bare(address);
        let mut stream = &wire.0;
        stream.write_all(PREFACE).unwrap();
        stream.write_all(&frame(SETTINGS, 0, 0, &[])).unwrap();
        wire
    }

    /// Opens a connection and sends nothing.
    fn bare(address: &str) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        let limit = Some(Duration::from_secs(20));
        stream.set_write_timeout(limit).unwrap();
        stream.set_nodelay(true).unwrap();
        Self(stream)
    }

    /// Sends as long as the server reads; returns whether it read everything.
    pub fn send(&self, bytes: &[u8]) -> bool {
        (&self.0).write_all(bytes).is_ok()
    }

    /// Reads until the answer to the call of this stream ends.
    pub fn read_answer(&self, stream: u32) {
        let mut socket = &self.0;
        socket
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        loop {
            let mut head = [0; 9];
            socket.read_exact(&mut head).unwrap();
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let mut payload = vec![0; usize::try_from(length).unwrap()];
            socket.read_exact(&mut payload).unwrap();
            let of = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
            if of == stream && head[4] & END_STREAM != 0 {
                return;
            }
        }
    }

    /// Reads until the connection is closed, a GOAWAY or a number of frames of calls has arrived, or nothing arrives
    /// for a while.
    fn hear(&self, patience: Duration) -> Heard {
        self.0.set_read_timeout(Some(patience)).unwrap();
        let mut heard = Heard::default();
        let mut chunk = [0; 1 << 16];
        loop {
            match (&self.0).read(&mut chunk) {
                Ok(0) => heard.closed = true,
                Ok(n) => {
                    heard.bytes.extend_from_slice(&chunk[..n]);
                    continue;
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(_) => heard.closed = true,
            }
            break;
        }
        let mut rest = &heard.bytes[..];
        while let Some((head, after)) = rest.split_first_chunk::<9>() {
            let length =
                usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
            heard.kinds.push(head[3]);
            heard.resets += usize::from(head[3] == RST_STREAM);
            rest = after.get(length..).unwrap_or_default();
        }
        heard
    }
}

impl Heard {
    fn is_refused(&self) -> bool {
        self.closed || self.kinds.contains(&GOAWAY) || self.resets > 0
    }

    /// Whether an answer has this status, in HPACK's Huffman code of the three digits.
    fn has_status(&self, status: u16) -> bool {
        let code: &[u8] = match status {
            415 => &[0x83, 0x68, 0x2d, 0xff],
            431 => &[0x83, 0x69, 0x90, 0xff],
            _ => panic!("{status} is not in the table"),
        };
        self.bytes.windows(code.len()).any(|bytes| bytes == code)
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }
}

/// Runs an attack on a server, which must then serve as before with no more memory.
async fn check(options: &[&str], what: &str, harm: impl FnOnce(&Pgflight)) {
    let database = Database::new().await;
    database.execute("CREATE TABLE t (n int)").await;
    let server = Pgflight::start_with(&database, options);
    let rows = batch(&[("n", Arc::new(Int32Array::from(vec![1])) as ArrayRef)]);
    let mut client = server.client().await;
    client
        .put(Put::bare(path(&["t"]), std::slice::from_ref(&rows)))
        .await
        .unwrap();
    let before = server.memory("VmRSS");
    harm(&server);
    let after = server.memory("VmRSS");
    assert!(
        after < before + MAX_GROWTH,
        "{what}: {} MiB before, {} MiB after",
        before >> 20,
        after >> 20
    );
    client
        .put(Put::bare(path(&["t"]), std::slice::from_ref(&rows)))
        .await
        .expect(what);
    let mut another = server.client().await;
    another
        .put(Put::bare(path(&["t"]), &[rows]))
        .await
        .expect(what);
    assert_eq!(database.text("SELECT count(*) FROM t").await, "3", "{what}");
    assert!(!server.has_panicked(), "{what}");
}

const SOON: Duration = Duration::from_secs(2);

/// The name of an attack, and the attack on an address.
pub type Nuisance = (&'static str, fn(&str));

fn flood(address: &str, piece: &[u8]) {
    let wire = Wire::open_at(address);
    wire.send(&frame(HEADERS, END_HEADERS, 1, &put()));
    wire.send(&piece.repeat(1000));
}

/// Some of the attacks for other tests, each on a connection of its own and without waiting for an answer.
pub fn nuisances() -> Vec<Nuisance> {
    vec![
        ("resets", |address| {
            let cancel = 8_u32.to_be_bytes();
            let wire = Wire::open_at(address);
            let call = |n: u32| {
                let stream = 2 * n + 1;
                let headers = frame(HEADERS, END_HEADERS, stream, &put());
                [headers, frame(RST_STREAM, 0, stream, &cancel)].concat()
            };
            let _ = (0..200).take_while(|n| wire.send(&call(*n))).count();
        }),
        ("pings", |address| {
            flood(address, &frame(PING, 0, 0, &[0; 8]))
        }),
        ("settings", |address| {
            flood(address, &frame(SETTINGS, 0, 0, &[]))
        }),
        ("empty frames", |address| {
            flood(address, &frame(DATA, 0, 1, &[]))
        }),
        ("headers without end", |address| {
            let wire = Wire::open_at(address);
            wire.send(&frame(HEADERS, 0, 1, &put()));
            let piece = frame(CONTINUATION, 0, 1, &header("x", &"y".repeat(100)));
            let _ = (0..300).take_while(|_| wire.send(&piece)).count();
        }),
        ("what is no HTTP", |address| {
            Wire::bare(address).send(&[b'x'; 1000]);
        }),
    ]
}

#[tokio::test]
async fn oversized_headers_are_rejected() {
    let long = [put(), header("x-long", &"x".repeat(64 << 10))].concat();
    let many: Vec<u8> = (0..10_000)
        .flat_map(|n| header(&format!("x-{n}"), "y"))
        .collect();
    let many = [put(), many].concat();
    for (what, headers) in [("a long header", long), ("many headers", many)] {
        check(&[], what, |server| {
            let wire = Wire::open(server);
            let (first, rest) = headers.split_at(16_000);
            let mut sent = wire.send(&frame(HEADERS, 0, 1, first));
            let mut pieces = rest.chunks(16_000).peekable();
            while let (true, Some(piece)) = (sent, pieces.next()) {
                let flags = if pieces.peek().is_none() {
                    END_HEADERS
                } else {
                    0
                };
                sent = wire.send(&frame(CONTINUATION, flags, 1, piece));
            }
            let heard = wire.hear(SOON);
            // 431: Request Header Fields Too Large.
            assert!(
                heard.is_refused() || heard.has_status(431),
                "{what}: {heard:?}"
            );
        })
        .await;
    }
    check(&[], "headers without end", |server| {
        let wire = Wire::open(server);
        assert!(wire.send(&frame(HEADERS, 0, 1, &put())));
        let piece = frame(CONTINUATION, 0, 1, &header("x", &"y".repeat(100)));
        let sent = (0..1_000_000).take_while(|_| wire.send(&piece)).count();
        assert!(sent < 1_000_000, "it was taken to the end");
    })
    .await;
}

#[tokio::test]
async fn floods_of_cheap_frames_do_no_harm() {
    check(&[], "calls that are reset at once", |server| {
        let wire = Wire::open(server);
        let rapid = |n: u32| {
            let stream = 2 * n + 1;
            let reset = frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes());
            [frame(HEADERS, END_HEADERS, stream, &put()), reset].concat()
        };
        let sent = (0..10_000).take_while(|n| wire.send(&rapid(*n))).count();
        let heard = wire.hear(SOON);
        assert!(
            sent < 10_000 || heard.is_refused(),
            "{sent} {:?}",
            heard.kinds
        );
    })
    .await;
    check(&[], "a thousand calls on one connection", |server| {
        let wire = Wire::open(server);
        for n in 0..1000 {
            wire.send(&frame(HEADERS, END_HEADERS, 2 * n + 1, &put()));
        }
        let heard = wire.hear(SOON);
        assert!(
            heard.kinds.contains(&GOAWAY) || heard.resets >= 1000 - 32,
            "{}",
            heard.resets
        );
    })
    .await;
    check(&[], "frames without data", |server| {
        let wire = Wire::open(server);
        wire.send(&frame(HEADERS, END_HEADERS, 1, &put()));
        let empty = frame(DATA, 0, 1, &[]).repeat(1000);
        let _ = (0..1000).take_while(|_| wire.send(&empty)).count();
    })
    .await;
    for (what, kind, payload) in [("pings", PING, &[0; 8][..]), ("settings", SETTINGS, &[])] {
        check(&[], what, |server| {
            let wire = Wire::open(server);
            // The client reads no answers.
            let thousand = frame(kind, 0, 0, payload).repeat(1000);
            wire.0.set_write_timeout(Some(SOON)).unwrap();
            let _ = (0..1000).take_while(|_| wire.send(&thousand)).count();
        })
        .await;
    }
}

#[tokio::test]
async fn slow_senders_time_out() {
    // The length of a message of a hundred bytes, and then nothing, or single bytes forever.
    let begun = [0, 0, 0, 0, 100];
    for (what, pause) in [
        ("nothing", None),
        ("a byte now and then", Some(Duration::from_millis(50))),
    ] {
        check(&["--idle-timeout", "400ms"], what, |server| {
            let wire = Wire::open(server);
            assert!(wire.send(&frame(HEADERS, END_HEADERS, 1, &put())));
            assert!(wire.send(&frame(DATA, 0, 1, &begun)));
            let drips = pause.map_or(0, |_| 40);
            for _ in 0..drips {
                std::thread::sleep(pause.unwrap());
                wire.send(&frame(DATA, 0, 1, b"x"));
            }
            let heard = wire.hear(SOON);
            // The trailers hold the code, DEADLINE_EXCEEDED, compressed; the call has ended in any case.
            assert!(heard.kinds.contains(&HEADERS), "{what}: {heard:?}");
        })
        .await;
    }
}

#[tokio::test]
async fn other_protocols_than_grpc_over_http_2_are_not_served() {
    let body = |n: usize| vec![b'x'; n];
    for (what, bytes) in [
        ("HTTP/1.1", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec()),
        (
            "an upgrade from HTTP/1.1",
            b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\
              HTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n"
                .to_vec(),
        ),
        (
            "TLS where there is none",
            [&[22, 3, 1, 2, 0, 1][..], &body(512)].concat(),
        ),
        (
            "PostgreSQL's protocol",
            [&[0, 0, 0, 8, 4, 210, 22, 47][..], &body(100)].concat(),
        ),
        ("noise", body(10_000)),
    ] {
        check(&[], what, |server| {
            let wire = Wire::bare(&server.address);
            wire.send(&bytes);
            let heard = wire.hear(SOON);
            assert!(
                heard.is_refused() || heard.text().starts_with("HTTP/1.1 4"),
                "{what}: {heard:?}"
            );
        })
        .await;
    }
    for content_type in [
        "text/plain",
        "application/json",
        "application/grpc-web",
        "application/grpcx",
    ] {
        check(&[], content_type, |server| {
            let wire = Wire::open(server);
            let headers = call("ListActions", content_type);
            wire.send(&frame(HEADERS, END_HEADERS, 1, &headers));
            wire.send(&frame(DATA, END_STREAM, 1, &[0; 5]));
            let heard = wire.hear(SOON);
            assert!(heard.kinds.contains(&HEADERS), "{content_type}: {heard:?}");
            assert!(heard.has_status(415), "{content_type}: {heard:?}");
        })
        .await;
    }
    // The same call with gRPC's content type is served.
    check(&[], "gRPC", |server| {
        let wire = Wire::open(server);
        wire.send(&frame(
            HEADERS,
            END_HEADERS,
            1,
            &call("ListActions", "application/grpc+proto"),
        ));
        wire.send(&frame(DATA, END_STREAM, 1, &[0; 5]));
        let heard = wire.hear(SOON);
        assert!(heard.text().contains("begin"), "{heard:?}");
    })
    .await;
}

#[tokio::test]
async fn old_connections_are_closed() {
    check(
        &["--max-connection-age", "300ms"],
        "an old connection",
        |server| {
            let wire = Wire::open(server);
            let heard = wire.hear(SOON);
            assert!(heard.kinds.contains(&GOAWAY), "{heard:?}");
        },
    )
    .await;
}

#[tokio::test]
async fn silent_connections_stay_within_the_limits() {
    let options = [
        "--max-connections",
        "60",
        "--max-connections-per-peer",
        "50",
    ];
    check(&options, "idle connections", |server| {
        // Two are for the test's own clients.
        let guests: Vec<Wire> = (0..1000).map(|_| Wire::bare(&server.address)).collect();
        let inside = guests.iter().filter(|guest| {
            let heard = guest.hear(Duration::from_millis(10));
            !heard.closed
        });
        let inside = inside.count();
        assert!(inside < 50, "{inside} of 1000 are inside");
    })
    .await;
}

/// A host that is gone or hangs sends nothing, and its connection stays open. The server finds out with a
/// PING (RFC 9113, 6.7), which every live peer answers.
#[tokio::test]
async fn a_dead_peer_is_closed_and_its_memory_freed() {
    let database = Database::new().await;
    database.execute("CREATE TABLE t (n int)").await;
    let server = Pgflight::start(&database);
    let rows = batch(&[("n", Arc::new(Int32Array::from(vec![1])) as ArrayRef)]);
    let messages = Put::bare(path(&["t"]), std::slice::from_ref(&rows)).0;
    let wire = Wire::open(&server);
    assert!(wire.send(&frame(HEADERS, END_HEADERS, 1, &put())));
    for message in &messages {
        let message = message.encode_to_vec();
        let length = u32::try_from(message.len()).unwrap().to_be_bytes();
        assert!(wire.send(&frame(DATA, 0, 1, &[&[0], &length[..], &message].concat())));
    }
    wait_until(async || database.text(COPIES).await == "1", "the COPY runs").await;
    // A live, idle client gets a PING as well, and stays.
    let (end, ended) = tokio::sync::oneshot::channel::<()>();
    let living = stream::iter(messages).chain(stream::once(ended).filter_map(|_| async { None }));
    let mut client = server.client().await;
    let living = tokio::spawn(async move { client.put_stream(living).await });
    wait_until(async || database.text(COPIES).await == "2", "both run").await;
    let heard = tokio::task::spawn_blocking(move || wire.hear(Duration::from_secs(60)));
    let heard = heard.await.unwrap();
    assert!(heard.kinds.contains(&PING), "{heard:?}");
    assert!(heard.closed, "{heard:?}");
    wait_until(
        async || database.text(COPIES).await == "1",
        "its COPY has ended",
    )
    .await;
    end.send(()).unwrap();
    living.await.unwrap().unwrap();
    assert_eq!(database.text("SELECT count(*) FROM t").await, "1");
}

#[tokio::test]
async fn a_server_recovers_when_it_ran_out_of_files() {
    let database = Database::new().await;
    database.execute("CREATE TABLE t (n int)").await;
    let server = Pgflight::start_limited(&database, "--nofile=64", &[]);
    let rows = batch(&[("n", Arc::new(Int32Array::from(vec![1])) as ArrayRef)]);
    let put = || Put::bare(path(&["t"]), std::slice::from_ref(&rows));
    let mut client = server.client().await;
    client.put(put()).await.unwrap();
    // More connections than files, and fewer than the backlog.
    let guests: Vec<Wire> = (0..90).map(|_| Wire::open(&server)).collect();
    let complains = |line: &String| line.contains("cannot accept connections");
    let complaints = || server.log().iter().filter(|line| complains(line)).count();
    wait_until(async || complaints() > 2, "there are no files left").await;
    let (began, before) = (std::time::Instant::now(), complaints());
    client
        .put(put())
        .await
        .expect("those who are there are served");
    wait_until(async || began.elapsed() > SOON, "some time has passed").await;
    let (took, more) = (began.elapsed(), complaints() - before);
    let most = took.as_millis() / 100 + 2;
    assert!(
        u128::try_from(more).unwrap() <= most,
        "{more} tries in {took:?}: it spins"
    );
    drop(guests);
    let serves = async || match Client::try_connect(&server.address).await {
        Ok(mut client) => client.put(put()).await.is_ok(),
        Err(_) => false,
    };
    wait_until(serves, "it serves again").await;
}
