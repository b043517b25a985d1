//! The load: one thread, some kept connections, requests that are made before the clock runs. Paced, each
//! request is sent when it is due and its latency counts from then, so a stall is not hidden (open loop);
//! saturated, each connection sends its next request as soon as it has its answer. Not for what is asked.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::{Duration, Instant};

use measure::Outcome;
use measure::figures::Latencies;
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};

use crate::answer::Answer;

/// How long nothing may come while answers are outstanding.
const PATIENCE: Duration = Duration::from_secs(10);
const SCRATCH: usize = 256 * 1024;

/// Requests, taken one after the other and over again.
#[derive(Clone, Debug)]
pub struct Supply {
    requests: Rc<[Vec<u8>]>,
    next: usize,
}

impl Supply {
    pub fn new(requests: Rc<[Vec<u8>]>) -> Self {
        Self { requests, next: 0 }
    }

    /// Returns the first request.
    pub fn first(&self) -> &[u8] {
        self.requests.first().map_or(&[], Vec::as_slice)
    }

    fn send(&mut self, mut stream: &TcpStream) -> std::io::Result<()> {
        let place = self.next % self.requests.len();
        self.next += 1;
        stream.write_all(&self.requests[place])
    }
}

/// What came of a load.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    /// Answers with status 200.
    pub answered: u64,
    /// Other answers, and connections that broke.
    pub failed: u64,
    pub seconds: f64,
    pub latencies: Latencies,
}

impl Sample {
    pub fn per_second(&self) -> f64 {
        self.answered as f64 / self.seconds
    }
}

/// When to send, and when to end.
#[derive(Clone, Copy, Debug)]
enum Plan {
    Paced { per_second: f64, count: u64 },
    Saturated { until: Instant },
}

struct Member {
    stream: TcpStream,
    reading: Reading,
    due: Instant,
}

/// What comes back, and how far it has come.
#[derive(Debug)]
enum Reading {
    Http(Answer),
    /// So many bytes, of which so many are there: frames of a WebSocket that echoes.
    Frame {
        length: usize,
        read: usize,
    },
}

impl Reading {
    fn begin(&mut self) {
        match self {
            Self::Http(answer) => answer.begin(),
            Self::Frame { read, .. } => *read = 0,
        }
    }

    fn take(&mut self, bytes: &[u8]) -> std::io::Result<Option<u16>> {
        match self {
            Self::Http(answer) => answer.take(bytes),
            Self::Frame { length, read } => {
                *read += bytes.len();
                Ok((*read >= *length).then_some(200))
            }
        }
    }
}

/// How connections are opened.
#[derive(Clone, Debug)]
pub enum Opening {
    /// They are there at once.
    Http,
    /// Each sends this, waits for 101, and gets frames of this many bytes from then on.
    WebSocket { request: Vec<u8>, answer: usize },
}

/// Connections that are kept open.
pub struct Crew {
    address: SocketAddr,
    opening: Opening,
    epoll: OwnedFd,
    members: Vec<Member>,
    scratch: Vec<u8>,
}

impl Crew {
    pub fn open(address: SocketAddr, count: usize, opening: &Opening) -> Outcome<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let members = (0..count).map(|place| enter(&epoll, address, place, opening)).collect::<Outcome<_>>()?;
        Ok(Self { address, opening: opening.clone(), epoll, members, scratch: vec![0; SCRATCH] })
    }

    /// Has each connection answer one request.
    pub fn each_once(&mut self, supply: &mut Supply) -> Outcome<Sample> {
        let count = self.members.len() as u64;
        self.run(supply, Plan::Paced { per_second: 1e6, count })
    }

    /// Sends so many requests a second, so many in all, each when it is due.
    pub fn paced(&mut self, supply: &mut Supply, per_second: f64, length: Duration) -> Outcome<Sample> {
        let count = (per_second * length.as_secs_f64()).ceil().max(1.0) as u64;
        self.run(supply, Plan::Paced { per_second, count })
    }

    /// Keeps all connections busy for so long.
    pub fn saturated(&mut self, supply: &mut Supply, length: Duration) -> Outcome<Sample> {
        self.run(supply, Plan::Saturated { until: Instant::now() + length })
    }

    fn run(&mut self, supply: &mut Supply, plan: Plan) -> Outcome<Sample> {
        let began = Instant::now();
        let (mut sample, mut sent) = (Sample::default(), 0_u64);
        // Each in its turn, as many clients would.
        let mut free: VecDeque<usize> = (0..self.members.len()).collect();
        let mut events = Vec::with_capacity(self.members.len());
        loop {
            let mut now = Instant::now();
            let next = loop {
                let next = plan.next(began, now, sent);
                let Some(due) = next.filter(|due| *due <= now) else { break next };
                let Some(place) = free.pop_front() else { break None };
                let member = &mut self.members[place];
                member.due = due;
                member.reading.begin();
                // A connection that the server closed is found out when its answer is read.
                let _ = supply.send(&member.stream);
                sent += 1;
                now = Instant::now();
            };
            if free.len() == self.members.len() && next.is_none() {
                break;
            }
            let wait = next.map_or(PATIENCE, |due| due.saturating_duration_since(now));
            let wait = Timespec::try_from(wait)?;
            match epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&wait)) {
                Ok(0) if next.is_none() => return Err(format!("{} gives no answer", self.address).into()),
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            for event in events.drain(..) {
                let place = event.data.u64() as usize;
                match self.read(place) {
                    Ok(None) => continue,
                    Ok(Some(200)) => {
                        sample.answered += 1;
                        sample.latencies.add(self.members[place].due.elapsed());
                    }
                    Ok(Some(_)) => sample.failed += 1,
                    Err(_) => {
                        sample.failed += u64::from(!free.contains(&place));
                        self.members[place] = enter(&self.epoll, self.address, place, &self.opening)?;
                    }
                }
                if !free.contains(&place) {
                    free.push_back(place);
                }
            }
        }
        sample.seconds = began.elapsed().as_secs_f64();
        Ok(sample)
    }

    fn read(&mut self, place: usize) -> std::io::Result<Option<u16>> {
        let member = &mut self.members[place];
        match member.stream.read(&mut self.scratch) {
            Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
            Ok(count) => member.reading.take(&self.scratch[..count]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl Plan {
    /// Returns when the next request is due; nothing after the last one.
    fn next(self, began: Instant, now: Instant, sent: u64) -> Option<Instant> {
        match self {
            Self::Paced { per_second, count } => {
                (sent < count).then(|| began + Duration::from_secs_f64(sent as f64 / per_second))
            }
            Self::Saturated { until } => (now < until).then_some(now),
        }
    }
}

fn enter(epoll: &OwnedFd, address: SocketAddr, place: usize, opening: &Opening) -> Outcome<Member> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    let reading = match opening {
        Opening::Http => Reading::Http(Answer::default()),
        Opening::WebSocket { request, answer } => {
            stream.set_read_timeout(Some(PATIENCE))?;
            upgrade(&mut stream, request)?;
            Reading::Frame { length: *answer, read: 0 }
        }
    };
    stream.set_nonblocking(true)?;
    epoll::add(epoll, &stream, epoll::EventData::new_u64(place as u64), epoll::EventFlags::IN)?;
    Ok(Member { stream, reading, due: Instant::now() })
}

fn upgrade(stream: &mut TcpStream, request: &[u8]) -> Outcome {
    stream.write_all(request)?;
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    match head.get(9..12) {
        Some(b"101") => Ok(()),
        _ => Err(format!("no upgrade: {}", String::from_utf8_lossy(&head)).into()),
    }
}
