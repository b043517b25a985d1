//! Endpoints behind TLS: the name in the certificate counts, and so does who signed it.

use super::*;
use base64::Engine as _;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use network::{Line, Scripted};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

const NAME: &str = "hooks.example.com";

/// Serves over TLS under this name; gives the port and the certificate as PEM.
async fn serve() -> (u16, String) {
    let made = rcgen::generate_simple_self_signed(vec![NAME.to_owned()]).expect("a certificate");
    let encoded = base64::engine::general_purpose::STANDARD.encode(made.cert.der());
    let pem = format!("-----BEGIN CERTIFICATE-----\n{encoded}\n-----END CERTIFICATE-----\n");
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .expect("they fit");
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.expect("a connection");
            let Ok(stream) = acceptor.accept(stream).await else { continue };
            let answer = service_fn(|request: Request<Incoming>| async {
                request.into_body().collect().await.map(|_| Response::new(Full::new(Bytes::from_static(b"taken"))))
            });
            let serving = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer);
            tokio::spawn(serving);
        }
    });
    (port, pem)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_certificate_has_to_be_of_the_name_and_of_a_known_authority() {
    let (port, pem) = serve().await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("authorities.pem");
    std::fs::write(&file, pem).expect("written");
    let known = Settings { certificate_file: file, ..at_home() };
    for (settings, name, outcome) in [
        (known.clone(), NAME, None),
        (known, "other.example.com", Some("tls_failed: ")),
        (at_home(), NAME, Some("tls_failed: ")),
    ] {
        let network = Arc::new(Scripted::new(Line::Real, |_, _| vec!["127.0.0.1".parse().expect("an address")]));
        let app = app_on(Engine::Sqlite, settings, network).await;
        let tenant = app.tenant("farm").await;
        endpoint(&app, &tenant, json!({ "url": format!("https://{name}:{port}/") })).await;
        happen(&app, &tenant, "things.thing.made", "thing").await;
        app.settle().await;
        let delivery = deliveries(&app, &tenant).await.remove(0);
        match outcome {
            None => assert_eq!((&delivery["state"], &delivery["error"]), (&json!("delivered"), &Value::Null)),
            Some(error) => assert!(delivery["error"].as_str().is_some_and(|e| e.starts_with(error)), "{delivery}"),
        }
    }
}

#[test]
fn a_file_that_is_no_certificate_is_refused_at_the_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("authorities.pem");
    std::fs::write(&file, "-----BEGIN CERTIFICATE-----\nbm90IG9uZQ==\n-----END CERTIFICATE-----\n").expect("written");
    for certificate_file in [file, folder.path().join("missing.pem")] {
        let webhooks = Webhooks::new(Settings { certificate_file, ..Settings::default() }).expect("sound settings");
        let error = webhooks.open(Vault::new(&[9; 32]), []).expect_err("refused");
        assert_eq!(error.code(), "config.invalid");
    }
    assert!(Webhooks::new(Settings { timeout_ms: 60_000, ..Settings::default() }).is_err());
}
