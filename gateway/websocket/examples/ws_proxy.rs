//! `ws_proxy LISTEN ORIGIN`: the crate between any client and any origin, for suites that others wrote.
//! Not for use: it asks nobody who they are.

#[path = "../tests/it/proxy.rs"]
mod proxy;

use std::sync::Arc;

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    let addresses: Vec<_> = std::env::args().skip(1).filter_map(|argument| argument.parse().ok()).collect();
    let [listen, origin] = addresses[..] else {
        return Err(std::io::Error::other("usage: ws_proxy LISTEN ORIGIN, both ADDRESS:PORT"));
    };
    let config = ws_proxy::Config { max_per_address: 100_000, ..ws_proxy::Config::default() };
    let running = proxy::start(listen, origin, config, Arc::new(ws_proxy::Life::default)).await?;
    println!("listening on {}", running.address);
    std::future::pending::<()>().await;
    drop((running.sockets, running.ends));
    Ok(())
}
