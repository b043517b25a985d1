//! The packets of Socket.IO 5, as text inside Engine.IO's messages: what clients may send is read
//! strictly, what the server sends is written. Not for binary packets, which nobody here uses.

use serde::Serialize;
use serde_json::json;

/// What a client sent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Packet<'a> {
    /// Wants to come in, with whatever it proves itself by.
    Connect { namespace: &'a str, auth: &'a str },
    /// Leaves.
    Disconnect,
    /// Says something; with a number when it wants an answer. The arguments are a JSON list.
    Event { ack: Option<u64>, arguments: &'a str },
    /// Answers something; the server never asks.
    Ack,
}

/// The namespace that everybody is in.
const ROOT: &str = "/";

impl<'a> Packet<'a> {
    /// Reads a packet; nothing means that it is none, or none that a client may send.
    pub(crate) fn parse(text: &'a str) -> Option<Self> {
        let (kind, rest) = (text.chars().next()?, text.get(1..)?);
        let (namespace, rest) = match rest.starts_with('/') {
            true => rest.split_once(',').unwrap_or((rest, "")),
            false => (ROOT, rest),
        };
        // Only a CONNECT may name another namespace: it is told that there is none.
        match kind {
            '0' => Some(Self::Connect { namespace, auth: rest }),
            _ if namespace != ROOT => None,
            '1' => Some(Self::Disconnect),
            '2' => {
                let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
                let (number, arguments) = rest.split_at(digits);
                let ack = if digits == 0 { None } else { Some(number.parse().ok()?) };
                arguments.starts_with('[').then_some(Self::Event { ack, arguments })
            }
            '3' => Some(Self::Ack),
            _ => None,
        }
    }

    /// Says whether the namespace is the one that there is.
    pub(crate) fn is_root(namespace: &str) -> bool {
        namespace == ROOT
    }
}

/// Returns the packet that lets a client in.
pub(crate) fn connected(sid: &str) -> String {
    format!("0{}", json!({ "sid": sid }))
}

/// Returns the packet that turns a client away; `code` is what a program branches on.
pub(crate) fn refused(namespace: &str, code: &str, message: &str) -> String {
    let prefix = if namespace == ROOT { String::new() } else { format!("{namespace},") };
    format!("4{prefix}{}", json!({ "message": message, "data": { "code": code, "message": message } }))
}

/// Returns the packet of an event.
pub(crate) fn event(name: &str, data: &impl Serialize) -> String {
    format!("2{}", json!([name, data]))
}

/// Returns the packet that answers a client's event.
pub(crate) fn answer(ack: u64, data: &impl Serialize) -> String {
    format!("3{ack}{}", json!([data]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_clients_send_is_read() {
        let connect = |namespace, auth| Some(Packet::Connect { namespace, auth });
        let event = |ack, arguments| Some(Packet::Event { ack, arguments });
        for (text, packet) in [
            ("0", connect("/", "")),
            ("0{\"token\":\"a,/b\"}", connect("/", "{\"token\":\"a,/b\"}")),
            ("0/admin,{\"token\":\"a\"}", connect("/admin", "{\"token\":\"a\"}")),
            ("0/admin", connect("/admin", "")),
            ("1", Some(Packet::Disconnect)),
            ("2[\"a\"]", event(None, "[\"a\"]")),
            ("212[\"a\",{}]", event(Some(12), "[\"a\",{}]")),
            ("31[1]", Some(Packet::Ack)),
        ] {
            assert_eq!(Packet::parse(text), packet, "{text}");
        }
    }

    #[test]
    fn what_they_may_not_send_is_no_packet() {
        for text in [
            "",
            "2",
            "2{}",
            "2/admin,[\"a\"]",
            "1/admin,",
            "299999999999999999999[\"a\"]",
            "4{}",
            "51-[\"a\",{\"_placeholder\":true,\"num\":0}]",
            "61-[]",
            "7",
            "é",
            "x[]",
        ] {
            assert_eq!(Packet::parse(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_written_is_json_whatever_it_holds() {
        let refused = refused("/", "identity.token_expired", "say \"again\"\n");
        let body: serde_json::Value = serde_json::from_str(refused.strip_prefix('4').expect("an error")).expect("JSON");
        assert_eq!(body["data"]["code"], "identity.token_expired");
        assert_eq!(body["message"], "say \"again\"\n");
        assert_eq!(answer(7, &json!({ "ok": true })), "37[{\"ok\":true}]");
        assert_eq!(event("a:b", &json!({ "c": 1 })), "2[\"a:b\",{\"c\":1}]");
        assert!(super::refused("/admin", "a", "b").starts_with("4/admin,{"));
    }
}
