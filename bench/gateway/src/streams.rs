//! S8: a thousand event streams through a proxy. One thread is origin and clients at once, so that the clock
//! that stamps an event is the one that reads it: how long until a stream's first event, how much later
//! events come than they went, by how much the gaps between them are distorted, what it costs the proxy. Not
//! for requests.

mod table;

use std::collections::{BTreeSet, VecDeque};
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use measure::Outcome;
use measure::figures::Latencies;
use measure::report::Table;
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};

use crate::ground::Ground;
use crate::peers::{Offer, Peer, Running, Shape};
use crate::rungs::{Rung, get};
use crate::{Extent, say};

const STREAMS: usize = 1_000;
/// How often an event is sent on each.
const GAP: Duration = Duration::from_millis(250);
/// How many streams are opened a second.
const OPENED: f64 = 500.0;
const STEADY: Duration = Duration::from_secs(2);
/// More rounds would take long and show little.
const ROUNDS: usize = 3;
/// How late a stream's first event may be.
const LATE: Duration = Duration::from_secs(10);
/// How many streams are hung up, and after how long it counts as never.
const CANCELLED: usize = 50;
const GIVEN_UP: Duration = Duration::from_secs(1);
const LISTENER: u64 = u64::MAX;
/// Origin's ends are numbered from here.
const BEHIND: usize = 1 << 20;

/// What one round showed.
#[derive(Default)]
struct Heard {
    first: Latencies,
    transit: Latencies,
    distortion: Latencies,
    events: u64,
    /// From when a client hangs up until the origin sees it.
    cancel: Latencies,
    /// CPU microseconds of the proxy for each event, and KiB of memory for each stream.
    cpu: f64,
    memory: f64,
}

/// Measures them all.
pub fn measure(rung: Rung, peers: &[Peer], ground: &Ground, extent: Extent) -> Outcome<Vec<Table>> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    listener.set_nonblocking(true)?;
    // A script that falls behind opens many connections at once; a SYN that is dropped comes again after seconds.
    rustix::net::listen(&listener, 4_096)?;
    let origin = listener.local_addr()?;
    let mut entrants: Vec<(&str, Option<Peer>)> = vec![("direct", None)];
    let able = peers.iter().filter(|peer| peer.offer(Shape::Stream) == Offer::Yes);
    entrants.extend(able.map(|peer| (peer.name(), Some(*peer))));
    let mut found: Vec<Vec<Heard>> = entrants.iter().map(|_| Vec::new()).collect();
    let (rounds, mut missing) = (extent.rounds.min(ROUNDS), BTreeSet::new());
    for round in 0..rounds {
        say(format!("  round {} of {rounds}", round + 1));
        let mut order: Vec<usize> = (0..entrants.len()).collect();
        if round % 2 == 1 {
            order.reverse();
        }
        for place in order {
            let (name, peer) = entrants[place];
            // A fresh one each time: what a stream takes is not to be hidden by what the last ones left.
            let listen = || {
                let running = peer.map(|peer| peer.start(Shape::Stream, ground, origin)).transpose()?;
                Listening::new(&listener, running.as_ref(), origin)?.run()
            };
            match listen() {
                Ok(heard) => found[place].push(heard),
                Err(error) => {
                    say(format!("  {name}: {error}"));
                    missing.insert(format!("{name}: {}", error.to_string().lines().next().unwrap_or_default()));
                }
            }
        }
    }
    let mut table = table::write(rung, &entrants, &found);
    if !missing.is_empty() {
        table.note(format!("**Left out**: {}.", missing.into_iter().collect::<Vec<_>>().join("; ")));
    }
    Ok(vec![table])
}

/// The client's end of a stream.
struct Client {
    stream: TcpStream,
    asked: Instant,
    unread: Vec<u8>,
    /// When the last event went and came, since the beginning.
    last: Option<(Duration, Duration)>,
}

/// The origin's end of one.
struct Source {
    stream: TcpStream,
    asked: bool,
}

struct Listening<'a> {
    listener: &'a TcpListener,
    epoll: OwnedFd,
    running: Option<&'a Running>,
    address: SocketAddr,
    began: Instant,
    clients: Vec<Client>,
    sources: Vec<Source>,
    /// Which source sends when.
    due: VecDeque<(Instant, usize)>,
    scratch: Vec<u8>,
    heard: Heard,
    counts: bool,
    /// How many streams the origin has seen the end of.
    ended: usize,
}

impl<'a> Listening<'a> {
    fn new(listener: &'a TcpListener, running: Option<&'a Running>, origin: SocketAddr) -> Outcome<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, listener, epoll::EventData::new_u64(LISTENER), epoll::EventFlags::IN)?;
        Ok(Self {
            listener,
            epoll,
            running,
            address: running.map_or(origin, |running| running.address),
            began: Instant::now(),
            clients: Vec::new(),
            sources: Vec::new(),
            due: VecDeque::new(),
            scratch: vec![0; 64 * 1024],
            heard: Heard::default(),
            counts: false,
            ended: 0,
        })
    }

    fn run(mut self) -> Outcome<Heard> {
        let memory = |running: Option<&Running>| running.map_or(0.0, |running| running.process.memory().0);
        let cpu = |running: Option<&Running>| running.map_or(0.0, |running| running.process.cpu_seconds());
        std::thread::sleep(Duration::from_millis(300));
        let before = memory(self.running);
        self.began = Instant::now();
        let opened = self.began + Duration::from_secs_f64(STREAMS as f64 / OPENED);
        self.turn(opened, STREAMS)?;
        while self.heard.first.count() < STREAMS && opened.elapsed() < LATE {
            self.turn(Instant::now() + Duration::from_millis(100), STREAMS)?;
        }
        if self.heard.first.count() < STREAMS {
            return Err(format!("only {} of {STREAMS} streams have had an event", self.heard.first.count()).into());
        }
        self.counts = true;
        let spent = cpu(self.running);
        self.turn(Instant::now() + STEADY, STREAMS)?;
        self.heard.cpu = (cpu(self.running) - spent) * 1e6 / self.heard.events as f64;
        self.heard.memory = (memory(self.running) - before) * 1024.0 / STREAMS as f64;
        self.counts = false;
        self.cancel()?;
        Ok(self.heard)
    }

    /// Hangs up some streams one after the other while the others go on.
    fn cancel(&mut self) -> Outcome {
        for _ in 0..CANCELLED {
            let (ended, began) = (self.ended, Instant::now());
            let last = self.clients.len() - 1;
            drop(self.clients.remove(last));
            while self.ended == ended && began.elapsed() < GIVEN_UP {
                self.turn(Instant::now() + Duration::from_micros(50), self.clients.len())?;
            }
            self.heard.cancel.add(began.elapsed());
        }
        Ok(())
    }

    /// Goes on until then, opening streams until there are so many.
    fn turn(&mut self, until: Instant, wanted: usize) -> Outcome {
        let mut events = Vec::with_capacity(512);
        loop {
            let now = Instant::now();
            if now >= until {
                return Ok(());
            }
            let next = self.began + Duration::from_secs_f64(self.clients.len() as f64 / OPENED);
            // One at a time, so that being late with these does not make the origin late.
            if self.clients.len() < wanted && next <= now {
                self.open()?;
            }
            while let Some(&(due, place)) = self.due.front().filter(|(due, _)| *due <= now) {
                self.due.pop_front();
                self.send(place, None)?;
                self.due.push_back((due + GAP, place));
            }
            let next = self.began + Duration::from_secs_f64(self.clients.len() as f64 / OPENED);
            let next = if self.clients.len() < wanted { next } else { until };
            let next = self.due.front().map_or(next, |(due, _)| next.min(*due));
            let wait = Timespec::try_from(next.saturating_duration_since(Instant::now()))?;
            match epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&wait)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            for event in events.drain(..) {
                match event.data.u64() {
                    LISTENER => self.accept()?,
                    place if place as usize >= BEHIND => self.serve(place as usize - BEHIND)?,
                    place => self.hear(place as usize)?,
                }
            }
        }
    }

    fn open(&mut self) -> Outcome {
        let mut stream = TcpStream::connect(self.address)?;
        stream.set_nodelay(true)?;
        let asked = Instant::now();
        stream.write_all(&get("/stream", None))?;
        stream.set_nonblocking(true)?;
        let data = epoll::EventData::new_u64(self.clients.len() as u64);
        epoll::add(&self.epoll, &stream, data, epoll::EventFlags::IN)?;
        self.clients.push(Client { stream, asked, unread: Vec::new(), last: None });
        Ok(())
    }

    fn accept(&mut self) -> Outcome {
        while let Ok((stream, _)) = self.listener.accept() {
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            let data = epoll::EventData::new_u64((BEHIND + self.sources.len()) as u64);
            epoll::add(&self.epoll, &stream, data, epoll::EventFlags::IN)?;
            self.sources.push(Source { stream, asked: false });
        }
        Ok(())
    }

    /// The origin is asked for a stream: the head goes with the first event.
    fn serve(&mut self, place: usize) -> Outcome {
        let source = &mut self.sources[place];
        let asked = match source.stream.read(&mut self.scratch) {
            // The proxy's look at whether anybody is there, or its end.
            Ok(0) | Err(_) => {
                let _ = epoll::delete(&self.epoll, &source.stream);
                self.ended += usize::from(source.asked);
                self.due.retain(|(_, sending)| *sending != place);
                return Ok(());
            }
            Ok(_) => !std::mem::replace(&mut source.asked, true),
        };
        if asked {
            let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\n\
                        Transfer-Encoding: chunked\r\n\r\n";
            self.send(place, Some(head))?;
            self.due.push_back((Instant::now() + GAP, place));
        }
        Ok(())
    }

    fn send(&mut self, place: usize, head: Option<&str>) -> Outcome {
        let event = format!("data: {{\"t\":\"{:020}\",\"x\":\"{:24}\"}}\n\n", self.began.elapsed().as_nanos(), "");
        let text = format!("{}{:x}\r\n{event}\r\n", head.unwrap_or_default(), event.len());
        // A proxy that went away is found out at the client's end.
        let _ = self.sources[place].stream.write_all(text.as_bytes());
        Ok(())
    }

    fn hear(&mut self, place: usize) -> Outcome {
        let client = &mut self.clients[place];
        let read = match client.stream.read(&mut self.scratch) {
            Ok(0) => return Err("a stream ended".into()),
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let (came, base) = (Instant::now(), self.began);
        client.unread.extend_from_slice(&self.scratch[..read]);
        while let Some((end, sent)) = stamp(&client.unread) {
            client.unread.drain(..end);
            let came_after = came.saturating_duration_since(base);
            if client.last.is_none() {
                self.heard.first.add(came.saturating_duration_since(client.asked));
            }
            if self.counts {
                self.heard.events += 1;
                self.heard.transit.add(came_after.saturating_sub(sent));
                if let Some((last_sent, last_came)) = client.last {
                    let (gap, wanted) = (came_after.saturating_sub(last_came), sent.saturating_sub(last_sent));
                    self.heard.distortion.add(gap.abs_diff(wanted));
                }
            }
            client.last = Some((sent, came_after));
        }
        if client.unread.len() > 4096 {
            return Err(format!("no event: {}", String::from_utf8_lossy(&client.unread[..200])).into());
        }
        Ok(())
    }
}

/// Returns the end of the first event's stamp and what it says.
fn stamp(bytes: &[u8]) -> Option<(usize, Duration)> {
    let mark = b"\"t\":\"";
    let start = bytes.windows(mark.len()).position(|piece| piece == mark)? + mark.len();
    let digits = bytes.get(start..start + 20)?;
    let nanos = std::str::from_utf8(digits).ok()?.parse().ok()?;
    Some((start + 20, Duration::from_nanos(nanos)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_dated_once_its_stamp_is_there() {
        let text = b"40\r\ndata: {\"t\":\"00000000000000001234\",\"x\":\"";
        assert_eq!(stamp(text), Some((36, Duration::from_nanos(1_234))));
        assert_eq!(stamp(&text[..30]), None);
    }
}
