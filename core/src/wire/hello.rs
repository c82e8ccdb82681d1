//! The handshake: who is at the other end of a connection, and do we speak the same language?
//!
//! The dialler sends [`Hello`], the acceptor answers [`HelloAck`], each as the first frame of its direction; anything
//! else first closes the connection. The layout of these two frames is the same in every major version. The driver
//! compares the Hello with the certificate; the rules that need no certificate are here. Knows no socket, no TLS.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use minicbor::{Decode, Encode};

use super::frame::{Frame, LENGTH_LEN, TooLarge, decode_cbor, encode_body, split_frame};
use super::kind::{Class, SMALL, may_connect};
use super::{MAJOR, MINOR, Malformed};
use crate::fault::{Fault, FaultCode};
use crate::id::{BootNo, DcId, NodeId, Role};
use crate::swim::Addr;

/// Number of the dialler's first frame: outside the range of messages.
const KIND_HELLO: u16 = 0xff00;
/// Number of the acceptor's first frame.
const KIND_HELLO_ACK: u16 = 0xff01;
/// Longest name of a cluster or node, in bytes.
pub const MAX_NAME: usize = 64;

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum ConnectionKind {
    /// Everything whose order matters. One for each pair of nodes.
    #[n(0)]
    Ordered,
    /// Large transfers that must not delay the ordered one.
    #[n(1)]
    Bulk,
}

/// Who speaks. Every field that the certificate also has must be equal to it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Encode, Decode)]
pub struct Hello {
    /// Major version: nodes of different ones refuse each other.
    #[n(0)]
    pub major: u16,
    /// Minor version: the lower one of the two is spoken.
    #[n(1)]
    pub minor: u16,
    /// The cluster; 1 to 64 bytes.
    #[n(2)]
    pub cluster: String,
    /// The node's role.
    #[n(3)]
    pub role: Role,
    /// Its datacenter; [`DcId::NONE`] for gates.
    #[n(4)]
    pub dc: DcId,
    /// Its configured name; 1 to 64 bytes.
    #[n(5)]
    pub name: String,
    /// Its id, derived from the four above.
    #[n(6)]
    pub node: NodeId,
    /// Its boot number.
    #[n(7)]
    pub boot: BootNo,
    /// What the connection is for.
    #[n(8)]
    pub connection: ConnectionKind,
    /// Where it takes datagrams.
    #[n(9)]
    pub addr: Addr,
}

/// The acceptor's answer: who it is, or why not.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Encode, Decode)]
pub struct HelloAck {
    /// The acceptor's own greeting, or a refusal, after which it closes.
    #[n(0)]
    pub answer: Result<Hello, Fault>,
}

/// The version spoken on a connection: the same major, the lower minor; `None` where the majors differ.
pub fn negotiate(ours: (u16, u16), theirs: (u16, u16)) -> Option<(u16, u16)> {
    (ours.0 == theirs.0).then(|| (ours.0, ours.1.min(theirs.1)))
}

/// Whether `me` dials `other` (else `other` dials `me`): workers dial managers, managers dial gates, inside a tier the
/// smaller id dials the larger.
pub fn dials(me: (Role, NodeId), other: (Role, NodeId)) -> bool {
    me.0 > other.0 || (me.0 == other.0 && me.1 < other.1)
}

impl Hello {
    /// The version that this build speaks.
    pub const VERSION: (u16, u16) = (MAJOR as u16, MINOR);

    /// What this node may expect of a peer that says this; the refusal otherwise. Gives the version to speak.
    pub fn judge(&self, me: &Self) -> Result<(u16, u16), Fault> {
        let refuse = |code, why: String| Err(Fault::new(code, why));
        let (ours, theirs) = ((me.major, me.minor), (self.major, self.minor));
        let Some(version) = negotiate(ours, theirs) else {
            let why = format!("version {}.{} here, {}.{} there", ours.0, ours.1, theirs.0, theirs.1);
            return refuse(FaultCode::UnsupportedVersion, why);
        };
        if self.cluster != me.cluster {
            return refuse(FaultCode::WrongCluster, format!("this node belongs to cluster {:?}", me.cluster));
        }
        if !may_connect(self.role, me.role) {
            let why = format!("a {} has no business with a {}", self.role.as_str(), me.role.as_str());
            return refuse(FaultCode::RoleDenied, why);
        }
        if (self.role == Role::Gate) != (self.dc == DcId::NONE) {
            return refuse(FaultCode::Invalid, "gates have no datacenter, all other nodes have one".into());
        }
        if self.role != Role::Gate && me.role != Role::Gate && self.dc != me.dc {
            return refuse(FaultCode::RoleDenied, format!("this node belongs to datacenter {}", me.dc));
        }
        if self.node != NodeId::derive(&self.cluster, self.role, self.dc.as_str(), &self.name) {
            return refuse(
                FaultCode::Invalid,
                "the id does not follow from cluster, role, datacenter and name".into(),
            );
        }
        if self.node == me.node {
            return refuse(
                FaultCode::Invalid,
                "this is the node's own id: two nodes have the same name".into(),
            );
        }
        Ok(version)
    }

    /// Appends it as one frame.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), TooLarge> {
        encode_body(KIND_HELLO, Class::Critical as u8, SMALL, self, out)
    }

    /// The first frame of a dialler, with its length; `None` where more bytes are needed.
    pub fn decode(bytes: &[u8]) -> Result<Option<(usize, Self)>, Malformed> {
        let Some((taken, body)) = first_frame(bytes, KIND_HELLO)? else {
            return Ok(None);
        };
        let hello: Self = decode_cbor(body)?;
        hello.validate()?;
        Ok(Some((taken, hello)))
    }

    fn validate(&self) -> Result<(), Malformed> {
        let named = |name: &String| (1..=MAX_NAME).contains(&name.len());
        if named(&self.cluster) && named(&self.name) { Ok(()) } else { Err(Malformed::Bounds) }
    }
}

impl HelloAck {
    /// Appends it as one frame.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), TooLarge> {
        encode_body(KIND_HELLO_ACK, Class::Critical as u8, SMALL, self, out)
    }

    /// The first frame of an acceptor, with its length; `None` where more bytes are needed.
    pub fn decode(bytes: &[u8]) -> Result<Option<(usize, Self)>, Malformed> {
        let Some((taken, body)) = first_frame(bytes, KIND_HELLO_ACK)? else {
            return Ok(None);
        };
        let ack: Self = decode_cbor(body)?;
        match &ack.answer {
            Ok(hello) => hello.validate()?,
            Err(fault) if fault.detail.len() > Fault::MAX_DETAIL => return Err(Malformed::Bounds),
            Err(_) => {}
        }
        Ok(Some((taken, ack)))
    }
}

/// Cuts off a first frame of this kind. Its major version is in its body; a stranger is never waited for beyond
/// [`SMALL`] bytes.
fn first_frame(bytes: &[u8], kind: u16) -> Result<Option<(usize, &[u8])>, Malformed> {
    match split_frame(bytes)? {
        Some((_, Frame { body, .. })) if body.len() > SMALL => Err(Malformed::TooLarge),
        Some((taken, Frame { kind: found, flags: 0, body, .. })) if found == kind => Ok(Some((taken, body))),
        Some(_) => Err(Malformed::Frame),
        None => match bytes.first_chunk::<LENGTH_LEN>() {
            Some(length) if u32::from_be_bytes(*length) as usize > 2 * SMALL => Err(Malformed::TooLarge),
            _ => Ok(None),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello(role: Role, dc: &str, name: &str) -> Hello {
        Hello {
            major: MAJOR.into(),
            minor: MINOR,
            cluster: "c1".into(),
            role,
            dc: if dc.is_empty() { DcId::NONE } else { DcId::new(dc).unwrap() },
            name: name.into(),
            node: NodeId::derive("c1", role, dc, name),
            boot: BootNo(3),
            connection: ConnectionKind::Ordered,
            addr: Addr { ip: [7; 16], port: 9 },
        }
    }

    fn code(peer: &Hello, me: &Hello) -> FaultCode {
        peer.judge(me).unwrap_err().code
    }

    #[test]
    fn a_peer_is_judged_by_version_cluster_role_datacenter_and_id() {
        let me = hello(Role::Manager, "fra", "m1");
        let good = hello(Role::Worker, "fra", "w1");
        assert_eq!(good.judge(&me), Ok(Hello::VERSION));
        assert_eq!(Hello { minor: MINOR + 1, ..good.clone() }.judge(&me), Ok(Hello::VERSION));

        assert_eq!(code(&Hello { major: 99, ..good.clone() }, &me), FaultCode::UnsupportedVersion);
        assert_eq!(code(&Hello { cluster: "c2".into(), ..good.clone() }, &me), FaultCode::WrongCluster);
        assert_eq!(code(&hello(Role::Worker, "ams", "w1"), &me), FaultCode::RoleDenied);
        assert_eq!(code(&good, &hello(Role::Gate, "", "g1")), FaultCode::RoleDenied);
        assert_eq!(code(&hello(Role::Worker, "", "w1"), &me), FaultCode::Invalid);
        assert_eq!(code(&Hello { node: NodeId([1; 16]), ..good }, &me), FaultCode::Invalid);
        assert_eq!(code(&me, &me), FaultCode::Invalid);
    }

    #[test]
    fn exactly_one_of_two_nodes_dials() {
        let (gate, manager, worker) = (
            (Role::Gate, NodeId([1; 16])),
            (Role::Manager, NodeId([2; 16])),
            (Role::Worker, NodeId([0; 16])),
        );
        assert!(dials(worker, manager) && !dials(manager, worker));
        assert!(dials(manager, gate) && !dials(gate, manager));
        let other = (Role::Gate, NodeId([9; 16]));
        assert!(dials(gate, other) && !dials(other, gate));
    }

    #[test]
    fn greetings_survive_the_wire_and_nothing_else_is_one() {
        let hello = hello(Role::Manager, "fra", "m1");
        let mut bytes = Vec::new();
        hello.encode(&mut bytes).unwrap();
        assert_eq!(Hello::decode(&bytes), Ok(Some((bytes.len(), hello.clone()))));
        assert_eq!(HelloAck::decode(&bytes), Err(Malformed::Frame));
        assert_eq!(Hello::decode(&bytes[..bytes.len() - 1]), Ok(None));
        // Another major still reads the greeting, to say what is wrong.
        bytes[4] = 200;
        assert!(Hello::decode(&bytes).unwrap().is_some());

        for answer in [Ok(hello.clone()), Err(Fault::new(FaultCode::WrongCluster, "no"))] {
            let ack = HelloAck { answer };
            let mut bytes = Vec::new();
            ack.encode(&mut bytes).unwrap();
            assert_eq!(HelloAck::decode(&bytes), Ok(Some((bytes.len(), ack))));
        }
        assert_eq!(
            Hello::decode(&[0, 1, 0, 0]),
            Err(Malformed::TooLarge),
            "no waiting for a stranger's large frame"
        );

        let mut bytes = Vec::new();
        Hello { name: "x".repeat(MAX_NAME + 1), ..hello }.encode(&mut bytes).unwrap();
        assert_eq!(Hello::decode(&bytes), Err(Malformed::Bounds));
    }
}
