//! The end of a page that is sorted by id: whether there is another, and where it begins. Not for lists
//! that sort by anything else: see `crud`.

use kernel::Cursor;
use uuid::Uuid;

/// Cuts a list that has one more than was asked for, and returns the cursor of the next page.
pub fn next_page<R>(rows: &mut Vec<R>, limit: u64, sort: &str, id: impl Fn(&R) -> Uuid) -> Option<String> {
    let more = rows.len() as u64 > limit;
    rows.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    rows.last().filter(|_| more).map(|row| Cursor::after(sort, serde_json::Value::Null, id(row)).encode())
}
