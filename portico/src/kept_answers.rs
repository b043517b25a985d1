//! Drops what the gateway keeps when what it shows has changed: each event of the log takes the tags of its
//! type, its resource and its subject with it. Not for keeping answers, nor for choosing a route's tags.

use std::fmt::Write as _;

use events::Hub;
use gateway::Lasting;
use kernel::TenantId;
use store::Store;
use tokio::task::JoinHandle;

/// Drops the answers that an event of this type about this subject makes old. For
/// `inventory.item.adjusted` about `itm_1` those tagged `inventory.item.adjusted`, `inventory.item` and
/// `inventory.item:itm_1`.
fn forget(lasting: &Lasting, tenant: TenantId, kind: &str, subject: &str) {
    let resource = kind.rsplit_once('.').map_or(kind, |(resource, _)| resource);
    let mut one = String::with_capacity(resource.len() + subject.len() + 1);
    let _ = write!(one, "{resource}:{subject}");
    lasting.forget_answers(tenant, &[kind, resource, &one]);
}

/// Drops at once what this process changes, and as soon as it is in the log what others do.
pub(crate) fn follow(store: &Store, hub: &Hub, lasting: &Lasting) -> JoinHandle<()> {
    let own = lasting.clone();
    store.listen(move |events| events.iter().for_each(|event| forget(&own, event.tenant, &event.kind, &event.subject)));
    let (hub, lasting) = (hub.clone(), lasting.clone());
    tokio::spawn(async move {
        let mut feed = hub.join(None);
        loop {
            match feed.next().await {
                Ok(Some(published)) => {
                    let event = &published.event;
                    forget(&lasting, event.tenant_id, &event.kind, &event.subject);
                }
                Ok(None) => return,
                // More came than could be followed: what was missed may concern anything.
                Err(_) => {
                    lasting.cache().clear();
                    feed = hub.join(None);
                }
            }
        }
    })
}
