//! `cargo xtask conformance newman`: the generated Postman collection against a running server.
//!
//! For: starting a fresh server and handing it, with the collection that the same binary makes, to
//! Postman's own runner in `xtask/conformance/newman`. Not for: the requests and what is asserted; those
//! come from the OpenAPI document and `portico/src/openapi/postman.json`.

use serde_json::{Value, json};

use super::node::Suite;
use super::subject;
use crate::budget::server::Server;
use crate::workspace::{self, Outcome};

/// Nobody listens there, so deliveries fail and wait.
const WEBHOOKS: &str = "http://127.0.0.1:9/hooks";

/// Runs the suite.
pub fn run(arguments: &[String]) -> Outcome {
    let binary = subject::binary("newman", arguments)?;
    let suite = Suite::prepare("newman")?;
    let folder = subject::folder("newman")?;
    let collection = folder.with_extension("json");
    let text = workspace::output(workspace::program(&binary).args(["openapi", "postman"]))?;
    std::fs::write(&collection, &text).map_err(|error| error.to_string())?;
    let sent = sent(&text)?;

    let settings = ["webhooks.allow_http=true", "webhooks.allow_networks=[\"127.0.0.0/8\"]"].map(str::to_owned);
    let (server, _) = Server::start_with(&binary, &folder, &settings)?;
    let operator = subject::operator_token(&folder)?;
    let tally = suite.run(&json!({
        "base": format!("http://{}", server.address()),
        "collection": collection,
        "operatorToken": operator,
        "webhookUrl": WEBHOOKS,
    }))?;
    subject::conclude(server, &tally, sent, &operator, &folder)
}

/// Returns how many requests of a collection are sent: all but those with a reason not to be.
fn sent(collection: &str) -> Outcome<usize> {
    let collection: Value = serde_json::from_str(collection).map_err(|error| format!("not a collection: {error}"))?;
    let folders = workspace::list(&collection["item"]).iter();
    let requests = folders.flat_map(|folder| workspace::list(&folder["item"]));
    let held = |request: &&Value| {
        let scripts = workspace::list(&request["event"]).iter();
        let mut lines = scripts.flat_map(|event| workspace::list(&event["script"]["exec"]));
        lines.any(|line| line.as_str().is_some_and(|line| line.starts_with("// Not sent:")))
    };
    Ok(requests.filter(|request| !held(request)).count())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_with_a_reason_not_to_be_sent_are_not_counted() {
        let held = json!({ "event": [{ "script": { "exec": ["// Not sent: it never ends"] } }] });
        let collection = json!({ "item": [{ "item": [{}, held] }, { "item": [{}] }] });
        assert_eq!(sent(&collection.to_string()), Ok(2));
        assert!(sent("no JSON").is_err());
    }

    #[test]
    fn newman_is_pinned() {
        let wanted = workspace::read("xtask/conformance/newman/package.json").unwrap();
        assert!(wanted.contains("\"newman\": \"6.2.2\""), "an exact version");
        let lock = workspace::read("xtask/conformance/newman/package-lock.json").unwrap();
        assert!(lock.contains("\"integrity\": \"sha512-"));
    }
}
