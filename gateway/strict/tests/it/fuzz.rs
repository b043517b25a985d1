//! Streams of requests with anything wrong in them, the same ones every time. Whatever comes through is read
//! alike by an independent reader and by hyper, however it was split. `PORTICO_TEST_FUZZ_SECONDS` goes on with
//! others for as long.

use std::time::{Duration, Instant};

use crate::generate::stream;
use crate::reference::{self, Read};
use crate::served::serve;
use crate::{Dice, End, pass};

const STREAMS: u64 = 3_000;

#[expect(clippy::disallowed_methods, reason = "tests have no configuration to read it")]
fn longer() -> Duration {
    let seconds = std::env::var("PORTICO_TEST_FUZZ_SECONDS").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(seconds.unwrap_or(0))
}

/// Splits bytes at random.
fn pieces<'a>(dice: &mut Dice, mut bytes: &'a [u8]) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    while !bytes.is_empty() {
        let (piece, rest) = bytes.split_at(1 + dice.below(bytes.len().min(40)));
        pieces.push(piece);
        bytes = rest;
    }
    pieces
}

/// What both readers must agree on. hyper keeps the headers of one name together, and joins no two.
fn same(mut read: Read) -> Read {
    read.headers.sort();
    // An absolute target without a path gets one.
    if read.target.starts_with("http") && read.target.matches('/').count() == 2 {
        read.target.push('/');
    }
    read
}

#[tokio::test]
async fn what_comes_through_is_read_alike_by_all() {
    let (began, longer) = (Instant::now(), longer());
    let (mut seed, mut sound, mut refused, mut broken) = (0, 0, 0, 0);
    while seed < STREAMS || began.elapsed() < longer {
        seed += 1;
        let mut dice = Dice::new(seed);
        let stream = stream(&mut dice);
        let shown = || format!("seed {seed}: {}", stream.bytes.escape_ascii());
        let passed = pass([&stream.bytes[..]]);
        match passed.end {
            End::Refused(_) => refused += 1,
            End::Broken(_) => broken += 1,
            End::Open | End::Waits => {}
        }
        if stream.sound.is_some() {
            sound += 1;
            assert_eq!((passed.end, passed.bytes.len()), (End::Open, stream.bytes.len()), "{}", shown());
        }
        // However it is split.
        assert_eq!(pass(stream.bytes.chunks(1)), passed, "byte by byte, {}", shown());
        let at = dice.below(stream.bytes.len() + 1);
        let (one, other) = stream.bytes.split_at(at);
        assert_eq!(pass([one, other]), passed, "split at {at}, {}", shown());
        // The plain reader finds nothing wrong, and hyper reads the same.
        let expected = reference::read(&passed.bytes).unwrap_or_else(|wrong| panic!("{wrong}, {}", shown()));
        if let Some(count) = stream.sound {
            assert_eq!(expected.len(), count, "{}", shown());
        }
        if passed.end == End::Waits {
            continue;
        }
        let split = pieces(&mut dice, &stream.bytes);
        let served = serve(&split, true).await;
        let expected: Vec<Read> = expected.into_iter().map(same).collect();
        let heard: Vec<Read> = served.requests.into_iter().map(same).collect();
        // After `Connection: close` hyper reads no more.
        let closes = heard.last().is_some_and(|read| {
            read.old || read.headers.iter().any(|(name, value)| name == "connection" && value == b"close")
        });
        let expected_here = &expected[..if closes { heard.len().min(expected.len()) } else { expected.len() }];
        assert_eq!(heard, expected_here, "{}", shown());
        if !closes {
            match passed.end {
                End::Refused(refusal) => {
                    assert_eq!(served.refusal, Some(refusal), "{}", shown());
                    let status = format!("HTTP/1.1 {} ", refusal.status());
                    assert!(served.answer.contains(&status), "{}: {}", served.answer, shown());
                }
                End::Broken(refusal) => assert_eq!(served.broken, Some(refusal), "{}", shown()),
                End::Open | End::Waits => assert_eq!((served.refusal, served.broken), (None, None), "{}", shown()),
            }
        }
    }
    // The streams are worth something only if all of this happens.
    assert!(sound * 10 > seed && refused * 10 > seed && broken * 100 > seed, "{sound} {refused} {broken} of {seed}");
    println!("{seed} streams: {sound} sound, {refused} refused, {broken} broken off");
}
