//! Services that others run and that know nothing of Portico: the routes that the contract owes for them
//! become declared routes of the gateway, with the paths that a separately running service expects. The
//! environment names that such installations know are read here too. Not for Portico's own processes,
//! which are told the caller in a signed header.

use gateway::{Access, Declared, RouteEntry, UpstreamEntry};
use kernel::{Error, Result};

use crate::config::{Config, Upstream};

/// Every route of the contract.
const CONTRACT: &str = include_str!("../../contract/routes.tsv");

/// How long a route may take whose answer is a stream or a large file.
const LONG_MS: u64 = 3_600_000;

/// The environment names, and what each is the address of.
pub const NAMES: [(&str, &str); 9] = [
    ("BILLING_SERVICE_URL", "billing"),
    ("FLEET_SERVICE_URL", "fleet"),
    ("LLM_SERVICE_URL", "insights"),
    ("ADVANCED_ANALYTICS_URL", "advanced-analytics"),
    ("EDGE_INFERENCE_URL", "edge-inference"),
    ("CLOUD_INFERENCE_URL", "cloud-inference"),
    ("AUTH_SERVICE_URL", "identity"),
    ("INVENTORY_SERVICE_URL", "inventory"),
    ("ANALYTICS_SERVICE_URL", "analytics"),
];

/// One line of the contract.
struct Owed {
    service: &'static str,
    method: &'static str,
    path: &'static str,
    caller: &'static str,
    upstream_path: &'static str,
    note: &'static str,
}

/// Returns the contract's HTTP routes.
fn owed() -> impl Iterator<Item = Owed> {
    CONTRACT.lines().skip(1).filter_map(|line| {
        let mut cells = line.split('\t');
        let mut next = || cells.next().unwrap_or_default();
        let owed =
            Owed { service: next(), method: next(), path: next(), caller: next(), upstream_path: next(), note: next() };
        (!owed.path.is_empty()).then_some(owed)
    })
}

/// Returns the contract's service and the paths that an upstream of this name is for.
fn part(name: &str) -> (&str, &'static str) {
    match name {
        "advanced-analytics" => ("analytics", "/api/v1/"),
        "analytics" => ("analytics", "/api/analytics/"),
        "edge-inference" | "cloud-inference" => ("ml", "/api/v1/inference/"),
        other => (other, "/"),
    }
}

/// Puts the addresses that the environment names beside those of the configuration, which win.
pub fn from_environment(config: &mut Config, value: impl Fn(&str) -> Option<String>) {
    // With a common secret the process there is one of ours.
    let plain = config.cluster.secret.is_empty();
    for (variable, name) in NAMES {
        if let Some(url) = value(variable).filter(|url| !url.is_empty()) {
            config.upstreams.entry(name.to_owned()).or_insert(Upstream { url, plain });
        }
    }
}

/// Says whether somebody else's service answers for this one of ours.
pub fn replaces(config: &Config, service: &str) -> bool {
    config.upstreams.iter().any(|(name, upstream)| upstream.plain && part(name).0 == service)
}

/// Adds the routes of all such services to what is declared.
pub fn declare(config: &Config, declared: &mut Declared) -> Result<()> {
    let plain = || config.upstreams.iter().filter(|(_, upstream)| upstream.plain).map(|(name, _)| name.as_str());
    for (name, upstream) in config.upstreams.iter().filter(|(_, upstream)| upstream.plain) {
        declared.add_upstream(name, UpstreamEntry::of_url(&upstream.url));
        // What both could answer is the edge's, while it can.
        if name == "cloud-inference" && plain().any(|other| other == "edge-inference") {
            continue;
        }
        let (service, prefix) = part(name);
        let mut found = false;
        for owed in owed().filter(|owed| owed.service == service && owed.path.starts_with(prefix)) {
            let cloud = name == "edge-inference" && plain().any(|other| other == "cloud-inference");
            declared.add_route(route(name, &owed, cloud));
            found = true;
        }
        if !found {
            let message = format!("upstreams.{name} is plain, but the contract owes nothing for {name}");
            return Err(Error::invalid("config.invalid", message));
        }
    }
    Ok(())
}

fn route(upstream: &str, owed: &Owed, cloud: bool) -> RouteEntry {
    let socket = owed.method == "WS";
    let streams = socket || ["SSE", "server-sent", "stream"].iter().any(|word| owed.note.contains(word));
    RouteEntry {
        path: owed.path.to_owned(),
        methods: vec![if socket { "GET" } else { owed.method }.to_owned()],
        upstream: upstream.to_owned(),
        upstream_path: owed.upstream_path.to_owned(),
        otherwise: if cloud { "cloud-inference".to_owned() } else { String::new() },
        summary: owed.note.to_owned(),
        access: match owed.caller {
            "public" | "signature" => Access::Public,
            "staff" => Access::Roles(["staff", "admin", "superadmin"].map(str::to_owned).to_vec()),
            "admin" => Access::Roles(["admin", "superadmin"].map(str::to_owned).to_vec()),
            "superadmin" => Access::Roles(vec!["superadmin".to_owned()]),
            "operator" => Access::Operator,
            _ => Access::SignedIn,
        },
        live: streams,
        websocket: socket,
        forward_authorization: true,
        timeout_ms: streams.then_some(LONG_MS),
        ..RouteEntry::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn declared(pairs: &[(&str, &str)]) -> Declared {
        let mut config = Config::default();
        let value = |name: &str| pairs.iter().find(|(known, _)| *known == name).map(|(_, url)| (*url).to_owned());
        from_environment(&mut config, value);
        let mut declared = Declared::default();
        declare(&config, &mut declared).expect("routes");
        declared
    }

    fn find<'d>(declared: &'d Declared, method: &str, path: &str) -> Option<&'d RouteEntry> {
        let mut routes = declared.routes.iter().map(|route| route.get_ref());
        routes.find(|route| route.path == path && route.methods == [method])
    }

    #[test]
    fn every_name_gives_the_routes_that_the_contract_owes_for_it() {
        for (variable, name) in NAMES {
            let declared = declared(&[(variable, "http://127.0.0.1:9")]);
            assert!(!declared.routes.is_empty(), "{variable}");
            assert!(declared.routes.iter().all(|route| route.get_ref().upstream == name), "{variable}");
        }
    }

    #[test]
    fn paths_callers_and_the_two_places_of_inference_are_the_contracts() {
        let some = [
            ("BILLING_SERVICE_URL", "http://b"),
            ("EDGE_INFERENCE_URL", "http://e"),
            ("CLOUD_INFERENCE_URL", "http://c"),
        ];
        let declared = declared(&some);
        let invoice = find(&declared, "GET", "/api/v1/billing/invoices/{id}").expect("there");
        assert_eq!(invoice.upstream_path, "/api/v1/invoices/{id}");
        assert_eq!(invoice.access, Access::SignedIn);
        let subscribe = find(&declared, "POST", "/api/v1/billing/subscriptions").expect("there");
        assert_eq!(subscribe.access, Access::Roles(vec!["admin".to_owned(), "superadmin".to_owned()]));
        let predict = find(&declared, "POST", "/api/v1/inference/predict").expect("there");
        assert_eq!((predict.upstream.as_str(), predict.otherwise.as_str()), ("edge-inference", "cloud-inference"));
        assert_eq!(predict.upstream_path, "/api/v1/predict");
        assert_eq!(declared.routes.iter().filter(|route| route.get_ref().path == predict.path).count(), 1);
    }

    #[test]
    fn what_the_configuration_says_wins_and_a_secret_makes_it_one_of_ours() {
        let mut config = Config::default();
        config.upstreams.insert("billing".to_owned(), Upstream { url: "http://mine".to_owned(), plain: true });
        from_environment(&mut config, |name| (name == "BILLING_SERVICE_URL").then(|| "http://theirs".to_owned()));
        assert_eq!(config.upstreams["billing"].url, "http://mine");
        config.cluster.secret = "x".repeat(32);
        from_environment(&mut config, |name| (name == "INVENTORY_SERVICE_URL").then(|| "http://i".to_owned()));
        assert!(!config.upstreams["inventory"].plain);
        assert!(replaces(&config, "billing") && !replaces(&config, "inventory"));
    }
}
