//! The keys of one issuer, read from a JWK Set (RFC 7517). Each key is good for exactly one algorithm
//! (RFC 8725, section 3.1), and a key that is no good is left out, not the whole set. Not for fetching.

use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::Value;

use crate::json;
use crate::jwk::key;
use crate::token::Header;

/// How many keys are read of a set.
const MOST: usize = 256;
/// How many keys one token is tried with, when its header does not say which.
const TRIES: usize = 4;

/// One key with its one algorithm.
pub(crate) struct Key {
    pub id: Option<Box<str>>,
    pub algorithm: Algorithm,
    /// What tells it from another key of the same name.
    pub material: String,
    pub decoding: DecodingKey,
}

impl Key {
    /// Says whether the key made this signature.
    pub(crate) fn signed(&self, message: &str, signature: &str) -> bool {
        matches!(jsonwebtoken::crypto::verify(signature, message.as_bytes(), &self.decoding, self.algorithm), Ok(true))
    }

    /// Returns its name.
    pub(crate) fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    fn same(&self, other: &Self) -> bool {
        self.id == other.id && self.algorithm == other.algorithm && self.material == other.material
    }
}

/// The keys that an issuer signs with.
pub(crate) struct KeySet {
    keys: Vec<Key>,
    /// A shared secret, whatever a token calls it.
    secret: bool,
}

/// What a set says to the header of a token.
pub(crate) enum Found<'a> {
    /// One of these may have signed it.
    These(Vec<&'a Key>),
    /// There is no key of that name.
    Unknown,
    /// There is, and it is not for that algorithm.
    Otherwise,
}

impl KeySet {
    /// Reads a set. Also returns the keys that were left out, with the reason.
    pub(crate) fn parse(bytes: &[u8], accepted: &[Algorithm]) -> Result<(Self, Vec<String>), String> {
        let document = json::object(bytes).ok_or("it is not a JSON object with unique members")?;
        let listed = document.get("keys").and_then(Value::as_array).ok_or("it has no list `keys`")?;
        let (mut keys, mut left_out) = (Vec::<Key>::new(), Vec::new());
        for (place, member) in listed.iter().enumerate() {
            let read = match member {
                _ if place >= MOST => Err("the list is too long"),
                Value::Object(members) => key(members, accepted),
                _ => Err("it is not an object"),
            };
            match read {
                // The same key once more is no second key.
                Ok(key) if keys.iter().any(|known| known.same(&key)) => {}
                Ok(key) => keys.push(key),
                Err(why) => {
                    let name = member.get("kid").and_then(Value::as_str).unwrap_or("(no kid)");
                    left_out.push(format!("{}: {why}", name.chars().take(64).collect::<String>()));
                }
            }
        }
        Ok((Self { keys, secret: false }, left_out))
    }

    /// Returns the set of one shared secret.
    pub(crate) fn secret(secret: &str) -> Self {
        let decoding = DecodingKey::from_secret(secret.as_bytes());
        let key = Key { id: None, algorithm: Algorithm::HS256, material: String::new(), decoding };
        Self { keys: vec![key], secret: true }
    }

    /// Returns the keys that may have signed a token with this header.
    pub(crate) fn find(&self, header: &Header) -> Found<'_> {
        let named: Vec<&Key> = match &header.key_id {
            Some(id) if !self.secret => self.keys.iter().filter(|key| key.id.as_deref() == Some(&**id)).collect(),
            _ => self.keys.iter().collect(),
        };
        if named.is_empty() {
            return Found::Unknown;
        }
        let fit: Vec<&Key> = named.into_iter().filter(|key| key.algorithm == header.algorithm).take(TRIES).collect();
        if fit.is_empty() { Found::Otherwise } else { Found::These(fit) }
    }

    /// Says whether a key of this set is not in the next one.
    pub(crate) fn loses_to(&self, next: &Self) -> bool {
        !self.keys.iter().all(|key| next.keys.iter().any(|other| other.same(key)))
    }

    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use serde_json::json;

    use super::*;

    const ACCEPTED: [Algorithm; 5] =
        [Algorithm::RS256, Algorithm::PS256, Algorithm::ES256, Algorithm::ES384, Algorithm::EdDSA];

    fn text(length: usize, byte: u8) -> String {
        URL_SAFE_NO_PAD.encode(vec![byte; length])
    }

    fn ec(id: &str) -> Value {
        json!({ "kty": "EC", "crv": "P-256", "kid": id, "x": text(32, 1), "y": text(32, 2) })
    }

    fn with(mut key: Value, name: &str, value: Value) -> Value {
        key[name] = value;
        key
    }

    fn read(keys: &[Value]) -> (KeySet, Vec<String>) {
        KeySet::parse(json!({ "keys": keys }).to_string().as_bytes(), &ACCEPTED).expect("a set")
    }

    fn header(algorithm: Algorithm, id: Option<&str>) -> Header {
        Header { algorithm, kind: None, key_id: id.map(str::to_owned) }
    }

    fn count(set: &KeySet, header: &Header) -> Option<usize> {
        match set.find(header) {
            Found::These(keys) => Some(keys.len()),
            Found::Unknown => None,
            Found::Otherwise => Some(0),
        }
    }

    #[test]
    fn each_key_has_one_algorithm() {
        let rsa = json!({ "kty": "RSA", "kid": "r", "n": text(256, 0xff), "e": "AQAB" });
        let ed = json!({ "kty": "OKP", "crv": "Ed25519", "kid": "e", "x": text(32, 1), "alg": "Ed25519" });
        let p384 = json!({ "kty": "EC", "crv": "P-384", "kid": "p", "x": text(48, 1), "y": text(48, 1), "use": "sig" });
        let pss = with(with(rsa.clone(), "alg", json!("PS256")), "kid", json!("s"));
        let (set, left_out) = read(&[ec("a"), rsa, ed, p384, pss]);
        assert_eq!((set.len(), left_out.len()), (5, 0), "{left_out:?}");
        for (id, algorithm) in [
            ("a", Algorithm::ES256),
            ("r", Algorithm::RS256),
            ("e", Algorithm::EdDSA),
            ("p", Algorithm::ES384),
            ("s", Algorithm::PS256),
        ] {
            for tried in ACCEPTED {
                let expected = usize::from(tried == algorithm);
                assert_eq!(count(&set, &header(tried, Some(id))), Some(expected), "{id} {tried:?}");
            }
            assert_eq!(count(&set, &header(Algorithm::HS256, Some(id))), Some(0), "{id}");
        }
        assert_eq!(count(&set, &header(Algorithm::ES256, Some("b"))), None);
        assert_eq!(count(&set, &header(Algorithm::ES256, None)), Some(1), "the only one that it can be");
    }

    #[test]
    fn a_key_that_is_no_good_is_left_out_alone() {
        let bad = [
            with(ec("b"), "use", json!("enc")),
            with(ec("b"), "use", json!(1)),
            with(ec("b"), "key_ops", json!(["sign"])),
            with(ec("b"), "d", json!(text(32, 3))),
            with(ec("b"), "kid", json!(7)),
            with(ec("b"), "alg", json!("RS256")),
            with(ec("b"), "alg", json!("none")),
            with(ec("b"), "alg", json!(["ES256"])),
            with(ec("b"), "crv", json!("secp256k1")),
            with(ec("b"), "crv", json!("P-384")),
            with(ec("b"), "x", json!(text(31, 1))),
            with(ec("b"), "y", json!("not base64url!")),
            json!({ "kty": "oct", "kid": "b", "k": text(32, 1) }),
            json!({ "kty": "RSA", "kid": "b", "n": text(128, 0xff), "e": "AQAB" }),
            json!({ "kty": "RSA", "kid": "b", "n": text(2000, 0xff), "e": "AQAB" }),
            json!({ "kty": "RSA", "kid": "b", "n": text(256, 0xff), "e": "AQ" }),
            json!({ "kty": "RSA", "kid": "b", "n": text(256, 0xff), "e": "AQAB", "alg": "RS512" }),
            json!({ "kid": "b" }),
            json!("b"),
        ];
        for key in bad {
            let (set, left_out) = read(&[ec("a"), key.clone()]);
            assert_eq!((set.len(), left_out.len()), (1, 1), "{key}");
            assert_eq!(count(&set, &header(Algorithm::ES256, Some("b"))), None, "{key}");
        }
        let many: Vec<Value> = (0..300).map(|n| ec(&n.to_string())).collect();
        assert_eq!(read(&many).0.len(), MOST);
    }

    #[test]
    fn what_is_no_set_is_refused() {
        for refused in ["", "[]", "{}", r#"{"keys":{}}"#, r#"{"keys":[],"keys":[]}"#, "<html>"] {
            assert!(KeySet::parse(refused.as_bytes(), &ACCEPTED).is_err(), "{refused}");
        }
        assert_eq!(read(&[]).0.len(), 0);
    }

    #[test]
    fn keys_of_one_name_are_told_apart_by_algorithm_or_all_tried() {
        let ed = json!({ "kty": "OKP", "crv": "Ed25519", "kid": "a", "x": text(32, 1) });
        let other = with(ec("a"), "x", json!(text(32, 9)));
        let (set, _) = read(&[ec("a"), ed, other, ec("a")]);
        assert_eq!(set.len(), 3, "the same key once more is no other key");
        assert_eq!(count(&set, &header(Algorithm::EdDSA, Some("a"))), Some(1));
        assert_eq!(count(&set, &header(Algorithm::ES256, Some("a"))), Some(2));
        let many: Vec<Value> = (0..9).map(|n| with(ec("a"), "x", json!(text(32, n)))).collect();
        assert_eq!(count(&read(&many).0, &header(Algorithm::ES256, Some("a"))), Some(TRIES));
    }

    #[test]
    fn a_set_loses_when_a_key_of_it_goes_or_changes() {
        let (old, _) = read(&[ec("a"), ec("b")]);
        assert!(!old.loses_to(&read(&[ec("b"), ec("a"), ec("c")]).0));
        assert!(old.loses_to(&read(&[ec("a")]).0));
        assert!(old.loses_to(&read(&[ec("a"), with(ec("b"), "x", json!(text(32, 9)))]).0));
    }

    #[test]
    fn a_secret_is_found_under_any_name_and_for_its_algorithm_only() {
        let set = KeySet::secret("0123456789abcdef0123456789abcdef");
        assert_eq!(count(&set, &header(Algorithm::HS256, Some("x"))), Some(1));
        assert_eq!(count(&set, &header(Algorithm::HS256, None)), Some(1));
        assert_eq!(count(&set, &header(Algorithm::HS384, None)), Some(0));
        assert_eq!(count(&set, &header(Algorithm::RS256, None)), Some(0));
    }
}
