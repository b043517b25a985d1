//! Which of several stored answers a request selects (RFC 9111 section 4.1). Not for the key without Vary; see `key`.

use http::header::{ACCEPT_ENCODING, ACCEPT_LANGUAGE, CONTENT_LANGUAGE, VARY};
use http::{HeaderMap, HeaderName};

use crate::directives::split_list;

/// The request headers that selected an answer, with the values that the request had.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Vary {
    pub names: Vec<HeaderName>,
    /// Normalised, each with its length before it.
    pub values: Vec<u8>,
    /// The answer's own language, where it varies by the languages asked for.
    pub language: Option<Box<str>>,
}

impl Vary {
    /// Returns what an answer to this request varies by; `None` where nothing can select it again.
    pub(crate) fn of(request: &HeaderMap, answer: &HeaderMap) -> Option<Self> {
        let mut names = Vec::new();
        for line in answer.get_all(VARY) {
            for member in split_list(line.to_str().ok()?) {
                // `*`, and what is no name at all.
                names.push(HeaderName::try_from(member).ok().filter(|_| member != "*")?);
            }
        }
        names.sort_unstable_by(|a, b| a.as_str().cmp(b.as_str()));
        names.dedup();
        let language = answer.get(CONTENT_LANGUAGE).filter(|_| names.contains(&ACCEPT_LANGUAGE));
        let language =
            language.and_then(|value| value.to_str().ok()).map(|text| text.trim().to_ascii_lowercase().into());
        Some(Self { values: selecting(&names, request), names, language })
    }

    /// Says whether this request selects the answer.
    pub(crate) fn matches(&self, request: &HeaderMap) -> bool {
        if self.names.is_empty() || selecting(&self.names, request) == self.values {
            return true;
        }
        // An answer in the very language that is wanted most fits whatever else was asked for.
        let Some(language) = &self.language else { return false };
        let only = self.names.len() == 1;
        only && preferred(request).is_some_and(|wanted| wanted == **language)
    }
}

/// Returns the values of these headers in their normal form.
pub(crate) fn selecting(names: &[HeaderName], request: &HeaderMap) -> Vec<u8> {
    let mut values = Vec::new();
    for name in names {
        let start = values.len();
        values.extend_from_slice(&[0; 4]);
        let there = request.contains_key(name);
        if there {
            normalise(&mut values, name, request);
        }
        let length = if there { (values.len() - start - 4) as u32 } else { u32::MAX };
        values[start..start + 4].copy_from_slice(&length.to_be_bytes());
    }
    values
}

/// Writes a header's values as one list without spaces between; languages and codings in lower case and in order.
fn normalise(values: &mut Vec<u8>, name: &HeaderName, request: &HeaderMap) {
    let lines = request.get_all(name).iter();
    if name == ACCEPT_LANGUAGE || name == ACCEPT_ENCODING {
        let mut members: Vec<String> = lines
            .flat_map(|line| split_list(line.to_str().unwrap_or_default()).map(compact).collect::<Vec<_>>())
            .collect();
        members.sort_unstable();
        members.dedup();
        return values.extend_from_slice(members.join(",").as_bytes());
    }
    let mut first = true;
    for line in lines {
        match std::str::from_utf8(line.as_bytes()) {
            Ok(text) => {
                for member in split_list(text) {
                    separate(values, &mut first);
                    values.extend_from_slice(member.as_bytes());
                }
            }
            Err(_) => {
                separate(values, &mut first);
                values.extend_from_slice(line.as_bytes());
            }
        }
    }
}

fn separate(values: &mut Vec<u8>, first: &mut bool) {
    if !std::mem::take(first) {
        values.push(b',');
    }
}

fn compact(member: &str) -> String {
    let text: String = member.chars().filter(|c| !c.is_whitespace()).map(|c| c.to_ascii_lowercase()).collect();
    // `q=1` is what everything has that says nothing.
    match text.split_once(";q=") {
        Some((name, weight)) if weight.trim_end_matches('0').trim_end_matches('.') == "1" => name.to_owned(),
        _ => text,
    }
}

/// Returns the language with the single highest weight.
fn preferred(request: &HeaderMap) -> Option<String> {
    let mut best: Option<(u32, String)> = None;
    let mut shared = false;
    for line in request.get_all(ACCEPT_LANGUAGE) {
        for member in split_list(line.to_str().ok()?).map(compact) {
            let (name, weight) = member.split_once(";q=").map_or((&*member, "1"), |(name, weight)| (name, weight));
            let weight = (weight.parse::<f64>().ok()?.clamp(0.0, 1.0) * 1_000.0) as u32;
            match &best {
                Some((highest, _)) if *highest > weight => {}
                Some((highest, _)) if *highest == weight => shared = true,
                _ => (best, shared) = (Some((weight, name.to_owned())), false),
            }
        }
    }
    best.filter(|(weight, name)| !shared && *weight > 0 && name != "*").map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in lines {
            map.append(*name, HeaderValue::from_static(value));
        }
        map
    }

    fn selects(
        stored: &[(&'static str, &'static str)],
        vary: &'static str,
        asked: &[(&'static str, &'static str)],
    ) -> bool {
        Vary::of(&headers(stored), &headers(&[("vary", vary)])).is_some_and(|vary| vary.matches(&headers(asked)))
    }

    #[test]
    fn the_same_values_select_in_any_spelling() {
        assert!(selects(&[("foo", "1, 2")], "Foo", &[("foo", "1"), ("foo", "2")]));
        assert!(selects(&[("foo", "1,2")], "Foo", &[("foo", " 1, 2 ")]));
        assert!(selects(&[("accept-language", "en, de")], "accept-language", &[("accept-language", "DE ,  eN;q=1.0")]));
        assert!(selects(&[], "Foo, Bar", &[]));
    }

    #[test]
    fn other_values_do_not() {
        assert!(!selects(&[("foo", "1")], "Foo", &[("foo", "2")]));
        assert!(!selects(&[("foo", "1")], "Foo", &[]));
        assert!(!selects(&[], "Foo", &[("foo", "")]), "empty is not absent");
        assert!(!selects(&[("foo", "a,b")], "Foo", &[("foo", "\"a,b\"")]));
        assert!(!selects(&[("foo", "1"), ("bar", "2")], "foo, bar", &[("foo", "1,2"), ("bar", "")]));
        assert!(!selects(&[("accept-language", "en, de")], "accept-language", &[("accept-language", "de;q=0.5, en")]));
    }

    #[test]
    fn a_star_selects_nothing() {
        for vary in ["*", "*, *", ", *", "*, Foo", "Foo, *", "no name"] {
            assert!(!selects(&[("foo", "1")], vary, &[("foo", "1")]), "{vary}");
        }
    }

    #[test]
    fn an_answer_in_the_wanted_language_fits() {
        let answer = headers(&[("vary", "accept-language"), ("content-language", "de")]);
        let vary = Vary::of(&headers(&[("accept-language", "en, de")]), &answer).unwrap();
        assert!(vary.matches(&headers(&[("accept-language", "fr;q=0.5, de;q=1.0")])));
        for other in ["fr, de;q=0.9", "de, fr", "*", "de;q=0"] {
            assert!(!vary.matches(&headers(&[("accept-language", other)])), "{other}");
        }
    }
}
