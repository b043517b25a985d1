//! Whether a proxy does what its rung asks, before it is measured: the origin's own bytes come back, a token
//! is asked for and its signature looked at, a path that is no route is refused. Not for how fast.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use measure::Outcome;

use crate::answer::Answer;
use crate::peers::Shape;
use crate::rungs::get;

const PATIENCE: Duration = Duration::from_secs(10);

/// Fails where it does not.
pub fn right(address: SocketAddr, request: &[u8], shape: Shape) -> Outcome {
    let answered = ask(address, request, PATIENCE)?;
    if answered.0 != 200 || answered.1.is_empty() {
        return Err(format!("answers {}: {}", answered.0, answered.1).into());
    }
    // What the origin says of the same, so that nobody is measured who answers by himself.
    let expected = |text: &str| match answered.1.contains(text) {
        true => Ok(()),
        false => Err(format!("the answer is not the origin's: {}", answered.1)),
    };
    let path = request.split(|byte| *byte == b' ').nth(1).unwrap_or_default();
    match path {
        b"/10k" | b"/100k" | b"/cached/one" | b"/128" => expected("xxxxxxxx")?,
        b"/merged" => ["profile", "orders", "stock"].into_iter().try_for_each(expected)?,
        _ => expected("\"ok\":true")?,
    }
    match shape {
        Shape::Jwt(_) | Shape::Chain => {
            refused(address, &get("/128", None), &[401], "a request without a token")?;
            let text = String::from_utf8_lossy(request);
            let (start, token) = text.split_once("Bearer ").ok_or("a rung of tokens without one")?;
            // The last character may hold bits that say nothing; one in the middle does not.
            let (token, end) = token.split_once("\r\n").ok_or("a request without an end")?;
            let place = token.len() - 20;
            let other = if token.as_bytes()[place] == b'A' { "B" } else { "A" };
            let forged = format!("{start}Bearer {}{other}{}\r\n{end}", &token[..place], &token[place + 1..]);
            refused(address, forged.as_bytes(), &[401], "a forged token")
        }
        Shape::Routes => refused(address, &get("/there/is/no/such/route/x", None), &[404], "a path that is no route"),
        _ => Ok(()),
    }
}

fn refused(address: SocketAddr, request: &[u8], with: &[u16], what: &str) -> Outcome {
    match ask(address, request, PATIENCE)? {
        (status, _) if with.contains(&status) => Ok(()),
        (status, body) => Err(format!("{what} is answered {status}: {body}").into()),
    }
}

/// Asks once; returns status and body.
pub fn ask(address: SocketAddr, request: &[u8], patience: Duration) -> Outcome<(u16, String)> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(patience))?;
    stream.write_all(request)?;
    let (mut answer, mut scratch, mut all) = (Answer::default(), vec![0; 64 * 1024], Vec::new());
    loop {
        let read = stream.read(&mut scratch)?;
        if read == 0 {
            return Err("the connection ended before the answer".into());
        }
        all.extend_from_slice(&scratch[..read]);
        if let Some(status) = answer.take(&scratch[..read])? {
            let text = String::from_utf8_lossy(&all).into_owned();
            let body = text.split_once("\r\n\r\n").map_or(String::new(), |(_, body)| body.to_owned());
            return Ok((status, body));
        }
    }
}
