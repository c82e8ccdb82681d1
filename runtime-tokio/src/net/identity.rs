//! Who a node is, by certificate.
//!
//! Every node's certificate carries one URI, `tidegate://cluster/role/dc/name` (`-` for the datacenter of a gate), and
//! one DNS name that is the same for all nodes: a dialler checks the chain by the standard rules, then the URI against
//! the greeting. There is no mode without certificates.

use std::fmt;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tidegate_core::wire::Claims;

use crate::init::Issued;

/// The DNS name in every node's certificate.
pub const NODE_DNS_NAME: &str = "node.tidegate.internal";

/// What this certificate says; `None` where it has not exactly one such URI.
pub(super) fn claims_of(certificate: &CertificateDer<'_>) -> Option<Claims> {
    let certificate = webpki::EndEntityCert::try_from(certificate).ok()?;
    let mut ours = certificate.valid_uri_names().filter(|uri| uri.starts_with("tidegate:"));
    let claims = Claims::parse(ours.next()?)?;
    ours.next().is_none().then_some(claims)
}

/// A node's side of every handshake. Cheap to clone.
#[derive(Clone, Debug)]
pub struct NodeTls {
    /// As dialler.
    pub(super) client: Arc<ClientConfig>,
    /// As acceptor.
    pub(super) server: Arc<ServerConfig>,
    /// What the node's own certificate says.
    pub claims: Claims,
}

impl NodeTls {
    /// From PEM files.
    pub fn load(authority: &Path, certificate: &Path, key: &Path) -> Result<Self, IdentityError> {
        let [authority, certificate, key] = [authority, certificate, key].map(|path| {
            let what = path.display().to_string();
            let pem = fs::read(path)
                .map_err(|error| IdentityError { what: what.clone(), why: error.to_string() })?;
            Ok(Pem { what, pem })
        });
        Self::from_pem(&authority?, &certificate?, &key?)
    }

    /// From an authority's certificate and what it has issued.
    pub fn issued(authority: &str, issued: &Issued) -> Result<Self, IdentityError> {
        let pem = |what: &str, text: &str| Pem { what: what.to_owned(), pem: text.as_bytes().to_vec() };
        Self::from_pem(
            &pem("the authority", authority),
            &pem("the certificate", &issued.certificate),
            &pem("the key", &issued.key),
        )
    }

    fn from_pem(authority: &Pem, certificate: &Pem, key: &Pem) -> Result<Self, IdentityError> {
        let mut roots = RootCertStore::empty();
        for root in authority.certificates()? {
            roots.add(root).map_err(|error| authority.fail(error))?;
        }
        let chain = certificate.certificates()?;
        let private = PrivateKeyDer::from_pem_slice(&key.pem).map_err(|error| key.fail(error))?;
        let claims = chain.first().and_then(claims_of).ok_or_else(|| {
            certificate.fail("it does not carry exactly one URI tidegate://cluster/role/dc/name")
        })?;
        Self::new(roots, chain, private, claims).map_err(|error| certificate.fail(error))
    }

    fn new(
        roots: RootCertStore,
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
        claims: Claims,
    ) -> Result<Self, Box<dyn std::error::Error>> {
        let provider = Arc::new(default_provider());
        let roots = Arc::new(roots);
        let client = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&TLS13])?
            .with_root_certificates(Arc::clone(&roots))
            .with_client_auth_cert(chain.clone(), key.clone_key())?;
        let verifier = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(&provider)).build()?;
        let mut server = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, key)?;
        // Connections are few and long: resumption would only add state and a way around fresh certificates.
        server.send_tls13_tickets = 0;
        Ok(Self { client: Arc::new(client), server: Arc::new(server), claims })
    }

    /// The name that every acceptor's certificate has.
    pub(super) fn server_name() -> ServerName<'static> {
        ServerName::try_from(NODE_DNS_NAME).expect("a constant, valid name")
    }
}

/// Text in PEM, and what it is to people.
struct Pem {
    what: String,
    pem: Vec<u8>,
}

impl Pem {
    fn fail(&self, why: impl fmt::Display) -> IdentityError {
        IdentityError { what: self.what.clone(), why: why.to_string() }
    }

    fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, IdentityError> {
        let found = CertificateDer::pem_slice_iter(&self.pem)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| self.fail(error))?;
        if found.is_empty() { Err(self.fail("it holds no certificate")) } else { Ok(found) }
    }
}

/// Certificates or keys that cannot be used.
#[derive(Debug)]
pub struct IdentityError {
    what: String,
    why: String,
}

impl fmt::Display for IdentityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.why)
    }
}

impl std::error::Error for IdentityError {}
