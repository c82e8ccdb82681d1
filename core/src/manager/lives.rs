//! Who lives and who does not: what membership says of managers and workers, and what follows from its silence; and who
//! is well among those who live.

use alloc::collections::BTreeMap;

use super::job::{ShardLive, ShardPhase};
use super::{Manager, Timer};
use crate::effect::Effects;
use crate::id::NodeId;
use crate::observe::Observation;
use crate::swim::MemberStatus;
use crate::time::{Duration, Now};

/// So long is measured how the runs of a worker get on.
const PACE_INTERVAL: Duration = Duration::from_secs(10);

impl Manager {
    /// Once this process has looked for long enough: workers that run something by the log, and of which it never heard.
    pub(super) fn lose_unheard(&mut self, now: Now, out: &mut Effects) {
        if self.unheard_are_lost || !self.pool.gives_up_unheard(now, &self.config.timing) {
            return;
        }
        self.unheard_are_lost = true;
        let workers = self.promised();
        for worker in workers.into_keys().filter(|worker| self.pool.is_unheard(*worker)) {
            self.observe(Observation::WorkerLost(worker), out);
        }
    }

    pub(super) fn heed_membership(&mut self, now: Now, out: &mut Effects) {
        for (node, status) in self.swim.changes() {
            if self.is_manager(node) {
                self.ledger.peer_alive(node, status == MemberStatus::Alive);
                continue;
            }
            if self.pool.set_status(node, status) {
                self.worker_flips(now, node, out);
            }
            self.cores_wanted = true;
            self.capacity_news = true;
            if matches!(status, MemberStatus::Dead | MemberStatus::Left) {
                self.observe(Observation::WorkerLost(node), out);
                self.hurry(node);
            }
        }
    }

    /// A worker that can be reached has left a request without an answer.
    pub(super) fn worker_left_it(&mut self, now: Now, worker: NodeId, out: &mut Effects) {
        let Some(since) = self.pool.unanswered(now, worker) else { return };
        self.observe(Observation::CircuitOpened(worker), out);
        let for_ms = since.as_wire_millis();
        self.observe(Observation::WorkerUnhealthy { worker, for_ms }, out);
        if for_ms == 0 {
            self.worker_flips(now, worker, out);
        }
        self.capacity_changed();
        self.look_at_crowds(now, out);
    }

    /// A worker has answered a request.
    pub(super) fn worker_answered(&mut self, worker: NodeId, out: &mut Effects) {
        if self.pool.answered(worker) {
            self.observe(Observation::CircuitClosed(worker), out);
            self.capacity_changed();
        }
    }

    /// A worker stopped being fit for work.
    pub(super) fn worker_flips(&mut self, now: Now, worker: NodeId, out: &mut Effects) {
        if let Some(hold) = self.pool.flips(now, worker) {
            self.observe(Observation::WorkerHeld { worker, for_ms: hold.as_wire_millis() }, out);
        }
    }

    /// At the end of an interval: how did the runs of each worker get on?
    pub(super) fn look_at_paces(&mut self, now: Now, out: &mut Effects) {
        self.wheel
            .arm(Timer::Pace, now.mono + PACE_INTERVAL.max(self.config.timing.progress_flush.scale(4, 1)));
        let (me, pool) = (self.config.node, &self.pool);
        let mut told: BTreeMap<NodeId, (Duration, Duration)> = BTreeMap::new();
        for record in self.ledger.state_mut().jobs.values_mut().filter(|record| record.facts.owner == me) {
            for shard in record.workflows.iter_mut().flat_map(|known| known.shards.values_mut()) {
                let worker = shard.facts.worker;
                let is_watched = shard.facts.phase == ShardPhase::Running && shard.live.heard.is_some();
                if let Some((done, due)) = shard.live.paced(now, is_watched && pool.is_reachable(worker)) {
                    let sum = told.entry(worker).or_default();
                    *sum = (sum.0 + done, sum.1 + due);
                }
            }
        }
        let changes = self.pool.paced(&told);
        if !changes.is_empty() {
            self.capacity_changed();
            for (worker, pace) in changes {
                self.observe(Observation::WorkerPace { worker, pace }, out);
            }
            self.look_at_crowds(now, out);
        }
    }
}

impl ShardLive {
    /// How much its worker has told of it since the last time, of how much time; `None` where it was not under way for
    /// all of that.
    fn paced(&mut self, now: Now, is_watched: bool) -> Option<(Duration, Duration)> {
        let told_ms = self.totals.as_ref().map_or(0, |totals| totals.elapsed_ms);
        let mark = is_watched.then_some((now.mono, told_ms));
        let (since, before_ms) = core::mem::replace(&mut self.pace_mark, mark).filter(|_| is_watched)?;
        let due = now.mono.since(since);
        Some((Duration::from_millis(told_ms.saturating_sub(before_ms).into()).min(due), due))
    }
}
