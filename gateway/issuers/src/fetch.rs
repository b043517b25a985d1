//! Fetches one small document over HTTP or HTTPS: one connection, a limit on time and on bytes, redirects
//! only within the host. Not for what the document says.

use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, ACCEPT_ENCODING, CONNECTION, CONTENT_ENCODING, HOST, LOCATION, USER_AGENT};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::rt::{Read, Write};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::location::Location;

/// How often a redirect is followed.
const REDIRECTS: usize = 3;
/// The longest head of an answer.
const HEAD: usize = 64 << 10;

/// What fetches.
pub(crate) struct Fetcher {
    authorities: Vec<CertificateDer<'static>>,
    tls: OnceLock<TlsConnector>,
    timeout: Duration,
}

impl Fetcher {
    /// Returns what fetches, trusting the authorities in a file besides the system's.
    pub(crate) fn new(authorities: &Path, timeout: Duration) -> Result<Self, String> {
        let mut read = Vec::new();
        if !authorities.as_os_str().is_empty() {
            for certificate in CertificateDer::pem_file_iter(authorities).map_err(|error| error.to_string())? {
                read.push(certificate.map_err(|error| error.to_string())?);
            }
            if read.is_empty() {
                return Err("it holds no certificate".into());
            }
        }
        Ok(Self { authorities: read, tls: OnceLock::new(), timeout })
    }

    /// Fetches a document of at most `limit` bytes, or says why not.
    pub(crate) async fn get(&self, from: &Location, limit: usize) -> Result<Bytes, String> {
        let fetching = async {
            let mut location = from.clone();
            for _ in 0..=REDIRECTS {
                match self.ask(&location, limit).await? {
                    Answer::Document(document) => return Ok(document),
                    Answer::Elsewhere(to) => location = location.redirected(&to)?,
                }
            }
            Err("it redirects too often".to_owned())
        };
        match tokio::time::timeout(self.timeout, fetching).await {
            Ok(fetched) => fetched,
            Err(_) => Err(format!("there was no answer within {} ms", self.timeout.as_millis())),
        }
    }

    async fn ask(&self, location: &Location, limit: usize) -> Result<Answer, String> {
        let stream = TcpStream::connect((location.host(), location.port()))
            .await
            .map_err(|error| format!("no connection: {error}"))?;
        if !location.tls() {
            return talk(TokioIo::new(stream), location, limit).await;
        }
        let name = ServerName::try_from(location.host().to_owned()).map_err(|_| "the host is no name for TLS")?;
        let tls = self.connector()?.connect(name, stream).await.map_err(|error| format!("no TLS: {error}"))?;
        talk(TokioIo::new(tls), location, limit).await
    }

    fn connector(&self) -> Result<&TlsConnector, String> {
        if let Some(made) = self.tls.get() {
            return Ok(made);
        }
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        roots.add_parsable_certificates(self.authorities.iter().cloned());
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(self.tls.get_or_init(|| TlsConnector::from(Arc::new(config))))
    }
}

enum Answer {
    Document(Bytes),
    Elsewhere(String),
}

async fn talk<T>(io: T, location: &Location, limit: usize) -> Result<Answer, String>
where
    T: Read + Write + Unpin + Send + 'static,
{
    let broken = |error: hyper::Error| format!("no HTTP: {error}");
    let request = Request::get(location.target())
        .header(HOST, location.authority())
        .header(ACCEPT, "application/json, application/jwk-set+json")
        .header(ACCEPT_ENCODING, "identity")
        .header(USER_AGENT, concat!("Portico/", env!("CARGO_PKG_VERSION")))
        .header(CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|error| error.to_string())?;
    let (mut sender, connection) = http1::Builder::new().max_buf_size(HEAD).handshake(io).await.map_err(broken)?;
    let _driving = AbortOnDrop(tokio::spawn(connection).abort_handle());
    let response = sender.send_request(request).await.map_err(broken)?;
    match response.status() {
        StatusCode::OK => document(response, limit).await.map(Answer::Document),
        status if status.is_redirection() => {
            let to = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
            to.map(|to| Answer::Elsewhere(to.to_owned())).ok_or_else(|| format!("it answers {status}"))
        }
        status => Err(format!("it answers {status}")),
    }
}

async fn document(response: Response<Incoming>, limit: usize) -> Result<Bytes, String> {
    let encoding = response.headers().get(CONTENT_ENCODING);
    if encoding.is_some_and(|value| !value.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Err("the answer is compressed, which was not asked for".into());
    }
    match Limited::new(response.into_body(), limit).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) => Err(format!("the answer is cut off or longer than {limit} bytes: {error}")),
    }
}

struct AbortOnDrop(AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}
