//! Certificates and keys that live as long as a process: for a cluster inside one.

use super::authority::{Authority, AuthorityError};
use crate::net::{Claims, KeyRing, NodeTls};

/// An authority and a gossip key that are nowhere but in memory.
#[derive(Debug)]
pub struct ThrowAway {
    authority: Authority,
    gossip: KeyRing,
}

impl ThrowAway {
    /// New ones, for the nodes of a cluster.
    pub fn new(cluster: &str) -> Result<Self, AuthorityError> {
        let mut key = [0; 32];
        getrandom::fill(&mut key).map_err(AuthorityError::new)?;
        Ok(Self { authority: Authority::new(cluster)?, gossip: KeyRing::new(&[key]) })
    }

    /// A node's side of every handshake.
    pub fn tls(&self, claims: &Claims) -> Result<NodeTls, AuthorityError> {
        let issued = self.authority.issue(claims)?;
        NodeTls::issued(&self.authority.certificate(), &issued).map_err(AuthorityError::new)
    }

    /// The gossip key.
    pub fn gossip(&self) -> KeyRing {
        self.gossip.clone()
    }
}
