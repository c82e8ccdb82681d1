//! Rumours on their way: about whom, how often they were sent, and which go with the next packet.
//!
//! A fact is sent `lambda x ln(n + 1)` times and then rests: with that many copies everyone has it with high probability
//! (SWIM, section 4.1). Facts lie in queues by how often they were sent, and those that were sent least go first, the
//! oldest of them first. What a packet costs here depends on what it carries, never on how many members there are or
//! how many facts wait.

use alloc::vec::Vec;

use super::table::Ix;
use crate::id::NodeId;
use crate::index::Index;

/// Most facts under way. At the bound the most often sent one makes room: it is the one that most have.
pub const RUMOURS_MAX: usize = 1_000;
/// More facts under way than this: rumours are slower than news. Two packets full of the shortest hold about as many.
const CROWD: usize = 208;
/// Rumours whose memory is kept when none is under way.
const KEPT_MAX: usize = 64;
/// Most times that a fact is sent: the queues are bits of a word.
const SENDS_MAX: u32 = u64::BITS;
/// This node itself, as the subject of a rumour.
pub const SELF: Ix = Ix::MAX;
/// No place.
const NONE: u16 = u16::MAX;

/// Facts that still travel, one for each subject. What is said is the newest fact about the subject at the time of
/// sending; only who accused it is kept here.
#[derive(Clone, Debug)]
pub struct Gossip {
    slots: Vec<Slot>,
    /// The first free slot; each names the next.
    free: u16,
    /// Which slot is about a subject.
    about: Index,
    /// Rumours by how often they were sent, and which of these queues have any.
    queues: Vec<Queue>,
    filled: u64,
    /// How often a fact is sent, and in a group of how many members that is so.
    sends_max: (usize, u32),
}

/// One fact under way.
#[derive(Clone, Copy, Debug)]
pub struct Rumour {
    /// The subject.
    pub about: Ix,
    /// Who accused it, where that is what is said.
    pub by: NodeId,
}

/// A rumour in its queue, or a free place.
#[derive(Clone, Copy, Debug)]
struct Slot {
    rumour: Rumour,
    queue: u16,
    before: u16,
    after: u16,
}

/// The ends of a queue.
#[derive(Clone, Copy, Debug)]
struct Queue {
    first: u16,
    last: u16,
}

impl Default for Gossip {
    fn default() -> Self {
        let (slots, about, queues) = (Vec::new(), Index::default(), Vec::new());
        Self { slots, free: NONE, about, queues, filled: 0, sends_max: (0, 0) }
    }
}

/// How often a fact is sent in a group of `members`, this node included.
pub fn sends_max(lambda: f64, members: usize) -> u32 {
    (libm::floor(lambda * libm::log(members as f64 + 1.0)).max(1.0) as u32).min(SENDS_MAX)
}

impl Gossip {
    /// Sends the newest fact about a subject from now on, in place of an older one.
    pub fn push(&mut self, about: Ix, by: NodeId) {
        self.remove(about);
        if self.len() >= RUMOURS_MAX {
            self.make_room();
        }
        let slot = Slot { rumour: Rumour { about, by }, queue: 0, before: NONE, after: NONE };
        let mut place = self.free;
        match self.slots.get_mut(usize::from(place)) {
            Some(free) => {
                self.free = free.after;
                *free = slot;
            }
            None => {
                place = self.slots.len() as u16;
                self.slots.push(slot);
            }
        }
        self.about.insert(hash(about), place.into());
        self.append(0, place);
    }

    /// Stops sending about a subject.
    pub fn remove(&mut self, about: Ix) {
        let slots = &self.slots;
        if let Some(place) = self.about.find(hash(about), |place| slots[place as usize].rumour.about == about)
        {
            self.unlink(place as u16);
            self.drop(place as u16);
        }
    }

    /// How often a fact is sent, as [`sends_max`] has it; the logarithm is taken only when the group has changed.
    pub fn sends_max(&mut self, lambda: f64, members: usize) -> u32 {
        if self.sends_max.0 != members {
            self.sends_max = (members, sends_max(lambda, members));
        }
        self.sends_max.1
    }

    /// Takes rumours for one packet, until `put` finds no room for one, and counts them as sent; one about `not`, whom
    /// the packet tells anyway, is only counted.
    pub fn take(&mut self, not: Option<Ix>, sends_max: u32, put: impl FnMut(&Rumour) -> bool) {
        self.take_first(not, sends_max.min(SENDS_MAX), put);
        // After a start there are as many slots as members were told of at once.
        if self.is_empty() && self.slots.capacity() > KEPT_MAX {
            *self = Self { sends_max: self.sends_max, ..Self::default() };
        }
    }

    fn take_first(&mut self, not: Option<Ix>, sends_max: u32, mut put: impl FnMut(&Rumour) -> bool) {
        // From this one on, those stand in the queue that this packet has just moved there, and have had their turn.
        let mut moved = NONE;
        let mut number = 0;
        while number < SENDS_MAX && self.filled >> number != 0 {
            number += (self.filled >> number).trailing_zeros();
            let mut first_moved = NONE;
            let mut place = self.queues[number as usize].first;
            while place != NONE && place != moved {
                let Slot { rumour, after, .. } = self.slots[usize::from(place)];
                if Some(rumour.about) != not && !put(&rumour) {
                    return;
                }
                self.unlink(place);
                if number + 1 < sends_max {
                    self.append(number as u16 + 1, place);
                    first_moved = if first_moved == NONE { place } else { first_moved };
                } else {
                    self.drop(place);
                }
                place = after;
            }
            (moved, number) = (first_moved, number + 1);
        }
    }

    /// Whether something is under way that was sent fewer than so many times.
    #[inline]
    pub fn is_fresh(&self, sends: usize) -> bool {
        sends > self.filled.trailing_zeros() as usize && self.filled != 0
    }

    /// Whether so much is under way that news travels slowly.
    pub fn is_crowded(&self) -> bool {
        self.len() > CROWD
    }

    /// How many facts are under way.
    #[inline]
    pub fn len(&self) -> usize {
        self.about.len()
    }

    /// Whether nothing is under way.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.filled == 0
    }

    /// Puts a rumour at the end of a queue.
    fn append(&mut self, number: u16, place: u16) {
        let count = usize::from(number) + 1;
        if self.queues.len() < count {
            self.queues.resize(count, Queue { first: NONE, last: NONE });
        }
        let queue = &mut self.queues[usize::from(number)];
        let before = core::mem::replace(&mut queue.last, place);
        match self.slots.get_mut(usize::from(before)) {
            Some(before) => before.after = place,
            None => queue.first = place,
        }
        let slot = &mut self.slots[usize::from(place)];
        (slot.queue, slot.before, slot.after) = (number, before, NONE);
        self.filled |= 1 << number;
    }

    /// Takes a rumour out of its queue.
    fn unlink(&mut self, place: u16) {
        let Slot { queue: number, before, after, .. } = self.slots[usize::from(place)];
        let queue = &mut self.queues[usize::from(number)];
        match self.slots.get_mut(usize::from(before)) {
            Some(before) => before.after = after,
            None => queue.first = after,
        }
        match self.slots.get_mut(usize::from(after)) {
            Some(after) => after.before = before,
            None => queue.last = before,
        }
        if queue.first == NONE {
            self.filled &= !(1 << number);
        }
    }

    /// Frees the slot of a rumour that is in no queue.
    fn drop(&mut self, place: u16) {
        let slot = &mut self.slots[usize::from(place)];
        self.about.remove(hash(slot.rumour.about), place.into());
        slot.after = core::mem::replace(&mut self.free, place);
    }

    /// Drops the last of those that were sent most.
    fn make_room(&mut self) {
        if let Some(number) = self.filled.checked_ilog2() {
            let place = self.queues[number as usize].last;
            self.unlink(place);
            self.drop(place);
        }
    }
}

/// Spreads places over the index: those in use often follow each other.
#[inline]
fn hash(about: Ix) -> u64 {
    u64::from(about).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}
