//! The handshake: who is at the other end of a connection, and do we speak the same language?
//!
//! The dialler sends [`Hello`], the acceptor answers [`HelloAck`], each as the first frame of its direction; anything
//! else first closes the connection. The layout of these two frames is the same in every major version. Drivers read the
//! certificate ([`Claims`]); whether a greeting is believed, and who may be connected with whom, is judged here
//! ([`Hello::judge`]) and nowhere else. Knows no socket, no TLS.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use minicbor::{Decode, Encode};

use super::frame::{Frame, LENGTH_LEN, TooLarge, decode_cbor, encode_body, split_frame};
use super::kind::{Class, SMALL, may_connect};
use super::version::{Dialect, Feature, Features};
use super::{MAJOR, Malformed};
use crate::config::NodeConfig;
use crate::fault::{Fault, FaultCode};
use crate::id::{BootNo, DcId, NodeId, Role};
use crate::swim::Addr;

/// Number of the dialler's first frame: outside the range of messages.
const KIND_HELLO: u16 = 0xff00;
/// Number of the acceptor's first frame.
const KIND_HELLO_ACK: u16 = 0xff01;
/// Longest name of a cluster or node, in bytes.
pub const MAX_NAME: usize = 64;
/// Most features of one greeting, and the longest name of one, in bytes: together they fit into a small frame.
pub const MAX_FEATURES: usize = 32;
const MAX_FEATURE: usize = 20;

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
    /// The cluster, which is its environment as well; 1 to 64 bytes.
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
    /// The features that it has, by name; at most [`MAX_FEATURES`]. A version before the first of them says nothing.
    #[n(10)]
    pub features: Option<Vec<String>>,
}

/// What a certificate says of its node: the same in every greeting that it proves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// The cluster.
    pub cluster: String,
    /// The role.
    pub role: Role,
    /// The datacenter; [`DcId::NONE`] for gates.
    pub dc: DcId,
    /// The configured name.
    pub name: String,
}

/// The acceptor's answer: who it is, or why not.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Encode, Decode)]
pub struct HelloAck {
    /// The acceptor's own greeting, or a refusal, after which it closes.
    #[n(0)]
    pub answer: Result<Hello, Fault>,
}

/// Whether `me` dials `other` (else `other` dials `me`): workers dial managers, managers dial gates, inside a tier the
/// smaller id dials the larger.
pub fn dials(me: (Role, NodeId), other: (Role, NodeId)) -> bool {
    me.0 > other.0 || (me.0 == other.0 && me.1 < other.1)
}

impl Claims {
    /// The node's id.
    pub fn node(&self) -> NodeId {
        NodeId::derive(&self.cluster, self.role, self.dc.as_str(), &self.name)
    }

    /// The URI that says this: `tidegate://cluster/role/dc/name`, with `-` for the datacenter of a gate.
    pub fn uri(&self) -> String {
        let dc = if self.dc == DcId::NONE { "-" } else { self.dc.as_str() };
        format!("tidegate://{}/{}/{dc}/{}", self.cluster, self.role.as_str(), self.name)
    }

    /// Reads a URI; `None` where it is not one of ours.
    pub fn parse(uri: &str) -> Option<Self> {
        let mut parts = uri.strip_prefix("tidegate://")?.split('/');
        let (cluster, role, dc, name) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        if parts.next().is_some() || cluster.is_empty() || name.is_empty() {
            return None;
        }
        let role =
            [Role::Gate, Role::Manager, Role::Worker].into_iter().find(|known| known.as_str() == role)?;
        let dc = if dc == "-" { DcId::NONE } else { DcId::new(dc).ok()? };
        ((role == Role::Gate) == (dc == DcId::NONE)).then(|| Self {
            cluster: cluster.to_owned(),
            role,
            dc,
            name: name.to_owned(),
        })
    }
}

impl Hello {
    /// How a node of this configuration greets: with all that its version has, but for what it is to do without.
    pub fn of(config: &NodeConfig, boot: BootNo, without: Features) -> Self {
        let features = Features::of(config.minor).without(without);
        let features = features.iter().map(|feature| feature.as_str().to_owned());
        Self {
            major: MAJOR.into(),
            minor: config.minor,
            cluster: config.cluster.clone(),
            role: config.role,
            dc: config.dc,
            name: config.name.clone(),
            node: config.node,
            boot,
            connection: ConnectionKind::Ordered,
            addr: config.addr,
            features: (config.minor >= Feature::Coordinates.since()).then(|| features.collect()),
        }
    }

    /// What it says that it speaks, as far as this version knows it.
    pub fn dialect(&self) -> Dialect {
        let names = self.features.iter().flatten().map(String::as_str);
        Dialect { minor: self.minor, features: Features::named(names) }
    }

    /// What it says of its node.
    fn said(&self) -> Claims {
        Claims { cluster: self.cluster.clone(), role: self.role, dc: self.dc, name: self.name.clone() }
    }

    /// Whether this node may be connected with a peer that says this and shows a certificate with these claims, and what
    /// they speak then. The cluster is looked at first: of a stranger to it nothing else is believed, nor told.
    ///
    /// # Errors
    ///
    /// The refusal, which names both sides of what does not fit.
    pub fn judge(&self, claims: Option<&Claims>, me: &Self) -> Result<Dialect, Fault> {
        let refuse = |code, why: String| Err(Fault::new(code, why));
        if self.cluster != me.cluster {
            let why = format!("cluster {:?} here, {:?} there", me.cluster, self.cluster);
            return refuse(FaultCode::WrongCluster, why);
        }
        let (theirs, ours) = (self.role.as_str(), me.role.as_str());
        match claims {
            Some(claims) if *claims == self.said() => {}
            Some(claims) => {
                let why =
                    format!("the certificate says {}, the greeting {}", claims.uri(), self.said().uri());
                return refuse(FaultCode::Unauthorized, why);
            }
            None => {
                let why = format!("a {theirs} without a node's certificate has no business with a {ours}");
                return refuse(FaultCode::Unauthorized, why);
            }
        }
        if !may_connect(self.role, me.role) {
            return refuse(FaultCode::RoleDenied, format!("a {theirs} has no business with a {ours}"));
        }
        if self.major != me.major {
            let why = format!("version {}.{} here, {}.{} there", me.major, me.minor, self.major, self.minor);
            return refuse(FaultCode::UnsupportedVersion, why);
        }
        if (self.role == Role::Gate) != (self.dc == DcId::NONE) {
            return refuse(FaultCode::Invalid, "gates have no datacenter, all other nodes have one".into());
        }
        if self.role != Role::Gate && me.role != Role::Gate && self.dc != me.dc {
            let why = format!("a {theirs} of {} has no business with a {ours} of {}", self.dc, me.dc);
            return refuse(FaultCode::RoleDenied, why);
        }
        if self.node != self.said().node() {
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
        Ok(me.dialect().common(self.dialect()))
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
        let features = self.features.as_deref().unwrap_or_default();
        let listed = features.len() <= MAX_FEATURES && features.iter().all(|name| name.len() <= MAX_FEATURE);
        if named(&self.cluster) && named(&self.name) && listed { Ok(()) } else { Err(Malformed::Bounds) }
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
    use crate::wire::MINOR;
    use std::vec;

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
            features: Some(Features::of(MINOR).iter().map(|feature| feature.as_str().to_owned()).collect()),
        }
    }

    fn judged(peer: &Hello, me: &Hello) -> Result<Dialect, Fault> {
        peer.judge(Some(&peer.said()), me)
    }

    fn code(peer: &Hello, me: &Hello) -> FaultCode {
        judged(peer, me).unwrap_err().code
    }

    #[test]
    fn a_peer_is_judged_by_cluster_role_version_datacenter_and_id() {
        let me = hello(Role::Manager, "fra", "m1");
        let good = hello(Role::Worker, "fra", "w1");
        assert_eq!(judged(&good, &me), Ok(Dialect::OURS));
        assert_eq!(judged(&Hello { minor: MINOR + 1, ..good.clone() }, &me), Ok(Dialect::OURS));

        assert_eq!(code(&Hello { major: 99, ..good.clone() }, &me), FaultCode::UnsupportedVersion);
        assert_eq!(code(&Hello { cluster: "c2".into(), ..good.clone() }, &me), FaultCode::WrongCluster);
        assert_eq!(code(&hello(Role::Worker, "ams", "w1"), &me), FaultCode::RoleDenied);
        assert_eq!(code(&good, &hello(Role::Gate, "", "g1")), FaultCode::RoleDenied);
        assert_eq!(code(&hello(Role::Worker, "", "w1"), &me), FaultCode::Invalid);
        assert_eq!(code(&Hello { node: NodeId([1; 16]), ..good }, &me), FaultCode::Invalid);
        assert_eq!(code(&me, &me), FaultCode::Invalid);
    }

    #[test]
    fn the_cluster_comes_before_all_else_and_a_refusal_names_both_sides() {
        let me = hello(Role::Manager, "fra", "m1");
        let good = hello(Role::Worker, "fra", "w1");
        let why =
            |peer: &Hello, claims: Option<&Claims>| std::format!("{}", peer.judge(claims, &me).unwrap_err());
        let stranger =
            Hello { major: 9, cluster: "c2".into(), role: Role::Worker, ..hello(Role::Gate, "", "x") };
        assert_eq!(why(&stranger, None), "WrongCluster: cluster \"c1\" here, \"c2\" there");
        let other = Hello { major: 2, ..good.clone() };
        assert_eq!(why(&other, Some(&other.said())), "UnsupportedVersion: version 1.1 here, 2.1 there");
        assert_eq!(
            why(&good, None),
            "Unauthorized: a worker without a node's certificate has no business with a manager"
        );
        let gate = hello(Role::Gate, "", "w1");
        assert_eq!(
            why(&gate, Some(&good.said())),
            "Unauthorized: the certificate says tidegate://c1/worker/fra/w1, the greeting tidegate://c1/gate/-/w1"
        );
        let far = hello(Role::Worker, "ams", "w1");
        assert_eq!(
            why(&far, Some(&far.said())),
            "RoleDenied: a worker of ams has no business with a manager of fra"
        );
    }

    #[test]
    fn every_pair_of_roles_is_allowed_or_refused_with_both_named() {
        let nodes =
            [hello(Role::Gate, "", "x"), hello(Role::Manager, "fra", "x"), hello(Role::Worker, "fra", "x")];
        let allowed = |from: Role, to: Role| match (from, to) {
            (Role::Gate, to) => to != Role::Worker,
            (Role::Manager, _) => true,
            (Role::Worker, to) => to == Role::Manager,
        };
        for from in &nodes {
            for to in &nodes {
                let to = hello(to.role, to.dc.as_str(), "y");
                match judged(from, &to) {
                    Ok(_) => assert!(allowed(from.role, to.role)),
                    Err(fault) => {
                        assert!(!allowed(from.role, to.role) && fault.code == FaultCode::RoleDenied);
                        let (one, other) = (from.role.as_str(), to.role.as_str());
                        assert_eq!(fault.detail, std::format!("a {one} has no business with a {other}"));
                    }
                }
            }
        }
    }

    #[test]
    fn what_a_greeting_claims_beyond_what_is_known_is_left_out() {
        let me = hello(Role::Manager, "fra", "m1");
        let names = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect());
        for (minor, features, spoken) in [
            (
                MINOR,
                names(&["teleport", "gate_views", "coordinates", "gate_views"]),
                "coordinates gate_views",
            ),
            (MINOR + 5, names(&["queued_jobs", "warp"]), "queued_jobs"),
            (MINOR, names(&[]), ""),
            (MINOR, None, ""),
            (0, names(&["coordinates"]), ""),
        ] {
            let peer = Hello { minor, features, ..hello(Role::Worker, "fra", "w1") };
            let mut bytes = Vec::new();
            peer.encode(&mut bytes).unwrap();
            assert_eq!(Hello::decode(&bytes), Ok(Some((bytes.len(), peer.clone()))));
            let there = judged(&peer, &me).unwrap();
            assert_eq!((there.minor, String::from(there.features)), (minor.min(MINOR), spoken.to_owned()));
            assert_eq!(judged(&me, &peer), Ok(there), "the same at both ends");
        }
    }

    #[test]
    fn claims_survive_their_uri_and_nothing_else_is_one() {
        let claims =
            [hello(Role::Worker, "fra", "w1"), hello(Role::Gate, "", "g1")].map(|hello| hello.said());
        for claims in claims {
            assert_eq!(Claims::parse(&claims.uri()), Some(claims));
        }
        for bad in [
            "",
            "https://c/worker/fra/w1",
            "tidegate://c/worker/fra",
            "tidegate://c/worker/fra/w1/x",
            "tidegate://c/boss/fra/w1",
            "tidegate://c/worker/-/w1",
            "tidegate://c/gate/fra/g1",
            "tidegate:///gate/-/g1",
            "tidegate://c/gate/-/",
            "tidegate://c/worker/FRA/w1",
        ] {
            assert_eq!(Claims::parse(bad), None, "{bad}");
        }
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
        Hello { name: "x".repeat(MAX_NAME + 1), ..hello.clone() }.encode(&mut bytes).unwrap();
        assert_eq!(Hello::decode(&bytes), Err(Malformed::Bounds));
        for features in [vec!["x".to_owned(); MAX_FEATURES + 1], vec!["x".repeat(MAX_FEATURE + 1)]] {
            let mut bytes = Vec::new();
            Hello { features: Some(features), ..hello.clone() }.encode(&mut bytes).unwrap();
            assert_eq!(Hello::decode(&bytes), Err(Malformed::Bounds));
        }
        let longest = Some(vec!["x".repeat(MAX_FEATURE); MAX_FEATURES]);
        let mut bytes = Vec::new();
        let name = "x".repeat(MAX_NAME);
        Hello { features: longest, cluster: name.clone(), name, ..hello }.encode(&mut bytes).unwrap();
        assert!(Hello::decode(&bytes).is_ok());
    }
}
