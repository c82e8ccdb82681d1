//! The managers of the datacenter: registration, heartbeats, and the silence of all of them.

use alloc::vec::Vec;

use super::{Timer, Worker, ignore, send};
use crate::effect::{Effect, Effects};
use crate::fault::Fault;
use crate::guard::Condition;
use crate::id::{BootNo, NodeId};
use crate::observe::{Observation, Stale};
use crate::time::{Duration, Instant, Now};
use crate::wire::{Dialect, HeldShard, Message};

/// A manager that is told of runs all the time needs no heartbeat to know that this worker lives, and one in so many all
/// the same, since they say what is held.
const BEATS_AMONG_REPORTS: u64 = 6;

/// Heartbeats on a change of free cores are at least this far apart: a gang of reservations is one change.
const HEARTBEAT_GAP: Duration = Duration::from_millis(100);

/// What the worker knows of a configured manager.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Manager {
    /// It has accepted this process on the present connection.
    registered: bool,
    /// When it was last heard.
    heard: Option<Instant>,
    /// When it was last told of a run.
    told: Instant,
    /// When it last had a heartbeat.
    beat: Instant,
}

/// What the managers were last told.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Heartbeat {
    version: u64,
    at: Instant,
    free_cores: u16,
    draining: bool,
    condition: Condition,
}

impl Worker {
    pub(super) fn start_node(&mut self, now: Now, out: &mut Effects) {
        self.swim.start(now, out);
        self.timers.arm(Timer::Heartbeat, now.mono + self.config.timing.worker_heartbeat);
        self.heartbeat.free_cores = self.free_cores();
        let restored: Vec<_> = self.jobs.keys().copied().collect();
        restored.into_iter().for_each(|job| self.tend(now, job, out));
    }

    /// Notes that a manager was heard. False for a peer that is none of this datacenter's.
    pub(super) fn heard(&mut self, now: Now, peer: NodeId) -> bool {
        let Some(manager) = self.managers.get_mut(&peer) else { return false };
        manager.heard = Some(now.mono - now.waited);
        true
    }

    /// When a manager was last heard; the start of this process where it never was.
    pub(super) fn last_heard(&self, manager: NodeId) -> Instant {
        self.managers.get(&manager).and_then(|manager| manager.heard).unwrap_or(Instant::ZERO)
    }

    pub(super) fn connected(&mut self, now: Now, peer: NodeId, how: (BootNo, Dialect), out: &mut Effects) {
        if !self.heard(now, peer) {
            return ignore(Stale::Sender, out);
        }
        self.links.connected(now, peer, how, out);
        self.register(now, peer, out);
        let jobs: Vec<_> =
            self.jobs.iter().filter(|(_, job)| job.owner == peer).map(|(job, _)| *job).collect();
        jobs.into_iter().for_each(|job| self.resend_results(now, job, out));
    }

    pub(super) fn disconnected(&mut self, peer: NodeId, out: &mut Effects) {
        if !self.links.disconnected(peer) {
            return ignore(Stale::Unknown, out);
        }
        self.timers.disarm(Timer::Register(peer));
        if let Some(manager) = self.managers.get_mut(&peer) {
            manager.registered = false;
        }
    }

    /// Asks a connected manager to take this worker, and again when it does not answer.
    pub(super) fn register(&mut self, now: Now, manager: NodeId, out: &mut Effects) {
        let Some(process) = self.links.boot(manager) else { return };
        if let Some(known) = self.managers.get_mut(&manager) {
            known.registered = false;
        }
        self.heartbeat.version += 1;
        self.timers.arm(Timer::Register(manager), now.mono + self.config.timing.request_timeout);
        let message = Message::RegisterWorker {
            boot: self.boot,
            cores: self.config.offer.cores,
            executors: self.config.offer.executors.clone(),
            held: self.held(),
            version: self.heartbeat.version,
            manager: process,
            disk: self.disk,
        };
        out.push(send(manager, message));
    }

    pub(super) fn registered(
        &mut self,
        now: Now,
        peer: NodeId,
        boot: BootNo,
        accepted: Result<(), Fault>,
        out: &mut Effects,
    ) {
        if boot != self.boot || self.timers.deadline(Timer::Register(peer)).is_none() {
            return ignore(Stale::Duplicate, out);
        }
        if let Err(fault) = accepted {
            // The timer repeats it; the manager's own wish is respected where it is longer.
            let wait =
                Duration::from_millis(fault.retry_after_ms.into()).max(self.config.timing.request_timeout);
            self.timers.arm(Timer::Register(peer), now.mono + wait);
            return out.push(Effect::Observe(Observation::Refused(fault.code)));
        }
        self.timers.disarm(Timer::Register(peer));
        if let Some(manager) = self.managers.get_mut(&peer) {
            manager.registered = true;
        }
        if !self.active {
            self.active = true;
            out.push(Effect::Observe(Observation::Active));
            self.timers.arm(Timer::Isolation, now.mono + self.config.timing.orphan_grace);
        }
        // It knows what is held since the registration; the version lets it order what follows.
        self.heartbeat.version += 1;
        let message = self.heartbeat_message(peer);
        out.push(send(peer, message));
    }

    /// The periodic heartbeat to every manager that has accepted this process: without news only where nothing else was
    /// said for as long, and where the last one was long ago.
    pub(super) fn send_heartbeat(&mut self, now: Now, out: &mut Effects) {
        let period = self.config.timing.worker_heartbeat;
        self.timers.arm(Timer::Heartbeat, now.mono + period);
        let is_told = self.is_told();
        self.heartbeat = Heartbeat {
            version: self.heartbeat.version + 1,
            at: now.mono,
            free_cores: self.free_cores(),
            draining: self.drain.is_some(),
            condition: self.links.condition(),
        };
        let due = |manager: &Manager| {
            let since = |at| now.mono.since(at);
            let knows = is_told && since(manager.told) < period;
            manager.registered && !(knows && since(manager.beat) < period.scale(BEATS_AMONG_REPORTS, 1))
        };
        let due: Vec<NodeId> =
            self.managers.iter().filter(|(_, manager)| due(manager)).map(|(node, _)| *node).collect();
        for node in due {
            if let Some(manager) = self.managers.get_mut(&node) {
                manager.beat = now.mono;
            }
            out.push(send(node, self.heartbeat_message(node)));
        }
    }

    /// A manager is told of a run: it knows by that that this worker lives.
    pub(super) fn told(&mut self, now: Now, manager: NodeId) {
        if let Some(manager) = self.managers.get_mut(&manager) {
            manager.told = now.mono;
        }
    }

    /// Whether the managers know all but what is held.
    fn is_told(&self) -> bool {
        let Heartbeat { free_cores, draining, condition, .. } = self.heartbeat;
        (free_cores, draining, condition) == (self.free_cores(), self.drain.is_some(), self.links.condition())
    }

    /// At the end of a step: managers hear of a change without waiting for the next heartbeat.
    pub(super) fn announce_changes(&mut self, now: Now, out: &mut Effects) {
        let next = self.timers.deadline(Timer::Heartbeat);
        if self.is_told() || next.is_none() {
            return;
        }
        let earliest = self.heartbeat.at + HEARTBEAT_GAP;
        if earliest <= now.mono {
            self.send_heartbeat(now, out);
        } else if next.is_some_and(|next| next > earliest) {
            self.timers.arm(Timer::Heartbeat, earliest);
        }
    }

    fn heartbeat_message(&self, to: NodeId) -> Message {
        Message::WorkerHeartbeat {
            boot: self.boot,
            version: self.heartbeat.version,
            free_cores: self.free_cores(),
            draining: self.drain.is_some(),
            held: self.held(),
            condition: self.links.condition_for(to),
        }
    }

    fn held(&self) -> Vec<HeldShard> {
        self.jobs.iter().flat_map(|(job, record)| record.held(|place| self.shard_key(*job, place))).collect()
    }

    /// Whether any manager was heard lately. If not, no reservation is taken until one accepts this worker again.
    pub(super) fn check_isolation(&mut self, now: Now, out: &mut Effects) {
        let heard = self.managers.keys().map(|&manager| self.last_heard(manager)).max();
        let deadline = heard.unwrap_or(Instant::ZERO) + self.config.timing.orphan_grace;
        if deadline > now.mono {
            return self.timers.arm(Timer::Isolation, deadline);
        }
        self.active = false;
        out.push(Effect::Observe(Observation::Isolated));
        let connected: Vec<_> = self.links.peers().collect();
        connected.into_iter().for_each(|manager| self.register(now, manager, out));
    }
}
