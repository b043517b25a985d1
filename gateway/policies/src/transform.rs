//! What a route changes in requests and answers: headers, the query, JSON. What a request brings is rendered
//! first (`prepare`), then put in place (`apply`), for the headers that a template reads may be changed too.
//! Not for paths, which are the plan's, and not for shapes.

mod headers;
mod query;
mod request;
mod response;

pub use headers::HeaderChanges;
pub use query::QueryChanges;
pub use request::{RequestTransform, RequestTransformConfig};
pub use response::{Etag, ResponseTransform, ResponseTransformConfig};

pub use crate::json::{JsonConfig, OnInvalid};

/// What a transformation shows of one request. Empty where nothing has to be rendered.
#[derive(Clone, Debug, Default)]
pub struct Prepared {
    headers: Vec<Option<http::HeaderValue>>,
    query: Vec<Option<String>>,
    json: Vec<Option<Vec<u8>>>,
}
