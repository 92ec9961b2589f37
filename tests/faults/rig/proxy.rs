//! A TCP proxy between two processes: passes everything on until a fault is set.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// The treatment of bytes. The side that connects is the client, the other one the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weather {
    /// They pass.
    Fair,
    /// They wait.
    Stalled,
    /// The server's messages are discarded: it works, and its answers are lost.
    RepliesLost,
    /// They pass a few at a time.
    Sliced,
    /// The server's messages are garbled.
    Garbled,
    /// All connections break, and new ones are closed at once.
    Away,
}

/// The treatment of certain requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trap {
    /// The server carries them out, and their connections close before the answers pass.
    LoseAnswer,
    /// They do not arrive, and their connections close.
    Vanish,
    /// The server carries them out, and the answers wait for [`Proxy::release`].
    HoldAnswer,
    /// A ROLLBACK arrives in their place: PostgreSQL then answers as it answers the COMMIT of a failed transaction.
    RollBack,
    /// The server carries them out, and is then away for this time.
    GoAway(Duration),
}

pub struct Proxy {
    pub address: String,
    target: Arc<Mutex<String>>,
    weather: watch::Sender<Weather>,
    cut: watch::Sender<u64>,
    traps: Arc<Traps>,
}

/// The requests that the trap catches.
struct Traps {
    set: Mutex<(Trap, Vec<u8>)>,
    left: AtomicU32,
    released: watch::Sender<bool>,
    weather: watch::Sender<Weather>,
}

impl Traps {
    /// Returns the trap for these bytes, and the place of the request in them.
    fn catch(&self, bytes: &[u8]) -> Option<(Trap, usize)> {
        if self.left.load(Ordering::SeqCst) == 0 {
            return None;
        }
        let set = self.set.lock().unwrap();
        let (trap, request) = &*set;
        let place = bytes
            .windows(request.len())
            .position(|found| found == &**request)?;
        let take = |left: u32| left.checked_sub(1);
        let hit = self
            .left
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, take);
        hit.ok().map(|_| (*trap, place))
    }
}

/// Returns a statement as it is sent: with the NUL that ends it.
pub const COMMIT: &str = "COMMIT\0";

/// A message of the simple query protocol (PostgreSQL manual, 55.7).
fn query(text: &str) -> Vec<u8> {
    let length = u32::try_from(text.len() + 5).unwrap().to_be_bytes();
    [b"Q", &length[..], text.as_bytes(), b"\0"].concat()
}

/// Replaces the statement that begins at `place` by a ROLLBACK.
fn rolled_back(bytes: &[u8], place: usize) -> Vec<u8> {
    let (start, length) = (place - 5, &bytes[place - 4..place]);
    assert_eq!(bytes[start], b'Q', "it is a simple query");
    let length = u32::from_be_bytes(length.try_into().unwrap());
    let end = start + 1 + usize::try_from(length).unwrap();
    [&bytes[..start], &query("ROLLBACK"), &bytes[end..]].concat()
}

impl Proxy {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let target = Arc::new(Mutex::new(String::new()));
        let (weather, seen) = watch::channel(Weather::Fair);
        let (cut, cuts) = watch::channel(0);
        let traps = Arc::new(Traps {
            set: Mutex::new((Trap::LoseAnswer, Vec::new())),
            left: AtomicU32::new(0),
            released: watch::Sender::new(false),
            weather: weather.clone(),
        });
        let proxy = Self {
            address,
            target: Arc::clone(&target),
            weather,
            cut,
            traps: Arc::clone(&traps),
        };
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let target = target.lock().unwrap().clone();
                let (seen, mut cuts) = (seen.clone(), cuts.clone());
                cuts.mark_unchanged();
                if *seen.borrow() == Weather::Away {
                    continue;
                }
                let traps = Arc::clone(&traps);
                let mut away = seen.clone();
                tokio::spawn(async move {
                    let Ok(server) = TcpStream::connect(target).await else {
                        return;
                    };
                    let _ = (client.set_nodelay(true), server.set_nodelay(true));
                    let ((from_client, to_client), (from_server, to_server)) =
                        (client.into_split(), server.into_split());
                    let caught = watch::Sender::new(None);
                    let requests = Direction::Requests(&traps, &caught);
                    let replies = Direction::Replies(&traps, &caught);
                    tokio::select! {
                        () = pass(from_client, to_server, seen.clone(), requests) => {}
                        () = pass(from_server, to_client, seen, replies) => {}
                        _ = cuts.changed() => {}
                        _ = away.wait_for(|weather| *weather == Weather::Away) => {}
                    }
                });
            }
        });
        proxy
    }

    pub fn point_at(&self, address: &str) {
        address.clone_into(&mut self.target.lock().unwrap());
    }

    pub fn set(&self, weather: Weather) {
        self.weather.send_replace(weather);
    }

    /// Closes all connections.
    pub fn cut(&self) {
        self.cut.send_modify(|cuts| *cuts += 1);
    }

    /// Sets a trap for the next `count` requests that hold these bytes, in place of any other.
    pub fn set_trap(&self, trap: Trap, request: &str, count: u32) {
        *self.traps.set.lock().unwrap() = (trap, request.as_bytes().to_vec());
        self.traps.released.send_replace(false);
        self.traps.left.store(count, Ordering::SeqCst);
    }

    /// Lets the server carry out the next `count` requests that hold these bytes, and closes their connections before
    /// the answers pass.
    pub fn lose_answers_to(&self, request: &str, count: u32) {
        self.set_trap(Trap::LoseAnswer, request, count);
    }

    /// Returns the number of requests that are still to come.
    pub fn answers_to_lose(&self) -> u32 {
        self.traps.left.load(Ordering::SeqCst)
    }

    /// Releases the answers that are held.
    pub fn release(&self) {
        self.traps.released.send_replace(true);
    }
}

enum Direction<'a> {
    Requests(&'a Traps, &'a watch::Sender<Option<Trap>>),
    Replies(&'a Traps, &'a watch::Sender<Option<Trap>>),
}

/// Copies bytes until either side closes. Closing one direction closes both: an abrupt end.
async fn pass(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut weather: watch::Receiver<Weather>,
    direction: Direction<'_>,
) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        let Ok(now) = weather
            .wait_for(|weather| *weather != Weather::Stalled)
            .await
            .map(|weather| *weather)
        else {
            return;
        };
        let mut bytes = buffer[..count].to_vec();
        match &direction {
            Direction::Requests(traps, caught) => match traps.catch(&bytes) {
                None => {}
                Some((Trap::Vanish, _)) => return,
                Some((Trap::RollBack, place)) => bytes = rolled_back(&bytes, place),
                Some((trap, _)) => drop(caught.send_replace(Some(trap))),
            },
            Direction::Replies(traps, caught) => {
                let trap = *caught.borrow();
                match trap {
                    Some(Trap::LoseAnswer) => return,
                    Some(Trap::HoldAnswer) => {
                        let mut released = traps.released.subscribe();
                        let _ = released.wait_for(|released| *released).await;
                        caught.send_replace(None);
                    }
                    Some(Trap::GoAway(time)) => {
                        let weather = traps.weather.clone();
                        tokio::spawn(async move {
                            weather.send_replace(Weather::Away);
                            tokio::time::sleep(time).await;
                            weather.send_replace(Weather::Fair);
                        });
                        return;
                    }
                    Some(Trap::Vanish | Trap::RollBack) | None => {}
                }
                match now {
                    Weather::RepliesLost => continue,
                    Weather::Garbled => bytes.iter_mut().for_each(|byte| *byte = !*byte),
                    Weather::Fair | Weather::Stalled | Weather::Sliced | Weather::Away => {}
                }
            }
        }
        let slice = if now == Weather::Sliced {
            7
        } else {
            bytes.len()
        };
        for piece in bytes.chunks(slice) {
            if to.write_all(piece).await.is_err() {
                return;
            }
        }
    }
}
