//! The ladder: which rungs there are, and what each asks. Not for how it is measured.

use std::rc::Rc;

use measure::Outcome;
use measure::figures::Dice;

use crate::ground::Ground;
use crate::peers::{Shape, example};
use crate::tokens::Algorithm;

/// How many tokens take turns where they are warm.
const WARM: usize = 64;
/// How many take turns where each is to be new: many times what any cache here is set to keep.
const COLD: usize = 12_000;

/// One program that can be run alone.
#[derive(Clone, Copy, Debug)]
pub struct Rung {
    pub name: &'static str,
    pub title: &'static str,
    pub kind: Kind,
}

/// How it is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Requests and answers.
    Http(Shape, Asks),
    Sockets,
    Streams,
    Upload,
    /// Portico beside itself: a route that it answers, one that a service of its own answers, one behind it.
    HandOff,
    /// Portico beside itself: proxied requests while a large export runs.
    Export,
}

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asks {
    Path(&'static str),
    Routes,
    Warm(Algorithm),
    Cold(Algorithm),
}

use Algorithm::{Es256, Rs256};
use Kind::Http;

pub const LADDER: &[Rung] = &[
    rung("s1", "S1: 128 bytes", Http(Shape::Bare, Asks::Path("/128"))),
    rung("s2-10k", "S2: 10 KB", Http(Shape::Bare, Asks::Path("/10k"))),
    rung("s2-100k", "S2: 100 KB", Http(Shape::Bare, Asks::Path("/100k"))),
    rung("s3", "S3: 609 routes", Http(Shape::Routes, Asks::Routes)),
    rung("s4-rs256-warm", "S4: RS256, tokens seen before", Http(Shape::Jwt(Rs256), Asks::Warm(Rs256))),
    rung("s4-rs256-cold", "S4: RS256, each token new", Http(Shape::Jwt(Rs256), Asks::Cold(Rs256))),
    rung("s4-es256-warm", "S4: ES256, tokens seen before", Http(Shape::Jwt(Es256), Asks::Warm(Es256))),
    rung("s4-es256-cold", "S4: ES256, each token new", Http(Shape::Jwt(Es256), Asks::Cold(Es256))),
    rung("s5", "S5: ES256 token, role, limit, metrics, trace", Http(Shape::Chain, Asks::Warm(Es256))),
    rung("s6", "S6: 10 KB from the cache", Http(Shape::Cache, Asks::Path("/cached/one"))),
    rung("s7", "S7: three answers made into one", Http(Shape::Compose, Asks::Path("/merged"))),
    rung("s8", "S8: 1,000 event streams", Kind::Streams),
    rung("s9", "S9: WebSocket echo", Kind::Sockets),
    rung("s10", "S10: an upload of 1 GB", Kind::Upload),
    rung("hand-off", "Local hand-off", Kind::HandOff),
    rung("export", "Proxying beside an export", Kind::Export),
];

const fn rung(name: &'static str, title: &'static str, kind: Kind) -> Rung {
    Rung { name, title, kind }
}

/// Returns the rungs whose names begin with one of these words; all where there are none.
pub fn chosen(words: &[String]) -> Outcome<Vec<Rung>> {
    let fits = |rung: &Rung, word: &str| rung.name == word || rung.name.starts_with(&format!("{word}-"));
    if let Some(word) = words.iter().find(|word| !LADDER.iter().any(|rung| fits(rung, word))) {
        let names: Vec<&str> = LADDER.iter().map(|rung| rung.name).collect();
        return Err(format!("there is no rung {word}; there are {}", names.join(", ")).into());
    }
    let wanted = |rung: &&Rung| words.is_empty() || words.iter().any(|word| fits(rung, word));
    Ok(LADDER.iter().filter(wanted).copied().collect())
}

impl Asks {
    /// Returns the requests, ready to be sent.
    pub fn requests(self, ground: &Ground) -> Outcome<Rc<[Vec<u8>]>> {
        Ok(match self {
            Self::Path(path) => vec![get(path, None)],
            Self::Routes => {
                let mut paths: Vec<String> = ground.routes.iter().map(|route| example(route)).collect();
                let mut dice = Dice::seeded(609);
                (1..paths.len()).rev().for_each(|place| paths.swap(place, dice.below(place + 1)));
                paths.iter().map(|path| get(path, None)).collect()
            }
            Self::Warm(algorithm) => tokens(ground, algorithm, WARM)?,
            Self::Cold(algorithm) => tokens(ground, algorithm, COLD)?,
        }
        .into())
    }

    /// Returns how many requests it takes until each has been sent once.
    pub fn warms_up(self) -> bool {
        !matches!(self, Self::Cold(_))
    }

    /// Whether the origin answers the same without a proxy.
    pub fn has_direct(self) -> bool {
        self != Self::Path("/merged")
    }
}

fn tokens(ground: &Ground, algorithm: Algorithm, count: usize) -> Outcome<Vec<Vec<u8>>> {
    (0..count).map(|number| Ok(get("/128", Some(&ground.issuer.token(algorithm, number)?)))).collect()
}

/// Returns a request.
pub fn get(path: &str, token: Option<&str>) -> Vec<u8> {
    let bearer = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
    format!("GET {path} HTTP/1.1\r\nHost: bench.test\r\nAccept: */*\r\nUser-Agent: bench\r\n{bearer}\r\n").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rungs_are_chosen_by_the_beginning_of_their_names() {
        let names = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
            chosen(&words).map(|rungs| rungs.iter().map(|rung| rung.name).collect::<Vec<_>>())
        };
        assert_eq!(names(&["s1", "s2"]).expect("known"), ["s1", "s2-10k", "s2-100k"]);
        assert_eq!(names(&["s4-es256"]).expect("known").len(), 2);
        assert_eq!(names(&[]).expect("all").len(), LADDER.len());
        assert!(names(&["s99"]).is_err());
    }
}
