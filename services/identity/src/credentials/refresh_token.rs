//! Refresh tokens: `ptr_<session>_<generation>_<tag><checksum>`. The tag is an HMAC under the
//! session's own seed, which lies sealed in the database; so the successor of a token is always the
//! same, whichever process is asked, and a token that was once issued is told from an invented one
//! without keeping them all. Not for what a rotation does to the session: see `refresh`.

use std::time::Duration;

use hmac::{Hmac, KeyInit as _, Mac as _};
use kernel::{Id, IdKind as _, Timestamp};
use sha2::Sha256;

use crate::credentials::secret::{hex, unhex, with_checksum, without_checksum};
use crate::tables::session::{Session, SessionId};

/// How long at least a token that was exchanged still gets its successor; a client whose answer was
/// lost, or whose tabs refresh at the same moment, stays signed in. At most three times as long.
pub(crate) const GRACE: Duration = Duration::from_secs(10);

const PREFIX: &str = "ptr_";

/// The seed of a session's refresh tokens.
pub(crate) const SEED_BYTES: usize = 32;

/// A refresh token as its owner holds it.
#[derive(Clone)]
pub(crate) struct RefreshToken {
    pub session: SessionId,
    pub generation: i64,
    tag: [u8; 32],
}

fn mac(seed: &[u8], session: SessionId, generation: i64) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(seed).expect("HMAC takes keys of any length");
    mac.update(b"portico refresh token");
    mac.update(session.uuid().as_bytes());
    mac.update(&generation.to_be_bytes());
    mac
}

impl RefreshToken {
    /// Returns the token of a generation.
    pub(crate) fn of(seed: &[u8], session: SessionId, generation: i64) -> Self {
        Self { session, generation, tag: mac(seed, session, generation).finalize().into_bytes().into() }
    }

    /// Returns the token's text.
    pub(crate) fn text(&self) -> String {
        let id = self.session.to_string();
        let digits = id.split_once('_').map_or(id.as_str(), |(_, digits)| digits);
        with_checksum(&format!("{PREFIX}{digits}_{}_{}", self.generation, hex(&self.tag)))
    }

    /// Reads a token's text.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut parts = without_checksum(text)?.strip_prefix(PREFIX)?.split('_');
        let (digits, generation, tag) = (parts.next()?, parts.next()?, parts.next()?);
        let session: Id<Session> = format!("{}_{digits}", Session::PREFIX).parse().ok()?;
        let generation = generation.parse().ok().filter(|number| *number >= 0)?;
        let token = Self { session, generation, tag: unhex(tag)? };
        (parts.next().is_none() && token.text() == text).then_some(token)
    }

    /// Says whether it was issued under this seed, in the same time either way.
    pub(crate) fn is_genuine(&self, seed: &[u8]) -> bool {
        mac(seed, self.session, self.generation).verify_slice(&self.tag).is_ok()
    }
}

/// How far a session's tokens have come. Two windows of time remember which were exchanged lately.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Generations {
    /// The one token that has not been exchanged.
    pub current: i64,
    /// The first that was exchanged in the present window.
    pub window: i64,
    /// When the present window began.
    pub window_began: Timestamp,
    /// The first that was exchanged in the window before.
    pub earlier: i64,
}

/// What presenting a genuine token means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Presented {
    /// It is the current one: exchange it.
    Current,
    /// It was exchanged a moment ago: its owner gets what came of that.
    Lately,
    /// It was exchanged long ago: somebody else has a copy.
    Replayed,
}

impl Generations {
    pub(crate) fn new(now: Timestamp) -> Self {
        Self { current: 0, window: 0, window_began: now, earlier: 0 }
    }

    pub(crate) fn judge(&self, generation: i64, now: Timestamp) -> Presented {
        if generation >= self.current {
            return Presented::Current;
        }
        let age = now.0 - self.window_began.0;
        let grace = GRACE.as_micros() as i64;
        let oldest = match age {
            _ if age < grace => self.earlier,
            _ if age < 2 * grace => self.window,
            _ => self.current,
        };
        if generation >= oldest { Presented::Lately } else { Presented::Replayed }
    }

    /// Returns what they are once the current token has been exchanged.
    pub(crate) fn exchanged(&self, now: Timestamp) -> Self {
        let (age, grace) = (now.0 - self.window_began.0, GRACE.as_micros() as i64);
        let current = self.current + 1;
        if age < grace {
            return Self { current, ..*self };
        }
        let earlier = if age < 2 * grace { self.window } else { self.current };
        Self { current, window: self.current, window_began: now, earlier }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEED: [u8; SEED_BYTES] = [7; SEED_BYTES];

    #[test]
    fn a_token_is_read_back_and_an_invented_one_is_not_genuine() {
        let session = SessionId::new();
        let token = RefreshToken::of(&SEED, session, 41);
        let read = RefreshToken::parse(&token.text()).expect("reads");
        assert_eq!((read.session, read.generation), (session, 41));
        assert!(read.is_genuine(&SEED));
        assert!(!read.is_genuine(&[8; SEED_BYTES]));
        assert!(!RefreshToken { generation: 42, ..read.clone() }.is_genuine(&SEED));
        assert!(!RefreshToken { session: SessionId::new(), ..read }.is_genuine(&SEED));
        let text = token.text();
        for place in 0..text.len() {
            let mut wrong = text.clone().into_bytes();
            wrong[place] = if wrong[place] == b'0' { b'1' } else { b'0' };
            let wrong = String::from_utf8(wrong).expect("ASCII");
            let genuine = RefreshToken::parse(&wrong).is_some_and(|token| token.is_genuine(&SEED));
            assert!(wrong == text || !genuine, "{wrong}");
        }
        assert!(RefreshToken::parse("ptr_").is_none());
    }

    /// Against the plain rule: at least GRACE after it was exchanged, at most three times as long.
    #[test]
    fn the_grace_holds_for_every_pace_of_refreshing() {
        for pace in [100u64, 900, 3_000, 9_999, 10_000, 12_345, 20_000, 35_000] {
            let step = Duration::from_millis(pace);
            let mut now = Timestamp(1_000_000_000);
            let mut state = Generations::new(now);
            let mut exchanged_at = Vec::new();
            for _ in 0..200 {
                now = now.plus(step);
                assert_eq!(state.judge(state.current, now), Presented::Current);
                state = state.exchanged(now);
                exchanged_at.push(now);
                for (generation, at) in exchanged_at.iter().enumerate() {
                    let age = Duration::from_micros((now.0 - at.0) as u64);
                    match state.judge(generation as i64, now) {
                        Presented::Lately => assert!(age < 3 * GRACE, "{pace} ms, {generation}: {age:?}"),
                        Presented::Replayed => assert!(age >= GRACE, "{pace} ms, {generation}: {age:?}"),
                        Presented::Current => panic!("{generation} was exchanged"),
                    }
                }
            }
        }
    }
}
