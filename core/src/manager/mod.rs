//! The manager machine: runs jobs inside one datacenter.
//!
//! | in | out |
//! |---|---|
//! | gates: `Dispatch`, `StopInDc`, `GateOwnerChanged`, `Reconcile`, `Forget`, acknowledgements | replies, `DcProgress`, `WorkflowResult`, `DcFinal`, `DcOwnerChanged`, `DcHeartbeat` |
//! | workers: registration, heartbeats, replies, `ShardProgress`, `ShardResult` | `ReserveShard`, `StartShard`, `StopShard`, `OwnerChanged`, acknowledgements |
//! | managers: `Log` | `Log` |
//!
//! It composes the tier's ledger over [`state::ManagerState`], SWIM of the datacenter's managers and workers, the
//! connections and one timer table. What is decided is in the log; what an owner owes is derived from the records
//! ([`duties`]). It never executes anything, never decides from a belief about who leads or lives where the log
//! decides, and keeps nothing about a job outside the job's record but the indices `wheel` and `asked`.

mod alerts;
mod apply;
mod command;
mod context;
mod dispatch;
mod doubt;
mod duties;
mod gates;
mod graph;
mod heartbeat;
mod job;
mod lives;
mod numbers;
mod owners;
mod place;
mod progress;
mod propose;
mod queue;
mod results;
mod retry;
mod shards;
mod silence;
mod state;
mod stop;
#[cfg(test)]
mod tests;
mod workers;
mod workforce;

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

pub use self::alerts::{Alert, Crowd};

use self::alerts::Alerts;
use self::context::Context;
use self::doubt::Doubt;
use self::job::Duty;
use self::owners::Draining;
use self::state::ManagerState;
use self::workers::Pool;
use crate::api::Answer;
use crate::census::Census;
use crate::config::{Boot, NodeConfig};
use crate::effect::{Effect, Effects, HaltReason};
use crate::event::Event;
use crate::fault::{Fault, FaultCode};
use crate::guard::{Condition, Usage};
use crate::id::{BootNo, GateEpoch, JobId, NodeId, Role, Term};
use crate::ledger::{Applied, Ledger};
use crate::link::Links;
use crate::observe::{Observation, Stale};
use crate::rng::NodeRng;
use crate::store::Store;
use crate::swim::{Rules, Swim, SwimConfig};
use crate::time::{Duration, Instant, Now};
use crate::wheel::Wheel;
use crate::wire::{Dialect, Message};

/// The manager's own stream in its node's.
const STREAM: u64 = 0x6d61_6e61_6765;

/// A record is not looked at again by its own timer before this.
const MIN_WAIT: Duration = Duration::from_millis(1);

/// A deadline of the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    /// The next heartbeat to the gates.
    Heartbeat,
    /// The next look at leaving.
    Drain,
    /// The next look at how workers get on.
    Pace,
    /// The duties of a job.
    Job(JobId),
}

/// Who waits for a proposal.
#[derive(Clone, Debug)]
enum Asked {
    /// A duty of a record.
    Duty(JobId, Duty),
    /// A gate that has dispatched a job.
    Dispatch { job: JobId, from: NodeId, gate_epoch: GateEpoch },
    /// Records that get another owner.
    Owners(Vec<JobId>),
}

/// What the gates were told last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Told {
    leader: Option<NodeId>,
    term: Term,
    has_free_cores: bool,
    accepting: bool,
}

/// The manager machine.
#[derive(Clone, Debug)]
pub struct Manager {
    config: NodeConfig,
    boot: BootNo,
    rng: NodeRng,
    store: Store,
    ledger: Ledger<ManagerState>,
    swim: Swim,
    links: Links,
    wheel: Wheel<Timer>,
    pool: Pool,
    /// Undecided proposals: at most [`crate::ledger::MAX_UNDECIDED`].
    asked: BTreeMap<u64, Asked>,
    /// Records to look at in this step; empty between steps.
    dirty: BTreeSet<JobId>,
    /// Something waits for cores and something has changed since it was last looked at.
    cores_wanted: bool,
    /// Capacity may have changed since the gates were told.
    capacity_news: bool,
    /// The lease held at the end of the last step.
    active: bool,
    draining: Option<Draining>,
    /// It halts as soon as what it has written is durable.
    ending: bool,
    halted: bool,
    doubt: Doubt,
    /// When a gate was heard last.
    gate_heard: Instant,
    heartbeat_no: u64,
    told: Told,
    alerts: Alerts,
    /// Workers that this process never heard of were given up.
    unheard_are_lost: bool,
}

impl Manager {
    /// The manager as its disk left it.
    ///
    /// # Errors
    ///
    /// As [`Ledger::new`].
    pub fn new(boot: Boot) -> Result<Self, HaltReason> {
        let config = boot.config.clone();
        let peers = config.roster.managers(config.dc).to_vec();
        let voters = peers.iter().map(|peer| peer.node).collect();
        let ledger = Ledger::new(&boot, voters, ManagerState::default())?;
        let swim = SwimConfig {
            node: config.node,
            addr: config.addr,
            role: Role::Manager,
            boot: boot.boot,
            rules: Rules::ours(config.timing.swim_period, config.timing.swim_probe_timeout),
            seeds: peers,
        };
        Ok(Self {
            boot: boot.boot,
            rng: NodeRng::new(boot.seed, STREAM),
            store: Store::default(),
            ledger,
            swim: Swim::new(swim, boot.seed),
            links: Links::new(boot.seed),
            wheel: Wheel::default(),
            pool: Pool::default(),
            asked: BTreeMap::new(),
            dirty: BTreeSet::new(),
            cores_wanted: false,
            capacity_news: false,
            active: false,
            draining: None,
            ending: false,
            halted: false,
            doubt: Doubt::default(),
            gate_heard: Instant::ZERO,
            heartbeat_no: 0,
            told: Told::default(),
            alerts: Alerts::default(),
            unheard_are_lost: false,
            config,
        })
    }

    /// One step.
    pub fn step_into(&mut self, now: Now, event: Event, out: &mut Effects) {
        if self.halted {
            return;
        }
        if self.ending {
            self.halted = self.store.wind_down(&event, out);
            return;
        }
        self.expire(now, out);
        if !self.halted {
            self.handle(now, event, out);
        }
        if !self.halted {
            self.settle(now, out);
        }
        if !self.halted && !self.ending {
            self.store.flush(out);
        }
    }

    /// The earliest deadline.
    pub fn wake_at(&self) -> Option<Instant> {
        if self.halted || self.ending {
            return None;
        }
        let lease = self.ledger.lease_ends_at().filter(|_| self.active);
        [self.wheel.next(), self.ledger.wake_at(), self.swim.wake_at(), self.links.wake_at(), lease]
            .into_iter()
            .flatten()
            .min()
    }

    /// How many places mention the job.
    pub fn mentions(&self, job: JobId) -> usize {
        let asked = self.asked.values().filter(|asked| match asked {
            Asked::Duty(named, _) | Asked::Dispatch { job: named, .. } => *named == job,
            Asked::Owners(jobs) => jobs.contains(&job),
        });
        usize::from(self.ledger.state().jobs.contains_key(&job))
            + usize::from(self.wheel.deadline(Timer::Job(job)).is_some())
            + usize::from(self.dirty.contains(&job))
            + asked.count()
    }

    /// How much this manager holds.
    pub fn census(&self) -> Census {
        let state = self.ledger.state();
        Census {
            jobs: state.jobs.len(),
            live_jobs: state.jobs.values().filter(|record| record.facts.ended.is_none()).count(),
            proposals: self.asked.len(),
            timers: self.wheel.keys().filter(|timer| matches!(timer, Timer::Job(_))).count(),
            leases: self.ledger.holders().count(),
            members: self.swim.members().count(),
            workers: self.pool.iter().count(),
            ..Census::default()
        }
    }

    /// Whether the manager may act as an owner.
    fn may_act(&self, now: Now) -> bool {
        self.ledger.lease_holds(now)
    }

    /// Everything whose time has come.
    fn expire(&mut self, now: Now, out: &mut Effects) {
        self.ledger.wake(now, &mut self.store, out);
        self.swim.wake(now, out);
        self.links.wake(now, out);
        self.look_at_lease(now, out);
        while !self.halted
            && let Some((_, timer)) = self.wheel.pop_due(now.mono)
        {
            match timer {
                Timer::Heartbeat => {
                    self.heartbeat_all(now, out);
                    self.look_at_crowds(now, out);
                    self.reassign(now, out);
                    let (pool, swim) = (&mut self.pool, &self.swim);
                    pool.forget_all_but(now, &self.config.timing, |node| swim.status(node).is_some());
                }
                Timer::Drain => self.go_on_draining(now, out),
                Timer::Pace => self.look_at_paces(now, out),
                Timer::Job(job) => {
                    self.dirty.insert(job);
                }
            }
        }
    }

    /// The lease began or ended by this node's own clock.
    fn look_at_lease(&mut self, now: Now, out: &mut Effects) {
        let active = self.may_act(now);
        if active != self.active {
            self.active = active;
            self.observe(if active { Observation::Active } else { Observation::Isolated }, out);
            self.dirty.extend(self.ledger.state().jobs.keys().copied());
            self.cores_wanted = true;
        }
    }

    fn handle(&mut self, now: Now, event: Event, out: &mut Effects) {
        match event {
            Event::Start => self.start(now, out),
            Event::Wake => {}
            Event::Received { peer, message } => {
                self.swim.sign_of_life(now);
                self.receive(now, peer, *message, out);
            }
            Event::Datagram { from, packet } => self.swim.receive(now, from, *packet, out),
            Event::Malformed { why, .. } => self.observe(Observation::Malformed(why), out),
            Event::GreetingRefused { peer, code } => {
                self.observe(Observation::GreetingRefused { peer, code }, out);
            }
            Event::Connected { peer, boot, dialect } => self.connected(now, peer, (boot, dialect), out),
            Event::Disconnected { peer } => {
                if self.links.disconnected(peer) {
                    self.pool.disconnected(peer);
                } else {
                    self.observe(Observation::Ignored(Stale::Unknown), out);
                }
            }
            Event::Stored { token } => {
                if self.store.stored(token, out) {
                    self.ledger.stored(now, &mut self.store, out);
                } else {
                    self.observe(Observation::Ignored(Stale::Sequence), out);
                }
            }
            Event::StoreFailed { .. } => {
                self.halted = true;
                self.store.fail_and_halt(out);
            }
            Event::Api { call, .. } => {
                let fault = Fault::new(FaultCode::RoleDenied, "a manager serves no clients: ask a gate");
                self.observe(Observation::Refused(fault.code), out);
                out.push(Effect::Answer { call, answer: Box::new(Answer::Fault(fault)) });
            }
            Event::Exec(_) | Event::ApiWritable { .. } | Event::ApiClosed { .. } => {
                self.observe(Observation::Ignored(Stale::State), out)
            }
            Event::Drain => self.drain(now, out),
            Event::Usage(usage) => {
                // Its processors serve the load as well; whether that slows the manager, its queue says.
                self.links.take_usage(now, Usage { cpu_permille: 0, ..usage }, out);
                self.look_at_crowds(now, out);
            }
        }
    }

    fn start(&mut self, now: Now, out: &mut Effects) {
        self.gate_heard = now.mono;
        self.doubt = Doubt::new(now.mono, self.ledger.boots());
        self.pool.start(now);
        self.ledger.start(now, &mut self.store, out);
        self.swim.start(now, out);
        self.wheel.arm(Timer::Heartbeat, now.mono + self.config.timing.dc_heartbeat);
        self.look_at_paces(now, out);
        self.dirty.extend(self.ledger.state().jobs.keys().copied());
    }

    fn connected(&mut self, now: Now, peer: NodeId, how: (BootNo, Dialect), out: &mut Effects) {
        let (boot, _) = how;
        self.links.connected(now, peer, how, out);
        self.pool.disconnected(peer);
        if self.is_gate(peer) {
            self.doubt.meet_gate(now.mono);
            self.heartbeat(now, peer, out);
            self.hurry(peer);
        } else if self.is_manager(peer) && self.doubt.meet(peer, boot) {
            self.dirty.extend(self.ledger.state().jobs.keys().copied());
        }
    }

    /// What a peer has not answered is due again.
    fn hurry(&mut self, peer: NodeId) {
        let is_gate = self.is_gate(peer);
        for (job, record) in &mut self.ledger.state_mut().jobs {
            if record.hurry(peer, is_gate) {
                self.dirty.insert(*job);
            }
        }
    }

    fn is_gate(&self, peer: NodeId) -> bool {
        self.config.roster.gates.iter().any(|gate| gate.node == peer)
    }

    fn is_manager(&self, peer: NodeId) -> bool {
        self.config.roster.managers(self.config.dc).iter().any(|manager| manager.node == peer)
    }

    fn receive(&mut self, now: Now, peer: NodeId, message: Message, out: &mut Effects) {
        match message {
            Message::Ping { token } => self.links.receive_ping(peer, token, out),
            Message::Pong { token, coordinate, condition } => {
                // A worker says so in its heartbeats, in order and at once.
                let is_peer = self.is_manager(peer) || self.is_gate(peer);
                let condition = if is_peer { condition } else { Condition::default() };
                self.links.receive_pong(now, peer, (token, coordinate, condition), out);
                if let Some(rtt) = self.links.rtt(peer).filter(|_| self.is_manager(peer)) {
                    self.ledger.round_trip(peer, rtt);
                    self.look_at_crowds(now, out);
                }
            }
            Message::Log(message) if self.is_manager(peer) => {
                self.ledger.receive(now, peer, *message, &mut self.store, out)
            }
            message if self.is_gate(peer) => {
                self.gate_heard = now.mono;
                self.hear_gate(now, peer, message, out)
            }
            message if !self.is_manager(peer) => self.hear_worker(now, peer, message, out),
            _ => self.observe(Observation::Ignored(Stale::Sender), out),
        }
    }

    /// What was applied, what membership says, and everything that follows.
    fn settle(&mut self, now: Now, out: &mut Effects) {
        self.lose_unheard(now, out);
        loop {
            self.heed_membership(now, out);
            let applied = self.ledger.settle(&mut self.store, out);
            if let Some(reason) = applied.halt {
                self.ending = true;
                self.store.end_with(Effect::Halt(reason), out);
                self.halted = self.store.held() == 0;
                return;
            }
            let news = applied != Applied::default();
            self.take_applied(now, applied, out);
            self.look_at_lease(now, out);
            let dirty = core::mem::take(&mut self.dirty);
            for job in &dirty {
                self.look_at(now, *job, out);
            }
            self.place_waiting(now, out);
            if !news && dirty.is_empty() {
                break;
            }
        }
        if self.draining.is_some() {
            self.go_on_draining(now, out);
        }
        self.heartbeat_on_change(now, out);
    }

    fn take_applied(&mut self, now: Now, applied: Applied, out: &mut Effects) {
        for (n, _) in applied.decided {
            match self.asked.remove(&n) {
                Some(Asked::Duty(job, duty)) => {
                    if let Some(record) = self.ledger.state_mut().jobs.get_mut(&job) {
                        record.live.proposed.remove(&duty);
                    }
                    self.dirty.insert(job);
                }
                Some(Asked::Dispatch { job, from, gate_epoch }) => {
                    self.dispatch_decided(job, from, gate_epoch, out);
                    self.dirty.insert(job);
                }
                Some(Asked::Owners(jobs)) => {
                    for job in &jobs {
                        if let Some(record) = self.ledger.state_mut().jobs.get_mut(job) {
                            record.live.proposed.remove(&Duty::Owner);
                        }
                    }
                    self.dirty.extend(jobs);
                }
                None => {}
            }
        }
        let changed = !applied.jobs.is_empty() || applied.reset;
        self.cores_wanted |= changed;
        self.capacity_news |= changed;
        self.dirty.extend(applied.jobs);
        if applied.reset {
            self.dirty.extend(self.ledger.state().jobs.keys().copied());
            self.forget_dropped();
        }
        if applied.leases || applied.reset {
            self.reassign(now, out);
        }
    }

    /// After a snapshot: the indices follow the records.
    fn forget_dropped(&mut self) {
        let jobs = &self.ledger.state().jobs;
        let gone = |timer: &&Timer| matches!(timer, Timer::Job(job) if !jobs.contains_key(job));
        let gone: Vec<Timer> = self.wheel.keys().filter(gone).copied().collect();
        for timer in gone {
            if let Timer::Job(job) = timer {
                self.dirty.insert(job);
            }
        }
    }

    /// Does the duties of a record, or forgets what is left of a dropped one.
    fn look_at(&mut self, now: Now, job: JobId, out: &mut Effects) {
        let sure_at = self.sure_at();
        let Some(record) = self.ledger.state_mut().jobs.get_mut(&job) else {
            return self.forget(job, out);
        };
        let mut cx = Context {
            now,
            config: &self.config,
            boot: self.boot,
            pool: &self.pool,
            links: &self.links,
            rng: &mut self.rng,
            may_act: self.active,
            gate_heard: self.gate_heard,
            sure_at,
            out,
            proposals: Vec::new(),
            wake: None,
            wants_cores: false,
            unanswered: Vec::new(),
        };
        record.duties(&mut cx);
        let (proposals, wake, wants_cores, unanswered) =
            (cx.proposals, cx.wake, cx.wants_cores, cx.unanswered);
        self.cores_wanted |= wants_cores;
        match wake {
            // Never at once: a duty that cannot be done now must not keep the node busy.
            Some(at) => self.wheel.arm(Timer::Job(job), at.max(now.mono + MIN_WAIT)),
            None => drop(self.wheel.disarm(Timer::Job(job))),
        }
        unanswered.into_iter().for_each(|worker| self.worker_left_it(now, worker, out));
        for (duty, command) in proposals {
            self.propose_for(now, job, duty, command, out);
        }
    }

    /// A record was dropped: the indices follow, and the workers are told once.
    fn forget(&mut self, job: JobId, out: &mut Effects) {
        self.wheel.disarm(Timer::Job(job));
        self.asked.retain(|_, asked| match asked {
            Asked::Duty(named, _) | Asked::Dispatch { job: named, .. } => *named != job,
            Asked::Owners(jobs) => {
                jobs.retain(|named| *named != job);
                true
            }
        });
        if self.ledger.is_leader() {
            let workers: Vec<NodeId> = self.pool.iter().map(|(node, _)| node).collect();
            for worker in workers.into_iter().filter(|worker| self.links.is_connected(*worker)) {
                self.send(worker, Message::ForgetAtWorker { jobs: alloc::vec![job] }, out);
            }
        }
    }

    fn send(&self, to: NodeId, message: Message, out: &mut Effects) {
        out.push(Effect::Send { to, message: Box::new(message) });
    }

    fn observe(&self, observation: Observation, out: &mut Effects) {
        out.push(Effect::Observe(observation));
    }

    fn observe_refusal<T>(&self, reply: &Result<T, Fault>, out: &mut Effects) {
        if let Err(fault) = reply {
            self.observe(Observation::Refused(fault.code), out);
        }
    }
}
