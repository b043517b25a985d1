//! Certificates, and a client of TLS that takes them. For `tls`.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use gateway::TlsConfig;
use http::{Request, Response};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// An authority, what it signed, and the files of both.
pub struct Authority {
    folder: TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("a certificate");
        let authority = Self { folder: TempDir::new().expect("a folder"), issuer };
        authority.write("ca.pem", &pem("CERTIFICATE", authority.issuer.der()));
        authority
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str) {
        std::fs::write(self.file(name), text).expect("a file");
    }

    /// Signs a new certificate, and puts it and its key in the place of those of the server.
    pub fn renew(&self) -> CertificateDer<'static> {
        let (certificate, key) = self.sign();
        self.write("server.pem", &pem("CERTIFICATE", &certificate));
        self.write("server.key", &pem("PRIVATE KEY", key.secret_der()));
        certificate
    }

    pub fn sign(&self) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec!["localhost".to_owned()]).expect("parameters");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        (certificate.der().clone(), PrivateKeyDer::try_from(key.serialize_der()).expect("a key"))
    }

    /// Returns a server's settings with a new certificate.
    pub fn server(&self) -> TlsConfig {
        self.renew();
        TlsConfig { certificate: self.file("server.pem"), key: self.file("server.key"), ..TlsConfig::default() }
    }

    /// Returns a client that trusts this authority and shows what it is given.
    pub fn client(&self, offers: &[&str], shows: Option<(CertificateDer<'static>, PrivateKeyDer<'static>)>) -> Client {
        self.client_of(&[&TLS12, &TLS13], offers, shows)
    }

    pub fn client_of(
        &self,
        versions: &[&'static tokio_rustls::rustls::SupportedProtocolVersion],
        offers: &[&str],
        shows: Option<(CertificateDer<'static>, PrivateKeyDer<'static>)>,
    ) -> Client {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).expect("a root");
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(versions)
            .expect("versions")
            .with_root_certificates(roots);
        let mut config = match shows {
            Some((certificate, key)) => builder.with_client_auth_cert(vec![certificate], key).expect("a client"),
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = offers.iter().map(|name| name.as_bytes().to_vec()).collect();
        Client(TlsConnector::from(Arc::new(config)))
    }
}

pub fn pem(what: &str, der: &[u8]) -> String {
    format!("-----BEGIN {what}-----\n{}\n-----END {what}-----\n", BASE64.encode(der))
}

/// A client of TLS.
#[derive(Clone)]
pub struct Client(TlsConnector);

/// A connection of HTTP.
pub enum Connection {
    One(http1::SendRequest<Body>),
    Two(http2::SendRequest<Body>),
}

impl Client {
    pub async fn connect(&self, to: SocketAddr) -> io::Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from("localhost").expect("a name");
        self.0.connect(name, TcpStream::connect(to).await?).await
    }

    /// Speaks the version of HTTP that was agreed on.
    pub async fn open(&self, to: SocketAddr) -> io::Result<Connection> {
        let stream = self.connect(to).await?;
        let two = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        let stream = TokioIo::new(stream);
        if two {
            let (sender, driver) =
                http2::handshake(TokioExecutor::new(), stream).await.map_err(io::Error::other)?;
            tokio::spawn(driver);
            return Ok(Connection::Two(sender));
        }
        let (sender, driver) = http1::handshake(stream).await.map_err(io::Error::other)?;
        tokio::spawn(driver);
        Ok(Connection::One(sender))
    }
}

impl Connection {
    pub async fn send(&mut self, path: &str) -> hyper::Result<Response<Incoming>> {
        let request = |uri: String| {
            Request::builder().uri(uri).header("host", "localhost").body(Body::empty()).expect("a request")
        };
        match self {
            Self::One(sender) => {
                sender.ready().await?;
                sender.send_request(request(path.to_owned())).await
            }
            Self::Two(sender) => {
                sender.ready().await?;
                sender.send_request(request(format!("https://localhost{path}"))).await
            }
        }
    }

    pub async fn json(&mut self, path: &str) -> hyper::Result<Value> {
        let body = self.send(path).await?.into_body().collect().await?.to_bytes();
        Ok(serde_json::from_slice(&body).unwrap_or_default())
    }
}
