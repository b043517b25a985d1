//! The list that was heard last, and who wants to know when it changes. A source that cannot be asked
//! changes nothing; one that says that there is nobody is believed, unless told otherwise. Not for asking.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::endpoint::{Endpoint, ordered};

/// How a source is, for metrics and health.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// What it is the source of: the upstream's name.
    pub name: Arc<str>,
    /// Its kind: static, dns, srv, etcd or consul.
    pub kind: &'static str,
    /// How many servers are known.
    pub endpoints: usize,
    /// Whether it has said anything yet.
    pub heard: bool,
    /// For how long it has not been able to say anything; nothing while it can.
    pub failing: Option<Duration>,
    /// Whether it said that there is nobody, and the last servers were kept.
    pub kept_though_empty: bool,
    /// How often the list has changed.
    pub changes: u64,
    /// How often asking failed.
    pub failures: u64,
}

type Listener = Box<dyn Fn(Vec<Endpoint>) + Send + Sync>;

/// The list of one upstream.
pub(crate) struct Keeper {
    name: Arc<str>,
    kind: &'static str,
    keep_last_when_empty: bool,
    listener: Listener,
    memory: Mutex<Memory>,
}

#[derive(Default)]
struct Memory {
    /// Nothing before the first answer.
    list: Option<Vec<Endpoint>>,
    failing: Option<Instant>,
    kept_though_empty: bool,
    changes: u64,
    failures: u64,
}

impl Keeper {
    /// Returns one that has heard nothing.
    pub(crate) fn new(name: &str, kind: &'static str, keep_last_when_empty: bool, listener: Listener) -> Self {
        Self { name: name.into(), kind, keep_last_when_empty, listener, memory: Mutex::default() }
    }

    /// Takes what the source says.
    pub(crate) fn take(&self, endpoints: Vec<Endpoint>) {
        let list = ordered(endpoints);
        let (name, kind, count) = (&*self.name, self.kind, list.len());
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        if memory.failing.take().is_some() {
            tracing::info!(upstream = name, source = kind, endpoints = count, "an upstream's source answers again");
        }
        let known = memory.list.as_ref().map_or(0, Vec::len);
        if list.is_empty() && known > 0 && self.keep_last_when_empty {
            if !memory.kept_though_empty {
                tracing::warn!(
                    upstream = name,
                    source = kind,
                    kept = known,
                    "an upstream has no servers; the last are kept"
                );
            }
            memory.kept_though_empty = true;
            return;
        }
        memory.kept_though_empty = false;
        if memory.list.as_ref() == Some(&list) {
            return;
        }
        memory.changes += 1;
        if list.is_empty() {
            tracing::warn!(upstream = name, source = kind, "an upstream has no servers");
        } else {
            tracing::info!(
                upstream = name,
                source = kind,
                endpoints = count,
                "the servers of an upstream have changed"
            );
        }
        memory.list = Some(list.clone());
        // Under the lock, so that two changes are not told in the wrong order.
        (self.listener)(list);
    }

    /// Hears that the source could not be asked: the list stays.
    pub(crate) fn failed(&self, why: &str) {
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        memory.failures += 1;
        if memory.failing.is_none() {
            memory.failing = Some(Instant::now());
            let kept = memory.list.as_ref().map_or(0, Vec::len);
            let (name, kind) = (&*self.name, self.kind);
            tracing::warn!(upstream = name, source = kind, reason = why, kept, "an upstream's source cannot be asked");
        }
    }

    /// Returns the list that was heard last.
    pub(crate) fn list(&self) -> Vec<Endpoint> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner).list.clone().unwrap_or_default()
    }

    /// Returns how the source is.
    pub(crate) fn state(&self) -> State {
        let memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        State {
            name: self.name.clone(),
            kind: self.kind,
            endpoints: memory.list.as_ref().map_or(0, Vec::len),
            heard: memory.list.is_some(),
            failing: memory.failing.map(|since| since.elapsed()),
            kept_though_empty: memory.kept_though_empty,
            changes: memory.changes,
            failures: memory.failures,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Heard = Arc<Mutex<Vec<Vec<Endpoint>>>>;

    fn keeper(keep: bool) -> (Keeper, Heard) {
        let heard = Heard::default();
        let told = heard.clone();
        let listener = move |list| told.lock().expect("not poisoned").push(list);
        (Keeper::new("items", "dns", keep, Box::new(listener)), heard)
    }

    fn list(urls: &[&str]) -> Vec<Endpoint> {
        urls.iter().map(|url| Endpoint { url: (*url).into(), weight: 1 }).collect()
    }

    #[test]
    fn only_changes_are_told() {
        let (keeper, heard) = keeper(false);
        assert!(!keeper.state().heard);
        for urls in [&["a", "b"][..], &["b", "a"], &["b", "a", "b"], &["b"], &[], &[], &["b"]] {
            keeper.take(list(urls));
        }
        let expected = [list(&["a", "b"]), list(&["b"]), list(&[]), list(&["b"])];
        assert_eq!(*heard.lock().expect("not poisoned"), expected);
        assert_eq!((keeper.state().changes, keeper.list()), (4, list(&["b"])));
    }

    #[test]
    fn a_first_empty_list_is_told() {
        for keep in [false, true] {
            let (keeper, heard) = keeper(keep);
            keeper.take(vec![]);
            assert_eq!(*heard.lock().expect("not poisoned"), [list(&[])]);
            assert!(keeper.state().heard);
        }
    }

    #[test]
    fn a_failure_keeps_the_list() {
        let (keeper, heard) = keeper(false);
        keeper.failed("away");
        keeper.take(list(&["a"]));
        assert_eq!(keeper.state().failing, None);
        keeper.failed("away");
        keeper.failed("away");
        let state = keeper.state();
        assert_eq!((state.endpoints, state.failures, state.failing.is_some()), (1, 3, true));
        keeper.take(list(&["a"]));
        assert_eq!(keeper.state().failing, None);
        assert_eq!(heard.lock().expect("not poisoned").len(), 1);
    }

    #[test]
    fn nobody_is_kept_out_when_told_so() {
        let (keeper, heard) = keeper(true);
        keeper.take(list(&["a"]));
        keeper.take(vec![]);
        assert!(keeper.state().kept_though_empty);
        assert_eq!(keeper.list(), list(&["a"]));
        keeper.take(list(&["a"]));
        assert!(!keeper.state().kept_though_empty);
        keeper.take(list(&["b"]));
        assert_eq!(heard.lock().expect("not poisoned").len(), 2);
    }
}
