//! The world: nodes, clients, links, disks, clocks and executors around one queue of events.
//!
//! In: a [`Plan`], and spectators. Out: a [`Verdict`]. A world reads no clock, draws no random number (see [`fate`]) and
//! shares nothing with another one, so equal plans give equal worlds, step by step: the digest over (time, node, event,
//! effects) says so.

mod client;
mod clock;
mod codec;
mod disk;
mod exec;
mod facts;
mod fate;
mod faults;
mod greeting;
mod host;
mod machine;
mod net;
mod points;
mod puppet;
mod queue;
mod step;
mod surgery;
mod trace;
mod waits;
mod words;

pub use clock::Time;
pub use facts::{Fact, HostInfo, HostIx, Interest, ProcessEnd, Scene, Spectator};
pub use fate::{About, Draw, Fate, key};
pub use machine::Machine;
pub use queue::Queue;
pub use step::{NO_PANIC, panic_text};
pub use trace::Trace;
pub use words::{Name, fields, name_of};

use std::collections::BTreeMap;
use std::hash::Hasher as _;

use tidegate_core::digest::Digest;
use tidegate_core::effect::Effects;
use tidegate_core::event::Event;
use tidegate_core::id::{CallId, JobId};
use tidegate_core::store::StoreToken;
use tidegate_core::swim::Packet;

use self::client::Client;
use self::faults::{Active, Rule, Trigger};
use self::host::{Actor, Host, Peer};
use self::net::{Frame, Link};
use crate::plan::{BadPlan, Behaviour, LinkPlan, Plan};

/// How often it is asked whether the run may end.
const CHECK_EVERY: Time = 500_000_000;
/// How often the bounds of nodes are looked at where the plan does not say.
const LOOK_EVERY: Time = 5_000_000_000;
const MS: Time = 1_000_000;

/// What was planned for a moment.
#[derive(Clone, Copy, Debug)]
enum Act {
    /// A fault of the plan begins.
    Fault { fault: u32 },
    /// A client begins a task.
    Begin { task: usize },
    /// A client wants a task's job cancelled.
    Cancel { task: usize },
}

/// What the queue holds.
enum Item {
    Wake { host: u32, at: Time },
    Sample { host: u32 },
    Frame { link: u32, end: u8, session: u32, frame: Frame },
    Datagram { from: u32, to: u32, packet: Box<Packet> },
    Session { link: u32 },
    CutTimeout { link: u32, cut_no: u32 },
    Stored { host: u32, boot: u32 },
    Completed { host: u32, boot: u32, token: StoreToken, failed: bool },
    WokenForNothing { host: u32, boot: u32 },
    CallClosed { gate: u32, call: CallId },
    Read { client: u32, gate: u32, call: CallId },
    Exec { host: u32, boot: u32, execution: u32, plan: u32 },
    Resume { host: u32, boot: u32 },
    Begin { host: u32 },
    Act { host: u32, act: Act, observer: Option<u32> },
    Undo { fault: u32 },
    HealAll,
    Client { host: u32, task: u32, at: Time },
    CallLost { client: u32, call: CallId },
    ResetPair { a: u32, b: u32 },
    Look,
    Check,
    Reroll { salt: u64 },
    Stop,
}

// Entries are moved and sorted all the time: what is large and rare in them is boxed.
const _: () = assert!(size_of::<Item>() <= 32);

/// What an oracle found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which oracle.
    pub oracle: String,
    /// When, in simulated milliseconds.
    pub at_ms: u64,
    /// What should have been, and what was.
    pub message: String,
}

/// What came out of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Over every step.
    pub digest: u64,
    /// Steps of nodes.
    pub steps: u64,
    /// How far the world got.
    pub simulated_ms: u64,
    /// Faults that really happened, by kind.
    pub fired: BTreeMap<&'static str, u64>,
    /// Messages and datagrams that went through the codec.
    pub wired: u64,
    /// How often the rule of each spectator was put to the test.
    pub tested: BTreeMap<&'static str, u64>,
    /// The first violation, if there was one: the run ended there.
    pub violation: Option<Violation>,
}

/// A world.
pub struct World<M> {
    now: Time,
    queue: Queue<Item>,
    hosts: Vec<Host<M>>,
    links: Vec<Link>,
    /// Links between regions, `region_count` to a row.
    regions: Vec<LinkPlan>,
    region_count: usize,
    fate: Fate,
    points: points::Points,
    scene: Scene,
    behaviours: BTreeMap<Vec<u8>, Behaviour>,
    /// Directions in which nothing comes through, and how many faults want it so.
    cuts: BTreeMap<(u32, u32), u32>,
    rules: Vec<Rule>,
    said: puppet::Said,
    triggers: Vec<Trigger>,
    active: BTreeMap<u32, Active>,
    fired: BTreeMap<&'static str, u64>,
    dropped: Vec<(HostIx, JobId)>,
    /// The buffer of the last step, lent to the next one; boxed, since it is lent by value.
    effects: Option<Box<Effects>>,
    digest: Digest,
    steps: u64,
    wired: u64,
    spectators: Vec<(Interest, Box<dyn Spectator>)>,
    interest: Interest,
    trace: Option<Trace>,
    step_digests: Option<Box<dyn FnMut(u64)>>,
    violation: Option<Violation>,
    over: bool,
    /// The run was cut off: what had still to come is not judged.
    cut_off: bool,
    /// Which random streams the nodes have; 0 is the plan's own.
    streams: u32,
}

impl<M: Machine> World<M> {
    /// The world of a plan, in which nothing has happened yet.
    pub fn new(plan: Plan, spectators: Vec<Box<dyn Spectator>>) -> Result<Self, BadPlan> {
        plan.check()?;
        let (infos, nodes) = host::hosts_of(&plan)?;
        let fate = Fate::new(plan.seed);
        let said = puppet::Said::new(&plan.faults);
        let (region_names, regions) = regions_of(&plan, &infos);
        let region =
            |info: &HostInfo| region_names.iter().position(|name| *name == info.region).unwrap_or(0) as u32;
        let mono_ppm = plan.cluster.mono_ppm;
        let configs = host::configs(&plan.cluster, &infos[..nodes]);
        let hosts = infos
            .iter()
            .enumerate()
            .map(|(ix, info)| Host::new(info, configs.get(ix).cloned(), region(info), fate, mono_ppm));
        let spectators: Vec<_> = spectators.into_iter().map(|one| (one.interest(), one)).collect();
        let mut world = Self {
            now: 0,
            queue: Queue::default(),
            hosts: hosts.collect(),
            links: Vec::new(),
            regions,
            region_count: region_names.len(),
            fate,
            points: points::Points::new(&plan),
            behaviours: exec::behaviours(&plan),
            scene: Scene::new(plan, infos, nodes),
            cuts: BTreeMap::new(),
            rules: Vec::new(),
            said,
            triggers: Vec::new(),
            active: BTreeMap::new(),
            fired: BTreeMap::new(),
            dropped: Vec::new(),
            effects: None,
            digest: Digest::default(),
            steps: 0,
            wired: 0,
            interest: spectators.iter().fold(Interest::NONE, |all, (one, _)| all.and(*one)),
            spectators,
            trace: None,
            step_digests: None,
            violation: None,
            over: false,
            cut_off: false,
            streams: 0,
        };
        for host in 0..world.scene.nodes {
            let how = world.scene.plan.cluster.greets.get(world.scene.name(host)).cloned();
            world.greets(host, how.unwrap_or_default());
        }
        world.connect_hosts();
        world.plan_everything();
        Ok(world)
    }

    /// Tells the story of the run.
    pub fn trace(&mut self, trace: Trace) {
        self.trace = Some(trace);
    }

    /// Calls this with the running digest after each step.
    pub fn each_step(&mut self, stream: Box<dyn FnMut(u64)>) {
        self.step_digests = Some(stream);
    }

    /// Gives every node another random stream: what a change of its draws, anywhere in it, comes to.
    pub const fn perturb_streams(&mut self, streams: u32) {
        self.streams = streams;
    }

    /// From this instant on, chance decides otherwise; before, everything is as it was.
    pub fn reroll_at(&mut self, at: Time, salt: u64) {
        self.queue.push(at, Item::Reroll { salt });
    }

    /// Cuts the run off at this instant, without judging what had still to come.
    pub fn stop_at(&mut self, at: Time) {
        self.queue.push(at, Item::Stop);
    }

    fn connect_hosts(&mut self) {
        let nodes = self.scene.nodes;
        let mut pairs = M::connections(&self.scene.hosts[..nodes]);
        let is_gate = |ix: &usize| self.scene.hosts[*ix].role == Some(tidegate_core::id::Role::Gate);
        let gates: Vec<usize> = (0..nodes).filter(is_gate).collect();
        pairs.extend(
            (nodes..self.hosts.len()).flat_map(|client| gates.iter().map(move |&gate| (client, gate))),
        );
        for (a, b) in pairs {
            let plan = self.regions
                [self.hosts[a].region as usize * self.region_count + self.hosts[b].region as usize];
            let link = self.links.len() as u32;
            self.links.push(Link::new([a as u32, b as u32], plan));
            for (end, (host, other)) in [(a, b), (b, a)].into_iter().enumerate() {
                let node = self.scene.hosts[other].node;
                let sent = Box::new([0; Peer::KINDS]);
                self.hosts[host].peers.push(Peer { node, link, end: end as u8, sent });
            }
        }
        for host in &mut self.hosts {
            host.peers.sort_unstable_by_key(|peer| peer.node);
        }
    }

    fn plan_everything(&mut self) {
        let plan = self.scene.plan.clone();
        let names: Vec<String> = self.scene.hosts.iter().map(|host| host.name.clone()).collect();
        let gates: Vec<HostIx> = (0..usize::from(plan.cluster.gates)).collect();
        let present = (0..self.scene.nodes).filter(|&ix| !plan.cluster.absent.contains(&names[ix]));
        for (place, host) in present.enumerate() {
            let at = place as Time * plan.cluster.start_stagger_ms * MS;
            self.queue.push(at, Item::Begin { host: host as u32 });
        }
        for (place, client_plan) in plan.clients.iter().enumerate() {
            let host = self.scene.nodes + place;
            let (client, begins) = Client::new(client_plan, &gates, &names);
            self.hosts[host].actor = Actor::Client(Box::new(client));
            self.scene.running[host] = true;
            for (when, act) in begins {
                self.schedule(host as u32, &when, act);
            }
        }
        for (fault, fault_plan) in (0..).zip(&plan.faults) {
            self.schedule(0, &fault_plan.when, Act::Fault { fault });
        }
        self.queue.push(plan.run.faults_end_ms * MS, Item::HealAll);
        self.queue.push(CHECK_EVERY, Item::Check);
        self.look_later();
    }

    /// Shows what every running node holds, and again after the plan's time.
    fn look(&mut self) {
        for host in 0..self.scene.nodes {
            if let Actor::Node(node) = &self.hosts[host].actor {
                let holds = node.census();
                self.tell(&Fact::Looked { host, holds: &holds });
            }
        }
        self.look_later();
    }

    fn look_later(&mut self) {
        let every = match self.scene.plan.run.look_every_ms {
            0 => LOOK_EVERY,
            planned => planned * MS,
        };
        self.queue.push(self.now + every, Item::Look);
    }

    /// Runs to the end, or to the first violation.
    pub fn run(mut self) -> Verdict {
        while !self.over {
            self.advance();
        }
        if self.violation.is_none() && !self.cut_off {
            self.finish();
        }
        Verdict {
            digest: self.digest.finish(),
            steps: self.steps,
            simulated_ms: self.now / MS,
            fired: self.fired,
            wired: self.wired,
            tested: self.spectators.iter().map(|(_, one)| (one.name(), one.tested())).collect(),
            violation: self.violation,
        }
    }

    /// Runs until this instant, whatever the plan says about the end. Tells how many steps there were so far.
    pub fn run_until(&mut self, until: Time) -> u64 {
        while self.now < until && self.violation.is_none() {
            self.advance();
        }
        self.steps
    }

    /// The digest so far.
    pub fn digest(&self) -> u64 {
        self.digest.finish()
    }

    /// The machine of a node that runs.
    pub fn node(&self, host: HostIx) -> Option<&M> {
        match &self.hosts[host].actor {
            Actor::Node(node) => Some(node),
            _ => None,
        }
    }

    /// What all spectators see.
    pub const fn scene(&self) -> &Scene {
        &self.scene
    }

    #[inline]
    fn advance(&mut self) {
        let Some((at, item)) = self.queue.pop() else {
            self.over = true;
            return;
        };
        self.now = self.now.max(at);
        self.scene.now = self.now;
        match item {
            Item::Wake { host, at } => self.wake(host as usize, at),
            Item::Frame { link, end, session, frame } => self.frame_due(link as usize, end, session, frame),
            Item::Datagram { from, to, packet } => self.datagram_due(from as usize, to as usize, packet),
            other => self.advance_rarely(other),
        }
        if !self.dropped.is_empty() {
            self.check_dropped();
        }
    }

    fn advance_rarely(&mut self, item: Item) {
        let same_boot = |host: u32, boot: u32| {
            self.scene.boots[host as usize] == boot && self.scene.running[host as usize]
        };
        match item {
            Item::Session { link } => self.session_begins(link as usize),
            Item::CutTimeout { link, cut_no } => self.cut_timeout(link as usize, cut_no),
            Item::Stored { host, boot } if same_boot(host, boot) => self.stored(host as usize),
            Item::Completed { host, boot, token, failed } if same_boot(host, boot) => {
                self.completes(host as usize, token, failed);
            }
            Item::WokenForNothing { host, boot } if same_boot(host, boot) => {
                self.deliver(host as usize, Event::Wake);
            }
            Item::CallClosed { gate, call } => self.call_closed(gate as usize, call),
            Item::Read { client, gate, call } => self.client_reads(client as usize, gate as usize, call),
            Item::Exec { host, boot, execution, plan } if same_boot(host, boot) => {
                self.exec_tick(host as usize, execution, plan);
            }
            Item::Resume { host, boot } if same_boot(host, boot) => self.resume(host as usize),
            Item::Begin { host } if !self.hosts[host as usize].runs() => self.process_begins(host as usize),
            Item::Begin { .. } => {}
            Item::Act { act: Act::Fault { fault }, observer, .. } => {
                self.fault_begins(fault as usize, observer.map(|host| host as usize));
            }
            Item::Act { host, act, .. } => self.client_act(host as usize, &act),
            Item::Undo { fault } => self.fault_ends(fault),
            Item::HealAll => self.heal(),
            Item::Sample { host } => self.sample(host as usize),
            Item::Client { host, task, at } => self.client_wake(host as usize, task as usize, at),
            Item::CallLost { client, call } => {
                self.call_lost(client as usize, call, "the gate cannot be reached")
            }
            Item::ResetPair { a, b } => {
                self.reset_pair(a as usize, b as usize);
            }
            Item::Look => self.look(),
            Item::Check => self.check_end(),
            Item::Reroll { salt } => self.fate = Fate::new(self.scene.plan.seed ^ key("reroll") ^ salt),
            Item::Stop => (self.over, self.cut_off) = (true, true),
            _ => {}
        }
    }

    /// Everything that is still open and can be expected, for a person.
    fn open(&self) -> Vec<String> {
        let clients = self.hosts[self.scene.nodes..].iter().filter_map(|host| match &host.actor {
            Actor::Client(client) => Some(client.open(&self.scene)),
            _ => None,
        });
        clients.flatten().collect()
    }

    /// Ends the run where everything is final; a run that has had its time and is not, has failed.
    fn check_end(&mut self) {
        let run = &self.scene.plan.run;
        let (settled_by, at_least) = ((run.faults_end_ms + run.settle_ms) * MS, run.at_least_ms * MS);
        let (until_dropped, settle_ms) = (run.until_dropped, run.settle_ms);
        let open = if self.scene.healed { self.open() } else { vec![String::new()] };
        let waits = !open.is_empty() || self.now < at_least || (until_dropped && self.now < settled_by);
        if !waits {
            self.over = true;
        } else if self.now >= settled_by.max(at_least) && !open.is_empty() {
            let healed =
                if self.scene.core.is_some() { "the core was healed" } else { "all faults were over" };
            let mut message = format!("{settle_ms} ms after {healed}: {}", open.join("; "));
            for line in self.who_waits() {
                message.push_str("\n  ");
                message.push_str(&line);
            }
            self.violate("liveness", message);
        } else {
            self.queue.push(self.now + CHECK_EVERY, Item::Check);
        }
    }

    fn finish(&mut self) {
        let mut spectators = std::mem::take(&mut self.spectators);
        for (_, spectator) in &mut spectators {
            if let Err(message) = spectator.finish(&self.scene) {
                let oracle = spectator.name();
                self.violate(oracle, message);
                break;
            }
        }
        self.spectators = spectators;
    }

    /// Shows a fact to whom it concerns.
    #[inline]
    fn tell(&mut self, fact: &Fact<'_>) {
        let kind = Interest::of(fact);
        if self.interest.has(kind) && self.violation.is_none() {
            self.tell_all(kind, fact);
        }
    }

    fn tell_all(&mut self, kind: Interest, fact: &Fact<'_>) {
        let mut found = None;
        for (interest, spectator) in &mut self.spectators {
            if interest.has(kind)
                && let Err(message) = spectator.see(&self.scene, fact)
            {
                found = Some((spectator.name(), message));
                break;
            }
        }
        if let Some((oracle, message)) = found {
            self.violate(oracle, message);
        }
    }

    /// Something is wrong: the run ends here.
    fn violate(&mut self, oracle: &str, message: String) {
        if self.violation.is_none() {
            if let Some(trace) = &mut self.trace {
                trace.line(&self.scene, &format!("VIOLATION of {oracle:?}: {message}"));
            }
            self.violation = Some(Violation { oracle: oracle.to_string(), at_ms: self.now / MS, message });
        }
        self.over = true;
    }
}

/// The names of all regions, and the links between them.
fn regions_of(plan: &Plan, hosts: &[HostInfo]) -> (Vec<String>, Vec<LinkPlan>) {
    let names: std::collections::BTreeSet<&str> = hosts.iter().map(|host| host.region.as_str()).collect();
    let names: Vec<String> = names.into_iter().map(str::to_string).collect();
    let links = names.iter().flat_map(|a| names.iter().map(|b| plan.network.link(a, b))).collect();
    (names, links)
}
