//! The switches that operations stand behind: known without anybody having turned one. Not for how
//! they stand.

use std::collections::BTreeMap;

use service::Feature;

/// What each declared switch switches, by key.
#[derive(Debug)]
pub(crate) struct Declared(BTreeMap<&'static str, &'static str>);

impl Declared {
    pub fn new(features: Vec<Feature>) -> Self {
        Self(features.into_iter().map(|feature| (feature.key, feature.summary)).collect())
    }

    pub fn keys(&self) -> impl Iterator<Item = &'static str> {
        self.0.keys().copied()
    }

    /// Returns what people are told of a switch: what somebody wrote, else what was declared.
    pub fn describe(&self, key: &str, written: Option<String>) -> Option<String> {
        written.or_else(|| self.0.get(key).map(|summary| (*summary).to_owned()))
    }
}
