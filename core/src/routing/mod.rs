//! Which datacenters a job goes to, and which node of a tier: pure functions of what a node knows about them.
//!
//! In: one [`Candidate`] for each usable datacenter. Out: their order, the same at every gate that knows the same. A
//! round trip is measured, predicted or unknown, as a type: an unknown one is no number, and never wins a tie.

use alloc::vec::Vec;
use core::cmp::{Ordering, Reverse};
use core::hash::{Hash, Hasher};

use crate::digest::Digest;
use crate::id::{DcId, JobId, NodeId};
use crate::jobs::{ExecutorKind, JobSpec, WorkflowSpec};
use crate::time::Duration;

/// How far away something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rtt {
    /// The least recent round trip.
    Measured(Duration),
    /// What coordinates say of a place that is not measured (now).
    Predicted(Duration),
    /// Nothing is known.
    Unknown,
}

impl Rtt {
    /// The measurement, if there is one.
    pub const fn measured(self) -> Option<Duration> {
        match self {
            Self::Measured(rtt) => Some(rtt),
            Self::Predicted(_) | Self::Unknown => None,
        }
    }

    /// Nearest first, unknown last. Of equal distances the measured one is nearer.
    pub fn nearer_first(self, other: Self) -> Ordering {
        let key = |rtt| match rtt {
            Self::Measured(rtt) => (0, rtt, 0),
            Self::Predicted(rtt) => (0, rtt, 1),
            Self::Unknown => (1, Duration::ZERO, 0),
        };
        key(self).cmp(&key(other))
    }
}

/// A datacenter that can take the job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Which.
    pub dc: DcId,
    /// Something is wrong with it: it is the last choice.
    pub degraded: bool,
    /// Its cores; at least `needed`, or it is no candidate.
    pub total_cores: u32,
    /// Cores without a reservation.
    pub free_cores: u32,
    /// Cores that the job's widest workflow takes there at least.
    pub needed_cores: u32,
    /// How far away it is.
    pub rtt: Rtt,
}

impl Candidate {
    /// Free capacity in quarters: coarse, so that a few cores do not outweigh a continent.
    fn free_quarters(&self) -> u32 {
        (u64::from(self.free_cores) * 4 / u64::from(self.total_cores.max(1))) as u32
    }
}

/// Puts the best first: those that are well, then those that can start it now, then by free capacity in quarters, then by distance, then by name.
pub fn rank(candidates: &mut [Candidate]) {
    candidates.sort_by(|one, other| {
        let key = |it: &Candidate| {
            (it.degraded, Reverse(it.free_cores >= it.needed_cores), Reverse(it.free_quarters()))
        };
        key(one)
            .cmp(&key(other))
            .then_with(|| one.rtt.nearer_first(other.rtt))
            .then_with(|| one.dc.cmp(&other.dc))
    });
}

/// Who of these nodes gets a job: the one with the highest hash of both. Every leader comes to the same, the jobs of a
/// lost node spread evenly, and a change of the set moves only jobs that the lost one had or the new one wins.
pub fn rendezvous(job: JobId, nodes: impl Iterator<Item = NodeId>) -> Option<NodeId> {
    nodes.max_by_key(|node| {
        let mut digest = Digest::default();
        (job, node).hash(&mut digest);
        (digest.finish(), *node)
    })
}

/// The names of ranked candidates.
pub fn names(candidates: &[Candidate]) -> Vec<DcId> {
    candidates.iter().map(|candidate| candidate.dc).collect()
}

/// Cores that the widest workflow of a job takes at least in one of `parts` datacenters. Shards are placed all or none;
/// `http` can do with one, the others divide their instances.
pub fn needed_cores(spec: &JobSpec, parts: u16) -> u32 {
    let of = |workflow: &WorkflowSpec| {
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec;

    fn dc(name: &str) -> DcId {
        DcId::new(name).expect("a name")
    }

    fn candidate(name: &str, free_cores: u32, rtt_ms: Option<u64>) -> Candidate {
        let rtt = rtt_ms.map_or(Rtt::Unknown, |ms| Rtt::Measured(Duration::from_millis(ms)));
        Candidate { dc: dc(name), degraded: false, total_cores: 100, free_cores, needed_cores: 10, rtt }
    }

    fn ranked(mut candidates: Vec<Candidate>) -> Vec<DcId> {
        rank(&mut candidates);
        names(&candidates)
    }

    #[test]
    fn an_unknown_round_trip_never_wins_a_tie() {
        let order = ranked(vec![
            candidate("a", 90, None),
            candidate("b", 90, Some(400)),
            candidate("c", 90, Some(30)),
        ]);
        assert_eq!(order, [dc("c"), dc("b"), dc("a")]);
    }

    #[test]
    fn a_prediction_is_a_distance_and_a_measurement_beats_its_equal() {
        let ms = Duration::from_millis;
        let mut order = [Rtt::Unknown, Rtt::Predicted(ms(20)), Rtt::Measured(ms(20)), Rtt::Predicted(ms(9))];
        order.sort_by(|one, other| one.nearer_first(*other));
        assert_eq!(
            order,
            [Rtt::Predicted(ms(9)), Rtt::Measured(ms(20)), Rtt::Predicted(ms(20)), Rtt::Unknown]
        );
        assert_eq!(Rtt::Predicted(ms(9)).measured(), None, "a prediction is never a measurement");
    }

    #[test]
    fn room_to_start_now_comes_before_distance() {
        let order = ranked(vec![candidate("near", 5, Some(1)), candidate("far", 20, Some(300))]);
        assert_eq!(order, [dc("far"), dc("near")]);
    }

    #[test]
    fn a_degraded_one_is_the_last_choice() {
        let ill = Candidate { degraded: true, ..candidate("ill", 100, Some(1)) };
        assert_eq!(ranked(vec![ill, candidate("full", 0, None)]), [dc("full"), dc("ill")]);
    }

    #[test]
    fn a_few_cores_do_not_outweigh_distance_but_a_quarter_does() {
        let near = candidate("near", 80, Some(5));
        assert_eq!(ranked(vec![candidate("far", 90, Some(100)), near])[0], dc("near"));
        let busy = candidate("busy", 30, Some(5));
        assert_eq!(ranked(vec![busy, candidate("far", 90, Some(100))])[0], dc("far"));
    }

    proptest! {
        #[test]
        fn the_order_does_not_depend_on_the_order_of_asking(
            shapes in proptest::collection::vec((0u32..100, proptest::option::of(0u64..500)), 1..8),
            seed in any::<u64>(),
        ) {
            let all: Vec<Candidate> = shapes
                .iter()
                .enumerate()
                .map(|(ix, (free, rtt))| candidate(&std::format!("dc{ix}"), *free, *rtt))
                .collect();
            let mut shuffled = all.clone();
            crate::rng::NodeRng::new([seed as u8; 32], seed).shuffle(&mut shuffled);
            prop_assert_eq!(ranked(all), ranked(shuffled));
        }
    }

    /// A hundred nodes and a thousand jobs, by the name of a node that is left out.
    fn owners(without: Option<u8>) -> Vec<NodeId> {
        let nodes = (0..100u8).filter(|node| Some(*node) != without).map(|node| NodeId([node; 16]));
        let nodes: Vec<NodeId> = nodes.collect();
        let job = |n: u16| {
            let mut id = [0; 16];
            id[..2].copy_from_slice(&n.to_be_bytes());
            JobId(id)
        };
        (0..1_000)
            .map(|n| rendezvous(job(n), nodes.iter().rev().copied()).expect("there are nodes"))
            .collect()
    }

    proptest! {
        /// One node leaves, or comes back: only jobs that it has change hands, one in a hundred, and to many others.
        #[test]
        fn only_the_jobs_of_the_one_that_comes_or_goes_move(gone in 0..100u8) {
            let (all, rest) = (owners(None), owners(Some(gone)));
            let gone = NodeId([gone; 16]);
            let moved: Vec<_> = all.iter().zip(&rest).filter(|(was, is)| was != is).collect();
            prop_assert!(moved.iter().all(|(was, _)| **was == gone));
            prop_assert!((1..=30).contains(&moved.len()), "{}", moved.len());
            let takers: alloc::collections::BTreeSet<_> = moved.iter().map(|(_, is)| **is).collect();
            prop_assert!(takers.len() * 2 > moved.len());
            prop_assert_eq!(all, owners(None));
        }
    }
}
