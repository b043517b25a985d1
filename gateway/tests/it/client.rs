//! Where a request comes from, as its handler is told. Which proxies are believed what is tested
//! beside the code.

use gateway::{Entry, Metrics};
use http::Method;
use kernel::{Clock, RequestId};
use web::{ClientAddress, ContextKey, RequestIds, SignedContext};

use crate::{House, START, ask, door, member, told_by};

#[tokio::test]
async fn a_handler_learns_the_client_behind_a_trusted_proxy_only() {
    let house = House::new();
    let forwarded = ("x-forwarded-for", "198.51.100.1, 203.0.113.50");
    for (peer, headers, client) in [
        ("203.0.113.9", vec![], "203.0.113.9"),
        ("203.0.113.9", vec![forwarded], "203.0.113.9"),
        ("10.1.2.3", vec![], "10.1.2.3"),
        ("10.1.2.3", vec![forwarded], "203.0.113.50"),
        // A client must not get rid of what its proxy wrote by calling it hop-by-hop.
        ("10.1.2.3", vec![forwarded, ("connection", "x-forwarded-for")], "203.0.113.50"),
        ("::ffff:10.1.2.3", vec![forwarded], "203.0.113.50"),
    ] {
        let told = told_by(ask(&house.door, peer, "/public", &headers).await).await;
        assert_eq!(told["client"], client, "{peer} {headers:?}");
    }
}

#[tokio::test]
async fn behind_a_gateway_the_client_is_whom_the_gateway_signed() {
    let (key, clock) = (ContextKey::new(&[7; 32]).expect("long enough"), Clock::manual(START));
    let door = door(Entry::Internal(key.clone()), &clock, Metrics::default());
    let ids = RequestIds { request: RequestId::create(), correlation: RequestId::create() };
    let client = Some(ClientAddress([198, 51, 100, 7].into()));
    let context = SignedContext { ids, principal: Some(member("tok_1")), client, until: None };
    let signed = key.sign(&Method::GET, "/signed-in", &context, START);
    let signed = signed.to_str().expect("text");
    // A service believes nobody but the signature: neither the header nor that the peer is trusted.
    let headers = [("x-portico-context", signed), ("x-forwarded-for", "192.0.2.66")];
    let told = told_by(ask(&door, "10.1.2.3", "/signed-in", &headers).await).await;
    assert_eq!((&told["client"], &told["credential"]), (&"198.51.100.7".into(), &"tok_1".into()));
    let told = told_by(ask(&door, "10.1.2.3", "/public", &headers[1..]).await).await;
    assert_eq!(told["client"], "10.1.2.3");
}
