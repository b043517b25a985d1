//! Which events go to which endpoint: what may leave the house at all, and the patterns that an
//! endpoint chooses by. Not for who may read the log, which the types' audiences say.

use std::borrow::Cow;

use kernel::{Error, Result};
use utoipa::openapi::{ObjectBuilder, RefOr, Schema, Type};

/// Audit of signing in and of credentials stays in the house, where administrators read it: it tells
/// of people's addresses and habits, and a receiver has no use for it but to watch them.
const STAYS: [&str; 7] = [
    "identity.sign_in.",
    "identity.sign_in_code.",
    "identity.session.",
    "identity.superadmin.",
    "identity.token.",
    "identity.proof.",
    "webhooks.",
];

/// What leaves although its group stays: an endpoint tells of itself only where somebody has to act.
const LEAVES: [&str; 2] = [DISABLED, TESTED];

/// An endpoint was switched off; the tenant's other endpoints may want to know.
pub(crate) const DISABLED: &str = "webhooks.endpoint.disabled";

/// A test message; only the endpoint that it is about gets it, whatever its patterns are.
pub(crate) const TESTED: &str = "webhooks.endpoint.tested";

const MOST: usize = 50;
const LONGEST: usize = 100;

/// What a pattern looks like, for the document.
pub(crate) enum Pattern {}

impl utoipa::PartialSchema for Pattern {
    fn schema() -> RefOr<Schema> {
        let text = ObjectBuilder::new().schema_type(Type::String).min_length(Some(1)).max_length(Some(LONGEST));
        text.pattern(Some("^[a-z0-9_.]*[*]?$")).into()
    }
}
impl utoipa::ToSchema for Pattern {
    fn name() -> Cow<'static, str> {
        "WebhookEventPattern".into()
    }
}

/// Says whether events of this type may be sent out at all.
pub(crate) fn may_leave(kind: &str) -> bool {
    LEAVES.contains(&kind) || !STAYS.iter().any(|group| kind.starts_with(group))
}

/// Says whether one of the patterns means this type; no pattern means all.
pub(crate) fn wanted(patterns: &[String], kind: &str) -> bool {
    patterns.is_empty()
        || patterns.iter().any(|pattern| match pattern.strip_suffix('*') {
            Some(beginning) => kind.starts_with(beginning),
            None => pattern == kind,
        })
}

/// Checks the patterns that somebody sent, and puts them in order.
pub(crate) fn checked(mut patterns: Vec<String>) -> Result<Vec<String>> {
    let wrong = |why: String| Error::invalid("request.invalid_body", "the body is not valid").field("events", why);
    if patterns.len() > MOST {
        return Err(wrong(format!("must be at most {MOST} types")));
    }
    for pattern in &patterns {
        let name = pattern.strip_suffix('*').unwrap_or(pattern);
        let letters = name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'.'));
        if pattern.is_empty() || pattern.len() > LONGEST || !letters {
            let known: String = pattern.chars().take(LONGEST).collect();
            return Err(wrong(format!(
                "{known:?} is not a type such as inventory.item.created, nor the beginning of one followed by *"
            )));
        }
    }
    patterns.sort();
    patterns.dedup();
    Ok(patterns)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patterns(list: &[&str]) -> Vec<String> {
        list.iter().map(|pattern| (*pattern).to_owned()).collect()
    }

    #[test]
    fn a_pattern_means_a_type_or_all_that_begin_so() {
        for (list, kind, expected) in [
            (&[][..], "inventory.item.created", true),
            (&["*"], "inventory.item.created", true),
            (&["inventory.item.created"], "inventory.item.created", true),
            (&["inventory.item.created"], "inventory.item.created2", false),
            (&["inventory.*"], "inventory.item.created", true),
            (&["inventory.*"], "inventory2.item.created", false),
            (&["inventory.item.adj*", "tenants.*"], "inventory.item.adjusted", true),
            (&["tenants.*"], "inventory.item.created", false),
        ] {
            assert_eq!(wanted(&patterns(list), kind), expected, "{list:?} {kind}");
        }
    }

    #[test]
    fn what_cannot_be_a_pattern_is_refused() {
        for bad in ["", "inventory.*.created", "Inventory.item", "a b", "*.*", "é", &"a".repeat(101)] {
            assert!(checked(patterns(&[bad])).is_err(), "{bad}");
        }
        assert!(checked((0..51).map(|number| format!("a{number}")).collect()).is_err());
        assert_eq!(checked(patterns(&["b.*", "a.b", "b.*"])).expect("sound"), ["a.b", "b.*"]);
    }

    #[test]
    fn audit_of_signing_in_stays_in_the_house() {
        for kind in ["identity.sign_in.failed", "identity.session.revoked", "webhooks.endpoint.updated"] {
            assert!(!may_leave(kind), "{kind}");
        }
        for kind in ["inventory.item.created", "identity.user.created", "tenants.tenant.updated", DISABLED, TESTED] {
            assert!(may_leave(kind), "{kind}");
        }
    }
}
