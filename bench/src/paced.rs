//! Clients beside each other, and requests that are sent when they are due, however long answers take.
//! Not for what the requests are.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::Outcome;
use crate::client::Connection;
use crate::figures::Latencies;

/// Runs so many clients beside each other and returns what each gives.
pub fn side_by_side<T: Send>(count: usize, client: impl Fn(usize) -> Outcome<T> + Sync) -> Outcome<Vec<T>> {
    let client = &client;
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..count).map(|number| scope.spawn(move || client(number))).collect();
        running.into_iter().map(|thread| thread.join().expect("nothing here panics")).collect()
    })
}

/// When requests are due: from a moment on, so many a second, so many in all, over so many connections.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    pub began: Instant,
    pub per_second: f64,
    pub count: usize,
    pub connections: usize,
}

/// Sends the requests at their pace and returns how long after it was due each was answered.
pub fn run(address: SocketAddr, pace: Pace, request: impl Fn(usize) -> Vec<u8> + Sync) -> Outcome<Latencies> {
    let clients = side_by_side(pace.connections, |number| {
        let mut connection = Connection::open(address)?;
        let mut latencies = Latencies::default();
        for place in (number..pace.count).step_by(pace.connections) {
            let bytes = request(place);
            let due = pace.began + Duration::from_secs_f64(place as f64 / pace.per_second);
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            connection.timed(&bytes)?;
            latencies.add(due.elapsed());
        }
        Ok(latencies)
    })?;
    let mut all = Latencies::default();
    clients.iter().for_each(|latencies| all.extend(latencies));
    Ok(all)
}
