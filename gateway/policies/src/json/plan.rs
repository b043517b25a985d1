//! The changes as a tree that follows the document's. Not for reading bytes.

use std::sync::Arc;

use kernel::Result;
use serde_json::Value;

use super::{JsonConfig, OnInvalid};
use crate::template::{Template, Values};
use crate::wrong;

/// How long a name may be in the configuration; with every letter escaped it still fits the filter's buffer.
const NAME_LIMIT: usize = 128;
const NODE_LIMIT: usize = 1_024;

/// Compiled changes. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct JsonPlan(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    nodes: Vec<Node>,
    templates: Vec<Template>,
    before: Box<[u8]>,
    after: Box<[u8]>,
    on_invalid: OnInvalid,
    max_depth: usize,
}

/// What is changed in one object, or in those of an array.
#[derive(Debug, Default)]
pub(super) struct Node {
    pub keep_only: bool,
    /// Sorted by name.
    members: Vec<Member>,
    pub sets: Vec<Set>,
    /// Objects to make where they are missing: their bit, their key as JSON, their node.
    pub makes: Vec<(u64, Box<[u8]>, usize)>,
}

#[derive(Debug, Default)]
pub(super) struct Member {
    name: Box<str>,
    pub drop: bool,
    /// The new name as JSON.
    pub rename: Option<Box<[u8]>>,
    pub node: Option<usize>,
    /// Mentioned by more than removals.
    pub wanted: bool,
    /// All of it is kept.
    whole: bool,
    /// Its bit among the objects that may have to be made.
    pub bit: u64,
}

#[derive(Debug)]
pub(super) struct Set {
    /// As JSON.
    pub key: Box<[u8]>,
    pub value: SetValue,
}

#[derive(Debug)]
pub(super) enum SetValue {
    Fixed(Box<[u8]>),
    Rendered(usize),
}

impl Node {
    pub(super) fn member(&self, name: &[u8]) -> Option<&Member> {
        let found = self.members.binary_search_by(|member| member.name.as_bytes().cmp(name)).ok()?;
        Some(&self.members[found])
    }
}

impl JsonPlan {
    pub(crate) fn compile(config: &JsonConfig) -> Result<Self> {
        if !(1..=1_024).contains(&config.max_depth) {
            return Err(wrong("json: max_depth must be 1 to 1024"));
        }
        if serde_json::from_str::<Value>(&format!("{}null{}", config.before, config.after)).is_err() {
            return Err(wrong("json: before and after must make JSON around a document"));
        }
        let mut inner = Inner {
            nodes: vec![Node::default()],
            templates: Vec::new(),
            before: config.before.as_bytes().into(),
            after: config.after.as_bytes().into(),
            on_invalid: config.on_invalid,
            max_depth: config.max_depth,
        };
        for path in &config.keep {
            let (member, _) = inner.reach(path, Some(true))?;
            if member.node.is_some() || std::mem::replace(&mut member.whole, true) {
                return Err(wrong(format!("json: {path} is kept twice")));
            }
        }
        for path in &config.remove {
            let (member, _) = inner.reach(path, None)?;
            if std::mem::replace(&mut member.drop, true) {
                return Err(wrong(format!("json: {path} is removed twice")));
            }
        }
        for (path, name) in &config.rename {
            let key = key(name)?;
            let (member, node) = inner.reach(path, Some(false))?;
            if member.drop || member.rename.replace(key).is_some() {
                return Err(wrong(format!("json: {path} is removed, set or renamed to, and renamed")));
            }
            inner.take_name(node, name)?;
        }
        for (path, value) in &config.set {
            let value = inner.value(value)?;
            let name = path.rsplit('.').next().unwrap_or_default();
            let (_, node) = inner.reach(path, Some(false))?;
            inner.take_name(node, name)?;
            inner.nodes[node].sets.push(Set { key: key(name)?, value });
        }
        inner.finish(0, false)?;
        Ok(Self(Arc::new(inner)))
    }

    /// Renders what the request shows.
    pub(crate) fn prepare(&self, values: &Values<'_>) -> Vec<Option<Vec<u8>>> {
        let render = |template: &Template| {
            let bytes = template.render(values)?;
            serde_json::to_vec(&String::from_utf8_lossy(&bytes)).ok()
        };
        self.0.templates.iter().map(render).collect()
    }

    pub(crate) fn on_invalid(&self) -> OnInvalid {
        self.0.on_invalid
    }

    pub(super) fn node(&self, index: usize) -> &Node {
        &self.0.nodes[index]
    }

    pub(super) fn max_depth(&self) -> usize {
        self.0.max_depth
    }

    pub(super) fn before(&self) -> &[u8] {
        &self.0.before
    }

    pub(super) fn after(&self) -> &[u8] {
        &self.0.after
    }
}

impl Inner {
    /// Returns the member at a path and the node it is in; `wanted`: nothing for removals, true for keeping alone.
    fn reach(&mut self, path: &str, wanted: Option<bool>) -> Result<(&mut Member, usize)> {
        let keep = wanted == Some(true);
        let names: Vec<&str> = path.split('.').collect();
        let mut node = 0;
        for (depth, name) in names.iter().enumerate() {
            check_name(name).map_err(|why| wrong(format!("json: {path}: {why}")))?;
            self.nodes[node].keep_only |= keep;
            let made = self.nodes.len();
            let member = self.nodes[node].member_or_new(name);
            member.wanted |= wanted.is_some();
            if depth + 1 == names.len() {
                let at = self.nodes[node].index(name);
                return Ok((&mut self.nodes[node].members[at], node));
            }
            if keep && member.whole {
                return Err(wrong(format!("json: {path} is kept twice")));
            }
            if wanted.is_some() && member.drop {
                return Err(wrong(format!("json: two changes are about {path}")));
            }
            let next = *member.node.get_or_insert(made);
            if next == made {
                self.nodes.push(Node::default());
            }
            if self.nodes.len() > NODE_LIMIT {
                return Err(wrong("json: there are too many changes"));
            }
            node = next;
        }
        Err(wrong("json: a path must have a name"))
    }

    /// Makes a name the gateway's: a member that brings it is dropped.
    fn take_name(&mut self, node: usize, name: &str) -> Result<()> {
        let member = self.nodes[node].member_or_new(name);
        if member.rename.is_some() || member.whole || member.node.is_some() || std::mem::replace(&mut member.drop, true)
        {
            return Err(wrong(format!("json: two changes are about {name}")));
        }
        Ok(())
    }

    fn value(&mut self, value: &Value) -> Result<SetValue> {
        if let Value::String(text) = value
            && text.contains(['{', '}'])
        {
            self.templates.push(Template::compile(text)?);
            return Ok(SetValue::Rendered(self.templates.len() - 1));
        }
        let bytes = serde_json::to_vec(value).map_err(|error| wrong(format!("json: {error}")))?;
        Ok(SetValue::Fixed(bytes.into()))
    }

    /// Hands down what is kept alone, and finds the objects that may have to be made; says whether this one may.
    fn finish(&mut self, node: usize, keep_only: bool) -> Result<bool> {
        self.nodes[node].keep_only |= keep_only;
        let keep_only = self.nodes[node].keep_only;
        let mut makes = Vec::new();
        for at in 0..self.nodes[node].members.len() {
            let member = &self.nodes[node].members[at];
            let (below, whole, drop) = (member.node, member.whole, member.drop);
            let Some(below) = below else { continue };
            if self.finish(below, keep_only && !whole)? && !drop {
                let bit = 1_u64.checked_shl(makes.len() as u32);
                let bit = bit.ok_or_else(|| wrong("json: values are set in more than 64 members of one object"))?;
                let member = &mut self.nodes[node].members[at];
                member.bit = bit;
                let name = member.rename.clone().map_or_else(|| key(&member.name), Ok)?;
                makes.push((bit, name, below));
            }
        }
        let any = !makes.is_empty() || !self.nodes[node].sets.is_empty();
        self.nodes[node].makes = makes;
        Ok(any)
    }
}

impl Node {
    fn index(&self, name: &str) -> usize {
        self.members.binary_search_by(|member| (*member.name).cmp(name)).unwrap_or_else(|at| at)
    }

    fn member_or_new(&mut self, name: &str) -> &mut Member {
        let at = self.index(name);
        if self.members.get(at).is_none_or(|member| &*member.name != name) {
            self.members.insert(at, Member { name: name.into(), ..Member::default() });
        }
        &mut self.members[at]
    }
}

fn check_name(name: &str) -> Result<(), String> {
    if name.is_empty() || name.len() > NAME_LIMIT {
        return Err(format!("a name must have 1 to {NAME_LIMIT} bytes"));
    }
    Ok(())
}

fn key(name: &str) -> Result<Box<[u8]>> {
    check_name(name).map_err(|why| wrong(format!("json: {name:?}: {why}")))?;
    serde_json::to_vec(name).map(Into::into).map_err(|error| wrong(format!("json: {error}")))
}
