//! The issuer of the ladder: a key of each kind, its JWKS, and as many tokens as are asked for. Not for
//! checking any; that is the peers' work.

use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use measure::Outcome;
use serde_json::{Value, json};

pub const ISSUER: &str = "https://issuer.bench.test";
pub const AUDIENCE: &str = "bench";
pub const ROLE: &str = "reader";
/// Whose tokens they are; a UUID, since some gateways want one.
pub const SUBJECT: &str = "01900000-0000-7000-8000-00000000beef";
pub const TENANT: &str = "01900000-0000-7000-8000-00000000cafe";
/// 2035-01-01: longer than any run.
const EXPIRES: u64 = 2_051_222_400;

/// How tokens are signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    Rs256,
    Es256,
}

impl Algorithm {
    pub fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
        }
    }
}

/// The issuer's keys.
pub struct Issuer {
    rsa: RsaKeyPair,
    ec: EcdsaKeyPair,
    random: SystemRandom,
}

impl Issuer {
    pub fn new() -> Outcome<Self> {
        let rsa = RsaKeyPair::generate(KeySize::Rsa2048).map_err(|_| "no RSA key")?;
        let ec = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map_err(|_| "no EC key")?;
        Ok(Self { rsa, ec, random: SystemRandom::new() })
    }

    /// Returns both public keys as a JWKS.
    pub fn jwks(&self) -> Value {
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        // PKCS#1 of a key of 2048 bits: the modulus behind nine bytes of framing, the exponent at the end.
        let rsa = self.rsa.public_key().as_ref();
        // An uncompressed point: 4, x, y.
        let point = self.ec.public_key().as_ref();
        json!({ "keys": [
            {
                "kty": "RSA", "kid": "RS256", "alg": "RS256", "use": "sig",
                "n": encode(&rsa[9..9 + 256]),
                "e": encode(&rsa[rsa.len() - 3..]),
            },
            {
                "kty": "EC", "kid": "ES256", "alg": "ES256", "use": "sig", "crv": "P-256",
                "x": encode(&point[1..33]), "y": encode(&point[33..65]),
            },
        ] })
    }

    /// Returns a public key as PEM.
    pub fn pem(&self, algorithm: Algorithm) -> Outcome<String> {
        let der: PublicKeyX509Der<'_> = match algorithm {
            Algorithm::Rs256 => self.rsa.public_key().as_der(),
            Algorithm::Es256 => self.ec.public_key().as_der(),
        }
        .map_err(|_| "a public key that cannot be written")?;
        let text = STANDARD.encode(der.as_ref());
        let lines: Vec<&str> = text.as_bytes().chunks(64).filter_map(|line| std::str::from_utf8(line).ok()).collect();
        Ok(format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", lines.join("\n")))
    }

    /// Returns a token; each number gives another one.
    pub fn token(&self, algorithm: Algorithm, number: usize) -> Outcome<String> {
        let encode = |part: Value| URL_SAFE_NO_PAD.encode(part.to_string());
        let head = json!({ "alg": algorithm.name(), "typ": "JWT", "kid": algorithm.name() });
        let claims = json!({
            "iss": ISSUER, "aud": AUDIENCE, "sub": SUBJECT, "tenant": TENANT, "roles": [ROLE], "role": ROLE,
            "iat": 1_760_000_000, "nbf": 1_760_000_000, "exp": EXPIRES, "jti": format!("{number:012}"),
        });
        let message = format!("{}.{}", encode(head), encode(claims));
        let signature = match algorithm {
            Algorithm::Rs256 => {
                let mut signature = vec![0; self.rsa.public_modulus_len()];
                self.rsa
                    .sign(&RSA_PKCS1_SHA256, &self.random, message.as_bytes(), &mut signature)
                    .map_err(|_| "cannot sign")?;
                signature
            }
            Algorithm::Es256 => {
                self.ec.sign(&self.random, message.as_bytes()).map_err(|_| "cannot sign")?.as_ref().to_vec()
            }
        };
        Ok(format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_has_three_parts_and_its_number() {
        let issuer = Issuer::new().expect("keys");
        for algorithm in [Algorithm::Rs256, Algorithm::Es256] {
            let (one, two) = (issuer.token(algorithm, 1).expect("signed"), issuer.token(algorithm, 2).expect("signed"));
            assert_eq!(one.split('.').count(), 3);
            assert_ne!(one.split('.').nth(1), two.split('.').nth(1));
            assert!(issuer.pem(algorithm).expect("written").lines().count() > 3);
        }
        let jwks = issuer.jwks();
        assert_eq!((jwks["keys"][0]["e"].as_str(), jwks["keys"][1]["crv"].as_str()), (Some("AQAB"), Some("P-256")));
    }
}
