//! Tickets as browsers hold them: `tkt_<secret><checksum>`, random, 256 bits. Not for the row.

use kernel::Result;
use sha2::{Digest as _, Sha256};

use crate::credentials::secret::{hex, random, unhex, with_checksum, without_checksum};

const PREFIX: &str = "tkt_";
const SECRET_BYTES: usize = 32;

/// A ticket; shown once.
pub(crate) struct Ticket([u8; SECRET_BYTES]);

impl Ticket {
    /// Returns a new ticket from the system's random source.
    pub(crate) fn create() -> Result<Self> {
        random().map(Self)
    }

    /// Reads a ticket's text; a wrong checksum never reaches the database.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        unhex(without_checksum(text)?.strip_prefix(PREFIX)?).map(Self)
    }

    /// Returns the ticket's text, which an address takes as it is.
    pub(crate) fn text(&self) -> String {
        with_checksum(&format!("{PREFIX}{}", hex(&self.0)))
    }

    /// Returns what is stored of it.
    pub(crate) fn hash(&self) -> Vec<u8> {
        Sha256::digest(self.0).to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_is_read_back_and_a_mistyped_one_is_not() {
        let ticket = Ticket::create().expect("random");
        let text = ticket.text();
        assert_eq!(Ticket::parse(&text).expect("reads").hash(), ticket.hash());
        assert_ne!(Ticket::create().expect("random").hash(), ticket.hash());
        for wrong in ["", "tkt_", "tkt_00", "é", &text[1..], &text.replace("tkt", "ptc"), &format!("{text}0")] {
            assert!(Ticket::parse(wrong).is_none(), "{wrong}");
        }
    }
}
