//! Long answers, made part by part while the client takes them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::{self, BoxFuture};
use futures_util::stream::{self, BoxStream};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::error::{Error, Result};
use crate::write::Budget;

/// The time that a client has to take a part of a list.
const SEND_LIMIT: Duration = Duration::from_secs(20);

/// Sends the parts of a list to the client.
pub(crate) struct ListSender<T>(mpsc::Sender<Result<T>>);

impl<T> Clone for ListSender<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> ListSender<T> {
    /// Sends a part, as soon as the client has taken the one before.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`](crate::error::ErrorKind::Unavailable) when the client takes no part for a while.
    pub(crate) async fn send(&self, part: T) -> Result<()> {
        self.send_outcome(Ok(part)).await
    }

    async fn send_outcome(&self, outcome: Result<T>) -> Result<()> {
        let sent = timeout(SEND_LIMIT, self.0.send(outcome)).await;
        sent.map_err(|_| not_taken())?.map_err(|_| not_taken())
    }
}

/// Runs `make`, which sends the parts of a list, and returns these as a stream. An error of `make` ends the list.
/// Waits for the memory of a list before.
///
/// # Errors
/// An error of `make` before the first part.
pub(crate) async fn listed<T: Send + 'static>(
    budget: &Budget,
    make: impl FnOnce(ListSender<T>) -> BoxFuture<'static, Result<()>>,
) -> Result<BoxStream<'static, Result<T>>> {
    let share = budget.list().await;
    // A client that stops to read must not keep the memory, so a task of its own watches the time.
    let (sender, receiver) = mpsc::channel(1);
    let sender = ListSender(sender);
    let slow = Arc::new(AtomicBool::new(false));
    let is_slow = Arc::clone(&slow);
    let making = make(sender.clone());
    tokio::spawn(async move {
        let _share = share;
        if let Err(error) = making.await
            && sender.send_outcome(Err(error)).await.is_err()
        {
            is_slow.store(true, Ordering::Relaxed);
        }
    });
    let items = stream::unfold(receiver, |mut receiver| async {
        let item = receiver.recv().await?;
        Some((item, receiver))
    });
    let end = stream::once(async move { slow.load(Ordering::Relaxed) });
    let end = end.filter_map(async |is_slow| is_slow.then(|| Err(not_taken())));
    let mut items = items.boxed();
    match items.next().await {
        None => Ok(end.boxed()),
        Some(first) => Ok(stream::once(future::ready(Ok(first?)))
            .chain(items)
            .chain(end)
            .boxed()),
    }
}

fn not_taken() -> Error {
    Error::unavailable(format!(
        "the client took no table of the list for {} s",
        SEND_LIMIT.as_secs()
    ))
    .with_hint("read the list at once")
}
