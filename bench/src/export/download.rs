//! One download over a connection of its own, timed and counted, never kept. Not for what is in it.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::Outcome;
use crate::client::get;

/// A download that came to its end.
pub struct Taken {
    pub bytes: u64,
    /// Until the first byte of the body.
    pub first: Duration,
    pub whole: Duration,
}

/// Begins a download, and gives the connection behind the head with what of the body came with it.
pub fn begin(address: SocketAddr, token: &str, format: &str) -> Outcome<(TcpStream, Vec<u8>)> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(120)))?;
    stream.write_all(&get(&format!("/api/inventory/export/logs?format={format}"), Some(token)))?;
    let (mut read, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        let count = stream.read(&mut buffer)?;
        read.extend_from_slice(&buffer[..count]);
        if let Some(end) = read.windows(4).position(|four| four == b"\r\n\r\n") {
            if !read.starts_with(b"HTTP/1.1 200") {
                return Err(String::from_utf8_lossy(&read).into_owned().into());
            }
            return Ok((stream, read.split_off(end + 4)));
        }
        if count == 0 {
            return Err("the server closed the connection".into());
        }
    }
}

/// Takes an export of so many lines.
pub fn take(address: SocketAddr, token: &str, format: &str, lines: u64) -> Outcome<Taken> {
    let began = Instant::now();
    let (mut stream, mut read) = begin(address, token, format)?;
    let mut first = (!read.is_empty()).then(|| began.elapsed());
    let mut buffer = vec![0; 256 << 10];
    let (mut bytes, mut found, mut last) = (0, 0, Vec::new());
    loop {
        bytes += read.len() as u64;
        found += count(&read, format);
        let keep = read.len().saturating_sub(5);
        last.extend_from_slice(&read[keep..]);
        last.drain(..last.len().saturating_sub(5));
        // The last chunk of a body is empty.
        if last == b"0\r\n\r\n" {
            break;
        }
        let count = stream.read(&mut buffer)?;
        if count == 0 {
            return Err("the export was cut off".into());
        }
        first.get_or_insert_with(|| began.elapsed());
        read = buffer[..count].to_vec();
    }
    let whole = began.elapsed();
    // A mark may lie across two reads, which happens a few times in a million.
    if found.abs_diff(lines) > lines / 1_000 {
        return Err(format!("{found} lines of {lines}").into());
    }
    Ok(Taken { bytes, first: first.unwrap_or(whole), whole })
}

/// Counts the lines that begin in here.
fn count(bytes: &[u8], format: &str) -> u64 {
    let mark: &[u8] = if format == "csv" { b"\nmov_" } else { b"{\"id\":\"mov_" };
    bytes.windows(mark.len()).filter(|part| *part == mark).count() as u64
}
