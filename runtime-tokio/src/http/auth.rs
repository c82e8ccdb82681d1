//! Who calls: bearer tokens, each with a tenant and a role.

use axum::http::{HeaderMap, header};
use ring::digest::{SHA256, digest};
use tidegate_core::api::Identity;
use tidegate_core::fault::FaultCode;

use super::error::Refusal;

/// The tokens of an API. Only digests are kept, so that memory and logs hold no token.
#[derive(Clone, Default)]
pub struct Tokens(Vec<(Vec<u8>, Identity)>);

impl Tokens {
    /// Adds a token for an identity.
    pub fn add(&mut self, token: &str, identity: Identity) {
        self.0.push((digest(&SHA256, token.as_bytes()).as_ref().to_vec(), identity));
    }

    /// Whether there are none: everybody who can connect is the operator of the tenant `default`. Only an API on
    /// loopback may start so.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Who sent these headers, if it is an operator.
    pub fn operator(&self, headers: &HeaderMap) -> Result<Identity, Refusal> {
        let identity = self.identify(headers)?;
        if identity.operator {
            Ok(identity)
        } else {
            Err(Refusal::new(FaultCode::RoleDenied, "this is for operators; the token is a tenant's"))
        }
    }

    /// Who sent these headers.
    pub fn identify(&self, headers: &HeaderMap) -> Result<Identity, Refusal> {
        if self.is_empty() {
            return Ok(Identity { tenant: "default".to_owned(), operator: true });
        }
        let refuse = |why: &str| Refusal::new(FaultCode::Unauthorized, why);
        let value = headers
            .get(header::AUTHORIZATION)
            .ok_or_else(|| refuse("this API needs a token: send the header `Authorization: Bearer TOKEN`"))?;
        let token = value
            .to_str()
            .ok()
            .and_then(|text| text.strip_prefix("Bearer "))
            .ok_or_else(|| refuse("the header Authorization must have the form `Bearer TOKEN`"))?;
        let wanted = digest(&SHA256, token.trim().as_bytes());
        // Comparing digests leaks nothing that helps to guess a token.
        let known = self.0.iter().find(|(known, _)| known.as_slice() == wanted.as_ref());
        known.map(|(_, identity)| identity.clone()).ok_or_else(|| refuse("this token is not known here"))
    }
}
