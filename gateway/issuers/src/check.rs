//! Whether what an operator says of issuers can be right. Not for servers that are away: they may come
//! back.

use std::collections::BTreeSet;

use jsonwebtoken::Algorithm;
use kernel::Result;

use crate::config::Config;
use crate::location::Location;

/// The shortest secret for HS256 (RFC 7518, section 3.2).
const SECRET_BYTES: usize = 32;

/// Says what is wrong with a list of issuers.
pub fn check(issuers: &[Config]) -> Result<()> {
    let (mut names, mut issued) = (BTreeSet::new(), BTreeSet::new());
    for config in issuers {
        config.check()?;
        if !names.insert(&config.name) {
            return Err(config.wrong("name", "another issuer has it too"));
        }
        if !issued.insert(&config.issuer) {
            return Err(config.wrong("issuer", "another entry has it too, so nobody could say whose a token is"));
        }
    }
    Ok(())
}

impl Config {
    /// Says what is wrong with it.
    pub fn check(&self) -> Result<()> {
        let plain = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_' | '.');
        if self.name.is_empty() || self.name.len() > 64 || !self.name.chars().all(plain) {
            return Err(self.wrong("name", "it must have 1 to 64 letters, digits, '-', '_' or '.'"));
        }
        if self.issuer.is_empty() {
            return Err(self.wrong("issuer", "it is missing; it is what tokens say in `iss`"));
        }
        if self.audiences.is_empty() || self.audiences.iter().any(String::is_empty) {
            return Err(self.wrong("audiences", "name at least one: a token for somebody else must not work here"));
        }
        self.check_keys()?;
        if self.types.is_empty() && !self.untyped {
            return Err(self.wrong("types", "without a type and without `untyped` no token is accepted"));
        }
        if self.skew_seconds > 60 {
            return Err(self.wrong("skew_seconds", "it may be 60 at most"));
        }
        if self.claims.subject.is_empty() {
            return Err(self.wrong("claims.subject", "it is missing"));
        }
        if self.claims.tenant.is_empty() && self.claims.fixed_tenant.is_empty() {
            return Err(self.wrong("claims.tenant", "name the claim, or a `fixed_tenant`"));
        }
        if self.claim_values.values().any(Vec::is_empty) {
            return Err(self.wrong("claim_values", "a claim without an allowed value refuses every token"));
        }
        for (key, value) in [
            ("refresh_seconds", u64::from(self.refresh_seconds)),
            ("refetch_window_ms", self.refetch_window_ms),
            ("fetch_timeout_ms", self.fetch_timeout_ms),
        ] {
            if value == 0 {
                return Err(self.wrong(key, "it must be more than 0"));
            }
        }
        Ok(())
    }

    fn check_keys(&self) -> Result<()> {
        let secret = !self.secret.0.is_empty();
        let sources = [self.discover, !self.jwks_url.is_empty(), !self.jwks_file.as_os_str().is_empty(), secret];
        if sources.iter().filter(|given| **given).count() != 1 {
            return Err(self.wrong("jwks_url", "give one of `discover`, `jwks_url`, `jwks_file` and `secret`"));
        }
        if secret && self.secret.0.len() < SECRET_BYTES {
            return Err(self.wrong("secret", "HS256 needs at least 32 bytes"));
        }
        // A key that is public must never be taken for a secret (RFC 8725, section 2.1).
        if let Some(wrong) = self.algorithms.iter().find(|algorithm| symmetric(**algorithm) != secret) {
            let why = if secret { "a secret is for HS256 only" } else { "it needs a `secret`, not published keys" };
            return Err(self.wrong("algorithms", &format!("{wrong:?}: {why}")));
        }
        if secret && self.algorithms.iter().any(|algorithm| *algorithm != Algorithm::HS256) {
            return Err(self.wrong("algorithms", "a secret is for HS256 only"));
        }
        for (key, url) in [("jwks_url", self.jwks_url.as_str()), ("issuer", self.issuer.as_str())] {
            let used = if key == "issuer" { self.discover } else { !url.is_empty() };
            if used {
                Location::parse(url, self.plain_http).map_err(|why| self.wrong(key, &why))?;
            }
        }
        Ok(())
    }
}

fn symmetric(algorithm: Algorithm) -> bool {
    matches!(algorithm, Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Claims, Secret};

    fn good() -> Config {
        Config {
            name: "login".into(),
            issuer: "https://login.example".into(),
            audiences: vec!["api".into()],
            jwks_url: "https://login.example/keys".into(),
            ..Config::default()
        }
    }

    fn secret() -> Config {
        Config { jwks_url: String::new(), secret: Secret("0123456789abcdef0123456789abcdef".into()), ..good() }
    }

    #[test]
    fn what_can_be_right_passes() {
        check(&[good()]).expect("good");
        check(&[Config { jwks_url: String::new(), discover: true, ..good() }]).expect("discovery");
        check(&[secret()]).expect("a secret");
        check(&[Config { jwks_url: "http://127.0.0.1:1/keys".into(), ..good() }]).expect("this machine");
        check(&[Config { jwks_url: "http://keys.example".into(), plain_http: true, ..good() }]).expect("as told");
        let two = [good(), Config { name: "other".into(), issuer: "other".into(), ..good() }];
        check(&two).expect("two issuers");
    }

    #[test]
    fn what_cannot_be_right_is_named() {
        let tenantless = Claims { tenant: String::new(), ..Claims::default() };
        for (config, key) in [
            (Config { name: String::new(), ..good() }, "name"),
            (Config { name: "two words".into(), ..good() }, "name"),
            (Config { issuer: String::new(), ..good() }, "issuer"),
            (Config { audiences: vec![], ..good() }, "audiences"),
            (Config { audiences: vec![String::new()], ..good() }, "audiences"),
            (Config { jwks_url: String::new(), ..good() }, "give one of"),
            (Config { discover: true, ..good() }, "give one of"),
            (Config { secret: secret().secret, ..good() }, "give one of"),
            (Config { secret: Secret("short".into()), ..secret() }, "secret"),
            (Config { algorithms: vec![Algorithm::HS256], ..good() }, "algorithms"),
            (Config { algorithms: vec![Algorithm::RS256], ..secret() }, "algorithms"),
            (Config { algorithms: vec![Algorithm::HS512], ..secret() }, "algorithms"),
            (Config { jwks_url: "http://keys.example/".into(), ..good() }, "plain_http"),
            (Config { jwks_url: "ftp://keys.example/".into(), ..good() }, "jwks_url"),
            (Config { jwks_url: "keys".into(), ..good() }, "jwks_url"),
            (Config { jwks_url: String::new(), discover: true, issuer: "login".into(), ..good() }, "issuer"),
            (Config { types: vec![], ..good() }, "types"),
            (Config { skew_seconds: 61, ..good() }, "skew_seconds"),
            (Config { claims: tenantless, ..good() }, "claims.tenant"),
            (Config { claim_values: [("azp".to_owned(), vec![])].into(), ..good() }, "claim_values"),
            (Config { refresh_seconds: 0, ..good() }, "refresh_seconds"),
            (Config { refetch_window_ms: 0, ..good() }, "refetch_window_ms"),
        ] {
            let error = check(&[config]).expect_err(key);
            assert_eq!(error.code(), "config.invalid");
            assert!(error.message().contains(key), "{key} is not in {}", error.message());
        }
        let renamed = Config { name: "other".into(), ..good() };
        assert!(check(&[good(), renamed]).expect_err("issuer").message().contains("issuer"));
        let again = Config { issuer: "other".into(), ..good() };
        assert!(check(&[good(), again]).expect_err("name").message().contains("name"));
    }

    #[test]
    fn a_file_is_read_and_its_secret_is_not_shown() {
        let text = r#"
            name = "login"
            issuer = "https://login.example"
            audiences = ["api"]
            secret = "0123456789abcdef0123456789abcdef"
            algorithms = ["HS256"]
            [claims]
            tenant = "org.id"
            [scope_permissions]
            "read:items" = ["items.read"]
        "#;
        let config: Config = toml::from_str(text).expect("read");
        config.check().expect("good");
        assert_eq!(config.claims.tenant, "org.id");
        assert_eq!(config.claims.subject, "sub", "the others keep their defaults");
        assert!(!format!("{config:?}").contains("0123456789"));
        assert!(toml::from_str::<Config>("surprise = 1").is_err());
        assert!(toml::from_str::<Config>("algorithms = [\"none\"]").is_err());
    }
}
