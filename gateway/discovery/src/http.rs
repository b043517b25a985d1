//! Asks a server that tells where others are: one connection for one question, with limits on time and
//! on bytes; an answer may come in pieces. No redirects. Not for what is asked.

use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{ACCEPT, CONNECTION, CONTENT_TYPE, HOST, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::rt::{Read, Write};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::address::Address;

/// The longest head of an answer, its longest body, and the longest line of one that comes in lines.
const HEAD: usize = 64 << 10;
const BODY: usize = 16 << 20;

/// What asks.
pub(crate) struct Client {
    authorities: Vec<CertificateDer<'static>>,
    tls: OnceLock<TlsConnector>,
}

/// One question.
pub(crate) struct Question<'a> {
    pub method: Method,
    pub target: &'a str,
    /// A name and its value, such as a token.
    pub header: Option<(HeaderName, HeaderValue)>,
    pub body: Option<Value>,
}

impl<'a> Question<'a> {
    pub(crate) fn post(target: &'a str, body: Value) -> Self {
        Self { method: Method::POST, target, header: None, body: Some(body) }
    }
}

/// The beginning of an answer, and the rest as it comes.
pub(crate) struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    body: Incoming,
    _driving: AbortOnDrop,
}

struct AbortOnDrop(AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Client {
    /// Returns what asks, trusting the authorities in a file besides the system's.
    pub(crate) fn new(authorities: &Path) -> Result<Self, String> {
        let mut read = Vec::new();
        if !authorities.as_os_str().is_empty() {
            for certificate in CertificateDer::pem_file_iter(authorities).map_err(|error| error.to_string())? {
                read.push(certificate.map_err(|error| error.to_string())?);
            }
        }
        Ok(Self { authorities: read, tls: OnceLock::new() })
    }

    /// Asks, and returns once the head of the answer is there.
    pub(crate) async fn ask(&self, at: &Address, question: Question<'_>, limit: Duration) -> Result<Answer, String> {
        let asking = async {
            let request = request(at, question)?;
            let stream = TcpStream::connect((at.host.as_str(), at.port))
                .await
                .map_err(|error| format!("no connection: {error}"))?;
            if !at.tls {
                return talk(TokioIo::new(stream), request).await;
            }
            let name = ServerName::try_from(at.host.clone()).map_err(|_| "the host is no name for TLS")?;
            let tls = self.connector()?.connect(name, stream).await.map_err(|error| format!("no TLS: {error}"))?;
            talk(TokioIo::new(tls), request).await
        };
        timeout(limit, asking).await.map_err(|_| format!("there was no answer within {} ms", limit.as_millis()))?
    }

    /// Asks for JSON, whole; any status but 200 is a failure.
    pub(crate) async fn json(&self, at: &Address, question: Question<'_>, limit: Duration) -> Result<Value, String> {
        let target = question.target.to_owned();
        let (status, _, body) = timeout(limit, async { self.ask(at, question, limit).await?.whole().await })
            .await
            .map_err(|_| format!("there was no answer within {} ms", limit.as_millis()))??;
        if status != StatusCode::OK {
            return Err(format!("{target} answers {status}: {}", shown(&body)));
        }
        serde_json::from_slice(&body).map_err(|error| format!("{target} answers what is no JSON: {error}"))
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

/// The beginning of a body, for the log.
pub(crate) fn shown(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(&body[..body.len().min(200)]);
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

fn request(at: &Address, question: Question<'_>) -> Result<Request<Full<Bytes>>, String> {
    let mut request = Request::builder()
        .method(question.method)
        .uri(question.target)
        .header(HOST, &at.authority)
        .header(ACCEPT, "application/json")
        .header(USER_AGENT, concat!("Portico/", env!("CARGO_PKG_VERSION")))
        .header(CONNECTION, "close");
    if let Some((name, value)) = question.header {
        request = request.header(name, value);
    }
    let body = match question.body {
        Some(value) => {
            request = request.header(CONTENT_TYPE, "application/json");
            Bytes::from(value.to_string())
        }
        None => Bytes::new(),
    };
    request.body(Full::new(body)).map_err(|error| error.to_string())
}

async fn talk<T>(io: T, request: Request<Full<Bytes>>) -> Result<Answer, String>
where
    T: Read + Write + Unpin + Send + 'static,
{
    let broken = |error: hyper::Error| format!("no HTTP: {error}");
    let (mut sender, connection) = http1::Builder::new().max_buf_size(HEAD).handshake(io).await.map_err(broken)?;
    let driving = AbortOnDrop(tokio::spawn(connection).abort_handle());
    let response = sender.send_request(request).await.map_err(broken)?;
    let (parts, body) = response.into_parts();
    Ok(Answer { status: parts.status, headers: parts.headers, body, _driving: driving })
}

impl Answer {
    /// Reads the answer to its end.
    pub(crate) async fn whole(self) -> Result<(StatusCode, HeaderMap, Bytes), String> {
        match Limited::new(self.body, BODY).collect().await {
            Ok(collected) => Ok((self.status, self.headers, collected.to_bytes())),
            Err(error) => Err(format!("the answer is cut off or too long: {error}")),
        }
    }

    /// Reads the answer line by line.
    pub(crate) fn lines(self) -> Lines {
        Lines { answer: self, pending: BytesMut::new(), searched: 0 }
    }
}

/// An answer that comes in lines.
pub(crate) struct Lines {
    answer: Answer,
    pending: BytesMut,
    /// How much of what is pending has no end of a line.
    searched: usize,
}

impl Lines {
    /// Returns the next line without its end; nothing after the last.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, String> {
        loop {
            if let Some(place) = self.pending[self.searched..].iter().position(|byte| *byte == b'\n') {
                let mut line = self.pending.split_to(self.searched + place + 1);
                line.truncate(line.len() - 1);
                self.searched = 0;
                return Ok(Some(line.freeze()));
            }
            self.searched = self.pending.len();
            if self.pending.len() > BODY {
                return Err("a line of the answer is too long".into());
            }
            match self.answer.body.frame().await {
                Some(Ok(frame)) => {
                    if let Some(data) = frame.data_ref() {
                        self.pending.extend_from_slice(data);
                    }
                }
                Some(Err(error)) => return Err(format!("the answer is cut off: {error}")),
                None if self.pending.is_empty() => return Ok(None),
                None => {
                    self.searched = 0;
                    return Ok(Some(self.pending.split().freeze()));
                }
            }
        }
    }
}
