//! SPDX licence expressions: may we use a crate under this one?
//!
//! For: evaluating AND, OR, WITH and parentheses as SPDX means them. Not for: which crates there
//! are; `dependencies` brings them.

use crate::workspace::Outcome;

/// What may be linked into a product under Apache-2.0 without asking anybody.
const ALLOWED: [&str; 14] = [
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MPL-2.0",
    "OpenSSL",
    "Unicode-3.0",
    "Zlib",
];

/// Returns whether an expression leaves us a choice that is allowed.
pub fn is_allowed(expression: &str) -> Outcome<bool> {
    // Crates from before SPDX expressions wrote `MIT/Apache-2.0`.
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let mut words = Words { words: spaced.split_whitespace().collect(), next: 0 };
    let allowed = words.either()?;
    match words.peek() {
        None => Ok(allowed),
        Some(word) => Err(format!("`{word}` is not expected in `{expression}`")),
    }
}

struct Words<'a> {
    words: Vec<&'a str>,
    next: usize,
}

impl<'a> Words<'a> {
    fn peek(&self) -> Option<&'a str> {
        self.words.get(self.next).copied()
    }

    fn take(&mut self) -> Option<&'a str> {
        let word = self.peek();
        self.next += 1;
        word
    }

    fn take_if(&mut self, expected: &str) -> bool {
        let found = self.peek() == Some(expected);
        self.next += usize::from(found);
        found
    }

    fn either(&mut self) -> Outcome<bool> {
        let mut allowed = self.both()?;
        while self.take_if("OR") {
            allowed |= self.both()?;
        }
        Ok(allowed)
    }

    fn both(&mut self) -> Outcome<bool> {
        let mut allowed = self.one()?;
        while self.take_if("AND") {
            allowed &= self.one()?;
        }
        Ok(allowed)
    }

    fn one(&mut self) -> Outcome<bool> {
        if self.take_if("(") {
            let allowed = self.either()?;
            return if self.take_if(")") { Ok(allowed) } else { Err("a `)` is missing".into()) };
        }
        let name = match self.take() {
            None | Some("AND" | "OR" | "WITH" | ")") => {
                return Err("a licence's name is missing".into());
            }
            Some(name) => name,
        };
        if !self.take_if("WITH") {
            return Ok(ALLOWED.contains(&name));
        }
        let exception = self.take().ok_or("an exception's name is missing")?;
        Ok(ALLOWED.contains(&format!("{name} WITH {exception}").as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_allowed_side_of_or_is_enough_and_and_needs_both() {
        for expression in [
            "MIT",
            "MIT/Apache-2.0",
            "GPL-3.0-only OR MIT",
            "ISC AND (Apache-2.0 OR GPL-2.0-only) AND OpenSSL",
            "Apache-2.0 WITH LLVM-exception OR GPL-2.0-only",
            "(MIT OR Apache-2.0) AND Unicode-3.0",
        ] {
            assert!(is_allowed(expression).unwrap(), "{expression}");
        }
        for expression in [
            "GPL-3.0-only",
            "MIT AND GPL-3.0-only",
            // AND binds closer than OR.
            "GPL-3.0-only OR MIT AND AGPL-3.0-only",
            "GPL-2.0-only WITH Classpath-exception-2.0",
            "MIT WITH LLVM-exception",
            "mit",
        ] {
            assert!(!is_allowed(expression).unwrap(), "{expression}");
        }
    }

    #[test]
    fn a_broken_expression_is_an_error_and_never_allowed() {
        for expression in ["", "MIT OR", "(MIT", "MIT)", "AND MIT", "MIT Apache-2.0", "MIT WITH"] {
            assert!(is_allowed(expression).is_err(), "{expression}");
        }
    }
}
