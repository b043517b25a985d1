//! The document that is shown now, with its ETag; replaced while others read it. Not for HTTP.

use std::sync::{Arc, PoisonError, RwLock};

use sha2::{Digest as _, Sha256};

/// A text and its ETag.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shown {
    /// The document, as JSON.
    pub text: String,
    /// A strong ETag (RFC 9110, section 8.8.3), quotes included.
    pub etag: String,
}

/// What is shown, until it is replaced.
#[derive(Debug, Default)]
pub struct Published(RwLock<Arc<Shown>>);

impl Published {
    /// Returns a place that shows this.
    pub fn new(text: String) -> Self {
        let published = Self::default();
        published.set(text);
        published
    }

    /// Returns what is shown now.
    pub fn get(&self) -> Arc<Shown> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Shows this from now on, and says whether it is anything new.
    pub fn set(&self, text: String) -> bool {
        let digest = Sha256::digest(text.as_bytes());
        let hex: String = digest.iter().take(12).map(|byte| format!("{byte:02x}")).collect();
        let shown = Arc::new(Shown { text, etag: format!("\"{hex}\"") });
        let mut place = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let new = **place != *shown;
        *place = shown;
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_new_has_another_tag() {
        let published = Published::new("a".into());
        let first = published.get();
        assert!(!published.set("a".into()));
        assert_eq!(published.get().etag, first.etag);
        assert!(published.set("b".into()));
        assert_ne!(published.get().etag, first.etag);
        assert_eq!(first.text, "a", "whoever reads keeps what was there");
    }
}
