//! What a server asks of the kernel before it has threads and connections, so that many of the latter come smoothly.
//! Not for what somebody may want otherwise: that is configuration.

use rustix::io::{Errno, fcntl_dupfd_cloexec};
use rustix::process::{Resource, getrlimit, setrlimit};
use rustix::thread::disable_transparent_huge_pages;

/// For so many open files the kernel's table has room from the beginning: half a megabyte.
const TABLE: u64 = 65_536;

/// Prepares this process. Whatever the kernel refuses is logged, and the server runs without.
pub(crate) fn prepare() {
    let limit = raise_limit();
    let prepared = [
        ("room for open files", enlarge_table(limit.min(TABLE))),
        // A first touch clears 2 MB at once: up to 9 ms for which a core answered nobody.
        ("small pages", disable_transparent_huge_pages(true)),
    ];
    for (what, prepared) in prepared {
        if let Err(error) = prepared {
            tracing::warn!(%error, what, "the kernel did not grant this; the server runs, less smoothly");
        }
    }
}

/// Lets this process open as many files as it may, and returns how many those are. A proxied connection takes two,
/// and the customary 1,024 are there for programs that still call select(2).
fn raise_limit() -> u64 {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        let before = limit.current;
        limit.current = limit.maximum;
        if setrlimit(Resource::Nofile, limit).is_err() {
            limit.current = before;
        }
    }
    limit.current.unwrap_or(u64::MAX)
}

/// Has the kernel make its table of open files large enough for so many. It does so by itself when it must, at 64,
/// 128, 256 and so on; but once there are threads it first waits until all processors have left what they are at
/// (`synchronize_rcu`), and who connects at that moment waits along, 10 to 35 ms.
fn enlarge_table(files: u64) -> Result<(), Errno> {
    let highest = i32::try_from(files.saturating_sub(1)).map_err(|_| Errno::INVAL)?;
    fcntl_dupfd_cloexec(std::io::stderr(), highest).map(drop)
}
