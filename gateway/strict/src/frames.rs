//! Counts the frames of an HTTP/2 client that cost us more than they cost it (RFC 9113, section 10.5): resets,
//! pings, settings, priorities, empty frames, header blocks in crumbs, and streams that are opened and on which
//! nothing may be sent. Not for reading frames; h2 does.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use crate::config::Config;
use crate::link::Link;
use crate::pace::Pace;
use crate::reading::{Reading, Seen};
use crate::windows::Windows;

/// What a client says before its first frame.
const PREFACE: usize = 24;
/// How many frames one header block may take: 64 KiB in frames of the usual size, and some.
const CRUMBS: u32 = 16;
const END_STREAM: u8 = 1;
const ACK: u8 = 1;

/// A socket of HTTP/2 whose client is held to its rates.
#[derive(Debug)]
pub struct FrameGuard<S> {
    stream: S,
    came: Reading,
    went: Reading,
    crumbs: u32,
    control: Bucket,
    resets: Bucket,
    writes: Pace,
    windows: Windows,
    /// Patience with streams on which the client lets nothing be sent.
    shut: Pace,
    link: Arc<Link>,
}

/// Tokens that come back with time. The clock is read only when they run out.
#[derive(Debug)]
struct Bucket {
    per_second: u32,
    left: u32,
    filled: Instant,
}

impl Bucket {
    fn new(per_second: u32, now: Instant) -> Self {
        Self { per_second, left: per_second.saturating_mul(10), filled: now }
    }

    fn take(&mut self, now: impl FnOnce() -> Instant) -> bool {
        if self.left == 0 {
            let now = now();
            let passed = now.saturating_duration_since(self.filled).as_millis() as u64;
            let back = (passed * u64::from(self.per_second) / 1_000).min(u64::from(self.per_second) * 10);
            if back > 0 {
                (self.left, self.filled) = (back as u32, now);
            }
        }
        let enough = self.left > 0;
        self.left = self.left.saturating_sub(1);
        enough
    }
}

impl<S> FrameGuard<S> {
    /// Guards a socket from which nothing has been read; the link is shared with the task that drives it.
    pub fn new(stream: S, config: &Config, link: &Arc<Link>) -> Self {
        let now = Instant::now();
        Self {
            stream,
            came: Reading::new(PREFACE),
            went: Reading::new(0),
            crumbs: 0,
            control: Bucket::new(config.http2_control_frames_per_second, now),
            resets: Bucket::new(config.http2_resets_per_second, now),
            writes: Pace::new(config.write_idle_ms, config.write_bytes_per_second, 0),
            windows: Windows::default(),
            shut: Pace::new(config.write_idle_ms, config.write_bytes_per_second, 0),
            link: link.clone(),
        }
    }

    fn look(&mut self, mut bytes: &[u8], now: fn() -> Instant) -> io::Result<()> {
        while let Some(seen) = self.came.next(&mut bytes) {
            match seen {
                Seen::Header { kind, flags, stream, length } => {
                    let followed = self.windows.came(kind, stream);
                    if !self.allows(kind, flags, length, now) || !followed {
                        return Err(invalid("an HTTP/2 client sends too many frames of control"));
                    }
                }
                Seen::Unit { kind, stream, unit } => self.windows.unit(kind, stream, unit),
            }
        }
        Ok(())
    }

    fn allows(&mut self, kind: u8, flags: u8, length: usize, now: fn() -> Instant) -> bool {
        self.crumbs = if kind == 9 { self.crumbs + 1 } else { 0 };
        match kind {
            // DATA and HEADERS: work, which is limited elsewhere; empty ones in the middle are not.
            0 => length > 0 || flags & END_STREAM != 0 || self.control.take(now),
            1 | 8 => true,
            3 => self.resets.take(now),
            4 | 6 if flags & ACK != 0 => length == 0 || kind == 6,
            9 => self.crumbs <= CRUMBS && (length > 0 || self.control.take(now)),
            _ => self.control.take(now),
        }
    }

    /// Takes note of what went to the client.
    fn follow(&mut self, mut bytes: &[u8]) {
        while let Some(seen) = self.went.next(&mut bytes) {
            if let Seen::Header { kind, flags, stream, length } = seen {
                let streams = self.windows.shut().max(1);
                let took = self.windows.went(kind, flags, stream, length);
                if took > 0 && self.shut.is_lost() {
                    // So many streams need so much more.
                    self.shut.came(took / streams, Instant::now);
                }
            }
        }
    }

    /// Whether the client has let nothing be sent for too long on streams that it left open.
    fn check_windows(&mut self) -> io::Result<()> {
        if self.windows.shut() == 0 {
            if self.shut.waits() {
                self.shut.came(0, Instant::now);
                self.link.await_window(None);
            }
            return Ok(());
        }
        let now = Instant::now();
        let until = self.shut.wait(now);
        if now >= until {
            let message = "an HTTP/2 client lets nothing be sent on the streams that it left open";
            return Err(io::Error::new(io::ErrorKind::TimedOut, message));
        }
        self.link.await_window(Some(until));
        Ok(())
    }

    fn wrote(&mut self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        self.writes.wrote(&self.link, written)
    }
}

fn invalid(message: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}

impl<S: AsyncRead + Unpin> AsyncRead for FrameGuard<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer)?;
        self.look(&buffer.filled()[before..], Instant::now)?;
        self.check_windows()?;
        read.map(Ok)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for FrameGuard<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        if let Poll::Ready(Ok(count)) = written {
            self.follow(&bytes[..count]);
            self.check_windows()?;
        }
        self.wrote(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        if let Poll::Ready(Ok(mut count)) = written {
            for part in parts {
                let here = part.len().min(count);
                self.follow(&part[..here]);
                count -= here;
            }
            self.check_windows()?;
        }
        self.wrote(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::LazyLock;
    use std::task::ready;
    use std::time::Duration;

    use tokio::io::AsyncWriteExt as _;

    use super::*;
    use crate::link::Watchdog;
    use crate::reading::HEADER;

    fn frame(kind: u8, flags: u8, length: usize) -> Vec<u8> {
        let mut frame = vec![0, (length >> 8) as u8, length as u8, kind, flags, 0, 0, 0, 1];
        frame.resize(HEADER + length, 0);
        frame
    }

    /// Returns how many of these frames are let in, in no time at all.
    fn let_in(frames: &[Vec<u8>], crumb: usize) -> usize {
        static START: LazyLock<Instant> = LazyLock::new(Instant::now);
        let mut guard = FrameGuard::new((), &Config::default(), &Arc::default());
        (guard.control.filled, guard.resets.filled) = (*START, *START);
        guard.look(&[0; PREFACE], || *START).expect("the preface");
        let fine = |frame: &&Vec<u8>| frame.chunks(crumb).all(|bytes| guard.look(bytes, || *START).is_ok());
        frames.iter().take_while(fine).count()
    }

    #[test]
    fn floods_end_and_ordinary_traffic_does_not() {
        for crumb in [1, 5, 1_000] {
            assert_eq!(let_in(&vec![frame(3, 0, 4); 1_000], crumb), 300, "resets");
            assert_eq!(let_in(&vec![frame(6, 0, 8); 1_000], crumb), 500, "pings");
            assert_eq!(let_in(&vec![frame(4, 0, 6); 1_000], crumb), 500, "settings");
            assert_eq!(let_in(&vec![frame(2, 0, 5); 1_000], crumb), 500, "priorities");
            assert_eq!(let_in(&vec![frame(0, 0, 0); 1_000], crumb), 500, "empty data");
            assert_eq!(let_in(&vec![frame(9, 0, 10); 100], crumb), 16, "header blocks in crumbs");
            let ordinary = [frame(1, 5, 40), frame(0, 0, 900), frame(8, 0, 4), frame(6, 1, 8), frame(4, 1, 0)];
            let ordinary: Vec<_> = ordinary.into_iter().cycle().take(5_000).collect();
            assert_eq!(let_in(&ordinary, crumb), 5_000);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_lets_nothing_be_sent_is_given_up() {
        for (window, ends) in [(0, true), (1, false)] {
            let (mut client, stream) = tokio::io::duplex(1 << 16);
            let link = Arc::new(Link::default());
            let mut guard = FrameGuard::new(stream, &Config::default(), &link);
            let mut watchdog = Watchdog::new(link);
            let settings = [vec![0; PREFACE], frame(4, 0, 0), vec![0, 4, 0, 0, 0, window], frame(1, 5, 4)].concat();
            let mut settings = settings;
            settings[PREFACE + 2] = 6;
            client.write_all(&settings).await.expect("sent");
            let served = async {
                let mut room = [0; 1024];
                poll_fn(|context| {
                    loop {
                        let mut buffer = ReadBuf::new(&mut room);
                        match Pin::new(&mut guard).poll_read(context, &mut buffer) {
                            Poll::Ready(Err(error)) => return Poll::Ready(error.kind()),
                            Poll::Ready(Ok(())) => {}
                            Poll::Pending => ready!(watchdog.poll_due(context)),
                        }
                    }
                })
                .await
            };
            let end = tokio::time::timeout(Duration::from_secs(300), served).await;
            assert_eq!(end.ok(), ends.then_some(io::ErrorKind::TimedOut), "a window of {window}");
        }
    }

    #[test]
    fn tokens_come_back_with_time() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let mut bucket = Bucket::new(10, start);
        let mut taken = |now: Instant| (0..1_000).filter(|_| bucket.take(|| now)).count();
        assert_eq!(taken(start), 100);
        assert_eq!(taken(start + 2 * second), 20);
        assert_eq!(taken(start + 1_000 * second), 100);
    }
}
