//! The steady stream of signed-in requests, and the one who signs in meanwhile. Not for the flood.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::Outcome;
use crate::client::Connection;
use crate::figures::Latencies;
use crate::paced::{self, Pace};
use crate::people::People;

/// How many requests are due each second.
pub const PER_SECOND: usize = 200;
/// How many keep-alive connections they are spread over.
pub const CONNECTIONS: usize = 8;
const PAUSE: Duration = Duration::from_millis(500);

/// Sends the stream and returns how long after it was due each request was answered.
pub fn run(address: SocketAddr, requests: &[Vec<u8>], began: Instant, length: Duration) -> Outcome<Latencies> {
    let count = (length.as_secs_f64() * PER_SECOND as f64) as usize;
    let pace = Pace { began, per_second: PER_SECOND as f64, count, connections: CONNECTIONS };
    paced::run(address, pace, |place| requests[place % requests.len()].clone())
}

/// Signs people in with their right password until then; returns how long it took those who got in,
/// and how many did not.
pub fn sign_in_now_and_then(address: SocketAddr, people: &People, until: Instant) -> (Latencies, usize) {
    let (mut latencies, mut refused) = (Latencies::default(), 0);
    let Ok(mut connection) = Connection::open(address) else { return (latencies, 1) };
    for person in (0..people.count()).rev().cycle() {
        if Instant::now() >= until {
            break;
        }
        match connection.timed(&people.login(person)) {
            Ok((_, took)) => latencies.add(took),
            Err(_) => refused += 1,
        }
        std::thread::sleep(PAUSE.min(until.saturating_duration_since(Instant::now())));
    }
    (latencies, refused)
}
