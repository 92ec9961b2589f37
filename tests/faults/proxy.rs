//! A TCP proxy between two processes: passes everything on until it is told otherwise.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What happens to bytes. Who connects is the client, who is connected to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weather {
    /// They pass.
    Fair,
    /// They wait.
    Stalled,
    /// Those of the server are thrown away: it works, and nobody hears of it.
    RepliesLost,
    /// They pass a few at a time.
    Sliced,
    /// Those of the server arrive as something else.
    Garbled,
}

pub struct Proxy {
    pub address: String,
    target: Arc<Mutex<String>>,
    weather: watch::Sender<Weather>,
    cut: watch::Sender<u64>,
    loss: Arc<Loss>,
}

/// Requests whose answers are lost.
#[derive(Default)]
struct Loss {
    request: Mutex<Vec<u8>>,
    left: AtomicU32,
}

impl Loss {
    /// Whether these bytes are such a request, and one of those still to be hit.
    fn hits(&self, bytes: &[u8]) -> bool {
        if self.left.load(Ordering::SeqCst) == 0 {
            return false;
        }
        let request = self.request.lock().unwrap();
        bytes
            .windows(request.len())
            .any(|found| found == &**request)
            && self
                .left
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
                    left.checked_sub(1)
                })
                .is_ok()
    }
}

impl Proxy {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let target = Arc::new(Mutex::new(String::new()));
        let (weather, seen) = watch::channel(Weather::Fair);
        let (cut, cuts) = watch::channel(0);
        let loss = Arc::new(Loss::default());
        let proxy = Self {
            address,
            target: Arc::clone(&target),
            weather,
            cut,
            loss: Arc::clone(&loss),
        };
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let target = target.lock().unwrap().clone();
                let (seen, mut cuts) = (seen.clone(), cuts.clone());
                cuts.mark_unchanged();
                let loss = Arc::clone(&loss);
                tokio::spawn(async move {
                    let Ok(server) = TcpStream::connect(target).await else {
                        return;
                    };
                    let _ = (client.set_nodelay(true), server.set_nodelay(true));
                    let ((from_client, to_client), (from_server, to_server)) =
                        (client.into_split(), server.into_split());
                    let doomed = AtomicBool::new(false);
                    let requests = Direction::Requests(&loss, &doomed);
                    tokio::select! {
                        () = pass(from_client, to_server, seen.clone(), requests) => {}
                        () = pass(from_server, to_client, seen, Direction::Replies(&doomed)) => {}
                        _ = cuts.changed() => {}
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

    /// Lets the next `count` requests that hold these bytes be carried out, and closes their connections
    /// before the answers get through.
    pub fn lose_answers_to(&self, request: &str, count: u32) {
        *self.loss.request.lock().unwrap() = request.as_bytes().to_vec();
        self.loss.left.store(count, Ordering::SeqCst);
    }

    /// How many of those are still to come.
    pub fn answers_to_lose(&self) -> u32 {
        self.loss.left.load(Ordering::SeqCst)
    }
}

enum Direction<'a> {
    Requests(&'a Loss, &'a AtomicBool),
    Replies(&'a AtomicBool),
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
        let bytes = &mut buffer[..count];
        match &direction {
            Direction::Requests(loss, doomed) if loss.hits(bytes) => {
                doomed.store(true, Ordering::SeqCst);
            }
            Direction::Requests(..) => {}
            Direction::Replies(doomed) if doomed.load(Ordering::SeqCst) => return,
            Direction::Replies(_) if now == Weather::RepliesLost => continue,
            Direction::Replies(_) if now == Weather::Garbled => {
                bytes.iter_mut().for_each(|byte| *byte = !*byte);
            }
            Direction::Replies(_) => {}
        }
        let slice = if now == Weather::Sliced { 7 } else { count };
        for piece in bytes.chunks(slice) {
            if to.write_all(piece).await.is_err() {
                return;
            }
        }
    }
}
