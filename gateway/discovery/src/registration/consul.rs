//! This process as an instance of a Consul service, with a check that it passes itself. Not for reading
//! the register.

use std::time::Duration;

use http::{HeaderValue, Method, StatusCode};
use kernel::Result;
use serde_json::{Value, json};

use super::{Presence, RegisterConsul};
use crate::address::Address;
use crate::config::wrong;
use crate::consul::{TOKEN, encoded, token};
use crate::http::{Client, Question, shown};

/// The instance.
pub(super) struct Instance {
    client: Client,
    agent: Address,
    token: Option<HeaderValue>,
    id: String,
    body: Value,
    lasts: Duration,
    timeout: Duration,
}

impl Instance {
    /// Prepares to register it.
    pub(super) fn new(config: &RegisterConsul) -> Result<Self> {
        let body = json!({
            "ID": config.id,
            "Name": config.service,
            "Address": config.host,
            "Port": config.port,
            "Tags": config.tags,
            "Weights": { "Passing": config.weight.max(1), "Warning": 1 },
            "Check": {
                "TTL": format!("{}s", config.check_seconds),
                // It serves already when it says so.
                "Status": "passing",
                "DeregisterCriticalServiceAfter": format!("{}s", config.forget_seconds),
            },
        });
        Ok(Self {
            client: Client::new(&config.certificate_file).map_err(|why| wrong("certificate_file", why))?,
            agent: Address::parse(&config.address).map_err(|why| wrong("address", why))?,
            token: token(&config.token.0)?,
            id: config.id.clone(),
            body,
            lasts: Duration::from_secs(u64::from(config.check_seconds)),
            timeout: Duration::from_millis(config.timeout_ms),
        })
    }

    async fn put(&self, target: &str, body: Option<Value>) -> Result<(StatusCode, String), String> {
        let header = self.token.clone().map(|token| (TOKEN, token));
        let question = Question { method: Method::PUT, target, header, body };
        let answer = self.client.whole(&self.agent, question, self.timeout).await?;
        Ok((answer.status(), shown(answer.body())))
    }
}

fn done((status, body): (StatusCode, String)) -> Result<(), String> {
    if status == StatusCode::OK { Ok(()) } else { Err(format!("it answers {status}: {body}")) }
}

impl Presence for Instance {
    fn name(&self) -> String {
        self.id.clone()
    }

    async fn sign_on(&mut self) -> Result<(), String> {
        done(self.put("/v1/agent/service/register", Some(self.body.clone())).await?)
    }

    async fn renew(&mut self) -> Result<bool, String> {
        let answer = self.put(&format!("/v1/agent/check/pass/service:{}", encoded(&self.id)), None).await?;
        // Consul says 404 for a check that it does not know; before 1.11 it said 500 with these words.
        if answer.0 == StatusCode::NOT_FOUND || answer.1.contains("does not have associated TTL") {
            return Ok(false);
        }
        done(answer).map(|()| true)
    }

    async fn sign_off(&mut self) -> Result<(), String> {
        let answer = self.put(&format!("/v1/agent/service/deregister/{}", encoded(&self.id)), None).await?;
        if answer.0 == StatusCode::NOT_FOUND { Ok(()) } else { done(answer) }
    }

    fn lasts(&self) -> Duration {
        self.lasts
    }

    fn turn(&mut self) {}
}
