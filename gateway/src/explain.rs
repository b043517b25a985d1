//! What a request would walk through, for people: the plan read aloud. Not for walking it.

use std::fmt;

use http::Method;
use kernel::{Error, Result};
use service::Access;

use crate::plan::{Found, Plan};

/// What a request would walk through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explained {
    title: String,
    steps: Vec<String>,
}

impl fmt::Display for Explained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.title)?;
        for (number, step) in self.steps.iter().enumerate() {
            writeln!(f, "{:>3}. {step}", number + 1)?;
        }
        Ok(())
    }
}

impl Plan {
    /// Says what a request would walk through.
    pub fn explain(&self, host: Option<&str>, method: &Method, path: &str) -> Result<Explained> {
        let target = path.parse().map_err(|_| Error::invalid("request.invalid_path", format!("{path} is no path")))?;
        let escapes = crate::front::check_target(&target)?;
        let found = self.find(host, method, target.path());
        found.takes(escapes)?;
        let (route, upstream_path) = match found {
            Found::Route { route, path, .. } => (route, path),
            Found::OtherMethods(known) => {
                let message = format!("this path takes {known}, not {method}: 405");
                return Err(Error::invalid("request.method_not_allowed", message));
            }
            Found::Nothing => return Err(Error::not_found("request.no_route", "there is nothing at this path: 404")),
        };
        let mut steps = vec!["read strictly, one way; internal and hop-by-hop headers dropped".to_owned()];
        steps.push(match route.access {
            Access::Public => "anyone".to_owned(),
            Access::SignedIn => "sign-in: a token, an API token, the cookie".to_owned(),
            Access::Session => "sign-in with a session".to_owned(),
            Access::Permission(permission) => format!("sign-in; beside the handler: the permission {permission}"),
            Access::Operator => "the operator token".to_owned(),
        });
        steps.extend(route.steps.describe());
        let at = upstream_path.map_or(String::new(), |path| format!(" at {path}"));
        steps.push(format!("answered by {}{at}", route.target.describe()));
        steps.push(format!("counted as {} {} of {}", method, route.template, route.owner));
        Ok(Explained { title: format!("{method} {path} is {} of {}", route.template, route.owner), steps })
    }
}
