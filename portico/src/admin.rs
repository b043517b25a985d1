//! `portico admin`: what whoever runs the installation does by hand. With a server running it asks
//! the server; otherwise it works on the data itself. Not for tenants' administrators.

use kernel::{Clock, Error, Result};
use serde_json::json;

use crate::config::Config;
use crate::data_folder::DataFolder;
use crate::{http_client, operator, serve, services};

/// Makes a one-use sign-in code for an administrator of the organisation.
pub(crate) async fn sign_in(config: &Config, organization: &str) -> Result<String> {
    let folder = DataFolder::open(&config.data_dir)?;
    let mut address = config.server.listen;
    let (code, expires_at) = match folder.holder().and_then(|holder| holder.address) {
        Some(running) => {
            address = running;
            let token = match config.operator.token.as_str() {
                "" => folder.operator_token()?,
                token => token.to_owned(),
            };
            let wanted = json!({ "organization": organization });
            let (status, answer) = http_client::post(address, operator::SIGN_IN_CODES, &token, &wanted).await?;
            if status != 201 {
                let detail = answer["detail"].as_str().unwrap_or("it did not say why");
                return Err(Error::conflict("server.refused", format!("the running server refused: {detail}")));
            }
            let text = |name: &str| answer[name].as_str().unwrap_or_default().to_owned();
            (text("code"), text("expiresAt"))
        }
        None => {
            let _lock = folder.lock()?;
            let store = serve::open_store(config, &services::described(), &Clock::system()).await?;
            let made = identity::create_sign_in_code(&store, organization).await;
            store.close().await;
            let made = made?;
            (made.code, made.expires_at.to_string())
        }
    };
    Ok(sign_in_text(&code, &expires_at, address))
}

/// Returns what a person is shown with a code.
pub(crate) fn sign_in_text(code: &str, expires_at: &str, address: std::net::SocketAddr) -> String {
    format!(
        "One-use sign-in code, until {expires_at}:\n\n  {code}\n\nExchange it for a bearer token:\n\n  curl -s \
         http://{address}/api/auth/login -H 'content-type: application/json' -d '{{\"code\":\"{code}\"}}'\n"
    )
}
