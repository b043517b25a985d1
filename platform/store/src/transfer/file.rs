//! The file of a backup while it is made: private from the start, on disk before it has its name,
//! gone when something fails. Not for what stands in it.

use std::path::{Path, PathBuf};

use kernel::{Clock, Error, Result};

/// Refuses to write over anything.
pub(crate) fn refuse_existing(file: &Path) -> Result<()> {
    if file.symlink_metadata().is_err() {
        return Ok(());
    }
    Err(Error::conflict(
        "store.backup_exists",
        format!("{} exists and was left as it is: name a new file", file.display()),
    ))
}

/// Returns the path as SQL and URLs can hold it.
pub(crate) fn text(path: &Path) -> Result<&str> {
    path.to_str().ok_or_else(|| Error::invalid("store.backup_path", "the path of a backup must be valid Unicode text"))
}

fn not_written(file: &Path, error: std::io::Error) -> Error {
    Error::unavailable(
        "store.backup_not_written",
        format!("the backup could not be written to {}: check the folder and its room", file.display()),
    )
    .source_error(error)
}

/// A file in the making. It is removed unless it is kept.
pub(crate) struct Partial {
    pub path: PathBuf,
}

impl Partial {
    /// Makes an empty file that only its owner may read, in the same folder so that a rename is
    /// enough to put it in place.
    pub(crate) fn beside(file: &Path, clock: &Clock) -> Result<Self> {
        let Some(name) = file.file_name().and_then(|name| name.to_str()) else {
            return Err(Error::invalid("store.backup_path", "a backup needs the name of a file"));
        };
        let path = file.with_file_name(format!(".{name}.{}.partial", clock.now().0));
        text(&path)?;
        let mut options = std::fs::OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        options.open(&path).map_err(|error| not_written(file, error))?;
        Ok(Self { path })
    }

    pub(crate) fn text(&self) -> Result<&str> {
        text(&self.path)
    }

    /// Puts the file in place once it is on disk.
    pub(crate) async fn keep_as(self, file: &Path) -> Result<()> {
        let (partial, target) = (self.path.clone(), file.to_owned());
        let kept = tokio::task::spawn_blocking(move || {
            std::fs::OpenOptions::new().write(true).open(&partial)?.sync_all()?;
            std::fs::rename(&partial, &target)?;
            // Without this the name may be gone after a power cut.
            #[cfg(unix)]
            {
                let folder = target.parent().filter(|folder| !folder.as_os_str().is_empty());
                std::fs::File::open(folder.unwrap_or(Path::new(".")))?.sync_all()?;
            }
            Ok(())
        });
        let kept = kept.await.unwrap_or_else(|error| Err(std::io::Error::other(error)));
        kept.map_err(|error| not_written(file, error))
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        for suffix in ["", "-wal", "-shm", "-journal"] {
            let mut path = self.path.clone().into_os_string();
            path.push(suffix);
            let _ = std::fs::remove_file(path);
        }
    }
}
