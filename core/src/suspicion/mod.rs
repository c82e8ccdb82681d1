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
//! | [`JobSuspicions::extend`]: the node asks for more time | a grant or a typed denial ([`extension`]) |
//! | [`JobSuspicions::forget`]: the machine is dead, or has no more to do with the job | cleared |
//! | [`JobSuspicions::expire`]: time | the nodes that are dead for the job, one at a time |
//!
//! Each suspicion ends once: expired, refuted or cleared ([`Tally`]). A verdict is the value that ends the suspicion, so
//! there is nobody to fail on the way to whoever acts on it. A node that is dead for the job stays so until it makes
//! progress for it or is forgotten; membership hears nothing of it.
//!
//! The timeout is Lifeguard's (section IV-B): from `longest` down to `shortest` with each further accuser.

pub mod extension;
mod timeout;

#[cfg(test)]
mod tests;

pub use timeout::{CONFIRMATIONS, Window};

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use smallvec::SmallVec;

use self::extension::{Denial, Extension, Grant, Plea};
use crate::id::NodeId;
use crate::time::{Duration, Instant};

/// Most nodes of one job that are suspected or dead for it; further accusations are refused.
pub const NODES_MAX: usize = 1_000;

/// Who is suspected for a job, and who is dead for it.
///
/// Confirmations are many and verdicts few, so deadlines are not kept in order: an event costs one look-up, a verdict one
/// pass over the job's suspects.
#[derive(Clone, Debug, Default)]
pub struct JobSuspicions {
    nodes: BTreeMap<NodeId, Standing>,
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

#[derive(Clone, Debug)]
enum Standing {
    Suspected(Suspicion),
    Dead,
}

#[derive(Clone, Debug)]
struct Suspicion {
    window: Window,
    opened: Instant,
    accusers: SmallVec<[NodeId; CONFIRMATIONS + 1]>,
    /// Made with the first plea: most suspects never plead.
    extension: Option<Box<Extension>>,
}

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
        let room = self.nodes.len() < NODES_MAX;
        match self.nodes.get_mut(&node) {
            None if !room => Err(Refused::Full),
            None => {
                let accusers = SmallVec::from_slice(&[by]);
                let suspicion = Suspicion { window, opened: now, accusers, extension: None };
                self.ends_by(suspicion.deadline());
                self.nodes.insert(node, Standing::Suspected(suspicion));
                self.tally.opened += 1;
                Ok(Accused::Opened)
            }
            Some(Standing::Suspected(suspicion)) => {
                if !suspicion.confirm(by) {
                    return Ok(Accused::Known);
                }
                let deadline = suspicion.deadline();
                self.ends_by(deadline);
                Ok(Accused::Confirmed)
            }
            Some(Standing::Dead) => Ok(Accused::Known),
        }
    }

    /// The node made progress for the job.
    pub fn heard(&mut self, node: NodeId) -> Option<Ended> {
        let ended = self.end(node)?;
        self.tally.refuted += u64::from(ended == Ended::Suspicion);
        self.forget_next_of_none();
        Some(ended)
    }

    /// The machine is dead, or has nothing more to do with the job: whatever is held against it goes.
    pub fn forget(&mut self, node: NodeId) -> Option<Ended> {
        let ended = self.end(node)?;
        self.tally.cleared += u64::from(ended == Ended::Suspicion);
        self.forget_next_of_none();
        Some(ended)
    }

    /// Forgets all but these: the others are dead for everything, or have nothing more to do with the job.
    pub fn retain(&mut self, keep: impl Fn(NodeId, Status) -> bool) {
        let gone = self.nodes.iter().filter(|(node, standing)| !keep(**node, standing.status()));
        let gone: SmallVec<[NodeId; 4]> = gone.map(|(node, _)| *node).collect();
        for node in gone {
            self.forget(node);
        }
    }

    /// A suspected node asks for more time.
    ///
    /// # Errors
    ///
    /// Why it gets none.
    pub fn extend(&mut self, now: Instant, node: NodeId, plea: Plea) -> Result<Grant, Denial> {
        let Some(Standing::Suspected(suspicion)) = self.nodes.get_mut(&node) else {
            return Err(Denial::NotSuspected);
        };
        suspicion.extension.get_or_insert_default().plead(now, plea)
    }

    /// The next node whose time has run out: from now on it is dead for the job.
    pub fn expire(&mut self, now: Instant) -> Option<NodeId> {
        self.next.filter(|next| *next <= now)?;
        let deadline = |standing: &Standing| match standing {
            Standing::Suspected(suspicion) => Some(suspicion.deadline()),
            Standing::Dead => None,
        };
        let suspected = self.nodes.iter().filter_map(|(node, standing)| Some((deadline(standing)?, *node)));
        let first = suspected.min();
        self.next = first.map(|(deadline, _)| deadline);
        let (_, node) = first.filter(|(deadline, _)| *deadline <= now)?;
        self.nodes.insert(node, Standing::Dead);
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
        self.nodes.get(&node).map_or(Status::Trusted, Standing::status)
    }

    /// What became of all suspicions, and how many are open.
    pub fn tally(&self) -> (Tally, u64) {
        let Tally { opened, expired, refuted, cleared } = self.tally;
        (self.tally, opened - expired - refuted - cleared)
    }

    fn end(&mut self, node: NodeId) -> Option<Ended> {
        Some(match self.nodes.remove(&node)? {
            Standing::Suspected(_) => Ended::Suspicion,
            Standing::Dead => Ended::Death,
        })
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
    fn status(&self) -> Status {
        match self {
            Self::Suspected(suspicion) => Status::Suspected(suspicion.deadline()),
            Self::Dead => Status::Dead,
        }
    }
}

impl Suspicion {
    fn confirm(&mut self, by: NodeId) -> bool {
        let counts = self.accusers.len() <= self.window.needed() && !self.accusers.contains(&by);
        if counts {
            self.accusers.push(by);
        }
        counts
    }

    fn deadline(&self) -> Instant {
        self.opened + self.window.after(self.accusers.len() - 1) + self.granted()
    }

    fn granted(&self) -> Duration {
        self.extension.as_ref().map_or(Duration::ZERO, |extension| extension.total())
    }
}
