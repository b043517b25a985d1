//! One direction of a socket: reads from one side, judges the frames, writes to the other as fast as that takes
//! them, and puts the gateway's own control frames between. Holds no buffer while nothing waits. Not for clocks.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use hyper::rt::{Read, ReadBuf, Write};

use crate::frame::{Control, Frames, LONGEST_HEAD, Step, Violation, control_payload, mask, write_control};
use crate::sockets::Fresh;

/// How much is read at once; what one direction may keep for a slow reader.
const ROOM: usize = 16 * 1024;
/// The longest beginning of a frame that waits for its rest: a control frame.
const LONGEST_BEGUN: usize = LONGEST_HEAD + 125;
/// How often a busy direction reads before others get their turn.
const TURNS: usize = 16;
/// What the gateway's own pings say, so that the answers to them are known.
pub(crate) const SIGN: &[u8] = b"portico\0";

thread_local! {
    /// One buffer for all sockets of a core: it is empty between two polls.
    static SCRATCH: Cell<Option<Box<[u8]>>> = const { Cell::new(None) };
}

/// What becomes of what is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// It passes.
    Passing,
    /// The gateway has said Close here: only the other's Close is of interest.
    Parting,
    /// Nothing more is to come that anybody may read.
    Deaf,
}

/// One direction.
#[derive(Debug)]
pub(crate) struct Lane {
    frames: Frames,
    mode: Mode,
    /// The beginning of a frame whose rest has not come.
    begun: Vec<u8>,
    /// What has been judged and not been taken, and how much of it has.
    waiting: Vec<u8>,
    taken: usize,
    /// The gateway's own Close, until the present frame has ended.
    farewell: Option<Vec<u8>>,
    /// Whether frames that are put in here are a client's.
    masks: bool,
    unflushed: bool,
    /// Whether a Close has passed, or was put in.
    pub(crate) closed: bool,
    /// Whether the side that is read has said Close.
    pub(crate) heard_close: bool,
    /// Whether the side that is read has ended, and whether the other was told.
    pub(crate) ended: bool,
    shut: bool,
    /// Whether the side that is written to takes no more.
    pub(crate) refused: bool,
    /// How many of the gateway's pings this side has not answered.
    pub(crate) unanswered: u32,
    /// What has come since this was last looked at.
    pub(crate) fresh: Fresh,
}

impl Lane {
    /// `masks` says that the side which is written to is an origin.
    pub(crate) fn new(frames: Frames, masks: bool) -> Self {
        Self {
            frames,
            mode: Mode::Passing,
            begun: Vec::new(),
            waiting: Vec::new(),
            taken: 0,
            farewell: None,
            masks,
            unflushed: false,
            closed: false,
            heard_close: false,
            ended: false,
            shut: false,
            refused: false,
            unanswered: 0,
            fresh: Fresh::default(),
        }
    }

    /// Says whether both ends have nothing more to expect of this direction.
    pub(crate) fn over(&self) -> bool {
        self.ended && (self.shut || self.refused)
    }

    /// Says whether all that was put in has been taken.
    pub(crate) fn drained(&self) -> bool {
        self.farewell.is_none() && (self.waiting.is_empty() || self.refused)
    }

    /// Says whether nothing is read because the other side does not take what there is.
    pub(crate) fn blocked(&self) -> bool {
        !self.waiting.is_empty() && !self.refused
    }

    /// Puts in a Close where the present frame ends, and lets nothing pass behind it.
    pub(crate) fn part(&mut self, code: u16, reason: &str) {
        if self.closed || self.farewell.is_some() || self.shut {
            return;
        }
        let payload = [&code.to_be_bytes()[..], reason.as_bytes()].concat();
        let mut frame = Vec::with_capacity(payload.len() + 6);
        write_control(&mut frame, Control::Close, &payload, self.masks.then(mask));
        if self.frames.between() || self.mode != Mode::Passing {
            self.say(&frame);
        } else {
            self.farewell = Some(frame);
        }
    }

    fn say(&mut self, frame: &[u8]) {
        self.closed = true;
        if self.mode == Mode::Passing {
            self.mode = Mode::Parting;
        }
        self.waiting.extend_from_slice(frame);
    }

    /// Asks the side that is written to for a sign of life, where a frame may stand.
    pub(crate) fn ping(&mut self) -> bool {
        let may = self.mode == Mode::Passing && self.frames.between() && self.waiting.is_empty() && !self.refused;
        if may {
            write_control(&mut self.waiting, Control::Ping, SIGN, self.masks.then(mask));
        }
        may
    }

    /// Lets nothing more pass: what was broken once is not read again.
    pub(crate) fn deafen(&mut self) {
        self.mode = Mode::Deaf;
        self.begun = Vec::new();
    }

    /// Moves what can be moved. `held` stops reading. Ready with a violation, or at the end of the direction.
    pub(crate) fn poll(
        &mut self,
        context: &mut Context<'_>,
        from: &mut (impl Read + Unpin),
        to: &mut (impl Write + Unpin),
        held: bool,
    ) -> Poll<Result<(), Violation>> {
        for _ in 0..TURNS {
            if !self.refused
                && let Err(error) = ready!(self.poll_send(context, to))
            {
                self.refuse(&error);
            }
            if self.ended {
                return Poll::Ready(Ok(()));
            }
            if held && self.mode == Mode::Passing {
                return Poll::Pending;
            }
            let mut room = SCRATCH.take().unwrap_or_else(|| vec![0; LONGEST_BEGUN + ROOM].into());
            let moved = self.read(context, from, to, &mut room);
            SCRATCH.set(Some(room));
            if let Err(violation) = ready!(moved) {
                self.deafen();
                return Poll::Ready(Err(violation));
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }

    fn read(
        &mut self,
        context: &mut Context<'_>,
        from: &mut (impl Read + Unpin),
        to: &mut (impl Write + Unpin),
        room: &mut [u8],
    ) -> Poll<Result<(), Violation>> {
        let kept = self.begun.len();
        room[..kept].copy_from_slice(&self.begun);
        let mut buffer = ReadBuf::new(&mut room[kept..kept + ROOM]);
        let read = match ready!(Pin::new(from).poll_read(context, buffer.unfilled())) {
            Ok(()) => buffer.filled().len(),
            Err(error) => {
                tracing::debug!(error = %error, "a side of a socket broke off");
                0
            }
        };
        if read == 0 {
            (self.ended, self.begun) = (true, Vec::new());
            return Poll::Ready(Ok(()));
        }
        self.fresh.bytes += read as u64;
        let (passes, broken) = self.judge(&mut room[..kept + read]);
        if passes > 0 && !self.refused {
            self.pass(context, to, &room[..passes]);
        }
        if self.frames.between()
            && let Some(frame) = self.farewell.take()
        {
            self.say(&frame);
        }
        Poll::Ready(broken.map_or(Ok(()), Err))
    }

    /// Moves what passes to the front, keeps the beginning of a frame, and says how much passes and what is broken.
    fn judge(&mut self, bytes: &mut [u8]) -> (usize, Option<Violation>) {
        let (mut at, mut out) = (0, 0);
        // What comes behind the gateway's own Close does not pass.
        let mut passing = self.mode == Mode::Passing;
        while at < bytes.len() && self.mode != Mode::Deaf {
            let (len, passes) = match self.frames.step(&bytes[at..]) {
                Err(violation) => return (out, Some(violation)),
                Ok(Step::More) => break,
                Ok(Step::Data { len, begins }) => {
                    self.fresh.frames += u64::from(begins);
                    self.fresh.moved = true;
                    (len, true)
                }
                Ok(Step::Control { kind, len }) => (len, self.control(kind, &bytes[at..at + len], passing)),
            };
            if passing && passes {
                if at != out {
                    bytes.copy_within(at..at + len, out);
                }
                out += len;
            }
            at += len;
            passing &= !(self.farewell.is_some() && self.frames.between());
        }
        // An empty vector of some capacity is what an idle socket should not keep.
        self.begun = if at < bytes.len() && self.mode != Mode::Deaf { bytes[at..].to_vec() } else { Vec::new() };
        (out, None)
    }

    /// Looks at a control frame, and says whether it passes.
    fn control(&mut self, kind: Control, frame: &[u8], passing: bool) -> bool {
        match kind {
            Control::Pong if self.unanswered > 0 && control_payload(frame).eq(SIGN.iter().copied()) => {
                self.unanswered = 0;
                return false;
            }
            Control::Close => {
                self.heard_close = true;
                // Nothing may follow it (5.5.1).
                self.mode = Mode::Deaf;
                self.closed |= passing;
            }
            Control::Ping | Control::Pong => {}
        }
        self.fresh.frames += 1;
        self.fresh.moved = true;
        true
    }

    /// Writes at once what can be written, and keeps the rest.
    fn pass(&mut self, context: &mut Context<'_>, to: &mut (impl Write + Unpin), mut bytes: &[u8]) {
        while self.waiting.is_empty() && !bytes.is_empty() {
            match Pin::new(&mut *to).poll_write(context, bytes) {
                Poll::Pending => break,
                Poll::Ready(Ok(0)) => return self.refuse(&io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(written)) => (bytes, self.unflushed) = (&bytes[written..], true),
                Poll::Ready(Err(error)) => return self.refuse(&error),
            }
        }
        self.waiting.extend_from_slice(bytes);
    }

    fn poll_send(&mut self, context: &mut Context<'_>, to: &mut (impl Write + Unpin)) -> Poll<io::Result<()>> {
        while self.taken < self.waiting.len() {
            match ready!(Pin::new(&mut *to).poll_write(context, &self.waiting[self.taken..]))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => (self.taken, self.unflushed) = (self.taken + written, true),
            }
        }
        (self.waiting, self.taken) = (Vec::new(), 0);
        if self.unflushed {
            ready!(Pin::new(&mut *to).poll_flush(context))?;
            self.unflushed = false;
        }
        if self.ended && !self.shut {
            ready!(Pin::new(to).poll_shutdown(context))?;
            self.shut = true;
        }
        Poll::Ready(Ok(()))
    }

    /// The other side takes no more: what comes is read and forgotten, until its end.
    fn refuse(&mut self, error: &io::Error) {
        tracing::debug!(error = %error, "a side of a socket takes no more");
        self.refused = true;
        (self.waiting, self.taken, self.farewell) = (Vec::new(), 0, None);
        self.deafen();
    }
}
