//! A TCP proxy between clients and a server: passes everything on until it is told otherwise.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What happens to bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weather {
    /// They pass.
    Fair,
    /// They wait.
    Stalled,
    /// Those of the server are thrown away: it works, and nobody hears of it.
    RepliesLost,
}

pub struct Proxy {
    pub address: String,
    target: Arc<Mutex<String>>,
    weather: watch::Sender<Weather>,
    cut: watch::Sender<u64>,
}

impl Proxy {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let target = Arc::new(Mutex::new(String::new()));
        let (weather, seen) = watch::channel(Weather::Fair);
        let (cut, cuts) = watch::channel(0);
        let proxy = Self {
            address,
            target: Arc::clone(&target),
            weather,
            cut,
        };
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let target = target.lock().unwrap().clone();
                let (seen, mut cuts) = (seen.clone(), cuts.clone());
                cuts.mark_unchanged();
                tokio::spawn(async move {
                    let Ok(server) = TcpStream::connect(target).await else {
                        return;
                    };
                    let _ = (client.set_nodelay(true), server.set_nodelay(true));
                    let ((from_client, to_client), (from_server, to_server)) =
                        (client.into_split(), server.into_split());
                    tokio::select! {
                        () = pass(from_client, to_server, seen.clone(), false) => {}
                        () = pass(from_server, to_client, seen, true) => {}
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
}

/// Copies bytes until either side closes. Closing one direction closes both: an abrupt end.
async fn pass(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut weather: watch::Receiver<Weather>,
    replies: bool,
) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        if weather
            .wait_for(|weather| *weather != Weather::Stalled)
            .await
            .is_err()
        {
            return;
        }
        if replies && *weather.borrow() == Weather::RepliesLost {
            continue;
        }
        if to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}
