//! Keeps the bytes of a request's head as a connection gets them, so that a safe request that met a dead
//! pooled connection can be made again. Copying bytes once costs a tenth of copying a map of headers. Not
//! for bodies.

use std::io::IoSlice;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use http::{HeaderName, HeaderValue, Method, Request, Uri};

use crate::outgoing::Outgoing;

/// A longer head is not kept.
const LONGEST: usize = 64 * 1024;

/// What one connection was given to write since it was last asked to keep that.
#[derive(Debug, Default)]
pub(crate) struct Sent {
    keeps: AtomicBool,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    bytes: Vec<u8>,
    /// How many of them were written; the others may be offered again.
    written: usize,
}

impl Sent {
    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts to keep the head of a request, or stops to.
    pub(crate) fn keep(&self, keeps: bool) {
        if keeps {
            let mut kept = self.lock();
            kept.bytes.clear();
            kept.written = 0;
        }
        self.keeps.store(keeps, Ordering::Relaxed);
    }

    /// Notes what was offered for writing and how many bytes of it were taken.
    pub(crate) fn note(&self, parts: &[IoSlice<'_>], written: usize) {
        if !self.keeps.load(Ordering::Relaxed) {
            return;
        }
        let mut kept = self.lock();
        let from = kept.written;
        kept.bytes.truncate(from);
        parts.iter().for_each(|part| kept.bytes.extend_from_slice(part));
        kept.written += written;
        if kept.bytes.len() > LONGEST {
            *kept = Kept::default();
            self.keeps.store(false, Ordering::Relaxed);
        }
    }

    /// Returns the request whose head was kept, if that is whole.
    pub(crate) fn request(&self) -> Option<Request<Outgoing>> {
        if !self.keeps.load(Ordering::Relaxed) {
            return None;
        }
        let kept = self.lock();
        let head = kept.bytes.strip_suffix(b"\r\n\r\n")?;
        let mut lines = head.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        let mut first = lines.next()?.split(|byte| *byte == b' ');
        let mut request = Request::new(Outgoing::Empty);
        *request.method_mut() = Method::from_bytes(first.next()?).ok()?;
        *request.uri_mut() = Uri::try_from(first.next()?).ok()?;
        for line in lines {
            let colon = line.iter().position(|byte| *byte == b':')?;
            let name = HeaderName::from_bytes(&line[..colon]).ok()?;
            let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).ok()?;
            request.headers_mut().append(name, value);
        }
        Some(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &[u8] = b"GET /x?y=1 HTTP/1.1\r\nhost: a\r\nx-a: 1\r\nx-a:  \xff: 2 \r\nx-empty: \r\n\r\n";

    fn check(sent: &Sent) {
        let request = sent.request().expect("a whole head");
        assert_eq!((request.method(), request.uri().to_string().as_str()), (&Method::GET, "/x?y=1"));
        let values: Vec<_> = request.headers().get_all("x-a").iter().map(HeaderValue::as_bytes).collect();
        assert_eq!(values, [&b"1"[..], b"\xff: 2"]);
        assert_eq!((&request.headers()["host"], request.headers()["x-empty"].len()), (&"a".parse().expect("a"), 0));
        assert_eq!(request.headers().len(), 4);
    }

    #[test]
    fn it_is_the_head_however_it_was_written() {
        let sent = Sent::default();
        for size in 1..=HEAD.len() {
            sent.keep(true);
            let mut rest = HEAD;
            while !rest.is_empty() {
                let (first, second) = rest.split_at(rest.len().min(3));
                sent.note(&[IoSlice::new(first), IoSlice::new(second)], 0);
                check(&sent);
                let written = size.min(rest.len());
                sent.note(&[IoSlice::new(first), IoSlice::new(second)], written);
                rest = &rest[written..];
            }
            check(&sent);
        }
    }

    #[test]
    fn what_is_not_a_whole_head_is_none() {
        let sent = Sent::default();
        sent.note(&[IoSlice::new(HEAD)], HEAD.len());
        assert!(sent.request().is_none(), "nobody asked for it");
        sent.keep(true);
        assert!(sent.request().is_none());
        sent.note(&[IoSlice::new(&HEAD[..HEAD.len() - 1])], 1);
        assert!(sent.request().is_none());
        sent.keep(true);
        let long = format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "x".repeat(LONGEST));
        sent.note(&[IoSlice::new(long.as_bytes())], long.len());
        assert!(sent.request().is_none());
        assert_eq!(sent.lock().bytes.capacity(), 0);
    }
}
