//! A system that is compared: where it is, how to ask it, letting it run and holding it. Not for
//! measuring.

use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::databases::Port;
use super::peers::Announced;
use super::requests::{ITEMS, Operation, PAGE, Requests, page};
use super::{bare, check};
use crate::client::Connection;
use crate::process::{self, Postgres};
use crate::server::Server;
use crate::{Outcome, say};

/// How long an idle system is looked at, after as long for it to come to rest.
const IDLE: Duration = Duration::from_secs(2);
/// How many requests of each operation go before the first that counts.
const WARM_UP: usize = 100;

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Portico,
    Bare,
    Sqlite,
    FastApi,
    Express,
}

enum Running {
    Portico(Server),
    Other(Announced),
}

/// A system that is compared.
pub struct System {
    kind: Kind,
    running: Running,
    requests: Requests,
    /// Memory in MiB, and CPU milliseconds a second of the application and of PostgreSQL, when nobody asks.
    pub idle: Idle,
}

/// What a system takes when nobody asks.
#[derive(Clone, Copy, Debug, Default)]
pub struct Idle {
    pub memory: f64,
    pub application: f64,
    pub postgres: f64,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Portico => "Portico",
            Self::Bare => "Portico, stripped",
            Self::Sqlite => "Portico on SQLite",
            Self::FastApi => "FastAPI",
            Self::Express => "Express",
        }
    }
}

impl System {
    /// Starts the full chain.
    pub fn portico(kind: Kind, port: Port) -> Outcome<Self> {
        Ok(Self::new(kind, Running::Portico(Server::start(&port.url)?), &port))
    }

    /// Starts the service's router alone.
    pub fn bare(port: Port) -> Outcome<Self> {
        let tenant = port.tenant.ok_or("whose items?")?;
        let mut command = Command::new(std::env::current_exe()?);
        command.args([bare::NAME, &tenant.to_string()]);
        Ok(Self::new(Kind::Bare, Running::Other(Announced::start(command, &port.url)?), &port))
    }

    /// Starts a peer.
    pub fn peer(kind: Kind, port: Port, start: impl FnOnce(&str) -> Outcome<Announced>) -> Outcome<Self> {
        Ok(Self::new(kind, Running::Other(start(&port.url)?), &port))
    }

    fn new(kind: Kind, running: Running, port: &Port) -> Self {
        let requests = Requests::new(&port.token);
        Self { kind, running, requests, idle: Idle::default() }
    }

    pub fn kind(&self) -> Kind {
        self.kind
    }

    pub fn requests(&self) -> &Requests {
        &self.requests
    }

    pub fn uses_postgres(&self) -> bool {
        self.kind != Kind::Sqlite
    }

    pub fn address(&self) -> SocketAddr {
        match &self.running {
            Running::Portico(server) => server.address(),
            Running::Other(other) => other.address,
        }
    }

    fn pid(&self) -> u32 {
        match &self.running {
            Running::Portico(server) => server.pid(),
            Running::Other(other) => other.pid(),
        }
    }

    pub fn cpu_seconds(&self) -> Outcome<f64> {
        process::running_seconds(self.pid())
    }

    /// Returns its memory in MiB.
    pub fn memory(&self) -> Outcome<f64> {
        Ok(process::memory(self.pid())?.0)
    }

    /// Looks at it idle, finds its pages, and sends it some of everything.
    pub fn settle(&mut self, postgres: Postgres) -> Outcome {
        say(format!("{}: idle, pages, warming up", self.kind.name()));
        std::thread::sleep(IDLE);
        let (cpu, postgres_cpu, began) = (self.cpu_seconds()?, postgres.running_seconds(), Instant::now());
        std::thread::sleep(IDLE);
        let each = |seconds: f64| seconds * 1e3 / began.elapsed().as_secs_f64();
        self.idle = Idle {
            memory: self.memory()?,
            application: each(self.cpu_seconds()? - cpu),
            postgres: each(postgres.running_seconds() - postgres_cpu),
        };
        let mut connection = Connection::open(self.address())?;
        let mut cursor: Option<String> = None;
        for _ in 0..ITEMS / PAGE {
            let path = page(cursor.as_deref());
            let (answer, _) = connection.timed(&self.requests.ask(&path))?;
            self.requests.add_page(path);
            cursor = check::data(&answer)?["next"].as_str().map(str::to_owned);
        }
        for operation in Operation::ALL {
            for number in 0..WARM_UP {
                connection.send(&self.requests.make(operation, usize::MAX >> 32, number))?;
            }
        }
        Ok(())
    }

    /// Lets it run for as long as this takes.
    pub fn running<T>(&self, work: impl FnOnce(&Self) -> Outcome<T>) -> Outcome<T> {
        self.resume();
        let done = work(self);
        self.pause();
        done
    }

    /// Holds it: only what is measured may use the machine, or the server behind it.
    pub fn pause(&self) {
        self.signal("-STOP");
    }

    /// Lets it run again.
    pub fn resume(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, name: &str) {
        let mut kill = Command::new("kill");
        let _ = kill.args([name, &self.pid().to_string()]).stdin(Stdio::null()).status();
    }

    /// Returns the warnings in Portico's log.
    pub fn warnings(&self) -> Vec<String> {
        match &self.running {
            Running::Portico(server) => server.warnings(),
            Running::Other(_) => Vec::new(),
        }
    }
}
