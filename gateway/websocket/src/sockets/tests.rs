//! Shares, and what comes back.

use std::net::Ipv4Addr;

use kernel::{Actor, PermissionSet, UserId};
use web::CredentialKind;

use super::*;

fn caller(tenant: TenantId, user: UserId) -> Principal {
    Principal {
        tenant,
        actor: Actor::User(user),
        role: "staff".into(),
        permissions: PermissionSet::default(),
        credential: "ses".into(),
        kind: CredentialKind::Session,
        elevated: None,
    }
}

#[test]
fn nobody_holds_more_than_their_share_and_what_is_dropped_comes_back() {
    let sockets = Sockets::default();
    let config = Config { max_per_user: 2, max_per_tenant: 3, max_per_address: 1, ..Config::default() };
    let (tenant, one, two) = (TenantId::new(), UserId::new(), UserId::new());
    let here = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let ask = |user| sockets.admit(&config, Some(&caller(tenant, user)), here);
    let first = [ask(one).expect("room"), ask(one).expect("room")];
    assert_eq!(ask(one).expect_err("a third").code(), "gateway.websocket_limit");
    let _other = ask(two).expect("room for another person");
    assert_eq!(ask(two).expect_err("the tenant's fourth").status(), 429);
    let elsewhere = sockets.admit(&config, Some(&caller(TenantId::new(), one)), here);
    assert!(elsewhere.is_ok(), "another tenant's share is its own");
    let unknown = sockets.admit(&config, None, here).expect("room");
    assert!(sockets.admit(&config, None, here).is_err());
    drop((first, unknown));
    assert!(ask(one).is_ok() && sockets.admit(&config, None, here).is_ok());
    assert_eq!(sockets.counts().refused, 3);
    drop(elsewhere);
    drop(_other);
    assert!(sockets.held().is_empty(), "nothing is kept for those who hold nothing");
}

#[test]
fn a_process_that_stops_lets_nobody_in() {
    let sockets = Sockets::default();
    sockets.drain();
    let here = IpAddr::V4(Ipv4Addr::LOCALHOST);
    assert_eq!(sockets.admit(&Config::default(), None, here).expect_err("no room").status(), 503);
}

#[test]
fn each_reason_has_its_place() {
    for (at, reason) in Reason::ALL.iter().enumerate() {
        assert_eq!(Reason::ALL.iter().position(|other| other == reason), Some(at));
        assert_eq!(Reason::ALL.iter().filter(|other| other.name() == reason.name()).count(), 1);
    }
}
