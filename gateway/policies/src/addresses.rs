//! Which networks a route may be asked from. The longest prefix that holds the address decides; a network
//! that is both allowed and denied is denied. Not for finding out which address a request comes from.

use std::net::IpAddr;

use ipnet::IpNet;
use kernel::{Error, Result};
use serde::{Deserialize, Serialize};

use crate::wrong;

/// Networks (`10.0.0.0/8`, `2001:db8::/32`) and single addresses.
#[derive(Deserialize, Serialize, Clone, Debug, Default, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct AddressesConfig {
    /// Who may ask. With any entry here, whoever is in no list is refused.
    pub allow: Vec<String>,
    /// Who may not.
    pub deny: Vec<String>,
}

/// Compiled networks; a look-up is one binary search.
#[derive(Debug)]
pub struct Addresses {
    four: Ranges,
    six: Ranges,
    otherwise: bool,
}

/// Where a verdict begins to hold, sorted; it holds to where the next begins.
#[derive(Debug)]
struct Ranges(Box<[(u128, Option<bool>)]>);

#[derive(Clone, Copy)]
struct Network {
    first: u128,
    last: u128,
    prefix: u8,
    allowed: bool,
}

impl AddressesConfig {
    /// Says what is wrong with the lists, if anything.
    pub fn check(&self) -> Result<()> {
        Addresses::compile(self).map(drop)
    }
}

impl Addresses {
    /// Compiles the lists.
    pub fn compile(config: &AddressesConfig) -> Result<Self> {
        let (mut four, mut six) = (Vec::new(), Vec::new());
        for (list, allowed) in [(&config.allow, true), (&config.deny, false)] {
            for text in list {
                match read(text)? {
                    IpNet::V4(net) => four.push(Network {
                        first: u128::from(net.network().to_bits()),
                        last: u128::from(net.broadcast().to_bits()),
                        prefix: net.prefix_len(),
                        allowed,
                    }),
                    IpNet::V6(net) => six.push(Network {
                        first: net.network().to_bits(),
                        last: net.broadcast().to_bits(),
                        prefix: net.prefix_len(),
                        allowed,
                    }),
                }
            }
        }
        Ok(Self { four: Ranges::of(four), six: Ranges::of(six), otherwise: config.allow.is_empty() })
    }

    /// Says whether this address may ask.
    pub fn allows(&self, address: IpAddr) -> bool {
        let found = match address.to_canonical() {
            IpAddr::V4(address) => self.four.find(u128::from(address.to_bits())),
            IpAddr::V6(address) => self.six.find(address.to_bits()),
        };
        found.unwrap_or(self.otherwise)
    }

    /// Refuses an address that may not ask; an unknown address may only where nobody is refused by default.
    pub fn check(&self, address: Option<IpAddr>) -> Result<()> {
        if address.map_or(self.otherwise, |address| self.allows(address)) {
            return Ok(());
        }
        Err(Error::forbidden("gateway.address_refused", "this is not served to your network"))
    }
}

impl Ranges {
    /// Flattens networks, of which any two are nested or apart, into ranges.
    fn of(mut networks: Vec<Network>) -> Self {
        // A denied network sorts before the same one allowed, and stays.
        networks.sort_by_key(|network| (network.first, network.prefix, network.allowed));
        networks.dedup_by_key(|network| (network.first, network.prefix));
        let mut ranges: Vec<(u128, Option<bool>)> = vec![(0, None)];
        let mut around: Vec<Network> = Vec::new();
        let begin = |ranges: &mut Vec<(u128, Option<bool>)>, at: u128, verdict| match ranges.last_mut() {
            Some(last) if last.0 == at => last.1 = verdict,
            Some(last) if last.1 == verdict => {}
            _ => ranges.push((at, verdict)),
        };
        let leave = |ranges: &mut Vec<_>, around: &mut Vec<Network>, left: Network| {
            if let Some(after) = left.last.checked_add(1) {
                begin(ranges, after, around.last().map(|network| network.allowed));
            }
        };
        for network in networks {
            while let Some(left) = around.pop_if(|outer| outer.last < network.first) {
                leave(&mut ranges, &mut around, left);
            }
            begin(&mut ranges, network.first, Some(network.allowed));
            around.push(network);
        }
        while let Some(left) = around.pop() {
            leave(&mut ranges, &mut around, left);
        }
        Self(ranges.into())
    }

    fn find(&self, address: u128) -> Option<bool> {
        let after = self.0.partition_point(|(first, _)| *first <= address);
        self.0[after.saturating_sub(1)].1
    }
}

fn read(text: &str) -> Result<IpNet> {
    let single = || text.parse::<IpAddr>().ok().map(|address| IpNet::from(address.to_canonical()));
    let no_network = || wrong(format!("{text} is no network such as 10.0.0.0/8, and no address"));
    let net: IpNet = text.parse().ok().or_else(single).ok_or_else(no_network)?;
    if net.trunc() != net {
        return Err(wrong(format!("{text} has bits set after its prefix; did you mean {}?", net.trunc())));
    }
    // Sockets for both families show IPv4 clients as ::ffff:a.b.c.d; they are looked up as IPv4.
    if let IpNet::V6(six) = net
        && six.prefix_len() >= 96
        && let Some(four) = six.addr().to_ipv4_mapped()
    {
        return IpNet::new(IpAddr::V4(four), six.prefix_len() - 96).map_err(|_| no_network());
    }
    Ok(net)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compile(allow: &[&str], deny: &[&str]) -> Result<Addresses> {
        let own = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
        Addresses::compile(&AddressesConfig { allow: own(allow), deny: own(deny) })
    }

    fn allows(addresses: &Addresses, text: &str) -> bool {
        addresses.allows(text.parse().expect("an address"))
    }

    #[test]
    fn the_longest_prefix_decides_and_a_tie_denies() {
        let addresses =
            compile(&["10.0.0.0/8", "10.1.2.0/24", "2001:db8::/32"], &["10.1.0.0/16", "10.1.2.7", "10.1.2.0/24"]);
        let addresses = addresses.expect("compiles");
        for (address, allowed) in [
            ("10.0.0.0", true),
            ("10.0.255.255", true),
            ("10.1.0.0", false),
            ("10.1.2.6", false),
            ("10.1.2.7", false),
            ("10.1.255.255", false),
            ("10.2.0.0", true),
            ("10.255.255.255", true),
            ("11.0.0.0", false),
            ("9.255.255.255", false),
            ("2001:db8::1", true),
            ("2001:db9::", false),
            ("::ffff:10.2.0.1", true),
        ] {
            assert_eq!(allows(&addresses, address), allowed, "{address}");
        }
        let inner = compile(&["10.1.2.0/24"], &["10.0.0.0/8"]).expect("compiles");
        assert!(allows(&inner, "10.1.2.3") && !allows(&inner, "10.1.3.3") && !allows(&inner, "192.0.2.1"));
    }

    #[test]
    fn whoever_is_in_no_list_may_ask_unless_somebody_is_allowed_by_name() {
        let nobody = compile(&[], &[]).expect("compiles");
        assert!(allows(&nobody, "192.0.2.1") && nobody.check(None).is_ok());
        let denied = compile(&[], &["255.0.0.0/8", "ffff::/16"]).expect("compiles");
        assert!(allows(&denied, "192.0.2.1") && !allows(&denied, "255.255.255.255"));
        assert!(!allows(&denied, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff") && allows(&denied, "fffe::"));
        let allowed = compile(&["0.0.0.0/0"], &["192.0.2.0/24"]).expect("compiles");
        assert!(allows(&allowed, "1.2.3.4") && !allows(&allowed, "192.0.2.9") && !allows(&allowed, "::1"));
        let error = allowed.check(None).expect_err("an unknown address");
        assert_eq!((error.code(), error.status()), ("gateway.address_refused", 403));
    }

    #[test]
    fn thousands_of_networks_agree_with_asking_each() {
        // Nested and neighbouring networks from a fixed generator.
        let mut seed = 7_u64;
        let mut next = || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 32) as u32
        };
        let (mut allow, mut deny) = (Vec::new(), Vec::new());
        for _ in 0..5_000 {
            let prefix = 4 + next() % 29;
            let base = (next() >> (32 - prefix)) << (32 - prefix);
            let text = format!("{}/{prefix}", std::net::Ipv4Addr::from_bits(base));
            if next() % 2 == 0 { allow.push(text) } else { deny.push(text) }
        }
        let config = AddressesConfig { allow: allow.clone(), deny: deny.clone() };
        let addresses = Addresses::compile(&config).expect("compiles");
        let nets: Vec<(IpNet, bool)> = (allow.iter().map(|text| (text, true)))
            .chain(deny.iter().map(|text| (text, false)))
            .map(|(text, allowed)| (text.parse().expect("a network"), allowed))
            .collect();
        for _ in 0..2_000 {
            let address = IpAddr::V4(std::net::Ipv4Addr::from_bits(next()));
            let best = nets.iter().filter(|(net, _)| net.contains(&address));
            let best =
                best.max_by_key(|(net, allowed)| (net.prefix_len(), !allowed)).is_some_and(|(_, allowed)| *allowed);
            assert_eq!(addresses.allows(address), best, "{address}");
        }
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for text in ["", "10.0.0.0/33", "host.example", "10.0.0.1/8", "2001:db8::1/32", "10.0.0.1-10.0.0.9"] {
            assert_eq!(compile(&[text], &[]).expect_err("refused").code(), "config.invalid", "{text}");
        }
    }
}
