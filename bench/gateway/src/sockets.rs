//! A rung of WebSockets that echo: a message goes out, comes back, and the next one goes. Not for requests.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use measure::Outcome;

use crate::generator::{Opening, Supply};
use crate::ground::Ground;
use crate::http_rung::{self, Found};
use crate::peers::{Peer, Shape};
use crate::{Extent, origins};

/// How long a message is.
const MESSAGE: usize = 64;
const MASK: [u8; 4] = [1, 2, 3, 4];

/// Measures them all.
pub fn measure(peers: &[Peer], ground: &Ground, extent: Extent) -> Outcome<Found> {
    let origin = origins::echo()?;
    let key = STANDARD.encode([7; 16]);
    let request = format!(
        "GET /socket HTTP/1.1\r\nHost: bench.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n"
    );
    let opening = Opening::WebSocket { request: request.into_bytes(), answer: 2 + MESSAGE };
    let supply = Supply::new(vec![frame()].into());
    let entrants = http_rung::enter(peers, Shape::Stream, ground, (origin, true), (&supply, &opening))?;
    http_rung::measure(entrants, true, extent)
}

/// Returns a text frame as a client sends it: FIN and text, masked, the length, the mask, the message.
fn frame() -> Vec<u8> {
    let mut frame = vec![0x81, 0x80 | MESSAGE as u8];
    frame.extend(MASK);
    frame.extend((0..MESSAGE).map(|place| b'x' ^ MASK[place % 4]));
    frame
}
