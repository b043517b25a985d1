//! Where a request comes from, as sessions and the audit trail remember it. Not for trusting
//! anybody.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr};

use axum::extract::FromRequestParts;
use http::header::USER_AGENT;
use http::request::Parts;
use web::ClientAddress;

use crate::credentials::throttle::Network;

/// The longest name of a program that is remembered, in characters.
const LONGEST: usize = 200;

/// The network and the program that a request comes from.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    pub network: Network,
    pub user_agent: Option<String>,
}

impl<S: Sync> FromRequestParts<S> for Origin {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let address =
            parts.extensions.get::<ClientAddress>().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |found| found.0);
        let program = parts.headers.get(USER_AGENT).and_then(|value| value.to_str().ok());
        let user_agent = program.map(|text| text.chars().take(LONGEST).collect());
        Ok(Self { network: Network::of(address), user_agent })
    }
}
