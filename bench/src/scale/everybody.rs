//! All people of a big installation come within a short while, each with an API token that the
//! server has not met, and meanwhile somebody signs in now and then. It fills the token cache and
//! makes the server remember that everybody was seen. Not for the usual day.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::Outcome;
use crate::client::Connection;
use crate::figures::{Latencies, short};
use crate::people::who_am_i;
use crate::scale::side::Side;

const CONNECTIONS: usize = 8;
/// Longer than the server's pause between two rounds of writing down who was seen.
const AFTERWARDS: Duration = Duration::from_secs(25);
const PAUSE: Duration = Duration::from_millis(100);

/// Returns a sentence with what it showed.
pub fn measure(side: &Side) -> Outcome<String> {
    let (address, tokens) = (side.server.address(), &side.people.tokens);
    let (next, ended, began) = (AtomicUsize::new(0), AtomicBool::new(false), Instant::now());
    let client = || {
        let mut connection = Connection::open(address)?;
        let mut latencies = Latencies::default();
        while let Some(token) = tokens.get(next.fetch_add(1, Ordering::Relaxed)) {
            latencies.add(connection.timed(&who_am_i(token))?.1);
        }
        Outcome::Ok(latencies)
    };
    let sign_in = || {
        let mut connection = Connection::open(address)?;
        let (mut latencies, mut refused) = (Latencies::default(), 0);
        for person in (0..side.people.count()).cycle() {
            if ended.load(Ordering::Relaxed) {
                break;
            }
            let answer_began = Instant::now();
            match connection.send(&side.people.login(person))?.status {
                200 => latencies.add(answer_began.elapsed()),
                _ => refused += 1,
            }
            std::thread::sleep(PAUSE);
        }
        Outcome::Ok((latencies, refused))
    };
    let (all, took, (sign_ins, refused)) = std::thread::scope(|scope| {
        let sign_in = scope.spawn(sign_in);
        let running: Vec<_> = (0..CONNECTIONS).map(|_| scope.spawn(client)).collect();
        let each: Outcome<Vec<Latencies>> =
            running.into_iter().map(|thread| thread.join().expect("nothing here panics")).collect();
        let took = began.elapsed();
        std::thread::sleep(AFTERWARDS);
        ended.store(true, Ordering::Relaxed);
        let sign_ins = sign_in.join().expect("nothing here panics")?;
        let mut all = Latencies::default();
        each?.iter().for_each(|latencies| all.extend(latencies));
        Outcome::Ok((all, took, sign_ins))
    })?;
    Ok(format!(
        "All {} API tokens of the big database once, on {CONNECTIONS} connections at once: {} requests a second, p50 {} ms, \
         p99 {} ms, slowest {} ms. Meanwhile and {} s longer somebody signed in every {} ms: p50 {} ms, p99 {} ms, slowest \
         {} ms, {refused} of {} not answered 200.",
        short(all.count() as f64),
        short(all.count() as f64 / took.as_secs_f64()),
        short(all.median()),
        short(all.within(0.99)),
        short(all.within(1.0)),
        AFTERWARDS.as_secs(),
        PAUSE.as_millis(),
        short(sign_ins.median()),
        short(sign_ins.within(0.99)),
        short(sign_ins.within(1.0)),
        sign_ins.count() + refused,
    ))
}
