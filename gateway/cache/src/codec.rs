//! Stored answers as bytes, for Redis: lengths and numbers take as many bytes as they need. Not for anything that
//! outlives the version: what cannot be read is not there.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use kernel::TenantId;
use uuid::Uuid;

use crate::body::Content;
use crate::key::Key;
use crate::stored::Stored;
use crate::tag::Tag;
use crate::vary::Vary;
use crate::verdict::Meta;

/// Changes with every change of what is written.
const ANSWER: u8 = 1;
const NAMES: u8 = 2;

/// What Redis holds under a key.
pub(crate) enum Record {
    /// The answer, and how many invalidations Redis had counted before it was asked for.
    Answer(Box<Stored>, u64),
    /// What the answers under this key vary by; each is under a key with these values.
    Names(Vec<HeaderName>),
}

/// Writes an answer.
pub(crate) fn answer(stored: &Stored, began: u64) -> Vec<u8> {
    let mut out = Vec::with_capacity(stored.content.length as usize + 512);
    let meta = &stored.meta;
    out.push(ANSWER);
    number(&mut out, began);
    bytes(&mut out, &stored.key);
    number(&mut out, u64::from(stored.status.as_u16()));
    for time in [meta.received, meta.initial_age, meta.lifetime, meta.while_revalidate, meta.if_error, meta.date] {
        signed(&mut out, time);
    }
    let flags = [meta.no_cache, meta.strict, meta.explicit, meta.immutable, meta.last_modified.is_some()];
    out.push(flags.iter().rev().fold(0, |bits, flag| bits << 1 | u8::from(*flag)));
    signed(&mut out, meta.last_modified.unwrap_or_default());
    write_names(&mut out, &stored.vary.names);
    bytes(&mut out, &stored.vary.values);
    bytes(&mut out, stored.vary.language.as_deref().unwrap_or_default().as_bytes());
    number(&mut out, stored.tags.len() as u64);
    stored.tags.iter().for_each(|tag| bytes(&mut out, tag));
    number(&mut out, stored.headers.len() as u64);
    for (name, value) in &stored.headers {
        bytes(&mut out, name.as_str().as_bytes());
        bytes(&mut out, value.as_bytes());
    }
    number(&mut out, stored.content.length);
    stored.content.chunks.iter().for_each(|chunk| out.extend_from_slice(chunk));
    out
}

/// Writes what the answers of a key vary by.
pub(crate) fn names(names: &[HeaderName]) -> Vec<u8> {
    let mut out = vec![NAMES];
    write_names(&mut out, names);
    out
}

/// Reads what is under a key; `None` where it is nothing that this version wrote, or is for another key.
pub(crate) fn read(data: Vec<u8>, key: &Key, tenant: Option<TenantId>) -> Option<Record> {
    let data = Bytes::from(data);
    let mut input = Input { data: &data, at: 0 };
    match input.byte()? {
        NAMES => Some(Record::Names(input.names()?)),
        ANSWER => {
            let began = input.number()?;
            if input.bytes()? != &**key {
                return None;
            }
            let status = StatusCode::from_u16(u16::try_from(input.number()?).ok()?).ok()?;
            let mut times = [0; 6];
            for time in &mut times {
                *time = input.signed()?;
            }
            let [received, initial_age, lifetime, while_revalidate, if_error, date] = times;
            let flags = input.byte()?;
            let flag = |bit: u8| flags >> bit & 1 == 1;
            let modified = input.signed()?;
            let last_modified = flag(4).then_some(modified);
            let (no_cache, strict, explicit, immutable) = (flag(0), flag(1), flag(2), flag(3));
            let meta = Meta {
                received,
                initial_age,
                lifetime,
                while_revalidate,
                if_error,
                no_cache,
                strict,
                explicit,
                immutable,
                date,
                last_modified,
            };
            let names = input.names()?;
            let values = input.bytes()?.to_vec();
            let language = std::str::from_utf8(input.bytes()?).ok().filter(|text| !text.is_empty()).map(Box::from);
            let tags = (0..input.count()?).map(|_| input.bytes().map(Tag::from)).collect::<Option<_>>()?;
            let mut headers = HeaderMap::new();
            for _ in 0..input.count()? {
                let name = HeaderName::from_bytes(input.bytes()?).ok()?;
                headers.try_append(name, HeaderValue::from_bytes(input.bytes()?).ok()?).ok()?;
            }
            let length = input.number()?;
            let body = data.slice(input.at..);
            (body.len() as u64 == length).then(|| {
                let chunks = if body.is_empty() { Vec::new() } else { vec![body] };
                let stored = Stored {
                    id: 0,
                    key: key.clone(),
                    tenant,
                    status,
                    headers,
                    content: Arc::new(Content { chunks, length }),
                    part: None,
                    vary: Vary { names, values, language },
                    meta,
                    tags,
                    began: 0,
                    counted: None,
                    dead: AtomicBool::new(false),
                    refreshed: AtomicI64::new(0),
                };
                Record::Answer(Box::new(stored), began)
            })
        }
        _ => None,
    }
}

/// Writes an invalidation for the other nodes; no tags: everything of everybody.
pub(crate) fn event(node: &[u8; 16], tenant: Option<TenantId>, tags: &[Tag]) -> Vec<u8> {
    let mut out = node.to_vec();
    out.push(u8::from(tenant.is_some()));
    out.extend_from_slice(&tenant.map_or([0; 16], |tenant| tenant.uuid().into_bytes()));
    number(&mut out, tags.len() as u64);
    tags.iter().for_each(|tag| bytes(&mut out, tag));
    out
}

/// Reads who invalidated what.
pub(crate) fn read_event(data: &[u8]) -> Option<([u8; 16], Option<TenantId>, Vec<Tag>)> {
    let (node, rest) = data.split_first_chunk::<16>()?;
    let (known, rest) = rest.split_first()?;
    let (tenant, rest) = rest.split_first_chunk::<16>()?;
    let tenant = (*known == 1).then(|| TenantId::from_uuid(Uuid::from_bytes(*tenant)));
    let mut input = Input { data: rest, at: 0 };
    let tags = (0..input.count()?).map(|_| input.bytes().map(Tag::from)).collect::<Option<_>>()?;
    Some((*node, tenant, tags))
}

fn number(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn signed(out: &mut Vec<u8>, value: i64) {
    number(out, ((value << 1) ^ (value >> 63)) as u64);
}

fn bytes(out: &mut Vec<u8>, value: &[u8]) {
    number(out, value.len() as u64);
    out.extend_from_slice(value);
}

fn write_names(out: &mut Vec<u8>, names: &[HeaderName]) {
    number(out, names.len() as u64);
    names.iter().for_each(|name| bytes(out, name.as_str().as_bytes()));
}

struct Input<'a> {
    data: &'a [u8],
    at: usize,
}

impl<'a> Input<'a> {
    fn byte(&mut self) -> Option<u8> {
        let byte = *self.data.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    fn number(&mut self) -> Option<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    fn signed(&mut self) -> Option<i64> {
        let value = self.number()?;
        Some((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.number()?).ok()?;
        let bytes = self.data.get(self.at..self.at.checked_add(length)?)?;
        self.at += length;
        Some(bytes)
    }

    /// Reads how many there are; no more than there are bytes.
    fn count(&mut self) -> Option<usize> {
        usize::try_from(self.number()?).ok().filter(|count| *count <= self.data.len())
    }

    fn names(&mut self) -> Option<Vec<HeaderName>> {
        (0..self.count()?).map(|_| HeaderName::from_bytes(self.bytes()?).ok()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Stored {
        let meta = Meta {
            received: 1_795_219_200_000_000,
            initial_age: -3,
            lifetime: 60_000_000,
            while_revalidate: 0,
            if_error: i64::MAX / 4,
            no_cache: false,
            strict: true,
            explicit: true,
            immutable: false,
            date: -1,
            last_modified: Some(784_111_777),
        };
        Stored {
            id: 9,
            key: Key::from(&b"key"[..]),
            tenant: None,
            status: StatusCode::NOT_FOUND,
            headers: HeaderMap::from_iter([(http::header::ETAG, HeaderValue::from_static("\"a\""))]),
            content: Arc::new(Content { chunks: vec![Bytes::from("ab"), Bytes::from("c")], length: 3 }),
            part: None,
            vary: Vary { names: vec![http::header::ACCEPT], values: vec![1, 2], language: Some("de".into()) },
            meta,
            tags: vec![Box::from(*b"ta"), Box::from(*b"a")],
            began: 0,
            counted: None,
            dead: AtomicBool::new(false),
            refreshed: AtomicI64::new(0),
        }
    }

    #[test]
    fn an_answer_reads_as_it_was_written() {
        let stored = sample();
        let data = answer(&stored, 77);
        let Some(Record::Answer(again, 77)) = read(data, &stored.key, None) else { panic!("unread") };
        assert_eq!((again.meta, &again.vary, &again.tags), (stored.meta, &stored.vary, &stored.tags));
        assert_eq!((again.status, again.headers), (stored.status, stored.headers));
        assert_eq!(again.content.chunks.concat(), b"abc");
    }

    #[test]
    fn nothing_that_is_cut_off_changed_or_for_another_key_is_read() {
        let stored = sample();
        let data = answer(&stored, 77);
        assert!(read(data.clone(), &Key::from(&b"kex"[..]), None).is_none());
        for length in 0..data.len() {
            assert!(read(data[..length].to_vec(), &stored.key, None).is_none(), "{length} bytes");
        }
        // Whatever is in a byte: no panic, and no other key.
        for place in 0..data.len() {
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let mut changed = data.clone();
                changed[place] = value;
                if let Some(Record::Answer(again, _)) = read(changed, &stored.key, None) {
                    assert_eq!(again.key, stored.key);
                }
            }
        }
    }

    #[test]
    fn an_event_reads_as_it_was_written() {
        let tenant = Some(TenantId::new());
        let tags: Vec<Tag> = vec![Box::from(*b"ta"), Box::from(*b"")];
        assert_eq!(read_event(&event(&[7; 16], tenant, &tags)), Some(([7; 16], tenant, tags)));
        assert_eq!(read_event(&event(&[7; 16], None, &[])), Some(([7; 16], None, Vec::new())));
        assert_eq!(read_event(b"short"), None);
    }
}
