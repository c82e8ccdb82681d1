//! Search: runs that go on from where something rare was seen.
//!
//! A run is known by what nodes say: pairs of consecutive observations of one node, by role and kind, and how full its
//! tables were, in powers of two. A run with a pair or a level that few runs had is kept, with the moment of the last
//! one. Every second run is a fresh one of the swarm; the others are made from a kept one, which is taken by how rare
//! its marks still are, and the less the oftener it was taken. What is rare was reached by its plan, and what is wrong
//! there may be a matter of milliseconds: so two of three are the same plan with another chance, and the third repeats
//! the run up to that moment and then meets other faults.
//!
//! Runs go in lots whose outcome is put together in order, so the same arguments give the same search on any machine.
//! What fails is a plan like any other: it is replayed and shrunk from its file.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use rayon::prelude::*;
use tidegate_core::observe::Observation;

use crate::plan::{BadPlan, Plan};
use crate::runner::{self, Extras};
use crate::swarm;
use crate::world::{About, Fact, Fate, HostIx, Interest, Scene, Spectator, Verdict, key, name_of};

/// Runs of one lot.
const LOT: u64 = 32;
/// Kept runs at most; the one with the least energy goes first.
const KEPT_MAX: usize = 256;
/// A mark that no more runs than this had is rare.
const RARE: u64 = 4;

/// What is new in a run: a mark, and when it was first seen, in ms.
type Marks = BTreeMap<u64, u64>;

#[derive(Default)]
struct Seen {
    marks: Marks,
    last: BTreeMap<HostIx, u64>,
}

/// Notes what a run does.
#[derive(Clone, Default)]
struct Novelty(Rc<RefCell<Seen>>);

impl Spectator for Novelty {
    fn name(&self) -> &'static str {
        "novelty"
    }

    fn interest(&self) -> Interest {
        Interest::OBSERVATIONS.and(Interest::LOOKS)
    }

    fn see(&mut self, scene: &Scene, fact: &Fact<'_>) -> Result<(), String> {
        let mut seen = self.0.borrow_mut();
        let seen = &mut *seen;
        match fact {
            // Digests and progress come all the time and in any order.
            Fact::Observed {
                observation: Observation::StateDigest { .. } | Observation::DcProgress { .. },
                ..
            } => {}
            Fact::Observed { host, observation } => {
                let kind = key(name_of(observation).as_str());
                let role = scene.hosts[*host].role.map_or(0, |role| role as u64 + 1);
                let before = seen.last.insert(*host, kind).unwrap_or(0);
                let mark = Fate::new(role).between(before, kind).decide(About::Swarm, 0, 0).0;
                seen.marks.entry(mark).or_insert(scene.ms());
            }
            Fact::Looked { host, holds } => {
                let role = scene.hosts[*host].role.map_or(0, |role| role as u64 + 1);
                let tables = [holds.jobs, holds.callers, holds.proposals, holds.timers, holds.volatile];
                for (place, held) in (0..).zip(tables) {
                    let level = u64::from(held.checked_ilog2().map_or(0, |level| level + 1));
                    let mark = Fate::new(role).decide(About::Swarm, place, level).0;
                    seen.marks.entry(mark).or_insert(scene.ms());
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// How many runs had each mark.
type Known = HashMap<u64, u64>;

/// A run that had something rare.
struct Kept {
    plan: Plan,
    /// When its last rare mark was, in ms.
    at_ms: u64,
    marks: Vec<u64>,
    /// How often it was taken.
    taken: u32,
    /// How likely it is taken.
    energy: f64,
}

impl Kept {
    fn weigh(&mut self, known: &Known) {
        let rarity: f64 =
            self.marks.iter().map(|mark| 1.0 / known.get(mark).copied().unwrap_or(1) as f64).sum();
        self.energy = rarity / f64::from(1 + self.taken);
    }
}

/// One run that failed.
pub struct Found {
    /// Which run of the search, from 1.
    pub run: u64,
    /// Whether it was made from a kept one.
    pub is_branch: bool,
    /// All of it.
    pub plan: Plan,
    /// What came out.
    pub verdict: Verdict,
}

/// What a search has done.
#[derive(Default)]
pub struct Outcome {
    /// Runs.
    pub runs: u64,
    /// Different marks.
    pub marks: usize,
    /// Runs that are kept at the end.
    pub kept: usize,
    /// Runs that failed, in order.
    pub found: Vec<Found>,
}

/// A run that is to be done.
struct Job {
    number: u64,
    plan: Plan,
    is_branch: bool,
}

struct Done {
    job: Job,
    verdict: Verdict,
    marks: Marks,
}

/// Searches for so many runs; stops after the lot in which the first fails, where `first` says so.
pub fn search(seed: u64, runs: u64, first: bool) -> Result<Outcome, BadPlan> {
    let (mut outcome, mut known, mut kept) = (Outcome::default(), Known::new(), Vec::new());
    while outcome.runs < runs {
        let lot = LOT.min(runs - outcome.runs);
        let jobs: Vec<Job> = (0..lot).map(|n| next(seed, outcome.runs + n, &mut kept)).collect();
        let done: Result<Vec<Done>, BadPlan> = jobs.into_par_iter().map(run).collect();
        outcome.runs += lot;
        for one in done? {
            learn(one, &mut known, &mut kept, &mut outcome);
        }
        kept.iter_mut().for_each(|one: &mut Kept| one.weigh(&known));
        kept.sort_by(|one: &Kept, other| other.energy.total_cmp(&one.energy));
        kept.truncate(KEPT_MAX);
        if first && !outcome.found.is_empty() {
            break;
        }
    }
    (outcome.marks, outcome.kept) = (known.len(), kept.len());
    Ok(outcome)
}

/// Every second run is fresh; the others are made from a kept one.
fn next(seed: u64, number: u64, kept: &mut [Kept]) -> Job {
    let total: f64 = kept.iter().map(|one| one.energy).sum();
    if number.is_multiple_of(2) || total <= 0.0 {
        return Job { number, plan: swarm::draw(seed + number), is_branch: false };
    }
    let draw = Fate::new(seed).decide(About::Swarm, key("search"), number);
    let mut left = draw.below(1 << 53) as f64 / (1u64 << 53) as f64 * total;
    let place = kept.iter().position(|one| {
        left -= one.energy;
        left <= 0.0
    });
    let one = &mut kept[place.unwrap_or(0)];
    one.energy *= f64::from(1 + one.taken) / f64::from(2 + one.taken);
    one.taken += 1;
    let (how, other) = (draw.next(), draw.next().next().0);
    let plan = if how.below(3) > 0 {
        swarm::vary(&one.plan, other)
    } else {
        swarm::branch(&one.plan, one.at_ms, other)
    };
    Job { number, plan, is_branch: true }
}

fn run(job: Job) -> Result<Done, BadPlan> {
    let novelty = Novelty::default();
    let spectators: Vec<Box<dyn Spectator>> = vec![Box::new(novelty.clone())];
    let verdict = runner::run(job.plan.clone(), Extras { spectators, ..Extras::default() })?;
    let marks = std::mem::take(&mut novelty.0.borrow_mut().marks);
    Ok(Done { job, verdict, marks })
}

fn learn(done: Done, known: &mut Known, kept: &mut Vec<Kept>, outcome: &mut Outcome) {
    let mut at_ms = None;
    for (mark, at) in &done.marks {
        let runs = known.entry(*mark).or_insert(0);
        *runs += 1;
        if *runs <= RARE {
            at_ms = at_ms.max(Some(*at));
        }
    }
    let Job { number, plan, is_branch } = done.job;
    if let Some(at_ms) = at_ms {
        let marks = done.marks.into_keys().collect();
        kept.push(Kept { plan: plan.clone(), at_ms, marks, taken: 0, energy: 0.0 });
    }
    if done.verdict.violation.is_some() {
        outcome.found.push(Found { run: number + 1, is_branch, plan, verdict: done.verdict });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_branches_and_is_the_same_again() {
        let [one, other] = [0, 1].map(|_| search(7, 2 * LOT, false).expect("plans are sound"));
        assert_eq!((one.runs, one.marks, one.kept), (other.runs, other.marks, other.kept));
        assert!(one.marks > 100, "{} marks", one.marks);
        assert!(one.kept > 10, "{} kept", one.kept);
    }

    #[test]
    fn a_variation_has_other_times_and_a_sound_plan() {
        for seed in 0..100 {
            let parent = swarm::draw(seed);
            let varied = swarm::vary(&parent, seed + 1_000);
            assert_eq!((&varied.cluster, &varied.clients), (&parent.cluster, &parent.clients));
            assert_eq!(varied.faults.len(), parent.faults.len());
            varied.check().expect("it is sound");
        }
    }

    #[test]
    fn a_branch_is_its_parent_up_to_the_moment() {
        let parent = swarm::draw(3);
        let branch = swarm::branch(&parent, 20_000, 99);
        assert_eq!((&branch.cluster, &branch.clients), (&parent.cluster, &parent.clients));
        branch.check().expect("it is sound");
        let until = |plan: Plan| {
            let mut world = crate::world::World::<tidegate_core::Node>::new(plan, Vec::new()).expect("sound");
            world.run_until(19_000_000_000);
            world.digest()
        };
        assert_eq!(until(branch), until(parent));
    }
}
