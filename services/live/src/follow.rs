//! Follows the log and tells the rooms of this process. Every process does so for its own sockets
//! (decision 0018), so nothing stands between the log and a room that could lose an event. Not for
//! who is in a room.

use std::sync::Weak;
use std::time::Duration;

use events::Feed;
use kernel::Result;
use store::EventRow;

use crate::server::Server;

/// How many events are read at a time.
const PAGE: u64 = 500;
/// How long to wait when the log cannot be read.
const PAUSE: Duration = Duration::from_millis(250);

/// Follows the log until the server or the process ends.
pub(crate) async fn follow(server: Weak<Server>, mut feed: Feed) {
    let mut position = feed.from;
    loop {
        let next = feed.next().await;
        let Some(server) = server.upgrade() else { return };
        match next {
            Ok(None) => return,
            Ok(Some(published)) if published.position > position => {
                position = published.position;
                tell(&server, &published.event, position);
            }
            // The log has told it already.
            Ok(Some(_)) => {}
            Err(events::Lagged) => {
                while let Err(error) = read_on(&server, &mut position).await {
                    tracing::warn!(error = %error, "sockets wait: the log cannot be read");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }
}

/// Tells what the feed has skipped.
async fn read_on(server: &Server, position: &mut i64) -> Result<()> {
    let kinds = server.wires.kinds();
    loop {
        let rows = store::events_after(&server.app.store, *position, Some(&kinds), PAGE).await?;
        for row in &rows {
            *position = row.position.unwrap_or(*position);
            tell(server, row, *position);
        }
        if (rows.len() as u64) < PAGE {
            return Ok(());
        }
    }
}

fn tell(server: &Server, event: &EventRow, position: i64) {
    let messages = server.wires.messages(event, server.app.live.hub.epoch());
    server.rooms.tell(event.tenant_id, position, messages);
}
