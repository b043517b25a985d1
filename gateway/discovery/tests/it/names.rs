//! DNS against a DNS server of the tests, over UDP and TCP.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use discovery::{Config, Dns, Srv};
use fixtures::eventually;
use hickory_resolver::proto::op::{Message, OpCode, ResponseCode};
use hickory_resolver::proto::rr::rdata::{A, AAAA, CNAME, SRV};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, UdpSocket};

use crate::support::{becomes, short, start};

#[derive(Clone)]
enum Answer {
    Records(Vec<RData>, u32),
    Code(ResponseCode),
    Silence,
    /// Too long for UDP: whoever asks shall come again over TCP.
    OnlyTcp(Vec<RData>),
    Garbage,
}

#[derive(Clone)]
struct Server {
    address: SocketAddr,
    zone: Arc<Mutex<HashMap<(String, RecordType), Answer>>>,
    asked: Arc<AtomicUsize>,
}

impl Server {
    async fn start() -> Self {
        let (udp, tcp) = loop {
            let tcp = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let address = tcp.local_addr().expect("an address");
            if let Ok(udp) = UdpSocket::bind(address).await {
                break (udp, tcp);
            }
        };
        let address = udp.local_addr().expect("an address");
        let server = Self { address, zone: Arc::default(), asked: Arc::default() };
        let serving = server.clone();
        tokio::spawn(async move {
            let mut buffer = [0; 4096];
            while let Ok((length, from)) = udp.recv_from(&mut buffer).await {
                if let Some(answer) = serving.answer(&buffer[..length], false) {
                    let _ = udp.send_to(&answer, from).await;
                }
            }
        });
        let serving = server.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = tcp.accept().await {
                let serving = serving.clone();
                tokio::spawn(async move {
                    while let Ok(length) = stream.read_u16().await {
                        let mut request = vec![0; usize::from(length)];
                        if stream.read_exact(&mut request).await.is_err() {
                            return;
                        }
                        let Some(answer) = serving.answer(&request, true) else { return };
                        let length = u16::try_from(answer.len()).expect("short");
                        let _ = stream.write_u16(length).await;
                        let _ = stream.write_all(&answer).await;
                    }
                });
            }
        });
        server
    }

    fn answer(&self, request: &[u8], tcp: bool) -> Option<Vec<u8>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let request = Message::from_vec(request).expect("a question");
        let query = request.queries.first().expect("a question").clone();
        let name = query.name().to_ascii().to_lowercase();
        let said = self.zone.lock().expect("not poisoned").get(&(name, query.query_type())).cloned();
        let mut answer = Message::response(request.metadata.id, OpCode::Query);
        answer.metadata.recursion_available = true;
        answer.add_query(query.clone());
        let mut add = |records: Vec<RData>, lives: u32| {
            for data in records {
                answer.add_answer(Record::from_rdata(query.name().clone(), lives, data));
            }
        };
        match said.unwrap_or(Answer::Code(ResponseCode::NXDomain)) {
            Answer::Records(records, lives) => add(records, lives),
            Answer::OnlyTcp(records) if tcp => add(records, 1),
            Answer::OnlyTcp(_) => answer.metadata.truncation = true,
            Answer::Code(code) => answer.metadata.response_code = code,
            Answer::Silence => return None,
            Answer::Garbage => return Some(vec![0; 3]),
        }
        Some(answer.to_vec().expect("written"))
    }

    fn say(&self, name: &str, kind: RecordType, answer: Answer) {
        self.zone.lock().expect("not poisoned").insert((name.to_owned(), kind), answer);
    }

    /// Says that a name has these addresses, and none of the other kind.
    fn addresses(&self, name: &str, addresses: &[&str], lives: u32) {
        let (mut four, mut six) = (Vec::new(), Vec::new());
        for address in addresses {
            match address.parse().expect("an address") {
                IpAddr::V4(address) => four.push(RData::A(A(address))),
                IpAddr::V6(address) => six.push(RData::AAAA(AAAA(address))),
            }
        }
        self.say(name, RecordType::A, Answer::Records(four, lives));
        self.say(name, RecordType::AAAA, Answer::Records(six, lives));
    }

    fn services(&self, name: &str, services: &[(u16, u16, u16, &str)]) {
        let service = |(priority, weight, port, target): &(u16, u16, u16, &str)| {
            RData::SRV(SRV::new(*priority, *weight, *port, Name::from_ascii(target).expect("a name")))
        };
        self.say(name, RecordType::SRV, Answer::Records(services.iter().map(service).collect(), 1));
    }

    fn dns(&self) -> Dns {
        let servers = vec![self.address];
        Dns { name: "items.test.".into(), port: 80, servers, interval_ms: 20, timeout_ms: 300, ..Dns::default() }
    }

    fn srv(&self) -> Srv {
        let servers = vec![self.address];
        let name = "_http._tcp.items.test.".into();
        Srv { name, servers, interval_ms: 20, timeout_ms: 300, ..Srv::default() }
    }
}

#[tokio::test]
async fn addresses_are_followed_as_they_change() {
    let server = Server::start().await;
    server.addresses("items.test.", &["10.0.0.2", "10.0.0.1", "::1"], 1);
    let guard = start(&Config::Dns(server.dns()));
    becomes(&guard, "10.0.0.1:80*1 10.0.0.2:80*1 [::1]:80*1").await;
    server.addresses("items.test.", &["10.0.0.3"], 1);
    becomes(&guard, "10.0.0.3:80*1").await;
    let four = start(&Config::Dns(Dns { ipv6: false, tls: true, port: 443, ..server.dns() }));
    becomes(&four, "https://10.0.0.3:443*1").await;
}

#[tokio::test]
async fn that_there_is_nobody_is_believed_and_that_nobody_knows_is_not() {
    let server = Server::start().await;
    server.addresses("items.test.", &["10.0.0.1"], 1);
    let guard = start(&Config::Dns(server.dns()));
    let keeping = start(&Config::Dns(Dns { keep_last_when_empty: true, ..server.dns() }));
    becomes(&guard, "10.0.0.1:80*1").await;
    becomes(&keeping, "10.0.0.1:80*1").await;
    for broken in
        [Answer::Code(ResponseCode::ServFail), Answer::Code(ResponseCode::Refused), Answer::Silence, Answer::Garbage]
    {
        let failures = guard.state().failures;
        server.say("items.test.", RecordType::A, broken.clone());
        server.say("items.test.", RecordType::AAAA, broken);
        eventually("a failure", async || guard.state().failures > failures).await;
        assert_eq!(short(&guard.endpoints()), "10.0.0.1:80*1");
        assert!(guard.state().failing.is_some());
        server.addresses("items.test.", &["10.0.0.1"], 1);
        eventually("it is well again", async || guard.state().failing.is_none()).await;
    }
    for nobody in [Answer::Code(ResponseCode::NXDomain), Answer::Records(Vec::new(), 1)] {
        server.say("items.test.", RecordType::A, nobody.clone());
        server.say("items.test.", RecordType::AAAA, nobody);
        becomes(&guard, "").await;
        eventually("the other is empty", async || keeping.state().kept_though_empty).await;
        assert_eq!(short(&keeping.endpoints()), "10.0.0.1:80*1");
        server.addresses("items.test.", &["10.0.0.1"], 1);
        becomes(&guard, "10.0.0.1:80*1").await;
        eventually("the other is not", async || !keeping.state().kept_though_empty).await;
    }
}

#[tokio::test]
async fn while_one_kind_of_addresses_fails_its_last_ones_stay() {
    let server = Server::start().await;
    server.addresses("items.test.", &["10.0.0.1", "::1"], 1);
    let guard = start(&Config::Dns(server.dns()));
    becomes(&guard, "10.0.0.1:80*1 [::1]:80*1").await;
    server.say("items.test.", RecordType::AAAA, Answer::Code(ResponseCode::ServFail));
    server.say("items.test.", RecordType::A, Answer::Records(vec![RData::A(A([10, 0, 0, 9].into()))], 1));
    becomes(&guard, "10.0.0.9:80*1 [::1]:80*1").await;
}

#[tokio::test]
async fn without_an_interval_the_records_say_how_long_they_live() {
    let server = Server::start().await;
    server.addresses("items.test.", &["10.0.0.1"], 1);
    let guard = start(&Config::Dns(Dns { interval_ms: 0, ..server.dns() }));
    becomes(&guard, "10.0.0.1:80*1").await;
    server.addresses("items.test.", &["10.0.0.2"], 3_600);
    becomes(&guard, "10.0.0.2:80*1").await;
    let asked = server.asked.load(Ordering::SeqCst);
    let witness = start(&Config::Dns(Dns { name: "witness.test.".into(), interval_ms: 20, ..server.dns() }));
    eventually("time has passed", async || server.asked.load(Ordering::SeqCst) >= asked + 60).await;
    drop(witness);
    server.addresses("items.test.", &["10.0.0.3"], 1);
    assert_eq!(short(&guard.endpoints()), "10.0.0.2:80*1", "for an hour");
}

#[tokio::test]
async fn long_answers_come_over_tcp_and_aliases_are_followed() {
    let server = Server::start().await;
    let many: Vec<RData> = (0..200).map(|n| RData::A(A([10, 0, 1, n].into()))).collect();
    server.say("items.test.", RecordType::A, Answer::OnlyTcp(many));
    let guard = start(&Config::Dns(Dns { ipv6: false, ..server.dns() }));
    eventually("all of them", async || guard.endpoints().len() == 200).await;
    let alias = RData::CNAME(CNAME(Name::from_ascii("real.test.").expect("a name")));
    server.say("items.test.", RecordType::A, Answer::Records(vec![alias], 1));
    server.addresses("real.test.", &["10.0.0.7"], 1);
    becomes(&guard, "10.0.0.7:80*1").await;
}

#[tokio::test]
async fn service_records_have_ports_weights_and_priorities() {
    let server = Server::start().await;
    let name = "_http._tcp.items.test.";
    server.addresses("one.test.", &["10.0.0.1"], 1);
    server.addresses("two.test.", &["10.0.0.2", "::2"], 1);
    let services = [(10, 5, 8080, "one.test."), (10, 0, 8081, "two.test."), (20, 9, 8082, "spare.test.")];
    server.services(name, &services);
    let guard = start(&Config::Srv(server.srv()));
    becomes(&guard, "10.0.0.1:8080*5 10.0.0.2:8081*1 [::2]:8081*1").await;
    let named = start(&Config::Srv(Srv { by_name: true, ..server.srv() }));
    becomes(&named, "one.test:8080*5 two.test:8081*1").await;
    // One target that cannot be looked up keeps the list whole.
    server.say("one.test.", RecordType::A, Answer::Code(ResponseCode::ServFail));
    server.say("one.test.", RecordType::AAAA, Answer::Code(ResponseCode::ServFail));
    eventually("a failure", async || guard.state().failing.is_some()).await;
    assert_eq!(short(&guard.endpoints()), "10.0.0.1:8080*5 10.0.0.2:8081*1 [::2]:8081*1");
    server.services(name, &[(20, 9, 8082, "two.test.")]);
    becomes(&guard, "10.0.0.2:8082*9 [::2]:8082*9").await;
    // The root says that there is decidedly no such service (RFC 2782).
    server.services(name, &[(0, 0, 0, ".")]);
    becomes(&guard, "").await;
}

#[tokio::test]
async fn a_dropped_guard_asks_no_more() {
    let server = Server::start().await;
    server.addresses("items.test.", &["10.0.0.1"], 1);
    server.addresses("witness.test.", &["10.0.0.1"], 1);
    let guard = start(&Config::Dns(server.dns()));
    becomes(&guard, "10.0.0.1:80*1").await;
    drop(guard);
    let witness = start(&Config::Dns(Dns { name: "witness.test.".into(), ..server.dns() }));
    becomes(&witness, "10.0.0.1:80*1").await;
    server.zone.lock().expect("not poisoned").remove(&("items.test.".to_owned(), RecordType::A));
    let before = server.asked.load(Ordering::SeqCst);
    eventually("the witness asks", async || server.asked.load(Ordering::SeqCst) > before + 20).await;
    assert_eq!(witness.state().failures, 0);
}
