#[tokio::test(flavor = "multi_thread")]
#[ignore = "by hand"]
async fn serve() {
    let house = crate::house::House::open().await;
    std::fs::write("/tmp/live_address", house.address.to_string()).expect("written");
    for number in 0..600 {
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        house.adjust(number).await;
        if std::fs::metadata("/tmp/live_revoke").is_ok() {
            std::fs::remove_file("/tmp/live_revoke").expect("removed");
            house.connections.revoke(&web::Revocation::Credential("staff".into()));
        }
        if std::fs::metadata("/tmp/live_stop").is_ok() { break; }
    }
    house.stop().await;
}
