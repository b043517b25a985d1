//! Where a path leads behind the door: a template with the names of another template in braces. Not for
//! finding the route.

use kernel::{Error, Result};

/// The path that a backend expects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UpstreamPath(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Part(String),
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
    fn a_name_that_the_route_does_not_have_is_refused() {
        for wrong in ["x", "/{other}", "/{id", "/a?b", "/a#b"] {
            assert_eq!(UpstreamPath::compile(wrong, "/a/{id}").expect_err(wrong).code(), "gateway.invalid_file");
        }
    }
}
