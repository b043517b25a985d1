//! Judges tokens for `cargo xtask conformance jwt`: the first line of the input has the issuers and the
//! time, each further line a token; each line of the output is a verdict. Not for production.

use std::io::{BufRead as _, Write as _};

use issuers::{Config, Issuers};
use kernel::{Clock, Timestamp};
use serde::Deserialize;
use serde_json::json;
use tokio::runtime::Handle;

#[derive(Deserialize)]
struct Setting {
    issuers: Vec<Config>,
    /// Seconds since 1970.
    now: i64,
}

#[derive(Deserialize)]
struct Case {
    token: String,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut lines = std::io::stdin().lock().lines();
    let first = lines.next().ok_or("the input has no first line")??;
    let Setting { issuers, now } = serde_json::from_str(&first)?;
    let clock = Clock::manual(Timestamp(now * 1_000_000));
    let issuers = Issuers::build(&issuers, None, &Handle::current(), clock)?;
    for line in lines {
        let case: Case = serde_json::from_str(&line?)?;
        let verdict = match issuers.check(&case.token).await {
            Ok(caller) => json!({
                "code": "",
                "issuer": &*caller.issuer,
                "subject": &*caller.subject,
                "tenant": caller.tenant_name.as_deref(),
                "roles": caller.roles.iter().map(|role| &**role).collect::<Vec<_>>(),
                "permissions": caller.permissions.iter().collect::<Vec<_>>(),
                "key": caller.key_id.as_deref(),
                "until": caller.until.seconds(),
            }),
            Err(error) => json!({ "code": error.code(), "status": error.status(), "why": error.to_string() }),
        };
        writeln!(std::io::stdout(), "{verdict}")?;
        std::io::stdout().flush()?;
    }
    Ok(())
}
