//! What spectators see: facts of a world, as they happen, and the names to tell them with.
//!
//! Oracles, the expectations of scenarios and the trace are all spectators. A fact is what really happened (an
//! execution began, an answer reached a client, a write became durable) or what a node said (an observation).
//! Spectators change nothing: a world runs the same with and without them.

use std::collections::BTreeMap;

use tidegate_core::api::{Answer, ClientEvent, Request};
use tidegate_core::census::Census;
use tidegate_core::effect::HaltReason;
use tidegate_core::fault::Fault;
use tidegate_core::id::{DcEpoch, DcId, GateEpoch, JobId, NodeId, Role, RunId, Term};
use tidegate_core::jobs::{JobResult, Outcome, Placement, ShardRun, Totals};
use tidegate_core::observe::Observation;
use tidegate_core::routing::needed_cores;
use tidegate_core::store::Write;
use tidegate_core::swim::Packet;
use tidegate_core::wire::{Dialect, MINOR, Message};

use super::clock::Time;
use crate::plan::{DatacenterPlan, JobPlan, PREVIOUS, Plan, Selector};

/// Place of a node or client in a world: nodes first, in the order of the plan, then clients.
pub type HostIx = usize;

/// Something that happened.
#[derive(Debug)]
pub enum Fact<'a> {
    /// A process began, as this start of its disk.
    Began {
        /// Where.
        host: HostIx,
        /// Which start.
        boot: u32,
    },
    /// A process ended.
    Ended {
        /// Where.
        host: HostIx,
        /// How.
        end: ProcessEnd,
    },
    /// A node said something.
    Observed {
        /// Who.
        host: HostIx,
        /// What.
        observation: &'a Observation,
    },
    /// A message was given to the network.
    Sent {
        /// The sender.
        from: HostIx,
        /// The receiver.
        to: HostIx,
        /// What.
        message: &'a Message,
        /// When it will arrive; `None` where it never will, as far as is known now.
        arrives: Option<Time>,
    },
    /// A message arrived and is about to be handled.
    Arrived {
        /// The sender.
        from: HostIx,
        /// The receiver.
        to: HostIx,
        /// What.
        message: &'a Message,
    },
    /// A datagram arrived and is about to be handled.
    Datagram {
        /// The sender.
        from: HostIx,
        /// The receiver.
        to: HostIx,
        /// What.
        packet: &'a Packet,
    },
    /// A message left its node, whatever becomes of it.
    Left {
        /// The sender.
        from: HostIx,
        /// The receiver.
        to: HostIx,
        /// What.
        message: &'a Message,
    },
    /// A node gave rows to its disk: they are not durable yet.
    Given {
        /// Where.
        host: HostIx,
        /// The rows.
        writes: &'a [Write],
    },
    /// Rows became durable.
    Durable {
        /// Where.
        host: HostIx,
        /// The rows.
        writes: &'a [Write],
    },
    /// A worker handed a run to its executor.
    RunAsked {
        /// The worker.
        host: HostIx,
        /// The run.
        run: RunId,
        /// What to run.
        shard: &'a ShardRun,
    },
    /// An execution really began.
    RunBegan {
        /// The worker.
        host: HostIx,
        /// The run.
        run: RunId,
    },
    /// An executor told its worker these numbers.
    RunReported {
        /// The worker.
        host: HostIx,
        /// The run.
        run: RunId,
        /// Cumulative.
        totals: &'a Totals,
    },
    /// An execution really ended.
    RunOver {
        /// The worker.
        host: HostIx,
        /// The run.
        run: RunId,
        /// How; `None` where it died with its worker.
        outcome: Option<Outcome>,
        /// What it had done by then, reported or not.
        totals: &'a Totals,
    },
    /// A client's call reached a gate.
    Called {
        /// The client.
        client: HostIx,
        /// The gate.
        gate: HostIx,
        /// What it asks.
        request: &'a Request,
    },
    /// An answer reached a client.
    Answered {
        /// The client.
        client: HostIx,
        /// The gate.
        gate: HostIx,
        /// The question.
        request: &'a Request,
        /// The answer.
        answer: &'a Answer,
    },
    /// An event of a stream reached a client.
    Pushed {
        /// The client.
        client: HostIx,
        /// The gate.
        gate: HostIx,
        /// Which stream of this client.
        stream: u64,
        /// What.
        event: &'a ClientEvent,
    },
    /// A client has the result of a job by whatever way.
    ResultRead {
        /// The client.
        client: HostIx,
        /// The gate.
        gate: HostIx,
        /// The result.
        result: &'a JobResult,
    },
    /// A client reads that its job is accepted.
    Accepted {
        /// The job.
        job: JobId,
        /// Gates whose disk, as it is now, names the job.
        gates_with_it: usize,
    },
    /// A node dropped a job; this many places of it still mention it.
    Dropped {
        /// Where.
        host: HostIx,
        /// The job.
        job: JobId,
        /// Should be 0.
        mentions: usize,
    },
    /// A fault of the plan happened.
    Fault {
        /// Its place in the plan.
        fault: usize,
        /// Its kind.
        kind: &'static str,
        /// To whom.
        host: HostIx,
    },
    /// A node refused a greeting, or a client that it does not serve.
    GreetingRefused {
        /// The node.
        host: HostIx,
        /// Who greeted.
        from: HostIx,
        /// Why not, as the other end is told.
        fault: &'a Fault,
    },
    /// Bytes that are no message were given to a node.
    Damaged {
        /// The node.
        host: HostIx,
    },
    /// A write was made to fail.
    WriteFailed {
        /// Where.
        host: HostIx,
    },
    /// Every fault is over from now on.
    Healed,
    /// What a running node holds.
    Looked {
        /// The node.
        host: HostIx,
        /// How much of what.
        holds: &'a Census,
    },
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProcessEnd {
    /// It was killed with its machine.
    Crash,
    /// By itself.
    Halt(HaltReason),
    /// It would not start from its rows.
    Refused(HaltReason),
}

/// A set of facts by name, so that nobody is asked about what he does not want to know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Interest(u32);

macro_rules! interests {
    ($($name:ident = $bit:literal: $($variant:ident)|+;)+) => {
        impl Interest {
            $(#[doc = concat!("Facts: ", $(stringify!($variant), " ",)+)] pub const $name: Self = Self(1 << $bit);)+

            /// Which facts this one belongs to.
            pub(super) const fn of(fact: &Fact<'_>) -> Self {
                match fact {
                    $($(Fact::$variant { .. })|+ => Self::$name,)+
                }
            }
        }
    };
}

interests! {
    PROCESSES = 0: Began | Ended;
    OBSERVATIONS = 1: Observed;
    SENDINGS = 2: Sent | Datagram;
    WRITES = 3: Given | Durable;
    RUNS = 4: RunAsked | RunBegan | RunOver;
    REPORTS = 5: RunReported;
    CALLS = 6: Called | Answered;
    PUSHES = 7: Pushed;
    RESULTS = 8: ResultRead | Accepted;
    DROPS = 9: Dropped;
    FAULTS = 10: Fault | Damaged | WriteFailed | Healed;
    LOOKS = 11: Looked;
    DEPARTURES = 12: Left;
    ARRIVALS = 13: Arrived;
    GREETINGS = 14: GreetingRefused;
}

impl Interest {
    /// Nothing.
    pub const NONE: Self = Self(0);
    /// Messages and datagrams, as they are sent and as they arrive.
    pub const MESSAGES: Self = Self::SENDINGS.and(Self::ARRIVALS);

    /// Both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all of `other` is in it.
    #[inline]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// Somebody who watches a world.
pub trait Spectator {
    /// The name in reports.
    fn name(&self) -> &'static str;

    /// Which facts it wants to see; asked once.
    fn interest(&self) -> Interest;

    /// Sees a fact. `Err` is a violation: what should have been, and what was.
    fn see(&mut self, scene: &Scene, fact: &Fact<'_>) -> Result<(), String>;

    /// How often its rule was put to the test so far: it could have been broken then.
    fn tested(&self) -> u64 {
        0
    }

    /// The run is over: everything that had to happen has happened, or never will.
    fn finish(&mut self, _scene: &Scene) -> Result<(), String> {
        Ok(())
    }
}

/// A node or a client, as the plan has it.
#[derive(Clone, Debug)]
pub struct HostInfo {
    /// `g1`, `dc-a/m1`, `client:c1`.
    pub name: String,
    /// Its id; of a client, one that no node has.
    pub node: NodeId,
    /// Its role; `None` for clients.
    pub role: Option<Role>,
    /// Its datacenter; [`DcId::NONE`] for gates and clients.
    pub dc: DcId,
    /// Where it stands.
    pub region: String,
}

/// What all spectators may look at: time, names, and who does what according to what was observed last.
#[derive(Clone, Debug)]
pub struct Scene {
    /// The time.
    pub now: Time,
    /// The plan.
    pub plan: Plan,
    /// Nodes, then clients.
    pub hosts: Vec<HostInfo>,
    /// How many of them are nodes.
    pub nodes: usize,
    /// Whether the process of a host runs.
    pub running: Vec<bool>,
    /// Which start of its disk it is.
    pub boots: Vec<u32>,
    /// The minor version of each.
    pub minors: Vec<u16>,
    /// What each greets with.
    pub speaks: Vec<Dialect>,
    /// Whether all faults are over, in the core where there is one.
    pub healed: bool,
    /// Once the faults are over: which hosts are the core, where others stay broken for ever.
    pub core: Option<Vec<bool>>,
    /// What is known of each job's way, from what nodes said.
    pub waits: super::waits::Waits,
    by_id: BTreeMap<NodeId, HostIx>,
    jobs: BTreeMap<JobId, usize>,
    accepted: BTreeMap<usize, JobId>,
    labels: Vec<String>,
    gate_leader: Option<(Term, HostIx)>,
    dc_leaders: BTreeMap<DcId, (Term, HostIx)>,
    owners: BTreeMap<JobId, (GateEpoch, NodeId)>,
    dc_owners: BTreeMap<(JobId, DcId), (DcEpoch, NodeId)>,
    /// Executions that go on.
    pub runs: BTreeMap<RunId, HostIx>,
}

impl Scene {
    pub(super) fn new(plan: Plan, hosts: Vec<HostInfo>, nodes: usize) -> Self {
        let by_id = hosts.iter().enumerate().map(|(ix, host)| (host.node, ix)).collect();
        let labels =
            plan.clients.iter().flat_map(|client| &client.jobs).map(|job| job.name.clone()).collect();
        let count = hosts.len();
        let is_old = |host: &HostInfo| plan.cluster.old_version.contains(&host.name);
        let minors = hosts.iter().map(|host| if is_old(host) { PREVIOUS } else { MINOR }).collect();
        Self {
            now: 0,
            plan,
            hosts,
            nodes,
            running: vec![false; count],
            boots: vec![0; count],
            minors,
            speaks: vec![Dialect::OURS; count],
            healed: false,
            core: None,
            waits: super::waits::Waits::default(),
            by_id,
            jobs: BTreeMap::new(),
            accepted: BTreeMap::new(),
            labels,
            gate_leader: None,
            dc_leaders: BTreeMap::new(),
            owners: BTreeMap::new(),
            dc_owners: BTreeMap::new(),
            runs: BTreeMap::new(),
        }
    }

    /// The name of a host.
    pub fn name(&self, host: HostIx) -> &str {
        &self.hosts[host].name
    }

    /// The host of an id.
    pub fn host(&self, node: NodeId) -> Option<HostIx> {
        self.by_id.get(&node).copied()
    }

    /// The name of the node with this id.
    pub fn node_name(&self, node: NodeId) -> String {
        self.host(node).map_or_else(|| node.to_string(), |host| self.hosts[host].name.clone())
    }

    /// The name of a job: the plan's, once a gate has answered its submission.
    pub fn job_name(&self, job: JobId) -> String {
        self.jobs.get(&job).map_or_else(|| job.to_string(), |&label| self.labels[label].clone())
    }

    /// The id of a job of the plan, once a gate has answered its submission.
    pub fn job(&self, name: &str) -> Option<JobId> {
        let label = self.labels.iter().position(|label| label == name)?;
        self.accepted.get(&label).copied()
    }

    /// When a fault of the plan that begins now is over, if it is not healed before; [`Time::MAX`]: never.
    pub fn fault_ends(&self, fault: usize) -> Time {
        let lasts = self.plan.faults.get(fault).and_then(|fault| fault.for_ms);
        lasts.map_or(Time::MAX, |ms| self.now + ms * 1_000_000)
    }

    /// Whether a host works again, now that the faults are over.
    pub fn is_healed(&self, host: HostIx) -> bool {
        self.healed && self.core.as_ref().is_none_or(|core| core[host])
    }

    /// Whether a job of the plan can be placed at all: some healed datacenter that it allows has the cores of its widest
    /// workflow. Where everything is healed the gates themselves must say so.
    pub fn is_placeable(&self, label: &str) -> bool {
        if self.core.is_none() {
            return true;
        }
        let mut jobs = self.plan.clients.iter().flat_map(|client| &client.jobs);
        let Some(Ok(spec)) = jobs.find(|job| job.name == label).map(JobPlan::spec) else { return true };
        let datacenters = &self.plan.cluster.datacenters;
        let (allowed, parts) = match &spec.placement {
            Placement::Any => (None, 1),
            Placement::Count(count) => (None, (*count).min(datacenters.len() as u16)),
            Placement::Only(dcs) => (Some(dcs), dcs.len() as u16),
        };
        let cores = |dc: &DatacenterPlan| -> u32 {
            let healed = |n: usize| {
                let name = format!("{}/w{n}", dc.name);
                self.hosts.iter().position(|host| host.name == name).is_some_and(|host| self.is_healed(host))
            };
            let workers = dc.workers.iter().zip(1..).filter(|(_, n)| healed(*n));
            workers.map(|(worker, _)| u32::from(worker.cores)).sum()
        };
        let allows =
            |dc: &DatacenterPlan| allowed.is_none_or(|dcs| dcs.iter().any(|it| it.as_str() == dc.name));
        let needed = needed_cores(&spec, parts);
        datacenters.iter().any(|dc| allows(dc) && cores(dc) >= needed)
    }

    /// The gate that owns a job, by its fence, and the manager of a datacenter that does.
    pub(super) fn owner(&self, job: JobId) -> Option<HostIx> {
        self.owners.get(&job).and_then(|(_, node)| self.host(*node))
    }

    /// The manager that owns a job in a datacenter.
    pub fn dc_owner(&self, job: JobId, dc: DcId) -> Option<HostIx> {
        self.dc_owners.get(&(job, dc)).and_then(|(_, node)| self.host(*node))
    }

    /// Who became the leader of a tier's log with the highest term.
    pub(super) fn leader(&self, dc: DcId) -> Option<HostIx> {
        let of_dc = self.dc_leaders.get(&dc).map(|(_, host)| *host);
        if dc == DcId::NONE { self.gate_leader.map(|(_, host)| host) } else { of_dc }
    }

    /// Jobs that have an id, by the names of the plan.
    pub(super) fn known_jobs(&self) -> impl Iterator<Item = (&str, JobId)> {
        self.accepted.iter().map(|(label, job)| (self.labels[*label].as_str(), *job))
    }

    /// Time in milliseconds.
    pub const fn ms(&self) -> u64 {
        self.now / 1_000_000
    }

    /// A job got its id. The first name stays, where two of the plan share a key.
    pub(super) fn name_job(&mut self, label: &str, job: JobId) {
        if let Some(label) = self.labels.iter().position(|known| known == label) {
            self.jobs.entry(job).or_insert(label);
            self.accepted.entry(label).or_insert(job);
        }
    }

    /// Learns who does what.
    pub(super) fn learn(&mut self, host: HostIx, observation: &Observation) {
        let info = &self.hosts[host];
        self.waits.learn(info.dc, observation);
        match *observation {
            Observation::BecameLeader(term)
                if info.role == Some(Role::Gate)
                    && self.gate_leader.is_none_or(|(known, _)| known <= term) =>
            {
                self.gate_leader = Some((term, host));
            }
            Observation::BecameLeader(term)
                if self.dc_leaders.get(&info.dc).is_none_or(|(known, _)| *known <= term) =>
            {
                self.dc_leaders.insert(info.dc, (term, host));
            }
            Observation::JobOwner { job, gate_epoch, owner }
                if self.owners.get(&job).is_none_or(|(known, _)| *known < gate_epoch) =>
            {
                self.owners.insert(job, (gate_epoch, owner));
            }
            Observation::DcOwner { job, dc_epoch, owner }
                if self.dc_owners.get(&(job, info.dc)).is_none_or(|(known, _)| *known < dc_epoch) =>
            {
                self.dc_owners.insert((job, info.dc), (dc_epoch, owner));
            }
            _ => {}
        }
    }

    /// The hosts that a selector means now. `observer` is who made the observation that asks.
    pub fn select(&self, selector: &Selector, observer: Option<HostIx>) -> Vec<HostIx> {
        let of_dc = |dc: &str, roles: &[Role]| -> Vec<HostIx> {
            let fits = |host: &HostInfo| {
                host.dc.as_str() == dc && host.role.is_some_and(|role| roles.contains(&role))
            };
            (0..self.nodes).filter(|&ix| fits(&self.hosts[ix])).collect()
        };
        let dc_id = |dc: &str| DcId::new(dc).ok();
        let one = |host: Option<HostIx>| host.into_iter().collect();
        let dc_leader = |dc: &str| dc_id(dc).and_then(|dc| self.dc_leaders.get(&dc)).map(|(_, host)| *host);
        let nth_but = |leader: Option<HostIx>, all: Vec<HostIx>, nth: u16| {
            all.into_iter().filter(|&host| Some(host) != leader).nth(usize::from(nth) - 1)
        };
        match selector {
            Selector::Node(name) => one(self.hosts.iter().position(|host| host.name == *name)),
            Selector::Client(name) => {
                one(self.hosts.iter().position(|host| host.name.strip_prefix("client:") == Some(name)))
            }
            Selector::All => (0..self.nodes).collect(),
            Selector::Gates => {
                (0..self.nodes).filter(|&ix| self.hosts[ix].role == Some(Role::Gate)).collect()
            }
            Selector::Managers(dc) => of_dc(dc, &[Role::Manager]),
            Selector::Workers(dc) => of_dc(dc, &[Role::Worker]),
            Selector::Datacenter(dc) => of_dc(dc, &[Role::Manager, Role::Worker]),
            Selector::GateLeader => one(self.gate_leader.map(|(_, host)| host)),
            Selector::DcLeader(dc) => one(dc_leader(dc)),
            Selector::GateFollower(nth) => {
                let leader = self.gate_leader.map(|(_, host)| host);
                one(nth_but(leader, self.select(&Selector::Gates, None), *nth))
            }
            Selector::DcFollower(nth, dc) => one(nth_but(dc_leader(dc), of_dc(dc, &[Role::Manager]), *nth)),
            Selector::JobOwner(job) => one(self
                .job(job)
                .and_then(|job| self.owners.get(&job))
                .and_then(|(_, node)| self.host(*node))),
            Selector::DcOwner(job, dc) => {
                let key = self.job(job).zip(dc_id(dc));
                one(key.and_then(|key| self.dc_owners.get(&key)).and_then(|(_, node)| self.host(*node)))
            }
            Selector::RunningWorker(job, dc) => {
                let (job, dc) = (self.job(job), dc_id(dc));
                let runs =
                    self.runs.iter().find(|(run, _)| Some(run.shard.job) == job && Some(run.shard.dc) == dc);
                one(runs.map(|(_, host)| *host))
            }
            Selector::Observer => one(observer),
        }
    }
}
