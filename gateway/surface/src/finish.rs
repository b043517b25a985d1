//! Puts names in the place of placeholders, when all names are known. Not for choosing them.

use std::collections::{BTreeSet, HashMap};

use serde_json::{Map, Value, json};

use crate::gather::{Entry, IMPLICIT, Slot};
use crate::kinds::Kind;
use crate::source::Source;

/// The names of everything that has a placeholder.
pub(crate) struct Names {
    /// The component's name of each entry.
    pub entries: Vec<String>,
    /// The member of `components` of each entry.
    pub kinds: Vec<&'static str>,
    /// The operation id of each slot.
    pub slots: Vec<String>,
}

/// Gives every class of components its name: the one it has, or one that says where it is from.
pub(crate) fn name(entries: &[Entry], slots: &[Slot], class: &[usize], sources: &[Source]) -> Names {
    let mut taken: BTreeSet<(Kind, String)> = BTreeSet::new();
    let mut given: HashMap<usize, String> = HashMap::new();
    for (id, entry) in entries.iter().enumerate() {
        let name = given.entry(class[id]).or_insert_with(|| {
            let plain = allowed(&entry.name);
            let source = entry.source.map_or("Door", |number| sources[number].name.as_str());
            let first = if taken.contains(&(entry.kind, plain.clone())) {
                format!("{}_{plain}", allowed(&capitalised(source)))
            } else {
                plain
            };
            unique(first, |name| taken.contains(&(entry.kind, name.to_owned())))
        });
        taken.insert((entry.kind, name.clone()));
    }
    let mut ids = vec![String::new(); slots.len()];
    let mut used = BTreeSet::new();
    // The door's own operations keep their ids, whatever others are called.
    for own in [true, false] {
        for (number, slot) in slots.iter().enumerate().filter(|(_, slot)| sources[slot.source].own == own) {
            let source = &sources[slot.source].name;
            let prefix = format!("{source}_");
            let wanted = if own || slot.wanted.starts_with(&prefix) {
                slot.wanted.clone()
            } else {
                format!("{prefix}{}", slot.wanted)
            };
            let id = unique(wanted, |id| used.contains(id));
            used.insert(id.clone());
            ids[number] = id;
        }
    }
    Names {
        entries: (0..entries.len()).map(|id| given[&class[id]].clone()).collect(),
        kinds: entries.iter().map(|entry| entry.kind.component().unwrap_or("schemas")).collect(),
        slots: ids,
    }
}

fn unique(name: String, taken: impl Fn(&str) -> bool) -> String {
    if !taken(&name) {
        return name;
    }
    (2..).map(|number| format!("{name}_{number}")).find(|name| !taken(name)).unwrap_or(name)
}

fn capitalised(name: &str) -> String {
    let mut letters = name.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// Returns a name with the characters that components may have, as far as there are any.
pub(crate) fn allowed(name: &str) -> String {
    let kept = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '.' | '-' | '_');
    let name: String = name.chars().map(|letter| if kept(letter) { letter } else { '_' }).collect();
    if name.chars().any(|letter| letter.is_ascii_alphanumeric()) { name } else { format!("Component{name}") }
}

impl Names {
    /// Returns the reference to an entry.
    fn reference(&self, id: usize) -> String {
        format!("#/components/{}/{}", self.kinds[id], self.entries[id])
    }

    /// Puts the names in.
    pub(crate) fn finish(&self, value: Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.text(text)),
            Value::Array(list) => list.into_iter().map(|member| self.finish(member)).collect(),
            Value::Object(map) => {
                let implicit = map.get(IMPLICIT).cloned();
                let members = map.into_iter().filter(|(key, _)| key != IMPLICIT);
                let mut map: Map<String, Value> =
                    members.map(|(key, member)| (self.key(key), self.finish(member))).collect();
                if let Some(implicit) = implicit {
                    self.say_what_changed(&mut map, &implicit);
                }
                Value::Object(map)
            }
            other => other,
        }
    }

    /// A discriminator's values are names of components unless it says more: it must, of those that
    /// have another name now.
    fn say_what_changed(&self, discriminator: &mut Map<String, Value>, implicit: &Value) {
        for (name, placeholder) in implicit.as_object().into_iter().flatten() {
            let name = name.strip_prefix("\0").unwrap_or(name);
            let Some(id) = placeholder.as_str().and_then(|text| number(text, "\0c")) else { continue };
            if self.entries[id] != name
                && let Some(mapping) = discriminator.entry("mapping").or_insert_with(|| json!({})).as_object_mut()
            {
                mapping.entry(name.to_owned()).or_insert_with(|| json!(self.reference(id)));
            }
        }
    }

    fn text(&self, text: String) -> String {
        if !text.starts_with('\0') {
            return text;
        }
        if let Some(id) = number(&text, "\0c") {
            return self.reference(id);
        }
        match number(&text, "\0o") {
            Some(slot) => self.slots[slot].clone(),
            None => text.strip_prefix('\0').unwrap_or(&text).to_owned(),
        }
    }

    /// A key with a placeholder is a security scheme's.
    fn key(&self, key: String) -> String {
        match number(&key, "\0c") {
            Some(id) => self.entries[id].clone(),
            None => key.strip_prefix('\0').map_or_else(|| key.clone(), str::to_owned),
        }
    }
}

fn number(text: &str, prefix: &str) -> Option<usize> {
    text.strip_prefix(prefix)?.parse().ok()
}
