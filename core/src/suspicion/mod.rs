//! Whether a node still works for one job: the layer above membership.
//!
//! Membership says whether a machine lives. A machine that lives may still do nothing for a job, and only for that one.
//! One [`JobSuspicions`] lies in the record of a job at its owner: dropping the record drops every suspicion, verdict and
//! deadline of it, and nothing else is keyed by the job.
//!
//! | in | out |
//! |---|---|
//! | [`JobSuspicions::accuse`]: somebody finds a node silent for the job | opened, confirmed, or a typed refusal |
//! | [`JobSuspicions::heard`]: the node made progress for the job | refuted, or recovered from the dead |
//! | [`JobSuspicions::plead`]: the node asks for more time before it is suspected | a grant or a typed denial ([`extension`]) |
//! | [`JobSuspicions::forget`]: the machine is dead, or has no more to do with the job | cleared |
//! | [`JobSuspicions::expire`]: time | the nodes that are dead for the job, one at a time |
//!
//! Each suspicion ends once: expired, refuted or cleared ([`Tally`]). A verdict is the value that ends the suspicion, so
//! there is nobody to fail on the way to whoever acts on it. A node that is dead for the job stays so until it makes
//! progress for it or is forgotten; membership hears nothing of it. Grants move the silence after which a node is
//! suspected, not the suspicion: progress ends both.
//!
//! The timeout is Lifeguard's (section IV-B): from `longest` down to `shortest` with each further accuser.

pub mod extension;
mod timeout;

#[cfg(test)]
mod tests;

pub use timeout::{CONFIRMATIONS, Window};

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use smallvec::SmallVec;

use self::extension::{Denial, Denied, Extension, Grant, Plea};
use crate::id::NodeId;
use crate::index::{Index, Ix, hash};
use crate::time::{Duration, Instant};

/// Most nodes of one job that are suspected or dead for it; further accusations are refused.
pub const NODES_MAX: usize = 1_000;

/// Who is suspected for a job, and who is dead for it.
///
/// Confirmations are many and verdicts few, so deadlines are not kept in order: an event costs one look-up, a verdict one
/// pass over the job's suspects.
#[derive(Clone, Debug, Default)]
pub struct JobSuspicions {
    /// In no particular order: nothing but [`JobSuspicions::expire`] chooses among them, and that by deadline and id.
    nodes: Vec<Standing>,
    index: Index,
    /// Of those who have pleaded since they were heard of last; nobody among them is suspected. At most [`NODES_MAX`].
    extensions: BTreeMap<NodeId, Extension>,
    /// No deadline lies before this; none at all where nobody is suspected.
    next: Option<Instant>,
    tally: Tally,
}

/// What became of suspicions: `opened` is the sum of the others and of those that are open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// All of them.
    pub opened: u64,
    /// Their time ran out: the node was dead for the job.
    pub expired: u64,
    /// The node made progress in time.
    pub refuted: u64,
    /// The machine died, or had nothing more to do with the job.
    pub cleared: u64,
}

/// What is held against a node. One line of memory, and with one of the index all that a confirmation reads of a job's
/// nodes.
#[derive(Clone, Debug)]
#[repr(align(64))]
struct Standing {
    node: NodeId,
    opened: Instant,
    shortest: Duration,
    longest: Duration,
    /// All accusers but the last that counts: after it nobody is compared.
    accusers: [Mark; CONFIRMATIONS],
    /// How many accused it, and how many confirmations are needed.
    accused_by: u8,
    needed: u8,
    /// Its time has run out.
    dead: bool,
}

const _: () = assert!(size_of::<Standing>() == 64);

/// 48 bits of a hash of an accuser. Two that share them count as one: a verdict comes later then, never sooner.
type Mark = [u16; 3];

/// How a node stands with a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Nothing is held against it.
    Trusted,
    /// It is dead for the job at this time, unless it makes progress.
    Suspected(Instant),
    /// It does nothing for the job.
    Dead,
}

/// What an accusation did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accused {
    /// It is the first.
    Opened,
    /// It is a further one, and counts.
    Confirmed,
    /// It changes nothing: the accuser has said so before, or enough others have, or the node is dead for the job.
    Known,
}

/// Why an accusation was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Nobody accuses itself.
    Own,
    /// So many nodes are suspected already.
    Full,
}

/// How a standing ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// A suspicion was refuted or cleared.
    Suspicion,
    /// The node had been dead for the job.
    Death,
}

impl JobSuspicions {
    /// Somebody finds a node silent. The first accusation decides the window.
    ///
    /// # Errors
    ///
    /// Why it changed nothing.
    pub fn accuse(
        &mut self,
        now: Instant,
        window: Window,
        node: NodeId,
        by: NodeId,
    ) -> Result<Accused, Refused> {
        if node == by {
            return Err(Refused::Own);
        }
        let Some(ix) = self.find(node) else {
            if self.nodes.len() >= NODES_MAX {
                return Err(Refused::Full);
            }
            let standing = Standing::new(node, window, now, by);
            self.ends_by(standing.deadline());
            self.extensions.remove(&node);
            self.index.insert(hash(0, &node.0), self.nodes.len() as Ix);
            self.nodes.push(standing);
            self.tally.opened += 1;
            return Ok(Accused::Opened);
        };
        let standing = &mut self.nodes[ix as usize];
        if standing.dead || !standing.confirm(by) {
            return Ok(Accused::Known);
        }
        let deadline = standing.deadline();
        self.ends_by(deadline);
        Ok(Accused::Confirmed)
    }

    /// The node made progress for the job.
    pub fn heard(&mut self, node: NodeId) -> Option<Ended> {
        self.extensions.remove(&node);
        let ended = self.end(node)?;
        self.tally.refuted += u64::from(ended == Ended::Suspicion);
        self.forget_next_of_none();
        Some(ended)
    }

    /// The machine is dead, or has nothing more to do with the job: whatever is held against it goes.
    pub fn forget(&mut self, node: NodeId) -> Option<Ended> {
        self.extensions.remove(&node);
        let ended = self.end(node)?;
        self.tally.cleared += u64::from(ended == Ended::Suspicion);
        self.forget_next_of_none();
        Some(ended)
    }

    /// Forgets all but these: the others are dead for everything, or have nothing more to do with the job.
    pub fn retain(&mut self, keep: impl Fn(NodeId, Status) -> bool) {
        self.extensions.retain(|node, _| keep(*node, Status::Trusted));
        let gone = self.nodes.iter().filter(|standing| !keep(standing.node, standing.status()));
        let gone: SmallVec<[NodeId; 4]> = gone.map(|standing| standing.node).collect();
        for node in gone {
            self.forget(node);
        }
    }

    /// A node of which nothing is heard asks for more time before it is suspected; `base` is the silence that everybody
    /// may keep.
    ///
    /// # Errors
    ///
    /// Why it gets none.
    pub fn plead(&mut self, now: Instant, base: Duration, node: NodeId, plea: Plea) -> Result<Grant, Denied> {
        if self.find(node).is_some() {
            return Err(Denied::plain(Denial::TooLate));
        }
        if self.extensions.len() >= NODES_MAX && !self.extensions.contains_key(&node) {
            return Err(Denied::plain(Denial::Full));
        }
        self.extensions.entry(node).or_default().plead(now, base, plea)
    }

    /// When the silence of a node counts that would count at `at` if nothing had been granted.
    pub fn silent_at(&self, node: NodeId, at: Instant) -> Instant {
        self.extensions.get(&node).map_or(at, |extension| extension.moved(at))
    }

    /// Those who live on a grant.
    pub fn extended(&self) -> impl Iterator<Item = NodeId> {
        self.extensions.iter().filter(|(_, extension)| extension.is_granted()).map(|(node, _)| *node)
    }

    /// The next node whose time has run out: from now on it is dead for the job.
    pub fn expire(&mut self, now: Instant) -> Option<NodeId> {
        self.next.filter(|next| *next <= now)?;
        let suspected = self.nodes.iter().enumerate().filter(|(_, standing)| !standing.dead);
        let first = suspected.map(|(ix, it)| (it.deadline(), it.node, ix)).min();
        self.next = first.map(|(deadline, ..)| deadline);
        let (_, node, ix) = first.filter(|(deadline, ..)| *deadline <= now)?;
        self.nodes[ix].dead = true;
        self.tally.expired += 1;
        self.forget_next_of_none();
        Some(node)
    }

    /// When [`JobSuspicions::expire`] may have something to tell: no deadline lies before this.
    pub fn next(&self) -> Option<Instant> {
        self.next
    }

    /// How a node stands.
    pub fn status(&self, node: NodeId) -> Status {
        self.find(node).map_or(Status::Trusted, |ix| self.nodes[ix as usize].status())
    }

    /// What became of all suspicions, and how many are open.
    pub fn tally(&self) -> (Tally, u64) {
        let Tally { opened, expired, refuted, cleared } = self.tally;
        (self.tally, opened - expired - refuted - cleared)
    }

    fn find(&self, node: NodeId) -> Option<Ix> {
        // No salt: the ids are of configured nodes, which nobody chooses to collide, and of one job there are few.
        self.index.find(hash(0, &node.0), |ix| self.nodes[ix as usize].node == node)
    }

    fn end(&mut self, node: NodeId) -> Option<Ended> {
        let ix = self.find(node)?;
        self.index.remove(hash(0, &node.0), ix);
        let ended = self.nodes.swap_remove(ix as usize);
        // Who stood last stands in its place now.
        if let Some(moved) = self.nodes.get(ix as usize) {
            let hash = hash(0, &moved.node.0);
            self.index.remove(hash, self.nodes.len() as Ix);
            self.index.insert(hash, ix);
        }
        Some(if ended.dead { Ended::Death } else { Ended::Suspicion })
    }

    fn ends_by(&mut self, deadline: Instant) {
        self.next = Some(self.next.map_or(deadline, |next| next.min(deadline)));
    }

    fn forget_next_of_none(&mut self) {
        if self.tally().1 == 0 {
            self.next = None;
        }
    }
}

impl Standing {
    fn new(node: NodeId, window: Window, opened: Instant, by: NodeId) -> Self {
        let (Window { shortest, longest, needed }, accusers) = (window, [mark(by); CONFIRMATIONS]);
        Self { node, opened, shortest, longest, accusers, accused_by: 1, needed, dead: false }
    }

    fn status(&self) -> Status {
        match self.dead {
            true => Status::Dead,
            false => Status::Suspected(self.deadline()),
        }
    }

    fn confirm(&mut self, by: NodeId) -> bool {
        let (accused_by, mark) = (usize::from(self.accused_by), mark(by));
        let counts = self.accused_by <= self.needed && !self.accusers[..accused_by].contains(&mark);
        if counts {
            self.accused_by += 1;
            if let Some(place) = self.accusers.get_mut(accused_by) {
                *place = mark;
            }
        }
        counts
    }

    fn deadline(&self) -> Instant {
        let window = Window { shortest: self.shortest, longest: self.longest, needed: self.needed };
        self.opened + window.after(usize::from(self.accused_by) - 1)
    }
}

fn mark(by: NodeId) -> Mark {
    let hash = hash(0, &by.0);
    [hash as u16, (hash >> 16) as u16, (hash >> 32) as u16]
}
