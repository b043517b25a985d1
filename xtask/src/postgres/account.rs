//! The unprivileged account that the server runs under when we are root.
//!
//! For: PostgreSQL refuses to run as root, and containers often are root. Not for: anything else
//! that drops privileges.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use crate::workspace::{self, Outcome};

/// A user and a group of this machine.
#[derive(Clone, Copy, Debug)]
pub struct Account {
    user: u32,
    group: u32,
}

impl Account {
    /// Returns the account to change to, or nothing when we are not root.
    pub fn for_server() -> Outcome<Option<Self>> {
        let own = id(&["-u"]).ok_or("cannot tell the user: `id -u` does not work")?;
        if own != 0 {
            return Ok(None);
        }
        // `postgres` comes with the distribution's server; `nobody` is everywhere.
        for name in ["postgres", "nobody"] {
            if let (Some(user), Some(group)) = (id(&["-u", name]), id(&["-g", name]))
                && user != 0
            {
                return Ok(Some(Self { user, group }));
            }
        }
        Err("PostgreSQL will not run as root, and there is neither a user `postgres` nor `nobody` \
             to change to; run this as an ordinary user"
            .into())
    }

    /// Makes a program start under this account, without any of root's groups.
    pub fn apply(self, command: &mut Command) {
        // For root, std also empties the list of supplementary groups.
        command.uid(self.user).gid(self.group);
    }

    /// Gives a file or folder to this account.
    pub fn own(self, path: &Path) -> std::io::Result<()> {
        std::os::unix::fs::chown(path, Some(self.user), Some(self.group))
    }
}

fn id(arguments: &[&str]) -> Option<u32> {
    workspace::quiet_output(Command::new("id").args(arguments))?.trim().parse().ok()
}
