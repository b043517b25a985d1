//! A composition that was checked: its parts know what they wait for, and none waits for itself. Not for
//! running it.

use std::collections::BTreeMap;
use std::time::Duration;

use http::Method;
use kernel::{Error, Result};
use serde_json::Value;

use crate::config::{Config, Mode, PartConfig};
use crate::template::{Document, Template};

/// The largest answer of a part that is taken unless said.
const LIMIT: usize = 1 << 20;
/// The most parts of a composition.
const MOST_PARTS: usize = 64;

/// A compiled composition.
#[derive(Clone, Debug)]
pub struct Recipe {
    pub(crate) name: String,
    pub(crate) timeout: Duration,
    pub(crate) parallel: usize,
    pub(crate) parts: Vec<Part>,
}

#[derive(Clone, Debug)]
pub(crate) struct Part {
    pub name: String,
    pub method: Method,
    pub path: Template,
    pub body: Option<Document>,
    pub mode: Mode,
    pub fallback: Value,
    pub timeout: Duration,
    pub pick: String,
    pub limit: usize,
    /// The places of the parts that must be there first.
    pub needs: Vec<usize>,
}

impl Recipe {
    /// Checks a composition.
    pub fn compile(name: &str, config: &Config) -> Result<Self> {
        let wrong = |why: String| Error::invalid("gateway.invalid_file", format!("the composition {name}: {why}"));
        if config.parts.is_empty() || config.parts.len() > MOST_PARTS {
            return Err(wrong(format!("it needs between 1 and {MOST_PARTS} parts")));
        }
        if config.parallel == 0 || config.timeout_ms == 0 {
            return Err(wrong("parallel and timeout_ms must be at least 1".to_owned()));
        }
        let names: Vec<&str> = config.parts.keys().map(String::as_str).collect();
        let whole = Duration::from_millis(config.timeout_ms);
        let mut parts = Vec::new();
        for (part_name, part) in &config.parts {
            parts.push(
                Part::compile(part_name, part, &names, whole).map_err(|why| wrong(format!("{part_name}: {why}")))?,
            );
        }
        if let Some(part) = circle(&parts) {
            return Err(wrong(format!("{part} waits for itself")));
        }
        Ok(Self { name: name.to_owned(), timeout: whole, parallel: config.parallel, parts })
    }

    /// Returns its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the method and the path of each part, with something in the place of what is filled in: for finding
    /// the routes that they lead to.
    pub fn leads_to(&self) -> impl Iterator<Item = (&str, &Method, String)> {
        self.parts.iter().map(|part| (part.name.as_str(), &part.method, part.path.like()))
    }

    /// Returns the names of its parts with what they ask for, for people.
    pub fn describe(&self) -> Vec<String> {
        let described = self.parts.iter().map(|part| {
            let needs: Vec<&str> = part.needs.iter().map(|place| self.parts[*place].name.as_str()).collect();
            let after = if needs.is_empty() { String::new() } else { format!(", after {}", needs.join(" and ")) };
            format!("{} ({:?}{after})", part.name, part.mode).to_lowercase()
        });
        described.collect()
    }
}

impl Part {
    fn compile(name: &str, config: &PartConfig, names: &[&str], whole: Duration) -> Result<Self, String> {
        if name == "errors" {
            return Err("errors is the name of what failed".to_owned());
        }
        if !config.path.starts_with('/') {
            return Err("path must start with /".to_owned());
        }
        let method = match config.method.as_str() {
            "" | "GET" => Method::GET,
            "POST" => Method::POST,
            other => return Err(format!("{other} is no read; writes of several steps are sagas")),
        };
        if config.body.is_some() && method == Method::GET {
            return Err("a GET has no body".to_owned());
        }
        if (config.mode == Mode::Fallback) != config.fallback.is_some() {
            return Err("a fallback goes with mode = \"fallback\"".to_owned());
        }
        if !config.pick.is_empty() && !config.pick.starts_with('/') {
            return Err("pick must be a JSON pointer, which starts with /".to_owned());
        }
        let path = Template::read(&config.path)?;
        let body = config.body.as_ref().map(Document::read).transpose()?;
        let needed = path.needs().chain(body.iter().flat_map(Document::needs));
        let mut needs = Vec::new();
        for need in needed {
            let place = names.iter().position(|known| *known == need);
            let place = place.ok_or_else(|| format!("it needs {need}, which is no part"))?;
            if !needs.contains(&place) {
                needs.push(place);
            }
        }
        Ok(Self {
            name: name.to_owned(),
            method,
            path,
            body,
            mode: config.mode,
            fallback: config.fallback.clone().unwrap_or_default(),
            timeout: config.timeout_ms.map_or(whole, Duration::from_millis),
            pick: config.pick.clone(),
            limit: config.limit_bytes.unwrap_or(LIMIT),
            needs,
        })
    }
}

/// Returns a part that can never begin.
fn circle(parts: &[Part]) -> Option<&str> {
    let mut done = vec![false; parts.len()];
    loop {
        let ready = |place: &usize| !done[*place] && parts[*place].needs.iter().all(|need| done[*need]);
        match (0..parts.len()).find(ready) {
            Some(place) => done[place] = true,
            None => return done.iter().position(|done| !done).map(|place| parts[place].name.as_str()),
        }
    }
}

/// The values of parts that are there, by name.
pub(crate) type Values = BTreeMap<String, Value>;

#[cfg(test)]
mod tests {
    use super::*;

    fn compile(parts: &[(&str, &str)]) -> Result<Recipe> {
        let part = |path: &str| PartConfig { path: path.to_owned(), ..PartConfig::default() };
        let parts = parts.iter().map(|(name, path)| ((*name).to_owned(), part(path))).collect();
        Recipe::compile("test", &Config { parts, ..Config::default() })
    }

    #[test]
    fn circles_and_unknown_parts_are_refused() {
        assert!(compile(&[("a", "/x/{b/id}"), ("b", "/y/{c/id}"), ("c", "/z")]).is_ok());
        for (parts, why) in [
            (&[("a", "/x/{b/id}"), ("b", "/y/{a/id}")][..], "waits for itself"),
            (&[("a", "/x/{a/id}")], "waits for itself"),
            (&[("a", "/x/{b/id}")], "is no part"),
            (&[("a", "x")], "start with /"),
            (&[("errors", "/x")], "errors is"),
            (&[], "between 1 and 64"),
        ] {
            let error = compile(parts).expect_err(why);
            assert!(error.message().contains(why), "{}", error.message());
        }
    }

    #[test]
    fn a_write_and_a_fallback_without_its_mode_are_refused() {
        let part = PartConfig { path: "/x".to_owned(), ..PartConfig::default() };
        let names = ["a"];
        let compile = |part: PartConfig| Part::compile("a", &part, &names, Duration::from_secs(1));
        assert!(compile(PartConfig { method: "DELETE".to_owned(), ..part.clone() }).is_err());
        assert!(compile(PartConfig { mode: Mode::Fallback, ..part.clone() }).is_err());
        assert!(compile(PartConfig { fallback: Some(Value::Null), ..part.clone() }).is_err());
        assert!(compile(PartConfig { body: Some(Value::Null), ..part.clone() }).is_err());
        assert!(compile(PartConfig { pick: "a".to_owned(), ..part }).is_err());
    }
}
