//! The envelope of a post: who it says it is from, when, and under which signatures, as Standard
//! Webhooks and our key id have it. Nothing in it is believed before a secret has checked it.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName};
use kernel::{Error, Timestamp};

use super::key::QcKeyId;

/// How far a sender's clock may be off.
const TOLERANCE: Duration = Duration::from_secs(5 * 60);
/// How many signatures of one post are looked at.
const SIGNATURES: usize = 8;

const KEY_ID: HeaderName = HeaderName::from_static("webhook-key-id");
const ID: HeaderName = HeaderName::from_static("webhook-id");
const TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
const SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");

/// What a post says of itself.
pub(super) struct Signed {
    /// Selects tenant and secret.
    pub key: QcKeyId,
    /// Names the message; a repetition has the same.
    pub id: String,
    /// When it was sent, in seconds since 1970, as it was written.
    pub timestamp: String,
    /// The signatures of the version that is known here.
    pub signatures: Vec<Vec<u8>>,
}

impl Signed {
    /// Reads the headers; a post that lacks one, or has one twice, is not signed.
    pub(super) fn read(headers: &HeaderMap) -> Option<Self> {
        let one = |name: &HeaderName| {
            let mut values = headers.get_all(name).iter();
            let value = values.next()?.to_str().ok()?;
            values.next().is_none().then_some(value)
        };
        let timestamp = one(&TIMESTAMP)?;
        // Digits alone: what is signed is the text, so that one moment has one way to write it.
        if timestamp.is_empty() || timestamp.len() > 15 || !timestamp.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let versions = one(&SIGNATURE)?.split(' ').filter_map(|signature| signature.strip_prefix("v1,"));
        Some(Self {
            key: one(&KEY_ID)?.parse().ok()?,
            id: one(&ID)?.to_owned(),
            timestamp: timestamp.to_owned(),
            signatures: versions.take(SIGNATURES).filter_map(|text| STANDARD.decode(text).ok()).collect(),
        })
    }

    /// Says whether the message was sent just now.
    pub(super) fn is_fresh(&self, now: Timestamp) -> bool {
        let sent = self.timestamp.parse::<i64>().ok().and_then(|seconds| seconds.checked_mul(1_000_000));
        sent.is_some_and(|sent| (now.minus(TOLERANCE).0..=now.plus(TOLERANCE).0).contains(&sent))
    }

    /// Says whether the id can tell one message from another. Where it held a full stop, the same
    /// signed bytes could be read as another id with another time.
    pub(super) fn is_named(&self) -> bool {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b':');
        (1..=128).contains(&self.id.len()) && self.id.bytes().all(allowed)
    }
}

/// Returns the one refusal of all that is not signed as it should be.
pub(super) fn refused() -> Error {
    Error::unauthenticated("inventory.invalid_signature", "the message is not signed with a secret of this key")
}

/// Returns the refusal of a message that is signed, and not of now.
pub(super) fn out_of_time() -> Error {
    let message = "the signature is right, but webhook-timestamp is more than 5 minutes from now: set the clock, and \
                   sign again for each attempt";
    Error::unauthenticated("inventory.invalid_signature", message)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    const KEY: &str = "qck_00000000000000000000000001";

    fn headers(changed: &str, value: &str) -> HeaderMap {
        let sound = [
            ("webhook-key-id", KEY),
            ("webhook-id", "msg_1"),
            ("webhook-timestamp", "1614265330"),
            ("webhook-signature", "v1a,AAAA v1,AAECAw== v1,!! v1,AAECAw=="),
        ];
        let mut headers = HeaderMap::new();
        for (name, sound) in sound {
            let value = if name == changed { value } else { sound };
            headers.insert(name, HeaderValue::from_str(value).expect("a header"));
        }
        headers
    }

    #[test]
    fn an_envelope_is_read_whole_or_not_at_all() {
        let sound = headers("", "");
        let read = Signed::read(&sound).expect("signed");
        assert_eq!((read.id.as_str(), read.timestamp.as_str()), ("msg_1", "1614265330"));
        assert_eq!(read.signatures, [[0, 1, 2, 3], [0, 1, 2, 3]]);
        for name in sound.keys() {
            let mut without = sound.clone();
            without.remove(name);
            assert!(Signed::read(&without).is_none(), "without {name}");
            let mut twice = sound.clone();
            twice.append(name, sound[name].clone());
            assert!(Signed::read(&twice).is_none(), "{name} twice");
        }
        for wrong in ["", "-1", "+1", "1.5", "1e9", " 1614265330", "١٢", "9999999999999999"] {
            let Ok(value) = HeaderValue::from_str(wrong) else { continue };
            let mut changed = sound.clone();
            changed.insert("webhook-timestamp", value);
            assert!(Signed::read(&changed).is_none(), "{wrong:?}");
        }
        for wrong in ["", "itm_00000000000000000000000001", "qck_0", "x"] {
            assert!(Signed::read(&headers("webhook-key-id", wrong)).is_none(), "{wrong:?}");
        }
        let many = vec!["v1,AAECAw=="; 100].join(" ");
        let read = Signed::read(&headers("webhook-signature", &many)).expect("signed");
        assert_eq!(read.signatures.len(), SIGNATURES);
    }

    #[test]
    fn a_message_is_fresh_for_five_minutes_both_ways() {
        let now = Timestamp(1_614_265_330_000_000);
        for (seconds, fresh) in [
            ("1614265330", true),
            ("1614265030", true),
            ("1614265630", true),
            ("1614265029", false),
            ("1614265631", false),
            ("0", false),
            ("999999999999999", false),
        ] {
            let message = Signed::read(&headers("webhook-timestamp", seconds)).expect("signed");
            assert_eq!(message.is_fresh(now), fresh, "{seconds}");
        }
    }

    #[test]
    fn an_id_is_short_and_has_no_full_stop() {
        for (id, named) in [
            ("msg_2KWPBgLlAfxdpx2AI54pPJ85f4W", true),
            ("3f0e4a52-0d9c-4b8e-8d2e-5b0c7a3f1e11", true),
            ("a.b", false),
            ("a b", false),
            ("", false),
            (&"x".repeat(128), true),
            (&"x".repeat(129), false),
        ] {
            let message = Signed::read(&headers("webhook-id", id)).expect("signed");
            assert_eq!(message.is_named(), named, "{id}");
        }
    }
}
