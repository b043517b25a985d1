//! `contract/routes.tsv` and `contract/events.tsv` as data, with every rule about their form.
//!
//! For: reading the contract once, for the coverage report and for lint. Not for: its meaning;
//! `contract/README.md` tells that.

use std::collections::BTreeSet;

use crate::workspace::Outcome;

pub const ROUTES: &str = "contract/routes.tsv";
pub const EVENTS: &str = "contract/events.tsv";

const ROUTES_HEADER: &str = "service\tmethod\tpath\tcaller\tupstream_path\tnote";
const EVENTS_HEADER: &str = "event\tpublished by\twire name elsewhere";
const METHODS: [&str; 6] = ["GET", "POST", "PUT", "PATCH", "DELETE", "WS"];
const CALLERS: [&str; 11] = [
    "public",
    "user",
    "staff",
    "admin",
    "superadmin",
    "client",
    "agent",
    "client or agent",
    "scim",
    "operator",
    "signature",
];

/// One route that Portico owes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Route {
    pub service: String,
    pub method: String,
    pub path: String,
}

impl Route {
    /// What identifies the route: its method and its path with the parameters' names left out.
    pub fn key(&self) -> (String, String) {
        (self.method.clone(), shape(&self.path))
    }
}

/// Returns a path template without the names of its parameters: `{id}` equals `{itemId}`.
pub fn shape(path: &str) -> String {
    let segment = |segment: &str| {
        let name = segment.starts_with('{') && segment.ends_with('}');
        if name { "{}".to_owned() } else { segment.to_owned() }
    };
    path.split('/').map(segment).collect::<Vec<_>>().join("/")
}

/// Reads the routes and refuses a line that breaks the form, naming it.
pub fn routes(text: &str) -> Outcome<Vec<Route>> {
    let mut routes = Vec::new();
    let mut problems = Vec::new();
    let mut seen = BTreeSet::new();
    for (number, cells) in rows(text, ROUTES_HEADER, ROUTES)? {
        let mut wrong = |what: String| problems.push(format!("  {ROUTES}:{number}: {what}"));
        let [service, method, path, caller, upstream, _note] = cells.as_slice() else {
            wrong(format!("{} columns where 6 are needed (tabs between them)", cells.len()));
            continue;
        };
        if !is_word(service) {
            wrong(format!("`{service}` is not a service's name (small letters and _)"));
        }
        if !METHODS.contains(method) {
            wrong(format!("`{method}` is none of {}", METHODS.join(", ")));
        }
        for path in [path, upstream].into_iter().filter(|path| !path.is_empty()) {
            if !path.starts_with('/') || path.contains([' ', '?', '#']) || !braces_match(path) {
                wrong(format!("`{path}` is not a path template"));
            }
        }
        if path.is_empty() {
            wrong("the path is empty".into());
        }
        if !CALLERS.contains(caller) {
            wrong(format!("`{caller}` is none of the callers in contract/README.md"));
        }
        let route = Route { service: (*service).into(), method: (*method).into(), path: (*path).into() };
        if !seen.insert(route.key()) {
            wrong(format!("{method} {path} is there twice"));
        }
        routes.push(route);
    }
    finish(routes, problems)
}

/// Reads the names of the events and refuses a line that breaks the form, naming it.
pub fn events(text: &str) -> Outcome<Vec<String>> {
    let mut events: Vec<String> = Vec::new();
    let mut problems = Vec::new();
    for (number, cells) in rows(text, EVENTS_HEADER, EVENTS)? {
        let mut wrong = |what: String| problems.push(format!("  {EVENTS}:{number}: {what}"));
        let (2 | 3, name) = (cells.len(), cells[0]) else {
            wrong(format!("{} columns where 2 or 3 are needed", cells.len()));
            continue;
        };
        if !name.contains('.') || !name.split('.').all(is_word) {
            wrong(format!("`{name}` is not an event's name (words with dots between them)"));
        }
        if cells[1].is_empty() {
            wrong(format!("nobody publishes `{name}`"));
        }
        if events.iter().any(|event| event == name) {
            wrong(format!("`{name}` is there twice"));
        }
        events.push(name.to_owned());
    }
    finish(events, problems)
}

fn rows<'a>(text: &'a str, header: &str, file: &str) -> Outcome<Vec<(usize, Vec<&'a str>)>> {
    let mut lines = text.lines();
    if lines.next() != Some(header) {
        return Err(format!("{file}:1: the first line must be `{}`", header.replace('\t', " <tab> ")));
    }
    if text.contains('\r') || !text.ends_with('\n') {
        return Err(format!("{file}: every line must end with a plain line feed"));
    }
    Ok(lines.enumerate().map(|(index, line)| (index + 2, line.split('\t').collect())).collect())
}

fn finish<T>(rows: Vec<T>, problems: Vec<String>) -> Outcome<Vec<T>> {
    match (problems.is_empty(), rows.is_empty()) {
        (true, false) => Ok(rows),
        (true, true) => Err("the table is empty, so nothing was checked".into()),
        (false, _) => Err(problems.join("\n")),
    }
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|letter| matches!(letter, 'a'..='z' | '0'..='9' | '_'))
}

/// Whether braces only ever enclose a whole segment.
fn braces_match(path: &str) -> bool {
    path.split('/').all(|segment| {
        let inner = segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
        !inner.unwrap_or(segment).contains(['{', '}']) && inner != Some("")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(lines: &str) -> String {
        format!("{ROUTES_HEADER}\n{lines}")
    }

    #[test]
    fn names_of_parameters_are_free() {
        assert_eq!(shape("/api/items/{itemId}/tags"), shape("/api/items/{id}/tags"));
        assert_ne!(shape("/api/items/{id}"), shape("/api/items/new"));
    }

    #[test]
    fn a_well_formed_table_is_read() {
        let text = table("inventory\tGET\t/api/items/{id}\tuser\t/items/{id}\t\n");
        assert_eq!(routes(&text).unwrap().len(), 1);
        assert_eq!(events(&format!("{EVENTS_HEADER}\na.b\ta\n")).unwrap(), ["a.b"]);
    }

    #[test]
    fn each_broken_line_is_named_with_its_reason() {
        let text = table(
            "inventory\tGET\t/a\tuser\t\n\
             Inventory\tFETCH\ta/{id\tstranger\t\t\n\
             x\tGET\t/a/{id}\tuser\t\t\n\
             x\tGET\t/a/{name}\tuser\t\t\n",
        );
        let message = routes(&text).unwrap_err();
        for part in [":2: 5 columns", "`Inventory`", "`FETCH`", "`a/{id`", "`stranger`", ":5: GET"] {
            assert!(message.contains(part), "{part} is not in {message}");
        }
        assert!(events(&format!("{EVENTS_HEADER}\nplain\ta\n")).is_err());
    }

    #[test]
    fn an_empty_table_or_another_header_is_refused() {
        assert!(routes(&table("")).unwrap_err().contains("empty"));
        assert!(routes("service,method\n").unwrap_err().contains(":1:"));
    }
}
