//! Where a page ended: opaque to clients, versioned, bound to the sort it was made for. Not for
//! offsets; a page continues after a key, so rows that come or go do not shift it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{Error, Result};

const VERSION: u8 = 1;

/// The last row of a page: its value of the sort column, and its id to break ties.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    #[serde(rename = "v")]
    version: u8,
    /// The sort that the page was read in, such as `-createdAt`.
    #[serde(rename = "s")]
    pub sort: String,
    /// The sort column's value in the page's last row.
    #[serde(rename = "k")]
    pub key: serde_json::Value,
    /// The id of the page's last row.
    #[serde(rename = "i")]
    pub id: Uuid,
}

impl Cursor {
    /// Returns the cursor that continues after this row.
    pub fn after(sort: &str, key: serde_json::Value, id: Uuid) -> Self {
        Self { version: VERSION, sort: sort.to_owned(), key, id }
    }

    /// Returns the text that a client sends back.
    pub fn encode(&self) -> String {
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(self).expect("a cursor is plain data"))
    }

    /// Reads what a client sent; it must have been made for this sort.
    pub fn decode(text: &str, sort: &str) -> Result<Self> {
        let wrong =
            || Error::invalid("request.invalid_cursor", "this cursor is not valid here: start again without it");
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| wrong())?;
        let cursor: Self = serde_json::from_slice(&bytes).map_err(|_| wrong())?;
        if cursor.version != VERSION || cursor.sort != sort {
            return Err(wrong());
        }
        Ok(cursor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_comes_back_whole_and_only_for_its_own_sort() {
        let cursor = Cursor::after("-name", serde_json::json!("Ærø"), crate::TenantId::new().uuid());
        assert_eq!(Cursor::decode(&cursor.encode(), "-name").expect("decodes"), cursor);
        for (text, sort) in [(cursor.encode().as_str(), "name"), ("", "name"), ("e30", "name"), ("%%%", "-name")] {
            assert_eq!(Cursor::decode(text, sort).expect_err("refused").code(), "request.invalid_cursor");
        }
    }
}
