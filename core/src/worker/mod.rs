//! The worker machine: it owns its cores, runs shards on them, and keeps their results until they are acknowledged.
//!
//! | event | what comes of it |
//! |---|---|
//! | `Start` | membership begins; results of former processes wait in the outbox |
//! | `Connected` | registration at that manager, until it accepts; results of its jobs are sent again |
//! | `ReserveShard` | cores are kept, all or none, until the start or `shard_hold`; or a typed refusal |
//! | `StartShard` | `Exec(Start)`, once for each attempt; `ShardStarted` when it has begun |
//! | `StopShard` | the reservation is freed or the run is stopped; an unknown one can never come later |
//! | `Exec(Progress)` | `ShardProgress` every `progress_flush`, with the windows that have no receipt |
//! | no receipt for long | `MoreTime`, so that the manager does not take it for silence |
//! | `Exec(Finished)` | the result becomes durable, then `ShardResult`, again and again until it is acknowledged |
//! | `OwnerChanged` | from now on everything of the job goes to that manager; it hears what is held |
//! | `ForgetAtWorker` | the job's record goes, and whatever it still runs |
//! | `Drain` | no new reservation; what runs may end, then is stopped; the outbox is emptied; `Halt(Drained)` |
//!
//! It takes no part in any log and decides nothing about a job: attempts and owners come from managers, fenced by
//! `Attempt` for each shard and `DcEpoch` for each job. There is one record for each job ([`job::WorkerJob`]); timers
//! are derived from it ([`Worker::tend`]) and die with it.

mod drain;
mod job;
mod managers;
mod over;
mod owner;
mod plea;
mod progress;
mod results;
mod shards;

use alloc::boxed::Box;
use alloc::collections::BTreeMap;

use self::drain::Drain;
use self::job::{ShardPlace, WorkerJob};
use self::managers::{Heartbeat, Manager};
use self::over::Over;
use crate::api::Answer;
use crate::census::Census;
use crate::config::{Boot, NodeConfig};
use crate::effect::{Effect, Effects, HaltReason};
use crate::event::Event;
use crate::fault::{Fault, FaultCode};
use crate::id::{BootNo, DiskId, JobId, NodeId, RunId, ShardKey};
use crate::jobs::ExecEvent;
use crate::link::Links;
use crate::observe::{Observation, Stale};
use crate::store::Store;
use crate::swim::{Rules, Swim, SwimConfig};
use crate::time::{Duration, Instant, Now};
use crate::wheel::Wheel;
use crate::wire::{MAX_HELD, Message};

/// Most runs at a time, whatever the number of cores. With as many results it is all that a heartbeat can list.
pub const RUNS_MAX: usize = MAX_HELD / 2;
/// Most shards that a worker remembers. At the bound the job that was idle for longest is forgotten.
pub const SHARDS_MAX: usize = 4_096;
/// An ended job is remembered for this long, so that none of its attempts starts again, unless a manager says earlier
/// that it may be forgotten. No job runs for longer.
pub const MEMORY: Duration = Duration::from_secs(24 * 3_600);
/// An owner is remembered for this long before the first shard of its job comes.
pub const EARLY_OWNER: Duration = Duration::from_secs(60);

/// What the worker waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    /// The next heartbeat to all managers.
    Heartbeat,
    /// No manager was heard for too long?
    Isolation,
    /// The draining goes into its next stage.
    Drain,
    /// A registration was not answered.
    Register(NodeId),
    /// A reservation was not used.
    Hold(RunId),
    /// A run's limit is over.
    Limit(RunId),
    /// A run that was asked to stop by this node itself did not.
    Kill(RunId),
    /// Progress goes out.
    Flush(RunId),
    /// Results were not acknowledged.
    Resend(JobId),
    /// The owner of running shards was not heard for too long?
    Orphan(JobId),
    /// The owner acknowledges nothing of the job: it is asked for more time.
    Plea(JobId),
    /// The job is remembered no longer.
    Memory(JobId),
}

/// The worker machine.
#[derive(Clone, Debug)]
pub struct Worker {
    config: NodeConfig,
    boot: BootNo,
    disk: DiskId,
    store: Store,
    swim: Swim,
    links: Links,
    timers: Wheel<Timer>,
    /// The configured managers of the datacenter.
    managers: BTreeMap<NodeId, Manager>,
    jobs: BTreeMap<JobId, WorkerJob>,
    /// Jobs that the managers have dropped.
    over: Over,
    /// Cores of all active runs.
    used_cores: u16,
    heartbeat: Heartbeat,
    /// Some manager has accepted this process, and one was heard since not too long ago.
    active: bool,
    drain: Option<Drain>,
    halted: bool,
}

impl Worker {
    /// The worker as its disk left it: with the results that were not acknowledged.
    pub fn new(boot: Boot) -> Result<Self, HaltReason> {
        let Boot { config, boot, disk, seed, rows } = boot;
        let seeds = config.roster.managers(config.dc).to_vec();
        let swim = SwimConfig {
            node: config.node,
            addr: config.addr,
            role: config.role,
            boot,
            rules: Rules::ours(config.timing.swim_period, config.timing.swim_probe_timeout),
            seeds: seeds.clone(),
        };
        Ok(Self {
            jobs: results::restore(&rows)?,
            managers: seeds.iter().map(|peer| (peer.node, Manager::default())).collect(),
            swim: Swim::new(swim, seed),
            config,
            boot,
            disk,
            over: Over::default(),
            store: Store::default(),
            links: Links::new(seed),
            timers: Wheel::default(),
            used_cores: 0,
            heartbeat: Heartbeat::default(),
            active: false,
            drain: None,
            halted: false,
        })
    }

    /// One step.
    pub fn step_into(&mut self, now: Now, event: Event, out: &mut Effects) {
        if self.halted {
            return;
        }
        self.expire(now, out);
        self.handle(now, event, out);
        if self.halted {
            return;
        }
        // Nothing that a worker does depends on who is alive: membership speaks for itself.
        self.swim.changes();
        self.announce_changes(now, out);
        self.store.flush(out);
        self.end_if_drained(now, out);
    }

    /// The earliest deadline.
    pub fn wake_at(&self) -> Option<Instant> {
        if self.halted {
            return None;
        }
        [self.timers.next(), self.swim.wake_at(), self.links.wake_at()].into_iter().flatten().min()
    }

    /// How many places mention the job.
    pub fn mentions(&self, job: JobId) -> usize {
        let of_run = |run: &RunId| run.shard.job == job;
        let timers = self.timers.keys().filter(|timer| match timer {
            Timer::Hold(run) | Timer::Limit(run) | Timer::Kill(run) | Timer::Flush(run) => of_run(run),
            Timer::Resend(id) | Timer::Orphan(id) | Timer::Plea(id) | Timer::Memory(id) => *id == job,
            Timer::Heartbeat | Timer::Isolation | Timer::Drain | Timer::Register(_) => false,
        });
        timers.count() + usize::from(self.jobs.contains_key(&job))
    }

    /// How much this worker holds.
    pub fn census(&self) -> Census {
        Census {
            jobs: self.jobs.len(),
            timers: self.timers.len(),
            members: self.swim.members().count(),
            cores: usize::from(self.used_cores),
            ..Census::default()
        }
    }

    /// Cores without a reservation.
    pub fn free_cores(&self) -> u16 {
        self.config.offer.cores - self.used_cores
    }

    fn expire(&mut self, now: Now, out: &mut Effects) {
        self.swim.wake(now, out);
        self.links.wake(now, out);
        while let Some((_, timer)) = self.timers.pop_due(now.mono) {
            match timer {
                Timer::Heartbeat => self.send_heartbeat(now, out),
                Timer::Isolation => self.check_isolation(now, out),
                Timer::Drain => self.drain_further(now, out),
                Timer::Register(manager) => self.register(now, manager, out),
                Timer::Hold(run) => self.hold_over(now, run, out),
                Timer::Limit(run) => self.limit_over(run, out),
                Timer::Kill(run) => self.kill(run, out),
                Timer::Flush(run) => self.flush_progress(now, run, out),
                Timer::Resend(job) => self.resend_results(now, job, out),
                Timer::Orphan(job) => self.check_orphan(now, job, out),
                Timer::Plea(job) => self.plead(now, job, out),
                Timer::Memory(job) => self.drop_job(job, out),
            }
        }
    }

    fn handle(&mut self, now: Now, event: Event, out: &mut Effects) {
        match event {
            Event::Start => self.start_node(now, out),
            Event::Wake => {}
            Event::Received { peer, message } => {
                self.swim.sign_of_life(now);
                self.receive(now, peer, *message, out);
            }
            Event::Datagram { from, packet } => self.swim.receive(now, from, *packet, out),
            Event::Malformed { why, .. } => out.push(Effect::Observe(Observation::Malformed(why))),
            Event::GreetingRefused { peer, code } => {
                out.push(Effect::Observe(Observation::GreetingRefused { peer, code }));
            }
            Event::Connected { peer, boot, dialect } => self.connected(now, peer, (boot, dialect), out),
            Event::Disconnected { peer } => self.disconnected(peer, out),
            Event::Stored { token } => {
                self.store.stored(token, out);
            }
            Event::StoreFailed { .. } => {
                self.halted = true;
                self.store.fail_and_halt(out);
            }
            Event::Exec(event) => self.executor(now, *event, out),
            Event::Api { call, .. } => {
                let fault = Fault::new(FaultCode::RoleDenied, "a worker serves no clients: ask a gate");
                out.push(Effect::Observe(Observation::Refused(fault.code)));
                out.push(Effect::Answer { call, answer: Box::new(Answer::Fault(fault)) });
            }
            Event::ApiWritable { .. } | Event::ApiClosed { .. } => ignore(Stale::Unknown, out),
            Event::Drain => self.begin_drain(now, out),
            Event::Usage(usage) => self.links.take_usage(now, usage, out),
        }
    }

    fn receive(&mut self, now: Now, peer: NodeId, message: Message, out: &mut Effects) {
        if !self.heard(now, peer) {
            return ignore(Stale::Sender, out);
        }
        match message {
            Message::Ping { token } => self.links.receive_ping(peer, token, out),
            Message::Pong { token, coordinate, condition } => {
                self.links.receive_pong(now, peer, (token, coordinate, condition), out);
            }
            Message::RegisterWorkerReply { boot, accepted } => {
                self.registered(now, peer, boot, accepted, out)
            }
            Message::ReserveShard(reserve) => self.reserve(now, peer, reserve, out),
            Message::StartShard { run, dc_epoch, start_in_us } => {
                self.start(now, peer, run, dc_epoch, Duration::from_micros(start_in_us.into()), out)
            }
            Message::StopShard { run, dc_epoch, mode } => self.stop(now, peer, run, dc_epoch, mode, out),
            Message::ShardProgressAck { run, windows_through, .. } => {
                self.progress_acked(now, peer, run, windows_through, out)
            }
            Message::ShardResultAck { run, stored } => self.result_acked(now, run, stored, out),
            Message::OwnerChanged { job, dc_epoch, owner } => {
                self.owner_changed(now, peer, job, dc_epoch, owner, out)
            }
            Message::MoreTimeReply { job, dc_epoch, seq, ends_in_ms, granted } => {
                let ends_in = Duration::from_millis(ends_in_ms.into());
                self.plea_answered(now, peer, (job, dc_epoch, seq), ends_in, granted, out)
            }
            Message::ForgetAtWorker { jobs } => jobs.into_iter().for_each(|job| self.forget(now, job, out)),
            _ => ignore(Stale::Sender, out),
        }
    }

    fn executor(&mut self, now: Now, event: ExecEvent, out: &mut Effects) {
        match event {
            ExecEvent::Started { run, late } => self.has_started(run, late, out),
            ExecEvent::Progress { run, totals, windows } => self.progressed(now, run, *totals, windows, out),
            ExecEvent::Finished { run, outcome, totals, windows, why } => {
                self.finished(now, run, outcome, (*totals, windows), why, out)
            }
        }
    }

    /// The shard at a place of a job.
    fn shard_key(&self, job: JobId, (workflow, shard): ShardPlace) -> ShardKey {
        ShardKey { job, workflow, dc: self.config.dc, shard }
    }

    /// Derives a job's own timers from its record: after every change of it.
    fn tend(&mut self, now: Now, job: JobId, out: &mut Effects) {
        let Some(record) = self.jobs.get(&job) else { return };
        let (idle, remembers) = (record.is_idle(), !record.shards.is_empty());
        if idle && record.forgotten {
            return self.drop_job(job, out);
        }
        let running = record.active().next().is_some();
        let pleads_at = record.is_running().then(|| record.pleading.due());
        let waits = record.results() > 0;
        let timing = &self.config.timing;
        if idle {
            // Counted from the last time that anyone spoke of it.
            let memory = if remembers { MEMORY } else { EARLY_OWNER };
            self.timers.arm(Timer::Memory(job), now.mono + memory);
        } else {
            self.timers.disarm(Timer::Memory(job));
        }
        arm_while(&mut self.timers, Timer::Orphan(job), running, now.mono + timing.orphan_grace);
        arm_while(&mut self.timers, Timer::Plea(job), pleads_at.is_some(), pleads_at.unwrap_or_default());
        arm_while(&mut self.timers, Timer::Resend(job), waits, now.mono + timing.request_timeout);
    }

    /// Drops a job's record, and with it everything.
    fn drop_job(&mut self, job: JobId, out: &mut Effects) {
        let Some(record) = self.jobs.remove(&job) else { return };
        assert!(record.is_idle(), "a job with runs or results cannot be dropped");
        for timer in [Timer::Memory(job), Timer::Orphan(job), Timer::Plea(job), Timer::Resend(job)] {
            self.timers.disarm(timer);
        }
        out.push(Effect::Observe(Observation::JobDropped(job)));
    }
}

/// Keeps a timer armed exactly while `wanted`; one that is armed is not moved.
fn arm_while(timers: &mut Wheel<Timer>, timer: Timer, wanted: bool, at: Instant) {
    if !wanted {
        timers.disarm(timer);
    } else if timers.deadline(timer).is_none() {
        timers.arm(timer, at);
    }
}

fn ignore(why: Stale, out: &mut Effects) {
    out.push(Effect::Observe(Observation::Ignored(why)));
}

fn send(to: NodeId, message: Message) -> Effect {
    Effect::Send { to, message: Box::new(message) }
}

#[cfg(test)]
mod tests;
