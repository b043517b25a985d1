//! The steady stream of signed-in requests, and the one who signs in meanwhile. Not for the flood.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::Outcome;
use crate::client::Connection;
use crate::figures::Latencies;
use crate::people::People;

/// How many requests are due each second.
pub const PER_SECOND: usize = 200;
/// How many keep-alive connections they are spread over.
pub const CONNECTIONS: usize = 8;
const PAUSE: Duration = Duration::from_millis(500);

/// Sends the stream and returns how long after it was due each request was answered.
pub fn run(address: SocketAddr, requests: &[Vec<u8>], began: Instant, length: Duration) -> Outcome<Latencies> {
    let client = |number: usize| {
        let mut connection = Connection::open(address)?;
        let mut latencies = Latencies::default();
        for place in (number..).step_by(CONNECTIONS) {
            let after = Duration::from_secs_f64(place as f64 / PER_SECOND as f64);
            if after >= length {
                break;
            }
            let due = began + after;
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            connection.timed(&requests[place % requests.len()])?;
            latencies.add(due.elapsed());
        }
        Outcome::Ok(latencies)
    };
    let client = &client;
    let clients = std::thread::scope(|scope| {
        let running: Vec<_> = (0..CONNECTIONS).map(|number| scope.spawn(move || client(number))).collect();
        running.into_iter().map(|thread| thread.join().expect("nothing here panics")).collect::<Outcome<Vec<_>>>()
    })?;
    let mut all = Latencies::default();
    clients.iter().for_each(|latencies| all.extend(latencies));
    Ok(all)
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
