//! The limits within which a connection is read. Not for limits that differ by route.

use std::time::Duration;

use kernel::{Error, Result};
use serde::{Deserialize, Serialize};

/// How strictly sizes and times are held; what may differ between servers is always refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The largest head of a request.
    pub head_bytes: usize,
    /// The longest first line of a request.
    pub request_line_bytes: usize,
    /// The longest header line.
    pub header_line_bytes: usize,
    /// How many headers a request may have.
    pub headers: u16,
    /// The largest trailer section.
    pub trailer_bytes: usize,
    /// How much all chunk extensions of one body may take.
    pub chunk_extension_bytes: usize,
    /// The largest body of any route.
    pub body_bytes: u64,
    /// How long the head of a request may take from its first byte.
    pub header_timeout_ms: u64,
    /// How long nothing of a body may come while it is waited for.
    pub body_idle_ms: u64,
    /// How fast a body must come on the whole, while it is waited for.
    pub body_bytes_per_second: u64,
    /// How long one body may take in all while it is waited for; 0 for as long as it likes.
    pub body_total_ms: u64,
    /// How long a client may take nothing of what is sent to it.
    pub write_idle_ms: u64,
    /// How fast a client must take what is sent to it, while it is waited for.
    pub write_bytes_per_second: u64,
    /// How long a connection may be idle between requests.
    pub keep_alive_ms: u64,
    /// How many control frames an HTTP/2 client may send in a second, as a steady rate; a tenfold burst is let pass.
    pub http2_control_frames_per_second: u32,
    /// How many HTTP/2 streams a client may reset in a second, as a steady rate; a tenfold burst is let pass.
    pub http2_resets_per_second: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            head_bytes: 64 * 1024,
            request_line_bytes: 8 * 1024,
            header_line_bytes: 16 * 1024,
            headers: 100,
            trailer_bytes: 8 * 1024,
            chunk_extension_bytes: 4 * 1024,
            body_bytes: i64::MAX as u64,
            header_timeout_ms: 10_000,
            body_idle_ms: 30_000,
            body_bytes_per_second: 240,
            body_total_ms: 0,
            write_idle_ms: 60_000,
            write_bytes_per_second: 240,
            keep_alive_ms: 75_000,
            http2_control_frames_per_second: 50,
            http2_resets_per_second: 30,
        }
    }
}

impl Config {
    /// Says what is wrong with these limits, if anything.
    pub fn check(&self) -> Result<()> {
        let refuse = |what: &str| Err(Error::invalid("gateway.invalid_limits", what.to_owned()));
        if !(1_024..=1 << 20).contains(&self.head_bytes) {
            return refuse("head_bytes must be from 1,024 to 1,048,576");
        }
        if self.request_line_bytes.max(self.header_line_bytes) > self.head_bytes {
            return refuse("request_line_bytes and header_line_bytes must not be more than head_bytes");
        }
        if self.request_line_bytes < 64 || self.header_line_bytes < 64 || self.headers == 0 || self.headers > 1_000 {
            return refuse("lines of at least 64 bytes and from 1 to 1,000 headers must be let in");
        }
        if self.trailer_bytes > self.head_bytes || self.chunk_extension_bytes > self.head_bytes {
            return refuse("trailer_bytes and chunk_extension_bytes must not be more than head_bytes");
        }
        let times = [self.header_timeout_ms, self.body_idle_ms, self.write_idle_ms, self.keep_alive_ms];
        if times.iter().any(|time| !(100..=86_400_000).contains(time)) {
            return refuse("every time must be from 100 ms to a day");
        }
        if self.body_bytes_per_second == 0 || self.write_bytes_per_second == 0 {
            return refuse("the slowest rates must be at least 1 byte per second");
        }
        if self.http2_control_frames_per_second == 0 || self.http2_resets_per_second == 0 {
            return refuse("the frame rates of HTTP/2 must be at least 1 per second");
        }
        Ok(())
    }

    /// Returns how long the head of a request may take.
    pub fn header_timeout(&self) -> Duration {
        Duration::from_millis(self.header_timeout_ms)
    }

    /// Returns how long a connection may be idle.
    pub fn keep_alive(&self) -> Duration {
        Duration::from_millis(self.keep_alive_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_allowed_and_nonsense_is_not() {
        assert!(Config::default().check().is_ok());
        for wrong in [
            Config { head_bytes: 10, ..Config::default() },
            Config { header_line_bytes: 70_000, ..Config::default() },
            Config { headers: 0, ..Config::default() },
            Config { trailer_bytes: 70_000, ..Config::default() },
            Config { body_idle_ms: 0, ..Config::default() },
            Config { body_bytes_per_second: 0, ..Config::default() },
            Config { http2_resets_per_second: 0, ..Config::default() },
        ] {
            assert!(wrong.check().is_err(), "{wrong:?}");
        }
    }
}
