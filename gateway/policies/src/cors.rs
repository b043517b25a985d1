//! Cross-origin requests as the Fetch standard has them (section 3.3): preflights are answered here, before
//! anybody is authenticated, and answers carry this policy's headers and no others. Not for deciding
//! whether a request is served: CORS tells browsers who may read the answer.

mod origin;

use axum::body::Body;
use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};
use kernel::{Error, Result};
use serde::{Deserialize, Serialize};

use self::origin::{Wildcard, read_origin};
use crate::wrong;

const REQUEST_PRIVATE_NETWORK: HeaderName = HeaderName::from_static("access-control-request-private-network");
const ALLOW_PRIVATE_NETWORK: HeaderName = HeaderName::from_static("access-control-allow-private-network");

/// How much of a preflight's list of headers is read, where any are allowed.
const HEADER_LIST_LIMIT: usize = 4 * 1024;

/// Who may read answers from a page.
#[derive(Deserialize, Serialize, Clone, Debug, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct CorsConfig {
    /// Origins: `https://app.example`, `https://*.example.com` (any depth of subdomain, not the domain itself),
    /// `null` (sandboxed pages and files: anybody can be that), or `*` alone.
    pub origins: Vec<String>,
    /// Methods that a page may use.
    pub methods: Vec<String>,
    /// Request headers that a page may set; `*` allows any.
    pub request_headers: Vec<String>,
    /// Response headers that a page may read beside the safe ones.
    pub expose_headers: Vec<String>,
    /// Whether cookies and other credentials go along; origins must then be listed.
    pub credentials: bool,
    /// For how long a browser may remember the answer to a preflight.
    pub max_age_seconds: u32,
    /// Whether public pages may reach this server in a private network.
    pub private_network: bool,
}

impl Default for CorsConfig {
    fn default() -> Self {
        Self {
            origins: Vec::new(),
            methods: ["GET", "HEAD", "POST"].map(str::to_owned).into(),
            request_headers: Vec::new(),
            expose_headers: Vec::new(),
            credentials: false,
            max_age_seconds: 600,
            private_network: false,
        }
    }
}

/// A compiled policy.
#[derive(Debug)]
pub struct Cors {
    any: bool,
    exact: Box<[Box<[u8]>]>,
    wildcards: Box<[Wildcard]>,
    methods: HeaderValue,
    headers: RequestHeaders,
    expose: Option<HeaderValue>,
    max_age: HeaderValue,
    credentials: bool,
    private_network: bool,
}

#[derive(Debug)]
enum RequestHeaders {
    None,
    Listed(HeaderValue),
    Any,
}

impl CorsConfig {
    /// Says what is wrong with the policy, if anything.
    pub fn check(&self) -> Result<()> {
        Cors::compile(self).map(drop)
    }
}

impl Cors {
    /// Compiles a policy.
    pub fn compile(config: &CorsConfig) -> Result<Self> {
        let (mut any, mut exact, mut wildcards) = (false, Vec::new(), Vec::new());
        for text in &config.origins {
            match text.as_str() {
                "*" => any = true,
                "null" => exact.push(text.as_bytes().into()),
                _ => match read_origin(text)? {
                    (before, Some(after)) => wildcards
                        .push(Wildcard { before: before.into_bytes().into(), after: after.into_bytes().into() }),
                    (whole, None) => exact.push(whole.into_bytes().into()),
                },
            }
        }
        if any && config.credentials {
            return Err(wrong("cors: credentials need listed origins; * would give every page the caller's session"));
        }
        if any && config.origins.len() > 1 {
            return Err(wrong("cors: the origin * stands alone"));
        }
        for method in &config.methods {
            if Method::from_bytes(method.as_bytes()).is_err() {
                return Err(wrong(format!("cors: {method} is no method")));
            }
        }
        let headers = match config.request_headers.as_slice() {
            [] => RequestHeaders::None,
            [star] if star == "*" => RequestHeaders::Any,
            names => RequestHeaders::Listed(header_list(names)?),
        };
        let expose = (!config.expose_headers.is_empty()).then(|| header_list(&config.expose_headers)).transpose()?;
        let methods = HeaderValue::try_from(config.methods.join(", ").to_uppercase());
        Ok(Self {
            any,
            exact: exact.into(),
            wildcards: wildcards.into(),
            methods: methods.map_err(|_| wrong("cors: the methods make no header"))?,
            headers,
            expose,
            max_age: HeaderValue::from(config.max_age_seconds),
            credentials: config.credentials,
            private_network: config.private_network,
        })
    }

    /// Returns the method that a preflight asks about, if the request is one.
    pub fn preflight_method(method: &Method, headers: &HeaderMap) -> Option<Method> {
        if method != Method::OPTIONS || !headers.contains_key(ORIGIN) {
            return None;
        }
        Method::from_bytes(headers.get(ACCESS_CONTROL_REQUEST_METHOD)?.as_bytes()).ok()
    }

    /// Answers a preflight; nothing, if the request is none. The answer passes [`Cors::apply`] like any other.
    pub fn preflight(&self, method: &Method, headers: &HeaderMap) -> Result<Option<Response<Body>>> {
        if Self::preflight_method(method, headers).is_none() {
            return Ok(None);
        }
        if self.allowed(only_origin(headers)).is_none() {
            return Err(Error::forbidden("gateway.origin_refused", "pages of this origin may not use this"));
        }
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        let answer = response.headers_mut();
        answer.insert(ACCESS_CONTROL_ALLOW_METHODS, self.methods.clone());
        answer.insert(ACCESS_CONTROL_MAX_AGE, self.max_age.clone());
        match &self.headers {
            RequestHeaders::None => {}
            RequestHeaders::Listed(list) => drop(answer.insert(ACCESS_CONTROL_ALLOW_HEADERS, list.clone())),
            // Repeated, for `*` would not cover Authorization, nor anything where credentials go along.
            RequestHeaders::Any => {
                if let Some(list) = asked_headers(headers) {
                    answer.insert(ACCESS_CONTROL_ALLOW_HEADERS, list);
                }
            }
        }
        if self.private_network && headers.get(REQUEST_PRIVATE_NETWORK).is_some_and(|value| value == "true") {
            answer.insert(ALLOW_PRIVATE_NETWORK, HeaderValue::from_static("true"));
        }
        answer.append(
            VARY,
            HeaderValue::from_static(
                "Access-Control-Request-Method, Access-Control-Request-Headers, Access-Control-Request-Private-Network",
            ),
        );
        Ok(Some(response))
    }

    /// Returns the request's origin, kept for [`Cors::apply`]; two Origin headers are none.
    pub fn origin(headers: &HeaderMap) -> Option<HeaderValue> {
        only_origin(headers).cloned()
    }

    /// Gives an answer, refusals too, this policy's headers in the place of whatever the service set.
    pub fn apply(&self, origin: Option<&HeaderValue>, preflight: bool, headers: &mut HeaderMap) {
        for name in [ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_EXPOSE_HEADERS] {
            headers.remove(name);
        }
        if !preflight {
            for name in [
                ACCESS_CONTROL_ALLOW_METHODS,
                ACCESS_CONTROL_ALLOW_HEADERS,
                ACCESS_CONTROL_MAX_AGE,
                ALLOW_PRIVATE_NETWORK,
            ] {
                headers.remove(name);
            }
        }
        vary_by_origin(headers);
        let Some(allowed) = self.allowed(origin) else { return };
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
        if self.credentials {
            headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
        if let (Some(expose), false) = (&self.expose, preflight) {
            headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, expose.clone());
        }
    }

    fn allowed(&self, origin: Option<&HeaderValue>) -> Option<HeaderValue> {
        let origin = origin?;
        if self.any {
            return Some(HeaderValue::from_static("*"));
        }
        let bytes = origin.as_bytes();
        let listed = self.exact.iter().any(|known| **known == *bytes) || self.wildcards.iter().any(|w| w.holds(bytes));
        listed.then(|| origin.clone())
    }
}

fn only_origin(headers: &HeaderMap) -> Option<&HeaderValue> {
    let mut values = headers.get_all(ORIGIN).iter();
    let only = values.next();
    if values.next().is_some() { None } else { only }
}

fn header_list(names: &[String]) -> Result<HeaderValue> {
    for name in names {
        if name == "*" || HeaderName::try_from(name.as_str()).is_err() {
            return Err(wrong(format!("cors: {name} is no header's name (* stands alone, for request headers only)")));
        }
    }
    HeaderValue::try_from(names.join(", ").to_ascii_lowercase()).map_err(|_| wrong("cors: the headers make no list"))
}

/// Returns the list of headers that a preflight asks for, if it is one of tokens.
fn asked_headers(headers: &HeaderMap) -> Option<HeaderValue> {
    let asked = headers.get(ACCESS_CONTROL_REQUEST_HEADERS)?;
    let text = asked.to_str().ok().filter(|text| text.len() <= HEADER_LIST_LIMIT)?;
    text.split(',').all(|name| HeaderName::try_from(name.trim()).is_ok()).then(|| asked.clone())
}

fn vary_by_origin(headers: &mut HeaderMap) {
    let names = |value: &HeaderValue| {
        value.to_str().is_ok_and(|text| {
            text.split(',').any(|name| matches!(name.trim(), "*") || name.trim().eq_ignore_ascii_case("origin"))
        })
    };
    if !headers.get_all(VARY).iter().any(names) {
        headers.append(VARY, HeaderValue::from_static("Origin"));
    }
}

#[cfg(test)]
#[path = "cors/tests.rs"]
mod tests;
