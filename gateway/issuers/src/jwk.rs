//! One key of a JWK Set (RFC 7517; RFC 7518, section 6; RFC 8037), and the one algorithm that it is for. Not
//! for sets; the tests are with those, in `keys`.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::{Map, Value};

use crate::keys::Key;
use crate::token::{Why, algorithm_named};

/// The shortest RSA modulus, in bytes (RFC 7518, section 3.3).
const RSA_BYTES: usize = 256;

/// Reads one key of a set, or says why it is no good.
pub(crate) fn key(members: &Map<String, Value>, accepted: &[Algorithm]) -> Result<Key, Why> {
    let text = |name: &str| members.get(name).and_then(Value::as_str);
    if ["d", "p", "q", "dp", "dq", "qi", "oth", "k"].iter().any(|name| members.contains_key(*name)) {
        // Whoever has read the set can sign with it.
        return Err("it is not a public key");
    }
    if members.contains_key("use") && text("use") != Some("sig") {
        return Err("it is not for signatures");
    }
    if let Some(operations) = members.get("key_ops") {
        let verifies = |list: &Vec<Value>| list.iter().any(|operation| operation == "verify");
        if !operations.as_array().is_some_and(verifies) {
            return Err("it is not for verifying");
        }
    }
    let id = match members.get("kid") {
        None => None,
        Some(Value::String(id)) => Some(id.as_str().into()),
        Some(_) => return Err("its kid is not text"),
    };
    let family = family(text("kty"), text("crv"))?;
    let algorithm = match members.get("alg") {
        Some(name) => name.as_str().and_then(algorithm_named).ok_or("its algorithm is none of ours")?,
        // The one that its kind of key is for; for RSA the first that is configured.
        None => *accepted.iter().find(|algorithm| family.contains(algorithm)).ok_or("its algorithm is not accepted")?,
    };
    if !family.contains(&algorithm) {
        return Err("its algorithm is not for that kind of key");
    }
    if !accepted.contains(&algorithm) {
        return Err("its algorithm is not accepted");
    }
    let (decoding, material) = decoding(algorithm, text)?;
    Ok(Key { id, algorithm, material, decoding })
}

/// Returns the algorithms that a kind of key can be for.
fn family(kind: Option<&str>, curve: Option<&str>) -> Result<&'static [Algorithm], Why> {
    use Algorithm::{ES256, ES384, EdDSA, PS256, PS384, PS512, RS256, RS384, RS512};
    match (kind, curve) {
        (Some("RSA"), _) => Ok(&[RS256, RS384, RS512, PS256, PS384, PS512]),
        (Some("EC"), Some("P-256")) => Ok(&[ES256]),
        (Some("EC"), Some("P-384")) => Ok(&[ES384]),
        (Some("OKP"), Some("Ed25519")) => Ok(&[EdDSA]),
        _ => Err("its kind or curve is none of ours"),
    }
}

fn decoding<'a>(algorithm: Algorithm, text: impl Fn(&str) -> Option<&'a str>) -> Result<(DecodingKey, String), Why> {
    let bytes = |name: &str| -> Result<Vec<u8>, Why> {
        text(name).and_then(|encoded| URL_SAFE_NO_PAD.decode(encoded).ok()).ok_or("a part of it is missing or broken")
    };
    let coordinate = |name: &str, length: usize| {
        let part = bytes(name)?;
        if part.len() == length { Ok(part) } else { Err("a coordinate has another length") }
    };
    let (decoding, parts) = match algorithm {
        Algorithm::ES256 | Algorithm::ES384 => {
            let length = if algorithm == Algorithm::ES256 { 32 } else { 48 };
            let point = [vec![4], coordinate("x", length)?, coordinate("y", length)?].concat();
            (DecodingKey::from_ec_der(&point), point)
        }
        Algorithm::EdDSA => {
            let point = coordinate("x", 32)?;
            (DecodingKey::from_ed_der(&point), point)
        }
        _ => {
            let (modulus, exponent) = (bytes("n")?, bytes("e")?);
            // Some encoders put a zero in front, as in ASN.1.
            let start = modulus.iter().position(|byte| *byte != 0).unwrap_or(modulus.len());
            let modulus = &modulus[start..];
            if modulus.len() < RSA_BYTES || modulus.len() > RSA_BYTES * 4 {
                return Err("its modulus has fewer than 2048 bits, or more than 8192");
            }
            if exponent.last().is_none_or(|last| last % 2 == 0) || exponent == [1] {
                return Err("its exponent is not odd and greater than 1");
            }
            let parts = [modulus, &[0], exponent.as_slice()].concat();
            (DecodingKey::from_rsa_raw_components(modulus, &exponent), parts)
        }
    };
    Ok((decoding, URL_SAFE_NO_PAD.encode(parts)))
}
