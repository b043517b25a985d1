//! Both directions of a socket together, and what ends it: a Close, a broken rule, silence, the end of the
//! credential, the end of the process. Not for the handshake that comes before.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::rt::{Read, Write};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::config::Config;
use crate::frame::{Frames, Rules, Violation};
use crate::lane::Lane;
use crate::pace::Pace;
use crate::sockets::{Place, Reason, Tally};

/// The codes of the gateway's own Close frames (RFC 6455 section 7.4, IANA's registry; 4401 is ours).
mod code {
    pub(super) const GOING_AWAY: u16 = 1001;
    pub(super) const PROTOCOL: u16 = 1002;
    pub(super) const TOO_BIG: u16 = 1009;
    pub(super) const BAD_GATEWAY: u16 = 1014;
    pub(super) const CREDENTIAL: u16 = 4401;
}

/// How long the machine may take to be asked for the time again, where nothing else is due.
const FAR: Duration = Duration::from_secs(3_600);

/// Counts the end, whatever it is.
struct Ended<'a> {
    place: &'a Place,
    reason: Option<Reason>,
}

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.place.ended(self.reason.unwrap_or(Reason::Draining));
    }
}

/// Counts a connection that never became a socket.
pub(crate) fn not_opened(place: &Place) -> Reason {
    place.opened();
    place.ended(Reason::NotOpened);
    Reason::NotOpened
}

/// One open socket.
struct Relay<'a> {
    up: Lane,
    down: Lane,
    pace: Pace,
    idle: Option<Duration>,
    ping: Option<Duration>,
    patience: Duration,
    /// When something passed last; when the client, and the origin, were heard last.
    passed: Instant,
    heard: [Instant; 2],
    /// When a client's or an origin's sign of life was asked for.
    asked: [Option<Instant>; 2],
    /// When the two must have parted, and whether that was said to those who have not heard it.
    deadline: Option<Instant>,
    last_words: bool,
    end: Ended<'a>,
    counters: &'a Tally,
}

/// Passes frames until the socket has ended, and says why it did. `ending` tells of ends from elsewhere.
pub(crate) async fn relay<C, O>(
    mut client: C,
    mut origin: O,
    reserved: u8,
    config: &Config,
    place: &Place,
    ending: impl Future<Output = Reason>,
) -> Reason
where
    C: Read + Write + Unpin,
    O: Read + Write + Unpin,
{
    place.opened();
    let now = Instant::now();
    let rules =
        |masked| Rules { masked, reserved, max_frame: config.max_frame_bytes, max_message: config.max_message_bytes };
    let mut relay = Relay {
        up: Lane::new(Frames::new(rules(true)), true),
        down: Lane::new(Frames::new(rules(false)), false),
        pace: Pace::new(config.max_frames_per_second),
        idle: config.idle(),
        ping: config.ping(),
        patience: Duration::from_millis(config.close_ms),
        passed: now,
        heard: [now; 2],
        asked: [None; 2],
        deadline: None,
        last_words: false,
        end: Ended { place, reason: None },
        counters: place.sockets().tally(),
    };
    let mut ending = pin!(ending);
    let (mut alarm, mut told) = (Box::pin(sleep_until(now)), false);
    poll_fn(|context| {
        let now = Instant::now();
        if !told && let Poll::Ready(reason) = ending.as_mut().poll(context) {
            told = true;
            relay.part_both(reason, now);
        }
        relay.poll(context, &mut client, &mut origin, &mut alarm, now)
    })
    .await;
    relay.end.reason.unwrap_or(Reason::ClientGone)
}

impl Relay<'_> {
    fn poll(
        &mut self,
        context: &mut Context<'_>,
        client: &mut (impl Read + Write + Unpin),
        origin: &mut (impl Read + Write + Unpin),
        alarm: &mut Pin<Box<Sleep>>,
        now: Instant,
    ) -> Poll<()> {
        loop {
            let held = self.pace.holds(now);
            let mut put_in = false;
            if let Poll::Ready(Err(violation)) = self.up.poll(context, client, origin, held) {
                // The origin is told, and its last words still reach the client.
                self.broke(violation, Reason::ClientBroke, now);
                put_in = true;
            }
            if let Poll::Ready(Err(violation)) = self.down.poll(context, origin, client, false) {
                self.broke(violation, Reason::OriginBroke, now);
                put_in = true;
            }
            self.account(held, now);
            self.notice(now);
            if self.parted(now) {
                return Poll::Ready(());
            }
            put_in |= self.attend(now);
            let due = self.due(now, held);
            if alarm.deadline() != due {
                alarm.as_mut().reset(due);
            }
            // What was put in just now has to be sent, and what is due now be seen to.
            if !put_in && alarm.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
            if due <= now && !put_in {
                // The clock of timers is coarser than that of the machine.
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
    }

    /// Adds up what has come since the last look.
    fn account(&mut self, held: bool, now: Instant) {
        for (side, lane) in [&mut self.up, &mut self.down].into_iter().enumerate() {
            let fresh = std::mem::take(&mut lane.fresh);
            // Who is not read cannot be heard.
            if fresh.bytes > 0 || lane.blocked() || (side == 0 && held) {
                (self.heard[side], self.asked[side]) = (now, None);
            }
            if fresh.moved {
                self.passed = now;
            }
            self.counters.came(side, &fresh);
            if side == 0 && fresh.frames > 0 {
                self.pace.took(fresh.frames, now);
            }
        }
    }

    /// Sees who has closed or gone.
    fn notice(&mut self, now: Instant) {
        let seen = [
            (self.up.heard_close, Reason::ClientClosed),
            (self.down.heard_close, Reason::OriginClosed),
            (self.up.ended || self.down.refused, Reason::ClientGone),
            (self.down.ended || self.up.refused, Reason::OriginGone),
        ];
        if let Some((_, reason)) = seen.into_iter().find(|(is_so, _)| *is_so) {
            self.ends(reason, now);
        }
    }

    fn ends(&mut self, reason: Reason, now: Instant) {
        self.end.reason.get_or_insert(reason);
        self.deadline.get_or_insert(now + self.patience);
    }

    /// Says Close to the side that did not break the rule; its own Close, and all before it, still reaches the
    /// one that did.
    fn broke(&mut self, violation: Violation, reason: Reason, now: Instant) {
        let too_big = violation == Violation::TooBig;
        let (lane, code) = match reason {
            Reason::ClientBroke => (&mut self.up, code::PROTOCOL),
            _ => (&mut self.down, code::BAD_GATEWAY),
        };
        lane.part(if too_big { code::TOO_BIG } else { code }, violation.reason());
        self.ends(if too_big { Reason::TooBig } else { reason }, now);
    }

    /// Says Close to both sides.
    fn part_both(&mut self, reason: Reason, now: Instant) {
        let (code, text) = match reason {
            Reason::Expired => (code::CREDENTIAL, "credential expired"),
            Reason::Revoked => (code::CREDENTIAL, "credential revoked"),
            Reason::Idle => (code::GOING_AWAY, "idle"),
            Reason::Unresponsive => (code::GOING_AWAY, "no sign of life"),
            _ => (code::GOING_AWAY, "stopping"),
        };
        self.up.part(code, text);
        self.down.part(code, text);
        self.ends(reason, now);
    }

    /// Says whether nothing more is to come.
    fn parted(&self, now: Instant) -> bool {
        if self.up.over() && self.down.over() {
            return true;
        }
        let answered = |lane: &Lane| lane.heard_close || lane.ended;
        // The gateway said Close to both, and both have answered.
        let own = !matches!(self.end.reason, Some(Reason::ClientClosed | Reason::OriginClosed) | None);
        if own && answered(&self.up) && answered(&self.down) && self.up.drained() && self.down.drained() {
            return true;
        }
        self.deadline.is_some_and(|deadline| {
            let said = self.last_words && self.up.drained() && self.down.drained();
            now >= deadline && said || now >= deadline + self.patience / 4
        })
    }

    /// Does what silence asks for, and says whether it put a frame in.
    fn attend(&mut self, now: Instant) -> bool {
        if let Some(deadline) = self.deadline {
            let overdue = now >= deadline && !self.last_words;
            if overdue {
                // The one that broke a rule is told before it is left, should the other have kept silent.
                self.last_words = true;
                self.up.part(code::PROTOCOL, "no Close in time");
                self.down.part(code::PROTOCOL, "no Close in time");
            }
            return overdue;
        }
        if self.idle.is_some_and(|idle| now >= self.passed + idle) {
            self.part_both(Reason::Idle, now);
            return true;
        }
        let Some(ping) = self.ping else { return false };
        let mut put_in = false;
        for side in [0, 1] {
            match self.asked[side] {
                Some(asked) if now >= asked + ping => {
                    self.part_both(Reason::Unresponsive, now);
                    return true;
                }
                None if now >= self.heard[side] + ping => {
                    // A client is asked in the direction in which it is written to.
                    let (way, back) =
                        if side == 0 { (&mut self.down, &mut self.up) } else { (&mut self.up, &mut self.down) };
                    if way.ping() {
                        back.unanswered += 1;
                        put_in = true;
                    }
                    // Where a frame is half-way, or its reader slow, the question is put off, not the answer.
                    self.asked[side] = Some(now);
                }
                _ => {}
            }
        }
        put_in
    }

    /// Returns when something is due.
    fn due(&self, now: Instant, held: bool) -> Instant {
        let mut due = now + FAR;
        if let Some(deadline) = self.deadline {
            return if now < deadline { deadline } else { deadline + self.patience / 4 };
        }
        if let Some(idle) = self.idle {
            due = due.min(self.passed + idle);
        }
        if let Some(ping) = self.ping {
            for side in [0, 1] {
                due = due.min(self.asked[side].unwrap_or(self.heard[side]) + ping);
            }
        }
        if held {
            due = due.min(self.pace.free_at());
        }
        due
    }
}
