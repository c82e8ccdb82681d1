//! Steps of nodes: events go in, effects are performed in order, and all of it goes into the digest.

use std::hash::{Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};

use tidegate_core::api::Answer;
use tidegate_core::config::Boot;
use tidegate_core::effect::{Effect, HaltReason};
use tidegate_core::event::Event;
use tidegate_core::id::{BootNo, CallId};
use tidegate_core::observe::Observation;
use tidegate_core::store::{StoreToken, Write};
use tidegate_core::time::{Duration, Now};

use super::client::{Down, Up};
use super::clock::Time;
use super::disk::Written;
use super::facts::{Fact, HostIx, ProcessEnd};
use super::fate::About;
use super::host::{Actor, disk_id};
use super::{Item, Machine, World};

/// The oracle that a panic breaks.
pub const NO_PANIC: &str = "no panic";
/// More steps of one node in one instant are no work: it asks to be woken again and again.
const STEPS_AT_ONCE_MAX: u32 = 20_000;

impl<M: Machine> World<M> {
    /// Gives an event to a node: at once, or when it is no longer frozen or busy.
    #[inline]
    pub(super) fn deliver(&mut self, host: HostIx, event: Event) {
        let this = &mut self.hosts[host];
        if !matches!(this.actor, Actor::Node(_)) {
            return;
        }
        if this.frozen == 0 && this.busy_until <= self.now && this.inbox.is_empty() {
            return self.step(host, event, 0);
        }
        this.inbox.push_back((self.now, event));
        self.resume_later(host);
    }

    fn resume_later(&mut self, host: HostIx) {
        let this = &mut self.hosts[host];
        if this.frozen == 0 && !this.resume_due && !this.inbox.is_empty() {
            this.resume_due = true;
            let at = this.busy_until.max(self.now);
            self.queue.push(at, Item::Resume { host: host as u32, boot: self.scene.boots[host] });
        }
    }

    /// A process that was frozen or busy takes the next event that waits.
    pub(super) fn resume(&mut self, host: HostIx) {
        let this = &mut self.hosts[host];
        this.resume_due = false;
        if this.frozen == 0 && this.busy_until <= self.now && !this.inbox.is_empty() {
            let place = if self.points.any() { self.next_in_inbox(host) } else { 0 };
            if let Some((arrived, event)) = self.hosts[host].inbox.remove(place) {
                self.step(host, event, self.now - arrived);
            }
        }
        self.resume_later(host);
    }

    /// The timer of a node fires.
    pub(super) fn wake(&mut self, host: HostIx, at: Time) {
        let this = &mut self.hosts[host];
        if this.wake != at {
            return;
        }
        this.wake = Time::MAX;
        let Actor::Node(node) = &this.actor else { return };
        let due = node.wake_at().is_some_and(|deadline| deadline <= this.clock.mono(self.now));
        if due && this.frozen == 0 {
            self.deliver(host, Event::Wake);
        } else {
            self.arm(host);
        }
    }

    /// Sees to it that the queue wakes a node in time. A frozen one is woken when it thaws.
    #[inline]
    pub(super) fn arm(&mut self, host: HostIx) {
        let late_us = self.scene.plan.cluster.timer_late_us;
        let this = &mut self.hosts[host];
        let Actor::Node(node) = &this.actor else { return };
        let Some(deadline) = node.wake_at() else { return };
        if this.frozen > 0 {
            return;
        }
        let mut at = this.clock.when(deadline, self.now);
        if at >= this.wake {
            return;
        }
        if late_us > 0 {
            this.wakes += 1;
            at += self.fate.of(this.key).decide(About::Timer, 0, this.wakes).below(late_us * 1_000);
        }
        if self.points.any() {
            at += self.wake_lateness(host);
        }
        self.hosts[host].wake = at;
        self.queue.push(at, Item::Wake { host: host as u32, at });
    }

    /// One step of a node, with its effects performed.
    pub(super) fn step(&mut self, host: HostIx, event: Event, waited: Time) {
        let this = &mut self.hosts[host];
        let Actor::Node(node) = &mut this.actor else { return };
        let now = Now {
            mono: this.clock.mono(self.now),
            wall: this.clock.wall(self.now),
            waited: Duration::from_nanos(waited),
        };
        this.busy_until = self.now + this.slow_us * 1_000;
        self.steps += 1;
        let (instant, steps) = this.steps_at;
        this.steps_at = if instant == self.now { (instant, steps + 1) } else { (self.now, 1) };
        if this.steps_at.1 > STEPS_AT_ONCE_MAX {
            let text = format!(
                "{} takes {STEPS_AT_ONCE_MAX} steps in one instant, now {event:?}",
                self.scene.name(host)
            );
            return self.violate("no spinning", text);
        }
        self.digest.write_u64(self.now);
        self.digest.write_u64(host as u64);
        event.hash(&mut self.digest);
        if let Some(trace) = &mut self.trace {
            trace.event(&self.scene, host, &event);
        }
        let mut effects = self.effects.take().unwrap_or_default();
        let run = AssertUnwindSafe(|| node.step_into(now, event, &mut effects));
        if let Err(panic) = catch_unwind(run) {
            let why = panic_text(panic.as_ref());
            self.violate(NO_PANIC, format!("{} panicked: {why}", self.scene.name(host)));
            return self.process_ends(host, ProcessEnd::Crash);
        }
        for effect in effects.drain(..) {
            effect.hash(&mut self.digest);
            if let Some(trace) = &mut self.trace {
                trace.effect(&self.scene, host, &effect);
            }
            if !self.perform(host, effect) {
                break;
            }
        }
        effects.clear();
        self.effects = Some(effects);
        if let Some(stream) = &mut self.step_digests {
            stream(self.digest.finish());
        }
        if self.points.any() {
            self.after_step(host);
        }
        self.arm(host);
    }

    /// Performs one effect; false where the process has ended.
    #[inline]
    fn perform(&mut self, host: HostIx, effect: Effect) -> bool {
        match effect {
            Effect::Send { to, message } => {
                if let Some(peer) = self.hosts[host].peer(to) {
                    self.send(host, peer, message);
                }
            }
            Effect::SendDatagram { to, packet } => self.send_datagram(host, to, packet),
            Effect::Store { token, writes } => self.store(host, token, writes),
            Effect::Exec(command) => self.exec_command(host, *command),
            Effect::Answer { call, answer } => self.answer(host, call, answer),
            Effect::Push { call, event } => {
                if event.is_none() {
                    self.hosts[host].open_calls.remove(&call);
                }
                self.send_down(host, client_of(call), Down::Push { call, event });
                if self.points.any() {
                    self.after_push(host, call);
                }
            }
            Effect::Observe(observation) => self.observed(host, &observation),
            Effect::Halt(reason) => {
                if let Some(trace) = &mut self.trace {
                    trace.line(&self.scene, &format!("{} halts: {reason:?}", self.scene.name(host)));
                }
                self.process_ends(host, ProcessEnd::Halt(reason));
                if reason == HaltReason::Drained && self.hosts[host].comes_back {
                    self.queue.push(self.now, Item::Begin { host: host as u32 });
                }
                return false;
            }
        }
        true
    }

    fn observed(&mut self, host: HostIx, observation: &Observation) {
        self.scene.learn(host, observation);
        if let Some(trace) = &mut self.trace {
            trace.observed(&self.scene, host, observation);
        }
        self.tell(&Fact::Observed { host, observation });
        if let Observation::JobDropped(job) = *observation {
            self.dropped.push((host, job));
        }
        if !self.triggers.is_empty() {
            self.pull_triggers(host, observation);
        }
    }

    /// A node says that it has dropped jobs: what mentions them still? Asked once its step is over.
    pub(super) fn check_dropped(&mut self) {
        while let Some((host, job)) = self.dropped.pop() {
            if let Actor::Node(node) = &self.hosts[host].actor {
                let mentions = node.mentions(job);
                self.tell(&Fact::Dropped { host, job, mentions });
            }
        }
    }

    // ---- API ----

    /// A frame from a client reached a gate.
    pub(super) fn gate_receive(&mut self, gate: HostIx, client: HostIx, up: Up) {
        match up {
            Up::Call { call, identity, request } => {
                self.hosts[gate].open_calls.insert(call, false);
                self.tell(&Fact::Called { client, gate, request: &request });
                self.deliver(gate, Event::Api { call, identity, request });
            }
            Up::Writable { call, credit } => self.deliver(gate, Event::ApiWritable { call, credit }),
            Up::Hangup { call } => {
                if self.hosts[gate].open_calls.remove(&call).is_some() {
                    self.deliver(gate, Event::ApiClosed { call });
                }
            }
        }
    }

    fn answer(&mut self, gate: HostIx, call: CallId, answer: Box<Answer>) {
        match self.hosts[gate].open_calls.get_mut(&call) {
            Some(true) => {
                return self
                    .violate("one answer", format!("{} answered call {call} twice", self.scene.name(gate)));
            }
            Some(answered) => *answered = true,
            // The caller hung up while the node was at it.
            None => return,
        }
        if !matches!(*answer, Answer::Stream) {
            self.hosts[gate].open_calls.remove(&call);
        }
        let from = client_of(call);
        if let Answer::Fault(fault) = &*answer
            && self.hosts[gate].peer(self.scene.hosts[from].node).is_none()
        {
            self.tell(&Fact::GreetingRefused { host: gate, from, fault });
        }
        if let Answer::Submitted(submitted) = &*answer {
            self.name_job_of(client_of(call), call, submitted.job);
        }
        self.send_down(gate, client_of(call), Down::Answer { call, answer });
    }

    /// A gate's connection to a client broke: its calls are over.
    pub(super) fn close_calls(&mut self, gate: HostIx, client: HostIx) {
        let open: Vec<CallId> =
            self.hosts[gate].open_calls.keys().copied().filter(|&call| client_of(call) == client).collect();
        for call in open {
            self.hosts[gate].open_calls.remove(&call);
            self.deliver(gate, Event::ApiClosed { call });
        }
    }

    // ---- disk ----

    fn store(&mut self, host: HostIx, token: StoreToken, writes: Vec<Write>) {
        self.tell(&Fact::Given { host, writes: &writes });
        let plan = &self.scene.plan.cluster.disk;
        let this = &mut self.hosts[host];
        let number = this.disk.given();
        let draw = self.fate.of(this.key).decide(About::DiskWrite, 0, number);
        let takes = plan.sync_us * 1_000 + draw.below(plan.jitter_us * 1_000 + 1);
        let at = this.disk.give(self.now, token, writes, takes);
        self.queue.push(at, Item::Stored { host: host as u32, boot: self.scene.boots[host] });
    }

    /// A write may have ended.
    pub(super) fn stored(&mut self, host: HostIx) {
        match self.hosts[host].disk.end_first(self.now) {
            (_, Written::Nothing) => {}
            (token, Written::Durable(writes)) => {
                self.tell(&Fact::Durable { host, writes: &writes });
                if self.hosts[host].disk.crashes_now() {
                    return self.process_ends(host, ProcessEnd::Crash);
                }
                self.complete(host, token, false);
            }
            (token, Written::Failed(kept)) => {
                if !kept.is_empty() {
                    self.tell(&Fact::Durable { host, writes: &kept });
                }
                self.tell(&Fact::WriteFailed { host });
                self.complete(host, token, true);
            }
        }
    }

    /// A disk works again.
    pub(super) fn disk_resumes(&mut self, host: HostIx) {
        for at in self.hosts[host].disk.resume(self.now) {
            self.queue.push(at, Item::Stored { host: host as u32, boot: self.scene.boots[host] });
        }
    }

    // ---- processes ----

    /// A process begins from what is on its disk.
    pub(super) fn process_begins(&mut self, host: HostIx) {
        let this = &mut self.hosts[host];
        let Some(config) = this.config.as_deref().cloned() else { return };
        // The count of starts must be durable before anything else.
        if this.disk.full > 0 {
            return;
        }
        let (boot, rows) = this.disk.begin();
        this.comes_back = false;
        this.clock.restart(self.now);
        let seed = self.fate.of(this.key).seed(u64::from(boot) | u64::from(self.streams) << 32);
        let boot = Boot { config, boot: BootNo(boot), disk: this.disk.id, seed, rows };
        self.digest.write_u64(self.now);
        boot.hash(&mut self.digest);
        self.scene.boots[host] = boot.boot.0;
        if let Some(trace) = &mut self.trace {
            trace.line(&self.scene, &format!("{} starts, boot {}", self.scene.hosts[host].name, boot.boot));
        }
        let number = boot.boot.0;
        match catch_unwind(AssertUnwindSafe(|| M::begin(boot))) {
            Ok(Ok(node)) => {
                self.hosts[host].actor = Actor::Node(Box::new(node));
                self.scene.running[host] = true;
                self.tell(&Fact::Began { host, boot: number });
                self.deliver(host, Event::Start);
                self.dial_all(host);
            }
            Ok(Err(reason)) => {
                if let Some(trace) = &mut self.trace {
                    let text = format!("{} refuses to start: {reason:?}", self.scene.hosts[host].name);
                    trace.line(&self.scene, &text);
                }
                self.tell(&Fact::Ended { host, end: ProcessEnd::Refused(reason) });
            }
            Err(panic) => {
                let why = panic_text(panic.as_ref());
                self.violate(NO_PANIC, format!("{} panicked at its start: {why}", self.scene.name(host)));
            }
        }
    }

    /// A process ends: with its machine, or by itself. What was not synced may be lost.
    pub(super) fn process_ends(&mut self, host: HostIx, end: ProcessEnd) {
        let this = &mut self.hosts[host];
        if !this.runs() {
            return;
        }
        this.actor = Actor::Nothing;
        this.inbox.clear();
        this.resume_due = false;
        this.wake = Time::MAX;
        this.busy_until = 0;
        (this.completing, this.completes_at) = (0, 0);
        this.open_calls.clear();
        let boot = u64::from(self.scene.boots[host]);
        let draw = self.fate.of(this.key).decide(About::Crash, 0, boot);
        let kept = draw.below(this.disk.pending() as u64 + 1) as usize;
        let survived = this.disk.crash(kept);
        self.scene.running[host] = false;
        if !survived.is_empty() {
            self.tell(&Fact::Durable { host, writes: &survived });
        }
        self.exec_die(host);
        self.hang_up_all(host);
        self.tell(&Fact::Ended { host, end });
    }

    /// The disk of a machine is replaced by an empty one.
    pub(super) fn wipe(&mut self, host: HostIx) {
        let this = &mut self.hosts[host];
        let number = this.disk.given() + 1;
        let id = disk_id(self.fate, this.key, number);
        this.disk.wipe(id);
    }
}

/// Which client made a call: its place is in the number.
pub(super) const fn client_of(call: CallId) -> HostIx {
    (call.0 >> 32) as HostIx
}

/// The words of a panic.
pub fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
        (Some(text), _) => (*text).to_string(),
        (_, Some(text)) => text.clone(),
        _ => "a panic without words".into(),
    }
}
