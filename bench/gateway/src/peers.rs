//! The proxies: what each can do, and how it is started with one worker. Not for their configurations;
//! those are files in `bench/gateway/peers`.

mod routes;

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use measure::Outcome;
use serde_json::json;

use crate::check;
use crate::ground::{Ground, PEERS, free_address, until};
use crate::portico;
use crate::process::Process;
use crate::rungs::get;
use crate::template;
use crate::tokens::{AUDIENCE, Algorithm, ISSUER, ROLE};
pub use routes::example;

/// Who is compared; the first is the subject, the second what all are measured against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    Portico,
    Nginx,
    Haproxy,
    Pingora,
    Envoy,
    Traefik,
    Caddy,
    Varnish,
    Fastify,
    Express,
}

/// What a rung asks of a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    Bare,
    Routes,
    Jwt(Algorithm),
    Chain,
    Cache,
    Compose,
    Stream,
    /// Portico beside itself.
    HandOff,
}

/// Whether a proxy can do it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offer {
    Yes,
    /// It cannot, and is shown without it, as a line to compare with.
    Bare,
    No,
}

/// A proxy that runs.
pub struct Running {
    pub address: SocketAddr,
    pub process: Process,
}

impl Peer {
    pub const ALL: [Self; 10] = [
        Self::Portico,
        Self::Nginx,
        Self::Haproxy,
        Self::Pingora,
        Self::Envoy,
        Self::Traefik,
        Self::Caddy,
        Self::Varnish,
        Self::Fastify,
        Self::Express,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Portico => "Portico",
            Self::Nginx => "nginx",
            Self::Haproxy => "HAProxy",
            Self::Pingora => "Pingora",
            Self::Envoy => "Envoy",
            Self::Traefik => "Traefik",
            Self::Caddy => "Caddy",
            Self::Varnish => "Varnish",
            Self::Fastify => "Fastify",
            Self::Express => "Express",
        }
    }

    /// Returns the one that is called so on the command line.
    pub fn named(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|peer| peer.name().eq_ignore_ascii_case(word))
    }

    /// Whether it is a script: these decide the lower of the two rates.
    pub fn is_script(self) -> bool {
        matches!(self, Self::Fastify | Self::Express)
    }

    pub fn offer(self, shape: Shape) -> Offer {
        use Offer::{Bare, No, Yes};
        match (self, shape) {
            (Self::Varnish, Shape::Cache) => Yes,
            (Self::Varnish, _) => No,
            (_, Shape::Bare | Shape::Routes | Shape::Stream) | (Self::Portico, _) => Yes,
            (Self::Haproxy | Self::Envoy | Self::Fastify | Self::Express, Shape::Jwt(_) | Shape::Chain) => Yes,
            (_, Shape::Jwt(_) | Shape::Chain) => Bare,
            (Self::Nginx | Self::Haproxy | Self::Envoy, Shape::Cache) => Yes,
            (Self::Fastify | Self::Express, Shape::Compose) => Yes,
            (_, Shape::Cache | Shape::Compose | Shape::HandOff) => No,
        }
    }

    /// Returns the version that its program names.
    pub fn version(self, ground: &Ground) -> String {
        let flag = match self {
            Self::Pingora => return "0.9.1".to_owned(),
            Self::Nginx | Self::Haproxy => "-v",
            Self::Varnish => "-V",
            Self::Traefik | Self::Caddy => "version",
            _ => "--version",
        };
        let said = Command::new(self.program(ground)).arg(flag).output();
        let text = said.map(|said| [said.stdout, said.stderr].concat()).unwrap_or_default();
        let text = String::from_utf8_lossy(&text).into_owned();
        let numbers = text.split(|letter: char| !letter.is_ascii_digit() && letter != '.');
        let is_version = |piece: &&str| piece.trim_matches('.').contains('.');
        let version = numbers.map(|piece| piece.trim_matches('.')).find(is_version).unwrap_or("of an unknown version");
        if self.is_script() { format!("on Node {version}") } else { version.to_owned() }
    }

    fn program(self, ground: &Ground) -> PathBuf {
        let tool = |path: &str| ground.tools.join(path);
        match self {
            Self::Portico => ground.portico.clone(),
            Self::Nginx => "nginx".into(),
            Self::Haproxy => "haproxy".into(),
            Self::Varnish => "varnishd".into(),
            Self::Fastify | Self::Express => "node".into(),
            Self::Envoy => tool("python/envoy/_bin/envoy"),
            Self::Traefik => tool("python/bin/traefik"),
            Self::Caddy => tool("python/bin/caddy"),
            Self::Pingora => tool("pingora/release/pingora_peer"),
        }
    }

    /// Starts it in this shape in front of this origin.
    pub fn start(self, shape: Shape, ground: &Ground, origin: SocketAddr) -> Outcome<Running> {
        let shape = if self.offer(shape) == Offer::Bare { Shape::Bare } else { shape };
        let folder = ground.folder.path().join(self.name()).join(shape.name());
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder)?;
        let place = Place { shape, ground, origin, address: free_address()?, folder: &folder };
        let mut command = ground.cores.alone(self.program(ground));
        command.current_dir(&folder).env("GOMAXPROCS", "1").env("NODE_ENV", "production");
        match self {
            Self::Portico => return portico::start(&place),
            Self::Nginx => {
                command.arg("-p").arg(&folder).arg("-c").arg(place.configured("nginx", "conf")?);
            }
            Self::Haproxy => {
                command.arg("-db").arg("-f").arg(place.configured("haproxy", "cfg")?);
            }
            Self::Pingora => {
                command.args([place.address, origin].map(|address| address.to_string()));
                if shape == Shape::Routes {
                    command.arg(ground.folder.path().join("routes.txt"));
                }
            }
            Self::Envoy => {
                command.arg("-c").arg(place.configured("envoy", "yaml")?);
                command.args(["--concurrency", "1", "--disable-hot-restart", "--log-level", "error"]);
            }
            Self::Traefik => {
                let dynamic = if shape == Shape::Routes { "routes" } else { "bare" };
                place.write("traefik", &format!("{dynamic}.dynamic.yml"), "dynamic.yml")?;
                command.arg(format!("--configFile={}", place.write("traefik", "bare.yml", "bare.yml")?.display()));
            }
            Self::Caddy => {
                let file = place.configured("caddy", "Caddyfile")?;
                command.args(["run", "--adapter", "caddyfile", "--config"]).arg(file);
                command.env("HOME", &folder).env("XDG_DATA_HOME", &folder).env("XDG_CONFIG_HOME", &folder);
            }
            Self::Varnish => {
                command.args(["-F", "-a", &place.address.to_string(), "-s", "malloc,64m", "-p", "thread_pools=1"]);
                command.arg("-n").arg(&folder).arg("-f").arg(place.configured("varnish", "vcl")?);
            }
            Self::Fastify | Self::Express => {
                let script = format!("{}.mjs", self.name().to_lowercase());
                command.arg(ground.tools.join("node").join(script)).arg(place.settings()?);
            }
        }
        let process = Process::start(self.name(), command, &folder)?;
        process.wait_until_it_listens(place.address)?;
        if self == Self::Traefik {
            // It listens before it knows its routes. An origin that says nothing here is behind a route.
            let first = get(&example(&ground.routes[0]), None);
            let lost = || matches!(check::ask(place.address, &first, Duration::from_millis(300)), Ok((404, _)));
            until(|| !lost(), || format!("Traefik finds no routes:\n{}", process.said()))?;
        }
        Ok(Running { address: place.address, process })
    }
}

impl Shape {
    pub fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare",
            Self::Routes => "routes",
            Self::Jwt(_) => "jwt",
            Self::Chain => "chain",
            Self::Cache => "cache",
            Self::Compose => "compose",
            Self::Stream => "stream",
            Self::HandOff => "hand-off",
        }
    }

    pub fn algorithm(self) -> Algorithm {
        match self {
            Self::Jwt(algorithm) => algorithm,
            _ => Algorithm::Es256,
        }
    }
}

/// Where and how one is started.
pub struct Place<'a> {
    pub shape: Shape,
    pub ground: &'a Ground,
    pub origin: SocketAddr,
    pub address: SocketAddr,
    pub folder: &'a Path,
}

impl Place<'_> {
    /// Writes the configuration of the shape into the folder.
    fn configured(&self, peer: &str, extension: &str) -> Outcome<PathBuf> {
        let file = format!("{}.{extension}", self.shape.name());
        if self.shape == Shape::Routes {
            routes::tables(&self.ground.routes, self.folder)?;
        }
        self.write(peer, &file, &file)
    }

    /// Writes a file with its places filled.
    pub fn write(&self, peer: &str, template: &str, name: &str) -> Outcome<PathBuf> {
        let source = Path::new(PEERS).join(peer).join(template);
        let text = fs::read_to_string(&source).map_err(|error| format!("{}: {error}", source.display()))?;
        let metrics = free_address()?;
        let algorithm = self.shape.algorithm();
        let routes = if self.shape == Shape::Routes { routes::lines(peer, &self.ground.routes) } else { String::new() };
        // Go's clock of flushing; below zero is at once.
        let flush = if self.shape == Shape::Stream { "-1" } else { "100ms" };
        let memory = if Path::new("/dev/shm").is_dir() { Path::new("/dev/shm") } else { self.folder };
        let memory = memory.join(format!("portico-bench-{}", std::process::id()));
        let values = [
            ("LISTEN", self.address.to_string()),
            ("LISTEN_HOST", self.address.ip().to_string()),
            ("LISTEN_PORT", self.address.port().to_string()),
            ("ORIGIN", self.origin.to_string()),
            ("ORIGIN_HOST", self.origin.ip().to_string()),
            ("ORIGIN_PORT", self.origin.port().to_string()),
            ("METRICS", metrics.to_string()),
            ("METRICS_HOST", metrics.ip().to_string()),
            ("METRICS_PORT", metrics.port().to_string()),
            ("FOLDER", self.folder.display().to_string()),
            ("MEMORY", memory.display().to_string()),
            ("ROUTES", routes),
            ("ALGORITHM", algorithm.name().to_owned()),
            ("PEM", self.pem()),
            ("JWKS", self.ground.issuer.jwks().to_string()),
            ("JWKS_URL", format!("http://{}/jwks.json", self.ground.origin)),
            ("ISSUER", ISSUER.to_owned()),
            ("AUDIENCE", AUDIENCE.to_owned()),
            ("ROLE", ROLE.to_owned()),
            ("FLUSH", flush.to_owned()),
        ];
        let values: Vec<(&str, &str)> = values.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let text = template::fill(&text, &values).map_err(|error| format!("{}: {error}", source.display()))?;
        let file = self.folder.join(name);
        fs::write(&file, text)?;
        Ok(file)
    }

    fn pem(&self) -> String {
        let name = format!("{}.pem", self.shape.algorithm().name());
        self.ground.folder.path().join(name).display().to_string()
    }

    /// Returns what a script is told.
    fn settings(&self) -> Outcome<String> {
        let settings = json!({
            "listen": self.address.to_string(), "origin": self.origin.to_string(), "shape": self.shape.name(),
            "pem": self.pem(), "algorithm": self.shape.algorithm().name(), "issuer": ISSUER, "audience": AUDIENCE,
            "role": ROLE, "routes": self.ground.folder.path().join("routes.txt"),
        });
        Ok(settings.to_string())
    }
}
