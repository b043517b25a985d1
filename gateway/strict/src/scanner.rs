//! Follows the framing of a connection's requests over the bytes as they come. Not for reading them from a
//! socket.

use std::sync::Arc;

use crate::body::{Chunks, Place};
use crate::config::Config;
use crate::head::{Follows, Head};
use crate::refusal::Refusal;

/// Follows one connection.
#[derive(Clone, Debug)]
pub struct Scanner {
    config: Arc<Config>,
    state: State,
    heads: u64,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Head(Head),
    Length(u64),
    Chunks(Chunks),
    Trailers(Head),
    /// Behind the head of a request for a WebSocket.
    Perhaps,
    Opaque,
    Refused(Refusal, bool),
}

/// What may be done with bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scan {
    /// How many of them may be passed on.
    pub pass: usize,
    /// What is to be done with the others.
    pub then: Then,
}

/// What is to be done with bytes that are not passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// There are none.
    More,
    /// Keep them, and scan them again with what follows them.
    Hold,
    /// They begin with a head that is refused.
    Refuse(Refusal),
    /// They begin where a body is broken.
    Break(Refusal),
    /// They follow a request for a WebSocket: keep them until it is answered.
    Wait,
}

impl Scanner {
    /// Returns a scanner at the beginning of a connection.
    pub fn new(config: Arc<Config>) -> Self {
        Self { config, state: State::Head(Head::default()), heads: 0 }
    }

    /// Looks at bytes that follow those passed on. What is not passed on must come again, with more.
    pub fn scan(&mut self, bytes: &[u8]) -> Scan {
        let mut at = 0;
        loop {
            let rest = &bytes[at..];
            match self.step(rest) {
                Ok(0) => break,
                Ok(passed) => at += passed,
                Err(then) => return Scan { pass: at, then },
            }
            if at == bytes.len() && !matches!(self.state, State::Perhaps) {
                break;
            }
        }
        let then = if at == bytes.len() { Then::More } else { Then::Hold };
        Scan { pass: at, then }
    }

    /// Returns how much more may be passed on; 0 where more must come first.
    fn step(&mut self, rest: &[u8]) -> Result<usize, Then> {
        match &mut self.state {
            State::Head(head) => match head.read(rest, &self.config) {
                Ok(None) => Ok(0),
                Ok(Some(whole)) => {
                    self.heads += 1;
                    self.state = match whole.body {
                        Follows::Length(0) => State::Head(Head::default()),
                        Follows::Length(length) => State::Length(length),
                        Follows::Chunks => State::Chunks(Chunks::new()),
                        Follows::Perhaps => State::Perhaps,
                    };
                    Ok(whole.length)
                }
                Err(refusal) => Err(self.refuse(refusal, true)),
            },
            State::Length(left) => {
                let here = (*left).min(rest.len() as u64);
                *left -= here;
                if *left == 0 {
                    self.state = State::Head(Head::default());
                }
                Ok(here as usize)
            }
            State::Chunks(chunks) => {
                let (read, result) = chunks.read(rest, self.config.chunk_extension_bytes, self.config.body_bytes);
                let ended = chunks.place == Place::Trailers;
                if ended {
                    self.state = State::Trailers(Head::default());
                }
                match result {
                    Ok(()) => Ok(read),
                    // What came before is passed on first; the same refusal comes next.
                    Err(_) if read > 0 => Ok(read),
                    Err(refusal) => Err(self.refuse(refusal, false)),
                }
            }
            State::Trailers(head) => match head.read_trailers(rest, &self.config) {
                Ok(None) => Ok(0),
                Ok(Some(length)) => {
                    self.state = State::Head(Head::default());
                    Ok(length)
                }
                Err(refusal) => Err(self.refuse(refusal, false)),
            },
            State::Perhaps => Err(Then::Wait),
            State::Opaque => Ok(rest.len()),
            State::Refused(refusal, true) => Err(Then::Refuse(*refusal)),
            State::Refused(refusal, false) => Err(Then::Break(*refusal)),
        }
    }

    /// Refuses all that follows: a head, or the rest of a body.
    pub(crate) fn refuse(&mut self, refusal: Refusal, head: bool) -> Then {
        self.state = State::Refused(refusal, head);
        if head { Then::Refuse(refusal) } else { Then::Break(refusal) }
    }

    /// Lets all that follows through, which is not HTTP: the answer that [`Then::Wait`] waits for is a 101.
    pub fn agreed(&mut self) {
        if matches!(self.state, State::Perhaps) {
            self.state = State::Opaque;
        }
    }

    /// Whether a request's body is being read.
    pub(crate) fn in_body(&self) -> bool {
        matches!(self.state, State::Length(_) | State::Chunks(_) | State::Trailers(_))
    }

    /// Whether a head is being read, or is to come.
    pub(crate) fn in_head(&self) -> bool {
        matches!(self.state, State::Head(_))
    }

    /// Returns how many heads were passed on.
    pub(crate) fn heads(&self) -> u64 {
        self.heads
    }
}
