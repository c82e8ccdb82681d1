//! The datacenters as a gate judges them: whether they answer, how fit they are, and whether the fault is its own.
//!
//! | in | what happens | file |
//! |---|---|---|
//! | [`Federation::answered`]: a manager answered a ping in time | its datacenter is reachable; slow or not | `reach`, `latency` |
//! | [`Federation::heartbeat`]: a manager says how its datacenter stands | newest word of each manager; leader and figures by highest term | `figures` |
//! | [`Federation::receive_view`]: another gate says what it reaches | agreement or disagreement about a failure | `correlation` |
//! | [`Federation::connection_changed`] | who can be asked now | |
//! | [`Federation::wake`] | silence ends a state; a view goes to the other gates | `reach`, `trouble` |
//!
//! Out: `DcReach`, `DcHealth`, `RegionHealth`, `DcLeader`, `EvictionHeld`, `NetworkSlow`, `PartitionSuspected` and `PartitionHealed`, each on a change
//! and once; `GateView`s; and answers to queries, which change nothing. Gates and managers share no membership: a gate
//! pings every manager it is connected to ([`crate::link`]), so a datacenter answers as long as one of them does. What
//! managers say comes over mutually authenticated connections, and of their own datacenter alone.
//!
//! It moves no ownership and stops no job: an unreachable datacenter gets no new ones, and those that it runs go on.

mod correlation;
mod figures;
mod health;
mod latency;
mod reach;
mod region;
#[cfg(test)]
mod tests;
mod trouble;
mod turns;

pub use correlation::{BACKOFF, HOLD_MAX, Severity, WINDOW};
pub use health::Health;
pub use latency::{ELEVATED, FRESH, STREAK};
pub use reach::{MISSES, Reach, SUSPECTED_FOR};
pub use region::roll_up;
pub use trouble::{CALM, CONFIRM, FLAP_WINDOW, FLAPS, RECOVER, State};
pub use turns::turns;

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use self::correlation::{Others, grade, held_until};
use self::figures::Fact;
use self::health::{Figures, Signs, judge};
use self::latency::Latency;
use self::reach::Watch;
use self::trouble::Trouble;
use crate::config::NodeConfig;
use crate::effect::{Effect, Effects};
use crate::guard::Condition;
use crate::id::{BootNo, DcId, NodeId, Term};
use crate::link::Links;
use crate::observe::{Observation, Stale};
use crate::time::{Duration, Instant};
use crate::wheel::Wheel;
use crate::wire::{DcLoad, Feature, GateView, Message};

/// Another gate's view counts for this long.
pub const VIEW_TTL: Duration = Duration::from_secs(30);

/// Where no worker has come for so many heartbeats of a datacenter, none is missing.
pub const SETTLED: u64 = 3;

/// All configured datacenters: one record each, made at the start, never more.
#[derive(Clone, Debug)]
pub struct Federation {
    dcs: BTreeMap<DcId, Datacenter>,
    home: BTreeMap<NodeId, DcId>,
    /// The other gates, and their newest views.
    gates: BTreeMap<NodeId, Option<View>>,
    /// A manager's word is forgotten after this, and old after half of it.
    forget_after: Duration,
    view_period: Duration,
    boot: BootNo,
    views_made: u64,
    wheel: Wheel<Due>,
    /// A partition was testified and has not healed.
    partitioned: bool,
    /// Half of the datacenters have become slow together.
    network_slow: bool,
    /// What was testified last of the regions with more than one datacenter.
    regions: BTreeMap<DcId, Health>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    Dc(DcId),
    View,
    Latency,
}

#[derive(Clone, Debug)]
struct Datacenter {
    region: DcId,
    /// Its managers and the newest word of each.
    managers: BTreeMap<NodeId, Option<Fact>>,
    /// The most cores that it ever had, and when it came to have so many.
    most_cores: (u32, Instant),
    watch: Watch,
    latency: Latency,
    past: Trouble,
    group: Group,
    told: Told,
}

/// Whether its failure is one of a large group.
#[derive(Clone, Copy, Debug, Default)]
enum Group {
    /// It never was.
    #[default]
    Small,
    Large,
    /// It was, until then: others have come back.
    Shrunk(Instant),
}

/// What was testified last.
#[derive(Clone, Copy, Debug, Default)]
struct Told {
    reach: Reach,
    health: Health,
    held: bool,
    term: Term,
}

#[derive(Clone, Debug)]
struct View {
    at: Instant,
    view: GateView,
}

impl Federation {
    /// The datacenters of the configuration, of which nothing is known yet. Nothing happens before
    /// [`Federation::start`].
    pub fn new(config: &NodeConfig, boot: BootNo) -> Self {
        let mut federation = Self {
            dcs: BTreeMap::new(),
            home: BTreeMap::new(),
            gates: BTreeMap::new(),
            forget_after: config.timing.manager_stale,
            view_period: config.timing.dc_heartbeat,
            boot,
            views_made: 0,
            wheel: Wheel::default(),
            partitioned: false,
            network_slow: false,
            regions: BTreeMap::new(),
        };
        for gate in config.roster.gates.iter().filter(|gate| gate.node != config.node) {
            federation.gates.insert(gate.node, None);
        }
        for datacenter in &config.roster.datacenters {
            let managers = datacenter.managers.iter().map(|peer| peer.node);
            federation.home.extend(managers.clone().map(|manager| (manager, datacenter.dc)));
            let record = Datacenter {
                region: datacenter.region,
                managers: managers.map(|manager| (manager, None)).collect(),
                most_cores: (0, Instant::ZERO),
                watch: Watch::new(Instant::ZERO),
                latency: Latency::default(),
                past: Trouble::default(),
                group: Group::default(),
                told: Told::default(),
            };
            federation.dcs.insert(datacenter.dc, record);
        }
        for datacenter in &config.roster.datacenters {
            if federation.of_region(datacenter.region).count() > 1 {
                federation.regions.insert(datacenter.region, Health::Unknown);
            }
        }
        federation
    }

    /// Begins to watch.
    pub fn start(&mut self, now: Instant) {
        for (dc, record) in &mut self.dcs {
            record.watch = Watch::new(now);
            self.wheel.arm(Due::Dc(*dc), record.watch.ends().unwrap_or(now));
        }
        if !self.gates.is_empty() {
            self.wheel.arm(Due::View, now + self.view_period);
        }
    }

    /// A manager answered a ping in time, after `rtt`.
    pub fn answered(&mut self, now: Instant, from: NodeId, rtt: Duration, links: &Links, out: &mut Effects) {
        let Some(dc) = self.home(from) else { return };
        self.take_latency(now, dc, rtt, out);
        if let Some(record) = self.dcs.get_mut(&dc) {
            record.watch.answered(now, links.timeout(now, from));
            self.settle(now, dc, links, out);
        }
    }

    /// Takes a manager's word, if it is newer than what is known.
    ///
    /// # Errors
    ///
    /// Why it changed nothing: it is not the sender's own datacenter, or it is old.
    pub fn heartbeat(
        &mut self,
        now: Instant,
        from: NodeId,
        load: DcLoad,
        links: &Links,
        out: &mut Effects,
    ) -> Result<(), Stale> {
        let dc = self.home(from).filter(|home| *home == load.dc).ok_or(Stale::Sender)?;
        let record = self.dcs.get_mut(&dc).ok_or(Stale::Sender)?;
        let place = record.managers.get_mut(&from).ok_or(Stale::Sender)?;
        let cores = load.capacity.total_cores;
        Fact::take(place, now, load)?;
        if cores > record.most_cores.0 {
            record.most_cores = (cores, now);
        }
        self.settle(now, dc, links, out);
        Ok(())
    }

    /// Takes what another gate reaches.
    ///
    /// # Errors
    ///
    /// Why it changed nothing: the sender is no other gate, or it is old.
    pub fn receive_view(
        &mut self,
        now: Instant,
        from: NodeId,
        view: GateView,
        links: &Links,
        out: &mut Effects,
    ) -> Result<(), Stale> {
        let place = self.gates.get_mut(&from).ok_or(Stale::Sender)?;
        let newest = place.as_ref().map(|known| (known.view.boot, known.view.version));
        if newest.is_some_and(|newest| (view.boot, view.version) <= newest) {
            return Err(Stale::Sequence);
        }
        let told = |view: &GateView| (view.is_ready(), view.reachable() as u16);
        let (ready, reaches) = told(&view);
        let is_news = place.as_ref().is_none_or(|known| told(&known.view) != (ready, reaches));
        *place = Some(View { at: now, view });
        if is_news {
            out.push(Effect::Observe(Observation::GateReadiness { gate: from, ready, reaches }));
        }
        if self.dcs.values().any(|record| record.past.state() != State::Fine) {
            self.settle_all(now, links, out);
        }
        Ok(())
    }

    /// A connection came or went.
    pub fn connection_changed(&mut self, now: Instant, peer: NodeId, links: &Links, out: &mut Effects) {
        if let Some(dc) = self.home(peer) {
            self.settle(now, dc, links, out);
        }
    }

    /// Everything whose time has come.
    pub fn wake(&mut self, now: Instant, links: &Links, out: &mut Effects) {
        while let Some((_, due)) = self.wheel.pop_due(now) {
            match due {
                Due::Dc(dc) => {
                    if let Some(record) = self.dcs.get_mut(&dc) {
                        record.watch.pass(now);
                        record.past.pass(now);
                    }
                    self.settle(now, dc, links, out);
                }
                Due::View => self.tell_gates(now, links, out),
                Due::Latency => self.judge_latency(now, out),
            }
        }
    }

    /// The earliest deadline.
    pub fn wake_at(&self) -> Option<Instant> {
        self.wheel.next()
    }

    /// The datacenter of a manager.
    pub fn home(&self, manager: NodeId) -> Option<DcId> {
        self.home.get(&manager).copied()
    }

    /// Whether a datacenter is configured.
    pub fn is_known(&self, dc: DcId) -> bool {
        self.dcs.contains_key(&dc)
    }

    /// The configured datacenters.
    pub fn names(&self) -> impl Iterator<Item = DcId> + '_ {
        self.dcs.keys().copied()
    }

    /// How fit a datacenter is.
    pub fn health(&self, now: Instant, dc: DcId, links: &Links) -> Health {
        let Some(record) = self.dcs.get(&dc) else { return Health::Unknown };
        let heard = |(manager, fact): (&NodeId, &Option<Fact>)| {
            links.is_connected(*manager) && fact.as_ref().is_some_and(|fact| !self.is_old(now, fact))
        };
        let overloaded = || {
            let is_overloaded = |manager: &NodeId| links.peer_condition(*manager) == Condition::Overloaded;
            record.managers.keys().copied().filter(is_overloaded)
        };
        let leader = self.leader(now, dc, links);
        judge(Signs {
            reach: record.watch.reach(),
            held: self.is_held(now, dc),
            past: record.past.state(),
            figures: self.newest(now, dc, links, false).map(|fact| Figures {
                old: self.is_old(now, fact),
                workers: (fact.load.capacity.workers, fact.load.known_workers),
                free_cores: fact.load.capacity.free_cores,
                overloaded: fact.load.conditions[Condition::Overloaded as usize],
            }),
            overloaded: (
                overloaded().count(),
                leader.is_some_and(|leader| overloaded().any(|it| it == leader)),
            ),
            managers: (record.managers.iter().filter(|entry| heard(*entry)).count(), record.managers.len()),
        })
    }

    /// How grave the failure of a datacenter is together with those that began with it.
    pub fn severity(&self, dc: DcId) -> Severity {
        let failed_at = |record: &Datacenter| record.past.failed_at();
        let Some(own) = self.dcs.get(&dc).and_then(failed_at) else { return Severity::None };
        let together = |record: &&Datacenter| {
            failed_at(record).is_some_and(|at| at.since(own).max(own.since(at)) <= WINDOW)
        };
        let (mut halves, mut whole) = (0, 0);
        for record in self.dcs.values().filter(together) {
            halves += record.past.halves();
            whole += record.past.halves() / 2;
        }
        grade(halves, whole, self.dcs.len())
    }

    fn held_until(&self, now: Instant, dc: DcId) -> Option<Instant> {
        let record = self.dcs.get(&dc).filter(|record| record.watch.reach() == Reach::Unreachable)?;
        let relieved = if let Group::Shrunk(at) = record.group { Some(at) } else { None };
        // Two that fail together while the network is slow are no deaths either.
        let severity = match self.severity(dc) {
            Severity::Low if self.network_slow => Severity::Medium,
            severity => severity,
        };
        held_until(record.past.failed_at()?, severity, self.others(now, dc), relieved)
    }

    fn is_held(&self, now: Instant, dc: DcId) -> bool {
        self.held_until(now, dc).is_some_and(|until| now < until)
    }

    /// What most of the other gates, as far as they have said so of late, see of a datacenter.
    fn others(&self, now: Instant, dc: DcId) -> Others {
        let fresh = self.gates.values().flatten().filter(|view| now.since(view.at) < VIEW_TTL);
        let (mut all, mut reach, mut miss) = (0, 0, 0);
        for view in fresh {
            let seen = view.view.reaches.iter().find(|(name, _)| *name == dc).map(|(_, reach)| *reach);
            all += 1;
            reach += usize::from(seen == Some(Reach::Reachable));
            miss += usize::from(matches!(seen, Some(Reach::Suspected | Reach::Unreachable)));
        }
        if 2 * reach > all {
            Others::Reach
        } else if 2 * miss > all {
            Others::Miss
        } else {
            Others::Undecided
        }
    }

    /// Draws the conclusions for a datacenter, and for all where they concern all.
    fn settle(&mut self, now: Instant, dc: DcId, links: &Links, out: &mut Effects) {
        let Some(record) = self.dcs.get_mut(&dc) else { return };
        let (was, reach) = (record.told.reach, record.watch.reach());
        match (was, reach) {
            (Reach::Unknown | Reach::Reachable, Reach::Suspected) => record.past.fail(now),
            (Reach::Suspected | Reach::Unreachable, Reach::Reachable) => record.past.recover(now),
            _ => {}
        }
        if was != reach {
            record.told.reach = reach;
            out.push(Effect::Observe(Observation::DcReach { dc, reach }));
        }
        let state = record.past.state();
        // A confirmed failure changes the group that others belong to.
        if was != reach || state != State::Fine || self.partitioned {
            self.settle_all(now, links, out);
        } else {
            self.testify(now, dc, links, out);
        }
        if was != reach && !self.gates.is_empty() {
            self.tell_gates(now, links, out);
        }
    }

    fn settle_all(&mut self, now: Instant, links: &Links, out: &mut Effects) {
        let dcs: Vec<DcId> = self.names().collect();
        let grave = dcs.iter().filter(|dc| self.regroup(now, **dc)).count();
        if grave > 0 && !self.partitioned {
            self.partitioned = true;
            out.push(Effect::Observe(Observation::PartitionSuspected { dcs: grave as u16 }));
        }
        let fine = |record: &Datacenter| record.past.state() == State::Fine;
        if self.partitioned && self.dcs.values().all(fine) {
            self.partitioned = false;
            out.push(Effect::Observe(Observation::PartitionHealed));
        }
        for dc in dcs {
            self.testify(now, dc, links, out);
        }
    }

    /// Notes whether a datacenter's failure is one of a large group; tells it.
    fn regroup(&mut self, now: Instant, dc: DcId) -> bool {
        let large = self.severity(dc) >= Severity::Medium;
        if let Some(record) = self.dcs.get_mut(&dc) {
            record.group = match record.group {
                _ if large => Group::Large,
                _ if record.past.failed_at().is_none() => Group::Small,
                Group::Large => Group::Shrunk(now),
                known => known,
            };
        }
        large
    }

    /// Says what has changed of a datacenter, and arms its next deadline.
    fn testify(&mut self, now: Instant, dc: DcId, links: &Links, out: &mut Effects) {
        let (health, held) = (self.health(now, dc, links), self.is_held(now, dc));
        let leader = self.leading(now, dc, links);
        let next = self.next_change(now, dc);
        let Some(record) = self.dcs.get_mut(&dc) else { return };
        let told = &mut record.told;
        if let Some((term, leader)) = leader.filter(|(term, _)| *term > told.term) {
            told.term = term;
            out.push(Effect::Observe(Observation::DcLeader { dc, leader, term }));
        }
        if told.held != held {
            told.held = held;
            out.push(Effect::Observe(Observation::EvictionHeld { dc, held }));
        }
        if told.health != health {
            told.health = health;
            out.push(Effect::Observe(Observation::DcHealth { dc, health }));
            self.testify_region(dc, out);
        }
        match next {
            Some(at) => self.wheel.arm(Due::Dc(dc), at),
            None => drop(self.wheel.disarm(Due::Dc(dc))),
        }
    }

    /// When something of a datacenter changes by itself.
    fn next_change(&self, now: Instant, dc: DcId) -> Option<Instant> {
        let record = self.dcs.get(&dc)?;
        let ages = record
            .managers
            .values()
            .flatten()
            .flat_map(|fact| [fact.at + self.forget_after.scale(1, 2), fact.at + self.forget_after]);
        // A deadline of these that has passed is due at once: several may end in one instant.
        let ends = [record.watch.ends(), record.past.ends()].map(|at| at.map(|at| at.max(now)));
        // What other gates said matters where a failure may be held.
        let unreachable = record.watch.reach() == Reach::Unreachable;
        let views = self.gates.values().flatten().filter(|_| unreachable).map(|view| view.at + VIEW_TTL);
        let later = ages.chain(views).chain(self.held_until(now, dc)).filter(|at| *at > now);
        later.chain(ends.into_iter().flatten()).min()
    }

    /// Tells every connected gate what this one reaches and how loaded it is, and again after the usual time.
    pub fn tell_gates(&mut self, now: Instant, links: &Links, out: &mut Effects) {
        self.wheel.arm(Due::View, now + self.view_period);
        self.views_made += 1;
        let view = self.own_view(links);
        for gate in self.gates.keys().filter(|gate| links.may_use(**gate, Feature::GateViews)) {
            let view = GateView { condition: links.condition_for(*gate), ..view.clone() };
            out.push(Effect::Send { to: *gate, message: Box::new(Message::GateView(view)) });
        }
    }

    fn own_view(&self, links: &Links) -> GateView {
        let reaches = self.dcs.iter().map(|(dc, record)| (*dc, record.watch.reach()));
        GateView {
            boot: self.boot,
            version: self.views_made,
            reaches: reaches.take(GateView::MAX_DCS).collect(),
            condition: links.condition(),
        }
    }

    /// Whether a gate should get jobs of others, and how many datacenters answer it, as it said last; this gate as it
    /// knows. Of one that has said nothing nothing is held against it.
    pub fn readiness(&self, gate: NodeId, links: &Links) -> (bool, u16) {
        let told = |view: &GateView| (view.is_ready(), view.reachable() as u16);
        match self.gates.get(&gate) {
            Some(Some(known)) => told(&known.view),
            Some(None) => (true, 0),
            None => told(&self.own_view(links)),
        }
    }
}
