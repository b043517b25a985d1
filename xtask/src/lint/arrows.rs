//! The arrows of the house: which crate of the workspace may depend on which.
//!
//! For: `kernel <- store <- events, tasks`, `kernel <- web`, all `<- service <- contracts <-
//! services, gateway <- portico`. A new crate fails this check until it has a place here; the
//! lists below are the place. Not for: crates from outside; `dependencies` does those.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use crate::workspace::{self, Outcome, list};

/// What a crate is in the house.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Kernel,
    Store,
    /// `web`, and `fetch`, which asks other servers.
    Web,
    /// `events` and `tasks`.
    Flow,
    Service,
    Contracts,
    /// A crate under `services/`.
    AService,
    /// A crate under `gateway/`.
    GatewayPart,
    Gateway,
    /// The binary.
    Portico,
    Testkit,
    /// What tests stand on that know nothing of the house.
    Fixtures,
    Bench,
    /// What benchmarks count with.
    Measure,
    Xtask,
}

impl Place {
    fn of(name: &str, folder: &Path) -> Option<Self> {
        if folder.parent().and_then(Path::file_name).is_some_and(|parent| parent == "services" || parent == "examples")
        {
            return Some(Self::AService);
        }
        if folder.parent().and_then(Path::file_name).is_some_and(|parent| parent == "gateway") {
            return Some(Self::GatewayPart);
        }
        Some(match name {
            "kernel" => Self::Kernel,
            "store" => Self::Store,
            "web" | "fetch" => Self::Web,
            "events" | "tasks" => Self::Flow,
            "service" => Self::Service,
            "contracts" => Self::Contracts,
            "gateway" => Self::Gateway,
            "portico" => Self::Portico,
            "testkit" => Self::Testkit,
            "fixtures" => Self::Fixtures,
            "measure" => Self::Measure,
            "bench" | "gateway_bench" => Self::Bench,
            "xtask" => Self::Xtask,
            _ => return None,
        })
    }

    /// What a crate in this place may depend on, in its code and in its tests.
    fn may_use(self) -> &'static [Self] {
        use Place::{AService, Contracts, Flow, Gateway, GatewayPart, Kernel, Measure, Portico, Service, Store, Web};
        match self {
            Self::Kernel | Self::Fixtures | Self::Measure | Self::Xtask => &[],
            Self::Store | Self::Web => &[Kernel],
            Self::Flow => &[Kernel, Store],
            Self::Service => &[Kernel, Store, Web, Flow],
            Self::Contracts => &[Kernel, Store, Web, Flow, Service],
            // Neither another service nor the gateway; the gateway no service.
            Self::AService => &[Kernel, Store, Web, Flow, Service, Contracts],
            // Each does one job and knows neither services nor data.
            Self::GatewayPart => &[Kernel, Web],
            Self::Gateway => &[Kernel, Store, Web, Flow, Service, Contracts, GatewayPart],
            // Builds the whole house for a test, and is handed the services by it.
            Self::Testkit => &[Kernel, Store, Web, Flow, Service, Contracts, Gateway, GatewayPart],
            Self::Portico => &[Kernel, Store, Web, Flow, Service, Contracts, AService, Gateway, GatewayPart],
            Self::Bench => {
                &[Kernel, Store, Web, Flow, Service, Contracts, AService, Gateway, GatewayPart, Portico, Measure]
            }
        }
    }
}

/// Checks the workspace as cargo sees it.
pub fn check() -> Outcome<String> {
    judge(&workspace::metadata(&["--no-deps"])?)
}

fn judge(metadata: &Value) -> Outcome<String> {
    if list(&metadata["packages"]).is_empty() {
        return Err("cargo metadata names no crate, so nothing was checked".into());
    }
    let mut places = BTreeMap::new();
    let mut problems = Vec::new();
    for package in list(&metadata["packages"]) {
        let (name, folder) = identity(package);
        match Place::of(name, folder) {
            Some(place) => {
                places.insert(name, place);
            }
            None => {
                problems.push(format!("  {name} has no place in the house; give it one in xtask/src/lint/arrows.rs"))
            }
        }
    }
    let mut arrows = 0;
    for package in list(&metadata["packages"]) {
        let (name, _) = identity(package);
        let Some(place) = places.get(name) else {
            continue;
        };
        for dependency in list(&package["dependencies"]) {
            let on = dependency["name"].as_str().unwrap_or_default();
            let Some(target) = places.get(on) else {
                continue;
            };
            arrows += 1;
            // Its people sign in for real, so one service stands in testkit itself.
            if *place == Place::Testkit && on == "identity" {
                continue;
            }
            let for_tests = dependency["kind"] == "dev";
            if let Some(reason) = wrong(*place, *target, for_tests) {
                let section = if for_tests { "dev-dependencies" } else { "dependencies" };
                problems.push(format!("  {name} -> {on} ({section}): {reason}"));
            }
        }
    }
    if problems.is_empty() {
        return Ok(format!("{} crates, {arrows} arrows between them", places.len()));
    }
    problems.sort();
    Err(format!("arrows that the house does not have:\n{}", problems.join("\n")))
}

/// Returns why an arrow is wrong, if it is.
fn wrong(from: Place, to: Place, for_tests: bool) -> Option<&'static str> {
    match to {
        Place::Testkit if for_tests || from == Place::Bench => None,
        Place::Testkit => Some("testkit is for tests; make it a dev-dependency"),
        Place::Fixtures if for_tests => None,
        Place::Fixtures => Some("fixtures are for tests; make it a dev-dependency"),
        _ if from.may_use().contains(&to) => None,
        Place::AService if from == Place::AService => {
            Some("no service depends on another; use its events or its client in contracts")
        }
        Place::AService if from == Place::Gateway => {
            Some("the gateway knows services only as data; portico hands them to it")
        }
        _ => Some(
            "arrows run kernel <- store <- events, tasks; kernel <- web; all <- service \
             <- contracts <- services, gateway <- portico",
        ),
    }
}

fn identity(package: &Value) -> (&str, &Path) {
    let manifest = Path::new(package["manifest_path"].as_str().unwrap_or_default());
    (package["name"].as_str().unwrap_or_default(), manifest.parent().unwrap_or(manifest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// A workspace from lines `folder: dependency, dependency*` where `*` marks one for tests.
    fn house(lines: &[&str]) -> Value {
        let packages: Vec<Value> = lines
            .iter()
            .map(|line| {
                let (folder, dependencies) = line.split_once(':').unwrap();
                let dependencies: Vec<Value> = dependencies
                    .split(',')
                    .map(str::trim)
                    .filter(|name| !name.is_empty())
                    .map(|name| match name.strip_suffix('*') {
                        Some(name) => json!({ "name": name, "kind": "dev" }),
                        None => json!({ "name": name, "kind": null }),
                    })
                    .collect();
                json!({
                    "name": folder.rsplit('/').next(),
                    "manifest_path": format!("/w/{folder}/Cargo.toml"),
                    "dependencies": dependencies,
                })
            })
            .collect();
        json!({ "packages": packages })
    }

    #[test]
    fn the_house_as_drawn_is_right() {
        let looked_at = judge(&house(&[
            "platform/kernel: serde",
            "platform/store: kernel, testkit*, fixtures*",
            "platform/web: kernel",
            "platform/fetch: fixtures*",
            "platform/fixtures: redis",
            "platform/events: kernel, store",
            "platform/service: kernel, store, web, events",
            "platform/testkit: kernel, service, gateway",
            "contracts: service",
            "services/inventory: contracts, service, testkit*",
            "services/identity: service",
            "gateway/limits: kernel, web, fetch, fixtures*",
            "gateway: service, web, limits",
            "portico: gateway, inventory, identity, testkit*",
            "bench: portico, testkit",
            "xtask: serde_json",
        ]));
        assert_eq!(looked_at.unwrap(), "16 crates, 32 arrows between them");
    }

    #[test]
    fn each_wrong_arrow_is_named_with_its_reason() {
        let message = judge(&house(&[
            "platform/kernel: store",
            "platform/store: web",
            "platform/web:",
            "platform/testkit: inventory",
            "services/inventory: identity*, testkit",
            "services/identity: gateway",
            "gateway: inventory",
            "gateway/limits: store, fixtures",
            "platform/fixtures: kernel",
            "xtask: kernel",
        ]))
        .unwrap_err();
        for part in [
            "kernel -> store (dependencies)",
            "store -> web (dependencies)",
            "testkit -> inventory",
            "inventory -> identity (dev-dependencies): no service depends on another",
            "inventory -> testkit (dependencies): testkit is for tests",
            "identity -> gateway",
            "limits -> store",
            "limits -> fixtures (dependencies): fixtures are for tests",
            "fixtures -> kernel",
            "gateway -> inventory (dependencies): the gateway knows services only as data",
            "xtask -> kernel",
        ] {
            assert!(message.contains(part), "{part} is not in {message}");
        }
        assert_eq!(message.lines().count(), 12);
    }

    #[test]
    fn a_crate_without_a_place_and_an_empty_workspace_fail() {
        assert!(judge(&house(&["platform/helpers:"])).unwrap_err().contains("helpers has no place"));
        assert!(judge(&house(&[])).unwrap_err().contains("nothing was checked"));
    }
}
