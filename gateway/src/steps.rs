//! What a route asks of a request beyond its path, compiled once. Not for what answers it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderValue};
use kernel::{Actor, Error, Result};
use policies::{
    Addresses, BodyLimit, Cors, HeadLimit, Limits, Phase, Priority, RequestTransform, ResponseTransform, Shed, Subject,
    Verdict,
};
use service::Features;
use web::{CredentialKind, Principal};

use crate::path::Escapes;
use crate::target::Fixed;

/// What the door checks of a caller itself: for routes whose handler is somebody else's. Those of the
/// installation's own services are checked beside their handlers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Need {
    /// Nothing is checked here.
    #[default]
    Nothing,
    /// A caller.
    Caller,
    /// A caller with a session.
    Session,
    /// All of these permissions.
    Permissions(Arc<[String]>),
    /// One of these roles.
    Roles(Arc<[String]>),
    /// The operator.
    Operator,
}

/// What a request walks through before and after its target.
#[derive(Default)]
pub(crate) struct Steps {
    /// What its names say, for people.
    pub said: Vec<String>,
    /// Whether anything names the parts of the path that vary.
    pub names_path_parts: bool,
    /// The escapes that its path may have beside the usual ones.
    pub encoded: Escapes,
    pub forward_authorization: bool,
    pub forward_cookies: bool,
    pub need: Need,
    pub feature: Option<Arc<str>>,
    pub timeout: Option<Duration>,
    pub head_limit: Option<HeadLimit>,
    pub body_limit: BodyLimit,
    pub addresses: Option<Arc<Addresses>>,
    pub cors: Option<Arc<Cors>>,
    pub limits: Option<Limits>,
    pub request: Option<Arc<RequestTransform>>,
    pub response: Option<Arc<ResponseTransform>>,
    pub cache: Option<Arc<http_cache::Policy>>,
    pub meter: Option<Arc<metering::Plan>>,
    pub shed: Option<Shed>,
    pub fallback: Option<Arc<Fixed>>,
    pub priority: Priority,
}

impl Steps {
    /// Refuses whom the route is not for.
    pub(crate) fn authorise(&self, caller: Option<&Principal>, operator: bool) -> Result<()> {
        let unknown = || Error::unauthenticated("request.unauthenticated", "send a valid bearer token");
        match (&self.need, caller) {
            (Need::Nothing, _) => Ok(()),
            (Need::Operator, _) if operator => Ok(()),
            (Need::Operator, _) => {
                Err(Error::unauthenticated("request.operator_only", "this needs the operator token"))
            }
            (_, None) => Err(unknown()),
            (Need::Caller, Some(_)) => Ok(()),
            (Need::Session, Some(caller)) if caller.kind == CredentialKind::Session => Ok(()),
            (Need::Session, Some(_)) => {
                Err(Error::forbidden("identity.session_required", "an API token cannot do this: sign in"))
            }
            (Need::Permissions(wanted), Some(caller)) => {
                match wanted.iter().find(|permission| !caller.permissions.allows(permission)) {
                    None => Ok(()),
                    Some(missing) => {
                        Err(Error::forbidden("request.forbidden", format!("this needs the permission {missing}")))
                    }
                }
            }
            (Need::Roles(wanted), Some(caller)) => {
                let superadmin =
                    matches!(caller.actor, Actor::Superadmin(_)) && wanted.iter().any(|role| role == "superadmin");
                if superadmin || wanted.iter().any(|role| **role == *caller.role) {
                    return Ok(());
                }
                let message = format!("this needs one of the roles {}", wanted.join(", "));
                Err(Error::forbidden("request.forbidden", message))
            }
        }
    }

    /// Refuses while the route's switch is off for the caller's tenant.
    pub(crate) fn switch(&self, caller: Option<&Principal>, features: &dyn Features) -> Result<()> {
        match (&self.feature, caller) {
            (Some(feature), Some(caller)) => features.require(caller.tenant, feature),
            _ => Ok(()),
        }
    }

    /// Takes what the request costs from the limits of a phase; the verdict is told to the client either way.
    pub(crate) async fn limit(
        &self,
        phase: Phase,
        subject: &Subject<'_>,
        now: Instant,
        told: &mut Verdict,
    ) -> Result<()> {
        let Some(limits) = self.limits.as_ref().filter(|limits| !limits.is_empty(phase)) else { return Ok(()) };
        let verdict = limits.check(phase, subject, now).await;
        *told = told.and(verdict);
        match limits.error(&verdict) {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    /// Writes what the route's rules say into the head of an answer, a refusal too.
    pub(crate) fn write_fields(
        &self,
        told: &Verdict,
        origin: Option<&HeaderValue>,
        preflight: bool,
        headers: &mut HeaderMap,
    ) {
        if let Some(limits) = &self.limits {
            limits.write_fields(told, headers);
        }
        if let Some(cors) = &self.cors {
            cors.apply(origin, preflight, headers);
        }
    }

    /// Says what is walked through, in order, for people.
    pub(crate) fn describe(&self) -> Vec<String> {
        let mut lines = self.said.clone();
        if let Some(feature) = &self.feature {
            lines.push(format!("the switch {feature} must be on for the tenant"));
        }
        match &self.need {
            Need::Nothing => {}
            Need::Caller => lines.push("the caller must be signed in".to_owned()),
            Need::Session => lines.push("the caller must have a session".to_owned()),
            Need::Permissions(wanted) => lines.push(format!("the caller must have {}", wanted.join(" and "))),
            Need::Roles(wanted) => lines.push(format!("the caller must be {}", wanted.join(" or "))),
            Need::Operator => lines.push("the operator token".to_owned()),
        }
        if let Some(timeout) = self.timeout {
            lines.push(format!("at most {} ms in all", timeout.as_millis()));
        }
        if self.fallback.is_some() {
            lines.push("when it cannot be answered: a fixed answer, marked as degraded".to_owned());
        }
        lines
    }
}
