//! Which pages may open a socket: the check of `Origin` against cross-site WebSocket hijacking
//! (RFC 6455 section 10.2, RFC 6454). Not for CORS, which browsers do not ask for here.

use http::HeaderMap;
use http::header::{HOST, ORIGIN};
use kernel::{Error, Result};

use crate::config::Config;

/// The rule of a route, compiled.
#[derive(Clone, Debug)]
pub struct OriginRule {
    listed: Box<[Box<str>]>,
    any: bool,
    same_host: bool,
    without: bool,
}

impl OriginRule {
    /// Compiles the rule.
    pub fn new(config: &Config) -> Self {
        Self {
            listed: config.origins.iter().map(|origin| origin.to_ascii_lowercase().into()).collect(),
            any: config.origins.iter().any(|origin| origin == "*"),
            same_host: config.same_host,
            without: config.without_origin,
        }
    }

    /// Refuses a handshake that a page asks for which may not.
    pub fn check(&self, headers: &HeaderMap) -> Result<()> {
        let mut sent = headers.get_all(ORIGIN).iter();
        let allowed = match (sent.next(), sent.next()) {
            (None, _) => self.without,
            // Two are for nobody to choose from.
            (Some(_), Some(_)) => false,
            (Some(origin), None) => self.any || origin.to_str().is_ok_and(|origin| self.allows(origin, headers)),
        };
        if allowed {
            return Ok(());
        }
        Err(Error::forbidden("gateway.websocket_origin", "pages of this origin may not open a socket here"))
    }

    fn allows(&self, origin: &str, headers: &HeaderMap) -> bool {
        if self.listed.iter().any(|listed| listed.eq_ignore_ascii_case(origin)) {
            return true;
        }
        let host = || headers.get(HOST).and_then(|host| host.to_str().ok());
        self.same_host && written(origin) && authority(origin).zip(host()).is_some_and(|(page, host)| same(page, host))
    }
}

/// Says whether this is an origin as browsers write it: a scheme, a host, perhaps a port, and nothing else.
pub(crate) fn written(origin: &str) -> bool {
    if origin == "null" {
        return true;
    }
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte);
    origin.split_once("://").is_some_and(|(scheme, rest)| {
        matches!(scheme.to_ascii_lowercase().as_str(), "http" | "https")
            && !rest.is_empty()
            && rest.bytes().all(plain)
            && !rest.ends_with(':')
    })
}

fn authority(origin: &str) -> Option<(&str, &str)> {
    origin.split_once("://")
}

/// Compares where a page comes from with the host that was asked: the port that a scheme has anyway may be left
/// out on both sides.
fn same((scheme, page): (&str, &str), host: &str) -> bool {
    let usual = if scheme.eq_ignore_ascii_case("https") { ":443" } else { ":80" };
    let bare = |text: &str| text.strip_suffix(usual).unwrap_or(text).to_ascii_lowercase();
    bare(page) == bare(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asks(rule: &OriginRule, host: &str, origins: &[&str]) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, host.parse().expect("a host"));
        for origin in origins {
            headers.append(ORIGIN, origin.parse().expect("an origin"));
        }
        rule.check(&headers).is_ok()
    }

    #[test]
    fn only_pages_of_the_host_and_listed_ones_may() {
        let rule = OriginRule::new(&Config { origins: vec!["https://App.example.com".into()], ..Config::default() });
        for (host, origin, allowed) in [
            ("api.example.com", "https://app.example.com", true),
            ("api.example.com", "https://api.example.com", true),
            ("API.example.com:443", "https://api.example.com", true),
            ("api.example.com:8080", "http://api.example.com:8080", true),
            ("api.example.com:8080", "http://api.example.com", false),
            ("api.example.com", "http://app.example.com", false),
            ("api.example.com", "https://api.example.com.evil.test", false),
            ("api.example.com", "https://evil.test", false),
            ("api.example.com", "https://evil.test/api.example.com", false),
            ("api.example.com", "https://evil@api.example.com", false),
            ("api.example.com", "null", false),
            ("api.example.com", "", false),
            ("api.example.com", "api.example.com", false),
            ("api.example.com", "file://api.example.com", false),
        ] {
            assert_eq!(asks(&rule, host, &[origin]), allowed, "{origin} at {host}");
        }
        let both = ["https://app.example.com", "https://api.example.com"];
        assert!(!asks(&rule, "api.example.com", &both), "two origins");
    }

    #[test]
    fn programs_name_no_origin() {
        let (open, strict) = (Config::default(), Config { without_origin: false, ..Config::default() });
        assert!(asks(&OriginRule::new(&open), "a", &[]));
        assert!(!asks(&OriginRule::new(&strict), "a", &[]));
        let elsewhere = Config { same_host: false, ..Config::default() };
        assert!(!asks(&OriginRule::new(&elsewhere), "a", &["https://a"]));
        let any = Config { origins: vec!["*".into()], ..Config::default() };
        assert!(asks(&OriginRule::new(&any), "a", &["https://b"]));
    }
}
