//! `portico admin`: what whoever runs the installation does by hand. With a server running it asks
//! the server; otherwise it works on the data itself. Not for tenants' administrators.

use std::net::SocketAddr;
use std::sync::Arc;

use identity::Identity;
use kernel::{Clock, Error, Result, Timestamp, UserId};
use serde::Serialize;
use serde_json::Value;
use store::Store;

use crate::config::Config;
use crate::data_folder::{DataFolder, Lock};
use crate::mail::Post;
use crate::operator::{self, PlatformRole, Rotation, WantedCode};
use crate::people;
use crate::{http_client, serve, services};

/// Where the work is done.
pub(crate) enum Place {
    Server(SocketAddr),
    Data(Store, DataFolder, Lock),
}

impl Place {
    pub(crate) async fn find(config: &Config) -> Result<Self> {
        let folder = DataFolder::open(&config.data_dir)?;
        if let Some(address) = folder.holder().and_then(|holder| holder.address) {
            return Ok(Self::Server(address));
        }
        let lock = folder.lock()?;
        let store = serve::open_store(config, &services::described(), &Clock::system()).await?;
        Ok(Self::Data(store, folder, lock))
    }
}

/// Asks the running server; gives what it answered.
pub(crate) async fn ask(config: &Config, address: SocketAddr, path: &str, wanted: &impl Serialize) -> Result<Value> {
    let wanted = serde_json::to_value(wanted).map_err(|error| Error::internal("a question").source_error(error))?;
    accepted(http_client::post(address, path, &token(config)?, &wanted).await?)
}

/// Looks at something that the running server has; gives what it answered.
pub(crate) async fn look(config: &Config, address: SocketAddr, path: &str) -> Result<Value> {
    accepted(http_client::get(address, path, &token(config)?).await?)
}

fn token(config: &Config) -> Result<String> {
    match config.operator.token.as_str() {
        "" => DataFolder::open(&config.data_dir)?.operator_token(),
        token => Ok(token.to_owned()),
    }
}

fn accepted((status, answer): (u16, Value)) -> Result<Value> {
    if !(200..300).contains(&status) {
        let detail = answer["detail"].as_str().unwrap_or("it did not say why");
        return Err(Error::conflict("server.refused", format!("the running server refused: {detail}")));
    }
    Ok(answer)
}

/// Makes a one-use sign-in code for an administrator of the organisation.
pub(crate) async fn sign_in(config: &Config, organization: &str) -> Result<String> {
    let (address, code, expires_at) = match Place::find(config).await? {
        Place::Server(address) => {
            let wanted = WantedCode { organization: organization.to_owned() };
            let answer = ask(config, address, operator::SIGN_IN_CODES, &wanted).await?;
            let text = |name: &str| answer[name].as_str().unwrap_or_default().to_owned();
            (address, text("code"), text("expiresAt"))
        }
        Place::Data(store, _, _lock) => {
            let made = identity::create_sign_in_code(&store, organization).await;
            store.close().await;
            let made = made?;
            (config.server.listen, made.code, made.expires_at.to_string())
        }
    };
    Ok(sign_in_text(&code, &expires_at, address))
}

/// Makes a new signing key.
pub(crate) async fn rotate_keys(config: &Config, at_once: bool, withdraw: bool) -> Result<String> {
    let signs_from = match Place::find(config).await? {
        Place::Server(address) => {
            let answer = ask(config, address, operator::SIGNING_KEYS, &Rotation { at_once, withdraw }).await?;
            answer["signsFrom"].as_str().unwrap_or_default().to_owned()
        }
        Place::Data(store, folder, _lock) => {
            let made = rotate_on(config, &store, &folder, at_once, withdraw).await;
            store.close().await;
            made?.to_string()
        }
    };
    let old = if withdraw { "work no longer: clients refresh theirs" } else { "work until they run out" };
    Ok(format!("A new key signs from {signs_from} on; tokens of older ones {old}.\n"))
}

async fn rotate_on(
    config: &Config,
    store: &Store,
    folder: &DataFolder,
    at_once: bool,
    withdraw: bool,
) -> Result<Timestamp> {
    let identity = Identity::new(config.identity.clone())?;
    let letters = Post::new(folder.letters()?, &config.mail.from, "")?;
    identity.open(store, people::vault(config, folder)?, Arc::new(letters)).await?;
    identity.rotate_keys(store, at_once, withdraw).await
}

/// Removes what a lost master key had sealed.
pub(crate) async fn forget_secrets(config: &Config, yes: bool) -> Result<String> {
    if !yes {
        let message = "this removes all signing keys and ends all sessions; add --yes to do it";
        return Err(Error::invalid("server.not_confirmed", message));
    }
    let Place::Data(store, _, _lock) = Place::find(config).await? else {
        return Err(Error::conflict("server.data_folder_in_use", "a server is running: stop it first"));
    };
    let removed = identity::forget_secrets(&store).await;
    store.close().await;
    Ok(format!("{} signing keys and sessions removed; the next start makes a new key.\n", removed?))
}

/// Gives a person the platform role, or takes it away.
pub(crate) async fn superadmin(config: &Config, user: UserId, superadmin: bool) -> Result<String> {
    match Place::find(config).await? {
        Place::Server(address) => {
            let wanted = PlatformRole { user, superadmin };
            ask(config, address, operator::SUPERADMINS, &wanted).await?;
        }
        Place::Data(store, _, _lock) => {
            let changed = identity::set_superadmin(&store, user, superadmin).await;
            store.close().await;
            changed?;
        }
    }
    let what = if superadmin { "is a superadmin now" } else { "is no superadmin any more" };
    Ok(format!("{user} {what}.\n"))
}

/// Returns what a person is shown with a code.
pub(crate) fn sign_in_text(code: &str, expires_at: &str, address: SocketAddr) -> String {
    format!(
        "One-use sign-in code, until {expires_at}:\n\n  {code}\n\nExchange it for an access token:\n\n  curl -s \
         http://{address}/api/auth/login -H 'content-type: application/json' -d '{{\"code\":\"{code}\"}}'\n"
    )
}
