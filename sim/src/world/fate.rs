//! What chance decides, as hashes of names and numbers.
//!
//! There is no stream to draw from. Every decision names itself (whose it is, what it is about, its number), and the
//! hash of that with the seed of the plan decides. So one decision more in one place leaves all others as they were,
//! and taking a node or a fault out of a plan does not shuffle what happens to the rest.

use tidegate_core::id::NodeId;

/// The hash behind every decision of a world.
#[derive(Clone, Copy, Debug)]
pub struct Fate(u64);

/// What a decision is about. Numbers are part of the meaning of recorded plans: they are never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum About {
    /// A message on an ordered connection.
    Message = 1,
    /// A datagram.
    Datagram = 2,
    /// How long a write takes.
    DiskWrite = 3,
    /// How many unsynced writes a crash leaves.
    Crash = 4,
    /// When a connection is dialled.
    Dial = 5,
    /// How a connection ends.
    Break = 6,
    /// How late a timer fires.
    Timer = 7,
    /// A node's random stream.
    NodeSeed = 8,
    /// A disk's identity.
    DiskId = 9,
    /// A call of a client.
    Call = 10,
    /// What an executor does.
    Execution = 11,
    /// How damaged bytes look.
    Damage = 12,
    /// What a swarm run is made of.
    Swarm = 13,
    /// What a driver does.
    Driver = 14,
    /// The rate of a machine's clock.
    Clock = 15,
}

/// One number for a name: what decisions are keyed by.
pub fn key(name: &str) -> u64 {
    name.bytes().fold(0x9ae1_6a3b_2f90_404f, |hash, byte| mix(hash ^ u64::from(byte), 0xff51_afd7_ed55_8ccd))
}

/// The key of a node: ids are hashes already.
pub fn node_key(node: NodeId) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = node.0;
    u64::from_le_bytes([a, b, c, d, e, f, g, h])
}

/// A multiplication folded onto itself.
#[inline]
const fn mix(a: u64, b: u64) -> u64 {
    let wide = (a ^ 0x2d35_8dcc_aa6c_78a5) as u128 * (b ^ 0x8bb8_4b93_962e_acc9) as u128;
    (wide as u64) ^ ((wide >> 64) as u64)
}

impl Fate {
    /// The fate of a plan with this seed.
    pub const fn new(seed: u64) -> Self {
        Self(mix(seed, 0x9e37_79b9_7f4a_7c15))
    }

    /// A fate for everything that this pair of names does to each other, one way.
    #[inline]
    #[must_use]
    pub const fn between(self, from: u64, to: u64) -> Self {
        Self(mix(self.0 ^ from, to.rotate_left(32) ^ 0x4cf5_ad43_2745_937f))
    }

    /// A fate for one name.
    #[must_use]
    pub const fn of(self, name: u64) -> Self {
        self.between(name, 0)
    }

    /// The decision of this kind with this number.
    #[inline]
    pub const fn decide(self, about: About, kind: u64, number: u64) -> Draw {
        Draw(mix(mix(self.0 ^ about as u64, kind ^ 0xda94_2042_e4dd_58b5), number))
    }

    /// 32 bytes for a node's stream.
    pub fn seed(self, number: u64) -> [u8; 32] {
        let mut seed = [0; 32];
        for (part, bytes) in seed.chunks_exact_mut(8).enumerate() {
            let word = self.decide(About::NodeSeed, part as u64, number).0;
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        seed
    }
}

/// One decided number, and what can be read off it. Different questions to one draw use different bits.
#[derive(Clone, Copy, Debug)]
pub struct Draw(pub u64);

impl Draw {
    /// A number below `bound`; 0 where the bound is 0.
    #[inline]
    pub const fn below(self, bound: u64) -> u64 {
        ((self.0 as u128 * bound as u128) >> 64) as u64
    }

    /// True for so many of 1,000.
    #[inline]
    pub const fn permille(self, permille: u16) -> bool {
        self.below(1_000) < permille as u64
    }

    /// Another number, as good as independent of this one.
    #[inline]
    #[must_use]
    pub const fn next(self) -> Self {
        Self(mix(self.0, 0xd6e8_feb8_6659_fd93))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decisions_are_spread_and_do_not_follow_each_other() {
        let fate = Fate::new(1).between(key("g1"), key("g2"));
        let mut hits = [0u32; 10];
        for number in 0..100_000 {
            hits[fate.decide(About::Message, 3, number).below(10) as usize] += 1;
        }
        assert!(hits.iter().all(|&count| (9_500..10_500).contains(&count)), "{hits:?}");
        let back = Fate::new(1).between(key("g2"), key("g1"));
        let same = (0..10_000)
            .filter(|&n| {
                fate.decide(About::Message, 3, n).permille(500)
                    == back.decide(About::Message, 3, n).permille(500)
            })
            .count();
        assert!((4_700..5_300).contains(&same), "{same}");
    }
}
