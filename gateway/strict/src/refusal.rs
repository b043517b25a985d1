//! Why a request is refused, each with the status and the stable code that the client gets. Not for rendering.

use std::error::Error as StdError;
use std::fmt;
use std::io;

use http::Uri;

/// The scheme of the requests that stand in for refused ones; clients cannot send it.
const SCHEME: &str = "refused";

macro_rules! refusals {
    ($($name:ident, $status:literal, $code:literal, $message:literal;)*) => {
        /// Why a request is refused.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Refusal {
            $( #[doc = concat!("`gateway.", $code, "` (", stringify!($status), "): ", $message, ".")] $name, )*
        }

        impl Refusal {
            /// All of them, in the order of declaration.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// Returns the HTTP status.
            pub const fn status(self) -> u16 {
                match self { $(Self::$name => $status),* }
            }

            /// Returns the stable code.
            pub const fn code(self) -> &'static str {
                match self { $(Self::$name => concat!("gateway.", $code)),* }
            }

            /// Returns what is wrong, for the client.
            pub const fn message(self) -> &'static str {
                match self { $(Self::$name => $message),* }
            }
        }
    };
}

refusals! {
    BareLineFeed, 400, "bare_line_feed", "a line ends with LF alone; lines end with CR LF";
    BareCarriageReturn, 400, "bare_carriage_return", "there is a CR that does not end a line";
    ControlCharacter, 400, "control_character", "there is a control character in the head of the request";
    EmptyLine, 400, "empty_line", "there is an empty line where a request was to begin";
    RequestLine, 400, "invalid_request_line", "the first line is not `METHOD TARGET HTTP/1.1` with single spaces";
    RequestLineTooLong, 414, "request_line_too_long", "the first line of the request is too long";
    Method, 400, "invalid_method", "the method is not a word of capital letters";
    MethodNotServed, 501, "method_not_served", "CONNECT, TRACE and TRACK are not served here";
    Target, 400, "invalid_target", "the target of the request is not a path, or has a character that is not allowed";
    TargetForm, 400, "invalid_target_form", "this form of target does not go with this method";
    Version, 505, "version_not_supported", "only HTTP/1.1, HTTP/1.0 and HTTP/2 are spoken here";
    LeadingWhitespace, 400, "leading_whitespace", "a header line begins with white space";
    HeaderName, 400, "invalid_header_name", "a header has no name, or one with a character that is not allowed";
    SpaceBeforeColon, 400, "space_before_colon", "there is white space between a header's name and its colon";
    HeaderTwin, 400, "header_name_twin", "a header's name with `_` for `-` could be taken for another header";
    HeaderTooLong, 431, "header_too_long", "a header line is too long";
    HeadTooLarge, 431, "head_too_large", "the head of the request is too large";
    TooManyHeaders, 431, "too_many_headers", "there are too many headers";
    Repeated, 400, "header_repeated", "a header is there twice that may be there once";
    ContentLength, 400, "invalid_content_length", "Content-Length is not one plain decimal number";
    TransferEncoding, 400, "invalid_transfer_encoding", "Transfer-Encoding is not exactly `chunked`, once";
    LengthAndCoding, 400, "length_and_coding", "Content-Length and Transfer-Encoding do not go together";
    CodingOnOldVersion, 400, "coding_on_old_version", "HTTP/1.0 has no Transfer-Encoding";
    HostMissing, 400, "host_missing", "there is no Host header";
    Host, 400, "invalid_host", "the host is not a name or an address with an optional port";
    HostDiffers, 400, "host_differs", "the Host header differs from the authority of the request";
    Connection, 400, "invalid_connection", "the Connection header is not a list of names, or names what it may not";
    Expect, 417, "expectation_failed", "no expectation is met but `100-continue`";
    UpgradeWithBody, 400, "upgrade_with_body", "a request for a WebSocket has no body";
    ChunkSize, 400, "invalid_chunk_size", "the size of a chunk is not a plain hexadecimal number";
    ChunkExtension, 400, "invalid_chunk_extension", "a chunk's extension is not valid, or too long";
    ChunkEnd, 400, "invalid_chunk_end", "the data of a chunk is not followed by CR LF";
    Trailer, 400, "invalid_trailer", "there is a trailer that is not valid or may not be one";
    TrailersTooLarge, 431, "trailers_too_large", "the trailers are too large";
    BodyTooLarge, 413, "body_too_large", "the body is larger than this server takes";
    HeadTooSlow, 408, "head_too_slow", "the head of the request took too long";
    BodyTooSlow, 408, "body_too_slow", "the body of the request came too slowly";
}

impl Refusal {
    /// Returns the refusal that a request stands in for.
    pub fn of(target: &Uri) -> Option<Self> {
        if target.scheme_str() != Some(SCHEME) {
            return None;
        }
        let name = target.path().trim_start_matches('/');
        // Only HTTP/2 lets a client say anything here, and it gets a refusal for it.
        let refusal = Self::ALL.iter().find(|refusal| refusal.name() == name).copied();
        Some(refusal.unwrap_or(Self::Target))
    }

    /// Returns the refusal behind an error of a body, if that is what it is.
    pub fn behind(error: &(dyn StdError + 'static)) -> Option<Self> {
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(refusal) = error.downcast_ref::<Self>() {
                return Some(*refusal);
            }
            // An io::Error is not the source of what it holds, but hands on that one's source.
            let held = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
            if let Some(refusal) = held.and_then(|held| Self::behind(held)) {
                return Some(refusal);
            }
            next = error.source();
        }
        None
    }

    /// Returns the target of the request that stands in for the refused one.
    pub fn target(self) -> Uri {
        format!("{SCHEME}://http/{}", self.name()).parse().expect("the codes are made of letters")
    }

    /// Returns the request that hyper reads in the place of the refused one.
    pub(crate) fn stand_in(self, refused: &[u8]) -> Vec<u8> {
        // The method decides whether the answer has a body, and is what the log shows.
        let known = ["HEAD", "GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"];
        let is =
            |method: &&str| refused.strip_prefix(method.as_bytes()).is_some_and(|rest| rest.first() == Some(&b' '));
        let method = known.into_iter().find(is).unwrap_or("GET");
        format!("{method} {SCHEME}://http/{} HTTP/1.1\r\nconnection: close\r\n\r\n", self.name()).into_bytes()
    }

    /// Returns the error with which a body ends that is refused.
    pub(crate) fn into_io(self) -> io::Error {
        let kind = if self == Self::BodyTooSlow { io::ErrorKind::TimedOut } else { io::ErrorKind::InvalidData };
        io::Error::new(kind, self)
    }

    fn name(self) -> &'static str {
        let code = self.code();
        code.strip_prefix("gateway.").unwrap_or(code)
    }
}

impl From<Refusal> for kernel::Error {
    fn from(refusal: Refusal) -> Self {
        Self::invalid(refusal.code(), refusal.message()).status_code(refusal.status())
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.message())
    }
}

impl StdError for Refusal {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stand_in_names_its_refusal() {
        for refusal in Refusal::ALL {
            assert_eq!(Refusal::of(&refusal.target()), Some(*refusal));
            let request = String::from_utf8(refusal.stand_in(b"HEAD / HTTP/1.1\n")).expect("text");
            let target = request.strip_prefix("HEAD ").and_then(|rest| rest.split(' ').next()).expect("a target");
            assert_eq!(Refusal::of(&target.parse().expect("a URI")), Some(*refusal));
            assert!((400..600).contains(&refusal.status()), "{refusal:?}");
        }
        assert_eq!(Refusal::of(&Uri::from_static("http://http/bare_line_feed")), None);
        assert_eq!(Refusal::of(&Uri::from_static("refused://http/what")), Some(Refusal::Target));
    }

    #[test]
    fn a_refusal_is_found_behind_other_errors() {
        let held = io::Error::other(Refusal::ChunkSize.into_io());
        assert_eq!(Refusal::behind(&held), Some(Refusal::ChunkSize));
        assert_eq!(Refusal::behind(&io::Error::other("something else")), None);
    }
}
