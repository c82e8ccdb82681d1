//! Faults as they happen, and as they end; and the triggers that wait for an observation.

use tidegate_core::event::Event;
use tidegate_core::guard::{HYSTERESIS, Usage};
use tidegate_core::observe::Observation;
use tidegate_core::wire::MINOR;

use super::clock::Time;
use super::disk::Fails;
use super::facts::{Fact, HostIx, ProcessEnd};
use super::host::Actor;
use super::words::{fields_match, name_of};
use super::{Act, Item, Machine, World};
use crate::plan::{
    Direction, FaultKind, Greets, LoadPlan, MessageAction, MessageRule, PREVIOUS, Seen, Selector, When,
};

const MS: Time = 1_000_000;
/// A driver samples its machine this often.
const SAMPLE_EVERY: Time = 1_000 * MS;
/// After so many samples of a quiet machine its node is healthy, and more change nothing: they are left out.
const QUIET_SAMPLES: u32 = 3 * HYSTERESIS as u32 + 10;

/// Something that waits for an observation.
pub(super) struct Trigger {
    seen: Seen,
    left: u32,
    host: u32,
    act: Act,
}

/// A rule on messages that is in force.
pub(super) struct Rule {
    fault: u32,
    from: HostIx,
    to: Option<Vec<HostIx>>,
    rule: MessageRule,
    fitted: u32,
}

/// A fault that is on, with what it takes to undo it.
pub(super) struct Active {
    hosts: Vec<HostIx>,
    pairs: Vec<(u32, u32)>,
}

impl<M: Machine> World<M> {
    /// Something happens at an instant, or waits for an observation.
    pub(super) fn schedule(&mut self, host: u32, when: &When, act: Act) {
        match when {
            When::AtMs(ms) => self.queue.push(ms * MS, Item::Act { host, act, observer: None }),
            When::Seen(seen) => {
                self.triggers.push(Trigger { left: seen.nth.max(1), seen: seen.clone(), host, act });
            }
        }
    }

    /// An observation may be what somebody waits for.
    pub(super) fn pull_triggers(&mut self, host: HostIx, observation: &Observation) {
        let name = name_of(observation);
        let mut at = 0;
        while at < self.triggers.len() {
            let trigger = &self.triggers[at];
            let early = self.now < trigger.seen.not_before_ms * MS;
            let fits = !early && name.is(&trigger.seen.name) && self.trigger_fits(trigger, host, observation);
            if !fits {
                at += 1;
                continue;
            }
            self.triggers[at].left -= 1;
            if self.triggers[at].left > 0 {
                at += 1;
                continue;
            }
            let trigger = self.triggers.remove(at);
            let due = self.now + trigger.seen.after_ms * MS;
            self.queue
                .push(due, Item::Act { host: trigger.host, act: trigger.act, observer: Some(host as u32) });
        }
    }

    fn trigger_fits(&self, trigger: &Trigger, host: HostIx, observation: &Observation) -> bool {
        let by = trigger.seen.by.as_ref();
        by.is_none_or(|by| self.scene.select(by, Some(host)).contains(&host))
            && fields_match(&self.scene, observation, &trigger.seen.fields)
    }

    /// A planned fault happens.
    pub(super) fn fault_begins(&mut self, fault: usize, observer: Option<HostIx>) {
        if self.scene.healed {
            return;
        }
        let plan = self.scene.plan.faults[fault].clone();
        let hosts = self.scene.select(&plan.target, observer);
        let mut active = Active { hosts: Vec::new(), pairs: Vec::new() };
        for host in hosts {
            if !self.fault_hits(fault, host, &plan.kind, observer, &mut active) {
                continue;
            }
            active.hosts.push(host);
            *self.fired.entry(plan.kind.name()).or_insert(0) += 1;
            if let Some(trace) = &mut self.trace {
                let text =
                    format!("FAULT {} at {}: {:?}", plan.kind.name(), self.scene.hosts[host].name, plan.kind);
                trace.line(&self.scene, &text);
            }
            self.tell(&Fact::Fault { fault, kind: plan.kind.name(), host });
        }
        if active.hosts.is_empty() {
            return;
        }
        self.active.insert(fault as u32, active);
        if let Some(ms) = plan.for_ms {
            self.queue.push(self.now + ms * MS, Item::Undo { fault: fault as u32 });
        }
    }

    /// A fault hits one host; false where it has no effect there.
    fn fault_hits(
        &mut self,
        fault: usize,
        host: HostIx,
        kind: &FaultKind,
        observer: Option<HostIx>,
        active: &mut Active,
    ) -> bool {
        let is_node = host < self.scene.nodes;
        match kind {
            FaultKind::Cut { from, direction } => {
                let pairs = self.pairs(host, from.as_ref(), *direction, observer);
                self.cut(&pairs, true);
                active.pairs.extend(&pairs);
                !pairs.is_empty()
            }
            FaultKind::Heal => self.heal_host(host),
            FaultKind::Reset { from } => self.reset(host, from.as_ref(), observer),
            FaultKind::LossPermille(permille) => {
                self.hosts[host].loss_permille += permille;
                self.refresh_host(host);
                true
            }
            FaultKind::DelayMs(ms) => {
                self.hosts[host].delay_us += ms * 1_000;
                self.refresh_host(host);
                true
            }
            FaultKind::SlowReaderMs(ms) => {
                self.hosts[host].reads_late += ms * MS;
                true
            }
            FaultKind::Messages(rule) => {
                let to = rule.to.as_ref().map(|to| self.scene.select(to, observer));
                self.rules.push(Rule { fault: fault as u32, from: host, to, rule: rule.clone(), fitted: 0 });
                true
            }
            FaultKind::Garbage { from } => {
                let senders = self.scene.select(from, observer);
                for &sender in &senders {
                    self.send_garbage(sender, host);
                }
                !senders.is_empty()
            }
            FaultKind::Say(say) => self.puppet_says(host, say, observer),
            FaultKind::Greet { from, how } => {
                let strangers = self.scene.select(from, observer);
                strangers.into_iter().filter(|from| self.stranger(*from, host, how)).count() > 0
            }
            _ if !is_node => false,
            FaultKind::Greets(how) => self.greets_anew(host, how.clone()),
            FaultKind::Crash
            | FaultKind::Restart
            | FaultKind::OldVersion
            | FaultKind::NewVersion
            | FaultKind::Drain
            | FaultKind::Freeze
            | FaultKind::SlowUs(_)
            | FaultKind::Load(_) => self.process_fault(host, kind),
            FaultKind::WallJumpMs(_) | FaultKind::WallDriftPpm(_) | FaultKind::MonoRatePpm(_) => {
                self.clock_fault(host, kind);
                true
            }
            FaultKind::DiskFail
            | FaultKind::DiskSyncFail
            | FaultKind::DiskFull
            | FaultKind::CrashWhenStored(_)
            | FaultKind::DiskStall
            | FaultKind::DiskSlowUs(_)
            | FaultKind::DiskWipe
            | FaultKind::DiskSave
            | FaultKind::DiskRestore => self.disk_fault(host, kind),
        }
    }

    fn process_fault(&mut self, host: HostIx, kind: &FaultKind) -> bool {
        let runs = self.hosts[host].runs();
        match kind {
            FaultKind::Crash if runs => self.process_ends(host, ProcessEnd::Crash),
            FaultKind::Restart => {
                self.process_ends(host, ProcessEnd::Crash);
                self.process_begins(host);
            }
            FaultKind::OldVersion => self.starts_as(host, PREVIOUS),
            FaultKind::NewVersion => self.starts_as(host, MINOR),
            FaultKind::Drain if runs => self.deliver(host, Event::Drain),
            FaultKind::Freeze => {
                self.hosts[host].frozen += 1;
                self.hosts[host].wake = Time::MAX;
            }
            FaultKind::SlowUs(us) => self.hosts[host].slow_us += us,
            FaultKind::Load(load) => self.load(host, *load),
            _ => return false,
        }
        true
    }

    /// Others use a machine: its driver samples it until it has been quiet for long enough to be forgotten.
    fn load(&mut self, host: HostIx, load: LoadPlan) {
        let this = &mut self.hosts[host];
        this.loads.push(load);
        if core::mem::replace(&mut this.samples, QUIET_SAMPLES) == 0 {
            self.queue.push(self.now, Item::Sample { host: host as u32 });
        }
    }

    /// A driver samples its machine: of several loads the largest counts.
    pub(super) fn sample(&mut self, host: HostIx) {
        let this = &mut self.hosts[host];
        // What it is told of while it sleeps it takes for a load of its own, and forgets only afterwards.
        let is_quiet = this.loads.is_empty() && this.frozen == 0;
        this.samples = if is_quiet { this.samples - 1 } else { QUIET_SAMPLES };
        let most = |part: fn(&LoadPlan) -> u16| this.loads.iter().map(part).max().unwrap_or(0);
        let usage = Usage {
            cpu_permille: most(|load| load.cpu_permille),
            memory_permille: most(|load| load.memory_permille),
        };
        if this.samples > 0 {
            self.queue.push(self.now + SAMPLE_EVERY, Item::Sample { host: host as u32 });
        }
        self.deliver(host, Event::Usage(usage));
    }

    /// A node ends, and starts again as another version.
    fn starts_as(&mut self, host: HostIx, minor: u16) {
        self.process_ends(host, ProcessEnd::Crash);
        if let Some(config) = &mut self.hosts[host].config {
            config.minor = minor;
        }
        self.scene.minors[host] = minor;
        self.greets(host, self.hosts[host].greets.clone());
        self.process_begins(host);
    }

    /// A node greets otherwise, and everybody hears it.
    fn greets_anew(&mut self, host: HostIx, how: Greets) -> bool {
        self.greets(host, how);
        for peer in 0..self.hosts[host].peers.len() {
            let link = self.hosts[host].peers[peer].link as usize;
            if self.links[link].ends.iter().all(|end| (*end as usize) < self.scene.nodes) {
                self.links[link].refused = 0;
                self.break_session(link);
            }
        }
        true
    }

    fn clock_fault(&mut self, host: HostIx, kind: &FaultKind) {
        let clock = &mut self.hosts[host].clock;
        match *kind {
            FaultKind::WallJumpMs(ms) => clock.jump_wall(self.now, ms),
            FaultKind::WallDriftPpm(ppm) => clock.set_wall_rate(self.now, ppm),
            FaultKind::MonoRatePpm(ppm) => clock.set_mono_rate(self.now, ppm),
            _ => {}
        }
        self.hosts[host].wake = Time::MAX;
        self.arm(host);
    }

    fn disk_fault(&mut self, host: HostIx, kind: &FaultKind) -> bool {
        match kind {
            FaultKind::DiskFail => self.hosts[host].disk.fails_next = Some(Fails::Write),
            FaultKind::DiskSyncFail => self.hosts[host].disk.fails_next = Some(Fails::Sync),
            FaultKind::DiskFull => self.hosts[host].disk.full += 1,
            FaultKind::CrashWhenStored(nth) if self.hosts[host].runs() => {
                self.hosts[host].disk.crash_after = *nth;
            }
            FaultKind::DiskStall => self.hosts[host].disk.stalled = true,
            FaultKind::DiskSlowUs(us) => self.hosts[host].disk.slow_us += us,
            FaultKind::DiskSave => self.hosts[host].disk.save(),
            FaultKind::DiskWipe => {
                self.process_ends(host, ProcessEnd::Crash);
                self.wipe(host);
                self.process_begins(host);
            }
            FaultKind::DiskRestore => {
                self.process_ends(host, ProcessEnd::Crash);
                let restored = self.hosts[host].disk.restore();
                self.process_begins(host);
                return restored;
            }
            _ => return false,
        }
        true
    }

    /// A planned fault ends. What is broken when the core is healed stays so.
    pub(super) fn fault_ends(&mut self, fault: u32) {
        if self.scene.core.is_none() {
            self.fault_over(fault, None);
        }
    }

    /// A fault is over: everywhere, or where the core is.
    fn fault_over(&mut self, fault: u32, core: Option<&[bool]>) {
        let Some(mut active) = self.active.remove(&fault) else { return };
        if let Some(core) = core {
            active.hosts.retain(|&host| core[host]);
            active.pairs.retain(|&(a, b)| core[a as usize] && core[b as usize]);
        }
        let kind = self.scene.plan.faults[fault as usize].kind.clone();
        if let Some(trace) = &mut self.trace {
            let names: Vec<&str> = active.hosts.iter().map(|&host| self.scene.name(host)).collect();
            trace.line(&self.scene, &format!("over: {} at {}", kind.name(), names.join(", ")));
        }
        self.cut(&active.pairs, false);
        self.rules.retain(|rule| rule.fault != fault || !active.hosts.contains(&rule.from));
        for host in active.hosts {
            self.undo(host, &kind);
        }
    }

    fn undo(&mut self, host: HostIx, kind: &FaultKind) {
        match kind {
            FaultKind::Crash | FaultKind::Drain if !self.hosts[host].runs() => {
                self.process_begins(host);
            }
            // It has not finished yet: it starts again when it has.
            FaultKind::Drain => self.hosts[host].comes_back = true,
            FaultKind::CrashWhenStored(_) => {
                self.hosts[host].disk.crash_after = 0;
                if !self.hosts[host].runs() {
                    self.process_begins(host);
                }
            }
            FaultKind::OldVersion => self.starts_as(host, MINOR),
            FaultKind::Greets(_) => drop(self.greets_anew(host, Greets::default())),
            FaultKind::SlowReaderMs(ms) => self.hosts[host].reads_late -= ms * MS,
            FaultKind::Freeze => {
                self.hosts[host].frozen -= 1;
                self.thaw(host);
            }
            FaultKind::SlowUs(us) => self.hosts[host].slow_us -= us,
            FaultKind::Load(load) => {
                let loads = &mut self.hosts[host].loads;
                if let Some(place) = loads.iter().position(|it| it == load) {
                    loads.remove(place);
                }
            }
            FaultKind::LossPermille(permille) => {
                self.hosts[host].loss_permille -= permille;
                self.refresh_host(host);
            }
            FaultKind::DelayMs(ms) => {
                self.hosts[host].delay_us -= ms * 1_000;
                self.refresh_host(host);
            }
            FaultKind::WallDriftPpm(_) => self.clock_fault(host, &FaultKind::WallDriftPpm(0)),
            FaultKind::MonoRatePpm(_) => self.clock_fault(host, &FaultKind::MonoRatePpm(0)),
            FaultKind::DiskFail | FaultKind::DiskSyncFail | FaultKind::DiskFull => {
                let disk = &mut self.hosts[host].disk;
                disk.fails_next = None;
                disk.full -= u32::from(matches!(kind, FaultKind::DiskFull));
                if !self.hosts[host].runs() {
                    self.process_begins(host);
                }
            }
            FaultKind::DiskStall => self.disk_resumes(host),
            FaultKind::DiskSlowUs(us) => self.hosts[host].disk.slow_us -= us,
            _ => {}
        }
    }

    fn thaw(&mut self, host: HostIx) {
        if self.hosts[host].frozen == 0 {
            self.hosts[host].resume_due = false;
            self.queue.push(self.now, Item::Resume { host: host as u32, boot: self.scene.boots[host] });
            self.arm(host);
            self.dial_all(host);
        }
    }

    /// The faults are over: whatever was broken works again, and dead nodes start. Where the plan names a core, only
    /// there, and the rest stays as it is for ever.
    pub(super) fn heal(&mut self) {
        let core = self.core();
        let in_core = |host: u32| core.as_ref().is_none_or(|core| core[host as usize]);
        let mut faults: Vec<u32> = self.active.keys().copied().collect();
        // Disks first: a process that begins now would meet the old one.
        let spares_disks = |fault: &u32| {
            let kind = self.scene.plan.faults.get(*fault as usize).map(|fault| &fault.kind);
            !matches!(kind, Some(FaultKind::DiskFail | FaultKind::DiskSyncFail | FaultKind::DiskFull))
        };
        faults.sort_by_key(spares_disks);
        for fault in faults {
            self.fault_over(fault, core.as_deref());
        }
        let healed = |pair: &&(u32, u32)| in_core(pair.0) && in_core(pair.1);
        let pairs: Vec<(u32, u32)> = self.cuts.keys().filter(healed).copied().collect();
        self.cuts.retain(|pair, _| !healed(&pair));
        self.refresh_pairs(&pairs);
        self.points.end();
        self.scene.healed = true;
        if let Some(trace) = &mut self.trace {
            let names = self.scene.plan.run.core.join(", ");
            let text = if core.is_some() {
                format!("the core is healed: {names}")
            } else {
                "everything is healed".into()
            };
            trace.line(&self.scene, &text);
        }
        self.tell(&Fact::Healed);
        self.scene.core = core;
        for host in (0..self.scene.nodes).filter(|&host| self.scene.is_healed(host)).collect::<Vec<_>>() {
            self.hosts[host].clock.repair(self.now);
            self.hosts[host].wake = Time::MAX;
            if matches!(self.hosts[host].actor, Actor::Nothing) {
                self.process_begins(host);
            }
            self.arm(host);
        }
    }

    /// Which hosts are healed, where that is not all of them. Clients are.
    fn core(&self) -> Option<Vec<bool>> {
        let names = &self.scene.plan.run.core;
        let in_core = |host: &super::HostInfo| host.role.is_none() || names.contains(&host.name);
        (!names.is_empty()).then(|| self.scene.hosts.iter().map(in_core).collect())
    }

    // ---- cuts ----

    /// The pairs between a host and the others, in the direction that is cut.
    fn pairs(
        &self,
        host: HostIx,
        from: Option<&Selector>,
        direction: Direction,
        observer: Option<HostIx>,
    ) -> Vec<(u32, u32)> {
        let others = match from {
            Some(from) => self.scene.select(from, observer),
            None => (0..self.hosts.len()).collect(),
        };
        let others = others.into_iter().filter(|&other| other != host).map(|other| other as u32);
        let host = host as u32;
        others
            .flat_map(|other| {
                let out = (direction != Direction::In).then_some((host, other));
                out.into_iter().chain((direction != Direction::Out).then_some((other, host)))
            })
            .collect()
    }

    fn cut(&mut self, pairs: &[(u32, u32)], on: bool) {
        for pair in pairs {
            let count = self.cuts.entry(*pair).or_insert(0);
            *count = if on { *count + 1 } else { count.saturating_sub(1) };
            if *count == 0 {
                self.cuts.remove(pair);
            }
        }
        self.refresh_pairs(pairs);
    }

    fn refresh_pairs(&mut self, pairs: &[(u32, u32)]) {
        for &(a, b) in pairs {
            let node = self.scene.hosts[b as usize].node;
            if let Some(peer) = self.hosts[a as usize].peer(node) {
                let link = self.hosts[a as usize].peers[peer].link as usize;
                self.refresh_link(link);
            }
        }
    }

    fn refresh_host(&mut self, host: HostIx) {
        for peer in 0..self.hosts[host].peers.len() {
            let link = self.hosts[host].peers[peer].link as usize;
            self.refresh_link(link);
        }
    }

    fn heal_host(&mut self, host: HostIx) -> bool {
        let touches = |pair: &&(u32, u32)| pair.0 as usize == host || pair.1 as usize == host;
        let pairs: Vec<(u32, u32)> = self.cuts.keys().filter(touches).copied().collect();
        for pair in &pairs {
            self.cuts.remove(pair);
        }
        self.refresh_pairs(&pairs);
        !pairs.is_empty()
    }

    fn reset(&mut self, host: HostIx, from: Option<&Selector>, observer: Option<HostIx>) -> bool {
        let mut any = false;
        for (a, b) in self.pairs(host, from, Direction::Out, observer) {
            any |= self.reset_pair(a as usize, b as usize);
        }
        any
    }

    /// The connection of two hosts breaks; false where there is none.
    pub(super) fn reset_pair(&mut self, a: HostIx, b: HostIx) -> bool {
        let node = self.scene.hosts[b].node;
        let Some(peer) = self.hosts[a].peer(node) else { return false };
        let link = self.hosts[a].peers[peer].link as usize;
        let was_up = self.links[link].up != [false; 2];
        if was_up {
            self.break_session(link);
        }
        was_up
    }

    /// What the rules say about a message.
    pub(super) fn touch(&mut self, from: HostIx, to: HostIx, kind: &str) -> Option<MessageAction> {
        for rule in &mut self.rules {
            let fits = rule.from == from
                && rule.to.as_ref().is_none_or(|hosts| hosts.contains(&to))
                && rule.rule.kind.as_ref().is_none_or(|wanted| wanted == kind);
            if !fits {
                continue;
            }
            rule.fitted += 1;
            let first = rule.rule.nth.max(1);
            if rule.fitted >= first && (rule.rule.count == 0 || rule.fitted < first + rule.rule.count) {
                return Some(rule.rule.action);
            }
        }
        None
    }
}
