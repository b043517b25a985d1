//! Nobody gets at what is inside the house through an endpoint, however its URL is written.

use super::*;
use network::{Line, Scripted};
use std::collections::BTreeSet;
use std::net::IpAddr;

/// Hosts that are inside, or are written to look otherwise. Names lead where the test's network says.
const HOSTS: &[&str] = &[
    // IPv4, as it is usually written.
    "127.0.0.1", "127.1.2.3", "127.255.255.254", "10.0.0.1", "10.255.255.255", "172.16.0.1", "172.31.255.254",
    "192.168.0.1", "192.168.255.254", "169.254.169.254", "169.254.0.1", "100.64.0.1", "100.100.100.200",
    "100.127.255.254", "0.0.0.0", "0.1.2.3", "192.0.0.1", "192.0.0.192", "192.0.2.1", "198.18.0.1",
    "198.19.255.254", "198.51.100.7", "203.0.113.7", "192.88.99.1", "224.0.0.1", "239.255.255.255", "240.0.0.1",
    "255.255.255.255", "168.63.129.16",
    // IPv4, as it is unusually written: decimal, octal, hexadecimal, short, mixed, with a dot at the end.
    "2130706433", "3232235521", "2852039166", "167772161", "0", "017700000001", "0x7f000001", "0x7F000001",
    "0xa9fea9fe", "0x0a000001", "0300.0250.0.1", "0177.0.0.1", "0177.0.0.01", "00000177.0.0.1", "0x7f.0.0.1",
    "0x7f.0x0.0x0.0x1", "0xa9.0xfe.0xa9.0xfe", "169.254.43518", "169.16689662", "127.1", "127.0.1", "10.1", "192.168.1",
    "172.1048577", "0x7f.1", "0177.1", "127.0.0.0x1", "127.0.0.01", "127.0.0.1.", "2130706433.", "0x7f.1.", "10.0.0.1.",
    "%31%32%37.0.0.1", "127%2e0%2e0%2e1", "%30x7f.1", "127.0.0.1%2e",
    // Digits and dots of other scripts.
    "１２７.０.０.１", "①②⑦.⓪.⓪.①", "127。0。0。1", "127．0．0．1", "127｡0｡0｡1", "𝟏𝟐𝟕.𝟎.𝟎.𝟏", "²¹³⁰⁷⁰⁶⁴³³", "１６９.２５４.１６９.２５４",
    "0ｘ7f.1",
    // IPv6: loopback, unspecified, mapped, compatible, translated, tunnels, private, link-local, multicast.
    "[::1]", "[::]", "[0:0:0:0:0:0:0:1]", "[0000:0000:0000:0000:0000:0000:0000:0001]", "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]", "[::ffff:10.0.0.1]", "[::ffff:169.254.169.254]", "[::ffff:a9fe:a9fe]", "[::ffff:192.168.0.1]",
    "[0:0:0:0:0:ffff:127.0.0.1]", "[::127.0.0.1]", "[::7f00:1]", "[::10.0.0.1]", "[::ffff:0:127.0.0.1]",
    "[64:ff9b::127.0.0.1]", "[64:ff9b::7f00:1]", "[64:ff9b::10.0.0.1]", "[64:ff9b::169.254.169.254]",
    "[64:ff9b:1::10.0.0.1]", "[64:ff9b:1::1]", "[2002:7f00:1::]", "[2002:a00:1::1]", "[2002:a9fe:a9fe::1]",
    "[2001::1]", "[2001:0:7f00:1::1]", "[2001:db8::1]", "[2001:10::1]", "[2001:20::1]", "[2001:2::1]", "[3fff::1]",
    "[5f00::1]", "[fc00::1]", "[fd00::1]", "[fd00:ec2::254]", "[fdff:ffff::1]", "[fe80::1]", "[fe80::1%25eth0]",
    "[febf::1]", "[fec0::1]", "[ff02::1]", "[ff05::1:3]", "[100::1]", "[4000::1]",
    // Names that lead inside, some by what they look like.
    "localhost", "LOCALHOST", "localhost.", "localhost.localdomain", "app.localhost", "127.0.0.1.nip.io",
    "10-0-0-1.nip.io", "metadata.google.internal", "metadata", "redis", "intranet", "printer.local", "kubernetes.default.svc",
    "loopback.example.com", "private.example.com", "six.example.com", "mapped.example.com", "mixed.example.com",
    "mixed-six.example.com", "late.example.com", "ｌｏｃａｌｈｏｓｔ", "ⓛⓞⓒⓐⓛⓗⓞⓢⓣ", "locaｌhost", "lоcalhost",
    "xn--lcalhost-1bf", "loc%61lhost", "a.b.c.d.e.example.com.", "empty.example.com",
];

/// Whole URLs that are read differently by different programs.
const URLS: &[&str] = &[
    "https://example.com@127.0.0.1/", "https://127.0.0.1@example.com/", "https://user:word@127.0.0.1/",
    "https://@127.0.0.1/", "https://:@127.0.0.1/", "https://example.com:443@10.0.0.1/", "https://127.0.0.1#@example.com/",
    "https://127.0.0.1?@example.com/", "https://127.0.0.1\\@example.com/", "https:\\\\127.0.0.1\\", "https:/127.0.0.1/",
    "https:127.0.0.1", "https:///127.0.0.1/", "https:////127.0.0.1/", "//127.0.0.1/", "127.0.0.1", "https://127.0.0.1:0/",
    "https://127.0.0.1:99999/", "https://127.0.0.1:-1/", "https://127.0.0.1:22/", "https://127.0.0.1:6379/",
    "https://[::1]:6379/", "https://127.0.0.1 /", " https://127.0.0.1/", "https://127.0.0.1/\r\nhost: example.com",
    "https://127.0.0.1\t/", "h\nttps://127.0.0.1/", "https://127.\n0.0.1/", "https://[::1", "https://::1/", "https://[127.0.0.1]/",
    "https://[::1]example.com/", "https://256.256.256.256/", "https://1.2.3.4.5/", "https://999999999999/", "https://0x100000000/",
    "https://127.0.0.1.0x/", "https://./", "https://../", "https://.localhost/", "https://*/", "https://%00/", "https://%/",
    "file:///etc/passwd", "gopher://127.0.0.1:6379/_x", "dict://127.0.0.1/", "ftp://127.0.0.1/", "ldap://127.0.0.1/",
    "unix:/run/socket", "data:text/plain,x", "javascript:alert(1)", "ws://127.0.0.1/", "jar:https://127.0.0.1!/",
    "https+unix://%2Frun%2Fsocket/", "view-source:https://127.0.0.1/", "HTTPS://LOCALHOST/", "hTTps://127.1/",
    "https://127.0.0.1:443/../../", "https://ⓔⓧⓐⓜⓟⓛⓔ.localhost/", "https://localhost%23.example.com/", "https://localhost%2f.example.com/",
];

/// Names lead inside; some lead outside as well, which does not help.
fn leads(name: &str, _: usize) -> Vec<IpAddr> {
    let addresses: &[&str] = match name {
        "private.example.com" => &["10.1.2.3"],
        "six.example.com" => &["fd00::1"],
        "mapped.example.com" => &["::ffff:127.0.0.1"],
        "mixed.example.com" => &["93.184.216.34", "10.0.0.1"],
        "mixed-six.example.com" => &["2606:4700::1111", "93.184.216.34", "::1"],
        "late.example.com" => &["93.184.216.34", "1.1.1.1", "8.8.8.8", "169.254.169.254"],
        "empty.example.com" => &[],
        _ => &["127.0.0.1"],
    };
    addresses.iter().map(|address| address.parse().expect("an address")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_hostile_url_makes_a_connection() {
    let network = Arc::new(Scripted::new(Line::Refused, leads));
    let settings = Settings { allow_http: true, endpoints_per_tenant: 1_000, ..Settings::default() };
    let app = app_on(Engine::Sqlite, settings, network.clone()).await;
    let tenant = app.tenant("farm").await;
    let hosts = HOSTS.iter().flat_map(|host| [format!("https://{host}/"), format!("http://{host}:8080/hook")]);
    let corpus: BTreeSet<String> = hosts.chain(URLS.iter().map(|url| (*url).to_owned())).collect();
    assert!(corpus.len() >= 300, "{}", corpus.len());
    let (mut made, mut names) = (0, BTreeSet::new());
    for url in &corpus {
        let answer = ask(&app, &tenant, Method::POST, ENDPOINTS, json!({ "url": url })).await;
        match answer.status.as_u16() {
            // A name is not resolved before there is something to send.
            201 => {
                made += 1;
                names.insert(url.clone());
            }
            400 => assert_eq!(answer.code(), "webhooks.url_refused", "{url}"),
            status => panic!("{status} for {url}"),
        }
    }
    let digits = |url: &&String| url.contains("127") || url.contains("169.254") || url.contains("[");
    let odd: Vec<_> = names.iter().filter(digits).filter(|url| !url.contains("nip.io")).collect();
    assert!(odd.is_empty(), "taken for names: {odd:?}");
    assert!(made >= 30, "{made}");
    assert!(network.asked().is_empty(), "creating an endpoint asks for no name");
    happen(&app, &tenant, "things.thing.made", "thing").await;
    app.settle().await;
    let mut cursor = String::new();
    let mut failed = 0;
    loop {
        let page = read(&app, &tenant, &format!("{DELIVERIES}?limit=200{cursor}")).await;
        for delivery in page["items"].as_array().expect("items") {
            let error = delivery["error"].as_str().unwrap_or_default();
            assert!(error.starts_with("address_refused: ") || error.starts_with("name_not_found: "), "{delivery}");
            assert!(!error.contains("127.") && !error.contains("10."), "it must not tell what is inside: {error}");
            failed += 1;
        }
        let Some(next) = page["next"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(failed, made);
    assert_eq!(network.called(), [], "nobody was called");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_asked_once_an_attempt_and_only_what_was_checked_is_called() {
    let public = "93.184.216.34";
    let network = Arc::new(Scripted::new(Line::Refused, move |_, before| {
        let address = if before == 0 { public } else { "127.0.0.1" };
        vec![address.parse().expect("an address")]
    }));
    let app = app_on(Engine::Sqlite, Settings::default(), network.clone()).await;
    let tenant = app.tenant("farm").await;
    endpoint(&app, &tenant, json!({ "url": "https://rebind.example.com/" })).await;
    happen(&app, &tenant, "things.thing.made", "thing").await;
    app.settle().await;
    let called = [format!("{public}:443").parse().expect("an address")];
    assert_eq!((network.called(), network.asked().len()), (called.to_vec(), 1));
    pass(&app, SECOND * 10);
    app.settle().await;
    assert_eq!((network.called(), network.asked().len()), (called.to_vec(), 2));
    let delivery = deliveries(&app, &tenant).await.remove(0);
    assert_eq!(delivery["error"], "address_refused: the name leads to an address that is not public");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_became_forbidden_is_not_called() {
    let network = Arc::new(Scripted::new(Line::Refused, leads));
    let engine = Engine::Sqlite;
    let app = app_on(engine, Settings { ports: vec![443], ..Settings::default() }, network.clone()).await;
    let tenant = app.tenant("farm").await;
    for url in ["http://93.184.216.34/", "https://93.184.216.34:8443/"] {
        ask(&app, &tenant, Method::POST, ENDPOINTS, json!({ "url": url })).await.expect(400);
    }
    let (path, _) = endpoint(&app, &tenant, json!({ "url": "https://93.184.216.34/" })).await;
    // As if it had been made under other settings.
    let mut ctx = app.context(&tenant);
    let mut writer = app.store().write(&mut ctx).await.expect("a writer");
    let id = path.rsplit('/').next().expect("an id").parse().expect("an id");
    let row = tampered::ActiveModel { url: sea_orm::Set("https://127.0.0.1/".to_owned()), ..Default::default() };
    writer.update::<tampered::Entity>(id, None, row).await.expect("changed");
    writer.commit(kernel::Answer::no_content()).await.expect("kept");
    happen(&app, &tenant, "things.thing.made", "thing").await;
    app.settle().await;
    let delivery = deliveries(&app, &tenant).await.remove(0);
    assert!(delivery["error"].as_str().is_some_and(|error| error.starts_with("url_refused: ")), "{delivery}");
    assert_eq!(network.called(), []);
}

/// The endpoint's table, without what guards it.
mod tampered {
    use kernel::{TenantId, Timestamp};
    use sea_orm::entity::prelude::*;
    use webhooks::Endpoint;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "webhooks_endpoint")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub tenant_id: TenantId,
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: kernel::Id<Endpoint>,
        pub url: String,
        pub created_at: Timestamp,
        pub created_by: String,
        pub version: i64,
        pub updated_at: Timestamp,
        pub updated_by: String,
        pub deleted_at: Option<Timestamp>,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}
    impl ActiveModelBehavior for ActiveModel {}

    store::tenant_entity!(Entity, Endpoint, "webhooks.endpoint", |_: &Model| serde_json::json!({}));
}
