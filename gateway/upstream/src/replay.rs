//! Keeps the first bytes of a request's body while they stream, so that another attempt can send them
//! again and then go on with the rest (Linkerd's way). Longer bodies are not kept, and so not retried. Not
//! for deciding whether to retry.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use axum::body::Body;
use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame, SizeHint};

/// A body that can be sent several times, one at a time.
#[derive(Clone)]
pub(crate) struct Replay(Arc<Mutex<Kept>>);

struct Kept {
    rest: Body,
    frames: Vec<Bytes>,
    trailers: Option<HeaderMap>,
    bytes: usize,
    limit: usize,
    /// More came than is kept, or the client broke off.
    lost: bool,
    /// Whether anything of it was read.
    touched: bool,
    ended: bool,
    /// Which attempt has the right to read; the connection of one before may still be there.
    turn: u64,
    size: SizeHint,
}

/// One sending of a kept body.
pub(crate) struct Replayed {
    kept: Arc<Mutex<Kept>>,
    turn: u64,
    next: usize,
    trailers_sent: bool,
    finished: bool,
}

fn lock(kept: &Mutex<Kept>) -> MutexGuard<'_, Kept> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Replay {
    pub(crate) fn new(body: Body, limit: usize) -> Self {
        let size = body.size_hint();
        // What is known to be too long is not kept at all.
        let lost = size.lower() > limit as u64;
        let kept = Kept {
            rest: body,
            frames: Vec::new(),
            trailers: None,
            bytes: 0,
            limit,
            lost,
            touched: false,
            ended: false,
            turn: 0,
            size,
        };
        Self(Arc::new(Mutex::new(kept)))
    }

    /// Says whether it can be sent again.
    pub(crate) fn can_repeat(&self) -> bool {
        let kept = lock(&self.0);
        !(kept.lost && kept.touched)
    }

    /// Starts a sending; one that was started before gets nothing more.
    pub(crate) fn start(&self) -> Replayed {
        let mut kept = lock(&self.0);
        kept.turn += 1;
        Replayed { kept: self.0.clone(), turn: kept.turn, next: 0, trailers_sent: false, finished: false }
    }
}

impl Replayed {
    pub(crate) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let mut kept = lock(&self.kept);
        if kept.turn != self.turn {
            return Poll::Ready(Some(Err(axum::Error::new(std::io::Error::other("another attempt took over")))));
        }
        if let Some(frame) = kept.frames.get(self.next) {
            let frame = frame.clone();
            self.next += 1;
            self.finished = kept.ended && kept.trailers.is_none() && self.next == kept.frames.len();
            return Poll::Ready(Some(Ok(Frame::data(frame))));
        }
        if kept.ended {
            self.finished = true;
            if let Some(trailers) = kept.trailers.as_ref().filter(|_| !self.trailers_sent) {
                self.trailers_sent = true;
                return Poll::Ready(Some(Ok(Frame::trailers(trailers.clone()))));
            }
            return Poll::Ready(None);
        }
        let polled = Pin::new(&mut kept.rest).poll_frame(cx);
        match &polled {
            Poll::Pending => return polled,
            Poll::Ready(_) => kept.touched = true,
        }
        match &polled {
            Poll::Pending => {}
            Poll::Ready(None) => kept.ended = true,
            Poll::Ready(Some(Err(_))) => kept.lost = true,
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(data) = frame.data_ref() {
                    kept.bytes += data.len();
                    if kept.lost || kept.bytes > kept.limit {
                        kept.lost = true;
                        kept.frames = Vec::new();
                        self.next = 0;
                    } else {
                        kept.frames.push(data.clone());
                        self.next += 1;
                    }
                    kept.ended = kept.rest.is_end_stream();
                } else if let Some(trailers) = frame.trailers_ref() {
                    kept.trailers = Some(trailers.clone());
                    self.trailers_sent = true;
                    kept.ended = true;
                }
            }
        }
        self.finished = kept.ended;
        polled
    }

    pub(crate) fn is_end_stream(&self) -> bool {
        self.finished
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        lock(&self.kept).size
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use futures_util::stream;
    use http_body_util::{BodyExt as _, StreamBody};

    use super::*;

    fn body<const N: usize>(parts: [&'static str; N]) -> Body {
        Body::from_stream(stream::iter(parts.map(Ok::<_, std::io::Error>)))
    }

    async fn read(replayed: &mut Replayed, most: usize) -> String {
        let mut text = String::new();
        for _ in 0..most {
            match poll_fn(|cx| replayed.poll_frame(cx)).await {
                Some(Ok(frame)) => text.push_str(std::str::from_utf8(frame.data_ref().expect("data")).expect("text")),
                Some(Err(error)) => panic!("{error}"),
                None => break,
            }
        }
        text
    }

    #[tokio::test]
    async fn a_second_sending_has_all_of_it_from_the_start() {
        let replay = Replay::new(body(["one ", "two ", "three"]), 100);
        let mut first = replay.start();
        assert_eq!(read(&mut first, 2).await, "one two ");
        let mut second = replay.start();
        assert!(poll_fn(|cx| first.poll_frame(cx)).await.expect("an end").is_err(), "its turn is over");
        assert_eq!(read(&mut second, 9).await, "one two three");
        assert!(second.is_end_stream());
        assert_eq!(read(&mut replay.start(), 9).await, "one two three");
    }

    #[tokio::test]
    async fn what_is_too_long_is_sent_once() {
        let replay = Replay::new(body(["0123456789", "0123456789", "end"]), 15);
        assert!(replay.can_repeat());
        let mut first = replay.start();
        assert_eq!(read(&mut first, 9).await, "01234567890123456789end");
        assert!(!replay.can_repeat());
        let known = Replay::new(Body::from("0123456789"), 5);
        assert!(known.can_repeat(), "nothing of it was read");
        assert_eq!(read(&mut known.start(), 1).await, "0123456789");
        assert!(!known.can_repeat());
    }

    #[tokio::test]
    async fn trailers_are_kept() {
        let trailers: HeaderMap = [(http::header::ETAG, http::HeaderValue::from_static("x"))].into_iter().collect();
        let frames = vec![Ok::<_, std::io::Error>(Frame::data(Bytes::from("a"))), Ok(Frame::trailers(trailers))];
        let replay = Replay::new(Body::new(StreamBody::new(stream::iter(frames)).boxed_unsync()), 100);
        for _ in 0..2 {
            let mut sending = replay.start();
            assert!(poll_fn(|cx| sending.poll_frame(cx)).await.expect("data").expect("data").is_data());
            assert!(poll_fn(|cx| sending.poll_frame(cx)).await.expect("trailers").expect("trailers").is_trailers());
            assert!(poll_fn(|cx| sending.poll_frame(cx)).await.is_none());
        }
    }
}
