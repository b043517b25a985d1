//! Which components of different documents are the same: equal in their text, and in everything
//! that they refer to, however it goes round. Not for what they are called then.
//!
//! Components of one kind and name begin in one class; a class is split where what its members
//! refer to lies in different classes, until none is: the coarsest partition, as for automata.

use std::collections::{BTreeSet, HashMap};

use serde_json::Value;

use crate::gather::Entry;
use crate::kinds::Kind;

/// Returns the class of each entry.
pub(crate) fn classes(entries: &[Entry]) -> Vec<usize> {
    let mut by_text: HashMap<(Kind, &str, String), usize> = HashMap::new();
    let mut class = Vec::with_capacity(entries.len());
    let mut members: Vec<Vec<usize>> = Vec::new();
    for (id, entry) in entries.iter().enumerate() {
        let next = members.len();
        let found = *by_text.entry((entry.kind, entry.name.as_str(), text(&entry.value))).or_insert(next);
        if found == next {
            members.push(Vec::new());
        }
        members[found].push(id);
        class.push(found);
    }
    let mut users: Vec<Vec<usize>> = vec![Vec::new(); entries.len()];
    for (id, entry) in entries.iter().enumerate() {
        entry.targets.iter().for_each(|target| users[*target].push(id));
    }
    let mut open: BTreeSet<usize> = (0..members.len()).filter(|class| members[*class].len() > 1).collect();
    while let Some(at) = open.pop_first() {
        let mut groups: HashMap<Vec<usize>, usize> = HashMap::new();
        let mut parts: Vec<Vec<usize>> = Vec::new();
        for id in &members[at] {
            let leads_to = entries[*id].targets.iter().map(|target| class[*target]).collect();
            let next = parts.len();
            let part = *groups.entry(leads_to).or_insert(next);
            if part == next {
                parts.push(Vec::new());
            }
            parts[part].push(*id);
        }
        let mut parts = parts.into_iter();
        members[at] = parts.next().unwrap_or_default();
        for part in parts {
            let new = members.len();
            for id in &part {
                class[*id] = new;
            }
            members.push(part.clone());
            // Whoever refers to one that moved may no longer be like the others.
            for user in part.iter().flat_map(|id| &users[*id]).filter(|user| members[class[**user]].len() > 1) {
                open.insert(class[*user]);
            }
        }
    }
    class
}

/// Returns a value as text, in which all references look alike.
fn text(value: &Value) -> String {
    let mut text = String::new();
    write(value, &mut text);
    text
}

fn write(value: &Value, text: &mut String) {
    match value {
        Value::String(own) if own.starts_with("\0c") => text.push_str("\0c"),
        Value::Array(list) => {
            text.push('[');
            for member in list {
                write(member, text);
                text.push(',');
            }
            text.push(']');
        }
        Value::Object(map) => {
            let mut sorted: Vec<(&String, &Value)> = map.iter().collect();
            sorted.sort_by_key(|(name, _)| *name);
            text.push('{');
            for (name, member) in sorted {
                text.push_str(&Value::String(name.clone()).to_string());
                text.push(':');
                write(member, text);
                text.push(',');
            }
            text.push('}');
        }
        other => text.push_str(&other.to_string()),
    }
}
