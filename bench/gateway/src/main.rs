//! The gateway's ladder: Portico beside nginx, HAProxy, Pingora, Envoy, Traefik, Caddy and two proxies on
//! Node, rung by rung. `cargo xtask bench gateway` prepares them and runs this; the report goes to standard
//! output as Markdown, what is being done to standard error. Nothing fails because it was slow; a wrong
//! answer fails.
#![expect(clippy::disallowed_methods, reason = "a command-line tool: the bans protect servers and tests")]

mod answer;
mod check;
mod export;
mod generator;
mod ground;
mod hand_off;
mod http_rung;
mod origins;
mod peers;
mod portico;
mod process;
mod rungs;
mod sockets;
mod streams;
mod summary;
mod system_calls;
mod tables;
mod template;
mod tokens;
mod upload;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use measure::{Outcome, quiet};

use ground::Ground;
use peers::Peer;
use rungs::{Kind, Rung};
use summary::Summary;

/// How long, and how often.
#[derive(Clone, Copy, Debug)]
pub struct Extent {
    /// How many rounds there are.
    pub rounds: usize,
    /// How long each is loaded before anything counts.
    pub warm_up: Duration,
    /// How long a saturated load takes.
    pub saturated: Duration,
    /// How long a load at a rate takes.
    pub paced: Duration,
}

/// What stands on the command line.
#[derive(Debug)]
struct Options {
    rungs: Vec<Rung>,
    peers: Vec<Peer>,
    extent: Extent,
    tools: PathBuf,
    portico: PathBuf,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match Options::parse(&arguments).and_then(|options| run(&options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("bench: {message}");
            ExitCode::FAILURE
        }
    }
}

impl Options {
    fn parse(arguments: &[String]) -> Outcome<Self> {
        let mut words = arguments.iter();
        let (mut rungs, mut peers, mut rounds, mut quick) = (Vec::new(), Vec::new(), None, false);
        let (mut tools, mut portico) = ("target/tools/bench-gateway".into(), "target/dist/portico".into());
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("{word} wants a value"));
            match word.as_str() {
                "--quick" => quick = true,
                "--rungs" => rungs = value()?.split(',').map(str::to_owned).collect(),
                "--peers" => peers = value()?.split(',').map(str::to_owned).collect(),
                "--rounds" => rounds = Some(value()?.parse()?),
                "--tools" => tools = value()?.into(),
                "--portico" => portico = value()?.into(),
                _ => return Err(format!("unknown argument {word}").into()),
            }
        }
        let named = |word: &String| Peer::named(word).ok_or_else(|| format!("there is no peer {word}"));
        let mut peers: Vec<Peer> = peers.iter().map(named).collect::<Result<_, _>>()?;
        if peers.is_empty() {
            peers = Peer::ALL.to_vec();
        }
        let millis = Duration::from_millis;
        let mut extent = match quick {
            true => Extent { rounds: 2, warm_up: millis(150), saturated: millis(200), paced: millis(200) },
            false => Extent { rounds: 7, warm_up: millis(300), saturated: millis(400), paced: millis(500) },
        };
        extent.rounds = rounds.unwrap_or(extent.rounds);
        let (tools, portico) = (std::path::absolute::<PathBuf>(tools)?, std::path::absolute::<PathBuf>(portico)?);
        Ok(Self { rungs: rungs::chosen(&rungs)?, peers, extent, tools, portico })
    }
}

fn run(options: &Options) -> Outcome {
    let began = Instant::now();
    let quiet = quiet::Run::begin()?;
    let ground = Ground::make(options.tools.clone(), options.portico.clone())?;
    let mut peers = options.peers.clone();
    if peers.contains(&Peer::Portico) && !ground.portico.is_file() {
        say(format!("{} is not there: the peers alone", ground.portico.display()));
        peers.retain(|peer| *peer != Peer::Portico);
    }
    let (mut tables, mut summary) = (Vec::new(), Summary::default());
    for rung in &options.rungs {
        say(rung.title);
        let began = Instant::now();
        let written = climb(*rung, &peers, &ground, options.extent, &mut summary);
        match written {
            Ok(more) => tables.extend(more),
            // One that cannot be measured is told, and the others still are.
            Err(error) => {
                say(format!("{} was not measured: {error}", rung.title));
                summary.not_measured(rung.title, &error.to_string());
            }
        }
        say(format!("  {:.0} s", began.elapsed().as_secs_f64()));
    }
    tables.insert(0, summary.table(&ground, &peers, options.extent, began.elapsed()));
    quiet.end(&tables)
}

fn climb(
    rung: Rung,
    peers: &[Peer],
    ground: &Ground,
    extent: Extent,
    summary: &mut Summary,
) -> Outcome<Vec<measure::report::Table>> {
    match rung.kind {
        Kind::Http(shape, asks) => {
            let supply = generator::Supply::new(asks.requests(ground)?);
            let ends = (ground.origin, asks.has_direct());
            let entrants = http_rung::enter(peers, shape, ground, ends, (&supply, &generator::Opening::Http))?;
            let found = http_rung::measure(entrants, asks.warms_up(), extent)?;
            summary.note(rung, &found);
            Ok(tables::http(rung, &found, extent))
        }
        Kind::Sockets => {
            let found = sockets::measure(peers, ground, extent)?;
            summary.note(rung, &found);
            Ok(tables::http(rung, &found, extent))
        }
        Kind::Streams => streams::measure(rung, peers, ground, extent),
        Kind::Upload => upload::measure(rung, peers, ground, extent),
        Kind::HandOff => hand_off::measure(rung, peers, ground, extent),
        Kind::Export => export::measure(rung, peers, ground, extent),
    }
}

/// Says what is being done.
pub fn say(text: impl std::fmt::Display) {
    eprintln!("bench: {text}");
}
