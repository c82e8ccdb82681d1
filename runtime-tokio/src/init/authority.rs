//! A certificate authority that names nodes.

use std::fmt;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    IsCa, KeyPair, KeyUsagePurpose, SanType, date_time_ymd,
};

use crate::net::{Claims, NODE_DNS_NAME};

/// An authority: trusted by the nodes that have its certificate.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    cluster: String,
}

/// A certificate and its private key, as PEM.
pub struct Issued {
    /// The certificate.
    pub certificate: String,
    /// The key.
    pub key: String,
}

/// Certificates cannot be made.
#[derive(Debug)]
pub struct AuthorityError(String);

impl fmt::Display for AuthorityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot make certificates: {}", self.0)
    }
}

impl std::error::Error for AuthorityError {}

impl From<rcgen::Error> for AuthorityError {
    fn from(error: rcgen::Error) -> Self {
        Self::new(error)
    }
}

impl AuthorityError {
    pub(super) fn new(why: impl fmt::Display) -> Self {
        Self(why.to_string())
    }
}

/// What every certificate here has. The dates say nothing, on purpose: a node with a wrong clock must still find its
/// cluster, and whoever no longer belongs to it is removed by a new authority.
fn params(common_name: String) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.not_before = date_time_ymd(2000, 1, 1);
    params.not_after = date_time_ymd(2100, 1, 1);
    params
}

impl Authority {
    /// A new one, for the nodes of a cluster.
    pub fn new(cluster: &str) -> Result<Self, AuthorityError> {
        let mut params = params(format!("tidegate authority of {cluster}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        Ok(Self {
            issuer: CertifiedIssuer::self_signed(params, KeyPair::generate()?)?,
            cluster: cluster.to_owned(),
        })
    }

    /// Its certificate, as PEM.
    pub fn certificate(&self) -> String {
        self.issuer.pem()
    }

    /// Its private key, as PEM. Whoever has it can join the cluster.
    pub fn key(&self) -> String {
        self.issuer.key().serialize_pem()
    }

    /// A certificate for a node.
    pub fn issue(&self, claims: &Claims) -> Result<Issued, AuthorityError> {
        let mut params = params(claims.name.clone());
        let name = |text: &str| text.try_into().map_err(AuthorityError::from);
        params.subject_alt_names =
            vec![SanType::URI(name(&claims.uri())?), SanType::DnsName(name(NODE_DNS_NAME)?)];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(Issued { certificate: certificate.pem(), key: key.serialize_pem() })
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Authority of {}", self.cluster)
    }
}

/// 32 random bytes as 64 hexadecimal digits: a gossip key, or a token.
pub fn random_hex() -> Result<String, AuthorityError> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(AuthorityError::new)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
