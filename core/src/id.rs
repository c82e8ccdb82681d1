//! Names of things. No id contains the node that owns the thing: ownership changes, keys do not.

use alloc::string::String;
use core::fmt;
use minicbor::{Decode, Decoder, Encode, Encoder, decode, encode};
use sha2::{Digest, Sha256};

macro_rules! bytes16 {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
        pub struct $name(pub [u8; 16]);

        impl Ord for $name {
            /// As bytes, the first one first: compared as one number, for maps do this often.
            #[inline]
            fn cmp(&self, other: &Self) -> core::cmp::Ordering {
                u128::from_be_bytes(self.0).cmp(&u128::from_be_bytes(other.0))
            }
        }
        impl PartialOrd for $name {
            #[inline]
            fn partial_cmp(&self, other: &Self) -> Option<core::cmp::Ordering> {
                Some(self.cmp(other))
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }
        impl core::str::FromStr for $name {
            type Err = BadId;
            /// Exactly 32 hexadecimal digits.
            fn from_str(text: &str) -> Result<Self, BadId> {
                let digits = text.as_bytes();
                let mut id = [0; 16];
                if digits.len() != 32 || !digits.iter().all(u8::is_ascii_hexdigit) {
                    return Err(BadId);
                }
                for (byte, pair) in id.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
                    let pair = core::str::from_utf8(pair).map_err(|_| BadId)?;
                    *byte = u8::from_str_radix(pair, 16).map_err(|_| BadId)?;
                }
                Ok(Self(id))
            }
        }
        impl<C> Encode<C> for $name {
            fn encode<W: encode::Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), encode::Error<W::Error>> {
                e.bytes(&self.0)?.ok()
            }
        }
        impl<'b, C> Decode<'b, C> for $name {
            fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
                let at = d.position();
                d.bytes()?.try_into().map(Self).map_err(|_| decode::Error::message("id is not 16 bytes").at(at))
            }
        }
    };
}

/// Ids and names are texts in JSON.
#[cfg(feature = "serde")]
macro_rules! serde_text {
    ($name:ident, $parse:expr) => {
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                let parse: fn(&str) -> Result<Self, BadId> = $parse;
                parse(&text).map_err(|BadId| serde::de::Error::custom(concat!("not a ", stringify!($name))))
            }
        }
    };
}
#[cfg(feature = "serde")]
mod serde_texts {
    use super::{BadId, DcId, JobId, NodeId};
    use alloc::string::String;

    serde_text!(NodeId, str::parse);
    serde_text!(JobId, str::parse);
    serde_text!(DcId, |text| if text.is_empty() { Ok(DcId::NONE) } else { DcId::new(text) });
}

/// A text that is not an id, or a name that is not allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadId;

bytes16! {
    /// A node, across restarts and addresses: 8 bytes of SHA-256 over (cluster, role, datacenter, name), then 8 over
    /// (cluster, datacenter), its *realm*. The first half alone tells nodes apart. Members of one group share the second,
    /// so lists of them need not repeat it.
    NodeId
}
bytes16! {
    /// A job. Made by the accepting gate; sorts by creation time: wall ms (48 bit), then a counter and random bits.
    JobId
}
bytes16! {
    /// A disk image: random, written when the disk is first used. Tells an emptied or swapped disk from the old one.
    DiskId
}

impl NodeId {
    /// The id of a configured node. `dc` is empty for gates.
    pub fn derive(cluster: &str, role: Role, dc: &str, name: &str) -> Self {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&digest(&[cluster, role.as_str(), dc, name]));
        id[8..].copy_from_slice(&digest(&[cluster, dc]));
        Self(id)
    }

    /// The half that tells it apart.
    #[inline]
    pub fn name(&self) -> [u8; 8] {
        half(&self.0, 0)
    }

    /// The half that it shares with all of its cluster and datacenter.
    #[inline]
    pub fn realm(&self) -> [u8; 8] {
        half(&self.0, 8)
    }

    /// Of both halves.
    #[inline]
    pub fn of_halves(name: [u8; 8], realm: [u8; 8]) -> Self {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&name);
        id[8..].copy_from_slice(&realm);
        Self(id)
    }
}

#[inline]
fn half(id: &[u8; 16], from: usize) -> [u8; 8] {
    let mut half = [0; 8];
    half.copy_from_slice(&id[from..from + 8]);
    half
}

/// The first 8 bytes of SHA-256 over texts, each behind its length.
fn digest(texts: &[&str]) -> [u8; 8] {
    let mut hash = Sha256::new();
    for text in texts {
        hash.update((text.len() as u64).to_be_bytes());
        hash.update(text.as_bytes());
    }
    let mut first = [0; 8];
    first.copy_from_slice(&hash.finalize()[..8]);
    first
}

/// What a node does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum Role {
    /// Owns jobs and talks to clients.
    #[n(0)]
    Gate,
    /// Runs jobs inside one datacenter.
    #[n(1)]
    Manager,
    /// Executes shards.
    #[n(2)]
    Worker,
}

impl Role {
    /// `gate`, `manager` or `worker`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Gate => "gate",
            Self::Manager => "manager",
            Self::Worker => "worker",
        }
    }
}

/// A datacenter, by its name: 1 to 24 bytes of `a-z`, `0-9` and `-`. Kept inline, so an id is its own label.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DcId([u8; Self::MAX_LEN]);

impl DcId {
    /// The longest name, in bytes.
    pub const MAX_LEN: usize = 24;
    /// No datacenter: what a gate, which stands above them all, has in its place.
    pub const NONE: Self = Self([0; Self::MAX_LEN]);

    /// Checks a name.
    pub fn new(name: &str) -> Result<Self, BadId> {
        let allowed = |byte: &u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
        if name.is_empty() || name.len() > Self::MAX_LEN || !name.as_bytes().iter().all(allowed) {
            return Err(BadId);
        }
        let mut id = [0; Self::MAX_LEN];
        id[..name.len()].copy_from_slice(name.as_bytes());
        Ok(Self(id))
    }

    /// The name; empty for [`DcId::NONE`].
    pub fn as_str(&self) -> &str {
        let len = self.0.iter().position(|&byte| byte == 0).unwrap_or(Self::MAX_LEN);
        core::str::from_utf8(&self.0[..len]).unwrap_or_default()
    }
}

impl fmt::Debug for DcId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
impl fmt::Display for DcId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
impl<C> Encode<C> for DcId {
    fn encode<W: encode::Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), encode::Error<W::Error>> {
        e.str(self.as_str())?.ok()
    }
}
impl<'b, C> Decode<'b, C> for DcId {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
        let at = d.position();
        match d.str()? {
            "" => Ok(Self::NONE),
            name => Self::new(name).map_err(|_| decode::Error::message("bad datacenter name").at(at)),
        }
    }
}

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($int:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
        #[cbor(transparent)]
        #[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(transparent))]
        pub struct $name(#[n(0)] pub $int);

        impl $name {
            /// The next higher value; saturates.
            #[must_use]
            pub const fn next(self) -> Self {
                Self(self.0.saturating_add(1))
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }
    };
}

number! {
    /// Fence of a tier's log leadership, and of nothing else.
    Term(u64)
}
number! {
    /// Fence of a job's owner among the gates: +1 at each change, by log entry only. The first owner has 1.
    GateEpoch(u64)
}
number! {
    /// Fence of a job's owner inside one datacenter: +1 at each change, by log entry only. The first owner has 1.
    DcEpoch(u64)
}
number! {
    /// Fence of one shard's execution: +1 at each (re)assignment, by log entry only. The first attempt has 1.
    Attempt(u32)
}
number! {
    /// Counts process starts of a node on its disk; durable before the node's first packet. The first start has 1.
    BootNo(u32)
}
number! {
    /// Place of a workflow in its job's specification.
    WorkflowIx(u16)
}
number! {
    /// One API call at one gate; chosen by the driver, unique while the gate's process lives.
    CallId(u64)
}

/// One shard of a workflow in a datacenter; the same whoever owns or runs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct ShardKey {
    /// The job.
    #[n(0)]
    pub job: JobId,
    /// The workflow in it.
    #[n(1)]
    pub workflow: WorkflowIx,
    /// The datacenter.
    #[n(2)]
    pub dc: DcId,
    /// Which shard of the workflow in that datacenter, from 0.
    #[n(3)]
    pub shard: u16,
}

/// One execution of a shard: what a worker starts at most once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct RunId {
    /// The shard.
    #[n(0)]
    pub shard: ShardKey,
    /// Which try of it.
    #[n(1)]
    pub attempt: Attempt,
}

/// A client's tenant: whose quota and fairness share a job counts against. 1 to 64 bytes.
pub type Tenant = String;
