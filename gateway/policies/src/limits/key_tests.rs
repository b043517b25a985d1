//! Who is counted as one, and who is not.

use super::*;

fn maker(parts: &[&str], absent: Absent) -> KeyMaker {
    let parts = parts.iter().map(|part| Part::read(part).expect("a part")).collect();
    KeyMaker::new(parts, absent, RandomState::new())
}

#[test]
fn an_ipv6_network_of_one_customer_is_one_address() {
    let maker = maker(&["address"], Absent::Together);
    let headers = HeaderMap::new();
    let nobody = Subject { address: None, tenant: None, user: None, credential: None, headers: &headers };
    let key =
        |address: &str| maker.fingerprint(&Subject { address: Some(address.parse().expect("an address")), ..nobody });
    assert_eq!(key("2001:db8:1:2::1"), key("2001:db8:1:2:ffff:ffff:ffff:ffff"));
    assert_ne!(key("2001:db8:1:2::1"), key("2001:db8:1:3::1"));
    assert_ne!(key("192.0.2.1"), key("192.0.2.2"));
    assert_eq!(key("192.0.2.1"), key("::ffff:192.0.2.1"));
    assert_ne!(key("192.0.2.1"), maker.fingerprint(&nobody));
}

#[test]
fn parts_do_not_run_into_each_other() {
    let (a, b) = (HeaderName::from_static("x-a"), HeaderName::from_static("x-b"));
    let maker = maker(&["header:x-a", "header:X-B"], Absent::Together);
    let key = |pairs: &[(&HeaderName, &str)]| {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().expect("a value"));
        }
        let subject = Subject { address: None, tenant: None, user: None, credential: None, headers: &headers };
        (maker.fingerprint(&subject), maker.redis_key("n", "l", None, &subject))
    };
    let all = [
        key(&[]),
        key(&[(&a, "")]),
        key(&[(&b, "")]),
        key(&[(&a, "xy"), (&b, "z")]),
        key(&[(&a, "x"), (&b, "yz")]),
        key(&[(&a, "x"), (&a, "y"), (&b, "z")]),
        key(&[(&a, "xyz")]),
        key(&[(&b, "xyz")]),
    ];
    for (index, one) in all.iter().enumerate() {
        for other in &all[index + 1..] {
            assert!(one.0 != other.0 && one.1 != other.1);
        }
    }
    assert_eq!(key(&[(&a, "xyz")]), key(&[(&a, "xyz")]));
}

#[test]
fn who_lacks_what_is_counted_by_shares_a_count_or_is_let_alone() {
    let headers = HeaderMap::new();
    let nobody = Subject { address: None, tenant: None, user: None, credential: None, headers: &headers };
    for part in ["user", "tenant", "credential", "address", "header:x-key"] {
        assert!(maker(&[part], Absent::Together).fingerprint(&nobody).is_some(), "{part}");
        assert!(maker(&[part], Absent::Skip).fingerprint(&nobody).is_none(), "{part}");
    }
}

#[test]
fn keys_in_redis_show_no_secret_and_differ_by_tenant_and_limit() {
    let headers = HeaderMap::new();
    let subject = Subject { address: None, tenant: None, user: None, credential: Some("se:cret"), headers: &headers };
    let maker = maker(&["credential"], Absent::Together);
    let key = |limit: &str, tenant| maker.redis_key("portico", limit, tenant, &subject);
    assert!(key("l", None).starts_with("portico:limit:l:") && !key("l", None).contains("se:cret"));
    assert_ne!(key("l", None), key("m", None));
    assert_ne!(key("l", None), key("l", Some(0)));
    assert_ne!(key("l", Some(1)), key("l", Some(2)));
}

#[test]
fn what_cannot_be_counted_by_is_refused() {
    for text in ["", "addr", "header:", "header:a b", "Address", "header"] {
        assert!(Part::read(text).is_err(), "{text}");
    }
}
