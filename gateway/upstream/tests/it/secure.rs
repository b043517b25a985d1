//! TLS, mutual TLS, ALPN and HTTP/2 against servers of ours with certificates of ours.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use fixtures::eventually;
use futures_util::future::join_all;
use http::{Request, Response, StatusCode, Version};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::spawn_local;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};
use upstream::{Config, FailureKind, Protocol};

use crate::support::{Seen, call, front, get, run, text, turns};

/// An authority, what it signed, and the files of both.
struct Authority {
    directory: TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("a certificate");
        let authority = Self { directory: TempDir::new().expect("a directory"), issuer };
        std::fs::write(authority.file("ca.pem"), pem("CERTIFICATE", authority.issuer.der())).expect("a file");
        authority
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn sign(&self, name: &str) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec![name.to_owned()]).expect("parameters");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        std::fs::write(self.file(&format!("{name}.pem")), pem("CERTIFICATE", certificate.der())).expect("a file");
        std::fs::write(self.file(&format!("{name}.key")), pem("PRIVATE KEY", &key.serialize_der())).expect("a file");
        let der = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
        (certificate.der().clone(), der)
    }

    fn acceptor(&self, name: &str, alpn: &[&str], asks_clients: bool) -> TlsAcceptor {
        let (certificate, key) = self.sign(name);
        let provider = Arc::new(tokio_rustls::rustls::crypto::aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .expect("versions");
        let builder = match asks_clients {
            false => builder.with_no_client_auth(),
            true => {
                let mut roots = RootCertStore::empty();
                roots.add(self.issuer.der().clone()).expect("a root");
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                builder.with_client_cert_verifier(verifier.build().expect("a verifier"))
            }
        };
        let mut config = builder.with_single_cert(vec![certificate], key).expect("a server");
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        TlsAcceptor::from(Arc::new(config))
    }
}

fn pem(what: &str, der: &[u8]) -> String {
    let text = BASE64.encode(der);
    let lines: Vec<&str> = text.as_bytes().chunks(64).filter_map(|line| std::str::from_utf8(line).ok()).collect();
    format!("-----BEGIN {what}-----\n{}\n-----END {what}-----\n", lines.join("\n"))
}

async fn echo(request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    let version = request.version();
    let authority = request.uri().authority().map(ToString::to_string);
    let host = authority.or_else(|| request.headers().get("host").map(|host| host.to_str().unwrap_or("?").to_owned()));
    let slow = request.uri().path() == "/slow";
    let never = request.uri().path() == "/never";
    let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    if slow {
        turns(20).await;
    }
    if never {
        std::future::pending::<()>().await;
    }
    let mut response = Response::new(Body::from(format!("{} {}", host.unwrap_or_default(), body.len())));
    *response.version_mut() = version;
    response.headers_mut().insert("x-version", format!("{version:?}").parse().expect("a value"));
    Ok(response)
}

/// Starts a server that speaks both versions, over TLS when it has an acceptor.
async fn serve(acceptor: Option<TlsAcceptor>, streams: u32) -> (SocketAddr, Seen) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let seen = Seen::default();
    let count = seen.clone();
    spawn_local(async move {
        while let Ok((stream, _)) = listener.accept().await {
            count.connections.set(count.connections.get() + 1);
            let (acceptor, count) = (acceptor.clone(), count.clone());
            spawn_local(async move {
                let requests = count.clone();
                let service = service_fn(move |request: Request<Incoming>| {
                    let (parts, body) = request.into_parts();
                    requests.requests.borrow_mut().push(parts.clone());
                    echo(Request::from_parts(parts, body))
                });
                let mut builder = auto::Builder::new(ThisThread);
                builder.http2().max_concurrent_streams(streams);
                match acceptor {
                    None => drop(builder.serve_connection(TokioIo::new(stream), service).await),
                    Some(acceptor) => {
                        let Ok(stream) = acceptor.accept(stream).await else { return };
                        drop(builder.serve_connection(TokioIo::new(stream), service).await);
                    }
                }
            });
        }
    });
    (address, seen)
}

#[derive(Clone)]
struct ThisThread;

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for ThisThread {
    fn execute(&self, future: F) {
        spawn_local(future);
    }
}

fn trusting(authority: &Authority) -> impl FnOnce(&mut Config) {
    let ca = authority.file("ca.pem");
    move |config| config.tls.ca_file = Some(ca)
}

#[test]
fn alpn_decides_what_is_spoken() {
    run(async {
        let authority = Authority::new();
        for (offered, protocol, spoken) in [
            (&["h2", "http/1.1"][..], Protocol::Auto, Version::HTTP_2),
            (&["http/1.1"], Protocol::Auto, Version::HTTP_11),
            (&[], Protocol::Auto, Version::HTTP_11),
            (&["h2", "http/1.1"], Protocol::Http1, Version::HTTP_11),
            (&["h2", "http/1.1"], Protocol::Http2, Version::HTTP_2),
        ] {
            let (address, seen) = serve(Some(authority.acceptor("localhost", offered, false)), 100).await;
            let front = front(&[format!("https://localhost:{}", address.port())], |config| {
                trusting(&authority)(config);
                config.protocol = protocol;
            });
            let all = join_all((0..10).map(|_| async { front.send(get("/slow"), &call()).await })).await;
            for response in all {
                let response = response.expect("an answer");
                assert_eq!(response.headers()["x-version"], format!("{spoken:?}"), "{offered:?} {protocol:?}");
                assert_eq!(text(response).await, format!("localhost:{} 0", address.port()));
            }
            if spoken == Version::HTTP_2 {
                assert_eq!(seen.connections.get(), 1, "all streams share one connection");
            }
        }
    });
}

#[test]
fn only_what_is_trusted_is_spoken_to() {
    run(async {
        let (ours, other) = (Authority::new(), Authority::new());
        let (address, seen) = serve(Some(ours.acceptor("localhost", &["h2"], false)), 100).await;
        let url = format!("https://localhost:{}", address.port());
        let stranger = front(std::slice::from_ref(&url), trusting(&other));
        let failure = stranger.send(get("/"), &call()).await.expect_err("an unknown authority");
        assert_eq!(failure.kind(), FailureKind::Tls);
        assert_eq!(kernel::Error::from(failure).code(), "gateway.upstream_tls");
        let by_address = front(&[format!("https://{address}")], trusting(&ours));
        assert_eq!(by_address.text(get("/"), &call()).await, Err(FailureKind::Tls), "the name is not in it");
        let named = front(&[format!("https://{address}")], |config| {
            trusting(&ours)(config);
            config.tls.server_name = Some("localhost".into());
        });
        assert!(named.text(get("/"), &call()).await.is_ok());
        assert_eq!(seen.requests.borrow().len(), 1);
        let plain = front(&[format!("http://{address}")], |_| {});
        assert!(plain.text(get("/"), &call()).await.is_err());
    });
}

#[test]
fn clients_show_their_certificate_and_settings_never_share_connections() {
    run(async {
        let authority = Authority::new();
        authority.sign("gateway");
        let (address, seen) = serve(Some(authority.acceptor("localhost", &[], true)), 100).await;
        let url = format!("https://localhost:{}", address.port());
        let with = front(std::slice::from_ref(&url), |config| {
            trusting(&authority)(config);
            config.tls.certificate_file = Some(authority.file("gateway.pem"));
            config.tls.key_file = Some(authority.file("gateway.key"));
        });
        assert!(with.text(get("/"), &call()).await.is_ok());
        let without = front(std::slice::from_ref(&url), trusting(&authority));
        // One core, one server, one connection in the pool: but with other settings.
        let shared = with.client.send(&without.upstream, get("/"), &call()).await;
        assert!(shared.is_err(), "it used the other's connection");
        assert_eq!(seen.requests.borrow().len(), 1);
        let missing = upstream::Upstream::new(
            "files",
            Config {
                servers: vec![upstream::ServerConfig::Url(url)],
                tls: upstream::TlsConfig { ca_file: Some("no/such/file.pem".into()), ..Default::default() },
                ..Config::default()
            },
            &crate::support::environment(),
        );
        assert_eq!(missing.expect_err("there is no such file").code(), "config.upstream_tls");
    });
}

#[test]
fn http2_with_prior_knowledge_keeps_to_the_servers_streams() {
    run(async {
        let (address, seen) = serve(None, 5).await;
        let front = front(&[format!("http://{address}")], |config| config.protocol = Protocol::Http2);
        front.text(get("/"), &call()).await.expect("an answer");
        let all = join_all((0..30).map(|_| async { front.text(get("/slow"), &call()).await })).await;
        assert!(all.iter().all(|one| one == &Ok((StatusCode::OK, format!("{address} 0")))), "{all:?}");
        assert!(seen.connections.get() <= 6, "{}", seen.connections.get());
        assert!(seen.requests.borrow().iter().all(|head| head.version == Version::HTTP_2));
        let streamed = || Body::from_stream(futures_util::stream::iter([Ok::<_, Infallible>("12345")]));
        for request in [Request::put("/").body(Body::from("12345")), Request::get("/").body(streamed())] {
            let answered = front.text(request.expect("a request"), &call()).await;
            assert_eq!(answered, Ok((StatusCode::OK, format!("{address} 5"))));
        }
        assert!(seen.requests.borrow().iter().all(|head| !head.headers.contains_key("transfer-encoding")));
    });
}

#[test]
fn a_cancelled_stream_leaves_the_others_alone() {
    run(async {
        let (address, seen) = serve(None, 100).await;
        let front = front(&[format!("http://{address}")], |config| config.protocol = Protocol::Http2);
        for round in 1..=10 {
            let call = call();
            let asked = || seen.requests.borrow().iter().filter(|head| head.uri.path() == "/never").count();
            let cancelled = async {
                tokio::select! {
                    answered = front.send(get("/never"), &call) => panic!("it never answers: {answered:?}"),
                    () = eventually("it is there", async || asked() == round) => {}
                }
            };
            let ((), other) = tokio::join!(cancelled, front.text(get("/slow"), &call));
            assert!(other.is_ok());
        }
        assert_eq!(seen.connections.get(), 1);
        eventually("nothing is in flight", async || front.metric("upstream_waiting", "under_test") == 0.0).await;
    });
}

#[test]
fn checks_speak_as_the_upstream_does() {
    run(async {
        let authority = Authority::new();
        let (secure, over_tls) = serve(Some(authority.acceptor("localhost", &["h2"], false)), 100).await;
        let (plain, without) = serve(None, 100).await;
        let (secure, plain) = (format!("https://localhost:{}", secure.port()), format!("http://{plain}"));
        for (url, seen) in [(secure, over_tls), (plain, without)] {
            let front = front(std::slice::from_ref(&url), |config| {
                trusting(&authority)(config);
                config.protocol = Protocol::Http2;
                config.health.path = "/health".into();
                (config.health.interval_ms, config.health.unhealthy_after, config.health.panic) = (5, 1, false);
            });
            let checks = || seen.requests.borrow().iter().filter(|head| head.uri.path() == "/health").count();
            eventually("it was checked twice", async || checks() >= 2).await;
            assert_eq!(front.metric("upstream_servers_unhealthy", "under_test"), 0.0, "{url}");
            assert!(front.text(get("/"), &call()).await.is_ok(), "{url}");
        }
    });
}
