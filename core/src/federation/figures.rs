//! What the managers of a datacenter say of it, and what a gate makes of it.
//!
//! The figures of a datacenter are those of its log leader (every manager sees the same workers, so they are not added
//! up); who leads is a belief, good enough to ask there first. Of one manager the newest word counts, by its boot and its
//! own numbering; of several the one of the highest term: a former leader's late word changes nothing.

use alloc::vec::Vec;

use super::{Federation, Health, SETTLED};
use crate::api::DcView;
use crate::id::{DcId, NodeId, Term};
use crate::link::Links;
use crate::observe::Stale;
use crate::routing::{Candidate, Rtt};
use crate::time::Instant;
use crate::wire::{Capacity, DcLoad};

/// A manager's newest word.
#[derive(Clone, Debug)]
pub(super) struct Fact {
    pub load: DcLoad,
    pub at: Instant,
}

impl Fact {
    pub fn take(place: &mut Option<Self>, now: Instant, load: DcLoad) -> Result<(), Stale> {
        let newest = place.as_ref().map(|known| (known.load.boot, known.load.version));
        if newest.is_some_and(|newest| (load.boot, load.version) <= newest) {
            return Err(Stale::Sequence);
        }
        *place = Some(Self { load, at: now });
        Ok(())
    }
}

impl Federation {
    /// The connected managers of a datacenter, the one that seems to lead first, the others by id.
    pub fn managers(&self, now: Instant, dc: DcId, links: &Links) -> Vec<NodeId> {
        let leader = self.leader(now, dc, links);
        let all = self.dcs.get(&dc).into_iter().flat_map(|record| record.managers.keys().copied());
        let mut order: Vec<NodeId> = all.filter(|manager| links.is_connected(*manager)).collect();
        order.sort_by_key(|manager| (Some(*manager) != leader, *manager));
        order
    }

    /// Whether a manager's word is older than it should be.
    pub(super) fn is_old(&self, now: Instant, fact: &Fact) -> bool {
        now.since(fact.at) >= self.forget_after.scale(1, 2)
    }

    /// Words that count; of `connected` managers only, or of all.
    fn words(
        &self,
        now: Instant,
        dc: DcId,
        links: &Links,
        connected: bool,
    ) -> impl Iterator<Item = (NodeId, &Fact)> {
        let all = self.dcs.get(&dc).into_iter().flat_map(|record| &record.managers);
        all.filter_map(|(manager, fact)| fact.as_ref().map(|fact| (*manager, fact))).filter(
            move |(manager, fact)| {
                now.since(fact.at) < self.forget_after && (!connected || links.is_connected(*manager))
            },
        )
    }

    /// Who seems to lead the datacenter's log, and in which term: the claim, or else the hearsay, of the highest one.
    pub(super) fn leading(&self, now: Instant, dc: DcId, links: &Links) -> Option<(Term, NodeId)> {
        let fresh = || self.words(now, dc, links, true).filter(|(_, fact)| !self.is_old(now, fact));
        let claims = fresh().filter(|(_, fact)| fact.load.is_leader);
        let claimed = claims.map(|(manager, fact)| (fact.load.term, manager)).max_by_key(|(term, _)| *term);
        claimed.or_else(|| {
            let hearsay = fresh().filter_map(|(_, fact)| Some((fact.load.term, fact.load.leader?)));
            hearsay.max_by_key(|(term, _)| *term)
        })
    }

    /// Who seems to lead the datacenter's log.
    pub fn leader(&self, now: Instant, dc: DcId, links: &Links) -> Option<NodeId> {
        self.leading(now, dc, links).map(|(_, leader)| leader)
    }

    /// The newest figures: the leader's, or those of the manager with the highest term; old ones only where all are, and
    /// those of a process that has not seen any worker yet only where none has.
    pub(super) fn newest(&self, now: Instant, dc: DcId, links: &Links, connected: bool) -> Option<&Fact> {
        let leader = self.leader(now, dc, links);
        let rank = |(manager, fact): &(NodeId, &Fact)| {
            let knows = fact.load.known_workers > 0 || fact.load.capacity.workers > 0;
            (!self.is_old(now, fact), knows, Some(*manager) == leader, fact.load.term, fact.load.version)
        };
        self.words(now, dc, links, connected).max_by_key(rank).map(|(_, fact)| fact)
    }

    /// The datacenter as a place for a job with this need, if it is usable: it is not unhealthy, a manager is connected,
    /// takes jobs and has the cores. A degraded one is the last choice.
    pub fn candidate(&self, now: Instant, dc: DcId, needed_cores: u32, links: &Links) -> Option<Candidate> {
        let health = self.health(now, dc, links);
        if matches!(health, Health::Unknown | Health::Unhealthy) {
            return None;
        }
        let load = &self.newest(now, dc, links, true)?.load;
        let Capacity { total_cores, free_cores, .. } = load.capacity;
        (load.accepting && total_cores >= needed_cores).then(|| Candidate {
            dc,
            degraded: health == Health::Degraded,
            total_cores,
            free_cores,
            needed_cores,
            rtt: self.distance(now, dc, links),
        })
    }

    /// Whether it is known for sure that no datacenter of these has the cores. All figures are fresh and none of the
    /// workers is away; none had the cores while this gate looked, and no worker came for a while: one that only
    /// restarts with its manager is not missing for good.
    pub fn is_infeasible(
        &self,
        now: Instant,
        mut dcs: impl Iterator<Item = DcId>,
        needed: u32,
        links: &Links,
    ) -> bool {
        let settled = self.view_period.scale(SETTLED, 1);
        dcs.all(|dc| {
            let (Some(fact), Some(record)) = (self.newest(now, dc, links, true), self.dcs.get(&dc)) else {
                return false;
            };
            let (workers, (most, since)) = (fact.load.capacity.workers, record.most_cores);
            let all_here = workers > 0 && workers >= fact.load.known_workers;
            !self.is_old(now, fact) && all_here && most < needed && now.since(since) >= settled
        })
    }

    /// How far the nearest manager of a datacenter is: of those that are measured, or else predicted.
    fn distance(&self, now: Instant, dc: DcId, links: &Links) -> Rtt {
        let all = self.dcs.get(&dc).into_iter().flat_map(|record| record.managers.keys());
        let unmeasured = |rtt: &Rtt| rtt.measured().is_none();
        all.map(|manager| links.distance(now, *manager))
            .min_by(|one, other| {
                unmeasured(one).cmp(&unmeasured(other)).then_with(|| one.nearer_first(*other))
            })
            .unwrap_or(Rtt::Unknown)
    }

    /// Every datacenter, for people.
    pub fn views(&self, now: Instant, links: &Links) -> Vec<DcView> {
        let view = |dc: DcId| {
            let figures = self.newest(now, dc, links, true);
            let rtt = self.distance(now, dc, links).measured();
            DcView {
                dc,
                usable: self.candidate(now, dc, 0, links).is_some(),
                leader: self.leader(now, dc, links),
                capacity: figures.map(|fact| fact.load.capacity).unwrap_or_default(),
                managers: self.managers(now, dc, links).len() as u16,
                rtt_us: rtt.map(|rtt| u32::try_from(rtt.as_micros()).unwrap_or(u32::MAX)),
                age_ms: figures.map_or(u32::MAX, |fact| now.since(fact.at).as_wire_millis()),
                health: self.health(now, dc, links),
                region: self.region(dc),
                region_health: self.region_health(now, self.region(dc), links),
            }
        };
        self.names().map(view).collect()
    }
}
