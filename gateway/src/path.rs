//! Where a path leads behind the door: a template with the names of another template in braces; and the escapes
//! that a route takes in its path. Not for finding the route.

use kernel::{Error, Result};

/// The path that a backend expects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UpstreamPath(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Part(String),
}

/// Escapes that a path is refused for unless its route says that it takes them: the server behind it reads them
/// in the one way that its operator knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Escapes(u8);

impl Escapes {
    const KNOWN: [(&str, u8); 3] = [("%25", b'%'), ("%2F", b'/'), ("%5C", b'\\')];

    /// Reads what a route lists.
    pub(crate) fn compile(listed: &[String]) -> Result<Self> {
        listed.iter().try_fold(Self::default(), |taken, text| {
            let known = Self::KNOWN.iter().find(|(known, _)| text.eq_ignore_ascii_case(known));
            let wrong = || {
                let message = format!("encoded lists {text:?}; it may list %25, %2F and %5C, nothing else");
                Error::invalid("gateway.invalid_file", message)
            };
            known.and_then(|(_, byte)| Self::of(*byte)).map(|escape| taken.with(escape)).ok_or_else(wrong)
        })
    }

    /// Returns the escape of a character, if it is one that a route may take.
    pub(crate) fn of(decoded: u8) -> Option<Self> {
        Self::KNOWN.iter().position(|(_, byte)| *byte == decoded).map(|place| Self(1 << place))
    }

    pub(crate) fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(crate) fn is_within(self, taken: Self) -> bool {
        self.0 & !taken.0 == 0
    }
}

/// Returns the names in a template's braces, without the star of the last.
pub(crate) fn names(template: &str) -> Vec<&str> {
    let parts = template.split('{').skip(1).filter_map(|part| part.split_once('}'));
    parts.map(|(name, _)| name.trim_start_matches('*')).collect()
}

impl UpstreamPath {
    /// Compiles a template whose names are among those of the route's.
    pub(crate) fn compile(template: &str, route: &str) -> Result<Self> {
        let wrong = |why: String| Error::invalid("gateway.invalid_file", format!("upstream_path {template:?} {why}"));
        if !template.starts_with('/') || template.contains(['?', '#']) {
            return Err(wrong("must start with / and have neither query nor fragment".to_owned()));
        }
        let known = names(route);
        let (mut pieces, mut rest) = (Vec::new(), template);
        while let Some((text, after)) = rest.split_once('{') {
            let (name, after) =
                after.split_once('}').ok_or_else(|| wrong("has a brace that is not closed".to_owned()))?;
            let name = name.trim_start_matches('*');
            if !known.contains(&name) {
                return Err(wrong(format!("names {{{name}}}, which {route} does not have")));
            }
            pieces.push(Piece::Text(text.to_owned()));
            pieces.push(Piece::Part(name.to_owned()));
            rest = after;
        }
        pieces.push(Piece::Text(rest.to_owned()));
        Ok(Self(pieces))
    }

    /// Returns the path for these parts.
    pub(crate) fn of(&self, parts: &matchit::Params<'_, '_>) -> String {
        let mut path = String::with_capacity(64);
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => path.push_str(text),
                Piece::Part(name) => path.push_str(parts.get(name).unwrap_or_default()),
            }
        }
        path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapped(route: &str, upstream: &str, path: &str) -> String {
        let mut router = matchit::Router::new();
        router.insert(route, ()).expect("a template");
        let matched = router.at(path).expect("matches");
        UpstreamPath::compile(upstream, route).expect("a template").of(&matched.params)
    }

    #[test]
    fn parts_of_the_path_go_where_the_upstream_wants_them() {
        assert_eq!(mapped("/a/{id}/b", "/x/{id}", "/a/7/b"), "/x/7");
        assert_eq!(mapped("/a/{*rest}", "/{rest}", "/a/b/c%20d"), "/b/c%20d");
        assert_eq!(mapped("/a/{*rest}", "/{*rest}", "/a/b/"), "/b/");
        assert_eq!(mapped("/a/{b}/{c}", "/{c}-{b}.json", "/a/1/2"), "/2-1.json");
        assert_eq!(mapped("/a", "/", "/a"), "/");
    }

    #[test]
    fn only_escapes_that_mean_one_thing_to_the_server_behind_may_be_listed() {
        let listed =
            |texts: &[&str]| Escapes::compile(&texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>());
        let (slash, percent) = (Escapes::of(b'/').expect("known"), Escapes::of(b'%').expect("known"));
        let both = listed(&["%2f", "%25"]).expect("known");
        assert!(slash.is_within(both) && percent.is_within(both) && slash.with(percent) == both);
        assert!(!both.is_within(slash) && Escapes::default().is_within(slash));
        for wrong in ["%2e", "%2E", "%00", "/", "%", "", "%252F", "%20"] {
            assert!(listed(&[wrong]).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_name_that_the_route_does_not_have_is_refused() {
        for wrong in ["x", "/{other}", "/{id", "/a?b", "/a#b"] {
            assert_eq!(UpstreamPath::compile(wrong, "/a/{id}").expect_err(wrong).code(), "gateway.invalid_file");
        }
    }
}
