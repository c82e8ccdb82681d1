//! Who owns which job: reassignment by the log leader, and leaving.
//!
//! A job whose owner's lease has ended gets another owner by rendezvous hashing over those that hold one: every leader
//! computes the same, and the jobs of a lost manager spread evenly.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::command::Command;
use super::job::Duty;
use super::{Asked, Manager, Timer};
use crate::effect::{Effect, Effects, HaltReason};
use crate::id::{DcEpoch, JobId, NodeId};
use crate::observe::Observation;
use crate::routing::rendezvous;
use crate::time::{Instant, Now};

/// How far a leaving manager is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Draining {
    /// It hands its jobs over, until then at the latest.
    Handing(Instant),
    /// It has ended its lease and waits for that to be in the log, until then at the latest.
    Releasing(Instant),
}

impl Manager {
    /// The other managers whose lease has not ended.
    pub(super) fn other_holders(&self) -> impl Iterator<Item = NodeId> {
        let me = self.config.node;
        self.ledger.holders().filter(move |node| *node != me)
    }

    /// As leader: gives the jobs of managers without a lease to others.
    pub(super) fn reassign(&mut self, now: Now, out: &mut Effects) {
        if !self.ledger.is_leader() {
            return;
        }
        let holders: Vec<NodeId> = self.ledger.holders().collect();
        let takers: Vec<NodeId> = self.ledger.answering_holders(now.mono).collect();
        self.hand_over(now, |owner| !holders.contains(&owner), &takers, out);
    }

    /// Gives the jobs of some owners to others.
    fn hand_over(&mut self, now: Now, of: impl Fn(NodeId) -> bool, to: &[NodeId], out: &mut Effects) {
        let mut moves: BTreeMap<NodeId, Vec<(JobId, DcEpoch)>> = BTreeMap::new();
        for (job, record) in &self.ledger.state().jobs {
            if of(record.facts.owner)
                && !record.is_proposed(Duty::Owner)
                && let Some(owner) = rendezvous(*job, to.iter().copied())
            {
                moves.entry(owner).or_default().push((*job, record.facts.dc_epoch.next()));
            }
        }
        for (owner, jobs) in moves {
            for part in jobs.chunks(Command::MAX_JOBS) {
                let command = Command::OwnerAssigned { jobs: part.to_vec(), owner };
                let names: Vec<JobId> = part.iter().map(|(job, _)| *job).collect();
                if self.propose(now, Asked::Owners(names), command, out).is_err() {
                    return;
                }
            }
        }
    }

    /// The operator asks the node to leave.
    pub(super) fn drain(&mut self, now: Now, out: &mut Effects) {
        if self.draining.is_some() {
            return;
        }
        self.draining = Some(Draining::Handing(now.mono + self.config.timing.drain_timeout));
        self.observe(Observation::Draining, out);
        self.heartbeat_all(now, out);
        self.go_on_draining(now, out);
    }

    /// Hands jobs over, then ends the lease, then ends. Where nobody can take the jobs they stay in the log for the
    /// restart.
    pub(super) fn go_on_draining(&mut self, now: Now, out: &mut Effects) {
        let me = self.config.node;
        let owned = self.ledger.state().jobs.values().filter(|record| record.facts.owner == me).count();
        match self.draining {
            None => return,
            Some(Draining::Handing(until)) => {
                let others: Vec<NodeId> = self.other_holders().collect();
                if owned > 0 && !others.is_empty() && now.mono < until {
                    self.hand_over(now, |owner| owner == me, &others, out);
                } else {
                    let until = now.mono + self.config.timing.request_timeout;
                    self.draining = Some(Draining::Releasing(until));
                    self.ledger.release_lease(now, &mut self.store, out);
                    self.swim.leave(now, out);
                }
            }
            Some(Draining::Releasing(until)) => {
                let held = self.ledger.holders().any(|node| node == me);
                if !held || now.mono >= until {
                    self.halted = true;
                    out.push(Effect::Halt(HaltReason::Drained));
                    return;
                }
            }
        }
        let next = now.mono + self.config.timing.log_tick;
        self.wheel.arm(Timer::Drain, next);
    }
}
