//! The datacenters as a gate knows them: from its configuration, its connections and the managers' heartbeats.
//!
//! The figures of a datacenter are those of its log leader (every manager sees the same workers, so they are not added
//! up); who leads is a belief, good enough to ask there first.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::api::DcView;
use crate::config::{Roster, Timing};
use crate::id::{DcId, NodeId};
use crate::jobs::{ExecutorKind, JobSpec};
use crate::link::Links;
use crate::observe::Stale;
use crate::routing::{Candidate, Rtt};
use crate::time::{Duration, Instant};
use crate::wire::{Capacity, DcLoad};

/// All configured datacenters.
#[derive(Clone, Debug)]
pub struct Regions {
    dcs: BTreeMap<DcId, BTreeMap<NodeId, Option<Fact>>>,
    home: BTreeMap<NodeId, DcId>,
    stale: Duration,
}

/// A manager's newest heartbeat.
#[derive(Clone, Debug)]
struct Fact {
    load: DcLoad,
    at: Instant,
}

impl Regions {
    /// The datacenters of the configuration, of which nothing is known yet.
    pub fn new(roster: &Roster, timing: &Timing) -> Self {
        let mut regions = Self { dcs: BTreeMap::new(), home: BTreeMap::new(), stale: timing.manager_stale };
        for datacenter in &roster.datacenters {
            let managers = datacenter.managers.iter().map(|peer| peer.node);
            regions.home.extend(managers.clone().map(|manager| (manager, datacenter.dc)));
            regions.dcs.insert(datacenter.dc, managers.map(|manager| (manager, None)).collect());
        }
        regions
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

    /// Takes a manager's heartbeat, if it is newer than what is known.
    pub fn heartbeat(&mut self, now: Instant, from: NodeId, load: DcLoad) -> Result<(), Stale> {
        let home = self.home(from).filter(|home| *home == load.dc).ok_or(Stale::Sender)?;
        let place =
            self.dcs.get_mut(&home).and_then(|managers| managers.get_mut(&from)).ok_or(Stale::Sender)?;
        if place
            .as_ref()
            .is_some_and(|known| (load.boot, load.version) <= (known.load.boot, known.load.version))
        {
            return Err(Stale::Sequence);
        }
        *place = Some(Fact { load, at: now });
        Ok(())
    }

    /// The connected managers of a datacenter, the one that seems to lead first, the others by id.
    pub fn managers(&self, now: Instant, dc: DcId, links: &Links) -> Vec<NodeId> {
        let leader = self.leader(now, dc, links);
        let all = self.dcs.get(&dc).into_iter().flat_map(|managers| managers.keys().copied());
        let mut order: Vec<NodeId> = all.filter(|manager| links.is_connected(*manager)).collect();
        order.sort_by_key(|manager| (Some(*manager) != leader, *manager));
        order
    }

    /// Facts that count: of connected managers, not older than half the time after which they are forgotten.
    fn fresh(&self, now: Instant, dc: DcId, links: &Links) -> impl Iterator<Item = (NodeId, &Fact)> {
        let all = self.dcs.get(&dc).into_iter().flatten();
        let fresh_for = self.stale.scale(1, 2);
        all.filter_map(|(manager, fact)| fact.as_ref().map(|fact| (*manager, fact)))
            .filter(move |(manager, fact)| links.is_connected(*manager) && now.since(fact.at) < fresh_for)
    }

    /// Who seems to lead the datacenter's log: the claim, or else the hearsay, of the highest term.
    fn leader(&self, now: Instant, dc: DcId, links: &Links) -> Option<NodeId> {
        let claims = self.fresh(now, dc, links).filter(|(_, fact)| fact.load.is_leader);
        let claimed = claims.max_by_key(|(_, fact)| fact.load.term).map(|(manager, _)| manager);
        claimed.or_else(|| {
            let hearsay = self.fresh(now, dc, links).filter(|(_, fact)| fact.load.leader.is_some());
            hearsay.max_by_key(|(_, fact)| fact.load.term).and_then(|(_, fact)| fact.load.leader)
        })
    }

    /// The newest figures: the leader's, or those of the manager with the highest term.
    fn figures(&self, now: Instant, dc: DcId, links: &Links) -> Option<&Fact> {
        let leader = self.leader(now, dc, links);
        self.fresh(now, dc, links)
            .max_by_key(|(manager, fact)| (Some(*manager) == leader, fact.load.term, fact.load.version))
            .map(|(_, fact)| fact)
    }

    /// The datacenter as a place for a job with this need, if it is usable: a manager is connected, its figures are
    /// fresh, it takes jobs and has the cores.
    pub fn candidate(&self, now: Instant, dc: DcId, needed_cores: u32, links: &Links) -> Option<Candidate> {
        let load = &self.figures(now, dc, links)?.load;
        let Capacity { total_cores, free_cores, .. } = load.capacity;
        (load.accepting && total_cores >= needed_cores).then(|| Candidate {
            dc,
            total_cores,
            free_cores,
            needed_cores,
            rtt: Rtt::from_measured(self.rtt(dc, links)),
        })
    }

    /// Whether it is known for sure that no datacenter of these has the cores: all figures are fresh, and each has
    /// workers, but too small ones.
    pub fn is_infeasible(
        &self,
        now: Instant,
        mut dcs: impl Iterator<Item = DcId>,
        needed: u32,
        links: &Links,
    ) -> bool {
        dcs.all(|dc| {
            self.figures(now, dc, links)
                .is_some_and(|fact| fact.load.capacity.workers > 0 && fact.load.capacity.total_cores < needed)
        })
    }

    /// The least measured round trip to any manager of a datacenter.
    fn rtt(&self, dc: DcId, links: &Links) -> Option<Duration> {
        self.dcs.get(&dc)?.keys().filter_map(|manager| links.rtt(*manager)).min()
    }

    /// Every datacenter, for people.
    pub fn views(&self, now: Instant, links: &Links) -> Vec<DcView> {
        let view = |(&dc, managers): (&DcId, &BTreeMap<NodeId, Option<Fact>>)| {
            let figures = self.figures(now, dc, links);
            DcView {
                dc,
                usable: figures.is_some_and(|fact| fact.load.accepting),
                leader: self.leader(now, dc, links),
                capacity: figures.map(|fact| fact.load.capacity).unwrap_or_default(),
                managers: managers.keys().filter(|manager| links.is_connected(**manager)).count() as u16,
                rtt_us: self.rtt(dc, links).map(|rtt| u32::try_from(rtt.as_micros()).unwrap_or(u32::MAX)),
                age_ms: figures.map_or(u32::MAX, |fact| now.since(fact.at).as_wire_millis()),
            }
        };
        self.dcs.iter().map(view).collect()
    }
}

/// Cores that the widest workflow of a job takes at least in one of `parts` datacenters. Shards are placed all or none;
/// `http` can do with one, the others divide their instances.
pub fn needed_cores(spec: &JobSpec, parts: u16) -> u32 {
    let of = |workflow: &crate::jobs::WorkflowSpec| {
        let shards = match workflow.executor {
            ExecutorKind::Http => 1,
            ExecutorKind::Sleep | ExecutorKind::Command => {
                u32::from(workflow.load.instances.div_ceil(parts.max(1)))
            }
        };
        shards * u32::from(workflow.cores)
    };
    spec.workflows.iter().map(of).max().unwrap_or(1)
}
