//! Frames pass as they are, both ways, however they are cut, no faster than they are read; and ends reach the other
//! side.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use ws_proxy::{Config, Reason};

use crate::world::{MASK, World, close, frame, in_time};

/// One of each, with a message in pieces and a ping between them.
fn frames(mask: Option<[u8; 4]>) -> Vec<u8> {
    let mut all = Vec::new();
    for (first, payload) in [
        (0x81, &b"text"[..]),
        (0x82, b"\x00\xff"),
        (0x01, b"be"),
        (0x89, b"ping"),
        (0x00, b""),
        (0x8a, b""),
        (0x80, b"gun"),
        (0x81, b""),
    ] {
        all.extend(frame(first, payload, mask));
    }
    let masked = if mask.is_some() { 0x80 } else { 0 };
    all.extend([0x82, masked | 126, 0x01, 0x00]);
    all.extend(mask.unwrap_or_default().iter().take(if mask.is_some() { 4 } else { 0 }));
    all.extend([7; 256]);
    all
}

#[tokio::test]
async fn every_byte_passes_as_it_is() {
    let world = World::new(Config::default()).await;
    let (mut client, mut origin) = world.open().await;
    let (up, down) = (frames(MASK), frames(None));
    client.say(&up).await;
    origin.say(&down).await;
    assert_eq!(origin.hear(up.len()).await, up);
    assert_eq!(client.hear(down.len()).await, down);
    for byte in &up {
        client.say(&[*byte]).await;
    }
    assert_eq!(origin.hear(up.len()).await, up, "one byte at a time");
    let counts = world.proxy.sockets.counts();
    assert_eq!((counts.open, counts.frames), (1, [18, 9]));
    assert_eq!(counts.bytes, [2 * up.len() as u64, down.len() as u64]);
}

#[tokio::test]
async fn a_frame_passes_before_its_end_has_come() {
    let world = World::new(Config::default()).await;
    let (mut client, mut origin) = world.open().await;
    let whole = frame(0x81, b"a long text", MASK);
    client.say(&whole[..8]).await;
    assert_eq!(origin.hear(8).await, whole[..8]);
    client.say(&whole[8..]).await;
    assert_eq!(origin.hear(whole.len() - 8).await, whole[8..]);
}

#[tokio::test]
async fn a_close_and_its_code_reach_the_other_side() {
    for from_client in [true, false] {
        let world = World::new(Config::default()).await;
        let (mut client, mut origin) = world.open().await;
        let (first, payload) = close(3_007, "enough");
        if from_client {
            client.say(&frame(first, &payload, MASK)).await;
            assert_eq!(origin.frame().await, close(3_007, "enough"));
            origin.say(&frame(first, &payload, None)).await;
            assert_eq!(client.frame().await, close(3_007, "enough"));
        } else {
            origin.say(&frame(first, &payload, None)).await;
            assert_eq!(client.frame().await, close(3_007, "enough"));
            client.say(&frame(first, &payload, MASK)).await;
            // What comes behind a Close does not pass.
            client.say(&frame(0x81, b"late", MASK)).await;
            assert_eq!(origin.frame().await, close(3_007, "enough"));
        }
        drop(origin);
        assert!(client.rest().await.is_empty());
        drop(client);
        let expected = if from_client { Reason::ClientClosed } else { Reason::OriginClosed };
        assert_eq!(world.ended().await, expected);
        let counts = world.proxy.sockets.counts();
        assert_eq!((counts.open, counts.ended.iter().sum::<u64>()), (0, 1));
    }
}

#[tokio::test]
async fn when_one_side_goes_the_other_is_let_go() {
    let world = World::new(Config::default()).await;
    let (client, mut origin) = world.open().await;
    drop(client);
    assert!(origin.rest().await.is_empty());
    drop(origin);
    assert_eq!(world.ended().await, Reason::ClientGone);
    let (mut client, mut origin) = world.open().await;
    origin.say(&frame(0x81, b"last", None)).await;
    drop(origin);
    assert_eq!(client.rest().await, frame(0x81, b"last", None));
    drop(client);
    assert_eq!(world.ended().await, Reason::OriginGone);
}

#[tokio::test]
async fn a_slow_reader_slows_the_writer_and_loses_nothing() {
    let world = World::new(Config { max_frames_per_second: 0, ..Config::default() }).await;
    let (mut client, mut origin) = world.open().await;
    let piece = [&[0x82, 0xfe, 0xff, 0xff, 0, 0, 0, 0][..], &[9; 65535]].concat();
    let mut written = 0_usize;
    // Until nobody takes any more; what the kernel keeps is some megabytes, what the proxy keeps is little.
    'full: loop {
        let mut left = &piece[..];
        while !left.is_empty() {
            match tokio::time::timeout(Duration::from_millis(500), client.stream.write(left)).await {
                Ok(taken) => {
                    let taken = taken.expect("written");
                    (written, left) = (written + taken, &left[taken..]);
                }
                Err(_) => break 'full,
            }
        }
        assert!(written < 256 << 20, "somebody keeps it all");
    }
    let mut room = vec![0; 1 << 16];
    let mut read = 0;
    while read < written {
        let more = in_time(origin.stream.read(&mut room)).await.expect("read");
        assert!(more > 0, "it ended after {read} of {written}");
        read += more;
    }
    assert_eq!(read, written);
}
