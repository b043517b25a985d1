//! Several small parts as one write. A head and a short body come in parts; one `send` of both takes the kernel
//! less than a `writev` that it must first read the list of. Not for large parts, which are not copied.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::AsyncWrite;
use tokio::net::TcpStream;

/// Up to here parts are copied: some cache lines, on the stack.
const SMALL: usize = 2 * 1024;

/// Writes parts to a socket; as any write it may take a part of them.
pub fn poll_write_parts(
    stream: Pin<&mut TcpStream>,
    context: &mut Context<'_>,
    parts: &[IoSlice<'_>],
) -> Poll<io::Result<usize>> {
    if let [part] = parts {
        return stream.poll_write(context, part);
    }
    let mut copied = [0; SMALL];
    let mut length = 0;
    for part in parts {
        let Some(room) = copied.get_mut(length..length + part.len()) else {
            return stream.poll_write_vectored(context, parts);
        };
        room.copy_from_slice(part);
        length += part.len();
    }
    stream.poll_write(context, &copied[..length])
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::AsyncReadExt as _;
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn parts_arrive_whole_and_in_order_whatever_their_sizes() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let mut stream = TcpStream::connect(listener.local_addr().expect("bound")).await.expect("connected");
        let (mut other, _) = listener.accept().await.expect("accepted");
        for sizes in [&[][..], &[5], &[300, 200], &[0, 1, 0], &[SMALL - 1, 1], &[SMALL - 1, 2], &[10, 60_000, 1]] {
            let parts: Vec<Vec<u8>> = sizes.iter().enumerate().map(|(n, size)| vec![n as u8; *size]).collect();
            let slices: Vec<IoSlice<'_>> = parts.iter().map(|part| IoSlice::new(part)).collect();
            let written =
                poll_fn(|context| poll_write_parts(Pin::new(&mut stream), context, &slices)).await.expect("written");
            let whole = parts.concat();
            assert!(written <= whole.len() && (written > 0 || whole.is_empty()), "{sizes:?}");
            let mut read = vec![0; written];
            other.read_exact(&mut read).await.expect("read");
            assert_eq!(read, whole[..written], "{sizes:?}");
        }
    }
}
