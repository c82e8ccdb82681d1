//! No shard runs under two valid attempts.
//!
//! - One (shard, attempt) is started at most once in the whole world, on one worker.
//! - Two attempts of a shard never run at the same time on one worker; on two workers only if the older one's worker
//!   was declared lost by a manager after it had been given the run, or the older one was already asked to stop
//!   (`jobs-routing-stats` 23, `INV-EXEC-2`). A worker that is cut off cannot be asked, so the overlap is the price of
//!   going on; one that is in reach must be asked first.
//!
//! A double execution is load that nobody asked for, at a target that may belong to somebody else.

use std::collections::{BTreeMap, BTreeSet};

use tidegate_core::id::{Attempt, NodeId, RunId, ShardKey};
use tidegate_core::observe::Observation;
use tidegate_core::swim::MemberStatus;

use crate::world::{Fact, HostIx, Interest, Scene, Spectator, Time};

#[derive(Clone, Copy, Debug)]
struct Running {
    host: HostIx,
    given_at: Time,
}

/// See the module.
#[derive(Default)]
pub(super) struct Starts {
    tested: u64,
    asked: BTreeMap<RunId, (HostIx, Time)>,
    /// Since when a manager's log gives a run to its worker, which may sleep until long after.
    reserved: BTreeMap<RunId, Time>,
    begun: BTreeSet<RunId>,
    running: BTreeMap<ShardKey, BTreeMap<Attempt, Running>>,
    lost: BTreeMap<NodeId, Time>,
}

impl Starts {
    fn asked(&mut self, scene: &Scene, host: HostIx, run: RunId) -> Result<(), String> {
        match self.asked.insert(run, (host, scene.now)) {
            None => Ok(()),
            Some((before, at)) => Err(format!(
                "{run:?} was started by {} at {} ms and again by {}",
                scene.name(before),
                at / 1_000_000,
                scene.name(host)
            )),
        }
    }

    fn begun(&mut self, scene: &Scene, host: HostIx, run: RunId) -> Result<(), String> {
        if !self.begun.insert(run) {
            return Err(format!("{run:?} began twice"));
        }
        let asked_at = self.asked.get(&run).map_or(scene.now, |(_, at)| *at);
        let given_at = self.reserved.get(&run).copied().unwrap_or(asked_at);
        let attempts = self.running.entry(run.shard).or_default();
        attempts.insert(run.attempt, Running { host, given_at });
        let newest = *attempts.keys().next_back().unwrap_or(&run.attempt);
        for (&attempt, older) in attempts.range(..newest) {
            self.tested += 1;
            let newer = attempts[&newest];
            if older.host == newer.host {
                return Err(format!(
                    "{} runs attempts {attempt} and {newest} of {:?}",
                    scene.name(host),
                    run.shard
                ));
            }
            let lost = self.lost.get(&scene.hosts[older.host].node);
            if lost.is_none_or(|&at| at < older.given_at) {
                return Err(format!(
                    "attempt {newest} of {:?} runs on {} while attempt {attempt} runs on {}, which nobody had declared lost",
                    run.shard,
                    scene.name(newer.host),
                    scene.name(older.host)
                ));
            }
        }
        Ok(())
    }
}

impl Spectator for Starts {
    fn name(&self) -> &'static str {
        "no shard under two attempts"
    }

    fn tested(&self) -> u64 {
        self.tested
    }

    fn interest(&self) -> Interest {
        Interest::RUNS.and(Interest::OBSERVATIONS)
    }

    fn see(&mut self, scene: &Scene, fact: &Fact<'_>) -> Result<(), String> {
        match fact {
            Fact::RunAsked { host, run, .. } => self.asked(scene, *host, *run),
            Fact::RunBegan { host, run } => self.begun(scene, *host, *run),
            Fact::RunOver { run, .. } => {
                if let Some(attempts) = self.running.get_mut(&run.shard) {
                    attempts.remove(&run.attempt);
                }
                Ok(())
            }
            Fact::Observed { host, observation } => {
                match **observation {
                    Observation::ShardReserved { job, workflow, shard, attempt, .. } => {
                        let shard = ShardKey { job, workflow, dc: scene.hosts[*host].dc, shard };
                        self.reserved.entry(RunId { shard, attempt }).or_insert(scene.now);
                    }
                    Observation::WorkerLost(node)
                    | Observation::Member { node, status: MemberStatus::Dead | MemberStatus::Left } => {
                        self.lost.insert(node, scene.now);
                    }
                    _ => {}
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}
