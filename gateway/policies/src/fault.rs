//! Why a body was cut off on its way through the gateway, told to whoever holds the other end: the body
//! ends with an error, and the watch lets the door say so to the client. Not for faults of the origin.

use std::fmt;
use std::sync::{Arc, OnceLock};

use kernel::Error;

/// What a policy found wrong in a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyFault {
    /// The request's body has more than so many bytes.
    RequestTooLarge(u64),
    /// The response's body has more than so many bytes.
    ResponseTooLarge(u64),
    /// The request's body is not JSON.
    RequestNotJson,
    /// The response's body is not JSON.
    ResponseNotJson,
}

impl BodyFault {
    /// Returns what the client is told.
    pub fn error(self) -> Error {
        match self {
            Self::RequestTooLarge(limit) => {
                let message = format!("the body must have at most {limit} bytes");
                Error::invalid("gateway.body_too_large", message).status_code(413)
            }
            Self::ResponseTooLarge(limit) => {
                Error::unavailable("gateway.response_too_large", "the answer is larger than this route lets through")
                    .status_code(502)
                    .context(format!("more than {limit} bytes"))
            }
            Self::RequestNotJson => Error::invalid("gateway.invalid_json", "the body must be JSON (RFC 8259)"),
            Self::ResponseNotJson => {
                Error::unavailable("gateway.invalid_upstream_json", "the service's answer is not JSON").status_code(502)
            }
        }
    }

    /// Finds the fault behind an error of a client or a server that was reading the body.
    pub fn behind(error: &(dyn std::error::Error + 'static)) -> Option<Self> {
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(fault) = error.downcast_ref::<Self>() {
                return Some(*fault);
            }
            next = error.source();
        }
        None
    }
}

impl fmt::Display for BodyFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RequestTooLarge(_) => "the request's body is too large",
            Self::ResponseTooLarge(_) => "the response's body is too large",
            Self::RequestNotJson => "the request's body is not JSON",
            Self::ResponseNotJson => "the response's body is not JSON",
        })
    }
}

impl std::error::Error for BodyFault {}

/// Tells later whether a body was cut off, and why. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct FaultWatch(Arc<OnceLock<BodyFault>>);

impl FaultWatch {
    /// Returns why the body was cut off, if it was.
    pub fn fault(&self) -> Option<BodyFault> {
        self.0.get().copied()
    }

    pub(crate) fn tell(&self, fault: BodyFault) {
        // The first fault ended the body; there is no second.
        let _ = self.0.set(fault);
    }
}
