//! The scanner against an independent reading of RFC 9112 and against hyper; one file per concern, found by
//! itself.

automod::dir!("tests/it");

use std::sync::Arc;

use strict_http::{Config, Refusal, Scanner, Then};

/// How a connection ended after these bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// It may go on.
    Open,
    /// It waits for the answer to a request for a WebSocket.
    Waits,
    /// A head was refused.
    Refused(Refusal),
    /// A body was broken off.
    Broken(Refusal),
}

/// What came through, and how it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Passed {
    bytes: Vec<u8>,
    end: End,
}

/// Passes bytes through a scanner that come in these pieces.
fn pass<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Passed {
    let mut scanner = Scanner::new(Arc::new(Config::default()));
    let (mut bytes, mut held) = (Vec::new(), Vec::new());
    for piece in pieces {
        held.extend_from_slice(piece);
        let scan = scanner.scan(&held);
        bytes.extend(held.drain(..scan.pass));
        let end = match scan.then {
            Then::More | Then::Hold => continue,
            Then::Wait => End::Waits,
            Then::Refuse(refusal) => End::Refused(refusal),
            Then::Break(refusal) => End::Broken(refusal),
        };
        return Passed { bytes, end };
    }
    Passed { bytes, end: End::Open }
}

/// A generator of numbers that is the same everywhere (xorshift64*).
struct Dice(u64);

impl Dice {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn roll(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.roll() % limit.max(1) as u64) as usize
    }

    fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}
