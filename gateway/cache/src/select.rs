//! Whether a stored answer may be given to a request (RFC 9111 sections 4.2 and 5.2.1). Not for Vary and ranges;
//! see `vary` and `range`.

use kernel::Timestamp;

use crate::directives::Asked;
use crate::verdict::Meta;

const SECOND: i64 = 1_000_000;

/// How a stored answer may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    /// As it is.
    Fresh,
    /// As it is, although it is stale: the client takes it.
    Stale,
    /// As it is, while it is fetched anew.
    Renew,
    /// Only after the origin was asked.
    Validate,
}

/// Says how a stored answer may be used; `trusted` bounds the lifetime where other nodes are out of touch.
pub(crate) fn choose(meta: &Meta, asked: &Asked, now: Timestamp, trusted: Option<i64>) -> Use {
    let age = meta.age(now);
    if meta.no_cache || asked.no_cache {
        return Use::Validate;
    }
    let kept = (now.0 - meta.received).max(0);
    if trusted.is_some_and(|trusted| kept >= trusted) {
        return Use::Validate;
    }
    let left = meta.lifetime - age;
    let micros = |seconds: u64| seconds as i64 * SECOND;
    // RFC 8246: what does not change need not be asked for again only because a page is loaded again.
    let too_old = asked.max_age.is_some_and(|most| age > micros(most)) && !(meta.immutable && left > 0);
    if too_old || asked.min_fresh.is_some_and(|least| left < micros(least)) {
        return Use::Validate;
    }
    if left > 0 {
        return Use::Fresh;
    }
    match asked.max_stale {
        Some(most) if !meta.strict && most.is_none_or(|most| -left <= micros(most)) => Use::Stale,
        _ if !meta.strict && asked.max_age.is_none() && -left < meta.while_revalidate => Use::Renew,
        _ => Use::Validate,
    }
}

/// Says whether a stored answer may stand in for an origin that failed (RFC 5861 section 4).
pub(crate) fn may_stand_in(meta: &Meta, asked: &Asked, now: Timestamp) -> bool {
    let past = meta.age(now) - meta.lifetime;
    !meta.strict && !asked.no_cache && past < meta.if_error
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meta() -> Meta {
        Meta {
            received: 0,
            initial_age: 0,
            lifetime: 10 * SECOND,
            while_revalidate: 0,
            if_error: 0,
            no_cache: false,
            strict: false,
            explicit: true,
            immutable: false,
            date: 0,
            last_modified: None,
        }
    }

    fn at(meta: &Meta, asked: Asked, seconds: i64) -> Use {
        choose(meta, &asked, Timestamp(seconds * SECOND), None)
    }

    #[test]
    fn fresh_until_its_lifetime_ends() {
        assert_eq!(at(&meta(), Asked::default(), 9), Use::Fresh);
        assert_eq!(at(&meta(), Asked::default(), 10), Use::Validate);
        assert_eq!(at(&Meta { no_cache: true, ..meta() }, Asked::default(), 0), Use::Validate);
    }

    #[test]
    fn a_client_may_want_it_fresher_or_take_it_staler() {
        let asked = |change: fn(&mut Asked)| {
            let mut asked = Asked::default();
            change(&mut asked);
            asked
        };
        assert_eq!(at(&meta(), asked(|a| a.max_age = Some(4)), 5), Use::Validate);
        assert_eq!(at(&meta(), asked(|a| a.max_age = Some(5)), 5), Use::Fresh);
        assert_eq!(at(&Meta { immutable: true, ..meta() }, asked(|a| a.max_age = Some(0)), 5), Use::Fresh);
        assert_eq!(at(&meta(), asked(|a| a.min_fresh = Some(6)), 5), Use::Validate);
        assert_eq!(at(&meta(), asked(|a| a.max_stale = Some(Some(5))), 15), Use::Stale);
        assert_eq!(at(&meta(), asked(|a| a.max_stale = Some(Some(5))), 16), Use::Validate);
        assert_eq!(at(&meta(), asked(|a| a.max_stale = Some(None)), 9_999), Use::Stale);
        assert_eq!(at(&Meta { strict: true, ..meta() }, asked(|a| a.max_stale = Some(None)), 11), Use::Validate);
        assert_eq!(at(&meta(), asked(|a| a.no_cache = true), 1), Use::Validate);
    }

    #[test]
    fn stale_answers_help_out_within_their_window() {
        let lenient = Meta { while_revalidate: 5 * SECOND, if_error: 5 * SECOND, ..meta() };
        assert_eq!(at(&lenient, Asked::default(), 14), Use::Renew);
        assert_eq!(at(&lenient, Asked::default(), 15), Use::Validate);
        let now = |seconds: i64| Timestamp(seconds * SECOND);
        assert!(may_stand_in(&lenient, &Asked::default(), now(14)));
        assert!(!may_stand_in(&lenient, &Asked::default(), now(15)));
        assert!(!may_stand_in(&Meta { strict: true, ..lenient }, &Asked::default(), now(11)));
    }

    #[test]
    fn out_of_touch_only_what_is_new_is_trusted() {
        assert_eq!(choose(&meta(), &Asked::default(), Timestamp(SECOND), Some(2 * SECOND)), Use::Fresh);
        assert_eq!(choose(&meta(), &Asked::default(), Timestamp(2 * SECOND), Some(2 * SECOND)), Use::Validate);
    }
}
