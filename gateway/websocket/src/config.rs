//! What a route says of its WebSockets, and whether it can be meant. Not for who is let in.

use std::time::Duration;

use kernel::{Error, Result};
use serde::{Deserialize, Serialize};

use crate::origin::written;

/// The settings of a route's WebSockets.
#[derive(Deserialize, Serialize, Clone, Debug, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Origins whose pages may open a socket, each as a browser writes it (`https://app.example.com`); `*` is any.
    pub origins: Vec<String>,
    /// Whether pages of the host that was asked may.
    pub same_host: bool,
    /// Whether a client may that names no origin: browsers always name one, programs do not.
    pub without_origin: bool,
    /// Whether extensions such as permessage-deflate may be agreed on.
    pub extensions: bool,
    /// The longest frame, in bytes as sent.
    pub max_frame_bytes: u64,
    /// The longest message, in bytes as sent: compressed where that was agreed on.
    pub max_message_bytes: u64,
    /// How many frames a second are taken from a client; who sends more is read more slowly. 0 is no limit.
    pub max_frames_per_second: u32,
    /// How long nothing may pass before the socket is closed; 0 is for ever.
    pub idle_ms: u64,
    /// How long a side may be silent before the gateway asks it for a sign of life; 0 is never. A side that gives
    /// none for as long again is gone.
    pub ping_ms: u64,
    /// How long the two sides have to part once one of them, or the gateway, has said Close.
    pub close_ms: u64,
    /// How many sockets one person, or program, may hold open.
    pub max_per_user: usize,
    /// How many sockets one tenant may hold open.
    pub max_per_tenant: usize,
    /// How many sockets one address may hold open where nobody signs in.
    pub max_per_address: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            origins: Vec::new(),
            same_host: true,
            without_origin: true,
            extensions: true,
            max_frame_bytes: 16 << 20,
            max_message_bytes: 16 << 20,
            max_frames_per_second: 10_000,
            idle_ms: 600_000,
            ping_ms: 30_000,
            close_ms: 5_000,
            max_per_user: 64,
            max_per_tenant: 10_000,
            max_per_address: 256,
        }
    }
}

impl Config {
    /// Says what cannot be meant.
    pub fn check(&self) -> Result<()> {
        let wrong = |what: String| Err(Error::invalid("gateway.config_invalid", what));
        for origin in &self.origins {
            if origin != "*" && !written(origin) {
                return wrong(format!(
                    "websocket.origins: `{origin}` is not an origin as browsers write it, such as https://app.example.com"
                ));
            }
        }
        if self.max_frame_bytes == 0 || self.max_message_bytes < self.max_frame_bytes {
            return wrong("websocket.max_message_bytes must be at least max_frame_bytes, and that at least 1".into());
        }
        if self.close_ms == 0 {
            return wrong("websocket.close_ms must be at least 1".into());
        }
        for (name, value) in [
            ("max_per_user", self.max_per_user),
            ("max_per_tenant", self.max_per_tenant),
            ("max_per_address", self.max_per_address),
        ] {
            if value == 0 {
                return wrong(format!("websocket.{name} must be at least 1"));
            }
        }
        Ok(())
    }

    pub(crate) fn idle(&self) -> Option<Duration> {
        (self.idle_ms > 0).then(|| Duration::from_millis(self.idle_ms))
    }

    pub(crate) fn ping(&self) -> Option<Duration> {
        (self.ping_ms > 0).then(|| Duration::from_millis(self.ping_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_meant_is_said() {
        assert!(Config::default().check().is_ok());
        for (text, part) in [
            ("origins = [\"app.example.com\"]", "app.example.com"),
            ("origins = [\"https://app.example.com/\"]", "app.example.com/"),
            ("max_frame_bytes = 0", "max_frame_bytes"),
            ("max_message_bytes = 1", "max_message_bytes"),
            ("close_ms = 0", "close_ms"),
            ("max_per_user = 0", "max_per_user"),
        ] {
            let config: Config = toml::from_str(text).expect("settings");
            let error = config.check().expect_err(text);
            assert!(error.message().contains(part), "{error}");
        }
        assert!(toml::from_str::<Config>("max_frame = 1").is_err(), "unknown keys are errors");
        let fine: Config = toml::from_str("origins = [\"*\", \"https://a.example:8443\", \"null\"]").expect("settings");
        assert!(fine.check().is_ok());
    }
}
