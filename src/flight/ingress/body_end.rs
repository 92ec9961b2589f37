//! The end of a request's body: whether the client ended it, or the call was cut off.

use bytes::Bytes;
use http_body::{Body as _, Frame};
use tonic::Status;
use tonic::body::Body;

/// The last item of a body that has no more data: its trailers, an error, or its end.
pub(crate) type BodyEnd = Option<Result<Frame<Bytes>, Status>>;

/// Returns the end of a body that the client may have cut off, as an error unless the client has sent END_STREAM
/// (RFC 9113, 5.1).
///
/// A client that is cancelled, or whose deadline passes, sends RST_STREAM. hyper shows the reason NO_ERROR as the end
/// of the body (`body/incoming.rs`), and tonic shows CANCEL as the end of the messages (`codec/decode.rs`). A stream
/// of rows must not take either for its end, so both become an error that tonic passes on.
pub(crate) fn proven_end(body: &Body, end: BodyEnd) -> BodyEnd {
    match end {
        None if !body.is_end_stream() => Some(Err(cut_off("the client reset the call"))),
        Some(Err(status)) => Some(Err(cut_off(status.message()))),
        end => end,
    }
}

/// Returns the status of a call that was cut off. Its code is not CANCELLED, which tonic hides.
fn cut_off(reason: &str) -> Status {
    Status::aborted(format!(
        "the call was cut off before the client ended it: {reason}"
    ))
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use bytes::Bytes;
    use http_body::Frame;
    use tonic::body::Body;
    use tonic::{Code, Status};

    use super::proven_end;

    /// A body without data, whose sender has sent END_STREAM or not.
    struct Ending {
        is_end_stream: bool,
    }

    impl http_body::Body for Ending {
        type Data = Bytes;
        type Error = Status;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
            Poll::Ready(None)
        }

        fn is_end_stream(&self) -> bool {
            self.is_end_stream
        }
    }

    #[test]
    fn only_end_stream_ends_a_body() {
        let body = |is_end_stream| Body::new(Ending { is_end_stream });
        assert!(proven_end(&body(true), None).is_none());
        let ends = [
            (false, None),
            (false, Some(Err(Status::cancelled("RST_STREAM")))),
            (false, Some(Err(Status::unknown("the connection broke")))),
        ];
        for (is_end_stream, end) in ends {
            let end = proven_end(&body(is_end_stream), end);
            let error = end.expect("not the end").expect_err("an error");
            assert_eq!(error.code(), Code::Aborted, "{error}");
        }
    }
}
