//! `cargo xtask conformance NAME`: runs a public conformance suite against Portico.
//!
//! For: suites and clients that somebody else wrote (HTTP caching, WebSocket, OpenID Connect, JOSE,
//! ...). Not for: our own tests; those are `cargo xtask test`. `docs/conformance.md` says what each
//! suite covers.

mod cache;
mod front_door;
mod http_safety;
mod inventory;
mod jwt;
mod newman;
mod node;
pub mod python;
mod realtime;
mod schemathesis;
mod subject;
mod tally;
mod tokens;
mod typescript;
mod websocket;

use crate::workspace::Outcome;

/// A suite: its name, what it covers, and how to run it with the rest of the arguments.
type Suite = (&'static str, &'static str, fn(&[String]) -> Outcome);

/// One line for each suite, in alphabetical order.
const SUITES: &[Suite] = &[
    (
        "cache",
        "the public HTTP cache tests, beside nginx, Varnish and Traffic Server; needs Node 20 and Debian",
        cache::run,
    ),
    (
        "front-door",
        "MLflow, json-server, an event source, ws and nginx behind one door; needs Python 3.11, Node 20 and nginx",
        front_door::run,
    ),
    (
        "http-abuse",
        "slow clients, slowhttptest and HTTP/2 floods, with the server's memory and honest clients; needs Python 3.11",
        http_safety::run_abuse,
    ),
    (
        "http-safety",
        "2,200 raw requests, six other readers of HTTP, and requests of HTTP/2; needs Python 3.11 and Debian",
        http_safety::run,
    ),
    (
        "inventory",
        "6,919 purchases as movements, exports, imports and analytics on both engines; needs Python 3.11",
        inventory::run,
    ),
    ("jwt", "the gateway's issuers on tokens of PyJWT and joserfc; needs Python 3.11 and Linux", jwt::run),
    ("newman", "the generated Postman collection, every request with its assertions; needs Node 20", newman::run),
    (
        "realtime",
        "event stream, Socket.IO, webhooks and letters, with six clients; needs Node 20 and Python 3.11",
        realtime::run,
    ),
    (
        "schemathesis",
        "every operation of the OpenAPI document, fuzzed with all checks on both engines; needs Python 3.11",
        schemathesis::run,
    ),
    ("tokens", "access tokens, JWKS, key rotation and sessions, with npm's jose; needs Node 20", tokens::run),
    (
        "typescript",
        "a client generated from the OpenAPI document, compiled strictly and run; needs Node 20",
        typescript::run,
    ),
    (
        "websocket",
        "Autobahn's 517 cases through the gateway and without it; needs Python 2.7 and Node 20",
        websocket::run,
    ),
];

/// Runs the named suite, or lists them.
pub fn run(arguments: &[String]) -> Outcome {
    let Some(name) = arguments.first() else {
        println!("{}", names());
        return Ok(());
    };
    match SUITES.iter().find(|suite| suite.0 == name) {
        Some((_, _, run)) => run(&arguments[1..]),
        None => Err(format!("there is no conformance suite `{name}`; {}", names())),
    }
}

fn names() -> String {
    let lines: Vec<String> = SUITES.iter().map(|(name, what, _)| format!("  {name:<16} {what}")).collect();
    format!("conformance suites:\n{}", lines.join("\n"))
}
