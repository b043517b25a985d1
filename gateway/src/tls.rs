//! TLS towards clients: who we are and whom we ask to prove who they are, read from files, and again while
//! the server runs. Not for TLS towards upstreams, and not for connections: see `server`.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use arc_swap::ArcSwap;
use http::HeaderValue;
use kernel::{Error, Result};
use serde::{Deserialize, Serialize};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{self, RootCertStore};

/// How a server proves to clients who it is. Without files there is no TLS.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TlsConfig {
    /// The certificate and those between it and the root, as PEM, the server's own first.
    pub certificate: PathBuf,
    /// Its private key, as PEM.
    pub key: PathBuf,
    /// Who signs the certificates of clients, as PEM; each client must then show one. Empty: none is asked for.
    pub client_ca: PathBuf,
    /// For how long browsers shall come with TLS only (RFC 6797), in seconds; 0 tells them nothing.
    pub hsts_seconds: u64,
}

/// TLS towards clients, which may change while the server runs.
#[derive(Clone)]
pub struct Tls(Arc<Inner>);

struct Inner {
    config: TlsConfig,
    current: ArcSwap<rustls::ServerConfig>,
    /// The state of the files when they were read.
    seen: Mutex<Vec<Option<State>>>,
    hsts: Option<HeaderValue>,
}

/// What tells one state of a file from another.
type State = (SystemTime, u64, u64);

fn wrong(key: &str, file: &Path, why: &dyn std::fmt::Display) -> Error {
    let message = format!("server.tls.{key}: {} cannot be used: {why}", file.display());
    Error::invalid("config.server_tls", message)
}

impl TlsConfig {
    /// Whether there is to be TLS.
    pub fn is_on(&self) -> bool {
        [&self.certificate, &self.key, &self.client_ca].iter().any(|file| !file.as_os_str().is_empty())
    }

    fn files(&self) -> impl Iterator<Item = &Path> {
        let files = [&self.certificate, &self.key, &self.client_ca].into_iter();
        files.filter(|file| !file.as_os_str().is_empty()).map(PathBuf::as_path)
    }

    fn states(&self) -> Vec<Option<State>> {
        let state = |file: &Path| {
            let about = std::fs::metadata(file).ok()?;
            Some((about.modified().ok()?, about.len(), about.ino()))
        };
        self.files().map(state).collect()
    }

    fn read(&self) -> Result<rustls::ServerConfig> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let internal = |error| Error::internal("rustls has no protocol versions").source_error(error);
        let builder = rustls::ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(internal)?;
        let builder = if self.client_ca.as_os_str().is_empty() {
            builder.with_no_client_auth()
        } else {
            let wrong_ca = |why: &dyn std::fmt::Display| wrong("client_ca", &self.client_ca, why);
            let mut roots = RootCertStore::empty();
            for certificate in certificates("client_ca", &self.client_ca)? {
                roots.add(certificate).map_err(|error| wrong_ca(&error))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            builder.with_client_cert_verifier(verifier.map_err(|error| wrong_ca(&error))?)
        };
        let chain = certificates("certificate", &self.certificate)?;
        let key = PrivateKeyDer::from_pem_file(&self.key).map_err(|error| wrong("key", &self.key, &error))?;
        let unfit = |error: rustls::Error| match error {
            rustls::Error::InconsistentKeys(_) => wrong("key", &self.key, &"it is not the key of the certificate"),
            rustls::Error::InvalidCertificate(error) => wrong("certificate", &self.certificate, &error),
            error => wrong("key", &self.key, &error),
        };
        let mut config = builder.with_single_cert(chain, key).map_err(unfit)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        // Sealed under keys of this process, and forgotten with this state of the files: a client whose certificate
        // is no longer accepted does not come back with what it was given before.
        config.ticketer = aws_lc_rs::Ticketer::new()
            .map_err(|error| Error::internal("no keys for session tickets").source_error(error))?;
        Ok(config)
    }
}

fn certificates(key: &str, file: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let read = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<std::result::Result<Vec<_>, _>>);
    let certificates = read.map_err(|error| wrong(key, file, &error))?;
    if certificates.is_empty() {
        return Err(wrong(key, file, &"it holds no certificate in PEM"));
    }
    Ok(certificates)
}

impl Tls {
    /// Reads the files.
    pub fn read(config: &TlsConfig) -> Result<Self> {
        for (key, file) in [("certificate", &config.certificate), ("key", &config.key)] {
            if file.as_os_str().is_empty() {
                let message = format!("server.tls.{key} is missing: TLS needs a certificate and its key");
                return Err(Error::invalid("config.server_tls", message));
            }
        }
        // Before they are read: a change in between shows as a change.
        let seen = config.states();
        let current = ArcSwap::from_pointee(config.read()?);
        let told = (config.hsts_seconds > 0).then(|| format!("max-age={}", config.hsts_seconds));
        let hsts = told.and_then(|told| HeaderValue::try_from(told).ok());
        Ok(Self(Arc::new(Inner { config: config.clone(), current, seen: Mutex::new(seen), hsts })))
    }

    /// Reads the files again, where they have changed or it is asked for; returns whether it did. New connections
    /// get what is there now, open ones go on. What cannot be used leaves all as it was.
    pub fn renew(&self, asked: bool) -> Result<bool> {
        let Inner { config, current, seen, .. } = &*self.0;
        let now = config.states();
        let before = std::mem::replace(&mut *seen.lock().unwrap_or_else(PoisonError::into_inner), now.clone());
        if !asked && before == now {
            return Ok(false);
        }
        current.store(Arc::new(config.read()?));
        Ok(true)
    }

    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.0.current.load_full())
    }

    pub(crate) fn hsts(&self) -> Option<&HeaderValue> {
        self.0.hsts.as_ref()
    }
}

/// A request that came over TLS; an extension of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OverTls;
