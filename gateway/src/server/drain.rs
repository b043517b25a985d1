//! Accepts until the server stops, and then lets what is open end. Not for a single connection.

use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::server::connection::Reception;
use crate::server::listen;

/// How long a stopping server waits for the next request of a connection before it closes it.
pub(super) const IDLE_GRACE: Duration = Duration::from_millis(500);

/// How long a listener that is passed over waits for those whom the kernel has answered already: some round trips.
const HALF_OPEN: Duration = Duration::from_millis(150);

/// How the server stops.
#[derive(Clone, Copy, Debug)]
pub struct Drain {
    /// How long it goes on accepting after it has said that it is not ready.
    pub notice: Duration,
    /// How long open requests may take to end.
    pub limit: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Serving,
    Draining(Duration),
}

/// Serves whoever connects, until it has drained; `shared` with a server that stays.
pub(super) async fn serve(
    listener: TcpListener,
    reception: Reception,
    mut stage: watch::Receiver<Stage>,
    shared: bool,
) {
    let limit = loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => reception.attend(stream, peer),
                Err(error) => {
                    // Out of file descriptors, most likely: let some connections end first.
                    tracing::warn!(error = %error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            },
            _ = stage.changed() => {
                if let Stage::Draining(limit) = *stage.borrow_and_update() {
                    break limit;
                }
            }
        }
    };
    let began = Instant::now();
    if shared {
        listen::pass_over(&listener);
        let half_open = tokio::time::sleep(HALF_OPEN.min(limit / 4));
        tokio::pin!(half_open);
        loop {
            tokio::select! {
                () = &mut half_open => break,
                accepted = listener.accept() => match accepted {
                    Ok((stream, peer)) => reception.attend(stream, peer),
                    Err(_) => break,
                },
            }
        }
    }
    // Whom the kernel has let in already would be reset with the listener.
    if let Ok(listener) = listener.into_std() {
        while let Ok((stream, peer)) = listener.accept() {
            if let Ok(stream) = stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(stream)) {
                reception.attend(stream, peer);
            }
        }
    }
    // An idle connection that is closed while the next request is on its way resets that request.
    // So busy connections learn from their next answer that it was the last, and only those that
    // stay idle are closed.
    reception.say_last();
    while reception.is_busy() && began.elapsed() < IDLE_GRACE.min(limit / 2) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    if !reception.end(limit.saturating_sub(began.elapsed())).await {
        tracing::warn!("some requests were still open at the end of the drain");
    }
}
