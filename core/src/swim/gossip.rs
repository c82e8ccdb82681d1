//! Rumours on their way: about whom, how often they were sent, and which go with the next packet.
//!
//! A fact is sent `lambda x ln(n + 1)` times and then rests: with that many copies everyone has it with high probability
//! (SWIM, section 4.1). Facts lie in queues by how often they were sent, and those that were sent least go first, the
//! oldest of them first. What a packet costs here depends on what it carries, never on how many members there are or
//! how many facts wait.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;

use super::table::Ix;
use crate::id::NodeId;

/// Most facts under way. At the bound the most often sent one makes room: it is the one that most have.
pub const RUMOURS_MAX: usize = 1_000;
/// More facts under way than this: rumours are slower than news. Four packets hold about as many.
const CROWD: usize = 4 * super::FACTS_MAX;
/// Replaced rumours that are always tolerated; beyond them and the number of wanted ones, all are dropped at once.
const STALE_MAX: usize = 64;
/// Rumours whose memory is kept when none is under way.
const KEPT_MAX: usize = 64;
/// This node itself, as the subject of a rumour.
pub const SELF: Ix = Ix::MAX;

/// Facts that still travel, one for each subject. What is said is the newest fact about the subject at the time of
/// sending; only who accused it is kept here.
#[derive(Clone, Debug, Default)]
pub struct Gossip {
    slab: Vec<Rumour>,
    free: Vec<u32>,
    /// Which rumour is about a subject.
    about: BTreeMap<Ix, u32>,
    /// Rumours by how often they were sent.
    queues: Vec<VecDeque<u32>>,
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
    /// Still wanted: a replaced or removed rumour lies in its queue until it comes up.
    wanted: bool,
}

/// How often a fact is sent in a group of `members`, this node included.
pub fn sends_max(lambda: f64, members: usize) -> u32 {
    libm::floor(lambda * libm::log(members as f64 + 1.0)).max(1.0) as u32
}

impl Gossip {
    /// Sends the newest fact about a subject from now on, in place of an older one.
    pub fn push(&mut self, about: Ix, by: NodeId) {
        self.remove(about);
        if self.about.len() >= RUMOURS_MAX {
            self.make_room();
        }
        let rumour = Rumour { about, by, wanted: true };
        let place = self.free.pop().unwrap_or(self.slab.len() as u32);
        match self.slab.get_mut(place as usize) {
            Some(slot) => *slot = rumour,
            None => self.slab.push(rumour),
        }
        self.about.insert(about, place);
        self.queue(0).push_back(place);
        if self.slab.len() - self.free.len() > 2 * self.about.len() + STALE_MAX {
            self.sweep();
        }
    }

    /// Stops sending about a subject.
    pub fn remove(&mut self, about: Ix) {
        if let Some(place) = self.about.remove(&about) {
            self.slab[place as usize].wanted = false;
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
        self.take_first(not, sends_max, put);
        // Every queue has grown to all that was ever told at once: after a start that is as much as the table.
        if self.about.is_empty() && self.slab.capacity() > KEPT_MAX {
            *self = Self { sends_max: self.sends_max, ..Self::default() };
        }
    }

    fn take_first(&mut self, not: Option<Ix>, sends_max: u32, mut put: impl FnMut(&Rumour) -> bool) {
        let mut moved = 0;
        for number in 0..self.queues.len() {
            // Those that this packet has just moved here stand at the end, and have had their turn.
            let own = self.queues[number].len() - core::mem::take(&mut moved);
            for _ in 0..own {
                let Some(&place) = self.queues[number].front() else { break };
                let rumour = &self.slab[place as usize];
                let about = rumour.about;
                if rumour.wanted && Some(about) != not && !put(rumour) {
                    return;
                }
                let wanted = rumour.wanted;
                self.queues[number].pop_front();
                if wanted && number as u32 + 1 < sends_max {
                    self.queue(number as u32 + 1).push_back(place);
                    moved += 1;
                } else {
                    self.free.push(place);
                    if wanted {
                        self.about.remove(&about);
                    }
                }
            }
        }
    }

    /// Whether something is under way that was sent fewer than so many times.
    pub fn is_fresh(&self, sends: usize) -> bool {
        let young = &self.queues[..sends.min(self.queues.len())];
        !self.is_empty() && young.iter().flatten().any(|place| self.slab[*place as usize].wanted)
    }

    /// Whether so much is under way that news travels slowly.
    pub fn is_crowded(&self) -> bool {
        self.about.len() > CROWD
    }

    /// How many facts are under way.
    #[inline]
    pub fn len(&self) -> usize {
        self.about.len()
    }

    /// Whether nothing is under way.
    pub fn is_empty(&self) -> bool {
        self.about.is_empty()
    }

    fn queue(&mut self, sends: u32) -> &mut VecDeque<u32> {
        let number = sends as usize;
        if self.queues.len() <= number {
            self.queues.resize_with(number + 1, VecDeque::new);
        }
        &mut self.queues[number]
    }

    fn sweep(&mut self) {
        let (slab, free) = (&self.slab, &mut self.free);
        for queue in &mut self.queues {
            queue.retain(|place| {
                let wanted = slab[*place as usize].wanted;
                if !wanted {
                    free.push(*place);
                }
                wanted
            });
        }
    }

    fn make_room(&mut self) {
        for queue in self.queues.iter_mut().rev() {
            while let Some(place) = queue.pop_back() {
                self.free.push(place);
                if self.slab[place as usize].wanted {
                    self.about.remove(&self.slab[place as usize].about);
                    return;
                }
            }
        }
    }
}
