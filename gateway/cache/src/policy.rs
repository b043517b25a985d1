//! What a route wants of the cache: its configuration, compiled once. Not for what origins say of single answers.

use std::collections::HashSet;
use std::time::Duration;

use http::{HeaderName, Method, StatusCode};
use kernel::{Error, Result};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::tag::{self, Tag};

/// How answers to callers with credentials are kept.
#[derive(Deserialize, Serialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Credentials {
    /// Only where the origin says `public`, `s-maxage` or `must-revalidate` (RFC 9111 section 3.5).
    #[default]
    Rfc,
    /// The route declares that callers of one tenant and class get the same answers.
    Class,
}

/// The cache of one route.
#[derive(Deserialize, Serialize, Clone, Debug, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct PolicyConfig {
    /// The answers are the same for every caller and tenant: the door hands in [`crate::Scope::public`].
    pub shared: bool,
    /// How answers to callers with credentials are kept.
    pub credentials: Credentials,
    /// How long an answer is fresh whose origin says nothing; 0: not at all.
    pub default_ttl_ms: u64,
    /// Guess a lifetime from Last-Modified (RFC 9111 section 4.2.2).
    pub heuristics: bool,
    /// The longest guess.
    pub heuristic_max_ms: u64,
    /// Methods whose answers are kept: GET, HEAD, and POST where the answer names its own URI in Content-Location.
    pub methods: Vec<String>,
    /// Statuses that are kept; empty: as RFC 9111 allows.
    pub statuses: Vec<u16>,
    /// Request headers that an answer may vary by; one that varies by another is not kept. Empty: any.
    pub vary: Vec<String>,
    /// Request headers that are always part of the key.
    pub key_headers: Vec<String>,
    /// Further request headers that reach the origin; `*`: all. Others are taken off, because they could poison.
    pub forward_headers: Vec<String>,
    /// Query parameters that neither count nor reach the origin; a `*` at the end stands for any rest.
    pub ignore_query: Vec<String>,
    /// Tags of every answer; `{name}` is a parameter of the path.
    pub tags: Vec<String>,
    /// The answer's header that lists further tags; callers do not see it.
    pub tag_header: String,
    /// Keep answers with Set-Cookie that neither say `public` nor `s-maxage`.
    pub store_set_cookie: bool,
    /// For how long after its lifetime an answer may be given while it is fetched anew, where the origin says nothing.
    pub stale_while_revalidate_ms: u64,
    /// For how long an answer may stand in for an origin that fails, where the origin says nothing.
    pub stale_if_error_ms: u64,
    /// Larger answers are not kept.
    pub max_object_bytes: u64,
    /// Honour Cache-Control of requests.
    pub client_directives: bool,
    /// Fields that speak to this cache and come before Cache-Control (RFC 9213), in order.
    pub targeted: Vec<String>,
    /// Understand Surrogate-Control, and say so to the origin.
    pub surrogate_control: bool,
    /// Tell callers what the cache did (RFC 9211).
    pub cache_status: bool,
}

impl Default for PolicyConfig {
    fn default() -> Self {
        Self {
            shared: false,
            credentials: Credentials::Rfc,
            default_ttl_ms: 0,
            heuristics: false,
            heuristic_max_ms: 24 * 3_600 * 1_000,
            methods: vec!["GET".into(), "HEAD".into()],
            statuses: Vec::new(),
            vary: Vec::new(),
            key_headers: Vec::new(),
            forward_headers: Vec::new(),
            ignore_query: Vec::new(),
            tags: Vec::new(),
            tag_header: "cache-tag".into(),
            store_set_cookie: false,
            stale_while_revalidate_ms: 0,
            stale_if_error_ms: 0,
            max_object_bytes: 1 << 20,
            client_directives: true,
            targeted: vec!["cdn-cache-control".into()],
            surrogate_control: false,
            cache_status: true,
        }
    }
}

/// A route's policy, compiled.
#[derive(Debug)]
pub struct Policy {
    pub(crate) shared: bool,
    pub(crate) credentials: Credentials,
    pub(crate) default_ttl: Option<Duration>,
    pub(crate) heuristic_max: Option<Duration>,
    pub(crate) head: bool,
    pub(crate) get: bool,
    pub(crate) post: bool,
    pub(crate) statuses: Vec<StatusCode>,
    pub(crate) vary: Vec<HeaderName>,
    pub(crate) key_headers: Vec<HeaderName>,
    pub(crate) forward: Option<HashSet<HeaderName>>,
    ignore_query: Vec<(String, bool)>,
    pub(crate) tags: Vec<Vec<Piece>>,
    pub(crate) tag_header: HeaderName,
    pub(crate) store_set_cookie: bool,
    pub(crate) stale_while_revalidate: Duration,
    pub(crate) stale_if_error: Duration,
    pub(crate) max_object_bytes: u64,
    pub(crate) client_directives: bool,
    pub(crate) targeted: Vec<HeaderName>,
    pub(crate) surrogate: bool,
    pub(crate) cache_status: bool,
    /// What tells the way of these answers from others to the same URI.
    pub(crate) way: [u8; 16],
}

/// A piece of a tag.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    Text(String),
    Parameter(String),
}

impl PolicyConfig {
    /// Says in one sentence what is wrong.
    pub fn check(&self) -> Result<()> {
        Policy::compile(self).map(drop)
    }
}

impl Policy {
    /// Compiles the configuration of a route.
    pub fn compile(config: &PolicyConfig) -> Result<Self> {
        let all = config.forward_headers.iter().any(|name| name == "*");
        let forwarded = config.forward_headers.iter().chain(&config.vary).chain(&config.key_headers);
        let methods = config.methods.iter().map(|name| match name.as_str() {
            "GET" => Ok(Method::GET),
            "HEAD" => Ok(Method::HEAD),
            "POST" => Ok(Method::POST),
            other => {
                Err(wrong(format!("cache.methods: answers to {other} cannot be kept; only GET, HEAD and POST can")))
            }
        });
        let methods = methods.collect::<Result<HashSet<_>>>()?;
        let statuses = config.statuses.iter().map(|code| match StatusCode::from_u16(*code) {
            Ok(status) if !status.is_informational() && *code != 304 => Ok(status),
            _ => Err(wrong(format!("cache.statuses: {code} is no status of an answer that can be kept"))),
        });
        let forward = match all {
            true => None,
            false => Some(names("forward_headers", forwarded)?.into_iter().chain(crate::unkeyed::usual()).collect()),
        };
        if config.shared && config.credentials == Credentials::Class {
            return Err(wrong("cache.credentials: a shared route has one class; take `shared` or `class`".into()));
        }
        Ok(Self {
            shared: config.shared,
            credentials: config.credentials,
            default_ttl: (config.default_ttl_ms > 0).then(|| Duration::from_millis(config.default_ttl_ms)),
            heuristic_max: config.heuristics.then(|| Duration::from_millis(config.heuristic_max_ms)),
            head: methods.contains(&Method::HEAD),
            get: methods.contains(&Method::GET),
            post: methods.contains(&Method::POST),
            statuses: statuses.collect::<Result<_>>()?,
            vary: names("vary", &config.vary)?,
            key_headers: names("key_headers", &config.key_headers)?,
            forward,
            ignore_query: config.ignore_query.iter().map(|name| pattern(name)).collect::<Result<_>>()?,
            tags: config.tags.iter().map(|tag| pieces(tag)).collect::<Result<_>>()?,
            tag_header: names("tag_header", [&config.tag_header])?.remove(0),
            store_set_cookie: config.store_set_cookie,
            stale_while_revalidate: Duration::from_millis(config.stale_while_revalidate_ms),
            stale_if_error: Duration::from_millis(config.stale_if_error_ms),
            max_object_bytes: config.max_object_bytes,
            client_directives: config.client_directives,
            targeted: names("targeted", &config.targeted)?,
            surrogate: config.surrogate_control,
            cache_status: config.cache_status,
            way: [0; 16],
        })
    }

    /// Says what the answers depend on beside the request: who answers, and what is changed on the way there. Under
    /// another way nothing is given that was kept under this one, by whichever node and before whatever reload.
    #[must_use]
    pub fn by_way(mut self, way: &str) -> Self {
        self.way.copy_from_slice(&Sha256::digest(way.as_bytes())[..16]);
        self
    }

    /// Says whether the answers are the same for all, so that the scope is [`crate::Scope::public`].
    pub fn is_shared(&self) -> bool {
        self.shared
    }

    /// Returns the pairs of a query that count, in their order.
    pub(crate) fn kept_query<'a>(&self, query: &'a str) -> impl Iterator<Item = &'a str> {
        query.split('&').filter(|pair| !self.ignores(pair))
    }

    /// Says whether some parameter of this query does not count.
    pub(crate) fn shortens(&self, query: &str) -> bool {
        !self.ignore_query.is_empty() && query.split('&').any(|pair| self.ignores(pair))
    }

    fn ignores(&self, pair: &str) -> bool {
        let name = pair.split('=').next().unwrap_or(pair);
        self.ignore_query.iter().any(|(known, open)| if *open { name.starts_with(known) } else { name == known })
    }

    /// Returns the tags that every answer of the route has.
    pub(crate) fn own_tags(&self, parameter: &dyn Fn(&str) -> Option<String>) -> Vec<Tag> {
        let fill = |piece: &Piece| match piece {
            Piece::Text(text) => text.clone(),
            Piece::Parameter(name) => parameter(name).unwrap_or_default(),
        };
        self.tags.iter().map(|pieces| tag::named(&pieces.iter().map(fill).collect::<String>())).collect()
    }
}

fn wrong(message: String) -> Error {
    Error::invalid("config.invalid", message)
}

fn names<'a>(key: &str, list: impl IntoIterator<Item = &'a String>) -> Result<Vec<HeaderName>> {
    let read = |name: &String| HeaderName::try_from(name.as_str());
    let named = list.into_iter().map(|name| read(name).map_err(|_| wrong(format!("cache.{key}: {name} is no header"))));
    named.collect()
}

fn pattern(name: &str) -> Result<(String, bool)> {
    let (known, open) = name.strip_suffix('*').map_or((name, false), |known| (known, true));
    if known.is_empty() || known.contains(['&', '=', '*']) {
        return Err(wrong(format!("cache.ignore_query: {name} is no parameter's name")));
    }
    Ok((known.to_owned(), open))
}

fn pieces(tag: &str) -> Result<Vec<Piece>> {
    let error =
        || wrong(format!("cache.tags: {tag} is no tag; a parameter is written {{name}}, and a space divides tags"));
    let (mut found, mut rest) = (Vec::new(), tag);
    if tag.is_empty() || tag.contains([' ', ',']) {
        return Err(error());
    }
    while let Some((text, after)) = rest.split_once('{') {
        let (name, after) = after.split_once('}').ok_or_else(error)?;
        if name.is_empty() || text.contains('}') {
            return Err(error());
        }
        found.extend((!text.is_empty()).then(|| Piece::Text(text.to_owned())));
        found.push(Piece::Parameter(name.to_owned()));
        rest = after;
    }
    if rest.contains('}') {
        return Err(error());
    }
    found.extend((!rest.is_empty()).then(|| Piece::Text(rest.to_owned())));
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_takes_the_path_s_parameters() {
        let config = PolicyConfig { tags: vec!["items".into(), "item:{id}".into()], ..PolicyConfig::default() };
        let policy = Policy::compile(&config).unwrap();
        let tags = policy.own_tags(&|name| (name == "id").then(|| "7".to_owned()));
        assert_eq!(tags, ["items", "item:7"].map(tag::named));
    }

    #[test]
    fn what_is_wrong_is_said() {
        let base = PolicyConfig::default;
        for (config, word) in [
            (PolicyConfig { tags: vec!["a{b".into()], ..base() }, "a{b"),
            (PolicyConfig { methods: vec!["PUT".into()], ..base() }, "PUT"),
            (PolicyConfig { statuses: vec![304], ..base() }, "304"),
            (PolicyConfig { vary: vec!["a b".into()], ..base() }, "a b"),
            (PolicyConfig { ignore_query: vec!["*".into()], ..base() }, "ignore_query"),
            (PolicyConfig { shared: true, credentials: Credentials::Class, ..base() }, "shared"),
        ] {
            assert!(config.check().unwrap_err().message().contains(word), "{word}");
        }
        base().check().unwrap();
    }

    #[test]
    fn parameters_that_do_not_count_are_left_out() {
        let config = PolicyConfig { ignore_query: vec!["utm_*".into(), "gclid".into()], ..PolicyConfig::default() };
        let policy = Policy::compile(&config).unwrap();
        let kept: Vec<_> = policy.kept_query("a=1&utm_source=x&gclid=3&b=2&gclid2=4").collect();
        assert_eq!(kept, ["a=1", "b=2", "gclid2=4"]);
        assert!(policy.shortens("utm_x") && !policy.shortens("a=utm_"));
    }
}
