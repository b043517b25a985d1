//! Path templates: which of a door's routes a path of a document is under, and what it is called
//! there. Not for choosing between documents; see `select`.

use std::collections::HashMap;

/// One part of a template, between slashes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Segment {
    Literal(String),
    /// `{name}`
    Parameter(String),
    /// `{name}.json` and the like, as it is written.
    Mixed(String),
    /// `{*name}`
    Rest(String),
}

/// Returns the parts of a template.
pub(crate) fn segments(template: &str) -> Vec<Segment> {
    template.strip_prefix('/').unwrap_or(template).split('/').map(segment).collect()
}

fn segment(text: &str) -> Segment {
    match text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
        Some(name) if !name.contains(['{', '}']) => match name.strip_prefix('*') {
            Some(name) => Segment::Rest(name.to_owned()),
            None => Segment::Parameter(name.to_owned()),
        },
        _ if text.contains('{') => Segment::Mixed(text.to_owned()),
        _ => Segment::Literal(text.to_owned()),
    }
}

impl Segment {
    fn text(&self) -> String {
        match self {
            Self::Literal(text) | Self::Mixed(text) => text.clone(),
            Self::Parameter(name) => format!("{{{name}}}"),
            Self::Rest(name) => format!("{{*{name}}}"),
        }
    }
}

/// Returns the names of a template's parameters, in order.
pub(crate) fn names(template: &str) -> Vec<String> {
    let opened = template.split('{').skip(1);
    opened.filter_map(|part| part.split_once('}')).map(|(name, _)| name.trim_start_matches('*').to_owned()).collect()
}

/// Returns a template without its parameters' names: templates of one shape are one path.
pub(crate) fn shape(template: &str) -> String {
    let mut shape = String::with_capacity(template.len());
    let mut parts = template.split('{');
    shape.push_str(parts.next().unwrap_or_default());
    for part in parts {
        match part.split_once('}') {
            Some((name, rest)) => {
                shape.push_str(if name.starts_with('*') { "{*}" } else { "{}" });
                shape.push_str(rest);
            }
            None => {
                shape.push('{');
                shape.push_str(part);
            }
        }
    }
    shape
}

/// How a document's path appears under a route.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Appearance {
    /// The path at the door.
    pub path: String,
    /// Parameters of the document's path that the route fixes.
    pub fixed: Vec<String>,
    /// Parameters that only the door's path has.
    pub added: Vec<String>,
}

/// Returns how `path` appears under a route from `door` to `upstream`, if it does.
pub(crate) fn appearance(door: &[Segment], upstream: &[Segment], path: &[Segment]) -> Option<Appearance> {
    let mut bound: HashMap<String, String> = HashMap::new();
    let mut fixed = Vec::new();
    let mut rest = path.iter();
    for (at, expected) in upstream.iter().enumerate() {
        if let Segment::Rest(name) = expected {
            let text: Vec<String> = path.get(at..)?.iter().map(Segment::text).collect();
            let text = text.join("/");
            // A catch-all of the door matches something, never nothing.
            if text.is_empty() {
                return None;
            }
            bound.insert(name.clone(), text);
            rest = [].iter();
            break;
        }
        match (expected, rest.next()?) {
            (Segment::Literal(one), Segment::Literal(other)) if one == other => {}
            (Segment::Literal(_), Segment::Parameter(name)) => fixed.push(name.clone()),
            (Segment::Parameter(name), given) => {
                bound.insert(name.clone(), given.text());
            }
            (Segment::Mixed(one), Segment::Mixed(other)) if shape(one) == shape(other) => {
                let pairs = names(one).into_iter().zip(names(other));
                bound.extend(pairs.map(|(one, other)| (one, format!("{{{other}}}"))));
            }
            _ => return None,
        }
    }
    if rest.next().is_some() {
        return None;
    }
    let mut added = Vec::new();
    let mut parts = Vec::new();
    for segment in door {
        parts.push(match segment {
            Segment::Literal(text) => text.clone(),
            Segment::Parameter(name) | Segment::Rest(name) => bound.get(name).cloned().unwrap_or_else(|| {
                added.push(name.clone());
                format!("{{{name}}}")
            }),
            Segment::Mixed(text) => names(text).into_iter().fold(text.clone(), |text, name| {
                let by = bound.get(&name).cloned().unwrap_or_else(|| {
                    added.push(name.clone());
                    format!("{{{name}}}")
                });
                text.replace(&format!("{{{name}}}"), &by)
            }),
        });
    }
    Some(Appearance { path: format!("/{}", parts.join("/")), fixed, added })
}

/// The door's templates: which of them a path is routed by. Literals come before parameters, and
/// those before catch-alls, as in the door.
#[derive(Default)]
pub(crate) struct Table {
    nodes: Vec<Node>,
}

#[derive(Default)]
struct Node {
    literals: HashMap<String, usize>,
    parameter: Option<usize>,
    rest: Option<String>,
    end: Option<String>,
}

impl Table {
    /// Adds a template.
    pub(crate) fn add(&mut self, template: &str) {
        if self.nodes.is_empty() {
            self.nodes.push(Node::default());
        }
        let mut at = 0;
        for segment in segments(template) {
            let next = self.nodes.len();
            let node = &mut self.nodes[at];
            let found = match segment {
                Segment::Literal(text) => *node.literals.entry(text).or_insert(next),
                Segment::Parameter(_) | Segment::Mixed(_) => *node.parameter.get_or_insert(next),
                Segment::Rest(_) => {
                    node.rest = Some(shape(template));
                    return;
                }
            };
            if found == next {
                self.nodes.push(Node::default());
            }
            at = found;
        }
        self.nodes[at].end = Some(shape(template));
    }

    /// Returns the shape of the template that this path is routed by.
    pub(crate) fn winner(&self, path: &[Segment]) -> Option<&str> {
        self.walk(0, path)
    }

    fn walk(&self, at: usize, path: &[Segment]) -> Option<&str> {
        let node = self.nodes.get(at)?;
        let Some((first, rest)) = path.split_first() else { return node.end.as_deref() };
        let literal = match first {
            Segment::Literal(text) => node.literals.get(text).and_then(|next| self.walk(*next, rest)),
            _ => None,
        };
        literal.or_else(|| node.parameter.and_then(|next| self.walk(next, rest))).or(node.rest.as_deref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn appears(door: &str, upstream: &str, path: &str) -> Option<Appearance> {
        appearance(&segments(door), &segments(upstream), &segments(path))
    }

    fn path(door: &str, upstream: &str, path: &str) -> Option<String> {
        appears(door, upstream, path).map(|found| found.path)
    }

    #[test]
    fn a_path_appears_where_a_route_leads_to_it() {
        assert_eq!(path("/api/m/{id}", "/v1/m/{id}", "/v1/m/{model}").as_deref(), Some("/api/m/{model}"));
        assert_eq!(path("/api/m/{*rest}", "/v1/{*rest}", "/v1/a/{b}/c").as_deref(), Some("/api/m/a/{b}/c"));
        assert_eq!(path("/api/{b}/{a}", "/{a}/x/{b}", "/{one}/x/{two}").as_deref(), Some("/api/{two}/{one}"));
        assert_eq!(path("/f/{f}", "/files/{f}", "/files/{name}.json").as_deref(), Some("/f/{name}.json"));
        assert_eq!(path("/api/{*rest}", "/v1/{*rest}", "/v1/"), None);
        assert_eq!(path("/api/{*rest}", "/v1/{*rest}", "/v1"), None);
        assert_eq!(path("/api/x", "/v1/x", "/v1/x/y"), None);
        assert_eq!(path("/api/x", "/v1/x/y", "/v1/x"), None);
        assert_eq!(path("/", "/", "/").as_deref(), Some("/"));
    }

    #[test]
    fn what_a_route_fixes_and_what_it_adds_is_said() {
        let found = appears("/{tenant}/users", "/v1/users/list", "/v1/{kind}/list").expect("appears");
        assert_eq!(found.fixed, ["kind"]);
        assert_eq!(found.added, ["tenant"]);
        assert_eq!(found.path, "/{tenant}/users");
    }

    #[test]
    fn the_most_literal_template_wins() {
        let mut table = Table::default();
        for template in ["/a/{id}", "/a/b", "/a/{*rest}", "/a/b/c/{d}"] {
            table.add(template);
        }
        let winner = |path: &str| table.winner(&segments(path)).map(str::to_owned);
        assert_eq!(winner("/a/b").as_deref(), Some("/a/b"));
        assert_eq!(winner("/a/c").as_deref(), Some("/a/{}"));
        assert_eq!(winner("/a/{x}").as_deref(), Some("/a/{}"));
        assert_eq!(winner("/a/b/c").as_deref(), Some("/a/{*}"));
        assert_eq!(winner("/a/b/c/d").as_deref(), Some("/a/b/c/{}"));
        assert_eq!(winner("/b"), None);
    }

    #[test]
    fn names_and_shapes() {
        assert_eq!(names("/a/{b}/{c}.{d}/{*e}"), ["b", "c", "d", "e"]);
        assert_eq!(shape("/a/{b}/{c}.{d}/{*e}"), "/a/{}/{}.{}/{*}");
        assert_eq!(shape("/a{/b"), "/a{/b");
    }
}
