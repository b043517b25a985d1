//! What is not let in where TLS is spoken: clients that stall or speak something else, requests that two servers
//! could read in two ways, and files that hold no certificate. Not for what works: see `tls`.

use std::time::Duration;

use gateway::{Tls, TlsConfig};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::front::Setting;
use crate::tls::{House, is_answered, within};
use crate::tls_client::Authority;

/// Sends bytes and returns all that comes until the server closes.
async fn exchanged<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, sent: &[u8]) -> String {
    stream.write_all(sent).await.expect("sent");
    let mut answer = Vec::new();
    // How a session ends that was never agreed on does not matter.
    let _ = within(stream.read_to_end(&mut answer)).await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn who_stalls_or_speaks_no_tls_is_sent_away_and_holds_nobody_up() {
    let authority = Authority::new();
    let setting = Setting { header_timeout: Duration::from_millis(400), ..Setting::default() };
    let house = House::open(&authority.server(), setting).await;
    let at = house.front.address;
    let plain = async |sent: &'static [u8]| exchanged(TcpStream::connect(at).await.expect("a connection"), sent).await;
    // A handshake that never goes on: nothing, a record's beginning, and one with a length that never comes.
    let stalled = futures_util::future::join3(plain(b""), plain(b"\x16\x03"), plain(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc"));
    let others = async {
        for _ in 0..20 {
            assert!(is_answered(&authority.client(&["h2"], None), at).await);
        }
    };
    let ((nothing, beginning, half), ()) = futures_util::future::join(stalled, others).await;
    assert_eq!([nothing, beginning, half], ["", "", ""]);
    let told = plain(b"GET /echo HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert!(told.starts_with("HTTP/1.1 400 ") && told.contains("request.no_tls"), "{told}");
    assert_eq!(plain(b"\x00\x01\x02\x03").await, "", "bytes of no protocol");
    assert!(house.front.origin.asked().iter().all(|asked| asked == "GET /echo"));
    house.front.stop().await;
}

#[tokio::test]
async fn what_two_servers_could_read_in_two_ways_is_refused_inside_tls_too() {
    let authority = Authority::new();
    let house = House::open(&authority.server(), Setting::default()).await;
    let refused: [&[u8]; 3] = [
        b"GET /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET /echo HTTP/1.1\r\nHost : localhost\r\n\r\n",
        // HTTP/2 that was not agreed on (RFC 9113, section 3.2).
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
    ];
    for sent in refused {
        let stream = authority.client(&["http/1.1"], None).connect(house.front.address).await.expect("TLS");
        let answer = exchanged(stream, sent).await;
        assert!(answer.starts_with("HTTP/1.1 4") || answer.starts_with("HTTP/1.1 505 "), "{answer}");
    }
    assert!(house.front.origin.asked().is_empty());
    house.front.stop().await;
}

#[test]
fn files_that_cannot_be_used_are_named() {
    let authority = Authority::new();
    let sound = authority.server();
    authority.write("empty.pem", "");
    authority.write("nonsense.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    let file = |name: &str| authority.file(name);
    for (config, key, name) in [
        (TlsConfig { certificate: file("away.pem"), ..sound.clone() }, "certificate", "away.pem"),
        (TlsConfig { certificate: file("empty.pem"), ..sound.clone() }, "certificate", "empty.pem"),
        (TlsConfig { certificate: file("nonsense.pem"), ..sound.clone() }, "certificate", "nonsense.pem"),
        (TlsConfig { key: file("empty.pem"), ..sound.clone() }, "key", "empty.pem"),
        (TlsConfig { client_ca: file("nonsense.pem"), ..sound.clone() }, "client_ca", "nonsense.pem"),
        (TlsConfig { key: Default::default(), ..sound.clone() }, "key", "missing"),
    ] {
        let error = Tls::read(&config).err().expect("refused");
        assert_eq!(error.code(), "config.server_tls");
        let message = error.message();
        assert!(message.contains(&format!("server.tls.{key}")) && message.contains(name), "{message}");
    }
    assert!(Tls::read(&sound).is_ok() && sound.is_on() && !TlsConfig::default().is_on());
}
