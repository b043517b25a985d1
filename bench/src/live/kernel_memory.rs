//! What the kernel holds for sockets, from /proc. It counts both ends of a connection within one
//! machine, and other programs too. Not for the memory of a process: see `process`.

use std::fs;

use crate::Outcome;

const PAGE_KIB: f64 = 4.0;

/// Memory of the kernel, in KiB.
#[derive(Clone, Copy, Debug)]
pub struct KernelMemory {
    /// What TCP has queued, in and out.
    pub queued: f64,
    /// The kernel's own objects: sockets, files, watches.
    pub objects: f64,
}

/// Reads it now.
pub fn read() -> Outcome<KernelMemory> {
    // TCP: inuse 1 orphan 0 tw 0 alloc 1 mem 192
    let sockets = fs::read_to_string("/proc/net/sockstat")?;
    let line = sockets.lines().find(|line| line.starts_with("TCP:")).unwrap_or_default();
    let pages = line.split_whitespace().last().and_then(|pages| pages.parse::<f64>().ok());
    // Slab:             519328 kB
    let memory = fs::read_to_string("/proc/meminfo")?;
    let objects = memory.lines().find_map(|line| line.strip_prefix("Slab:")?.split_whitespace().next()?.parse().ok());
    match (pages, objects) {
        (Some(pages), Some(objects)) => Ok(KernelMemory { queued: pages * PAGE_KIB, objects }),
        _ => Err("this kernel does not say what its sockets hold".into()),
    }
}
