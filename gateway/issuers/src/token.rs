//! The outside of a token in compact form (RFC 7515, section 7.1): its three parts, and what its header
//! says. Nothing here is believed yet. Not for signatures and claims.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::json;

/// The longest token that is looked at, in bytes.
const LONGEST: usize = 16 << 10;
/// The longest key id, in bytes.
const LONGEST_KEY_ID: usize = 256;

/// Why a token is refused; only the log learns of it.
pub(crate) type Why = &'static str;

/// The parts of a token.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parts<'a> {
    header: &'a str,
    payload: &'a str,
    /// What is signed: header and payload.
    pub signed: &'a str,
    pub signature: &'a str,
}

/// What a header says that counts. Where it says to find a key (jku, x5u, jwk, x5c) is not read at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub algorithm: Algorithm,
    /// `typ` in lower case, without `application/`.
    pub kind: Option<String>,
    pub key_id: Option<String>,
}

impl<'a> Parts<'a> {
    /// Takes a token apart.
    pub(crate) fn of(token: &'a str) -> Result<Self, Why> {
        if token.len() > LONGEST {
            return Err("too long");
        }
        let mut parts = token.split('.');
        let (Some(header), Some(payload), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err("not three parts");
        };
        if header.is_empty() || payload.is_empty() || signature.is_empty() {
            return Err("an empty part");
        }
        let signed = &token[..header.len() + 1 + payload.len()];
        Ok(Self { header, payload, signed, signature })
    }

    /// Returns the issuer that the payload names, unchecked, without reading the rest.
    pub(crate) fn issuer(&self) -> Option<String> {
        #[derive(Deserialize)]
        struct Peek<'a> {
            #[serde(borrow)]
            iss: Cow<'a, str>,
        }
        let payload = URL_SAFE_NO_PAD.decode(self.payload).ok()?;
        serde_json::from_slice::<Peek<'_>>(&payload).ok().map(|peek| peek.iss.into_owned())
    }

    /// Reads the header.
    pub(crate) fn header(&self) -> Result<Header, Why> {
        let header = decoded(self.header).ok_or("the header is not JSON with unique members")?;
        // An extension that must be understood, and none is (RFC 7515, section 4.1.11).
        if header.contains_key("crit") {
            return Err("a critical extension");
        }
        // Without `crit` it means nothing to others, so the payload would be read in two ways (RFC 7797, section 6).
        if header.contains_key("b64") {
            return Err("an unencoded payload");
        }
        let algorithm = header.get("alg").and_then(Value::as_str).ok_or("no algorithm")?;
        let algorithm = algorithm_named(algorithm).ok_or("an algorithm that is none of ours")?;
        let kind = match header.get("typ") {
            None => None,
            Some(Value::String(kind)) => {
                let kind = kind.to_ascii_lowercase();
                Some(kind.strip_prefix("application/").map_or_else(|| kind.clone(), str::to_owned))
            }
            Some(_) => return Err("a type that is not text"),
        };
        let key_id = match header.get("kid") {
            None => None,
            Some(Value::String(id)) if !id.is_empty() && id.len() <= LONGEST_KEY_ID => Some(id.clone()),
            Some(_) => return Err("a key id that is empty, too long or not text"),
        };
        Ok(Header { algorithm, kind, key_id })
    }

    /// Reads the claims; only after the signature was found right.
    pub(crate) fn claims(&self) -> Result<Map<String, Value>, Why> {
        decoded(self.payload).ok_or("the claims are not JSON with unique members")
    }
}

fn decoded(part: &str) -> Option<Map<String, Value>> {
    // No padding, no other alphabet, no loose bits: one text for one meaning.
    json::object(&URL_SAFE_NO_PAD.decode(part).ok()?)
}

/// Returns an algorithm by its name in tokens and keys; names are case-sensitive.
pub(crate) fn algorithm_named(name: &str) -> Option<Algorithm> {
    // The name of RFC 9864, which says the curve.
    if name == "Ed25519" { Some(Algorithm::EdDSA) } else { name.parse().ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(header: &str, payload: &str) -> String {
        format!("{}.{}.c2ln", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload))
    }

    fn header(text: &str) -> Result<Header, Why> {
        let token = token(text, "{}");
        Parts::of(&token).expect("three parts").header()
    }

    #[test]
    fn a_token_is_taken_apart() {
        let text = token(r#"{"alg":"ES256","kid":"k1","typ":"application/AT+JWT"}"#, r#"{"iss":"a","x":[1]}"#);
        let parts = Parts::of(&text).expect("three parts");
        assert_eq!(parts.issuer().as_deref(), Some("a"));
        assert_eq!(parts.signature, "c2ln");
        assert!(text.starts_with(parts.signed) && !parts.signed.ends_with('.'));
        let header = parts.header().expect("a header");
        assert_eq!(header.algorithm, Algorithm::ES256);
        assert_eq!((header.kind.as_deref(), header.key_id.as_deref()), (Some("at+jwt"), Some("k1")));
        assert_eq!(algorithm_named("Ed25519"), Some(Algorithm::EdDSA));
    }

    #[test]
    fn what_is_no_token_is_refused() {
        let long = "a".repeat(LONGEST + 1);
        for refused in ["", ".", "..", "a.b", "a..c", "a.b.", ".b.c", "a.b.c.d", "a.b.c.d.e", long.as_str()] {
            assert!(Parts::of(refused).is_err(), "{refused}");
        }
    }

    #[test]
    fn an_issuer_that_is_no_single_text_is_none() {
        for payload in ["{}", r#"{"iss":1}"#, r#"{"iss":["a"]}"#, r#"{"iss":"a","iss":"b"}"#, "[]", "a"] {
            assert_eq!(Parts::of(&token("{}", payload)).expect("three parts").issuer(), None, "{payload}");
        }
    }

    #[test]
    fn a_header_that_means_something_else_is_refused() {
        let long = format!(r#"{{"alg":"ES256","kid":"{}"}}"#, "k".repeat(LONGEST_KEY_ID + 1));
        for refused in [
            "{}",
            r#"{"alg":"none"}"#,
            r#"{"alg":"es256"}"#,
            r#"{"alg":" ES256"}"#,
            r#"{"alg":["ES256"]}"#,
            r#"{"alg":"ES256K"}"#,
            r#"{"alg":"ES256","alg":"none"}"#,
            r#"{"alg":"ES256","crit":["exp"]}"#,
            r#"{"alg":"ES256","crit":[]}"#,
            r#"{"alg":"ES256","b64":false}"#,
            r#"{"alg":"ES256","kid":1}"#,
            r#"{"alg":"ES256","kid":""}"#,
            r#"{"alg":"ES256","typ":1}"#,
            "not JSON",
            &long,
        ] {
            assert!(header(refused).is_err(), "{refused}");
        }
        let elsewhere = r#"{"alg":"ES256","jku":"https://evil.example","x5u":1,"jwk":{"kty":"EC"},"x5c":["x"]}"#;
        assert_eq!(header(elsewhere).expect("not looked at").key_id, None);
    }
}
