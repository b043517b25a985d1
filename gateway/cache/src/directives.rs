//! Reads Cache-Control and its relatives (RFC 9111 section 5.2, RFC 5861, 8246, 9213, Surrogate-Control).
//! Not for what follows from them: `verdict` and `select` decide.

use std::borrow::Cow;

use http::header::{CACHE_CONTROL, PRAGMA};
use http::{HeaderMap, HeaderName, HeaderValue};

/// Longer than any lifetime that matters; larger numbers count as this (RFC 9111 section 1.2.2).
const LONGEST: u64 = 1 << 31;
/// The name of this cache in Surrogate-Capability, and so in directives that are for it alone.
pub(crate) const SURROGATE: &str = "portico";

/// What a request asks of a cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Asked {
    pub no_store: bool,
    pub no_cache: bool,
    pub only_if_cached: bool,
    pub max_age: Option<u64>,
    /// `Some(None)`: however stale.
    pub max_stale: Option<Option<u64>>,
    pub min_fresh: Option<u64>,
}

/// What an answer says to a shared cache.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Said {
    pub no_store: bool,
    pub no_cache: bool,
    pub private: bool,
    /// The fields that `no-cache` and `private` name: they are not stored.
    pub fields: Vec<HeaderName>,
    pub public: bool,
    pub must_revalidate: bool,
    pub proxy_revalidate: bool,
    pub must_understand: bool,
    /// RFC 8246: it does not change while it is fresh.
    pub immutable: bool,
    pub max_age: Option<u64>,
    pub s_maxage: Option<u64>,
    pub stale_while_revalidate: Option<u64>,
    pub stale_if_error: Option<u64>,
    /// A targeted field spoke, so Cache-Control and Expires do not count (RFC 9213 section 2.2).
    pub targeted: bool,
}

impl Asked {
    /// Reads what the request asks.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let mut asked = Self::default();
        if !headers.contains_key(CACHE_CONTROL) {
            // Old clients know no other way (RFC 7234 section 5.4).
            let pragma = headers.get(PRAGMA).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"no-cache"));
            asked.no_cache = pragma;
            return asked;
        }
        for value in headers.get_all(CACHE_CONTROL) {
            each(value, |name, argument| match name {
                "no-store" => asked.no_store = true,
                "no-cache" => asked.no_cache = true,
                "only-if-cached" => asked.only_if_cached = true,
                // What cannot be read asks for the most.
                "max-age" => asked.max_age = least(asked.max_age, seconds(argument).or(Some(0))),
                "min-fresh" => asked.min_fresh = asked.min_fresh.max(Some(seconds(argument).unwrap_or(LONGEST))),
                "max-stale" => {
                    asked.max_stale = match (argument, seconds(argument)) {
                        (None, _) => Some(None),
                        (_, Some(limit)) => Some(Some(limit)),
                        (Some(_), None) => asked.max_stale,
                    }
                }
                _ => {}
            });
        }
        asked
    }
}

impl Said {
    /// Reads what the answer says; the first targeted field that is there and says something wins.
    pub(crate) fn of(headers: &HeaderMap, targeted: &[HeaderName], surrogate: bool) -> Self {
        for name in targeted {
            let mut said = Self::default();
            if headers.get_all(name).iter().filter(|value| said.read(value)).count() > 0 {
                said.targeted = true;
                return said;
            }
        }
        if surrogate {
            let mut said = Self::default();
            let lines = headers.get_all("surrogate-control");
            if lines.iter().filter(|value| said.read_surrogate(value)).count() > 0 {
                said.targeted = true;
                return said;
            }
        }
        let mut said = Self::default();
        for value in headers.get_all(CACHE_CONTROL) {
            said.read(value);
        }
        said
    }

    /// Reads one line; says whether there was anything in it.
    fn read(&mut self, value: &HeaderValue) -> bool {
        let mut some = false;
        each(value, |name, argument| {
            some = true;
            match name {
                "no-store" => self.no_store = true,
                "no-cache" | "private" => match argument.filter(|fields| !fields.is_empty()) {
                    Some(fields) => self.fields.extend(names(fields)),
                    None if name == "private" => self.private = true,
                    None => self.no_cache = true,
                },
                "public" => self.public = true,
                "must-revalidate" => self.must_revalidate = true,
                "proxy-revalidate" => self.proxy_revalidate = true,
                "must-understand" => self.must_understand = true,
                "immutable" => self.immutable = true,
                // Where two disagree, and where one cannot be read, the shorter counts: RFC 9111 section 4.2.1
                // lets a cache take the first or take the answer for stale, and this is never longer.
                "max-age" => self.max_age = least(self.max_age, seconds(argument).or(Some(0))),
                "s-maxage" => self.s_maxage = least(self.s_maxage, seconds(argument).or(Some(0))),
                "stale-while-revalidate" => self.stale_while_revalidate = seconds(argument).or(Some(0)),
                "stale-if-error" => self.stale_if_error = seconds(argument).or(Some(0)),
                _ => {}
            }
        });
        some
    }

    /// Reads Surrogate-Control: what is marked for another device does not count.
    fn read_surrogate(&mut self, value: &HeaderValue) -> bool {
        let mut some = false;
        each(value, |name, argument| {
            let whole = argument.unwrap_or(name);
            let mut parts = whole.split(';');
            let first = parts.next().unwrap_or_default().trim();
            if parts.any(|target| target.trim() != SURROGATE) {
                return;
            }
            match if argument.is_some() { name } else { first } {
                "no-store" => (self.no_store, some) = (true, true),
                "max-age" if argument.is_some() => {
                    // `max-age=60+30` allows 30 s more of stale.
                    let (fresh, extra) = first.split_once('+').map_or((first, None), |(a, b)| (a, Some(b)));
                    self.max_age = least(self.max_age, seconds(Some(fresh)).or(Some(0)));
                    self.stale_while_revalidate = extra.and_then(|extra| seconds(Some(extra)));
                    some = true;
                }
                _ => {}
            }
        });
        some
    }

    /// Says whether a stale answer may never be given without asking the origin.
    pub(crate) fn forbids_stale(&self) -> bool {
        self.must_revalidate || self.proxy_revalidate || self.no_cache || self.s_maxage.is_some()
    }
}

fn least(known: Option<u64>, new: Option<u64>) -> Option<u64> {
    match (known, new) {
        (Some(known), Some(new)) => Some(known.min(new)),
        (known, new) => known.or(new),
    }
}

/// Reads delta-seconds; `None` where it is no whole number.
fn seconds(argument: Option<&str>) -> Option<u64> {
    let digits = argument.filter(|text| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()))?;
    Some(digits.parse().unwrap_or(LONGEST).min(LONGEST))
}

fn names(list: &str) -> impl Iterator<Item = HeaderName> {
    list.split(',').filter_map(|name| HeaderName::try_from(name.trim()).ok())
}

/// Calls this for each directive with its name in lower case and its argument without quotes.
fn each(value: &HeaderValue, mut take: impl FnMut(&str, Option<&str>)) {
    let text = String::from_utf8_lossy(value.as_bytes());
    for directive in split_list(&text) {
        let (name, argument) = match directive.split_once('=') {
            Some((name, argument)) => (name, Some(unquote(argument))),
            None => (directive, None),
        };
        if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
            take(&name.to_ascii_lowercase(), argument.as_deref());
        } else {
            take(name, argument.as_deref());
        }
    }
}

fn unquote(argument: &str) -> Cow<'_, str> {
    match argument.strip_prefix('"') {
        None => Cow::Borrowed(argument),
        Some(inner) => {
            let inner = inner.strip_suffix('"').unwrap_or(inner);
            if inner.contains('\\') { Cow::Owned(inner.replace('\\', "")) } else { Cow::Borrowed(inner) }
        }
    }
}

/// Returns the members of a list (RFC 9110 section 5.6.1), trimmed; commas in quoted strings do not divide.
pub(crate) fn split_list(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let (mut quoted, mut escaped) = (false, false);
        let end = text.bytes().position(|byte| {
            match byte {
                _ if escaped => escaped = false,
                b'\\' if quoted => escaped = true,
                b'"' => quoted = !quoted,
                b',' if !quoted => return true,
                _ => {}
            }
            false
        });
        rest = end.map(|end| &text[end + 1..]);
        Some(text[..end.unwrap_or(text.len())].trim_matches([' ', '\t']))
    })
    .filter(|member| !member.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(lines: &[(&'static str, &'static str)]) -> Said {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_static(value));
        }
        Said::of(&headers, &[HeaderName::from_static("cdn-cache-control")], true)
    }

    fn control(value: &'static str) -> Said {
        said(&[("cache-control", value)])
    }

    #[test]
    fn quoted_and_odd_arguments() {
        assert_eq!(control("max-age=\"3600\"").max_age, Some(3_600));
        assert_eq!(control("MAX-age=003600").max_age, Some(3_600));
        assert_eq!(control("extension=\"max-age=3600\", max-age=1").max_age, Some(1));
        assert_eq!(control("max-age=1, extension=\"a\\\", max-age=0\"").max_age, Some(1));
        for odd in ["max-age='3600'", "max-age=-1", "max-age=", "max-age", "max-age=1.5", "max-age= 3600", "max-age=1a"]
        {
            assert_eq!(control(odd).max_age, Some(0), "{odd} is stale");
        }
        assert_eq!(control("max-age =3600").max_age, None, "no token, no directive");
        assert_eq!(control("max-age=99999999999999999999").max_age, Some(LONGEST));
    }

    #[test]
    fn the_shorter_of_two_lifetimes_counts() {
        for twice in ["max-age=1800, max-age=1", "max-age=1, max-age=1800"] {
            assert_eq!(control(twice).max_age, Some(1));
        }
        assert_eq!(said(&[("cache-control", "max-age=9"), ("cache-control", "max-age=3")]).max_age, Some(3));
    }

    #[test]
    fn fields_may_be_named() {
        let said = control("no-cache=\"a, b\", private=c, max-age=5");
        assert_eq!((said.no_cache, said.private), (false, false));
        assert_eq!(said.fields, ["a", "b", "c"]);
        assert!(control("no-cache").no_cache && control("private=\"\"").private);
    }

    #[test]
    fn a_targeted_field_silences_the_others() {
        let both = said(&[("cache-control", "no-store"), ("cdn-cache-control", "max-age=5")]);
        assert_eq!((both.no_store, both.max_age, both.targeted), (false, Some(5), true));
        assert!(!said(&[("cache-control", "max-age=1"), ("cdn-cache-control", "")]).targeted, "empty says nothing");
    }

    #[test]
    fn surrogate_control_is_for_us_or_for_all() {
        assert_eq!(said(&[("surrogate-control", "max-age=5;portico")]).max_age, Some(5));
        assert_eq!(said(&[("surrogate-control", "foobar, MaX-aGe=5")]).max_age, Some(5));
        assert_eq!(said(&[("surrogate-control", "max-age=5;other")]).max_age, None);
        assert!(said(&[("surrogate-control", "no-store;portico")]).no_store);
        assert!(!said(&[("surrogate-control", "foo"), ("cache-control", "no-store")]).targeted);
    }

    #[test]
    fn what_a_request_asks() {
        let asked = |name: &'static str, value: &'static str| {
            Asked::of(&HeaderMap::from_iter([(HeaderName::from_static(name), HeaderValue::from_static(value))]))
        };
        assert_eq!(asked("cache-control", "max-stale").max_stale, Some(None));
        assert_eq!(asked("cache-control", "max-stale=5").max_stale, Some(Some(5)));
        assert_eq!(asked("cache-control", "max-stale=x").max_stale, None, "what cannot be read allows nothing");
        assert_eq!(asked("cache-control", "max-age=x").max_age, Some(0));
        assert!(asked("cache-control", "No-Store, only-if-cached").only_if_cached);
        assert!(asked("pragma", "no-cache").no_cache && !asked("pragma", "foo").no_cache);
    }
}
