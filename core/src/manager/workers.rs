//! The workers of the datacenter, as this manager sees them.
//!
//! Every manager tracks all workers: registration and heartbeats come over their connections, life and death from
//! SWIM. A worker is *available* for new shards when all of these agree; it is *gone*, so that its shards are lost,
//! only when SWIM says so or when it was never heard of for longer than it would run on its own.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::alerts::Counts;
use super::place::Seat;
use crate::config::Timing;
use crate::guard::{Breakers, Condition, Flaps, Pace, Patience};
use crate::id::{BootNo, DiskId, NodeId};
use crate::jobs::ExecutorKind;
use crate::swim::MemberStatus;
use crate::time::{Duration, Instant, Now};
use crate::wire::Capacity;

/// What a registered worker offers, and its newest heartbeat.
#[derive(Clone, Debug)]
pub struct Worker {
    /// Its process.
    pub boot: BootNo,
    /// The disk on which its starts are counted.
    disk: DiskId,
    /// Cores to allocate.
    pub cores: u16,
    /// Executors it may run.
    pub executors: Vec<ExecutorKind>,
    /// Newest heartbeat of this boot.
    version: u64,
    /// Cores without a reservation, as it says.
    free_cores: u16,
    /// Takes no new reservations.
    draining: bool,
    /// How loaded it is, as it says.
    condition: Condition,
    /// It has registered on the connection that is up now.
    registered: bool,
    /// When it was heard last.
    heard: Instant,
    /// How often it stopped being fit for work.
    flaps: Flaps,
    /// How the runs get on that it has from this manager.
    pace: Pace,
}

impl Worker {
    /// It as a place for shards, with so many cores to give, and standing so.
    fn seat(&self, node: NodeId, free: u16, standing: Condition) -> Seat {
        Seat {
            worker: node,
            boot: self.boot,
            free,
            total: self.cores,
            condition: standing,
            executors: self.executors.clone(),
        }
    }
}

/// What a worker says of itself.
#[derive(Clone, Copy, Debug)]
pub struct Heartbeat {
    /// Its process.
    pub boot: BootNo,
    /// Grows with each.
    pub version: u64,
    /// Cores without a reservation.
    pub free_cores: u16,
    /// Takes no new reservations.
    pub draining: bool,
    /// How loaded it is.
    pub condition: Condition,
}

/// What a registration was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Registered {
    /// The process is known.
    Again,
    /// A process that was not known; an earlier one, if there was one, is over.
    New,
    /// A process on a disk that was not known there: an empty one, after which starts are counted anew.
    NewDisk,
    /// Of the process that is known, and older than what it has said since.
    Old,
    /// A process that is over.
    Stale,
}

/// All workers. An entry for each that registered; at most [`Pool::MAX_WORKERS`].
#[derive(Clone, Debug)]
pub struct Pool {
    workers: BTreeMap<NodeId, Worker>,
    statuses: BTreeMap<NodeId, MemberStatus>,
    /// When this process began to look.
    since: Instant,
    /// When a process registered last that was not known.
    new_at: Instant,
    /// Workers that leave requests without an answer.
    circuits: Breakers,
}

impl Default for Pool {
    fn default() -> Self {
        Self {
            workers: BTreeMap::new(),
            statuses: BTreeMap::new(),
            since: Instant::ZERO,
            new_at: Instant::ZERO,
            circuits: Breakers::new(Patience::WITH_WORKERS),
        }
    }
}

impl Pool {
    /// Most workers of a datacenter; more are refused.
    pub const MAX_WORKERS: usize = 10_000;

    /// This process begins to look at workers.
    pub fn start(&mut self, now: Now) {
        self.since = now.mono;
        self.new_at = now.mono;
    }

    /// A worker registers. `None` where there is no room.
    pub fn register(
        &mut self,
        now: Now,
        node: NodeId,
        (disk, boot, version): (DiskId, BootNo, u64),
        cores: u16,
        executors: Vec<ExecutorKind>,
    ) -> Option<Registered> {
        let known = self.workers.get(&node);
        if known.is_none() && self.workers.len() >= Self::MAX_WORKERS {
            return None;
        }
        let has_new_disk = known.is_some_and(|worker| worker.disk != disk);
        let known = known.filter(|_| !has_new_disk);
        if known.is_some_and(|worker| worker.boot > boot) {
            return Some(Registered::Stale);
        }
        let again = known.filter(|worker| worker.boot == boot);
        if again.is_some_and(|worker| worker.version >= version) {
            return Some(Registered::Old);
        }
        let (free_cores, draining, condition) = again
            .map_or((cores, false, Condition::default()), |worker| {
                (worker.free_cores, worker.draining, worker.condition)
            });
        let is_again = again.is_some();
        // A new process is as restless as the one before it.
        let flaps = self.workers.get(&node).map(|worker| worker.flaps.clone()).unwrap_or_default();
        let worker = Worker {
            boot,
            disk,
            cores,
            executors,
            version,
            free_cores: free_cores.min(cores),
            draining,
            condition,
            registered: true,
            heard: now.mono,
            flaps,
            pace: Pace::default(),
        };
        self.workers.insert(node, worker);
        if is_again {
            return Some(Registered::Again);
        }
        self.new_at = now.mono;
        Some(if has_new_disk { Registered::NewDisk } else { Registered::New })
    }

    /// Takes a heartbeat in and gives how loaded the worker was before it; `None` where it is old, of another boot, or
    /// of a worker that has not registered.
    pub fn heartbeat(&mut self, now: Now, node: NodeId, heartbeat: Heartbeat) -> Option<Condition> {
        let Heartbeat { boot, version, free_cores, draining, condition } = heartbeat;
        let newer = |worker: &&mut Worker| worker.boot == boot && worker.version < version;
        let worker = self.workers.get_mut(&node).filter(newer)?;
        worker.version = version;
        worker.free_cores = free_cores.min(worker.cores);
        worker.draining = draining;
        worker.heard = now.mono;
        Some(core::mem::replace(&mut worker.condition, condition))
    }

    /// The connection to a worker is gone.
    pub fn disconnected(&mut self, node: NodeId) {
        if let Some(worker) = self.workers.get_mut(&node) {
            worker.registered = false;
        }
        self.circuits.forget(node);
    }

    /// What SWIM believes of a worker. Tells whether it was believed to be well before, and is not any more.
    pub fn set_status(&mut self, node: NodeId, status: MemberStatus) -> bool {
        let before = self.statuses.insert(node, status);
        let is_well = |status| !matches!(status, Some(MemberStatus::Suspect | MemberStatus::Dead));
        is_well(before) && !is_well(Some(status))
    }

    /// A worker stopped being fit for work. Tells for how long it gets work last, where that is too often.
    pub fn flips(&mut self, now: Now, node: NodeId) -> Option<Duration> {
        self.workers.get_mut(&node)?.flaps.flip(now.mono)
    }

    /// A worker that can be reached has left a request without an answer. Where that is too often it gets no work for a
    /// while; tells for how long it has been so.
    pub fn unanswered(&mut self, now: Now, node: NodeId) -> Option<Duration> {
        let opens = self.circuits.failed(now.mono, node);
        self.circuits.failing_since(node).filter(|_| opens).map(|since| now.mono.since(since))
    }

    /// A worker has answered a request. Tells whether it is well again by that.
    pub fn answered(&mut self, node: NodeId) -> bool {
        self.circuits.answered(node)
    }

    /// A worker gets shards. Tells whether that is a trial, beside which it gets nothing.
    pub fn given(&mut self, now: Now, node: NodeId) -> bool {
        self.circuits.sent(now.mono, node)
    }

    /// How the runs of each worker got on in an interval: what they told of, of what passed. Tells where that has changed.
    pub fn paced(&mut self, told: &BTreeMap<NodeId, (Duration, Duration)>) -> Vec<(NodeId, Pace)> {
        let mut changes = Vec::new();
        for (node, worker) in &mut self.workers {
            let (done, due) = told.get(node).copied().unwrap_or_default();
            let pace = worker.pace.after(done, due);
            if core::mem::replace(&mut worker.pace, pace) != pace {
                changes.push((*node, pace));
            }
        }
        changes
    }

    /// A registered worker has said something.
    pub fn heard(&mut self, now: Now, node: NodeId) {
        if let Some(worker) = self.workers.get_mut(&node) {
            worker.heard = now.mono;
        }
    }

    /// How a worker stands: the worst of its load as it says, of what it leaves unanswered, of how its runs get on and of
    /// how restless it is.
    fn standing(&self, now: Now, node: NodeId, worker: &Worker) -> Condition {
        let silent =
            if self.circuits.allows(now.mono, node) { Condition::Healthy } else { Condition::Overloaded };
        let restless = if worker.flaps.holds(now.mono) { Condition::Stressed } else { Condition::Healthy };
        worker.condition.max(silent).max(restless).max(worker.pace.as_condition())
    }

    /// A worker as a place for shards, with so many cores to give.
    pub fn seat(&self, now: Now, node: NodeId, worker: &Worker, free: u16) -> Seat {
        worker.seat(node, free, self.standing(now, node, worker))
    }

    /// SWIM forgets workers that were dead for long: so does the pool. A worker that SWIM never knew is remembered for as
    /// long as it may still run what it was given.
    pub fn forget_all_but(&mut self, now: Now, timing: &Timing, known: impl Fn(NodeId) -> bool) {
        self.statuses.retain(|node, _| known(*node));
        let statuses = &self.statuses;
        let may_run = |worker: &Worker| now.mono.since(worker.heard) < Self::benefit(timing);
        self.workers
            .retain(|node, worker| worker.registered || statuses.contains_key(node) || may_run(worker));
    }

    /// How long no new worker process has come.
    pub fn settled_for(&self, now: Now) -> Duration {
        now.mono.since(self.new_at)
    }

    /// The registered workers, by id.
    pub fn iter(&self) -> impl Iterator<Item = (NodeId, &Worker)> {
        self.workers.iter().map(|(node, worker)| (*node, worker))
    }

    /// Whether requests can reach the worker's registered process.
    pub fn is_reachable(&self, node: NodeId) -> bool {
        self.workers.get(&node).is_some_and(|worker| worker.registered)
    }

    /// Whether the worker's process went for good, by its own word.
    pub fn has_left(&self, node: NodeId) -> bool {
        self.statuses.get(&node) == Some(&MemberStatus::Left)
    }

    /// Whether the worker may get new shards.
    pub fn is_available(&self, now: Now, timing: &Timing, node: NodeId) -> bool {
        self.workers.get(&node).is_some_and(|worker| {
            self.standing(now, node, worker) < Condition::Overloaded && self.works(now, timing, node, worker)
        })
    }

    /// Whether the worker is well, however loaded.
    fn works(&self, now: Now, timing: &Timing, node: NodeId, worker: &Worker) -> bool {
        let fresh = timing.worker_heartbeat.scale(5, 1);
        let alive = !matches!(
            self.statuses.get(&node),
            Some(MemberStatus::Suspect | MemberStatus::Dead | MemberStatus::Left)
        );
        alive && worker.registered && !worker.draining && now.mono.since(worker.heard) <= fresh
    }

    /// How many workers that are alive and connected stand how.
    pub fn conditions(&self, now: Now, timing: &Timing) -> Counts {
        let mut counts = Counts::default();
        for (node, worker) in &self.workers {
            counts[self.standing(now, *node, worker) as usize] +=
                u32::from(self.works(now, timing, *node, worker));
        }
        counts
    }

    /// How long a worker that this process never heard of counts as possibly running: longer than it runs without an
    /// owner, whatever its clock's rate.
    fn benefit(timing: &Timing) -> Duration {
        timing.orphan_grace.scale(3, 2)
    }

    /// Whether what was given to the worker is lost: it is dead, has left, or was never heard of for long enough.
    pub fn is_gone(&self, now: Now, timing: &Timing, node: NodeId) -> bool {
        match self.statuses.get(&node) {
            Some(MemberStatus::Dead | MemberStatus::Left) => true,
            Some(MemberStatus::Alive | MemberStatus::Suspect) => false,
            Some(MemberStatus::Unconfirmed) | None => {
                self.is_unheard(node) && self.gives_up_unheard(now, timing)
            }
        }
    }

    /// Whether nothing was ever heard of the worker.
    pub fn is_unheard(&self, node: NodeId) -> bool {
        let unknown = matches!(self.statuses.get(&node), None | Some(MemberStatus::Unconfirmed));
        unknown && !self.workers.contains_key(&node)
    }

    /// Whether this process has looked for so long that what it never heard of runs nothing any more.
    pub fn gives_up_unheard(&self, now: Now, timing: &Timing) -> bool {
        now.mono.since(self.since) >= Self::benefit(timing)
    }

    /// When [`Pool::is_gone`] may become true of a worker that nothing is known of.
    pub fn gone_at(&self, timing: &Timing, node: NodeId) -> Option<Instant> {
        self.is_unheard(node).then(|| self.since + Self::benefit(timing))
    }

    /// Cores of a worker that may be given away: what it says is free, and what the log leaves of it.
    pub fn free_cores(&self, node: NodeId, promised: u32) -> u16 {
        self.workers.get(&node).map_or(0, |worker| {
            let left = u32::from(worker.cores).saturating_sub(promised);
            worker.free_cores.min(u16::try_from(left).unwrap_or(u16::MAX))
        })
    }

    /// All cores of the workers that are alive and connected. Those of one that gets no work are not free.
    pub fn capacity(&self, now: Now, timing: &Timing, promised: &BTreeMap<NodeId, u32>) -> Capacity {
        let mut sum = Capacity::default();
        for (node, worker) in &self.workers {
            if self.works(now, timing, *node, worker) {
                let promised = promised.get(node).copied().unwrap_or(0);
                sum.total_cores += u32::from(worker.cores);
                sum.workers += 1;
                if self.standing(now, *node, worker) < Condition::Overloaded {
                    sum.free_cores += u32::from(self.free_cores(*node, promised));
                }
            }
        }
        sum
    }
}
