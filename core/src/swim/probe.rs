//! Asking: whose turn it is, the round that is open, and the questions that this node asks for others.
//!
//! Everything here is bookkeeping; the machine in `mod.rs` sends and arms.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use smallvec::SmallVec;

use super::member::Addr;
use super::rows::push_sparingly;
use super::table::{Ix, Short};
use crate::id::NodeId;
use crate::rng::NodeRng;
use crate::time::Instant;

/// Most members drawn at once that need no memory on the heap.
pub const SAMPLE_MAX: usize = 8;
/// Draws for each member wanted before all are looked at.
const DRAWS: usize = 8;
/// Turns that are looked up at once.
const AHEAD: usize = 16;
/// Most questions under way for others. At the bound the asker gets a nack at once.
pub const RELAYS_MAX: usize = 128;
/// Most of them that are put to their member, where several want to know the same; the others wait for what these find. Two,
/// since one may be lost.
pub const RELAYS_PUT: usize = 2;
/// Most of them for one asker; policy as above.
pub const RELAYS_PER_ASKER: usize = 8;

/// Whose turn it is: everyone once in random order, then a new order. A member is asked once in `2n - 1` rounds at
/// worst. Who is no longer asked is passed over, and taken out with the next new order.
#[derive(Clone, Debug, Default)]
pub struct Order {
    members: Vec<Short>,
    cursor: usize,
    /// Those at the cursor, the next one last: the long list is read once in so many turns.
    ahead: SmallVec<[Short; AHEAD]>,
}

impl Order {
    /// Puts a member at a random place of those whose turn is still to come. Nobody is skipped: who stood there goes
    /// to the end.
    pub fn insert(&mut self, member: Ix, rng: &mut NodeRng) {
        let last = self.members.len();
        push_sparingly(&mut self.members, member as Short);
        let place = rng.range(self.cursor.min(last) as u64, last as u64 + 1) as usize;
        self.members.swap(place, last);
        self.ahead.clear();
    }

    /// Takes out whoever is not kept. Nobody else is skipped.
    pub fn retain(&mut self, mut keep: impl FnMut(Ix) -> bool) {
        let (mut place, mut passed) = (0, 0);
        let cursor = self.cursor;
        self.members.retain(|member| {
            let kept = keep(Ix::from(*member));
            passed += usize::from(!kept && place < cursor);
            place += 1;
            kept
        });
        self.cursor -= passed;
        self.ahead.clear();
    }

    /// The next member whose turn it is.
    pub fn next(&mut self) -> Option<Ix> {
        if self.ahead.is_empty() {
            let next = self.members[self.cursor..].iter().take(AHEAD);
            self.ahead.extend(next.rev().copied());
        }
        let member = self.ahead.pop()?;
        self.cursor += 1;
        Some(Ix::from(member))
    }

    /// Begins a traversal in a new order.
    pub fn begin(&mut self, rng: &mut NodeRng) {
        rng.shuffle(&mut self.members);
        self.cursor = 0;
        self.ahead.clear();
    }

    /// Bytes on the heap.
    pub fn heap_bytes(&self) -> usize {
        self.members.capacity() * size_of::<Short>()
    }

    /// How many are in it.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Who stands at a place below [`Order::len`].
    #[inline]
    pub fn at(&self, place: usize) -> Ix {
        Ix::from(self.members[place])
    }
}

/// Up to `count` different ones of `from` that `fits` accepts, at random. Few draws where most fit; where few do, all
/// are looked at from a random place on, so that whoever fits is found.
pub fn sample(
    from: impl Fn(usize) -> Ix,
    len: usize,
    count: usize,
    rng: &mut NodeRng,
    fits: impl Fn(Ix) -> bool,
) -> SmallVec<[Ix; SAMPLE_MAX]> {
    let mut chosen: SmallVec<[Ix; SAMPLE_MAX]> = SmallVec::new();
    let take = |member: Ix, chosen: &mut SmallVec<[Ix; SAMPLE_MAX]>| {
        if chosen.len() < count && !chosen.contains(&member) && fits(member) {
            chosen.push(member);
        }
    };
    if len == 0 {
        return chosen;
    }
    for _ in 0..DRAWS * count {
        if chosen.len() == count {
            return chosen;
        }
        take(from(rng.below(len as u64) as usize), &mut chosen);
    }
    let start = rng.below(len as u64) as usize;
    for place in 0..len {
        if chosen.len() == count {
            break;
        }
        take(from((start + place) % len), &mut chosen);
    }
    chosen
}

/// The question of one period.
#[derive(Clone, Debug)]
pub struct Round {
    /// Whom it is about.
    pub target: Ix,
    /// Its number.
    pub seq: u32,
    /// When it was asked.
    pub asked_at: Instant,
    /// When proxies are asked.
    pub direct_until: Instant,
    /// When it ends.
    pub ends_at: Instant,
    /// Whether an answer came, by whatever way.
    pub answered: bool,
    /// Who was asked to ask.
    pub proxies: SmallVec<[NodeId; SAMPLE_MAX]>,
    /// How many of them have said anything.
    pub replies: u32,
}

/// A question that this node asks for another.
#[derive(Clone, Copy, Debug)]
pub struct Relay {
    /// Who wants to know.
    pub asker: NodeId,
    /// Where its question came from.
    pub asker_addr: Addr,
    /// The question's number there.
    pub asker_seq: u32,
    /// Whom it is about.
    pub target: NodeId,
    /// Whether the asker was told that no answer has come.
    pub nacked: bool,
}

/// The questions that this node asks for others, by its own number.
#[derive(Clone, Debug, Default)]
pub struct Relays(BTreeMap<u32, Relay>);

impl Relays {
    /// Takes one on; `false` where there are too many.
    pub fn insert(&mut self, seq: u32, relay: Relay) -> bool {
        let of_asker = self.0.values().filter(|other| other.asker == relay.asker).count();
        let room = self.0.len() < RELAYS_MAX && of_asker < RELAYS_PER_ASKER;
        if room {
            self.0.insert(seq, relay);
        }
        room
    }

    /// How many about this member are under way and not given up.
    pub fn about(&self, target: NodeId) -> usize {
        self.0.values().filter(|relay| relay.target == target && !relay.nacked).count()
    }

    /// All about a member that has answered one of them; they end.
    pub fn answered_by(&mut self, target: NodeId) -> Vec<(u32, Relay)> {
        let of_target = self.0.iter().filter(|(_, relay)| relay.target == target);
        let about: Vec<(u32, Relay)> = of_target.map(|(seq, relay)| (*seq, *relay)).collect();
        self.0.retain(|_, relay| relay.target != target);
        about
    }

    /// One under way.
    pub fn get_mut(&mut self, seq: u32) -> Option<&mut Relay> {
        self.0.get_mut(&seq)
    }

    /// How many are under way.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Those under way.
    #[cfg(test)]
    pub fn numbers(&self) -> impl Iterator<Item = u32> {
        self.0.keys().copied()
    }

    /// Ends one.
    pub fn remove(&mut self, seq: u32) -> Option<Relay> {
        self.0.remove(&seq)
    }
}
