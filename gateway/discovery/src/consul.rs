//! Servers from Consul: the instances of a service that pass their checks, asked for with blocking
//! queries, whose index is kept and reset as Consul's documentation says. Not for registering there:
//! `registration` does.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use kernel::Result;
use serde::Deserialize;

use crate::address::Address;
use crate::config::{Consul, wrong};
use crate::endpoint::Endpoint;
use crate::http::{Client, Question, shown};
use crate::keeper::Keeper;
use crate::pause::Pause;

pub(crate) const TOKEN: HeaderName = HeaderName::from_static("x-consul-token");
const INDEX: HeaderName = HeaderName::from_static("x-consul-index");
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// A service that changes all the time is not asked for all the time.
const BETWEEN: Duration = Duration::from_millis(100);
/// How often is asked when there is no index to wait for.
const UNINDEXED: Duration = Duration::from_secs(5);

/// Follows the instances of one service.
pub(crate) struct Follower {
    client: Client,
    agent: Address,
    token: Option<HeaderValue>,
    /// Path and query without index and wait.
    target: String,
    tls: bool,
    wait: Duration,
    timeout: Duration,
}

impl Follower {
    /// Prepares to ask; the configuration was checked.
    pub(crate) fn new(config: &Consul) -> Result<Self> {
        let mut target = format!("/v1/health/service/{}?passing=true", encoded(&config.service));
        for (key, value) in [("dc", &config.datacenter), ("tag", &config.tag)] {
            if !value.is_empty() {
                target = format!("{target}&{key}={}", encoded(value));
            }
        }
        Ok(Self {
            client: Client::new(&config.certificate_file).map_err(|why| wrong("certificate_file", why))?,
            agent: Address::parse(&config.address).map_err(|why| wrong("address", why))?,
            token: token(&config.token.0)?,
            target,
            tls: config.tls,
            wait: Duration::from_millis(config.wait_ms),
            timeout: Duration::from_millis(config.timeout_ms),
        })
    }

    /// Asks once; with an index, waits for news.
    async fn ask(&self, index: u64) -> Result<(Option<u64>, Vec<Endpoint>), String> {
        let mut target = self.target.clone();
        let mut limit = self.timeout;
        if index > 0 {
            target = format!("{target}&index={index}&wait={}ms", self.wait.as_millis());
            // Consul adds up to a sixteenth of the wait.
            limit += self.wait + self.wait / 16;
        }
        let header = self.token.clone().map(|token| (TOKEN, token));
        let question = Question { method: Method::GET, target: &target, header, body: None };
        let answer = self.client.whole(&self.agent, question, limit).await?;
        if answer.status() != StatusCode::OK {
            return Err(format!("it answers {}: {}", answer.status(), shown(answer.body())));
        }
        let read = serde_json::from_slice(answer.body());
        let entries: Vec<Entry> = read.map_err(|error| format!("its answer: {error}"))?;
        Ok((named_index(answer.headers()), entries.iter().filter_map(|entry| entry.endpoint(self.tls)).collect()))
    }
}

/// Asks until it is stopped.
pub(crate) async fn follow(follower: Follower, keeper: Arc<Keeper>) {
    let mut pause = Pause::new(FIRST_PAUSE, LONGEST_PAUSE);
    let mut index = 0;
    loop {
        let wait = match follower.ask(index).await {
            Ok((named, endpoints)) => {
                keeper.take(endpoints);
                pause.reset();
                index = next_index(index, named);
                if index == 0 && named.is_none_or(|named| named == 0) { UNINDEXED } else { BETWEEN }
            }
            Err(why) => {
                keeper.failed(&why);
                // Another server may answer next, with another index.
                index = 0;
                pause.next()
            }
        };
        tokio::time::sleep(wait).await;
    }
}

/// Returns the index to wait with: one that is zero, missing or has gone backwards means to begin anew.
fn next_index(before: u64, named: Option<u64>) -> u64 {
    match named {
        Some(named) if named >= before => named,
        _ => 0,
    }
}

fn named_index(headers: &HeaderMap) -> Option<u64> {
    headers.get(INDEX)?.to_str().ok()?.parse().ok()
}

/// Reads a token for its header.
pub(crate) fn token(text: &str) -> Result<Option<HeaderValue>> {
    if text.is_empty() {
        return Ok(None);
    }
    let mut value = HeaderValue::from_str(text).map_err(|_| wrong("token", "it cannot stand in a header"))?;
    value.set_sensitive(true);
    Ok(Some(value))
}

/// Writes a text as one part of a path or query.
pub(crate) fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    node: Node,
    service: Service,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Node {
    #[serde(default)]
    address: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Service {
    #[serde(default)]
    address: String,
    #[serde(default)]
    port: u16,
    #[serde(default)]
    weights: Option<Weights>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Weights {
    #[serde(default)]
    passing: u32,
}

impl Entry {
    fn endpoint(&self, tls: bool) -> Option<Endpoint> {
        // Without an address of its own the service is where its node is.
        let host = if self.service.address.is_empty() { &self.node.address } else { &self.service.address };
        let weight = self.service.weights.as_ref().map_or(1, |weights| weights.passing);
        if host.is_empty() || self.service.port == 0 {
            return None;
        }
        Endpoint::at(tls, host, self.service.port, weight).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_index_only_grows_or_begins_anew() {
        for (before, named, next) in
            [(0, Some(5), 5), (5, Some(5), 5), (5, Some(9), 9), (9, Some(5), 0), (9, Some(0), 0), (9, None, 0)]
        {
            assert_eq!(next_index(before, named), next, "{before} {named:?}");
        }
    }

    #[test]
    fn instances_are_where_they_say_or_where_their_node_is() {
        let text = r#"[
            {"Node":{"Address":"10.0.0.1"},"Service":{"Address":"10.1.0.1","Port":80,"Weights":{"Passing":7,"Warning":1}}},
            {"Node":{"Address":"10.0.0.2"},"Service":{"Address":"","Port":81},"Checks":[]},
            {"Node":{"Address":"10.0.0.3"},"Service":{"Port":0}},
            {"Node":{},"Service":{"Port":1}}
        ]"#;
        let entries: Vec<Entry> = serde_json::from_str(text).expect("entries");
        let endpoints: Vec<_> = entries.iter().filter_map(|entry| entry.endpoint(false)).collect();
        let endpoint = |url: &str, weight| Endpoint { url: url.to_owned(), weight };
        assert_eq!(endpoints, [endpoint("http://10.1.0.1:80", 7), endpoint("http://10.0.0.2:81", 1)]);
    }

    #[test]
    fn names_are_written_for_a_path() {
        assert_eq!(encoded("a-b_c.d~1"), "a-b_c.d~1");
        assert_eq!(encoded("a/b?c&d e\u{e4}"), "a%2Fb%3Fc%26d%20e%C3%A4");
    }
}
