//! One error for the whole system: nine kinds, a stable code, a message that is safe to show and
//! context that only the log sees. Turned into HTTP in one place (`web::Problem`); not for control
//! flow inside a function.

use std::fmt;

use crate::Answer;

/// What went wrong, as far as a caller must know to react. Each kind is one HTTP status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The request cannot be right, however often it is sent (400).
    Invalid,
    /// Nobody proved who is asking (401).
    Unauthenticated,
    /// The caller is known and may not (403).
    Forbidden,
    /// There is no such thing, or the caller may not know of it (404).
    NotFound,
    /// The state of things does not allow it now (409).
    Conflict,
    /// The caller's version of the thing is not the current one (412).
    Precondition,
    /// The caller asks too often or too much (429).
    Limited,
    /// Something that is needed is away; asking again may help (503).
    Unavailable,
    /// A fault of ours (500).
    Internal,
}

impl Kind {
    /// Returns the HTTP status of the kind.
    pub const fn status(self) -> u16 {
        match self {
            Self::Invalid => 400,
            Self::Unauthenticated => 401,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::Conflict => 409,
            Self::Precondition => 412,
            Self::Limited => 429,
            Self::Unavailable => 503,
            Self::Internal => 500,
        }
    }

    /// Returns the title that a problem document shows.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Invalid => "The request is not valid",
            Self::Unauthenticated => "Sign in first",
            Self::Forbidden => "Not allowed",
            Self::NotFound => "Not found",
            Self::Conflict => "In conflict with the present state",
            Self::Precondition => "It has changed since you read it",
            Self::Limited => "Too many requests",
            Self::Unavailable => "Not available now",
            Self::Internal => "A fault of the server",
        }
    }
}

/// What is wrong with one field of the input.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct FieldError {
    /// The field's name in the JSON, dotted where nested.
    pub field: String,
    /// What is wrong with it.
    pub message: String,
}

/// Why something was not done.
pub struct Error(Box<Inner>);

struct Inner {
    kind: Kind,
    status: u16,
    code: &'static str,
    message: String,
    context: Vec<String>,
    fields: Vec<FieldError>,
    retry_after_seconds: Option<u32>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
    replay: Option<Answer>,
}

macro_rules! constructors {
    ($($name:ident => $kind:ident),* $(,)?) => { $(
        #[doc = concat!("Returns an error of the kind [`Kind::", stringify!($kind), "`].")]
        pub fn $name(code: &'static str, message: impl Into<String>) -> Self {
            Self::new(Kind::$kind, code, message)
        }
    )* };
}

impl Error {
    /// Returns an error; `message` may be shown to the caller.
    pub fn new(kind: Kind, code: &'static str, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            kind,
            status: kind.status(),
            code,
            message: message.into(),
            context: Vec::new(),
            fields: Vec::new(),
            retry_after_seconds: None,
            source: None,
            replay: None,
        }))
    }

    constructors! {
        invalid => Invalid,
        unauthenticated => Unauthenticated,
        forbidden => Forbidden,
        not_found => NotFound,
        conflict => Conflict,
        precondition => Precondition,
        limited => Limited,
        unavailable => Unavailable,
    }

    /// Returns a fault of ours; `context` goes to the log, the caller learns nothing of it.
    pub fn internal(context: impl Into<String>) -> Self {
        Self::new(Kind::Internal, "server.fault", "the server failed; the log has the details under this request id")
            .context(context)
    }

    /// Ends the work early with an answer that was given before: an idempotent replay.
    ///
    /// It travels as an error so that `?` leaves a handler with it; it is rendered as the answer.
    pub fn replay(answer: Answer) -> Self {
        let mut error = Self::new(Kind::Internal, "request.replayed", "this request was answered before");
        error.0.replay = Some(answer);
        error
    }

    /// Adds what the log should know; callers never see it.
    #[must_use]
    pub fn context(mut self, context: impl Into<String>) -> Self {
        self.0.context.push(context.into());
        self
    }

    /// Adds the underlying error, for the log.
    #[must_use]
    pub fn source_error(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Adds what is wrong with one field.
    #[must_use]
    pub fn field(mut self, field: impl Into<String>, message: impl Into<String>) -> Self {
        self.0.fields.push(FieldError { field: field.into(), message: message.into() });
        self
    }

    /// Says when asking again makes sense.
    #[must_use]
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.0.retry_after_seconds = Some(seconds);
        self
    }

    /// Gives a more exact HTTP status than the kind's own (413, 415, 422 for [`Kind::Invalid`]).
    #[must_use]
    pub fn status_code(mut self, status: u16) -> Self {
        self.0.status = status;
        self
    }

    /// Returns the kind.
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// Returns the HTTP status.
    pub fn status(&self) -> u16 {
        self.0.status
    }

    /// Returns the stable code, such as `inventory.sku_taken`.
    pub fn code(&self) -> &'static str {
        self.0.code
    }

    /// Returns the message that may be shown.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Returns what is wrong, field by field.
    pub fn fields(&self) -> &[FieldError] {
        &self.0.fields
    }

    /// Returns after how many seconds asking again makes sense.
    pub fn retry_after_seconds(&self) -> Option<u32> {
        self.0.retry_after_seconds
    }

    /// Takes the answer out when this is a replay.
    pub fn into_replay(mut self) -> Result<Answer, Self> {
        match self.0.replay.take() {
            Some(answer) => Ok(answer),
            None => Err(self),
        }
    }
}

impl fmt::Display for Error {
    /// Writes everything, for the log and the command line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.code, self.0.message)?;
        for context in &self.0.context {
            write!(f, "; {context}")?;
        }
        for field in &self.0.fields {
            write!(f, "; {}: {}", field.field, field.message)?;
        }
        match &self.0.source {
            Some(source) => write!(f, "; {source}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {self}", self.0.kind)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}
