//! One attempt: resolve, check, connect to what was checked, post, read the status. No proxy, no
//! redirect, no second connection; time and bytes are bounded. Not for what follows from it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_TYPE, HOST, RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, HeaderValue, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::rt::{Read, Write};
use hyper_util::rt::TokioIo;
use kernel::{Error, Result};
use tokio::net::TcpStream;
use tokio::time::timeout_at;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::guard::{Network, Target};
use crate::settings::Settings;
use crate::state::Webhooks;

/// How much of an answer is read.
const READ: usize = 64 << 10;
/// How much of it is kept.
const KEPT: usize = 1 << 10;
/// How long reading it may take: the status has been said by then.
const READING: Duration = Duration::from_secs(2);

/// What is posted.
pub(crate) struct Post {
    /// Where to.
    pub url: String,
    /// `webhook-id`.
    pub id: String,
    /// `webhook-timestamp`.
    pub timestamp: i64,
    /// `webhook-signature`.
    pub signature: String,
    /// The bytes that are signed.
    pub body: Bytes,
}

/// Why an attempt failed: a stable code, and words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub code: &'static str,
    pub detail: String,
}

impl Failure {
    pub(crate) fn new(code: &'static str, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into() }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.code, self.detail)
    }
}

/// How an attempt went.
#[derive(Debug)]
pub(crate) struct Tried {
    /// The status, if there was an answer.
    pub status: Option<StatusCode>,
    /// `Retry-After`, if the answer had it.
    pub retry_after: Option<String>,
    /// The beginning of the answer's body.
    pub response: Option<String>,
    /// What went wrong, if something did.
    pub failure: Option<Failure>,
    /// How long it took.
    pub duration: Duration,
}

struct Answered {
    status: StatusCode,
    retry_after: Option<String>,
    response: String,
}

/// Makes one attempt.
pub(crate) async fn send(webhooks: &Webhooks, post: Post) -> Result<Tried> {
    let started = Instant::now();
    let answered = exchange(webhooks, post).await?;
    let duration = started.elapsed();
    Ok(match answered {
        Ok(Answered { status, retry_after, response }) => {
            let failure = match status {
                status if status.is_success() => None,
                status if status.is_redirection() => {
                    Some(Failure::new("redirect", format!("answered {}; redirects are not followed", status.as_u16())))
                }
                status => Some(Failure::new("status", format!("answered {}", status.as_u16()))),
            };
            Tried { status: Some(status), retry_after, response: Some(response), failure, duration }
        }
        Err(failure) => Tried { status: None, retry_after: None, response: None, failure: Some(failure), duration },
    })
}

/// The outer error is ours, the inner one the endpoint's.
async fn exchange(webhooks: &Webhooks, post: Post) -> Result<Result<Answered, Failure>> {
    let target = match webhooks.guard().target(&post.url) {
        Ok(target) => target,
        Err(why) => return Ok(Err(Failure::new("url_refused", format!("the URL {why}")))),
    };
    let request = match request(&target, post) {
        Ok(request) => request,
        Err(_) => return Ok(Err(Failure::new("url_refused", "the URL cannot be asked for over HTTP"))),
    };
    let tls = webhooks.tls()?;
    let deadline = tokio::time::Instant::now() + webhooks.settings().timeout();
    let connected = async {
        let addresses = webhooks.guard().resolve(&target, webhooks.network()).await?;
        connect(webhooks.network(), &addresses).await
    };
    let late = || Failure::new("timeout", "there was no answer in time");
    let stream = match timeout_at(deadline, connected).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(failure)) => return Ok(Err(failure)),
        Err(_) => return Ok(Err(Failure::new("timeout", "there was no connection in time"))),
    };
    if !target.tls {
        return Ok(talk(TokioIo::new(stream), request, deadline).await);
    }
    let Ok(name) = ServerName::try_from(target.host.clone()) else {
        return Ok(Err(Failure::new("url_refused", "the host cannot be a name in a certificate")));
    };
    Ok(match timeout_at(deadline, tls.connect(name, stream)).await {
        Ok(Ok(stream)) => talk(TokioIo::new(stream), request, deadline).await,
        Ok(Err(error)) => Err(Failure::new("tls_failed", error.to_string())),
        Err(_) => Err(late()),
    })
}

fn request(target: &Target, post: Post) -> http::Result<Request<Full<Bytes>>> {
    Request::post(&target.path)
        .header(HOST, &target.authority)
        .header(CONTENT_TYPE, "application/json")
        .header(USER_AGENT, concat!("Portico-Webhooks/", env!("CARGO_PKG_VERSION")))
        .header(CONNECTION, "close")
        .header("webhook-id", post.id)
        .header("webhook-timestamp", post.timestamp)
        .header("webhook-signature", post.signature)
        .body(Full::new(post.body))
}

/// Connects to the first of the checked addresses that answers.
async fn connect(network: &dyn Network, addresses: &[SocketAddr]) -> Result<TcpStream, Failure> {
    let mut failure = Failure::new("connect_failed", "there is no address");
    for address in addresses {
        match network.connect(*address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => failure = Failure::new("connect_failed", error.kind().to_string()),
        }
    }
    Err(failure)
}

async fn talk<T>(io: T, request: Request<Full<Bytes>>, deadline: tokio::time::Instant) -> Result<Answered, Failure>
where
    T: Read + Write + Unpin + Send + 'static,
{
    let broken = |error: hyper::Error| Failure::new("protocol", error.to_string());
    let (mut sender, connection) = http1::Builder::new().max_buf_size(READ).handshake(io).await.map_err(broken)?;
    let _driving = AbortOnDrop(tokio::spawn(connection).abort_handle());
    let head = timeout_at(deadline, sender.send_request(request)).await;
    let response = match head {
        Ok(response) => response.map_err(broken)?,
        Err(_) => return Err(Failure::new("timeout", "there was no answer in time")),
    };
    let (status, retry_after) = (response.status(), retry_after(response.headers()));
    let soon = tokio::time::Instant::now() + READING;
    let response = beginning(response.into_body(), deadline.min(soon)).await;
    Ok(Answered { status, retry_after, response })
}

struct AbortOnDrop(tokio::task::AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn retry_after(headers: &HeaderMap) -> Option<String> {
    headers.get(RETRY_AFTER).map(HeaderValue::to_str)?.ok().map(str::to_owned)
}

/// Reads the beginning of a body for the log, as far as it comes.
async fn beginning(mut body: Incoming, deadline: tokio::time::Instant) -> String {
    let (mut kept, mut read) = (Vec::new(), 0);
    while read < READ {
        let Ok(Some(Ok(frame))) = timeout_at(deadline, body.frame()).await else { break };
        let Some(data) = frame.data_ref() else { continue };
        read += data.len();
        let more = data.len().min(KEPT.saturating_sub(kept.len()));
        kept.extend_from_slice(&data[..more]);
    }
    // A database may refuse some of these, and a terminal obey them.
    let plain = |letter: char| letter == '\n' || letter == '\t' || !letter.is_control();
    let text = String::from_utf8_lossy(&kept);
    let mut shown: String = text.chars().map(|letter| if plain(letter) { letter } else { '\u{fffd}' }).collect();
    shown.truncate(shown.floor_char_boundary(KEPT));
    shown
}

/// Returns what speaks TLS to endpoints: the system's certificate authorities, and those of the
/// installation.
pub(crate) fn connector(settings: &Settings) -> Result<TlsConnector> {
    let wrong = |what: String| Error::invalid("config.invalid", format!("webhooks.certificate_file: {what}"));
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(found.certs);
    if !settings.certificate_file.as_os_str().is_empty() {
        let certificates = CertificateDer::pem_file_iter(&settings.certificate_file);
        for certificate in certificates.map_err(|error| wrong(error.to_string()))? {
            let certificate = certificate.map_err(|error| wrong(error.to_string()))?;
            roots.add(certificate).map_err(|error| wrong(error.to_string()))?;
        }
    }
    if roots.is_empty() {
        tracing::warn!("there are no certificate authorities: no webhook endpoint can be reached over TLS");
    }
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::internal("TLS has no version").source_error(error))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}
