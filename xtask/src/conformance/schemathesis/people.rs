//! Who asks, and what there is to ask for.
//!
//! For: signing in with the code of the first start, with codes that the operator makes, and as a superadmin; and
//! a little data, so that ids exist. Not for: people that the fuzzer makes.

use std::path::Path;

use serde_json::{Value, json};

use super::super::subject;
use crate::budget::server::Server;
use crate::workspace::Outcome;

/// The address and the password that the first administrator gets.
pub const EMAIL: &str = "ada@example.org";
pub const PASSWORD: &str = "seven otters juggle blue lamps";

/// Whose token a pass has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// None: schemathesis gets one itself, or needs none.
    Nobody,
    /// An administrator of the organisation.
    Administrator,
    /// A superadmin who has entered the organisation.
    Superadmin,
}

/// Who there is on a server.
pub struct People {
    /// The operator token.
    pub operator: String,
}

impl People {
    /// Signs in for the first time, and makes a little data.
    pub fn first(server: &Server, folder: &Path) -> Outcome<Self> {
        let people = Self { operator: subject::operator_token(folder)? };
        let signed_in = subject::sign_in(server)?;
        let token = token_of(&signed_in)?;
        server.call("PATCH", "/api/auth/me", &token, &json!({ "email": EMAIL }))?;
        server.call("POST", "/api/auth/password/change", &token, &json!({ "newPassword": PASSWORD }))?;
        for number in 0..20 {
            let (sku, name) = (format!("SKU-{number}"), format!("Thing {number}"));
            server.call("POST", "/api/inventory", &token, &json!({ "sku": sku, "name": name }))?;
        }
        // Nobody listens there, so deliveries fail and wait.
        let endpoint = json!({ "url": "http://127.0.0.1:9/hooks" });
        server.call("POST", "/api/webhooks/endpoints", &token, &endpoint)?;
        server.call(
            "POST",
            "/api/auth/invitations",
            &token,
            &json!({ "email": "bob@example.org", "role": "staff" }),
        )?;
        server.call("POST", "/api/auth/tokens", &token, &json!({ "name": "a program" }))?;
        server.call("POST", "/api/features/spring.sale/enable", &token, &Value::Null)?;
        Ok(people)
    }

    /// Returns a new token for a pass.
    pub fn token(&self, server: &Server, who: Who) -> Outcome<String> {
        if who == Who::Nobody {
            return Ok(String::new());
        }
        let organization = json!({ "organization": "main" });
        let code = server.call("POST", "/operator/sign-in-codes", &self.operator, &organization)?;
        let token = token_of(&server.post("/api/auth/login", &json!({ "code": code["code"] }))?)?;
        if who == Who::Administrator {
            return Ok(token);
        }
        let elevate = json!({ "organization": "main", "password": PASSWORD, "reason": "the suite of schemathesis" });
        token_of(&server.call("POST", "/api/auth/elevate", &token, &elevate)?)
    }
}

fn token_of(signed_in: &Value) -> Outcome<String> {
    signed_in["accessToken"].as_str().map(str::to_owned).ok_or_else(|| "signing in gave no access token".to_owned())
}
