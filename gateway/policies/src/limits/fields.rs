//! The header fields that tell a client about its limits. Values are seconds and whole units, as
//! draft-ietf-httpapi-ratelimit-headers-10 has them (structured fields, RFC 9651). Not for deciding.

use http::{HeaderMap, HeaderName, HeaderValue};

use super::config::Fields;

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const STATE: HeaderName = HeaderName::from_static("ratelimit");
const LEGACY_LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const LEGACY_REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const LEGACY_RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");

/// One limit as clients are told: at most `quota` in `window` seconds, both those of a full bucket.
pub(crate) struct Told<'a> {
    pub name: &'a str,
    pub quota: u64,
    pub window: u64,
}

/// Returns the value of `RateLimit-Policy` for all limits of a route, made once.
pub(crate) fn policy<'a>(limits: impl Iterator<Item = Told<'a>>) -> Option<HeaderValue> {
    let items: Vec<String> =
        limits.map(|told| format!("\"{}\";q={};w={}", told.name, told.quota, told.window)).collect();
    // Names are letters, digits, _ - and . only.
    (!items.is_empty()).then(|| HeaderValue::try_from(items.join(", ")).ok()).flatten()
}

/// Returns `"name";r=remaining;t=seconds`. Each answer has one, and `format!` takes four times as long.
fn state(name: &str, remaining: u64, seconds: u64) -> String {
    let (remaining, seconds) = (remaining.to_string(), seconds.to_string());
    ["\"", name, "\";r=", &remaining, ";t=", &seconds].concat()
}

/// Writes the state of the tightest limit: what is left, and in how many seconds the quota is whole again or,
/// where the request was refused, in how many it may be sent again.
pub(crate) fn write(
    style: Fields,
    policy: Option<&HeaderValue>,
    told: &Told<'_>,
    remaining: u64,
    seconds: u64,
    headers: &mut HeaderMap,
) {
    match style {
        Fields::Draft => {
            if let Some(policy) = policy {
                headers.insert(POLICY, policy.clone());
            }
            if let Ok(state) = HeaderValue::try_from(state(told.name, remaining, seconds)) {
                headers.insert(STATE, state);
            }
        }
        Fields::Legacy => {
            headers.insert(LEGACY_LIMIT, HeaderValue::from(told.quota));
            headers.insert(LEGACY_REMAINING, HeaderValue::from(remaining));
            headers.insert(LEGACY_RESET, HeaderValue::from(seconds));
        }
        Fields::None => {}
    }
}
