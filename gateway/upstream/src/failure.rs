//! Why an upstream gave no answer: who failed, as a type. Not for answers with a 5xx status, which pass
//! through untouched.

use std::fmt;

use kernel::Error;

/// Who failed, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailureKind {
    /// The server's name has no address.
    Resolve,
    /// No connection came about.
    Connect,
    /// No connection came about in time.
    ConnectTimeout,
    /// The TLS handshake failed, or the certificate is not trusted.
    Tls,
    /// The connection ended before the answer.
    Reset,
    /// The server said that it has not acted on the request, and will not (RFC 9113, section 8.7).
    Refused,
    /// What came back is not HTTP, or not an answer to this request.
    Protocol,
    /// No head of an answer in time.
    FirstByteTimeout,
    /// The answer's body stopped coming.
    BodyTimeout,
    /// The client's body stopped coming, or was not there when the time was over.
    RequestStalled,
    /// The client's body broke off.
    RequestBroken,
    /// The time for the whole request is over.
    Deadline,
    /// The circuit is open, for the upstream or for this tenant.
    CircuitOpen,
    /// Too many requests are in flight or wait.
    Busy,
    /// No server may be used.
    NoServer,
    /// The request cannot be sent as it is; a fault of the caller of this crate.
    Unsendable,
}

/// A request without an answer.
pub struct Failure(Box<Inner>);

struct Inner {
    kind: FailureKind,
    retry_after_seconds: Option<u32>,
    source: Option<Source>,
}

impl Failure {
    pub(crate) fn new(kind: FailureKind) -> Self {
        Self(Box::new(Inner { kind, retry_after_seconds: None, source: None }))
    }

    pub(crate) fn caused(kind: FailureKind, source: impl Into<Source>) -> Self {
        Self(Box::new(Inner { kind, retry_after_seconds: None, source: Some(source.into()) }))
    }

    pub(crate) fn retry_after(mut self, seconds: u32) -> Self {
        self.0.retry_after_seconds = Some(seconds);
        self
    }

    /// Returns who failed.
    pub fn kind(&self) -> FailureKind {
        self.0.kind
    }

    /// Returns after how many seconds asking again makes sense.
    pub fn retry_after_seconds(&self) -> Option<u32> {
        self.0.retry_after_seconds
    }
}

impl FailureKind {
    /// Returns the word that metrics and logs use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Resolve => "resolve",
            Self::Connect => "connect",
            Self::ConnectTimeout => "connect_timeout",
            Self::Tls => "tls",
            Self::Reset => "reset",
            Self::Refused => "refused",
            Self::Protocol => "protocol",
            Self::FirstByteTimeout => "first_byte_timeout",
            Self::BodyTimeout => "body_timeout",
            Self::RequestStalled => "request_stalled",
            Self::RequestBroken => "request_broken",
            Self::Deadline => "deadline",
            Self::CircuitOpen => "circuit_open",
            Self::Busy => "busy",
            Self::NoServer => "no_server",
            Self::Unsendable => "unsendable",
        }
    }

    /// Says whether no byte of the request can have reached a server.
    pub const fn before_request(self) -> bool {
        matches!(self, Self::Resolve | Self::Connect | Self::ConnectTimeout | Self::Tls)
    }

    /// Says whether no server can have acted on the request, so that it may be sent again whatever it is.
    pub(crate) const fn undone(self) -> bool {
        self.before_request() || matches!(self, Self::Refused)
    }

    /// Says whether it speaks against the server or its answers, rather than against client or gateway.
    pub(crate) const fn of_server(self) -> bool {
        matches!(self, Self::Reset | Self::Refused | Self::Protocol | Self::FirstByteTimeout | Self::BodyTimeout)
    }

    /// Says whether another attempt may succeed; whether it is allowed is the retry's question.
    pub(crate) const fn retriable(self) -> bool {
        self.undone() || matches!(self, Self::Reset)
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        use FailureKind as Kind;
        let Inner { kind, retry_after_seconds, source } = *failure.0;
        let (status, code, message) = match kind {
            Kind::Resolve | Kind::Connect | Kind::ConnectTimeout => {
                (502, "gateway.upstream_unreachable", "the service behind this route is away")
            }
            Kind::Tls => (502, "gateway.upstream_tls", "the service behind this route could not prove who it is"),
            Kind::Reset => (502, "gateway.upstream_unreachable", "the service behind this route broke off"),
            Kind::Refused => {
                (502, "gateway.upstream_unreachable", "the service behind this route takes no more requests")
            }
            Kind::Protocol => (502, "gateway.upstream_protocol", "the service behind this route gave no valid answer"),
            Kind::FirstByteTimeout | Kind::BodyTimeout => {
                (504, "gateway.upstream_timeout", "the service behind this route did not answer in time")
            }
            Kind::Deadline => {
                (504, "gateway.timeout", "the answer took too long; whether the change was made is not known")
            }
            Kind::CircuitOpen => {
                (503, "gateway.circuit_open", "the service behind this route fails too often; try again later")
            }
            Kind::Busy => (503, "gateway.upstream_busy", "the service behind this route is busy; try again shortly"),
            Kind::NoServer => {
                (503, "gateway.no_healthy_server", "no server of the service behind this route can be used")
            }
            Kind::RequestStalled => {
                let error = Error::invalid("request.body_timeout", "the body of the request did not come in time");
                return error.status_code(408);
            }
            Kind::RequestBroken => {
                let error = Error::invalid("request.body_broken", "the body of the request broke off");
                return match source.map(ours_within) {
                    // A limit on the body, say, has its own words.
                    Some(Ok(ours)) => ours,
                    Some(Err(source)) => error.source_error(source),
                    None => error,
                };
            }
            Kind::Unsendable => {
                let error = Error::internal("a request that cannot be sent was given to an upstream");
                return match source {
                    Some(source) => error.source_error(source),
                    None => error,
                };
            }
        };
        let mut error = Error::unavailable(code, message).status_code(status).context(kind.name());
        let again = retry_after_seconds.or(matches!(status, 502 | 503).then_some(2));
        if let Some(seconds) = again {
            error = error.retry_after(seconds);
        }
        match source {
            Some(source) => error.source_error(source),
            None => error,
        }
    }
}

type Source = Box<dyn std::error::Error + Send + Sync>;

/// Finds an error of ours in what a body failed with.
fn ours_within(mut source: Source) -> Result<Error, Source> {
    loop {
        source = match source.downcast::<axum::Error>() {
            Ok(wrapped) => wrapped.into_inner(),
            Err(source) => return source.downcast::<Error>().map(|ours| *ours),
        };
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.kind.name())?;
        match &self.0.source {
            Some(source) => write!(f, ": {source}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Failure({self})")
    }
}

impl std::error::Error for Failure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}
