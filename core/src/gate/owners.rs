//! Who owns which job: reassignment after a lease has ended, and leaving in good order.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use super::command::{GateCommand, MAX_ASSIGNED};
use super::{About, Gate, Timer};
use crate::effect::{Effect, Effects, HaltReason};
use crate::id::{JobId, NodeId};
use crate::observe::Observation;
use crate::routing::rendezvous;
use crate::time::{Duration, Instant, Now};
use crate::wire::Message;

use super::dispatch::MAX_RECONCILED;

/// A gate that leaves.
#[derive(Clone, Copy, Debug)]
pub(super) struct Drain {
    /// When it stops waiting for others to take its jobs.
    deadline: Instant,
    /// Its jobs are in other hands; its lease is given up.
    released: bool,
}

impl Gate {
    /// As log leader: gives the jobs of gates without a lease to others. Level-triggered; a stale proposal of it does
    /// nothing, since the fences in it are judged when it is applied.
    pub(super) fn reassign(&mut self, now: Now, out: &mut Effects) {
        if !self.ledger.is_leader() || self.is_assigning() {
            return;
        }
        let holders: BTreeSet<NodeId> = self.ledger.holders().collect();
        let mut takers: BTreeSet<NodeId> = self.ledger.answering_holders(now.mono).collect();
        let state = self.ledger.state();
        let lost: Vec<NodeId> =
            state.by_owner.keys().copied().filter(|owner| !holders.contains(owner)).collect();
        if self.drain.is_some() && takers.len() > 1 {
            takers.remove(&self.me());
        }
        let is_ready = |gate: &NodeId| self.federation.readiness(*gate, &self.links).0;
        if takers.iter().any(is_ready) {
            takers.retain(is_ready);
        }
        let jobs = lost.iter().flat_map(|owner| &state.by_owner[owner]).copied().collect::<Vec<_>>();
        self.assign(now, &jobs, &takers, out);
    }

    /// A gate that is too loaded, or to which all datacenters are lost, lets others lead, and says so at once.
    pub(super) fn look_at_readiness(&mut self, now: Now, out: &mut Effects) {
        let (ready, _) = self.federation.readiness(self.me(), &self.links);
        if self.ledger.lead_last(!ready) {
            self.federation.tell_gates(now.mono, &self.links, out);
        }
    }

    fn is_assigning(&self) -> bool {
        self.proposals.values().any(|about| matches!(about, About::Assign))
    }

    /// Proposes new owners, a few entries at a time.
    fn assign(&mut self, now: Now, jobs: &[JobId], takers: &BTreeSet<NodeId>, out: &mut Effects) {
        const ENTRIES_A_STEP: usize = 8;
        for batch in jobs.chunks(MAX_ASSIGNED).take(ENTRIES_A_STEP) {
            let state = self.ledger.state();
            let new = |job: &JobId| {
                let record = state.jobs.get(job)?;
                Some((*job, record.row.gate_epoch.next(), rendezvous(*job, takers.iter().copied())?))
            };
            let jobs: Vec<_> = batch.iter().filter_map(new).collect();
            if jobs.is_empty()
                || self.propose(now, GateCommand::OwnerAssigned { jobs }, About::Assign, out).is_err()
            {
                return;
            }
        }
    }

    /// Takes no more work, and begins to hand over what there is.
    pub(super) fn begin_drain(&mut self, now: Now, out: &mut Effects) {
        if self.drain.is_none() {
            let deadline = now.mono + self.boot.config.timing.drain_timeout;
            self.drain = Some(Drain { deadline, released: false });
            self.wheel.arm(Timer::Drain, deadline);
            out.push(Effect::Observe(Observation::Draining));
        }
    }

    /// Goes on with leaving. Alone, the jobs stay in the log for the restart.
    pub(super) fn go_on_draining(&mut self, now: Now, out: &mut Effects) {
        let Some(Drain { deadline, released }) = self.drain else { return };
        let me = self.me();
        let others: BTreeSet<NodeId> = self.ledger.holders().filter(|node| *node != me).collect();
        let own: Vec<JobId> = self.ledger.state().by_owner.get(&me).into_iter().flatten().copied().collect();
        let late = now.mono >= deadline;
        if !own.is_empty() && !others.is_empty() && !late {
            if self.ledger.lease_holds(now) && !self.is_assigning() {
                self.assign(now, &own, &others, out);
            }
            return;
        }
        if !self.calls.is_empty() && !late {
            return;
        }
        if !released && !others.is_empty() {
            self.drain = Some(Drain { deadline, released: true });
            self.swim.leave(now, out);
            self.ledger.release_lease(now, &mut self.store, out);
        }
        let gone = !self.ledger.holders().any(|node| node == me);
        if others.is_empty() || gone || late {
            for (call, _) in core::mem::take(&mut self.streams) {
                out.push(Effect::Push { call, event: None });
            }
            self.leaving = true;
            self.store.after_stored(Effect::Halt(HaltReason::Drained), out);
        }
    }

    /// Compares with the datacenters what runs there, and again after the usual time.
    pub(super) fn reconcile_all(&mut self, now: Now, out: &mut Effects) {
        let period = self.boot.config.timing.reconcile;
        // Up to a tenth later, so that gates do not ask in step.
        let jitter = Duration::from_nanos(self.rng.below(period.as_nanos() / 10));
        self.wheel.arm(Timer::Reconcile, now.mono + period + jitter);
        let dcs: Vec<_> = self.federation.names().collect();
        for dc in dcs {
            if let Some(manager) = self.federation.managers(now.mono, dc, &self.links).first().copied() {
                self.reconcile_with(now, manager, out);
            }
        }
    }

    /// Asks a manager what its datacenter knows of the jobs that this gate owns and has given to it.
    pub(super) fn reconcile_with(&mut self, now: Now, manager: NodeId, out: &mut Effects) {
        let Some(dc) = self.federation.home(manager) else { return };
        if !self.ledger.lease_holds(now) {
            return;
        }
        let state = self.ledger.state();
        let concerns = |job: &JobId| {
            let row = &state.jobs.get(job)?.row;
            let target = row.target(dc)?;
            let asked = !row.status.is_final() && target.is_open();
            (asked || target.is_owed_a_stop()).then_some((*job, row.gate_epoch))
        };
        let own = state.by_owner.get(&self.me()).into_iter().flatten();
        let jobs: Vec<_> = own.filter_map(concerns).collect();
        for batch in jobs.chunks(MAX_RECONCILED) {
            let message = Message::Reconcile { jobs: batch.to_vec() };
            out.push(Effect::Send { to: manager, message: alloc::boxed::Box::new(message) });
        }
    }
}
