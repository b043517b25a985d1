//! What a dispatcher has last seen of the log, for all its subscriptions: they need not each read what
//! is new. Not for what they have dealt with.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use store::EventRow;

use crate::tables::mark;

/// How many of the newest events are kept for all subscriptions.
const NEWEST: usize = 1_000;

/// What was last seen of the log and of the marks.
#[derive(Clone, Default)]
pub(crate) struct View {
    pub last: i64,
    /// The newest events: all of those after `from`, so that not everybody reads them anew.
    pub newest: Arc<VecDeque<Arc<EventRow>>>,
    pub from: i64,
    pub marks: Arc<HashMap<String, mark::Model>>,
}

impl View {
    /// Returns this view with what came after it.
    pub(crate) fn with(&self, page: Vec<EventRow>) -> Self {
        let last = page.last().and_then(|event| event.position).unwrap_or(self.last);
        let (mut newest, mut from) = (VecDeque::clone(&self.newest), self.from);
        newest.extend(page.into_iter().map(Arc::new));
        while newest.len() > NEWEST {
            from = newest.pop_front().and_then(|event| event.position).unwrap_or(from);
        }
        Self { last, newest: Arc::new(newest), from, marks: self.marks.clone() }
    }
}
