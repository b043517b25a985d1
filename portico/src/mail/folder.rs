//! Letters as files in a folder, which any mail program opens. Not for sending them.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use kernel::{Error, Result};
use lettre::address::Envelope;
use lettre::message::Mailbox;

/// Works on files where that stops nobody else.
pub(super) async fn off_thread<T: Send + 'static>(
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await.map_err(|error| unwritable(&error))?;
    done.map_err(|error| unwritable(&error))
}

pub(super) fn unwritable(error: &dyn std::fmt::Display) -> Error {
    Error::internal(format!("a letter could not be kept: {error}"))
}

/// Lists the letters in the order of their names, which is that of their making.
pub(super) fn list(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut letters = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let hidden = path.file_name().is_none_or(|name| name.to_string_lossy().starts_with('.'));
        if !hidden && path.extension().is_some_and(|extension| extension == "eml") {
            letters.push(path);
        }
    }
    letters.sort();
    Ok(letters)
}

pub(super) fn write(folder: &Path, name: &str, letter: &[u8]) -> std::io::Result<()> {
    let (path, hidden) = (folder.join(name), folder.join(format!(".{name}")));
    let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&hidden)?;
    file.write_all(letter)?;
    file.sync_all()?;
    // Whoever collects letters never meets half of one.
    std::fs::rename(&hidden, &path)?;
    std::fs::File::open(folder)?.sync_all()
}

/// Reads a letter and, from its head, whom it is from and for.
pub(super) fn read_letter(path: &Path) -> std::io::Result<(Envelope, Vec<u8>)> {
    let letter = std::fs::read(path)?;
    let unsound = || std::io::Error::new(std::io::ErrorKind::InvalidData, "it has no sound head");
    let text = String::from_utf8_lossy(&letter);
    let head = text.split("\r\n\r\n").next().unwrap_or_default().replace("\r\n ", " ");
    let address = |name: &str| {
        let line = head.split("\r\n").find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        line.and_then(|line| line.parse::<Mailbox>().ok()).map(|mailbox| mailbox.email)
    };
    let (from, to) = (address("From").ok_or_else(unsound)?, address("To").ok_or_else(unsound)?);
    let envelope = Envelope::new(Some(from), vec![to]).map_err(|_| unsound())?;
    Ok((envelope, letter))
}
