//! Which events somebody gets: of those that their permissions let them learn of, those that they
//! asked for. Not for the tenant, which the reading itself is bound to.

use std::collections::BTreeMap;
use std::sync::Arc;

use kernel::{Ctx, Error, Result};
use store::EventRow;

use super::READ;
use crate::manifest::{Audience, EventType};

/// How many types or subjects may be asked for at once.
const MOST: usize = 50;
/// How long one of them may be.
const LONGEST: usize = 200;

/// Every type of event, and who may learn of it.
pub(super) struct Catalogue(BTreeMap<&'static str, Audience>);

/// Which audiences a caller belongs to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Audiences([bool; 3]);

impl Audiences {
    /// Returns those of this caller.
    pub(super) fn of(ctx: &Ctx) -> Self {
        let may = |audience| {
            READ.iter().any(|(known, permission)| *known == audience && ctx.permissions().allows(permission.name))
        };
        Self([may(Audience::Members), may(Audience::Staff), may(Audience::Admins)])
    }

    fn has(self, audience: Audience) -> bool {
        let [members, staff, admins] = self.0;
        match audience {
            Audience::Members => members,
            Audience::Staff => staff,
            Audience::Admins => admins,
        }
    }
}

impl Catalogue {
    pub(super) fn of(declared: impl Iterator<Item = EventType>) -> Self {
        Self(declared.map(|kind| (kind.name, kind.audience)).collect())
    }

    /// Returns the types that these audiences may learn of.
    pub(super) fn visible(&self, audiences: Audiences) -> impl Iterator<Item = &'static str> {
        self.0.iter().filter(move |(_, audience)| audiences.has(**audience)).map(|(name, _)| *name)
    }

    fn shows(&self, kind: &str, audiences: Audiences) -> bool {
        self.0.get(kind).is_some_and(|audience| audiences.has(*audience))
    }
}

/// Which events a stream carries.
pub(super) struct Selection {
    catalogue: Arc<Catalogue>,
    audiences: Audiences,
    /// Types, or their beginnings before a `*`; none means all.
    kinds: Box<[Box<str>]>,
    /// None means all.
    subjects: Box<[Box<str>]>,
}

impl Selection {
    /// Reads what was asked for.
    pub(super) fn read(
        catalogue: Arc<Catalogue>,
        audiences: Audiences,
        kinds: Option<&str>,
        subjects: Option<&str>,
    ) -> Result<Self> {
        let kinds = list("types", kinds, is_kind)?;
        let subjects = list("subject", subjects, |text| !text.contains(char::is_control))?;
        Ok(Self { catalogue, audiences, kinds, subjects })
    }

    /// Says whether the stream carries the event.
    pub(super) fn takes(&self, event: &EventRow) -> bool {
        self.wants(&event.kind)
            && (self.subjects.is_empty() || self.subjects.iter().any(|subject| **subject == *event.subject))
            && self.catalogue.shows(&event.kind, self.audiences)
    }

    /// Returns the types that it carries.
    pub(super) fn kinds(&self) -> Vec<&'static str> {
        self.catalogue.visible(self.audiences).filter(|kind| self.wants(kind)).collect()
    }

    /// Returns the subject, where there is only one.
    pub(super) fn subject(&self) -> Option<String> {
        match &*self.subjects {
            [only] => Some(only.to_string()),
            _ => None,
        }
    }

    fn wants(&self, kind: &str) -> bool {
        let fits = |wanted: &str| match wanted.strip_suffix('*') {
            Some(beginning) => kind.starts_with(beginning),
            None => kind == wanted,
        };
        self.kinds.is_empty() || self.kinds.iter().any(|wanted| fits(wanted))
    }
}

/// Reads a list with commas; an empty one is like none.
fn list(field: &str, text: Option<&str>, sound: impl Fn(&str) -> bool) -> Result<Box<[Box<str>]>> {
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(Box::default()) };
    let items: Box<[Box<str>]> = text.split(',').map(|item| item.trim().into()).collect();
    let sound = |item: &str| !item.is_empty() && item.len() <= LONGEST && sound(item);
    if items.len() <= MOST && items.iter().all(|item| sound(item)) {
        return Ok(items);
    }
    let message = match field {
        "types" => "must be up to 50 types with commas between them, such as inventory.item.created,inventory.order.*",
        _ => "must be up to 50 ids with commas between them",
    };
    Err(Error::invalid("request.invalid_query", "the query is not valid").field(field, message))
}

/// Says whether it is a type, the beginning of one up to a dot and `*`, or `*`.
fn is_kind(text: &str) -> bool {
    let name = match text.strip_suffix('*') {
        Some("") => return true,
        Some(beginning) => match beginning.strip_suffix('.') {
            Some(name) => name,
            None => return false,
        },
        None => text,
    };
    !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selection(kinds: &str, subjects: &str, audiences: [bool; 3]) -> Result<Selection> {
        let kind = |name, audience| EventType { name, audience, retention_days: None, summary: "" };
        let catalogue = Catalogue::of(
            [
                kind("shop.item.made", Audience::Members),
                kind("shop.item.sold", Audience::Staff),
                kind("shop.itemised", Audience::Admins),
            ]
            .into_iter(),
        );
        Selection::read(Arc::new(catalogue), Audiences(audiences), Some(kinds), Some(subjects))
    }

    #[test]
    fn a_selection_carries_what_was_asked_for_and_may_be_seen() {
        let kinds = |asked: &str, audiences| selection(asked, "", audiences).expect("a selection").kinds();
        let all = [true; 3];
        assert_eq!(kinds("", all), ["shop.item.made", "shop.item.sold", "shop.itemised"]);
        assert_eq!(kinds("*", [true, true, false]), ["shop.item.made", "shop.item.sold"]);
        assert_eq!(kinds("shop.item.*", all), ["shop.item.made", "shop.item.sold"]);
        assert_eq!(kinds("shop.itemised, shop.item.made", all), ["shop.item.made", "shop.itemised"]);
        assert_eq!(kinds("shop.item.sold", [true, false, true]), [""; 0]);
        assert_eq!(kinds("other.*", all), [""; 0]);
        assert_eq!(selection("", "a", all).expect("a selection").subject().as_deref(), Some("a"));
        assert_eq!(selection("", "a,b", all).expect("a selection").subject(), None);
    }

    #[test]
    fn what_is_no_list_is_refused() {
        let many = vec!["a"; MOST + 1].join(",");
        let long = "a".repeat(LONGEST + 1);
        for kinds in ["a,,b", ",", "A", "a*", "**", ".*.", "a b", "a%", &many, &long] {
            let refused = selection(kinds, "", [true; 3]).err().unwrap_or_else(|| panic!("{kinds}"));
            assert_eq!(refused.code(), "request.invalid_query", "{kinds}");
        }
        for subjects in ["a,", "a\nb", &many, &long] {
            assert!(selection("", subjects, [true; 3]).is_err(), "{subjects}");
        }
    }
}
