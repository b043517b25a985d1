//! Live fan-out: who keeps up misses nothing of a burst.

use events::Hub;

use crate::ground::{grounds, record_many};

#[tokio::test]
async fn a_burst_does_not_make_a_reader_that_keeps_up_lag() {
    for ground in grounds().await {
        let tenant = ground.tenant("one").await;
        let hub = Hub::start(&ground.store).await.expect("the log can be read");
        let mut feed = hub.join(Some(tenant));
        record_many(&ground.store, tenant, "burst", 600).await;
        store::assign_positions(&ground.store).await.expect("numbers");
        for position in 1..=600 {
            let event = feed.next().await.expect("it does not lag").expect("the hub reads on");
            assert_eq!(event.position, position);
        }
    }
}
