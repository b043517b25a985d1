//! What a power cut leaves: the files as the shim's journal says they would be, had nothing reached
//! the disk that was not synced, or only some of it. Not for the journal's making: see
//! `tests/shim/portico_shim.c`; the two must agree.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use crate::ground::Random;

const MAGIC: u32 = 0x4d49_4853;
const HEADER: usize = 48;
/// What a disk writes whole or not at all.
const SECTOR: u64 = 512;

#[derive(Debug)]
enum Kind {
    Write,
    Truncate,
    Create,
    Unlink,
    Sync,
    SyncFolder,
}

#[derive(Debug)]
struct Record {
    kind: Kind,
    inode: u64,
    offset: u64,
    old_size: u64,
    number: u32,
    path: PathBuf,
    old: Vec<u8>,
    new: Vec<u8>,
}

/// Reads the journal; a last line that the kill cut short was not carried out either.
fn read(journal: &Path) -> Vec<Record> {
    let bytes = fs::read(journal).unwrap_or_default();
    let (mut at, mut records) = (0, Vec::new());
    let four = |at: usize| u32::from_ne_bytes(bytes[at..at + 4].try_into().expect("four"));
    let eight = |at: usize| u64::from_ne_bytes(bytes[at..at + 8].try_into().expect("eight"));
    while at + HEADER <= bytes.len() {
        assert_eq!(four(at), MAGIC, "the journal and its reader do not agree");
        let lengths = [32, 36, 40].map(|field| four(at + field) as usize);
        let parts = at + HEADER;
        if parts + lengths.iter().sum::<usize>() > bytes.len() {
            break;
        }
        let [path, old, new] = [0, 1, 2].map(|part| {
            let start = parts + lengths[..part].iter().sum::<usize>();
            bytes[start..start + lengths[part]].to_vec()
        });
        records.push(Record {
            kind: match four(at + 4) {
                1 => Kind::Write,
                2 => Kind::Truncate,
                3 => Kind::Create,
                4 => Kind::Unlink,
                5 => Kind::Sync,
                6 => Kind::SyncFolder,
                other => panic!("an unknown kind of record: {other}"),
            },
            inode: eight(at + 8),
            offset: eight(at + 16),
            old_size: eight(at + 24),
            number: four(at + 44),
            path: PathBuf::from(String::from_utf8(path).expect("a path")),
            old,
            new,
        });
        at = parts + lengths.iter().sum::<usize>();
    }
    records
}

fn undo(file: &File, record: &Record) {
    file.set_len(record.old_size).expect("resizes");
    file.write_all_at(&record.old, record.offset).expect("writes");
}

/// Writes those sectors of a change that chance says had reached the disk.
fn redo_some(file: &File, record: &Record, random: &mut Random) {
    if let Kind::Truncate = record.kind {
        if random.below(2) == 0 {
            file.set_len(record.offset).expect("resizes");
        }
        return;
    }
    let (start, end) = (record.offset, record.offset + record.new.len() as u64);
    let mut at = start;
    while at < end {
        let next = end.min((at / SECTOR + 1) * SECTOR);
        if random.below(2) == 0 {
            let piece = &record.new[(at - start) as usize..(next - start) as usize];
            file.write_all_at(piece, at).expect("writes");
        }
        at = next;
    }
}

fn files_by_inode(folders: [&Path; 2]) -> BTreeMap<u64, PathBuf> {
    let entries = folders.into_iter().flat_map(|folder| fs::read_dir(folder).expect("reads"));
    entries
        .map(|entry| entry.expect("reads").path())
        .map(|path| (path.metadata().expect("is there").ino(), path))
        .collect()
}

/// Leaves in `data` what a power cut at the end of the journal would have left: without chance
/// nothing that was not synced, with it some. Returns how many changes were lost in part at least.
pub fn cut_power(data: &Path, log: &Path, mut chance: Option<&mut Random>) -> usize {
    let mut changes: BTreeMap<u64, Vec<Record>> = BTreeMap::new();
    let mut names = Vec::new();
    for record in read(&log.join("journal")) {
        match record.kind {
            Kind::Write | Kind::Truncate => changes.entry(record.inode).or_default().push(record),
            Kind::Sync => drop(changes.remove(&record.inode)),
            Kind::Create | Kind::Unlink => names.push(record),
            Kind::SyncFolder => names.clear(),
        }
    }
    let lost = changes.values().map(Vec::len).sum::<usize>() + names.len();
    let files = files_by_inode([data, log]);
    for (inode, changes) in changes {
        // Unlinked, and that was synced: the file is gone either way.
        let Some(path) = files.get(&inode) else {
            continue;
        };
        let file = OpenOptions::new().write(true).open(path).expect("opens");
        changes.iter().rev().for_each(|record| undo(&file, record));
        if let Some(random) = chance.as_deref_mut() {
            changes.iter().for_each(|record| redo_some(&file, record, random));
        }
    }
    // A folder's names are changed in their order: some of the last ones are lost.
    let kept = chance.map_or(0, |random| random.below(names.len() as u64 + 1) as usize);
    for record in names[kept..].iter().rev() {
        match record.kind {
            Kind::Unlink => {
                fs::hard_link(log.join(format!("unlinked-{}", record.number)), &record.path).expect("links")
            }
            _ => fs::remove_file(&record.path).expect("removes"),
        }
    }
    for entry in fs::read_dir(data).expect("reads") {
        let path = entry.expect("reads").path();
        if path.to_string_lossy().ends_with("-shm") {
            fs::remove_file(path).expect("removes");
        }
    }
    lost
}
