//! Has the certificates of the server's TLS read again when their files change or the process gets SIGHUP. Not
//! for reading them.

use std::time::Duration;

use gateway::Tls;
use tokio::signal::unix::{SignalKind, signal};

/// Watches the files as often as this, in milliseconds; 0 means only on SIGHUP. What cannot be used is logged, and
/// the certificate stays as it is.
pub(crate) async fn keep_current(tls: Tls, watch_ms: u64) {
    let Ok(mut hangup) = signal(SignalKind::hangup()) else { return };
    let watch = Duration::from_millis(watch_ms);
    loop {
        let asked = tokio::select! {
            _ = hangup.recv() => true,
            () = tokio::time::sleep(watch), if !watch.is_zero() => false,
        };
        let at_files = tls.clone();
        match tokio::task::spawn_blocking(move || at_files.renew(asked)).await {
            Ok(Ok(true)) => tracing::info!("the server's certificate was read again"),
            Ok(Err(error)) => tracing::error!(error = %error, "the server's certificate was changed, and is not used"),
            Ok(Ok(false)) | Err(_) => {}
        }
    }
}
