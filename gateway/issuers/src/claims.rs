//! What the claims of a token must say (RFC 7519, section 4.1; RFC 8725, sections 3.8 to 3.12), compiled
//! from the configuration. Not for signatures, and not for whom the claims name: `caller` says that.

use kernel::Timestamp;
use serde_json::{Map, Value};

use crate::config::Config;
use crate::token::{Header, Why};

/// A token ends in the year 9999 at the latest; more is a mistake, such as milliseconds.
const LATEST_SECONDS: f64 = 253_402_300_799.0;

/// Why a token is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It cannot be right.
    Bad(Why),
    /// It was right.
    Expired,
}

impl From<Why> for Refusal {
    fn from(why: Why) -> Self {
        Self::Bad(why)
    }
}

/// The way to a claim: its name, or names with dots between them.
#[derive(Clone, Debug)]
pub(crate) struct Path {
    whole: Box<str>,
}

impl Path {
    /// Compiles a path; an empty one leads nowhere.
    pub(crate) fn new(text: &str) -> Option<Self> {
        (!text.is_empty()).then(|| Self { whole: text.into() })
    }

    /// Returns the claim; null counts as none.
    pub(crate) fn find<'a>(&self, claims: &'a Map<String, Value>) -> Option<&'a Value> {
        let found = match claims.get(&*self.whole) {
            // Names that are addresses have dots themselves.
            Some(value) => value,
            None => {
                let mut names = self.whole.split('.');
                let first = claims.get(names.next()?)?;
                names.try_fold(first, |value, name| value.get(name))?
            }
        };
        (!found.is_null()).then_some(found)
    }
}

/// The rules of one issuer.
pub(crate) struct Rules {
    issuer: Box<str>,
    audiences: Vec<String>,
    types: Vec<String>,
    untyped: bool,
    skew_micros: i64,
    required: Vec<Path>,
    values: Vec<(Path, Vec<String>)>,
}

impl Rules {
    /// Compiles the rules.
    pub(crate) fn new(config: &Config) -> Self {
        let kind = |name: &String| {
            let name = name.to_ascii_lowercase();
            name.strip_prefix("application/").map_or_else(|| name.clone(), str::to_owned)
        };
        Self {
            issuer: config.issuer.as_str().into(),
            audiences: config.audiences.clone(),
            types: config.types.iter().map(kind).collect(),
            untyped: config.untyped,
            skew_micros: i64::from(config.skew_seconds) * 1_000_000,
            required: config.required_claims.iter().filter_map(|path| Path::new(path)).collect(),
            values: config
                .claim_values
                .iter()
                .filter_map(|(path, values)| Some((Path::new(path)?, values.clone())))
                .collect(),
        }
    }

    /// Says whether a token of this type is one for access.
    pub(crate) fn check_type(&self, header: &Header) -> Result<(), Why> {
        match &header.kind {
            None if self.untyped => Ok(()),
            None => Err("no type"),
            Some(kind) if self.types.contains(kind) => Ok(()),
            Some(_) => Err("another type"),
        }
    }

    /// Checks the claims, and says when the token ends.
    pub(crate) fn check(&self, claims: &Map<String, Value>, now: Timestamp) -> Result<Timestamp, Refusal> {
        if claims.get("iss").and_then(Value::as_str) != Some(&*self.issuer) {
            return Err(Refusal::Bad("another issuer"));
        }
        let ours =
            |audience: &Value| audience.as_str().is_some_and(|text| self.audiences.iter().any(|own| own == text));
        let meant = match claims.get("aud") {
            Some(Value::Array(audiences)) => audiences.iter().all(Value::is_string) && audiences.iter().any(ours),
            Some(audience) => ours(audience),
            None => false,
        };
        if !meant {
            return Err(Refusal::Bad("for another audience"));
        }
        let expires = moment(claims, "exp")?.ok_or("no end")?;
        let until = Timestamp(expires.0.saturating_add(self.skew_micros));
        if until <= now {
            return Err(Refusal::Expired);
        }
        let latest = Timestamp(now.0.saturating_add(self.skew_micros));
        if moment(claims, "nbf")?.is_some_and(|from| from > latest) {
            return Err(Refusal::Bad("not good yet"));
        }
        if moment(claims, "iat")?.is_some_and(|issued| issued > latest) {
            return Err(Refusal::Bad("issued in the future"));
        }
        if !self.required.iter().all(|path| path.find(claims).is_some()) {
            return Err(Refusal::Bad("a required claim is missing"));
        }
        for (path, allowed) in &self.values {
            let is = |value: &Value| value_text(value).is_some_and(|text| allowed.contains(&text));
            let fits = match path.find(claims) {
                Some(Value::Array(values)) => values.iter().any(is),
                Some(value) => is(value),
                None => false,
            };
            if !fits {
                return Err(Refusal::Bad("a claim has another value"));
            }
        }
        Ok(until)
    }
}

/// Returns a simple value as text.
pub(crate) fn value_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) if number.is_i64() || number.is_u64() => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        _ => None,
    }
}

/// Reads a NumericDate: seconds since 1970, which may have a fraction.
fn moment(claims: &Map<String, Value>, name: &str) -> Result<Option<Timestamp>, Why> {
    let Some(value) = claims.get(name) else { return Ok(None) };
    let seconds = value.as_f64().ok_or("a time that is no number")?;
    if !(0.0..=LATEST_SECONDS).contains(&seconds) {
        return Err("a time out of all bounds");
    }
    Ok(Some(Timestamp((seconds * 1e6) as i64)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: Timestamp = Timestamp(1_800_000_000_000_000);
    const SECONDS: i64 = 1_800_000_000;

    fn config() -> Config {
        Config { issuer: "login".into(), audiences: vec!["api".into(), "other".into()], ..Config::default() }
    }

    fn check(config: &Config, name: &str, value: Value) -> Result<Timestamp, Refusal> {
        let mut claims = json!({ "iss": "login", "aud": "api", "exp": SECONDS + 60, "azp": "web", "n": 7 });
        claims[name] = value;
        let Value::Object(claims) = claims else { panic!("an object") };
        Rules::new(config).check(&claims, NOW)
    }

    #[test]
    fn good_claims_pass() {
        let config = config();
        for (name, value) in [
            ("x", json!(1)),
            ("aud", json!(["else", "other"])),
            ("exp", json!(SECONDS)),
            ("exp", json!(SECONDS - 29)),
            ("exp", json!(1_800_000_000.5)),
            ("nbf", json!(SECONDS + 30)),
            ("iat", json!(SECONDS + 30)),
            ("nbf", json!(0)),
        ] {
            assert!(check(&config, name, value.clone()).is_ok(), "{name} {value}");
        }
        assert_eq!(check(&config, "x", json!(1)), Ok(Timestamp(NOW.0 + 90_000_000)), "until the end and the skew");
    }

    #[test]
    fn each_wrong_claim_is_refused() {
        let config = config();
        for (name, value) in [
            ("iss", json!("login/")),
            ("iss", json!(["login"])),
            ("iss", Value::Null),
            ("aud", json!("ap")),
            ("aud", json!([])),
            ("aud", json!(["else"])),
            ("aud", json!(["api", 1])),
            ("aud", json!({ "api": true })),
            ("aud", Value::Null),
            ("exp", Value::Null),
            ("exp", json!((SECONDS + 60).to_string())),
            ("exp", json!(true)),
            ("exp", json!(-1)),
            ("exp", json!(1e300)),
            ("exp", json!((SECONDS + 60) * 1000)),
            ("nbf", json!(SECONDS + 31)),
            ("nbf", json!("soon")),
            ("nbf", Value::Null),
            ("iat", json!(SECONDS + 31)),
            ("iat", json!([])),
        ] {
            assert!(matches!(check(&config, name, value.clone()), Err(Refusal::Bad(_))), "{name} {value}");
        }
        for ended in [json!(SECONDS - 30), json!(1), json!(0)] {
            assert_eq!(check(&config, "exp", ended), Err(Refusal::Expired));
        }
    }

    #[test]
    fn an_operator_may_ask_for_more() {
        let required = |path: &str| Config { required_claims: vec![path.to_owned()], ..config() };
        assert!(check(&required("org.id"), "org", json!({ "id": 1 })).is_ok());
        assert!(check(&required("https://x.example/a"), "https://x.example/a", json!(1)).is_ok());
        for missing in [json!({}), json!({ "id": null }), json!("id"), json!([{ "id": 1 }])] {
            assert!(check(&required("org.id"), "org", missing).is_err());
        }
        let values = |path: &str, value: &str| Config {
            claim_values: [(path.to_owned(), vec!["first".to_owned(), value.to_owned()])].into(),
            ..config()
        };
        assert!(check(&values("azp", "web"), "x", json!(1)).is_ok());
        assert!(check(&values("n", "7"), "x", json!(1)).is_ok());
        assert!(check(&values("azp", "web"), "azp", json!(["a", "web"])).is_ok());
        for other in [json!("webb"), json!(["a"]), json!({ "web": 1 }), Value::Null] {
            assert!(check(&values("azp", "web"), "azp", other).is_err());
        }
    }

    #[test]
    fn types_are_compared_as_media_types() {
        let kind = |kind: Option<&str>| Header {
            algorithm: jsonwebtoken::Algorithm::ES256,
            kind: kind.map(str::to_owned),
            key_id: None,
        };
        let strict = Rules::new(&Config { types: vec!["application/AT+JWT".into()], ..config() });
        assert!(strict.check_type(&kind(Some("at+jwt"))).is_ok());
        assert!(strict.check_type(&kind(Some("jwt"))).is_err() && strict.check_type(&kind(None)).is_err());
        assert!(Rules::new(&Config { untyped: true, ..config() }).check_type(&kind(None)).is_ok());
        assert!(Rules::new(&config()).check_type(&kind(Some("jwt"))).is_ok());
        assert!(Rules::new(&config()).check_type(&kind(Some("dpop+jwt"))).is_err());
    }
}
