//! Bodies: one that is being filled while several read it, and slices of one that is stored. Not for deciding what
//! is stored; see `fill`.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use axum::body::Body;
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};

type Failure = axum::Error;

/// A stored body.
#[derive(Debug, Default)]
pub(crate) struct Content {
    pub chunks: Vec<Bytes>,
    pub length: u64,
}

impl Content {
    /// Copies chunks into memory of just their size: they may be slices of larger buffers.
    pub(crate) fn gather(chunks: &[Bytes], length: u64) -> Self {
        const ONE_PIECE: u64 = 256 << 10;
        if length <= ONE_PIECE {
            let mut whole = Vec::with_capacity(length as usize);
            chunks.iter().for_each(|chunk| whole.extend_from_slice(chunk));
            let chunks = if whole.is_empty() { Vec::new() } else { vec![Bytes::from(whole)] };
            return Self { chunks, length };
        }
        Self { chunks: chunks.iter().map(|chunk| Bytes::copy_from_slice(chunk)).collect(), length }
    }

    /// Returns the chunks of a part.
    pub(crate) fn slice(&self, first: u64, length: u64) -> Vec<Bytes> {
        let (mut skip, mut left) = (first, length);
        let mut chunks = Vec::new();
        for chunk in &self.chunks {
            let size = chunk.len() as u64;
            if skip >= size {
                skip -= size;
                continue;
            }
            let take = (size - skip).min(left);
            if take == 0 {
                break;
            }
            chunks.push(chunk.slice(skip as usize..(skip + take) as usize));
            (skip, left) = (0, left - take);
        }
        chunks
    }

    /// Returns a body of a part, or of all.
    pub(crate) fn body(&self, first: u64, length: u64) -> Body {
        match self.chunks.as_slice() {
            _ if length == 0 => Body::empty(),
            [only] if length == self.length => Body::from(only.clone()),
            _ => Body::new(Pieces { chunks: self.slice(first, length).into_iter(), left: length }),
        }
    }
}

struct Pieces {
    chunks: std::vec::IntoIter<Bytes>,
    left: u64,
}

impl HttpBody for Pieces {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        let chunk = self.chunks.next();
        self.left -= chunk.as_ref().map_or(0, |chunk| chunk.len() as u64);
        Poll::Ready(chunk.map(|chunk| Ok(Frame::data(chunk))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

/// A body that is being filled.
pub(crate) struct Filling {
    state: Mutex<State>,
    /// What Content-Length says.
    expected: Option<u64>,
}

#[derive(Default)]
struct State {
    chunks: Vec<Bytes>,
    length: u64,
    end: End,
    wakers: Vec<Waker>,
}

#[derive(Default)]
enum End {
    #[default]
    Open,
    Whole,
    Broken,
    /// Too large to keep: the first reader takes the rest from the origin itself.
    Rest(Option<Body>),
}

impl Filling {
    pub(crate) fn new(expected: Option<u64>) -> Arc<Self> {
        Arc::new(Self { state: Mutex::default(), expected })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a chunk and returns the length so far.
    pub(crate) fn push(&self, chunk: Bytes) -> u64 {
        let mut state = self.state();
        state.length += chunk.len() as u64;
        state.chunks.push(chunk);
        let length = state.length;
        wake(state);
        length
    }

    /// Returns what is there so far.
    pub(crate) fn gather(&self, last: Option<&Bytes>) -> Content {
        let state = self.state();
        match last {
            None => Content::gather(&state.chunks, state.length),
            Some(last) => {
                let mut chunks = state.chunks.clone();
                chunks.push(last.clone());
                Content::gather(&chunks, state.length + last.len() as u64)
            }
        }
    }

    pub(crate) fn end(&self, whole: bool) {
        let mut state = self.state();
        state.end = if whole { End::Whole } else { End::Broken };
        wake(state);
    }

    /// Ends it as broken, unless it has ended.
    pub(crate) fn abandon(&self) {
        let mut state = self.state();
        if matches!(state.end, End::Open) {
            state.end = End::Broken;
            wake(state);
        }
    }

    pub(crate) fn hand_over(&self, rest: Body) {
        let mut state = self.state();
        state.end = End::Rest(Some(rest));
        wake(state);
    }

    /// Returns a body that reads from the beginning; only the first reader may `own` what is too large.
    pub(crate) fn read(self: &Arc<Self>, owns: bool) -> Body {
        Body::new(Reader { filling: self.clone(), next: 0, given: 0, owns, rest: None })
    }
}

fn wake(mut state: MutexGuard<'_, State>) {
    let wakers = std::mem::take(&mut state.wakers);
    drop(state);
    wakers.into_iter().for_each(Waker::wake);
}

struct Reader {
    filling: Arc<Filling>,
    next: usize,
    given: u64,
    owns: bool,
    rest: Option<Body>,
}

impl Reader {
    fn broken() -> Failure {
        Failure::new(std::io::Error::new(std::io::ErrorKind::UnexpectedEof, "the origin's answer broke off"))
    }
}

impl HttpBody for Reader {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        let this = &mut *self;
        if let Some(rest) = &mut this.rest {
            return Pin::new(rest).poll_frame(context);
        }
        let mut state = this.filling.state();
        if let Some(chunk) = state.chunks.get(this.next).cloned() {
            this.next += 1;
            this.given += chunk.len() as u64;
            return Poll::Ready(Some(Ok(Frame::data(chunk))));
        }
        match &mut state.end {
            End::Whole => Poll::Ready(None),
            End::Broken => Poll::Ready(Some(Err(Self::broken()))),
            End::Rest(rest) => match if this.owns { rest.take() } else { None } {
                None => Poll::Ready(Some(Err(Self::broken()))),
                Some(mut rest) => {
                    // Everything before has been given; nobody needs it any more.
                    state.chunks.clear();
                    drop(state);
                    let polled = Pin::new(&mut rest).poll_frame(context);
                    this.rest = Some(rest);
                    polled
                }
            },
            End::Open => {
                if !state.wakers.iter().any(|waker| waker.will_wake(context.waker())) {
                    state.wakers.push(context.waker().clone());
                }
                Poll::Pending
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.rest {
            Some(rest) => rest.is_end_stream(),
            None => {
                let state = self.filling.state();
                matches!(state.end, End::Whole) && self.next >= state.chunks.len()
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        match (self.filling.expected, &self.rest) {
            (Some(expected), None) => SizeHint::with_exact(expected.saturating_sub(self.given)),
            (_, Some(rest)) => rest.size_hint(),
            (None, None) => SizeHint::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    #[test]
    fn a_slice_crosses_chunks() {
        let content = Content { chunks: vec![Bytes::from("abc"), Bytes::from("def"), Bytes::from("g")], length: 7 };
        for (first, length) in [(0, 7), (1, 3), (2, 5), (6, 1), (3, 3), (0, 0)] {
            let text: Vec<u8> = content.slice(first, length).concat();
            assert_eq!(text, b"abcdefg"[first as usize..(first + length) as usize], "{first} {length}");
        }
    }

    #[tokio::test]
    async fn several_read_while_it_is_filled() {
        let filling = Filling::new(None);
        filling.push(Bytes::from("a"));
        let readers: Vec<_> = (0..3).map(|_| tokio::spawn(filling.read(false).collect())).collect();
        tokio::task::yield_now().await;
        filling.push(Bytes::from("b"));
        filling.end(true);
        for reader in readers {
            assert_eq!(reader.await.unwrap().unwrap().to_bytes(), "ab");
        }
        let broken = Filling::new(Some(5));
        broken.push(Bytes::from("a"));
        broken.end(false);
        assert!(broken.read(true).collect().await.is_err(), "a truncated body is an error, not an end");
    }

    #[tokio::test]
    async fn the_owner_goes_on_with_what_is_too_large() {
        let filling = Filling::new(None);
        filling.push(Bytes::from("a"));
        let (owner, other) = (filling.read(true), filling.read(false));
        filling.hand_over(Body::from("bc"));
        assert_eq!(owner.collect().await.unwrap().to_bytes(), "abc");
        assert!(other.collect().await.is_err());
    }
}
