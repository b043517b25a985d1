//! Whether an answer may be stored, and for how long it is fresh (RFC 9111 sections 3 and 4.2). Not for choosing among
//! what is stored; see `select`.

use std::time::Duration;

use http::header::{AGE, AUTHORIZATION, DATE, ETAG, EXPIRES, LAST_MODIFIED, SET_COOKIE};
use http::request::Parts;
use http::{HeaderMap, StatusCode};
use kernel::Timestamp;

use crate::date;
use crate::directives::Said;
use crate::key::Scope;
use crate::policy::{Credentials, Policy};

const SECOND: i64 = 1_000_000;

/// What a stored answer's head says about its use, in microseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Meta {
    /// When its age was `initial_age`.
    pub received: i64,
    pub initial_age: i64,
    pub lifetime: i64,
    /// For how long after its lifetime it may be given while it is fetched anew.
    pub while_revalidate: i64,
    /// For how long after its lifetime it may stand in for an origin that fails.
    pub if_error: i64,
    /// It has to be validated before each use.
    pub no_cache: bool,
    /// Stale, it may never be given unvalidated, whatever the client would take.
    pub strict: bool,
    /// The origin said in so many words how long it is fresh.
    pub explicit: bool,
    pub immutable: bool,
    /// Seconds since 1970.
    pub date: i64,
    pub last_modified: Option<i64>,
}

impl Meta {
    /// Returns the age in microseconds (RFC 9111 section 4.2.3).
    pub(crate) fn age(&self, now: Timestamp) -> i64 {
        self.initial_age + (now.0 - self.received).max(0)
    }
}

/// Returns how the answer may be used, if it may be stored at all.
pub(crate) fn judge(
    policy: &Policy,
    scope: &Scope,
    request: &Parts,
    status: StatusCode,
    headers: &HeaderMap,
    times: (Timestamp, Timestamp),
) -> Option<(Meta, Said)> {
    let said = Said::of(headers, &policy.targeted, policy.surrogate);
    if status.is_informational() || status == StatusCode::NOT_MODIFIED {
        return None;
    }
    if !policy.statuses.is_empty() && !policy.statuses.contains(&status) {
        return None;
    }
    // RFC 9111 section 5.2.2.3: `must-understand` takes the place of the `no-store` beside it.
    let refused = if said.must_understand { !understood(status) } else { said.no_store };
    if refused || said.private {
        return None;
    }
    let credentials = scope.credentials || request.headers.contains_key(AUTHORIZATION);
    let released = said.public || said.s_maxage.is_some() || said.must_revalidate;
    let own_class = policy.credentials == Credentials::Class && scope.tenant.is_some();
    if credentials && !released && !own_class {
        return None;
    }
    let shared_cookie = policy.store_set_cookie || said.public || said.s_maxage.is_some();
    if headers.contains_key(SET_COOKIE) && !shared_cookie {
        return None;
    }
    let meta = measure(policy, &said, status, headers, times)?;
    let validator = headers.contains_key(ETAG) || headers.contains_key(LAST_MODIFIED);
    let lasting =
        !meta.no_cache && (meta.lifetime > meta.initial_age || meta.while_revalidate > 0 || meta.if_error > 0);
    // Stale from the start and without a validator, it could never be used: unless a client takes stale ones.
    let wanted = lasting || validator || (meta.explicit && meta.lifetime > 0 && !meta.no_cache);
    wanted.then_some((meta, said))
}

fn measure(
    policy: &Policy,
    said: &Said,
    status: StatusCode,
    headers: &HeaderMap,
    (asked, received): (Timestamp, Timestamp),
) -> Option<Meta> {
    let stated = headers.get(DATE).and_then(date::parse);
    let date = stated.unwrap_or(received.seconds());
    let last_modified = headers.get(LAST_MODIFIED).and_then(date::parse);
    let expires = || {
        let mut lines = headers.get_all(EXPIRES).iter();
        let first = lines.next().filter(|_| !said.targeted)?;
        // What is no date, such as `0`, lies in the past (RFC 9111 section 5.3).
        Some(date::parse(first).map_or(0, |expires| (expires - date).max(0)))
    };
    let micros = |seconds: u64| seconds as i64 * SECOND;
    let span = |duration: Duration| i64::try_from(duration.as_micros()).unwrap_or(i64::MAX / 4);
    let usual = heuristic(status);
    let explicit = said.s_maxage.or(said.max_age).map(micros).or_else(|| expires().map(|seconds| seconds * SECOND));
    let guessed = || {
        let (most, last_modified) = (policy.heuristic_max?, last_modified?);
        (usual || said.public).then(|| ((date - last_modified).max(0) * SECOND / 10).min(span(most)))
    };
    let configured = || policy.default_ttl.filter(|_| usual || said.public).map(span);
    let known = explicit.or_else(configured).or_else(guessed);
    if known.is_none() && !usual && !said.public {
        return None;
    }
    let (age, doubtful) = stated_age(headers);
    let apparent = (received.0 - date * SECOND).max(0);
    // Without a stated Date the answer is as old as its delivery.
    let apparent = if stated.is_some() { apparent } else { 0 };
    let delay = (received.0 - asked.0).max(0);
    let strict = said.forbids_stale();
    let allowed = |stated: Option<u64>, usual: Duration| match (strict, stated) {
        (true, _) => 0,
        (false, Some(seconds)) => micros(seconds),
        (false, None) => span(usual),
    };
    Some(Meta {
        received: received.0,
        initial_age: apparent.max(age + delay),
        lifetime: if doubtful { 0 } else { known.unwrap_or(0) },
        while_revalidate: allowed(said.stale_while_revalidate, policy.stale_while_revalidate),
        if_error: allowed(said.stale_if_error, policy.stale_if_error),
        no_cache: said.no_cache,
        strict,
        explicit: explicit.is_some() && !doubtful,
        immutable: said.immutable,
        date,
        last_modified,
    })
}

/// Returns the age that caches before this one give, and whether it is doubtful: an answer of doubtful age counts as
/// stale. RFC 9111 section 5.1 would rather ignore such a field; to validate once too often harms nobody. Two lines, and
/// what was joined of two lines by `, ` as RFC 9110 section 5.3 has it, come from two hops: whose age is it? Of a bare
/// list the first member counts.
fn stated_age(headers: &HeaderMap) -> (i64, bool) {
    let mut lines = headers.get_all(AGE).iter();
    let Some(first) = lines.next() else { return (0, false) };
    let text = first.to_str().unwrap_or_default();
    let member = text.split(',').next().unwrap_or_default().trim();
    let digits = !member.is_empty() && member.bytes().all(|byte| byte.is_ascii_digit());
    if lines.next().is_some() || text.contains(", ") || !digits {
        return (0, true);
    }
    (member.parse::<i64>().map_or(i64::MAX / 4 / SECOND, |seconds| seconds.min(1 << 31)) * SECOND, false)
}

/// Says whether answers of this status may be kept without a word of the origin (RFC 9110 section 15.1).
pub(crate) fn heuristic(status: StatusCode) -> bool {
    matches!(status.as_u16(), 200 | 203 | 204 | 206 | 300 | 301 | 308 | 404 | 405 | 410 | 414 | 501)
}

/// Says whether this cache knows what the status means for caching (RFC 9111 section 5.2.2.3).
fn understood(status: StatusCode) -> bool {
    heuristic(status) || matches!(status.as_u16(), 302 | 303 | 307 | 400 | 403 | 500 | 502 | 503 | 504)
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, Request};

    use super::*;
    use crate::policy::PolicyConfig;

    const NOW: Timestamp = Timestamp(1_795_219_200_000_000);

    fn verdict(config: PolicyConfig, status: u16, lines: &[(&'static str, &'static str)]) -> Option<Meta> {
        judged(config, status, lines, &Scope::public(false), Request::new(()))
    }

    fn judged(
        config: PolicyConfig,
        status: u16,
        lines: &[(&'static str, &'static str)],
        scope: &Scope,
        request: Request<()>,
    ) -> Option<Meta> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_static(value));
        }
        let policy = Policy::compile(&config).unwrap();
        let status = StatusCode::from_u16(status).unwrap();
        judge(&policy, scope, &request.into_parts().0, status, &headers, (NOW, NOW)).map(|(meta, _)| meta)
    }

    fn lifetime(status: u16, lines: &[(&'static str, &'static str)]) -> Option<i64> {
        verdict(PolicyConfig::default(), status, lines).map(|meta| meta.lifetime / SECOND)
    }

    #[test]
    fn explicit_lifetimes() {
        assert_eq!(lifetime(200, &[("cache-control", "max-age=9, s-maxage=5")]), Some(5));
        assert_eq!(lifetime(200, &[("cache-control", "max-age=9"), ("expires", "0")]), Some(9));
        let dates = [("date", "Sat, 21 Nov 2026 00:00:00 GMT"), ("expires", "Sat, 21 Nov 2026 00:01:00 GMT")];
        assert_eq!(lifetime(200, &dates), Some(60));
        assert_eq!(lifetime(599, &[("cache-control", "max-age=9")]), Some(9), "any status, if the origin says so");
        assert_eq!(lifetime(200, &[("expires", "0")]), None, "stale and without a validator");
        assert_eq!(lifetime(200, &[("expires", "0"), ("etag", "\"a\"")]), Some(0));
        assert_eq!(lifetime(200, &[]), None);
    }

    #[test]
    fn what_forbids_storing() {
        for refused in ["no-store, max-age=9", "private, max-age=9", "no-cache", "max-age=0"] {
            let value = HeaderValue::from_static(refused);
            assert_eq!(
                lifetime(200, &[("cache-control", value.to_str().unwrap().to_owned().leak())]),
                None,
                "{refused}"
            );
        }
        assert_eq!(lifetime(599, &[("cache-control", "max-age=9, must-understand")]), None);
        assert_eq!(lifetime(200, &[("cache-control", "max-age=9, must-understand, no-store")]), Some(9));
        assert_eq!(lifetime(304, &[("cache-control", "max-age=9")]), None);
    }

    #[test]
    fn credentials_need_a_word_of_the_origin_or_of_the_route() {
        let scope = Scope::of(kernel::TenantId::new(), crate::Class::of(&[b"admin"]), false);
        let ask =
            |config: PolicyConfig, value| judged(config, 200, &[("cache-control", value)], &scope, Request::new(()));
        assert_eq!(ask(PolicyConfig::default(), "max-age=9"), None);
        for released in ["max-age=9, public", "s-maxage=9", "max-age=9, must-revalidate"] {
            assert!(ask(PolicyConfig::default(), released).is_some(), "{released}");
        }
        let class = PolicyConfig { credentials: Credentials::Class, ..PolicyConfig::default() };
        assert!(ask(class.clone(), "max-age=9").is_some());
        assert_eq!(ask(class, "private, max-age=9"), None, "private stays with one person");
        let header = Request::builder().header("authorization", "Basic eA==").body(()).unwrap();
        let lines = [("cache-control", "max-age=9")];
        assert_eq!(judged(PolicyConfig::default(), 200, &lines, &Scope::public(false), header), None);
    }

    #[test]
    fn cookies_are_kept_only_on_purpose() {
        let cookie = ("set-cookie", "a=b");
        assert_eq!(lifetime(200, &[("cache-control", "max-age=9"), cookie]), None);
        assert_eq!(lifetime(200, &[("cache-control", "public, max-age=9"), cookie]), Some(9));
        let config = PolicyConfig { store_set_cookie: true, ..PolicyConfig::default() };
        assert!(verdict(config, 200, &[("cache-control", "max-age=9"), cookie]).is_some());
    }

    #[test]
    fn guesses_are_a_tenth_and_only_where_allowed() {
        let lines = [("date", "Sat, 21 Nov 2026 00:00:00 GMT"), ("last-modified", "Fri, 20 Nov 2026 00:00:00 GMT")];
        let config = PolicyConfig { heuristics: true, ..PolicyConfig::default() };
        assert_eq!(verdict(config.clone(), 200, &lines).unwrap().lifetime, 8_640 * SECOND);
        assert_eq!(verdict(config.clone(), 404, &lines).unwrap().lifetime, 8_640 * SECOND);
        assert_eq!(verdict(config, 403, &lines), None);
        assert_eq!(lifetime(200, &lines), Some(0), "kept for validation only");
    }

    #[test]
    fn ages_add_up() {
        let meta = |age: &'static str| {
            verdict(PolicyConfig::default(), 200, &[("cache-control", "max-age=9999"), ("age", age)])
        };
        assert_eq!(meta("30").unwrap().age(NOW.plus(Duration::from_secs(3))), 33 * SECOND);
        assert_eq!(meta("0,7200").unwrap().initial_age, 0);
        assert_eq!(meta("7200,0").unwrap().initial_age, 7_200 * SECOND);
        for doubtful in ["abc", "-1", "1.0", "0, 0", "7;foo=1", ""] {
            assert_eq!(meta(doubtful), None, "{doubtful:?} is stale and has no validator");
        }
        let two = [("cache-control", "max-age=9"), ("age", "0"), ("age", "0")];
        assert_eq!(verdict(PolicyConfig::default(), 200, &two), None);
    }
}
