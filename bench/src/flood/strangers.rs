//! The flood: many connections on one thread that sign in as people nobody knows, each sending the
//! next attempt as soon as the last one is answered. Not for measuring latency.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use crate::Outcome;
use crate::client::{LightConnection, post};
use crate::figures::Dice;

/// How the flood comes.
#[derive(Clone, Copy, Debug)]
pub struct Flood {
    pub connections: usize,
    /// Whether each attempt comes from an address of its own.
    pub addresses: bool,
}

/// How often it was answered 401, 503, 429, 200, and anything else.
#[derive(Clone, Copy, Debug, Default)]
pub struct Statuses(pub [u64; 5]);

/// A flood that is under way.
pub struct Running {
    stop: Arc<AtomicBool>,
    counts: Arc<[AtomicU64; 5]>,
    thread: JoinHandle<Outcome>,
}

impl Running {
    pub fn statuses(&self) -> Statuses {
        Statuses(self.counts.each_ref().map(|count| count.load(Ordering::Relaxed)))
    }

    /// Ends it, and waits for the answers to what was sent.
    pub fn stop(self) -> Outcome {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("nothing here panics")
    }
}

pub fn start(address: SocketAddr, flood: Flood, seed: u64) -> Outcome<Running> {
    let (stop, counts) = (Arc::new(AtomicBool::new(false)), Arc::<[AtomicU64; 5]>::default());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (told, counted) = (stop.clone(), counts.clone());
    let thread = std::thread::Builder::new().name("flood".to_owned()).spawn(move || {
        runtime.block_on(async move {
            let attacker = |number: usize| {
                let dice = Dice::seeded(seed * 10_000 + number as u64);
                tokio::spawn(attack(address, flood, dice, told.clone(), counted.clone()))
            };
            for attacker in (0..flood.connections).map(attacker).collect::<Vec<_>>() {
                attacker.await??;
            }
            Ok(())
        })
    })?;
    Ok(Running { stop, counts, thread })
}

async fn attack(
    address: SocketAddr,
    flood: Flood,
    mut dice: Dice,
    stop: Arc<AtomicBool>,
    counts: Arc<[AtomicU64; 5]>,
) -> Outcome {
    let mut connection = LightConnection::open(address).await?;
    while !stop.load(Ordering::Relaxed) {
        let stranger = dice.below(1 << 40);
        let client = if flood.addresses { stranger as u32 } else { 0x00FF_FFFF };
        let body = format!(r#"{{"email":"stranger-{stranger}@flood.example","password":"any old password"}}"#);
        let place = match connection.send(&post("/api/auth/login", &body, client)).await?.status {
            401 => 0,
            503 => 1,
            429 => 2,
            200 => 3,
            _ => 4,
        };
        counts[place].fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}
