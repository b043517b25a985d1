//! Who is trusted.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use bytes::Bytes;
use fetch::Client;
use http::Request;
use tempfile::TempDir;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use crate::server::{Server, Then};

/// Returns who serves as `localhost`, and the file that says to trust it.
fn certified(folder: &TempDir) -> (TlsAcceptor, PathBuf) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
    let encoded = base64::engine::general_purpose::STANDARD.encode(made.cert.der());
    let file = folder.path().join("authorities.pem");
    let pem = format!("-----BEGIN CERTIFICATE-----\n{encoded}\n-----END CERTIFICATE-----\n");
    std::fs::write(&file, pem).expect("written");
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .expect("they fit");
    (TlsAcceptor::from(Arc::new(config)), file)
}

#[tokio::test]
async fn only_who_is_trusted_and_named_is_spoken_to() {
    let folder = tempfile::tempdir().expect("a folder");
    let (acceptor, file) = certified(&folder);
    let server =
        Server::start("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok".into(), Then::Close, Some(acceptor)).await;
    let ask = async |client: &Client, scheme: &str, host: &str| {
        let address = format!("{scheme}://{host}:{}/", server.address.port());
        let request = Request::get(address).body(Bytes::new()).expect("a request");
        client.whole(request, Duration::from_secs(20), 10).await
    };
    let trusting = Client::trusting(&file).expect("a certificate");
    assert_eq!(ask(&trusting, "https", "localhost").await.expect("an answer").body(), "ok");
    let unnamed = ask(&trusting, "https", "127.0.0.1").await.expect_err("another name");
    let stranger = ask(&Client::default(), "https", "localhost").await.expect_err("nobody trusts it");
    assert!(unnamed.contains("no TLS") && stranger.contains("no TLS"), "{unnamed}, {stranger}");
    assert!(ask(&trusting, "http", "localhost").await.is_err(), "it speaks TLS only");
    assert_eq!(server.heads().len(), 1);
}

#[test]
fn a_file_without_certificates_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("authorities.pem");
    assert!(Client::trusting(&file).is_err(), "there is none");
    for text in ["", "text", "-----BEGIN CERTIFICATE-----\n?\n-----END CERTIFICATE-----\n"] {
        std::fs::write(&file, text).expect("written");
        assert!(Client::trusting(&file).is_err(), "{text}");
    }
    assert!(Client::trusting(Path::new("")).is_ok());
}
