//! The gate: takes jobs from clients, gives them to datacenters, and owns them until their result is read.
//!
//! It composes the ledger of the gates' tier (with [`GateState`] as the state), membership, links and one wheel, and
//! keeps one record per job. A decision is a log entry; what follows from it is done by the record's duties, which any
//! owner derives from the record alone.
//!
//! | event | what happens | file |
//! |---|---|---|
//! | `Api`, `ApiWritable`, `ApiClosed` | a call begins, its reader takes more, it is gone | `calls` |
//! | `Api` submit, cancel | proposed; answered when applied | `submit` |
//! | `Api` reads, streams | answered from the replica | `views`, `streams` |
//! | `Pong`, `DcHeartbeat`, `GateView` | how datacenters are | [`crate::federation`] |
//! | `DispatchReply`, `GateOwnerChangedReply`, `StopInDcReply`, `ReconcileReply` | a courier arrives | `dispatch` |
//! | `WorkflowResult`, `DcFinal`, `DcOwnerChanged` | proposed; acknowledged when applied | `results` |
//! | `DcProgress` | a slot is replaced; pushed to readers | `progress` |
//! | `Connected`, `Disconnected` | couriers go on; reconcile | `owners` |
//! | applied entries, timers | the record's duties | `duties` |
//! | a lease ended, `Drain` | jobs get other owners | `owners` |
//!
//! It never executes or reads a workflow's payload, never decides without its lease, and never acknowledges a result
//! that the log does not have.

mod apply;
mod calls;
mod command;
mod dispatch;
mod duties;
mod job;
mod owners;
mod progress;
mod results;
mod state;
mod streams;
mod submit;
#[cfg(test)]
mod tests;
mod verdict;
mod views;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

pub use command::{Accept, ByOwner, DcAt, GateCommand};
pub use job::{DcEnd, GateJob, JobRow, Kept, Origin, Stop, Target, TargetState, Tombstone};
pub use state::{GateState, RowName};

use crate::census::Census;
use crate::config::Boot;
use crate::effect::{Effect, Effects, HaltReason};
use crate::event::Event;
use crate::fault::Fault;
use crate::federation::{self, Federation};
use crate::guard::{Breakers, Patience, Usage};
use crate::id::{CallId, DcId, GateEpoch, JobId, NodeId, Role};
use crate::ledger::{Applied, Ledger};
use crate::link::Links;
use crate::observe::{Observation, Stale};
use crate::rng::NodeRng;
use crate::store::Store;
use crate::swim::{MemberStatus, Rules, Swim, SwimConfig};
use crate::time::{Duration, Instant, Now};
use crate::wheel::Wheel;
use crate::wire::Message;

use duties::Context;
use job::Topic;
use owners::Drain;
use progress::DcNumbers;
use submit::{JobIds, Waiting};

/// Proposals that found the ledger full are made again after this.
const RETRY: Duration = Duration::from_secs(1);
/// The gate's own random stream in its node's.
const STREAM: u64 = 0x4741_5445;

/// Deadlines of a gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    /// A record's duties.
    Duty(JobId),
    /// Progress of a record is to be shown.
    Push(JobId),
    /// A call has waited long enough.
    Call(CallId),
    /// Compare with the datacenters.
    Reconcile,
    /// Leave, whatever is left to do.
    Drain,
}

/// What an undecided proposal of this gate is about.
#[derive(Clone, Debug)]
enum About {
    /// A record.
    Record(JobId, Topic),
    /// A client's call.
    Call(CallId),
    /// New owners.
    Assign,
}

/// The gate machine.
#[derive(Clone, Debug)]
pub struct Gate {
    boot: Boot,
    ledger: Ledger<GateState>,
    store: Store,
    swim: Swim,
    links: Links,
    federation: Federation,
    breakers: Breakers,
    wheel: Wheel<Timer>,
    rng: NodeRng,
    job_ids: JobIds,
    /// Calls that wait for an entry; at most `Limits::calls`.
    calls: BTreeMap<CallId, Waiting>,
    /// Open streams, by the call that opened them; the stream itself is in the record.
    streams: BTreeMap<CallId, JobId>,
    /// Undecided proposals; the ledger bounds them.
    proposals: BTreeMap<u64, About>,
    /// Records whose duties run at the end of this step.
    touched: BTreeSet<JobId>,
    /// The lease held at the end of the last step.
    active: bool,
    /// The lease has held since the start of the process.
    was_active: bool,
    drain: Option<Drain>,
    /// Only the disk is waited for.
    leaving: bool,
    /// Nothing is done any more.
    halted: bool,
}

impl Gate {
    /// The gate as its disk left it.
    ///
    /// # Errors
    ///
    /// As [`Ledger::new`].
    pub fn new(boot: Boot) -> Result<Self, HaltReason> {
        let config = &boot.config;
        let voters = config.roster.gates.iter().map(|peer| peer.node).collect();
        let swim = SwimConfig {
            node: config.node,
            addr: config.addr,
            role: Role::Gate,
            boot: boot.boot,
            rules: Rules::ours(config.timing.swim_period, config.timing.swim_probe_timeout),
            seeds: config.roster.gates.clone(),
        };
        Ok(Self {
            ledger: Ledger::new(&boot, voters, GateState::default())?,
            store: Store::default(),
            swim: Swim::new(swim, boot.seed),
            links: Links::new(boot.seed).in_turn(federation::turns(config)),
            federation: Federation::new(config, boot.boot),
            breakers: Breakers::new(Patience::WITH_MANAGERS),
            wheel: Wheel::default(),
            rng: NodeRng::new(boot.seed, STREAM),
            job_ids: JobIds::new(boot.seed),
            calls: BTreeMap::new(),
            streams: BTreeMap::new(),
            proposals: BTreeMap::new(),
            touched: BTreeSet::new(),
            active: false,
            was_active: false,
            drain: None,
            leaving: false,
            halted: false,
            boot,
        })
    }

    /// One step. See the module's table.
    pub fn step_into(&mut self, now: Now, event: Event, out: &mut Effects) {
        if self.halted {
            return;
        }
        if self.leaving {
            self.halted = self.store.wind_down(&event, out);
            return;
        }
        self.expire(now, out);
        self.handle(now, event, out);
        if !self.halted {
            self.conclude(now, out);
        }
    }

    /// The earliest deadline.
    pub fn wake_at(&self) -> Option<Instant> {
        if self.halted || self.leaving {
            return None;
        }
        let lease = self.ledger.lease_ends_at().filter(|_| self.active);
        let machines =
            [self.swim.wake_at(), self.links.wake_at(), self.federation.wake_at(), self.ledger.wake_at()];
        machines.into_iter().chain([self.wheel.next(), lease]).flatten().min()
    }

    /// How many places mention the job; tombstones, idempotency keys and the log do not count.
    pub fn mentions(&self, job: JobId) -> usize {
        let timers = [Timer::Duty(job), Timer::Push(job)];
        let proposed = |about: &&About| matches!(about, About::Record(of, _) if *of == job);
        self.ledger.state().mentions(job)
            + timers.iter().filter(|timer| self.wheel.deadline(**timer).is_some()).count()
            + self.calls.values().filter(|waiting| waiting.job() == job).count()
            + self.streams.values().filter(|of| **of == job).count()
            + self.proposals.values().filter(proposed).count()
    }

    /// How much this gate holds.
    pub fn census(&self) -> Census {
        let state = self.ledger.state();
        let most = |held: fn(&GateJob) -> usize| state.jobs.values().map(held).max().unwrap_or(0);
        Census {
            jobs: state.jobs.len(),
            tombstones: state.tombstones.len(),
            live_jobs: state.jobs.values().filter(|record| !record.row.status.is_final()).count(),
            windows: most(|record| record.live.windows.len()),
            volatile: most(|record| record.live.ring.len()),
            callers: self.calls.len() + self.streams.len(),
            proposals: self.proposals.len(),
            timers: self
                .wheel
                .keys()
                .filter(|timer| matches!(timer, Timer::Duty(_) | Timer::Push(_)))
                .count(),
            leases: self.ledger.holders().count(),
            members: self.swim.members().count(),
            workers: 0,
            cores: 0,
        }
    }

    fn me(&self) -> NodeId {
        self.boot.config.node
    }

    /// Everything due, before the event: a gate that was frozen must not act on a dead lease.
    fn expire(&mut self, now: Now, out: &mut Effects) {
        self.notice_lease(now, out);
        self.swim.wake(now, out);
        self.links.wake(now, out);
        self.federation.wake(now.mono, &self.links, out);
        self.ledger.wake(now, &mut self.store, out);
        while let Some((_, timer)) = self.wheel.pop_due(now.mono) {
            match timer {
                Timer::Duty(job) => drop(self.touched.insert(job)),
                Timer::Push(job) => self.push_progress(now, job),
                Timer::Call(call) => self.call_timed_out(call, out),
                Timer::Reconcile => self.reconcile_all(now, out),
                Timer::Drain => {}
            }
        }
    }

    fn handle(&mut self, now: Now, event: Event, out: &mut Effects) {
        match event {
            Event::Start => self.start(now, out),
            Event::Wake => {}
            Event::Received { peer, message } => {
                self.swim.sign_of_life(now);
                if let Err(stale) = self.receive(now, peer, *message, out) {
                    out.push(Effect::Observe(Observation::Ignored(stale)));
                }
            }
            Event::Datagram { from, packet } => self.swim.receive(now, from, *packet, out),
            Event::Malformed { why, .. } => out.push(Effect::Observe(Observation::Malformed(why))),
            Event::GreetingRefused { peer, code } => {
                out.push(Effect::Observe(Observation::GreetingRefused { peer, code }));
            }
            Event::Connected { peer, boot, dialect } => {
                self.links.connected(now, peer, (boot, dialect), out);
                self.federation.connection_changed(now.mono, peer, &self.links, out);
                self.wake_couriers(peer);
                self.reconcile_with(now, peer, out);
            }
            Event::Disconnected { peer } => {
                self.links.disconnected(peer);
                self.breakers.forget(peer);
                self.federation.connection_changed(now.mono, peer, &self.links, out);
                self.wake_couriers(peer);
            }
            Event::Stored { token } => {
                if self.store.stored(token, out) {
                    self.ledger.stored(now, &mut self.store, out);
                }
            }
            Event::StoreFailed { .. } => {
                self.halted = true;
                self.store.fail_and_halt(out);
            }
            Event::Exec(_) => out.push(Effect::Observe(Observation::Ignored(Stale::State))),
            Event::Api { call, identity, request } => self.serve(now, call, identity, *request, out),
            Event::ApiWritable { call, credit } => self.writable(call, credit, out),
            Event::ApiClosed { call } => self.closed(call),
            Event::Drain => self.begin_drain(now, out),
            // Its processors serve the load as well; whether that slows the gate, its queue says.
            Event::Usage(usage) => self.links.take_usage(now, Usage { cpu_permille: 0, ..usage }, out),
        }
    }

    fn start(&mut self, now: Now, out: &mut Effects) {
        self.swim.start(now, out);
        self.federation.start(now.mono);
        self.ledger.start(now, &mut self.store, out);
        self.see_all(now);
        self.reconcile_all(now, out);
    }

    /// Starts the clocks of all records.
    fn see_all(&mut self, now: Now) {
        self.ledger.state_mut().jobs.values_mut().for_each(|record| record.see(now.mono));
    }

    /// One message. `Err`: it changed nothing.
    fn receive(&mut self, now: Now, from: NodeId, message: Message, out: &mut Effects) -> Result<(), Stale> {
        match message {
            Message::Log(message) => {
                self.ledger.receive(now, from, *message, &mut self.store, out);
                Ok(())
            }
            Message::Ping { token } => {
                self.links.receive_ping(from, token, out);
                Ok(())
            }
            Message::Pong { token, coordinate, condition } => {
                let answer = (token, coordinate, condition);
                let taken = self.links.receive_pong(now, from, answer, out);
                if let (Some(taken), Some(rtt)) = (taken, self.links.rtt(from)) {
                    self.ledger.round_trip(from, rtt);
                    self.federation.answered(now.mono, from, taken, &self.links, out);
                }
                Ok(())
            }
            Message::DcHeartbeat(load) => self.federation.heartbeat(now.mono, from, load, &self.links, out),
            Message::GateView(view) => self.federation.receive_view(now.mono, from, view, &self.links, out),
            Message::DispatchReply { job, gate_epoch, reply }
            | Message::GateOwnerChangedReply { job, gate_epoch, reply } => {
                self.receive_accepted(now, from, job, gate_epoch, reply, out)
            }
            Message::StopInDcReply { job, gate_epoch, recorded } => {
                self.receive_stop_reply(now, from, job, gate_epoch, recorded, out)
            }
            Message::ReconcileReply { jobs } => self.receive_reconciled(now, from, jobs, out),
            Message::DcProgress { job, dc_epoch, seq, status, workflows, windows } => {
                let numbers = DcNumbers { dc_epoch, seq, status, workflows, windows };
                self.receive_progress(now, from, job, numbers, out)
            }
            Message::WorkflowResult { job, dc_epoch, report } => {
                self.receive_workflow_result(now, from, job, dc_epoch, report, out)
            }
            Message::DcFinal { job, dc_epoch, report } => {
                self.receive_dc_final(now, from, job, dc_epoch, report, out)
            }
            Message::DcOwnerChanged { job, dc_epoch, owner } => {
                self.receive_dc_owner(now, from, job, (dc_epoch, owner), out)
            }
            _ => Err(Stale::Sender),
        }
    }

    /// The record of a job that this gate owns and may act on.
    fn owned(&mut self, now: Now, job: JobId) -> Option<&mut GateJob> {
        if !self.ledger.lease_holds(now) {
            return None;
        }
        let me = self.boot.config.node;
        self.ledger.state_mut().jobs.get_mut(&job).filter(|record| record.row.owner == me)
    }

    /// The record that a datacenter's answer to one of our requests speaks of.
    fn asked(
        &mut self,
        now: Now,
        from: NodeId,
        job: JobId,
        gate_epoch: GateEpoch,
    ) -> Result<(DcId, &mut GateJob), Stale> {
        let dc = self.federation.home(from).ok_or(Stale::Sender)?;
        let record = self.owned(now, job).ok_or(Stale::Unknown)?;
        if record.row.gate_epoch != gate_epoch {
            return Err(Stale::Fence);
        }
        record.row.target(dc).ok_or(Stale::Unknown)?;
        Ok((dc, record))
    }

    /// Proposes a command and remembers what it is about.
    fn propose(
        &mut self,
        now: Now,
        command: GateCommand,
        about: About,
        out: &mut Effects,
    ) -> Result<u64, Fault> {
        let n = self.ledger.propose(now, command, &mut self.store, out)?;
        self.proposals.insert(n, about);
        Ok(n)
    }

    /// Proposes about a record, unless a proposal of the same topic is undecided.
    fn propose_for(&mut self, now: Now, job: JobId, news: Option<(Topic, GateCommand)>, out: &mut Effects) {
        let Some((topic, command)) = news else { return };
        let Some(record) = self.ledger.state().jobs.get(&job) else { return };
        if record.live.proposed.contains_key(&topic) {
            return;
        }
        match self.propose(now, command, About::Record(job, topic), out) {
            Ok(n) => {
                if let Some(record) = self.ledger.state_mut().jobs.get_mut(&job) {
                    record.live.proposed.insert(topic, n);
                }
            }
            Err(fault) => {
                out.push(Effect::Observe(Observation::Refused(fault.code)));
                self.wheel.arm(Timer::Duty(job), now.mono + RETRY);
            }
        }
    }

    /// Connections decide whom couriers can reach: those of this peer's datacenter look again.
    fn wake_couriers(&mut self, peer: NodeId) {
        let Some(dc) = self.federation.home(peer) else { return };
        let state = self.ledger.state();
        let own = state.by_owner.get(&self.boot.config.node).into_iter().flatten();
        let concerned = own.filter(|job| {
            state.jobs.get(job).is_some_and(|record| {
                record.row.target(dc).is_some_and(|it| it.is_open() || it.is_owed_a_stop())
            })
        });
        self.touched.extend(concerned);
    }

    /// The end of every step: duties of what the event touched, what was applied, its duties, ownership, the disk.
    fn conclude(&mut self, now: Now, out: &mut Effects) {
        for (node, status) in self.swim.changes() {
            self.ledger.peer_alive(node, status == MemberStatus::Alive);
        }
        self.look_at_readiness(now, out);
        self.run_duties(now, out);
        let applied = self.ledger.settle(&mut self.store, out);
        if let Some(reason) = applied.halt {
            self.leaving = true;
            self.store.end_with(Effect::Halt(reason), out);
            self.halted = self.store.held() == 0;
            return;
        }
        self.absorb(now, applied, out);
        self.notice_lease(now, out);
        self.run_duties(now, out);
        self.reassign(now, out);
        self.go_on_draining(now, out);
        self.store.flush(out);
    }

    /// Takes in what the ledger has applied.
    fn absorb(&mut self, now: Now, applied: Applied, out: &mut Effects) {
        for (job, record) in core::mem::take(&mut self.ledger.state_mut().dropped) {
            self.drop_record(now, job, &record, out);
        }
        if applied.reset {
            self.see_all(now);
            self.touched.extend(self.ledger.state().jobs.keys());
        }
        self.touched.extend(applied.jobs);
        for (n, _) in applied.decided {
            match self.proposals.remove(&n) {
                Some(About::Record(job, topic)) => {
                    if let Some(record) = self.ledger.state_mut().jobs.get_mut(&job) {
                        record.live.proposed.remove(&topic);
                        self.touched.insert(job);
                    }
                }
                Some(About::Call(call)) => self.decided_call(now, call, n, out),
                Some(About::Assign) | None => {}
            }
        }
    }

    /// A record is gone: its timers, streams, calls and proposals go with it.
    fn drop_record(&mut self, now: Now, job: JobId, record: &GateJob, out: &mut Effects) {
        self.wheel.disarm(Timer::Duty(job));
        self.wheel.disarm(Timer::Push(job));
        self.touched.remove(&job);
        for n in record.live.proposed.values() {
            self.proposals.remove(n);
        }
        for call in record.live.streams.keys() {
            self.streams.remove(call);
            out.push(Effect::Push { call: *call, event: None });
        }
        let waiting: Vec<CallId> =
            self.calls.iter().filter(|(_, waiting)| waiting.job() == job).map(|(call, _)| *call).collect();
        for call in waiting {
            self.calls.remove(&call);
            self.wheel.disarm(Timer::Call(call));
            let fault = self.unknown(job);
            self.answer(call, Err(fault), out);
        }
        if record.row.owner == self.me() && self.ledger.lease_holds(now) {
            self.forget(now, job, record, out);
        }
        if !record.row.delivered {
            out.push(Effect::Observe(Observation::ResultUnread(job)));
        }
        out.push(Effect::Observe(Observation::JobDropped(job)));
    }

    /// Notices that the lease began or ended. With a new lease every own record's duties are looked at.
    fn notice_lease(&mut self, now: Now, out: &mut Effects) {
        let active = self.ledger.lease_holds(now);
        if active == self.active {
            return;
        }
        self.active = active;
        self.was_active |= active;
        out.push(Effect::Observe(if active { Observation::Active } else { Observation::Isolated }));
        if active {
            self.touched.extend(self.ledger.state().by_owner.get(&self.me()).into_iter().flatten());
        }
    }

    /// Runs the duties of the touched records, and gives their readers what is new.
    fn run_duties(&mut self, now: Now, out: &mut Effects) {
        let active = self.ledger.lease_holds(now);
        for job in core::mem::take(&mut self.touched) {
            let (state, limits) = (self.ledger.state(), &self.boot.config.limits);
            let Some(record) = state.jobs.get(&job) else { continue };
            let crowded = record.row.status.is_final() && state.is_crowded(&record.origin.tenant, limits);
            let context = Context {
                now,
                me: self.boot.config.node,
                timing: &self.boot.config.timing,
                limits: &self.boot.config.limits,
                links: &self.links,
                federation: &self.federation,
                breakers: &self.breakers,
                minor: self.ledger.minor_in_force(),
                active,
                crowded,
            };
            let Some(record) = self.ledger.state_mut().jobs.get_mut(&job) else { continue };
            let plan = record.duties(job, &context, out);
            let ended = record.pump(job, out);
            for call in ended {
                self.streams.remove(&call);
            }
            match plan.next {
                // What is due already has been decided and waits for the log, which wakes the record.
                Some(at) if at <= now.mono => self.wheel.arm(Timer::Duty(job), now.mono + RETRY),
                Some(at) => self.wheel.arm(Timer::Duty(job), at),
                None => drop(self.wheel.disarm(Timer::Duty(job))),
            }
            // In this order: what is asked now was decided before its predecessor's silence counted.
            for manager in plan.asked {
                self.breakers.sent(now.mono, manager);
            }
            for manager in plan.silent {
                if self.breakers.failed(now.mono, manager) {
                    out.push(Effect::Observe(Observation::CircuitOpened(manager)));
                }
            }
            for news in plan.commands {
                self.propose_for(now, job, Some(news), out);
            }
        }
    }
}
