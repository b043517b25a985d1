//! The requests: the same for every system, in the same order in every run. Not for sending them.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::client::{get, post_as};
use crate::figures::Dice;

/// How many items the tenant has before anything is measured.
pub const ITEMS: usize = 10_000;
/// How many items are on a page.
pub const PAGE: usize = 50;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    List,
    Get,
    Create,
    Adjust,
}

impl Operation {
    pub const ALL: [Self; 4] = [Self::List, Self::Get, Self::Create, Self::Adjust];

    pub fn name(self) -> &'static str {
        match self {
            Self::List => "list",
            Self::Get => "get",
            Self::Create => "create",
            Self::Adjust => "adjust",
        }
    }

    /// Returns the status of an answer that did what was asked.
    pub fn done(self) -> u16 {
        if self == Self::Create { 201 } else { 200 }
    }

    /// Returns how many are sent a second at equal rate: about half of what the slowest system manages of
    /// it on two quiet cores.
    pub fn per_second(self) -> f64 {
        match self {
            Self::List => 300.0,
            Self::Get => 600.0,
            Self::Create | Self::Adjust => 200.0,
        }
    }

    /// Says how many times a peer's CPU time Portico's may be: of FastAPI's, and of Express's.
    pub fn goals(self) -> [f64; 2] {
        match self {
            Self::List | Self::Get => [1.0 / 10.0, 1.0 / 5.0],
            Self::Create | Self::Adjust => [1.0 / 4.0, 1.0 / 3.0],
        }
    }
}

/// Makes the requests to one system.
pub struct Requests {
    token: String,
    /// A path for each page of the list.
    pages: Vec<String>,
    /// Names the items that are created, once each.
    created: AtomicU64,
}

impl Requests {
    /// Returns what asks with this token; the pages have to be found first.
    pub fn new(token: &str) -> Self {
        Self { token: token.to_owned(), pages: Vec::new(), created: AtomicU64::new(0) }
    }

    /// Remembers a page of the list.
    pub fn add_page(&mut self, path: String) {
        self.pages.push(path);
    }

    /// Returns the request of this number in a round.
    pub fn make(&self, operation: Operation, round: usize, number: usize) -> Vec<u8> {
        let mut dice = Dice::seeded((round as u64) << 32 | (operation as u64) << 28 | number as u64);
        match operation {
            Operation::List => self.ask(&self.pages[dice.below(self.pages.len())]),
            Operation::Get => self.ask(&item(dice.below(ITEMS))),
            Operation::Create => {
                let number = self.created.fetch_add(1, Ordering::Relaxed);
                let body = format!(
                    r#"{{"sku":"new-{number}","name":"New item {number}","description":"A thing that has just come","lowStockLevel":5}}"#
                );
                self.tell("/api/inventory", &body)
            }
            Operation::Adjust => {
                let delta = if number.is_multiple_of(2) { 1 } else { -1 };
                self.adjust(dice.below(ITEMS), delta)
            }
        }
    }

    /// Returns a change of stock.
    pub fn adjust(&self, number: usize, delta: i64) -> Vec<u8> {
        let reason = if delta < 0 { "sold" } else { "received" };
        self.tell(&format!("{}/adjust", item(number)), &format!(r#"{{"delta":{delta},"reason":"{reason}"}}"#))
    }

    /// Returns a GET.
    pub fn ask(&self, path: &str) -> Vec<u8> {
        get(path, Some(&self.token))
    }

    /// Returns a POST.
    pub fn tell(&self, path: &str, body: &str) -> Vec<u8> {
        post_as(path, body, &self.token)
    }
}

/// Returns the path of an item; all systems know it by the same id.
pub fn item(number: usize) -> String {
    format!("/api/inventory/01900000-0000-7000-8000-{:012x}", number % ITEMS + 1)
}

/// Returns the path of a page of the list.
pub fn page(cursor: Option<&str>) -> String {
    let after = cursor.map(|cursor| format!("&cursor={}", cursor.replace('=', "%3D"))).unwrap_or_default();
    format!("/api/inventory?sort=name&limit={PAGE}{after}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_requests_are_made_in_every_run_and_of_every_system() {
        let (mut one, mut other) = (Requests::new("t"), Requests::new("t"));
        for requests in [&mut one, &mut other] {
            (0..7).for_each(|number| requests.add_page(page(Some(&number.to_string()))));
        }
        for operation in Operation::ALL {
            let made =
                |requests: &Requests| (0..9).map(|number| requests.make(operation, 1, number)).collect::<Vec<_>>();
            let first = made(&one);
            assert_eq!(first, made(&other));
            assert!(first.iter().any(|request| *request != first[0]), "{operation:?} varies");
        }
        assert_eq!(item(0), "/api/inventory/01900000-0000-7000-8000-000000000001");
        assert!(page(Some("a=")).ends_with("limit=50&cursor=a%3D"));
    }
}
