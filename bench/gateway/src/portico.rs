//! Portico as the subject: one core, an empty SQLite store, its gateway.toml from
//! `bench/gateway/peers/portico`. Not for the peers.

use std::fs;

use measure::Outcome;

use crate::peers::{Peer, Place, Running};
use crate::process::Process;

/// Starts it.
pub fn start(place: &Place<'_>) -> Outcome<Running> {
    let file = place.write("portico", &format!("{}.toml", place.shape.name()), "gateway.toml")?;
    let ground = place.ground;
    let data = place.folder.join("data");
    fs::create_dir_all(&data)?;
    let mut command = ground.cores.alone(&ground.portico);
    command.args(["serve", "--listen", &place.address.to_string(), "--data-dir"]).arg(&data);
    // No access log, as with the others; as many verified tokens as those keep that keep any.
    command.args(["--set", "server.cores=1", "--set", "log.filter=\"warn\"", "--set", "gateway.watch_ms=0"]);
    command
        .args(["--set", "server.token_cache_entries=1000"])
        .arg("--set")
        .arg(format!("gateway.file=\"{}\"", file.display()));
    command.env("NO_COLOR", "1").current_dir(place.folder);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("PORTICO_") {
            command.env_remove(name);
        }
    }
    let process = Process::start(Peer::Portico.name(), command, place.folder)?;
    process.wait_until_it_listens(place.address)?;
    Ok(Running { address: place.address, process })
}
