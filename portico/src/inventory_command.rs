//! `portico inventory`: proves that stock agrees with its ledger. With a server running it asks the
//! server; otherwise it works on the data itself. Not for repairing: a person decides that.

use std::fmt::Write as _;
use std::process::ExitCode;

use clap::Subcommand;
use inventory::{LEDGER, Verification};
use kernel::{Error, Result};

use crate::admin::{Place, look};
use crate::config::Config;

/// What can be asked about stock.
#[derive(Debug, Subcommand)]
pub(crate) enum Inventory {
    /// Compare the stock of every item and batch with its ledger; ends with 1 where something differs
    Verify,
}

/// Does what is asked, and shows it to a person.
pub(crate) async fn run(config: &Config, command: Inventory) -> Result<ExitCode> {
    let Inventory::Verify = command;
    let found: Verification = match Place::find(config).await? {
        Place::Server(address) => {
            let other =
                "the running server answers otherwise than this version expects: use the command of its version";
            let refused = |error| Error::conflict("server.refused", other).source_error(error);
            serde_json::from_value(look(config, address, LEDGER).await?).map_err(refused)?
        }
        Place::Data(store, _, _lock) => {
            let found = inventory::verify(&store).await;
            store.close().await;
            found?
        }
    };
    print!("{}", shown(&found));
    Ok(if found.drift.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn shown(found: &Verification) -> String {
    let Verification { items, batches, movements, reservations, drift } = found;
    let mut text = format!(
        "{items} items, {batches} batches, {movements} movements and {reservations} open reservations were compared.\n"
    );
    if drift.is_empty() {
        text.push_str("Everything agrees with its ledger.\n");
    }
    for drift in drift {
        let (what, name, tenant, kept, lines) = (&drift.what, &drift.name, drift.tenant_id, drift.kept, drift.lines);
        let _ = writeln!(text, "{what} of {name:?} ({tenant}) is {kept}, its lines add up to {lines}");
    }
    text
}
