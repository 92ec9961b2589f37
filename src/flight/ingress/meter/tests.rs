use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::Frame;
use tokio::sync::watch;
use tonic::body::Body;
use tonic::{Code, Status};

use super::{Inbox, Meter, MeteredBody};
use crate::flight::limits::CallLimits;
use crate::metrics::Metrics;
use crate::write::{Budget, BudgetConfig};

/// A body whose client sends these frames, and END_STREAM or not.
struct Sent {
    frames: VecDeque<Result<Bytes, Status>>,
    ends: bool,
}

impl http_body::Body for Sent {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let next = self.frames.pop_front();
        Poll::Ready(next.map(|frame| frame.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.ends && self.frames.is_empty()
    }
}

fn meter() -> Meter {
    let budget = BudgetConfig {
        memory_limit: 256 << 20,
        max_message_bytes: 1 << 20,
        max_copies: 1,
        max_connections: 1,
    };
    let second = Duration::from_secs(1);
    Meter {
        budget: Budget::new(&budget).unwrap(),
        max_message_bytes: 1 << 20,
        call_limits: watch::Sender::new(CallLimits {
            idle_timeout: second,
            stream_timeout: second,
            stream_wait: second,
            max_connections: 1,
            max_connections_per_peer: 1,
            drain_timeout: second,
            heartbeat_interval: second,
        }),
        metrics: Metrics::default(),
    }
}

/// hyper shows RST_STREAM with NO_ERROR as the end of the body, and tonic shows CANCELLED as the end of the messages.
#[tokio::test]
async fn a_stream_that_is_reset_does_not_end() {
    let message = || Ok(Bytes::from_static(&[0, 0, 0, 0, 1, 7]));
    let cases = [
        (vec![message()], true, None),
        (vec![message()], false, Some(Code::Aborted)),
        (
            vec![message(), Err(Status::cancelled("RST_STREAM"))],
            false,
            Some(Code::Aborted),
        ),
    ];
    for (frames, ends, expected) in cases {
        let what = format!("{frames:?}, END_STREAM: {ends}");
        let meter = meter();
        let inbox = Inbox::new(&meter.metrics);
        let body = Body::new(Sent {
            frames: frames.into(),
            ends,
        });
        let mut body = MeteredBody::new(body, meter, Some(inbox.clone()), None);
        let mut next = async || {
            std::future::poll_fn(|cx| http_body::Body::poll_frame(Pin::new(&mut body), cx)).await
        };
        assert!(next().await.unwrap().is_ok(), "{what}: the message");
        drop(inbox.delivery().take());
        let end = next().await.map(|end| end.expect_err(&what).code());
        assert_eq!(end, expected, "{what}");
    }
}
