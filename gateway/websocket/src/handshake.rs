//! The opening handshake of RFC 6455 section 4, judged from both sides: what the client may ask, and whether the
//! origin's 101 answers that and nothing else. Not for HTTP/2's extended CONNECT (RFC 8441), and not for who may.

use aws_lc_rs::digest;
use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{
    CONNECTION, CONTENT_LENGTH, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Version};
use kernel::{Error, Result};

/// What a server adds to the key before it hashes it (section 1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// All three reserved bits, for extensions whose use of them is not known here.
const ALL_RESERVED: u8 = 0x70;
/// RSV1, which permessage-deflate uses (RFC 7692 section 6).
const COMPRESSED: u8 = 0x40;

/// What a client asks for.
#[derive(Clone, Debug)]
pub struct Handshake {
    accept: String,
    protocols: Vec<String>,
    extensions: Vec<String>,
}

fn invalid(message: &str) -> Error {
    Error::invalid("gateway.websocket_handshake", message)
}

fn wrong_answer(what: &str) -> Error {
    Error::unavailable("gateway.websocket_bad_answer", "the origin's answer to the WebSocket handshake is not valid")
        .status_code(502)
        .context(what)
}

impl Handshake {
    /// Says whether a request asks to become a WebSocket.
    pub fn asked(headers: &HeaderMap) -> bool {
        lists(headers, &CONNECTION, "upgrade") && lists(headers, &UPGRADE, "websocket")
    }

    /// Reads the handshake, before the headers that concern one connection are dropped.
    pub fn read(method: &Method, version: Version, headers: &HeaderMap, extensions: bool) -> Result<Self> {
        if method != Method::GET || version != Version::HTTP_11 {
            return Err(invalid("a WebSocket is opened with GET and HTTP/1.1"));
        }
        if headers.contains_key(TRANSFER_ENCODING)
            || headers.get_all(CONTENT_LENGTH).iter().any(|length| length.as_bytes() != b"0")
        {
            return Err(invalid("a WebSocket is opened without a body"));
        }
        let only_upgrade = headers.get_all(UPGRADE).iter().count() == 1
            && headers.get(UPGRADE).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"));
        if !Self::asked(headers) || !only_upgrade {
            return Err(invalid("Upgrade must name websocket and nothing else"));
        }
        match one(headers, &SEC_WEBSOCKET_VERSION).map(str::trim) {
            Some("13") => {}
            _ => {
                let message = "the WebSocket protocol is spoken in version 13";
                return Err(Error::invalid("gateway.websocket_version", message).status_code(426));
            }
        }
        let key = one(headers, &SEC_WEBSOCKET_KEY).map(str::trim).unwrap_or_default();
        if STANDARD.decode(key).map_or(0, |nonce| nonce.len()) != 16 {
            return Err(invalid("Sec-WebSocket-Key must be 16 bytes in base64, once"));
        }
        let protocols = tokens(headers, &SEC_WEBSOCKET_PROTOCOL)
            .filter(|names| names.iter().enumerate().all(|(at, name)| !names[..at].contains(name)))
            .ok_or_else(|| invalid("Sec-WebSocket-Protocol must list each subprotocol once"))?;
        let offered = extension_names(headers).ok_or_else(|| invalid("Sec-WebSocket-Extensions cannot be read"))?;
        Ok(Self { accept: accept(key), protocols, extensions: if extensions { offered } else { Vec::new() } })
    }

    /// Puts into a request to the origin what asks for the WebSocket.
    pub fn ask(&self, headers: &mut HeaderMap) {
        upgrade(headers);
        headers.remove(SEC_WEBSOCKET_ACCEPT);
        headers.remove(CONTENT_LENGTH);
        if self.extensions.is_empty() {
            headers.remove(SEC_WEBSOCKET_EXTENSIONS);
        }
    }

    /// Judges a 101, leaves in it what belongs there, and returns the reserved bits that were agreed on.
    pub(crate) fn agree(&self, response: &mut Response<Body>) -> Result<u8> {
        let headers = response.headers_mut();
        if !Self::asked(headers) {
            return Err(wrong_answer("a 101 without Upgrade: websocket"));
        }
        if one(headers, &SEC_WEBSOCKET_ACCEPT).map(str::trim) != Some(&self.accept) {
            return Err(wrong_answer("Sec-WebSocket-Accept does not belong to the key"));
        }
        let chosen = tokens(headers, &SEC_WEBSOCKET_PROTOCOL).ok_or_else(|| wrong_answer("Sec-WebSocket-Protocol"))?;
        if chosen.len() > 1 || chosen.iter().any(|name| !self.protocols.contains(name)) {
            return Err(wrong_answer("a subprotocol that was not offered"));
        }
        let extensions = extension_names(headers).ok_or_else(|| wrong_answer("Sec-WebSocket-Extensions"))?;
        let mut reserved = 0;
        for (at, name) in extensions.iter().enumerate() {
            if !self.extensions.contains(name) || extensions[..at].contains(name) {
                return Err(wrong_answer("an extension that was not offered"));
            }
            reserved |= if name == "permessage-deflate" { COMPRESSED } else { ALL_RESERVED };
        }
        upgrade(headers);
        // Neither belongs into a 101 (RFC 9110 section 8.6, RFC 9112 section 6.1).
        headers.remove(CONTENT_LENGTH);
        headers.remove(TRANSFER_ENCODING);
        Ok(reserved)
    }
}

/// Completes an answer to a handshake that opens nothing: the connection ends with it, because what the client may
/// have sent behind it was meant for a socket; a 426 says which version is spoken (RFC 6455 section 4.4).
pub fn complete_refusal(response: &mut Response<Body>) {
    let upgrade_required = response.status() == StatusCode::UPGRADE_REQUIRED;
    let headers = response.headers_mut();
    if upgrade_required {
        upgrade(headers);
        headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        headers.append(CONNECTION, HeaderValue::from_static("close"));
    } else {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
}

fn upgrade(headers: &mut HeaderMap) {
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
}

fn accept(key: &str) -> String {
    let mut hash = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
    hash.update(key.as_bytes());
    hash.update(GUID);
    STANDARD.encode(hash.finish())
}

/// Returns the value of a header that is there once.
fn one<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())?.to_str().ok()
}

fn lists(headers: &HeaderMap, name: &HeaderName, wanted: &str) -> bool {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|word| word.trim().eq_ignore_ascii_case(wanted))
}

fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

/// Reads a list of tokens; nothing where it is not one.
fn tokens(headers: &HeaderMap, name: &HeaderName) -> Option<Vec<String>> {
    let mut found = Vec::new();
    for value in headers.get_all(name) {
        for word in value.to_str().ok()?.split(',').map(str::trim).filter(|word| !word.is_empty()) {
            found.push(is_token(word).then(|| word.to_owned())?);
        }
    }
    Some(found)
}

/// Reads the names of extensions; a value in quotes may hold what else separates.
fn extension_names(headers: &HeaderMap) -> Option<Vec<String>> {
    let mut found = Vec::new();
    for value in headers.get_all(SEC_WEBSOCKET_EXTENSIONS) {
        let (mut quoted, mut escaped) = (false, false);
        let separates = |sign: char| {
            match sign {
                _ if escaped => escaped = false,
                '\\' if quoted => escaped = true,
                '"' => quoted = !quoted,
                _ => {}
            }
            sign == ',' && !quoted
        };
        let text = value.to_str().ok()?;
        for part in text.split(separates).map(str::trim).filter(|part| !part.is_empty()) {
            let name = part.split(';').next().unwrap_or_default().trim();
            found.push(is_token(name).then(|| name.to_ascii_lowercase())?);
        }
        if quoted {
            return None;
        }
    }
    Some(found)
}

#[cfg(test)]
mod tests;
