//! What is lost is given up, and what nobody owns comes to an end.
//!
//! - An execution that died with its worker is given up by the managers, done, or its job ends there: within a bound,
//!   from the healing on, where a quorum of the managers works. A manager process that never heard of the worker (it
//!   began later, or was cut off until then) gives its runs up only when they must have ended by themselves.
//! - A run whose owner is gone for too long (`Orphaned`) ends by itself: within the grace of a stop.
//! - So does a run of a job that the managers have forgotten, and one that has reached its limit.
//! - A result ends the attempt that it is of: at no manager that knows of a higher one.
//!
//! Load that nobody waits for, and a job that waits for a load that is gone, are what a user sees of a lost timer.

use std::collections::{BTreeMap, BTreeSet};

use tidegate_core::id::{Attempt, DcId, JobId, NodeId, Role, RunId, ShardKey};
use tidegate_core::observe::{Observation, RunKey};
use tidegate_core::wire::Message;

use crate::world::{Fact, HostIx, Interest, Scene, Spectator, Time};

const S: Time = 1_000_000_000;
/// A dead worker is noticed, and its runs are given up, within this time.
const NOTICED: Time = 45 * S;
/// Whatever a stop takes beyond its grace: late timers, a slow clock, a disk.
const STOPPED: Time = 10 * S;

/// See the module.
#[derive(Default)]
pub(super) struct Losses {
    tested: u64,
    /// When runs died, and their workers.
    died: BTreeMap<RunId, (Time, NodeId)>,
    /// The highest attempt that is done or given up.
    settled: BTreeMap<ShardKey, Attempt>,
    orphans: BTreeMap<(HostIx, RunKey), Time>,
    /// By when a run must be over at the latest, where nothing is wrong with its worker.
    limits: BTreeMap<RunId, Time>,
    /// Until when something is wrong with a host, before the healing.
    ill_until: BTreeMap<HostIx, Time>,
    /// Jobs that a worker was told to forget.
    forgotten: BTreeMap<(HostIx, JobId), Time>,
    /// The highest attempt that a manager knows.
    reserved: BTreeMap<(HostIx, ShardKey), Attempt>,
    /// The start of each manager's process, and the workers that are members to it. Another one it leaves as long as that
    /// may run its shards alone: from this start, or where it has registered from its last word.
    started: BTreeMap<HostIx, Time>,
    met: BTreeSet<(HostIx, NodeId)>,
    registered: BTreeSet<(HostIx, NodeId)>,
    healed_at: Option<Time>,
    next_look: Time,
}

impl Losses {
    fn settle(&mut self, shard: ShardKey, attempt: Attempt) {
        let known = self.settled.entry(shard).or_insert(attempt);
        *known = attempt.max(*known);
        self.died.retain(|run, _| run.shard != shard || run.attempt > attempt);
    }

    fn ended(&mut self, job: JobId, dc: Option<DcId>) {
        self.died.retain(|run, _| run.shard.job != job || dc.is_some_and(|dc| dc != run.shard.dc));
    }

    fn observed(&mut self, scene: &Scene, host: HostIx, observation: &Observation) -> Result<(), String> {
        let dc = scene.hosts[host].dc;
        match *observation {
            Observation::ShardReserved { job, workflow, shard, attempt, .. } => {
                self.reserved.insert((host, ShardKey { job, workflow, dc, shard }), attempt);
            }
            Observation::ShardDone { job, workflow, shard, attempt, .. }
                if self
                    .reserved
                    .get(&(host, ShardKey { job, workflow, dc, shard }))
                    .is_some_and(|newest| *newest > attempt) =>
            {
                let (name, job) = (scene.name(host), scene.job_name(job));
                return Err(format!(
                    "{name} ends shard {shard} of {job} with the result of attempt {attempt}, which was given up"
                ));
            }
            Observation::ShardDone { job, workflow, shard, attempt, .. }
            | Observation::ShardLost { job, workflow, shard, attempt } => {
                self.settle(ShardKey { job, workflow, dc, shard }, attempt);
            }
            Observation::DcJobFinal { job, .. } => self.ended(job, Some(dc)),
            Observation::JobFinal { job, .. } | Observation::JobDropped(job) => self.ended(job, None),
            Observation::Member { node, .. } => drop(self.met.insert((host, node))),
            Observation::WorkerRegistered(node) => drop(self.registered.insert((host, node))),
            Observation::Orphaned(run) => drop(self.orphans.entry((host, run)).or_insert(scene.now)),
            _ => {}
        }
        Ok(())
    }

    /// Whether a worker works again or never had anything.
    fn is_well(&self, scene: &Scene, host: HostIx) -> bool {
        match self.healed_at {
            None => self.ill_until.get(&host).is_none_or(|until| until.saturating_add(STOPPED) < scene.now),
            Some(at) => scene.is_healed(host) && at + STOPPED < scene.now,
        }
    }

    fn ill(&mut self, host: HostIx, until: Time) {
        let known = self.ill_until.entry(host).or_insert(until);
        *known = until.max(*known);
    }

    /// A run that must be over by now, where its worker works again or never had anything.
    fn overdue(&self, scene: &Scene) -> Result<(), String> {
        for (run, host) in scene.runs.iter().filter(|(_, host)| self.is_well(scene, **host)) {
            let (name, job) = (scene.name(*host), scene.job_name(run.shard.job));
            if self.limits.get(run).is_some_and(|limit| *limit < scene.now) {
                return Err(format!("{name} runs {run:?} of {job} beyond its limit"));
            }
            let told = self.forgotten.get(&(*host, run.shard.job));
            if told.is_some_and(|at| at + STOPPED < scene.now) {
                return Err(format!("{name} runs {run:?} of {job}, which it was told to forget"));
            }
        }
        Ok(())
    }

    fn look(&self, scene: &Scene) -> Result<(), String> {
        self.endless(scene)?;
        let Some(healed_at) = self.healed_at else { return Ok(()) };
        let alone = scene.plan.cluster.timing(Role::Worker).orphan_grace.as_nanos() / 2 * 3;
        let late = |run: &RunId, (at, worker): (Time, NodeId)| {
            let waits = |&(host, _): &(&HostIx, &Time)| {
                scene.hosts[*host].dc == run.shard.dc && !self.met.contains(&(*host, worker))
            };
            let since = |(host, started): (&HostIx, &Time)| match self.registered.contains(&(*host, worker)) {
                true => at.max(*started),
                false => *started,
            };
            let newest = self.started.iter().filter(waits).map(since).max();
            let until = newest.map_or(0, |since| since + alone / 4 * 5 + STOPPED);
            until.max(at.max(healed_at) + NOTICED) < scene.now
        };
        let lost = self.died.iter().find(|(run, died)| late(run, **died) && has_quorum(scene, run.shard.dc));
        if let Some((run, (at, _))) = lost {
            let (job, s) = (scene.job_name(run.shard.job), (scene.now - at) / S);
            return Err(format!(
                "{run:?} of {job} died with its worker {s} s ago, and nobody has given it up"
            ));
        }
        Ok(())
    }

    /// A run that said that nobody owns it, and goes on: at a worker that works again or never had anything.
    fn endless(&self, scene: &Scene) -> Result<(), String> {
        let grace = scene.plan.cluster.timing(Role::Worker).cancel_grace.as_nanos() / 4 * 5 + STOPPED;
        let runs = |host: HostIx, key: RunKey| {
            scene.runs.iter().any(|(run, on)| *on == host && RunKey::from(*run) == key)
        };
        let healed_at = self.healed_at.unwrap_or(0);
        let endless = self.orphans.iter().find(|((host, run), at)| {
            (**at).max(healed_at) + grace < scene.now && self.is_well(scene, *host) && runs(*host, *run)
        });
        match endless {
            Some(((host, run), _)) => {
                let (name, job) = (scene.name(*host), scene.job_name(run.job));
                Err(format!("{name} still runs {run:?} of {job}, which nobody owns"))
            }
            None => Ok(()),
        }
    }
}

/// Whether more than half of the managers of a datacenter work again.
fn has_quorum(scene: &Scene, dc: DcId) -> bool {
    let managers = (0..scene.nodes)
        .filter(|&ix| scene.hosts[ix].dc == dc && scene.hosts[ix].role == Some(Role::Manager));
    let (all, well) = managers.fold((0, 0), |(all, well), ix| {
        (all + 1, well + usize::from(scene.is_healed(ix) && scene.running[ix]))
    });
    well * 2 > all
}

impl Spectator for Losses {
    fn name(&self) -> &'static str {
        "what is lost is given up"
    }

    fn tested(&self) -> u64 {
        self.tested
    }

    fn interest(&self) -> Interest {
        Interest::RUNS
            .and(Interest::OBSERVATIONS)
            .and(Interest::FAULTS)
            .and(Interest::PROCESSES)
            .and(Interest::ARRIVALS)
    }

    fn see(&mut self, scene: &Scene, fact: &Fact<'_>) -> Result<(), String> {
        match fact {
            Fact::Healed => self.healed_at = Some(scene.now),
            Fact::RunOver { host, run, outcome, .. } => {
                let settled = self.settled.get(&run.shard).is_some_and(|attempt| *attempt >= run.attempt);
                if outcome.is_none() && !settled {
                    self.tested += 1;
                    self.died.insert(*run, (scene.now, scene.hosts[*host].node));
                    self.tested += 1;
                }
            }
            Fact::RunAsked { run, shard, .. } => {
                let grace = scene.plan.cluster.timing(Role::Worker).cancel_grace.as_nanos();
                let limit = Time::from(shard.run_limit_ms) * 1_000_000 + grace;
                self.limits.insert(*run, scene.now + limit / 4 * 5 + STOPPED);
            }
            Fact::Arrived { to, message: Message::ForgetAtWorker { jobs }, .. } => {
                for job in jobs {
                    self.forgotten.entry((*to, *job)).or_insert(scene.now);
                }
            }
            Fact::Fault { host, fault, .. } => {
                self.ill(*host, scene.fault_ends(*fault));
            }
            Fact::Began { host, .. } if scene.hosts[*host].role == Some(Role::Manager) => {
                self.started.insert(*host, scene.now);
                self.met.retain(|(manager, _)| manager != host);
                self.registered.retain(|(manager, _)| manager != host);
            }
            Fact::Ended { host, .. } => {
                self.orphans.retain(|(on, _), _| on != host);
                self.forgotten.retain(|(on, _), _| on != host);
                self.reserved.retain(|(on, _), _| on != host);
            }
            Fact::Observed { host, observation } => self.observed(scene, *host, observation)?,
            _ => {}
        }
        if scene.now >= self.next_look {
            self.next_look = scene.now + S;
            self.look(scene)?;
            return self.overdue(scene);
        }
        Ok(())
    }
}
