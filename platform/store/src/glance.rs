//! Whether anything was written since the last look, found out without asking the engine: on SQLite every commit,
//! of whichever process, changes the write-ahead log's file. Whoever looks several times a second asks this first,
//! so that a server with nothing to do does next to nothing. Not for deciding what changed, and never the only
//! reason not to look: a look is due anyway from time to time.

use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use crate::Store;

/// How long nothing may be taken for unchanged without a real look.
const LONGEST: Duration = Duration::from_secs(5);

/// One reader's view of whether the store may have changed.
#[derive(Debug)]
pub struct Glance {
    /// The write-ahead log; nothing where there is no file to look at.
    file: Option<PathBuf>,
    seen: Option<(u64, SystemTime)>,
    /// Whether there was a change the last time: a file's time is coarse, and a second one may hide behind it.
    settling: bool,
    looked: Instant,
}

impl Store {
    /// Returns a view of whether the store changes.
    pub fn glance(&self) -> Glance {
        let file = self.config().sqlite_path().filter(|path| !path.as_os_str().is_empty()).map(|path| {
            let mut name = path.into_os_string();
            name.push("-wal");
            PathBuf::from(name)
        });
        Glance { file, seen: None, settling: true, looked: Instant::now() }
    }
}

impl Glance {
    /// Says whether anything may have been written since this was asked last. Always so on PostgreSQL.
    pub fn may_have_changed(&mut self) -> bool {
        let Some(file) = &self.file else { return true };
        let now = std::fs::metadata(file).and_then(|found| Ok((found.len(), found.modified()?))).ok();
        let changed = now.is_none() || now != self.seen;
        let due = changed || self.settling || self.looked.elapsed() >= LONGEST;
        (self.seen, self.settling) = (now, changed);
        if due {
            self.looked = Instant::now();
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_seen_once_more_than_it_must_and_then_no_longer() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("x.db-wal");
        let mut glance = Glance { file: Some(file.clone()), seen: None, settling: true, looked: Instant::now() };
        assert!(glance.may_have_changed(), "there is no file: who knows");
        std::fs::write(&file, "one").expect("written");
        assert!(glance.may_have_changed());
        assert!(glance.may_have_changed(), "a second write in the same tick of the clock");
        assert!(!glance.may_have_changed());
        std::fs::write(&file, "two!").expect("written");
        assert!(glance.may_have_changed() && glance.may_have_changed() && !glance.may_have_changed());
        // The same length; only the time differs.
        let later = std::fs::metadata(&file).expect("there").modified().expect("a time") + Duration::from_millis(4);
        std::fs::File::options().write(true).open(&file).expect("open").set_modified(later).expect("set");
        assert!(glance.may_have_changed() && glance.may_have_changed() && !glance.may_have_changed());
    }

    #[test]
    fn without_a_file_to_look_at_everything_may_have_changed() {
        let mut glance = Glance { file: None, seen: None, settling: false, looked: Instant::now() };
        assert!((0..3).all(|_| glance.may_have_changed()));
    }
}
