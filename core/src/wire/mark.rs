//! How every datagram begins, in the clear: whose it is.
//!
//! ```text
//! magic    2   "TG"
//! major    1   the sender's major version
//! zero     1
//! cluster  4   from the cluster's name
//! ```
//!
//! Judged before anything else of a datagram is looked at. It proves nothing, for anybody can write it: the seal does
//! that, whose key comes from the cluster's name as well. It tells an operator which of many mistakes was made.

use super::{MAJOR, Malformed};
use crate::digest::Digest;
use core::hash::Hasher;

/// The first bytes of a node's datagrams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark([u8; Mark::LEN]);

impl Mark {
    /// Its length.
    pub const LEN: usize = 8;

    /// Of a node of this version in a cluster.
    pub fn of(cluster: &str) -> Self {
        Self::of_major(MAJOR, cluster)
    }

    /// Of a node of some major version in a cluster.
    pub fn of_major(major: u8, cluster: &str) -> Self {
        let mut digest = Digest::default();
        digest.write(cluster.as_bytes());
        let [.., a, b, c, d] = digest.finish().to_be_bytes();
        Self([b'T', b'G', major, 0, a, b, c, d])
    }

    /// Its bytes.
    pub const fn bytes(self) -> [u8; Self::LEN] {
        self.0
    }

    /// Whether a node of this mark may look at a datagram that begins so: whose it is comes before which version.
    ///
    /// # Errors
    ///
    /// What is wrong: it is no datagram of ours, of another cluster, or of another major version.
    pub fn admit(self, begin: [u8; Self::LEN]) -> Result<(), Malformed> {
        let [m0, m1, major, zero, cluster @ ..] = self.0;
        let [t0, t1, their_major, their_zero, theirs @ ..] = begin;
        if [t0, t1, their_zero] != [m0, m1, zero] {
            return Err(Malformed::Frame);
        }
        if theirs != cluster {
            return Err(Malformed::Cluster);
        }
        if their_major == major { Ok(()) } else { Err(Malformed::Version) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_datagram_is_ours_or_its_first_mistake_is_named() {
        let ours = Mark::of("prod");
        assert_eq!(ours.admit(Mark::of("prod").bytes()), Ok(()));
        for other in ["staging", "prod-dev", "", "Prod"] {
            assert_eq!(ours.admit(Mark::of(other).bytes()), Err(Malformed::Cluster), "{other:?}");
            assert_eq!(ours.admit(Mark::of_major(9, other).bytes()), Err(Malformed::Cluster));
        }
        assert_eq!(ours.admit(Mark::of_major(MAJOR + 1, "prod").bytes()), Err(Malformed::Version));
        for at in [0, 1, 3] {
            let mut begin = ours.bytes();
            begin[at] ^= 1;
            assert_eq!(ours.admit(begin), Err(Malformed::Frame));
        }
        // The bytes are part of the format.
        assert_eq!(Mark::of("c").bytes()[..4], *b"TG\x01\0");
    }
}
