//! Access tokens: JWTs after RFC 9068 (`typ: at+jwt`), signed with ES256, good for minutes. Other
//! services can verify them with the JWKS alone. Not for deciding that a session still stands: the
//! authenticator asks the database for that.

use jsonwebtoken::{Algorithm, Header, Validation};
use kernel::{Error, Result, TenantId, Timestamp, UserId};
use serde::{Deserialize, Serialize};

use crate::credentials::keys::KeyRing;
use crate::settings::Settings;
use crate::tables::session::SessionId;

/// The longest token that is looked at.
const LONGEST: usize = 4096;
const TYPE: &str = "at+jwt";
/// How far ahead another node's clock may be.
const SKEW_SECONDS: i64 = 30;

/// What an access token says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Claims {
    pub iss: String,
    pub aud: String,
    pub sub: UserId,
    pub client_id: String,
    pub sid: SessionId,
    #[serde(rename = "organizationId")]
    pub organization: TenantId,
    pub role: String,
    pub jti: String,
    pub iat: i64,
    pub exp: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nbf: Option<i64>,
}

/// Whom a token is for.
pub(crate) struct Subject<'a> {
    pub user: UserId,
    pub tenant: TenantId,
    pub session: SessionId,
    pub role: &'a str,
}

/// Signs a token, and says when it runs out.
pub(crate) fn sign(
    keys: &KeyRing,
    settings: &Settings,
    subject: &Subject<'_>,
    now: Timestamp,
    not_after: Timestamp,
) -> Result<(String, Timestamp)> {
    let expires_at = now.plus(settings.access_lifetime()).min(not_after);
    let claims = Claims {
        iss: settings.issuer.clone(),
        aud: settings.audience.clone(),
        sub: subject.user,
        client_id: settings.audience.clone(),
        sid: subject.session,
        organization: subject.tenant,
        role: subject.role.to_owned(),
        jti: crate::credentials::secret::hex(&crate::credentials::secret::random::<16>()?),
        iat: now.seconds(),
        exp: expires_at.seconds(),
        nbf: None,
    };
    let signer = keys.signer(now)?;
    let mut header = Header::new(Algorithm::ES256);
    header.typ = Some(TYPE.to_owned());
    header.kid = Some(signer.kid().to_owned());
    let token = jsonwebtoken::encode(&header, &claims, signer.key()?)
        .map_err(|error| Error::internal("an access token could not be signed").source_error(error))?;
    Ok((token, Timestamp(claims.exp * 1_000_000)))
}

/// Why a token was refused; callers learn nothing of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It cannot be right.
    Bad(&'static str),
    /// Its key is not known here, or not yet.
    UnknownKey,
}

/// Reads a token and checks all that can be checked without the database.
pub(crate) fn verify(keys: &KeyRing, settings: &Settings, text: &str, now: Timestamp) -> Result<Claims, Refusal> {
    if text.len() > LONGEST {
        return Err(Refusal::Bad("too long"));
    }
    let header =
        jsonwebtoken::decode_header(text).map_err(|_| Refusal::Bad("not a JWT, or its algorithm is unknown"))?;
    // The algorithm is ours to choose, not the token's (RFC 8725, section 3.1).
    if header.alg != Algorithm::ES256 {
        return Err(Refusal::Bad("another algorithm"));
    }
    let kind = header.typ.as_deref().unwrap_or_default().to_ascii_lowercase();
    if kind.strip_prefix("application/").unwrap_or(&kind) != TYPE {
        return Err(Refusal::Bad("another type"));
    }
    // An extension that is marked as critical and not understood makes a token invalid (RFC 7515,
    // section 4.1.11), and none is understood here.
    if header.crit.is_some() {
        return Err(Refusal::Bad("a critical extension"));
    }
    let kid = header.kid.as_deref().ok_or(Refusal::Bad("no key id"))?;
    let (key, signed_until) = keys.verifier(kid, now).ok_or(Refusal::UnknownKey)?;
    let mut rules = Validation::new(Algorithm::ES256);
    rules.set_issuer(&[&settings.issuer]);
    rules.set_audience(&[&settings.audience]);
    rules.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
    // Times are compared below, on the clock that everything else here runs on.
    rules.validate_exp = false;
    rules.validate_nbf = false;
    let claims = jsonwebtoken::decode::<Claims>(text, &key, &rules)
        .map_err(|_| Refusal::Bad("signature, issuer, audience or claims"))?
        .claims;
    let seconds = now.seconds();
    if claims.exp <= seconds {
        return Err(Refusal::Bad("expired"));
    }
    if claims.iat > seconds + SKEW_SECONDS || claims.nbf.is_some_and(|from| from > seconds + SKEW_SECONDS) {
        return Err(Refusal::Bad("from the future"));
    }
    // Whoever has a key that was replaced must not go on signing with it, nor for longer than we do.
    let longest = i64::try_from(settings.access_token_seconds).unwrap_or(i64::MAX);
    if claims.exp.saturating_sub(claims.iat) > longest || claims.iat > signed_until.seconds() {
        return Err(Refusal::Bad("longer or later than its key signed"));
    }
    Ok(claims)
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::EncodingKey;
    use serde_json::{Value, json};

    use super::*;
    use crate::credentials::keys::tests::{NOW, ring};

    fn later(seconds: i64) -> Timestamp {
        Timestamp(NOW.0 + seconds * 1_000_000)
    }

    fn signed(keys: &KeyRing) -> String {
        let (user, tenant, session) = (UserId::new(), TenantId::new(), SessionId::new());
        let subject = Subject { user, tenant, session, role: "admin" };
        sign(keys, &Settings::default(), &subject, NOW, later(86_400)).expect("signs").0
    }

    fn parts(token: &str) -> (Value, Value, String) {
        use base64::Engine as _;
        let read = |text: &str| {
            let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(text).expect("base64");
            serde_json::from_slice(&bytes).expect("JSON")
        };
        let parts: Vec<&str> = token.split('.').collect();
        (read(parts[0]), read(parts[1]), parts[2].to_owned())
    }

    fn unsigned(header: &Value, claims: &Value) -> String {
        use base64::Engine as _;
        let write = |value: &Value| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(value.to_string());
        format!("{}.{}", write(header), write(claims))
    }

    /// Signs any header and claims with the real key, as a fault of ours would.
    fn forged_by_us(keys: &KeyRing, header: &Value, claims: &Value) -> String {
        let message = unsigned(header, claims);
        let signer = keys.signer(NOW).expect("a key");
        let key: &EncodingKey = signer.key().expect("private");
        let signature = jsonwebtoken::crypto::sign(message.as_bytes(), key, Algorithm::ES256).expect("signs");
        format!("{message}.{signature}")
    }

    #[test]
    fn a_token_says_who_and_where_and_runs_out() {
        let keys = ring();
        let token = signed(&keys);
        let (header, claims, _) = parts(&token);
        assert_eq!((&header["alg"], &header["typ"]), (&json!("ES256"), &json!("at+jwt")));
        assert_eq!((&claims["iss"], &claims["role"]), (&json!("portico"), &json!("admin")));
        let organization = claims["organizationId"].as_str().expect("text").parse::<TenantId>();
        assert!(organization.is_ok(), "{claims}");
        let check = |now| verify(&keys, &Settings::default(), &token, now);
        assert_eq!(check(NOW).expect("works").sub.to_string(), claims["sub"]);
        assert!(check(later(599)).is_ok());
        assert_eq!(check(later(600)), Err(Refusal::Bad("expired")));
        assert_eq!(check(later(-31)), Err(Refusal::Bad("from the future")));
    }

    #[test]
    fn what_our_own_key_signed_wrongly_is_refused_too() {
        let keys = ring();
        let (header, claims, _) = parts(&signed(&keys));
        let refused = |header: &Value, claims: &Value| {
            let token = forged_by_us(&keys, header, claims);
            verify(&keys, &Settings::default(), &token, NOW).err()
        };
        assert_eq!(refused(&header, &claims), None, "the attacks below differ from this in one thing each");
        for (name, value) in [
            ("iss", json!("somebody")),
            ("iss", Value::Null),
            ("aud", json!("another")),
            ("aud", json!([])),
            ("sub", json!("usr_nobody")),
            ("sub", Value::Null),
            ("exp", json!(NOW.seconds() - 1)),
            ("exp", json!("soon")),
            ("exp", Value::Null),
            ("iat", json!(NOW.seconds() + 31)),
            ("iat", Value::Null),
            ("iat", json!(NOW.seconds() - 1)),
            ("nbf", json!(NOW.seconds() + 31)),
            ("sid", Value::Null),
            ("organizationId", json!("*")),
        ] {
            let mut wrong = claims.clone();
            wrong[name] = value.clone();
            assert!(refused(&header, &wrong).is_some(), "{name} = {value}");
        }
        for (name, value) in [
            ("typ", json!("JWT")),
            ("typ", json!("id+jwt")),
            ("typ", Value::Null),
            ("alg", json!("HS256")),
            ("alg", json!("none")),
            ("alg", json!("ES384")),
            ("alg", Value::Null),
            ("kid", Value::Null),
            ("kid", json!("")),
            ("kid", json!("../../../dev/null")),
            ("kid", json!("' OR 1=1 --")),
            ("kid", json!(["a"])),
            ("crit", json!(["exp"])),
        ] {
            let mut wrong = header.clone();
            wrong[name] = value.clone();
            assert!(refused(&wrong, &claims).is_some(), "{name} = {value}");
        }
    }

    #[test]
    fn what_others_signed_is_refused_whatever_the_header_offers() {
        let (keys, theirs) = (ring(), ring());
        let (header, claims, signature) = parts(&signed(&keys));
        let check = |token: &str| verify(&keys, &Settings::default(), token, NOW);
        let (other_header, ..) = parts(&signed(&theirs));
        let mut with_our_kid = other_header.clone();
        with_our_kid["kid"] = header["kid"].clone();
        assert!(check(&forged_by_us(&theirs, &with_our_kid, &claims)).is_err(), "another key under our kid");
        assert_eq!(check(&forged_by_us(&theirs, &other_header, &claims)), Err(Refusal::UnknownKey));
        with_our_kid["jwk"] = theirs.jwks(NOW)["keys"][0].clone();
        with_our_kid["jku"] = json!("https://attacker.example/jwks.json");
        assert!(check(&forged_by_us(&theirs, &with_our_kid, &claims)).is_err(), "a key in the header");
        // The public key as an HMAC secret, in each form that a careless library might take.
        let jwk = &keys.jwks(NOW)["keys"][0];
        let (x, y) = (jwk["x"].as_str().expect("text"), jwk["y"].as_str().expect("text"));
        let mut hs = header.clone();
        hs["alg"] = json!("HS256");
        for secret in [jwk.to_string(), x.to_owned(), format!("{x}{y}"), String::new()] {
            let message = unsigned(&hs, &claims);
            let key = EncodingKey::from_secret(secret.as_bytes());
            let tag = jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::HS256).expect("signs");
            assert!(check(&format!("{message}.{tag}")).is_err(), "HS256 with {secret:?}");
        }
        let none = unsigned(&json!({ "alg": "none", "typ": "at+jwt", "kid": header["kid"] }), &claims);
        let message = unsigned(&header, &claims);
        let mut admin = claims.clone();
        admin["organizationId"] = json!(TenantId::new());
        for (what, token) in [
            ("alg none", format!("{none}.")),
            ("alg none with a signature", format!("{none}.{signature}")),
            ("no signature", format!("{message}.")),
            ("two parts", message.clone()),
            ("four parts", format!("{message}.{signature}.x")),
            ("another payload", format!("{}.{signature}", unsigned(&header, &admin))),
            ("a zero signature", format!("{message}.{}", "A".repeat(86))),
            ("an ASN.1 signature", format!("{message}.MEUCIQ")),
            ("huge", format!("{message}.{}", "A".repeat(5_000))),
            ("empty", String::new()),
            ("dots", "..".to_owned()),
            ("not base64", "é.é.é".to_owned()),
        ] {
            assert!(check(&token).is_err(), "{what}");
        }
        assert_eq!(check(&format!("{message}.{}", "A".repeat(5_000))), Err(Refusal::Bad("too long")));
    }
}
