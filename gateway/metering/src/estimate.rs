//! How many tokens a text probably has, where the provider does not say: a weight for each character, by the length
//! of its UTF-8. The README says how far that was off. Not a tokenizer.

/// A string longer than this that holds nothing but base64 is a picture or a file, not a text.
const ATTACHMENT: usize = 2 * 1024;
/// What such a string counts: about a picture's worth.
const ATTACHMENT_TOKENS: u64 = 1_600;

/// The weight of text, in quarters of a token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Weight(u64);

impl Weight {
    pub(crate) fn add(&mut self, text: &str) {
        self.0 = self.0.saturating_add(of(text.as_bytes()));
    }

    pub(crate) fn join(&mut self, other: Self) {
        self.0 = self.0.saturating_add(other.0);
    }

    pub(crate) fn add_bytes(&mut self, bytes: &[u8]) {
        self.0 = self.0.saturating_add(of(bytes));
    }

    pub(crate) fn tokens(self) -> i64 {
        i64::try_from(self.0.div_ceil(4)).unwrap_or(i64::MAX)
    }

    pub(crate) fn is_nothing(self) -> bool {
        self.0 == 0
    }
}

/// Returns the weight by the first bytes of characters: a quarter of a token for those of one byte (ASCII) and of two
/// (most alphabets), three quarters for those of three (Chinese, Japanese, Korean), two tokens for the rest (emoji).
fn of(bytes: &[u8]) -> u64 {
    let weight = |byte: &u8| match byte {
        0x00..=0x7f | 0xc0..=0xdf => 1,
        0x80..=0xbf => 0,
        0xe0..=0xef => 3,
        0xf0..=0xff => 8,
    };
    bytes.iter().map(weight).sum()
}

/// Returns about how many tokens a request has, from its JSON as sent: the signs of JSON stand for what providers
/// put around each message.
pub(crate) fn question(json: &[u8]) -> i64 {
    let mut weight = 0_u64;
    let (mut run, mut from) = (0, 0);
    for (at, byte) in json.iter().enumerate() {
        if byte.is_ascii_alphanumeric() || b"+/=-_:;,\\".contains(byte) {
            run += 1;
            continue;
        }
        weight = weight.saturating_add(stretch(&json[from..at], run));
        (run, from) = (0, at);
    }
    weight = weight.saturating_add(stretch(&json[from..], run));
    i64::try_from(weight.div_ceil(4)).unwrap_or(i64::MAX)
}

fn stretch(bytes: &[u8], run: usize) -> u64 {
    if run > ATTACHMENT { 4 * ATTACHMENT_TOKENS } else { of(bytes) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_counts_by_its_characters() {
        for (text, tokens) in [("", 0), ("a", 1), ("four", 1), ("fives", 2), ("日本語", 3), ("naïve", 2)] {
            let mut weight = Weight::default();
            weight.add(text);
            assert_eq!(weight.tokens(), tokens, "{text}");
        }
    }

    #[test]
    fn a_picture_counts_as_one_and_a_long_text_as_text() {
        let picture = format!("{{\"url\":\"data:image/png;base64,{}\"}}", "iVBORw0K".repeat(10_000));
        assert!((1_600..1_700).contains(&question(picture.as_bytes())));
        let text = format!("{{\"content\":\"{}\"}}", "some words ".repeat(10_000));
        assert!(question(text.as_bytes()) > 27_000);
    }
}
