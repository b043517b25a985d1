//! Sends an event stream over a socket that hyper has let go: the head as hyper writes it, the body in
//! chunks, and the end of the connection. While nothing is sent it holds no buffer. Not for deciding
//! which answers are sent so; `detach` does.

use std::future::Future;
use std::io::{self, Write as _};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use axum::response::Response;
use http::header::{CONNECTION, DATE};
use http::{HeaderMap, HeaderValue};
use http_body::Body as _;
use kernel::{Clock, Timestamp};
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};

use crate::wire::Wire;

/// How much is taken from the body before it is sent; a slow client costs that and one frame.
const BATCH: usize = 4 * 1024;
/// How much a client may send that nobody will answer.
const UNASKED: usize = 16 * 1024;

/// An event stream on its way; ends when the body ends, the client goes away or the socket fails.
pub(crate) struct EventStream<G> {
    stream: Wire,
    body: Body,
    /// What has been taken from the body, and how much of it the socket has.
    taken: Vec<u8>,
    sent: usize,
    /// How much the client has sent meanwhile.
    unasked: usize,
    /// How the body ended.
    end: Option<io::Result<()>>,
    _open: G,
}

impl<G> EventStream<G> {
    /// Begins with the answer's head. `open` is dropped at the end.
    pub(crate) fn new(stream: Wire, answer: Response, open: G) -> Self {
        let (mut parts, body) = answer.into_parts();
        parts.headers.insert(CONNECTION, HeaderValue::from_static("close"));
        let taken = head(&parts.headers, Clock::system().now());
        Self { stream, body, taken, sent: 0, unasked: 0, end: None, _open: open }
    }

    /// Ready when the client has gone away, or talks too much.
    fn poll_gone(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut room = [0; 256];
        loop {
            let mut read = ReadBuf::new(&mut room);
            ready!(Pin::new(&mut self.stream).poll_read(context, &mut read))?;
            self.unasked += read.filled().len();
            if read.filled().is_empty() || self.unasked > UNASKED {
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// Takes frames until there is no more for now, and says so with `false`, or enough.
    fn take(&mut self, context: &mut Context<'_>) -> bool {
        while self.taken.len() < BATCH {
            match Pin::new(&mut self.body).poll_frame(context) {
                Poll::Pending => return false,
                Poll::Ready(Some(Ok(frame))) => {
                    // Trailers were not announced, and so are not sent.
                    if let Ok(data) = frame.into_data() {
                        chunk(&mut self.taken, &data);
                    }
                }
                // What came before is sent, and the last chunk is not: the client sees that something is missing.
                Poll::Ready(Some(Err(error))) => {
                    self.end = Some(Err(io::Error::other(error)));
                    return false;
                }
                Poll::Ready(None) => {
                    self.taken.extend_from_slice(b"0\r\n\r\n");
                    self.end = Some(Ok(()));
                    return false;
                }
            }
        }
        true
    }

    fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.sent < self.taken.len() {
            match ready!(Pin::new(&mut self.stream).poll_write(context, &self.taken[self.sent..]))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                sent => self.sent += sent,
            }
        }
        (self.taken, self.sent) = (Vec::new(), 0);
        // A session of TLS may hold what it has sealed.
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_stream(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Poll::Ready(gone) = self.poll_gone(context) {
            return Poll::Ready(gone);
        }
        loop {
            let more = self.end.is_none() && self.take(context);
            ready!(self.poll_send(context))?;
            if let Some(end) = self.end.take() {
                end?;
                return Pin::new(&mut self.stream).poll_shutdown(context);
            }
            if !more {
                return Poll::Pending;
            }
        }
    }
}

impl<G: Unpin> Future for EventStream<G> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if let Err(error) = ready!(self.poll_stream(context)) {
            tracing::debug!(error = %error, "an event stream ended with an error");
        }
        Poll::Ready(())
    }
}

/// Returns the head of a 200, as hyper writes it.
fn head(headers: &HeaderMap, now: Timestamp) -> Vec<u8> {
    let mut head = Vec::with_capacity(512);
    head.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
    for (name, value) in headers {
        // Neither can hold the end of a line: their types see to that.
        line(&mut head, name.as_str(), value.as_bytes());
    }
    line(&mut head, "transfer-encoding", b"chunked");
    if !headers.contains_key(DATE)
        && let Some(date) = date(now)
    {
        line(&mut head, "date", date.as_bytes());
    }
    head.extend_from_slice(b"\r\n");
    head
}

fn line(head: &mut Vec<u8>, name: &str, value: &[u8]) {
    for part in [name.as_bytes(), b": ", value, b"\r\n"] {
        head.extend_from_slice(part);
    }
}

fn date(now: Timestamp) -> Option<String> {
    let now = jiff::Timestamp::from_microsecond(now.0).ok()?;
    jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&now).ok()
}

/// Adds a chunk; an empty one would be the end of the body.
fn chunk(taken: &mut Vec<u8>, data: &[u8]) {
    if !data.is_empty() {
        taken.reserve(data.len() + 20);
        write!(taken, "{:X}\r\n", data.len()).expect("a vector takes all");
        taken.extend_from_slice(data);
        taken.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_has_each_header_and_one_date() {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", HeaderValue::from_static("text/event-stream"));
        headers.append("x-two", HeaderValue::from_static("1"));
        headers.append("x-two", HeaderValue::from_static("2"));
        let now = Timestamp::parse("2026-11-01T08:00:00.999999Z").expect("a time");
        let lines = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nx-two: 1\r\nx-two: 2\r\n\
                     transfer-encoding: chunked\r\n";
        let expected = format!("{lines}date: Sun, 01 Nov 2026 08:00:00 GMT\r\n\r\n");
        assert_eq!(String::from_utf8(head(&headers, now)).expect("text"), expected);
        headers.insert(DATE, HeaderValue::from_static("Thu, 01 Jan 1970 00:00:00 GMT"));
        let text = String::from_utf8(head(&headers, now)).expect("text");
        assert_eq!((text.matches("date: ").count(), text.matches("1970").count()), (1, 1));
    }

    #[test]
    fn a_chunk_says_its_size_and_an_empty_one_is_left_out() {
        let mut taken = Vec::new();
        chunk(&mut taken, b"");
        assert!(taken.is_empty());
        chunk(&mut taken, &[b'a'; 26]);
        assert_eq!(taken, [b"1A\r\n".as_slice(), &[b'a'; 26], b"\r\n"].concat());
    }
}
