//! An issuer of access tokens whose keys change, and the server that says which they are. For `zero_drop`.

use std::net::SocketAddr;
use std::sync::{Arc, RwLock};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use axum::{Json, Router, routing};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

struct Key {
    id: String,
    pair: EcdsaKeyPair,
}

/// The issuer; the newest key signs, the one before is still good. Cloning it shares it.
#[derive(Clone, Default)]
pub struct Issuer(Arc<RwLock<Vec<Arc<Key>>>>);

impl Key {
    fn jwk(&self) -> Value {
        let (x, y) = self.pair.public_key().as_ref()[1..].split_at(32);
        json!({ "kty": "EC", "crv": "P-256", "kid": self.id, "x": text(x), "y": text(y) })
    }
}

fn text(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

impl Issuer {
    /// Publishes a new key, which signs from now on; of the old ones the last stays.
    pub fn rotate(&self, number: usize) {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key");
        let mut keys = self.0.write().expect("not poisoned");
        keys.push(Arc::new(Key { id: format!("k{number}"), pair }));
        if keys.len() > 2 {
            keys.remove(0);
        }
    }

    /// Returns a token that is good until then, in seconds.
    pub fn token(&self, until: i64) -> String {
        let key = self.0.read().expect("not poisoned").last().cloned().expect("a key");
        let header = json!({ "alg": "ES256", "kid": key.id, "typ": "at+jwt" });
        let claims = json!({ "iss": "https://login.example", "aud": "api", "sub": "u1", "tenant": "acme",
                             "iat": until - 3_600, "exp": until });
        let message = format!("{}.{}", text(header.to_string()), text(claims.to_string()));
        let signature = key.pair.sign(&SystemRandom::new(), message.as_bytes()).expect("signs");
        format!("{message}.{}", text(signature))
    }

    /// Serves the keys.
    pub async fn start(&self) -> SocketAddr {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let (address, keys) = (listener.local_addr().expect("an address"), self.0.clone());
        let set = move || {
            let keys: Vec<Value> = keys.read().expect("not poisoned").iter().map(|key| key.jwk()).collect();
            async move { Json(json!({ "keys": keys })) }
        };
        tokio::spawn(async move { axum::serve(listener, Router::new().route("/keys", routing::get(set))).await });
        address
    }
}
