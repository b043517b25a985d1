//! The data folder: made private, locked by the server that uses it, and home of the operator
//! token, the master key and letters that wait. Not for the database's own files.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use kernel::{Error, Result};
use serde::{Deserialize, Serialize};

const LOCK: &str = "portico.lock";
const OPERATOR_TOKEN: &str = "operator.token";
const SECRETS: &str = "secrets";
const MASTER_KEY: &str = "master.key";
const LETTERS: &str = "letters";

/// A data folder.
#[derive(Clone, Debug)]
pub struct DataFolder {
    path: PathBuf,
}

/// The lock on a data folder; it is held as long as this lives.
#[derive(Debug)]
pub struct Lock {
    file: File,
}

/// The server that holds a data folder.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Holder {
    /// Its process.
    pub pid: u32,
    /// Where it listens.
    pub address: Option<SocketAddr>,
}

fn failed(what: &str, path: &Path) -> impl FnOnce(std::io::Error) -> Error {
    let message = format!("cannot {what} {}", path.display());
    move |error| Error::unavailable("server.data_folder", format!("{message}: {error}")).source_error(error)
}

impl DataFolder {
    /// Opens the folder, making it where it is missing.
    pub fn open(path: &Path) -> Result<Self> {
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
        made.map_err(failed("make the data folder", path))?;
        Ok(Self { path: path.to_owned() })
    }

    /// Takes the folder for this process alone.
    pub fn lock(&self) -> Result<Lock> {
        let path = self.path.join(LOCK);
        let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
        let file = opened.map_err(failed("open", &path))?;
        match file.try_lock() {
            Ok(()) => Ok(Lock { file }),
            Err(TryLockError::WouldBlock) => {
                let holder = self.holder().map_or(String::new(), |holder| format!(" (process {})", holder.pid));
                Err(Error::conflict(
                    "server.data_folder_in_use",
                    format!("another server{holder} uses {}: stop it first", self.path.display()),
                ))
            }
            Err(TryLockError::Error(error)) => Err(failed("lock", &path)(error)),
        }
    }

    /// Says which server holds the folder, if one does.
    pub fn holder(&self) -> Option<Holder> {
        let mut file = File::open(self.path.join(LOCK)).ok()?;
        if file.try_lock_shared().is_ok() {
            return None;
        }
        let mut text = String::new();
        file.read_to_string(&mut text).ok()?;
        serde_json::from_str(&text).ok()
    }

    /// Returns the operator token, making one at the first start.
    pub fn operator_token(&self) -> Result<String> {
        secret_in(&self.path.join(OPERATOR_TOKEN))
    }

    /// Returns the master key that secrets are sealed under, making one at the first start: 64
    /// hexadecimal digits.
    pub fn master_key(&self) -> Result<String> {
        secret_in(&self.folder(SECRETS)?.join(MASTER_KEY))
    }

    /// Returns the folder that letters are left in.
    pub fn letters(&self) -> Result<PathBuf> {
        self.folder(LETTERS)
    }

    fn folder(&self, name: &str) -> Result<PathBuf> {
        let path = self.path.join(name);
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&path);
        made.map_err(failed("make", &path))?;
        Ok(path)
    }

    /// Returns the folder's path.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Returns the secret in a file, making file and secret where they are missing.
fn secret_in(path: &Path) -> Result<String> {
    match fs::read_to_string(path) {
        Ok(text) => return Ok(text.trim().to_owned()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed("read", path)(error)),
    }
    let mut bytes = [0u8; 32];
    getrandom::fill(&mut bytes).map_err(|error| Error::internal(format!("no random bytes: {error}")))?;
    let secret: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let mut file = opened.map_err(failed("make", path))?;
    writeln!(file, "{secret}").and_then(|()| file.sync_all()).map_err(failed("write", path))?;
    // The name must survive a power cut too: what is sealed under a lost key is lost.
    let folder = path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all());
    folder.map_err(failed("write", path))?;
    Ok(secret)
}

impl Lock {
    /// Notes who holds the folder, for the command line.
    pub fn announce(&mut self, holder: &Holder) -> Result<()> {
        let text = serde_json::to_string(holder).map_err(|error| Error::internal("a lock note").source_error(error))?;
        let write = || -> std::io::Result<()> {
            use std::io::Seek as _;
            let mut file = &self.file;
            file.set_len(0)?;
            file.rewind()?;
            file.write_all(text.as_bytes())
        };
        write().map_err(failed("write", Path::new(LOCK)))
    }
}
