//! Header lines that the library does not know. Not for those that it writes itself.

use lettre::message::header::{Header, HeaderName, HeaderValue};

macro_rules! header {
    ($(#[$text:meta])* $kind:ident $(($field:ty))?, $name:literal, $value:expr) => {
        $(#[$text])*
        #[derive(Clone)]
        pub(super) struct $kind $((pub(super) $field))?;

        impl Header for $kind {
            fn name() -> HeaderName {
                HeaderName::new_from_ascii_str($name)
            }

            fn parse(_: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
                Err("this header is only written".into())
            }

            fn display(&self) -> HeaderValue {
                let value: String = ($value)(self);
                // ASCII, and as long as it is: a folded address would not be found.
                HeaderValue::dangerous_new_pre_encoded(Self::name(), value.clone(), value)
            }
        }
    };
}

header!(/// Where letters of a kind are stopped (RFC 2369).
    ListUnsubscribe(String), "List-Unsubscribe", |header: &ListUnsubscribe| header.0.clone());
header!(/// Says that one POST is enough (RFC 8058).
    ListUnsubscribePost, "List-Unsubscribe-Post", |_: &ListUnsubscribePost| "List-Unsubscribe=One-Click".to_owned());
header!(/// Keeps answering machines from answering (RFC 3834).
    AutoSubmitted, "Auto-Submitted", |_: &AutoSubmitted| "auto-generated".to_owned());
