//! The headers with which a connection becomes a WebSocket. They concern one connection only, so the
//! door drops them with the others; where the handler runs in this process it is the end of that
//! connection, and gets them back. Not for passing an upgrade on to another process; see `socket`.

use http::header::{CONNECTION, UPGRADE};
use http::{HeaderMap, HeaderValue, StatusCode};

/// What a request or an answer says of an upgrade.
pub(crate) struct Upgrade(bool);

impl Upgrade {
    /// Reads it, before the headers that concern one connection are dropped.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let lists = |name, wanted: &str| {
            let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
            values.flat_map(|value| value.split(',')).any(|word| word.trim().eq_ignore_ascii_case(wanted))
        };
        Self(headers.contains_key(UPGRADE) && lists(CONNECTION, "upgrade") && lists(UPGRADE, "websocket"))
    }

    /// Says whether the client wants a WebSocket.
    pub(crate) fn wanted(&self) -> bool {
        self.0
    }

    /// Gives a request its headers back where the connection stays open for a handler of this process.
    pub(crate) fn ask(&self, headers: &mut HeaderMap, live: bool) {
        if live {
            self.give_back(headers);
        }
    }

    /// Gives an answer its headers back that has agreed.
    pub(crate) fn agree(&self, headers: &mut HeaderMap, status: StatusCode) {
        if status == StatusCode::SWITCHING_PROTOCOLS {
            self.give_back(headers);
        }
    }

    fn give_back(&self, headers: &mut HeaderMap) {
        if self.0 {
            headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
            headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(connection: &str, upgrade: &str) -> HeaderMap {
        let value = |text: &str| HeaderValue::from_str(text).expect("a value");
        [(CONNECTION, value(connection)), (UPGRADE, value(upgrade))].into_iter().collect()
    }

    #[test]
    fn only_a_whole_upgrade_to_a_websocket_comes_back() {
        for (connection, upgrade, whole) in [
            ("Upgrade", "websocket", true),
            ("keep-alive, Upgrade", "WebSocket", true),
            ("keep-alive", "websocket", false),
            ("upgrade", "h2c", false),
            ("x-upgrade", "websocket", false),
        ] {
            let asked = Upgrade::of(&headers(connection, upgrade));
            let mut answer = HeaderMap::new();
            asked.agree(&mut answer, StatusCode::SWITCHING_PROTOCOLS);
            assert_eq!(answer.contains_key(UPGRADE), whole, "{connection}: {upgrade}");
            assert_eq!(answer.contains_key(CONNECTION), whole);
            let mut refused = HeaderMap::new();
            asked.agree(&mut refused, StatusCode::OK);
            assert!(refused.is_empty());
        }
    }
}
