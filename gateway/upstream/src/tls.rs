//! TLS towards servers: whom to trust, who we are, which protocols to offer. Certificates are always
//! verified; there is no switch against that. Not for the TLS that clients of the gateway use.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use kernel::{Error, Result};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::config::{Protocol, Server, TlsConfig, wrong};
use crate::member::ip;

/// The TLS of one upstream.
#[derive(Clone)]
pub(crate) struct Tls {
    /// Offers what the upstream's protocol allows.
    pub any: TlsConnector,
    /// Offers HTTP/1.1 only: for changes of protocol.
    pub http1: TlsConnector,
}

impl TlsConfig {
    /// Returns the name to ask for and to find in a server's certificate.
    pub(crate) fn name_for(&self, server: &Server) -> Result<ServerName<'static>> {
        let host = self.server_name.as_deref().unwrap_or(server.host());
        let name = match ip(host) {
            Some(ip) => ServerName::from(ip),
            None => ServerName::try_from(host.to_owned())
                .map_err(|_| wrong("the server's host, or tls.server_name, cannot be a name in a certificate"))?,
        };
        Ok(name)
    }
}

impl Tls {
    /// Reads the files and makes the connectors.
    pub(crate) fn new(config: &TlsConfig, protocol: Protocol) -> Result<Self> {
        let roots = match &config.ca_file {
            None => system_roots()?,
            Some(file) => {
                let mut roots = RootCertStore::empty();
                for certificate in certificates(file)? {
                    roots.add(certificate).map_err(|error| unreadable(file).source_error(error))?;
                }
                Arc::new(roots)
            }
        };
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| Error::internal("rustls has no protocol versions").source_error(error))?
            .with_root_certificates(roots);
        let mut client = match (&config.certificate_file, &config.key_file) {
            (Some(certificate), Some(key)) => {
                let chain = certificates(certificate)?;
                let key_der = PrivateKeyDer::from_pem_file(key).map_err(|error| unreadable(key).source_error(error))?;
                builder
                    .with_client_auth_cert(chain, key_der)
                    .map_err(|error| unreadable(certificate).source_error(error))?
            }
            _ => builder.with_no_client_auth(),
        };
        client.alpn_protocols = vec![b"http/1.1".to_vec()];
        let http1 = TlsConnector::from(Arc::new(client.clone()));
        client.alpn_protocols = match protocol {
            Protocol::Http1 => vec![b"http/1.1".to_vec()],
            Protocol::Http2 => vec![b"h2".to_vec()],
            Protocol::Auto => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
        };
        Ok(Self { any: TlsConnector::from(Arc::new(client)), http1 })
    }
}

fn unreadable(file: &Path) -> Error {
    Error::invalid("config.upstream_tls", format!("{} holds no usable PEM", file.display()))
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let read = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let certificates = read.map_err(|error| unreadable(file).source_error(error))?;
    match certificates.is_empty() {
        true => Err(unreadable(file)),
        false => Ok(certificates),
    }
}

fn system_roots() -> Result<Arc<RootCertStore>> {
    static ROOTS: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    if let Some(roots) = ROOTS.get() {
        return Ok(roots.clone());
    }
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err(wrong("the system has no trusted certificates; give tls.ca_file"));
    }
    Ok(ROOTS.get_or_init(|| Arc::new(roots)).clone())
}
