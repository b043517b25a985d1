//! What of a tenant can be set, each with its rule, and the difference that setting it makes. Not
//! for what the settings do: calendars, prices and quotas look at them elsewhere.

use kernel::Text;
use serde::Deserialize;
use serde_json::{Map, json};
use store::{TenantChange, TenantRecord};
use utoipa::ToSchema;

use crate::change::Decision;

/// An IANA time zone by its shape: `UTC`, or `Area/Place` in the spelling of the database.
// Whether there is such a place is not asked: jiff is built without a time zone database.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(try_from = "String")]
#[schema(value_type = String, examples("Europe/Copenhagen"), max_length = 64, pattern = "^(UTC|[A-Z][A-Za-z0-9_+-]{0,19}(/[A-Z][A-Za-z0-9_+-]{0,19}){1,2})$")]
pub(crate) struct TimeZone(String);

impl TryFrom<String> for TimeZone {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'+' | b'-');
        let name = |part: &str| {
            part.len() <= 20 && part.starts_with(|first: char| first.is_ascii_uppercase()) && part.bytes().all(letter)
        };
        let sound = text == "UTC" || ((2..=3).contains(&text.split('/').count()) && text.split('/').all(name));
        if sound { Ok(Self(text)) } else { Err("must be an IANA time zone, such as UTC or Europe/Copenhagen") }
    }
}

/// An ISO 4217 currency by its shape: three capital letters.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(try_from = "String")]
#[schema(value_type = String, examples("EUR"), pattern = "^[A-Z]{3}$")]
pub(crate) struct Currency(String);

impl TryFrom<String> for Currency {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let sound = text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_uppercase());
        if sound { Ok(Self(text)) } else { Err("must be an ISO 4217 currency, such as EUR") }
    }
}

/// The name of a plan: 1 to 40 of `a-z`, `0-9` and `-`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(try_from = "String")]
#[schema(value_type = String, examples("free"), pattern = "^[a-z0-9-]{1,40}$")]
pub(crate) struct PlanName(String);

impl TryFrom<String> for PlanName {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        if is_short_name(&text) { Ok(Self(text)) } else { Err("must have 1 to 40 of a-z, 0-9 and -") }
    }
}

impl From<TimeZone> for String {
    fn from(zone: TimeZone) -> Self {
        zone.0
    }
}

impl From<Currency> for String {
    fn from(currency: Currency) -> Self {
        currency.0
    }
}

impl From<PlanName> for String {
    fn from(plan: PlanName) -> Self {
        plan.0
    }
}

/// Says whether text could be a plan or the beginning of a slug.
pub(crate) fn is_short_name(text: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=40).contains(&text.len()) && text.bytes().all(letter)
}

/// What is to be set; what is `None` stays.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    pub name: Option<Text<100>>,
    pub time_zone: Option<TimeZone>,
    pub currency: Option<Currency>,
    pub plan: Option<PlanName>,
}

impl Settings {
    /// Returns what setting them changes of this tenant, if anything.
    pub(crate) fn decide(&self, tenant: &TenantRecord) -> Option<Decision> {
        let mut changed = Map::new();
        let mut differing = |field: &str, present: &str, wanted: Option<&str>| {
            let wanted = wanted.filter(|wanted| *wanted != present)?;
            changed.insert(field.to_owned(), json!({ "from": present, "to": wanted }));
            Some(wanted.to_owned())
        };
        let change = TenantChange {
            name: differing("name", &tenant.name, self.name.as_ref().map(Text::as_str)),
            time_zone: differing("timeZone", &tenant.time_zone, self.time_zone.as_ref().map(|zone| zone.0.as_str())),
            currency: differing("currency", &tenant.currency, self.currency.as_ref().map(|code| code.0.as_str())),
            plan: differing("plan", &tenant.plan, self.plan.as_ref().map(|plan| plan.0.as_str())),
            state: None,
        };
        if changed.is_empty() {
            return None;
        }
        Some(Decision { change, event: "tenants.tenant.updated", data: json!({ "changed": changed }) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_zone_has_the_shape_of_an_iana_name() {
        for sound in [
            "UTC",
            "Europe/Copenhagen",
            "America/Argentina/ComodRivadavia",
            "America/Port-au-Prince",
            "America/North_Dakota/New_Salem",
            "Etc/GMT+12",
            "Africa/Dar_es_Salaam",
        ] {
            assert!(TimeZone::try_from(sound.to_owned()).is_ok(), "{sound}");
        }
        let long = format!("Europe/{}", "X".repeat(21));
        for wrong in [
            "",
            "utc",
            "CET",
            "+01:00",
            "Europe",
            "Europe/",
            "/Europe",
            "europe/paris",
            "Europe/Paris/A/B",
            "Europe//Paris",
            "../etc/passwd",
            "Europe/Pa ris",
            "Europe/Paris\n",
            "Europe/Århus",
            &long,
        ] {
            assert!(TimeZone::try_from(wrong.to_owned()).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn currencies_and_plans_are_short_names() {
        for wrong in ["", "eur", "EURO", "EU", "E1R", "ÄÖÜ", "EUR ", "€"] {
            assert!(Currency::try_from(wrong.to_owned()).is_err(), "{wrong:?}");
        }
        assert!(Currency::try_from("XOF".to_owned()).is_ok());
        for wrong in ["", "Free", "a b", "a_b", "%", &"x".repeat(41)] {
            assert!(PlanName::try_from(wrong.to_owned()).is_err(), "{wrong:?}");
        }
        assert!(PlanName::try_from("team-2026".to_owned()).is_ok());
    }
}
