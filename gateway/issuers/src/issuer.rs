//! One issuer: its keys, its rules, and the walk of a token through both. Not for choosing the issuer.

use std::sync::Arc;
use std::time::Instant;

use kernel::{Clock, Error, Result};

use crate::caller::{Caller, Mapping};
use crate::claims::{Refusal, Rules};
use crate::config::Config;
use crate::keys::{Found, KeySet};
use crate::source::Source;
use crate::token::{Header, Parts};

/// One issuer, compiled.
pub(crate) struct Issuer {
    pub name: Arc<str>,
    pub source: Arc<Source>,
    rules: Rules,
    mapping: Mapping,
}

/// How a signature was found.
enum Signature {
    /// By the key of this name.
    Good(Option<Arc<str>>),
    Bad(&'static str),
    /// No key of the set has the token's name for it.
    Unknown,
}

impl Issuer {
    /// Compiles an issuer onto the keys that are kept for it.
    pub(crate) fn new(config: &Config, source: Arc<Source>) -> Self {
        Self { name: config.name.as_str().into(), source, rules: Rules::new(config), mapping: Mapping::new(config) }
    }

    /// Checks a token that names this issuer.
    pub(crate) async fn check(&self, parts: &Parts<'_>, clock: &Clock) -> Result<Caller> {
        let header = parts.header().map_err(|why| self.refuse(Refusal::Bad(why)))?;
        self.rules.check_type(&header).map_err(|why| self.refuse(Refusal::Bad(why)))?;
        let key_id = self.verify(&header, parts, clock).await?;
        // Only now is it worth reading.
        let claims = parts.claims().map_err(|why| self.refuse(Refusal::Bad(why)))?;
        let until = self.rules.check(&claims, clock.now()).map_err(|refusal| self.refuse(refusal))?;
        let caller = self.mapping.caller(&claims, until, key_id.as_deref());
        caller.map_err(|why| self.refuse(Refusal::Bad(why)))
    }

    /// Finds the key that signed the token, and waits for the issuer if it is a new one.
    async fn verify(&self, header: &Header, parts: &Parts<'_>, clock: &Clock) -> Result<Option<Arc<str>>> {
        let arrived = Instant::now();
        let mut last = false;
        loop {
            let (name, found) = match self.source.held(clock.now()) {
                Some(held) => (header.key_id.as_deref(), signature(&held.set, header, parts)),
                // Any key would be news.
                None => (None, Signature::Unknown),
            };
            match found {
                Signature::Good(key_id) => return Ok(key_id),
                Signature::Bad(why) => return Err(self.refuse(Refusal::Bad(why))),
                Signature::Unknown if last => return Err(self.refuse(Refusal::Bad("signed with an unknown key"))),
                Signature::Unknown => {}
            }
            // When the answer is final, a fetch may have ended since the set was looked at: look once more.
            last = !self.source.look_again(name, arrived).await?;
        }
    }

    fn refuse(&self, refusal: Refusal) -> Error {
        self.source.count_refused();
        match refusal {
            Refusal::Bad(why) => invalid(why).context(format!("issuer {}", self.name)),
            Refusal::Expired => Error::unauthenticated("gateway.token_expired", "the access token has expired")
                .context(format!("issuer {}", self.name)),
        }
    }
}

fn signature(set: &KeySet, header: &Header, parts: &Parts<'_>) -> Signature {
    match set.find(header) {
        Found::Unknown => Signature::Unknown,
        Found::Otherwise => Signature::Bad("signed with an algorithm that is not its key's"),
        Found::These(keys) => match keys.into_iter().find(|key| key.signed(parts.signed, parts.signature)) {
            Some(key) => Signature::Good(key.id().map(Into::into)),
            None => Signature::Bad("the signature is wrong"),
        },
    }
}

/// Returns the refusal of a token; why is for the log only.
pub(crate) fn invalid(why: &'static str) -> Error {
    Error::unauthenticated("gateway.token_invalid", "the access token is not valid here").context(why)
}
