//! Where an issuer's key set is read: an address, a file, or what its discovery document says. Not for
//! when it is read, nor for what is in it.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use kernel::Result;
use serde_json::Value;
use tokio::io::AsyncReadExt as _;

use crate::config::Config;
use crate::fetch::Fetcher;
use crate::json;
use crate::location::Location;

/// The largest JWK Set, and the largest discovery document, in bytes.
const SET_BYTES: usize = 512 << 10;
const DISCOVERY_BYTES: usize = 64 << 10;

enum Place {
    Url(Location),
    File(PathBuf),
    /// Where the discovery document is, and where it last said that the keys are.
    Discovered {
        document: Location,
        keys: Mutex<Option<Location>>,
    },
}

/// Where keys come from.
pub(crate) struct Origin {
    place: Place,
    fetcher: Fetcher,
    issuer: Box<str>,
    plain_http: bool,
}

impl Origin {
    /// Returns where the keys of an issuer come from; a secret comes from nowhere.
    pub(crate) fn of(config: &Config) -> Result<Option<Self>> {
        let at = |key: &str, address: &str| {
            Location::parse(address, config.plain_http).map_err(|why| config.wrong(key, &why))
        };
        let place = if config.discover {
            let address = format!("{}/.well-known/openid-configuration", config.issuer.trim_end_matches('/'));
            Place::Discovered { document: at("issuer", &address)?, keys: Mutex::new(None) }
        } else if !config.jwks_url.is_empty() {
            Place::Url(at("jwks_url", &config.jwks_url)?)
        } else if !config.jwks_file.as_os_str().is_empty() {
            Place::File(config.jwks_file.clone())
        } else {
            return Ok(None);
        };
        let fetcher = Fetcher::new(&config.certificate_file, config.fetch_timeout())
            .map_err(|why| config.wrong("certificate_file", &why))?;
        Ok(Some(Self { place, fetcher, issuer: config.issuer.as_str().into(), plain_http: config.plain_http }))
    }

    /// Says whether it is a file.
    pub(crate) fn is_file(&self) -> bool {
        matches!(self.place, Place::File(_))
    }

    /// Reads a file at once, for the start.
    pub(crate) fn read_now(&self) -> Result<Bytes, String> {
        match &self.place {
            Place::File(file) => std::fs::read(file).map(Bytes::from).map_err(|error| error.to_string()),
            _ => Err("it is not a file".into()),
        }
    }

    /// Reads the document with the keys; `anew` also asks again where it is.
    pub(crate) async fn load(&self, anew: bool) -> Result<Bytes, String> {
        match &self.place {
            Place::Url(url) => self.fetcher.get(url, SET_BYTES).await,
            Place::File(file) => {
                let mut bytes = Vec::new();
                let opened = tokio::fs::File::open(file).await.map_err(|error| error.to_string())?;
                let mut limited = opened.take(SET_BYTES as u64 + 1);
                limited.read_to_end(&mut bytes).await.map_err(|error| error.to_string())?;
                if bytes.len() > SET_BYTES { Err("the file is too long".into()) } else { Ok(bytes.into()) }
            }
            Place::Discovered { document, keys } => {
                let known =
                    || -> MutexGuard<'_, Option<Location>> { keys.lock().unwrap_or_else(PoisonError::into_inner) };
                let location = known().clone().filter(|_| !anew);
                let location = match location {
                    Some(location) => location,
                    None => {
                        let found = self.discover(document).await?;
                        *known() = Some(found.clone());
                        found
                    }
                };
                self.fetcher.get(&location, SET_BYTES).await
            }
        }
    }

    /// Asks where the keys are (OpenID Connect Discovery 1.0, section 4).
    async fn discover(&self, document: &Location) -> Result<Location, String> {
        let bytes = self.fetcher.get(document, DISCOVERY_BYTES).await?;
        let found = json::object(&bytes).ok_or("the discovery document is not a JSON object with unique members")?;
        // Section 4.3: it must name the very issuer, or it is somebody else's document.
        if found.get("issuer").and_then(Value::as_str) != Some(&*self.issuer) {
            return Err("the discovery document is of another issuer".into());
        }
        let keys = found.get("jwks_uri").and_then(Value::as_str).ok_or("the discovery document has no `jwks_uri`")?;
        let location = Location::parse(keys, self.plain_http)?;
        // What was found over TLS is not given up for less.
        if document.tls() && !location.tls() {
            return Err("the discovery document leads away from TLS".into());
        }
        Ok(location)
    }
}
