//! Servers from DNS: the addresses of a name, or the targets of its SRV records (RFC 2782), looked up
//! again when the records say so. Not for choosing among priorities by who is well: the lowest counts.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use kernel::Result;

use crate::config::{Dns, Srv, wrong};
use crate::endpoint::Endpoint;
use crate::keeper::Keeper;
use crate::pause::Pause;

/// However short or long records say they live.
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(300);
/// After a failure.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// How many SRV targets are looked up at most.
const TARGETS: usize = 256;

/// What is looked up, and how.
pub(crate) struct Names {
    resolver: TokioResolver,
    name: Name,
    /// The port of an address, or nothing for SRV records.
    port: Option<u16>,
    by_name: bool,
    tls: bool,
    ipv6: bool,
    interval: Duration,
    /// The addresses of each name as they were when its lookups last worked, IPv4 and IPv6.
    known: HashMap<(Name, RecordType), Vec<IpAddr>>,
}

/// What a lookup found, and how long it holds.
struct Found<T> {
    records: Vec<T>,
    lives: Duration,
}

impl Names {
    /// Prepares lookups of addresses.
    pub(crate) fn of_addresses(config: &Dns) -> Result<Self> {
        let Dns { name, port, tls, ipv6, interval_ms, timeout_ms, servers, .. } = config;
        let resolver = resolver(servers, *timeout_ms)?;
        Self::new(resolver, name, *tls, *ipv6, *interval_ms).map(|names| Self { port: Some(*port), ..names })
    }

    /// Prepares lookups of SRV records.
    pub(crate) fn of_services(config: &Srv) -> Result<Self> {
        let Srv { name, tls, by_name, ipv6, interval_ms, timeout_ms, servers, .. } = config;
        let resolver = resolver(servers, *timeout_ms)?;
        Self::new(resolver, name, *tls, *ipv6, *interval_ms).map(|names| Self { by_name: *by_name, ..names })
    }

    fn new(resolver: TokioResolver, name: &str, tls: bool, ipv6: bool, interval_ms: u64) -> Result<Self> {
        // With search domains a name without a dot is completed as the system would do it.
        let name = Name::from_utf8(name).map_err(|error| wrong("name", error))?;
        let interval = Duration::from_millis(interval_ms);
        let known = HashMap::new();
        Ok(Self { resolver, name, port: None, by_name: false, tls, ipv6, interval, known })
    }

    /// Looks everything up once.
    async fn look(&mut self) -> Result<Found<Endpoint>, String> {
        let name = self.name.clone();
        match self.port {
            Some(port) => {
                let found = self.addresses(&name).await?;
                let endpoint = |address: IpAddr| Endpoint::at(self.tls, &address.to_string(), port, 1);
                let records = found.records.into_iter().map(endpoint).collect::<Result<_, _>>()?;
                Ok(Found { records, lives: found.lives })
            }
            None => self.targets(&name).await,
        }
    }

    async fn targets(&mut self, name: &Name) -> Result<Found<Endpoint>, String> {
        let found = self.records(name, RecordType::SRV).await?;
        let mut lives = found.lives;
        let services = found.records.iter().filter_map(|record| match &record.data {
            // A target that is the root says that there is no such service.
            RData::SRV(service) if !service.target.is_root() => Some(service),
            _ => None,
        });
        let mut services: Vec<_> = services.collect();
        let lowest = services.iter().map(|service| service.priority).min();
        services.retain(|service| Some(service.priority) == lowest);
        services.truncate(TARGETS);
        let mut endpoints = Vec::new();
        for service in services {
            let weight = u32::from(service.weight);
            if self.by_name {
                let text = service.target.to_ascii();
                endpoints.push(Endpoint::at(self.tls, text.trim_end_matches('.'), service.port, weight)?);
                continue;
            }
            let addresses = self.addresses(&service.target).await?;
            lives = lives.min(addresses.lives);
            for address in addresses.records {
                endpoints.push(Endpoint::at(self.tls, &address.to_string(), service.port, weight)?);
            }
        }
        Ok(Found { records: endpoints, lives })
    }

    /// Looks up both kinds of addresses. While only one kind can be had, the other stays as it was.
    async fn addresses(&mut self, name: &Name) -> Result<Found<IpAddr>, String> {
        let mut all = Found { records: Vec::new(), lives: LONGEST };
        let (mut worked, mut failure) = (false, None);
        let kinds = [RecordType::A, RecordType::AAAA];
        for kind in kinds.into_iter().take(if self.ipv6 { 2 } else { 1 }) {
            let place = (name.clone(), kind);
            match self.records(name, kind).await {
                Ok(found) => {
                    let addresses: Vec<IpAddr> =
                        found.records.iter().filter_map(|record| record.data.ip_addr()).collect();
                    all.records.extend(&addresses);
                    all.lives = all.lives.min(found.lives);
                    self.known.insert(place, addresses);
                    worked = true;
                }
                Err(why) => {
                    all.records.extend(self.known.get(&place).into_iter().flatten());
                    failure = Some(why);
                }
            }
        }
        match failure {
            Some(why) if !worked => Err(why),
            _ => Ok(all),
        }
    }

    /// Asks for one kind of records. That there are none is an answer; that nobody can say it is not.
    async fn records(&self, name: &Name, kind: RecordType) -> Result<Found<Record>, String> {
        match self.resolver.lookup(name.clone(), kind).await {
            Ok(answer) => {
                let records: Vec<Record> =
                    answer.answers().iter().filter(|r| r.record_type() == kind).cloned().collect();
                let seconds = answer.answers().iter().map(|record| record.ttl).min().unwrap_or_default();
                Ok(Found { records, lives: Duration::from_secs(u64::from(seconds)) })
            }
            Err(error) if error.is_no_records_found() => Ok(Found { records: Vec::new(), lives: SHORTEST * 5 }),
            Err(error) => Err(format!("{kind} of {name}: {error}")),
        }
    }
}

fn resolver(servers: &[SocketAddr], timeout_ms: u64) -> Result<TokioResolver> {
    let mut builder = if servers.is_empty() {
        TokioResolver::builder_tokio().map_err(|error| wrong("servers", format!("the system has none: {error}")))?
    } else {
        let server = |address: &SocketAddr| {
            let at = |mut connection: ConnectionConfig| {
                connection.port = address.port();
                connection
            };
            let connections = vec![at(ConnectionConfig::udp()), at(ConnectionConfig::tcp())];
            NameServerConfig::new(address.ip(), true, connections)
        };
        let config = ResolverConfig::from_name_servers(servers.iter().map(server).collect());
        TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
    };
    let options = builder.options_mut();
    options.timeout = Duration::from_millis(timeout_ms);
    // We ask when it is time to, and then want to know.
    options.cache_size = 0;
    builder.build().map_err(|error| wrong("servers", error))
}

/// Looks up until it is stopped.
pub(crate) async fn follow(mut names: Names, keeper: Arc<Keeper>) {
    let mut pause = Pause::new(FIRST_PAUSE, LONGEST_PAUSE);
    loop {
        let wait = match names.look().await {
            Ok(found) => {
                keeper.take(found.records);
                pause.reset();
                if names.interval.is_zero() { found.lives.clamp(SHORTEST, LONGEST) } else { names.interval }
            }
            Err(why) => {
                keeper.failed(&why);
                pause.next()
            }
        };
        tokio::time::sleep(wait).await;
    }
}
