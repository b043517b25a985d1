//! The etcd that the tests of discovery start for themselves.
//!
//! For: having the program on the PATH. Not for: starting it; each test starts its own, and one that
//! finds none says so and passes.

use std::process::Command;

use crate::workspace::{self, Outcome};

/// Finds the program, or installs it.
pub fn find_or_fetch() -> Outcome {
    if workspace::on_path("etcd").is_some() {
        return Ok(());
    }
    if workspace::quiet_output(Command::new("id").arg("-u")).as_deref().map(str::trim) != Some("0") {
        return Err("there is no etcd on the PATH, and installing it needs root".into());
    }
    workspace::install_with_apt("etcd-server")
        .map_err(|reason| format!("there is no etcd on the PATH; apt: {reason}"))?;
    workspace::on_path("etcd").map(drop).ok_or_else(|| "installed, yet there is no etcd on the PATH".into())
}
