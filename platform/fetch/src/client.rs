//! What asks: whom it trusts, a connection, a question. Not for reading the answer.

use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, CONNECTION, HOST, USER_AGENT};
use http::{HeaderValue, Request, Response, Uri};
use http_body_util::Full;
use hyper::client::conn::http1;
use hyper::rt::{Read, Write};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::address::Address;
use crate::answer::{Answer, Driving};

/// The longest head of an answer.
const HEAD: usize = 64 << 10;

/// What asks, and whom it trusts.
#[derive(Default)]
pub struct Client {
    authorities: Vec<CertificateDer<'static>>,
    /// Made for the first address that needs it: reading the system's authorities takes a while.
    tls: OnceLock<TlsConnector>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("authorities", &self.authorities.len()).finish_non_exhaustive()
    }
}

impl Client {
    /// Returns what trusts the authorities in a PEM file besides the system's; an empty path names none.
    pub fn trusting(file: &Path) -> Result<Self, String> {
        if file.as_os_str().is_empty() {
            return Ok(Self::default());
        }
        let read = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let authorities = read.map_err(|error| error.to_string())?;
        if authorities.is_empty() {
            return Err("it holds no certificate".into());
        }
        Ok(Self { authorities, tls: OnceLock::new() })
    }

    /// Asks what stands at the request's absolute address, and returns once the head of the answer is there.
    pub async fn ask(&self, request: Request<Bytes>, limit: Duration) -> Result<Answer, String> {
        within(limit, self.ask_unbounded(request)).await
    }

    /// Asks, and reads the answer to its end, within so long and so many bytes.
    pub async fn whole(
        &self,
        request: Request<Bytes>,
        limit: Duration,
        bytes: usize,
    ) -> Result<Response<Bytes>, String> {
        within(limit, async { self.ask_unbounded(request).await?.whole(bytes).await }).await
    }

    async fn ask_unbounded(&self, mut request: Request<Bytes>) -> Result<Answer, String> {
        let uri = std::mem::take(request.uri_mut());
        let to = Address::of(&uri)?;
        *request.uri_mut() = uri.path_and_query().map_or_else(|| Uri::from_static("/"), |target| target.clone().into());
        let headers = request.headers_mut();
        headers.insert(HOST, HeaderValue::try_from(to.authority).map_err(|error| error.to_string())?);
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        headers.insert(USER_AGENT, HeaderValue::from_static(concat!("Portico/", env!("CARGO_PKG_VERSION"))));
        let stream = TcpStream::connect((to.host, to.port)).await.map_err(|error| format!("no connection: {error}"))?;
        if !to.tls {
            return talk(TokioIo::new(stream), request).await;
        }
        let name = ServerName::try_from(to.host.to_owned()).map_err(|_| "the host is no name for TLS")?;
        let tls = self.connector()?.connect(name, stream).await.map_err(|error| format!("no TLS: {error}"))?;
        talk(TokioIo::new(tls), request).await
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

/// Bounds the time that asking takes.
pub async fn within<T>(limit: Duration, asking: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    let answered = tokio::time::timeout(limit, asking).await;
    answered.unwrap_or_else(|_| Err(format!("there was no answer within {} ms", limit.as_millis())))
}

async fn talk<T>(io: T, request: Request<Bytes>) -> Result<Answer, String>
where
    T: Read + Write + Unpin + Send + 'static,
{
    let broken = |error: hyper::Error| format!("no HTTP: {error}");
    let (mut sender, connection) = http1::Builder::new().max_buf_size(HEAD).handshake(io).await.map_err(broken)?;
    let driving = Driving(tokio::spawn(connection).abort_handle());
    let response = sender.send_request(request.map(Full::new)).await.map_err(broken)?;
    Ok(Answer::new(response, driving))
}
