//! Requests to the monitoring port.

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub struct Answer {
    pub code: u16,
    /// The head of the answer in lower case.
    pub head: String,
    pub body: String,
}

pub async fn get(address: &str, path: &str) -> Answer {
    request(address, "GET", path).await
}

pub async fn request(address: &str, method: &str, path: &str) -> Answer {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    Answer {
        code: head.split(' ').nth(1).unwrap().parse().unwrap(),
        head: head.to_ascii_lowercase(),
        body: body.to_owned(),
    }
}

/// Reads the status.
pub async fn status(address: &str) -> Value {
    serde_json::from_str(&get(address, "/status.json").await.body).unwrap()
}

/// Reads the value of a metric, named as in the text: `pgflight_streams_total{outcome="succeeded"}`.
pub async fn metric(address: &str, name: &str) -> f64 {
    let text = get(address, "/metrics").await.body;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name} in {text}"))
        .parse()
        .unwrap()
}
