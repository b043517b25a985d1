//! What the tests share: keys that sign, tokens made by hand, and a server on a socket that says what it
//! is told to.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _,
    RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaKeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use issuers::{Config, Issuers};
use kernel::{Clock, Timestamp};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::runtime::Handle;

/// The moment at which the clocks of the tests stand.
pub const SECONDS: i64 = 1_800_000_000;

pub fn clock() -> Clock {
    Clock::manual(Timestamp(SECONDS * 1_000_000))
}

pub fn text(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

enum Secret {
    P256(EcdsaKeyPair),
    P384(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
    Rsa(RsaKeyPair),
    Pss(RsaKeyPair),
}

/// A key that signs.
pub struct Key {
    pub id: String,
    secret: Secret,
}

impl Key {
    pub fn p256(id: &str) -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key");
        Self { id: id.into(), secret: Secret::P256(pair) }
    }

    pub fn p384(id: &str) -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).expect("a key");
        Self { id: id.into(), secret: Secret::P384(pair) }
    }

    pub fn ed(id: &str) -> Self {
        Self { id: id.into(), secret: Secret::Ed(Ed25519KeyPair::generate().expect("a key")) }
    }

    pub fn rsa(id: &str) -> Self {
        Self { id: id.into(), secret: Secret::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).expect("a key")) }
    }

    pub fn pss(id: &str) -> Self {
        Self { id: id.into(), secret: Secret::Pss(RsaKeyPair::generate(KeySize::Rsa2048).expect("a key")) }
    }

    pub fn algorithm(&self) -> &'static str {
        match self.secret {
            Secret::P256(_) => "ES256",
            Secret::P384(_) => "ES384",
            Secret::Ed(_) => "EdDSA",
            Secret::Rsa(_) => "RS256",
            Secret::Pss(_) => "PS256",
        }
    }

    /// The public half as DER, as somebody might mistake it for a secret.
    pub fn der(&self) -> Vec<u8> {
        match &self.secret {
            Secret::P256(pair) | Secret::P384(pair) => pair.public_key().as_der().expect("DER").as_ref().to_vec(),
            Secret::Ed(pair) => pair.public_key().as_ref().to_vec(),
            Secret::Rsa(pair) | Secret::Pss(pair) => pair.public_key().as_ref().to_vec(),
        }
    }

    pub fn jwk(&self) -> Value {
        let point = |pair: &EcdsaKeyPair, curve: &str| {
            let bytes = pair.public_key().as_ref();
            let (x, y) = bytes[1..].split_at((bytes.len() - 1) / 2);
            json!({ "kty": "EC", "crv": curve, "kid": self.id, "use": "sig", "x": text(x), "y": text(y) })
        };
        let numbers = |pair: &RsaKeyPair| {
            let key = pair.public_key();
            let (n, e) = (key.modulus(), key.exponent());
            json!({ "kty": "RSA", "kid": self.id, "n": text(n.big_endian_without_leading_zero()),
                    "e": text(e.big_endian_without_leading_zero()) })
        };
        match &self.secret {
            Secret::P256(pair) => point(pair, "P-256"),
            Secret::P384(pair) => point(pair, "P-384"),
            Secret::Ed(pair) => {
                json!({ "kty": "OKP", "crv": "Ed25519", "kid": self.id, "x": text(pair.public_key().as_ref()) })
            }
            Secret::Rsa(pair) => numbers(pair),
            Secret::Pss(pair) => {
                let mut key = numbers(pair);
                key["alg"] = json!("PS256");
                key
            }
        }
    }

    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        let rsa = |pair: &RsaKeyPair, padding| {
            let mut signature = vec![0; pair.public_modulus_len()];
            pair.sign(padding, &random, message, &mut signature).expect("signs");
            signature
        };
        match &self.secret {
            Secret::P256(pair) | Secret::P384(pair) => pair.sign(&random, message).expect("signs").as_ref().to_vec(),
            Secret::Ed(pair) => pair.sign(message).as_ref().to_vec(),
            Secret::Rsa(pair) => rsa(pair, &RSA_PKCS1_SHA256),
            Secret::Pss(pair) => rsa(pair, &RSA_PSS_SHA256),
        }
    }

    /// The header that its tokens have.
    pub fn header(&self) -> Value {
        json!({ "alg": self.algorithm(), "kid": self.id, "typ": "at+jwt" })
    }

    /// A good token.
    pub fn token(&self) -> String {
        self.signed(&self.header().to_string(), &claims().to_string())
    }

    /// A token with this header and these claims, as they are.
    pub fn signed(&self, header: &str, claims: &str) -> String {
        let message = format!("{}.{}", text(header), text(claims));
        let signature = text(self.sign(message.as_bytes()));
        format!("{message}.{signature}")
    }

    /// A token with some claims changed; null takes one away.
    pub fn with(&self, changed: &Value) -> String {
        let mut claims = claims();
        change(&mut claims, changed);
        self.signed(&self.header().to_string(), &claims.to_string())
    }

    /// A token with its header changed likewise.
    pub fn headed(&self, changed: &Value) -> String {
        let mut header = self.header();
        change(&mut header, changed);
        self.signed(&header.to_string(), &claims().to_string())
    }
}

pub fn change(object: &mut Value, changed: &Value) {
    for (name, value) in changed.as_object().expect("an object") {
        if value.is_null() {
            object.as_object_mut().expect("an object").remove(name);
        } else {
            object[name] = value.clone();
        }
    }
}

/// Claims that are good for the issuer of [`config`].
pub fn claims() -> Value {
    json!({ "iss": "https://login.example", "aud": "api", "sub": "u1", "tenant": "acme", "iat": SECONDS,
            "exp": SECONDS + 100_000, "scope": "read:items", "roles": ["staff"] })
}

pub fn set<'a>(keys: impl IntoIterator<Item = &'a Key>) -> String {
    json!({ "keys": keys.into_iter().map(Key::jwk).collect::<Vec<_>>() }).to_string()
}

/// An issuer whose keys come from nowhere yet.
pub fn config() -> Config {
    let permissions = BTreeMap::from([("read:items".to_owned(), vec!["items.read".to_owned()])]);
    Config {
        name: "login".into(),
        issuer: "https://login.example".into(),
        audiences: vec!["api".into()],
        scope_permissions: permissions,
        ..Config::default()
    }
}

pub fn build(config: &Config) -> Issuers {
    build_at(config, &clock())
}

pub fn build_at(config: &Config, clock: &Clock) -> Issuers {
    Issuers::build(std::slice::from_ref(config), None, &Handle::current(), clock.clone()).expect("issuers")
}

/// The code of a refusal.
pub async fn code(issuers: &Issuers, token: &str) -> &'static str {
    match issuers.check(token).await {
        Ok(_) => "",
        Err(error) => error.code(),
    }
}

/// What the server does with a request.
pub enum Reply {
    /// 200 with this body.
    Json(String),
    /// These bytes, then the end.
    Raw(String),
    /// These bytes, and no end.
    Stall(String),
}

type Script = Box<dyn FnMut(&str) -> Reply + Send>;

/// A server that counts its requests.
#[derive(Clone)]
pub struct Server {
    pub address: SocketAddr,
    script: Arc<Mutex<Script>>,
    asked: Arc<AtomicUsize>,
}

impl Server {
    pub async fn start(script: impl FnMut(&str) -> Reply + Send + 'static) -> Self {
        Self::start_with(script, |stream| async move { Some(stream) }).await
    }

    /// Starts one that makes something of each connection first, such as TLS.
    pub async fn start_with<S, F>(
        script: impl FnMut(&str) -> Reply + Send + 'static,
        wrap: impl Fn(tokio::net::TcpStream) -> F + Send + 'static,
    ) -> Self
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        F: Future<Output = Option<S>> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let server = Self { address, script: Arc::new(Mutex::new(Box::new(script))), asked: Arc::default() };
        let serving = server.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (serving, wrapped) = (serving.clone(), wrap(stream));
                tokio::spawn(async move {
                    if let Some(stream) = wrapped.await {
                        serving.serve(stream).await;
                    }
                });
            }
        });
        server
    }

    pub fn say(&self, script: impl FnMut(&str) -> Reply + Send + 'static) {
        *self.script.lock().expect("not poisoned") = Box::new(script);
    }

    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    async fn serve(&self, mut stream: impl AsyncRead + AsyncWrite + Unpin) {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            match stream.read_u8().await {
                Ok(byte) => head.push(byte),
                Err(_) => return,
            }
        }
        self.asked.fetch_add(1, Ordering::SeqCst);
        let head = String::from_utf8_lossy(&head).into_owned();
        let path = head.split(' ').nth(1).unwrap_or_default();
        let reply = (self.script.lock().expect("not poisoned"))(path);
        let (bytes, stall) = match reply {
            Reply::Json(body) => (answer("200 OK", "content-type: application/json\r\n", &body), false),
            Reply::Raw(bytes) => (bytes, false),
            Reply::Stall(bytes) => (bytes, true),
        };
        let _ = stream.write_all(bytes.as_bytes()).await;
        let _ = stream.flush().await;
        if stall {
            // Until the other side gives up.
            let _ = stream.read_u8().await;
        }
        let _ = stream.shutdown().await;
    }
}

pub fn answer(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n{headers}\r\n{body}", body.len())
}
