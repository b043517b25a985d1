//! Random secrets in the forms in which people and programs hold them: tokens with a prefix and a
//! checksum, and one-use codes that can be read out. Of those that only have to be recognised, the
//! database holds the SHA-256. Not for passwords, which people choose.

use kernel::{Error, Result};
use sha2::{Digest as _, Sha256};

/// Returns random bytes from the system.
pub(crate) fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)
        .map_err(|error| Error::internal(format!("the system's random source failed: {error}")))?;
    Ok(bytes)
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    if text.len() != N * 2 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let mut bytes = [0; N];
    for (place, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(place * 2..place * 2 + 2)?, 16).ok()?;
    }
    Some(bytes)
}

/// Adds a checksum, so that a mistyped token is turned away before the database is asked.
pub(crate) fn with_checksum(body: &str) -> String {
    format!("{body}{:08x}", crc32fast::hash(body.as_bytes()))
}

/// Takes the checksum off, if it fits.
pub(crate) fn without_checksum(text: &str) -> Option<&str> {
    let (body, checksum) = text.split_at_checked(text.len().checked_sub(8)?)?;
    (format!("{:08x}", crc32fast::hash(body.as_bytes())) == checksum).then_some(body)
}

/// A code that works once: four groups of five digits, or, for links, eight of them.
#[derive(Clone)]
pub(crate) struct Code(String);

impl Code {
    /// Returns a code of 80 bits, short enough to be typed.
    pub(crate) fn short() -> Result<Self> {
        Ok(Self(grouped(&hex(&random::<10>()?))))
    }

    /// Returns a code of 160 bits, for letters.
    pub(crate) fn long() -> Result<Self> {
        Ok(Self(grouped(&hex(&random::<20>()?))))
    }

    pub(crate) fn text(&self) -> &str {
        &self.0
    }

    pub(crate) fn hash(&self) -> Vec<u8> {
        code_hash(&self.0)
    }
}

fn grouped(digits: &str) -> String {
    let groups: Vec<&str> = (0..digits.len() / 5).map(|group| &digits[group * 5..group * 5 + 5]).collect();
    groups.join("-")
}

/// Returns what is stored of a code, however it was typed.
pub(crate) fn code_hash(code: &str) -> Vec<u8> {
    let typed: String = code.trim().to_ascii_lowercase().chars().filter(|letter| *letter != '-').collect();
    Sha256::digest(typed).to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_recognised_however_they_are_typed() {
        let code = Code::long().expect("random");
        assert_eq!((code.text().len(), code.text().split('-').count()), (47, 8));
        assert_eq!(Code::short().expect("random").text().len(), 23);
        let typed = format!(" {} ", code.text().to_uppercase().replace('-', ""));
        assert_eq!(code_hash(&typed), code.hash());
        assert_ne!(Code::long().expect("random").hash(), code.hash());
    }

    #[test]
    fn hex_and_checksums_are_read_back_strictly() {
        let bytes: [u8; 32] = random().expect("random");
        assert_eq!(unhex(&hex(&bytes)), Some(bytes));
        assert_eq!(unhex::<1>("0g"), None);
        assert_eq!(unhex::<1>("+1"), None);
        assert_eq!(unhex::<2>("00"), None);
        assert_eq!(without_checksum(&with_checksum("abc")), Some("abc"));
        for text in ["", "abc", "abc00000000", "é0000000"] {
            assert_eq!(without_checksum(text), None, "{text}");
        }
    }
}
