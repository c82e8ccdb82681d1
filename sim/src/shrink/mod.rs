//! Makes a failure small: takes away what it can do without.
//!
//! A candidate counts only if the same failure comes of it: the same oracle with the same words (see
//! [`Fingerprint`]). Passes run in order, each until it has nothing left to offer, and all of them again until none has.
//! Candidates are judged many at once; the first in the order of the pass is taken, so the outcome does not depend on
//! the threads.
//!
//! A failure that hangs on one draw of one node would be gone after the next change of the code. So a candidate must
//! also fail with other random streams in the nodes: with every one of [`STREAMS`] with which the plan failed at the
//! end of an earlier round. What fails once by luck ends as something that fails for a reason.

mod anchor;
mod document;
mod passes;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};

use rayon::prelude::*;

use crate::fingerprint::Fingerprint;
use crate::plan::{BadPlan, Plan};
use crate::runner::{self, Extras};
use crate::scenario::Repro;
use crate::schedule::{FiredFaults, Notes, schedule};
use crate::world::Verdict;

use passes::{Candidate, Pass};

/// Other random streams of the nodes with which a shrunk plan should fail as well.
pub const STREAMS: std::ops::RangeInclusive<u32> = 1..=4;
/// A candidate may fail this much later than what it is made of, in simulated milliseconds.
const LATER_MS: u64 = 20_000;
/// Whole rounds of all passes at most; each makes the plan strictly smaller, so this is never the limit in practice.
const ROUNDS_MAX: usize = 20;

/// How large a failing run is.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Size {
    /// Faults in the plan.
    pub faults: usize,
    /// Nodes.
    pub nodes: usize,
    /// Clients.
    pub clients: usize,
    /// Jobs.
    pub jobs: usize,
    /// Steps of nodes up to the violation.
    pub events: u64,
    /// Simulated seconds up to the violation.
    pub seconds: f64,
}

impl Size {
    fn of(plan: &Plan, verdict: &Verdict) -> Self {
        Self {
            faults: plan.faults.len(),
            nodes: plan.cluster.node_names().len(),
            clients: plan.clients.len(),
            jobs: plan.clients.iter().map(|client| client.jobs.len()).sum(),
            events: verdict.steps,
            seconds: verdict.simulated_ms as f64 / 1e3,
        }
    }
}

/// What came out.
#[derive(Clone, Debug)]
pub struct Shrunk {
    /// The small failure, with its fingerprint.
    pub repro: Repro,
    /// What it is.
    pub fingerprint: Fingerprint,
    /// How it was found.
    pub before: Size,
    /// How it is now.
    pub after: Size,
    /// When the faults that are left happen, and to whom.
    pub fired: FiredFaults,
    /// Runs that it took.
    pub runs: u64,
    /// With so many of [`STREAMS`] it fails as well.
    pub stands: usize,
}

/// Why nothing was shrunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotShrunk {
    /// The plan is not sound.
    Bad(BadPlan),
    /// The run passes.
    Passes,
}

impl From<BadPlan> for NotShrunk {
    fn from(bad: BadPlan) -> Self {
        Self::Bad(bad)
    }
}

/// Shrinks a failing run. It stops early, with what it has, once `goes_on` says no.
pub fn shrink(repro: &Repro, goes_on: &(dyn Fn() -> bool + Sync)) -> Result<Shrunk, NotShrunk> {
    let notes = Notes::default();
    let verdict = run(repro, 0, None, Some(notes.clone()))?;
    let Some(violation) = &verdict.violation else { return Err(NotShrunk::Passes) };
    let fingerprint = Fingerprint::of(&repro.plan, violation);
    let before = Size::of(&repro.plan, &verdict);
    let mut shrinker = Shrinker {
        judge: Judge { repro, fingerprint: &fingerprint, runs: AtomicU64::new(1), goes_on },
        plan: repro.plan.clone(),
        fails_at_ms: violation.at_ms,
        streams: BTreeSet::from([0]),
    };
    // Faults that never happened are not worth a search.
    let _ = shrinker.take_first(&[("schedule".to_string(), schedule(&repro.plan, &notes.take()))]);
    for _ in 0..ROUNDS_MAX {
        let begin = shrinker.plan.clone();
        shrinker.round();
        if shrinker.plan == begin || !goes_on() {
            break;
        }
    }
    shrinker.anchor();
    shrinker.cut();
    let Shrinker { plan, streams, judge, .. } = shrinker;
    let runs = judge.runs.into_inner();
    let repro = Repro { plan, found: Some(fingerprint.clone()), ..repro.clone() };
    let notes = Notes::default();
    let verdict = run(&repro, 0, None, Some(notes.clone()))?;
    let after = Size::of(&repro.plan, &verdict);
    Ok(Shrunk { repro, fingerprint, before, after, fired: notes.take(), runs, stands: streams.len() - 1 })
}

fn run(
    repro: &Repro,
    streams: u32,
    stop_at_ms: Option<u64>,
    notes: Option<Notes>,
) -> Result<Verdict, BadPlan> {
    let mut spectators = repro.spectators();
    spectators.extend(notes.map(|notes| Box::new(notes) as _));
    runner::run(repro.plan.clone(), Extras { spectators, streams, stop_at_ms, ..Extras::default() })
}

/// Says whether a candidate fails in the same way.
struct Judge<'a> {
    repro: &'a Repro,
    fingerprint: &'a Fingerprint,
    runs: AtomicU64,
    goes_on: &'a (dyn Fn() -> bool + Sync),
}

impl Judge<'_> {
    /// When a plan fails in the same way, if it does, with these streams.
    fn fails_at_ms(&self, plan: &Plan, streams: u32, stop_at_ms: u64) -> Option<u64> {
        if !(self.goes_on)() {
            return None;
        }
        self.runs.fetch_add(1, Ordering::Relaxed);
        let repro = Repro { plan: plan.clone(), ..self.repro.clone() };
        if !repro.is_sound() {
            return None;
        }
        let violation = run(&repro, streams, Some(stop_at_ms), None).ok()?.violation?;
        (Fingerprint::of(plan, &violation) == *self.fingerprint).then_some(violation.at_ms)
    }
}

struct Shrinker<'a> {
    judge: Judge<'a>,
    plan: Plan,
    fails_at_ms: u64,
    /// It must fail with these.
    streams: BTreeSet<u32>,
}

/// No candidate fails in the same way.
struct NoneFails;

impl Shrinker<'_> {
    /// Takes the first candidate that fails in the same way with all streams. Tells how many before it do not.
    fn take_first(&mut self, candidates: &[Candidate]) -> Result<usize, NoneFails> {
        let stop_at_ms = self.fails_at_ms + LATER_MS;
        let at_once = rayon::current_num_threads().max(1);
        let judge = |plan: &Plan| {
            let at_ms = self.judge.fails_at_ms(plan, 0, stop_at_ms)?;
            let others = self.streams.iter().filter(|&&streams| streams > 0);
            let later = stop_at_ms + LATER_MS;
            let stands =
                others.copied().all(|streams| self.judge.fails_at_ms(plan, streams, later).is_some());
            stands.then_some(at_ms)
        };
        for (lot, chunk) in candidates.chunks(at_once).enumerate() {
            let found =
                chunk.par_iter().enumerate().find_map_first(|(place, (_, plan))| Some((place, judge(plan)?)));
            if let Some((place, at_ms)) = found {
                self.plan = chunk[place].1.clone();
                self.fails_at_ms = at_ms;
                return Ok(lot * at_once + place);
            }
        }
        Err(NoneFails)
    }

    /// The structure until nothing of it can go, then the details: a run of a small cluster costs less.
    fn round(&mut self) {
        for _ in 0..ROUNDS_MAX {
            let begin = self.plan.clone();
            self.offer_all(passes::STRUCTURE);
            if self.plan == begin || !(self.judge.goes_on)() {
                break;
            }
        }
        self.offer_all(passes::DETAILS);
    }

    /// Every one of these passes, each until it has nothing left to offer.
    fn offer_all(&mut self, passes: &[(&str, Pass)]) {
        for (_, pass) in passes {
            let mut refused = BTreeSet::new();
            while (self.judge.goes_on)() {
                let mut candidates = pass(&self.plan);
                candidates.retain(|(what, plan)| !refused.contains(what) && *plan != self.plan);
                let Ok(place) = self.take_first(&candidates) else { break };
                refused.extend(candidates.drain(..place).map(|(what, _)| what));
            }
            self.harden();
        }
    }

    /// From now on it must fail with every stream with which it fails now.
    fn harden(&mut self) {
        let (judge, plan, stop_at_ms) = (&self.judge, &self.plan, self.fails_at_ms + 2 * LATER_MS);
        let new: Vec<u32> = STREAMS.filter(|streams| !self.streams.contains(streams)).collect();
        let fails = |streams: &u32| judge.fails_at_ms(plan, *streams, stop_at_ms).is_some();
        self.streams.extend(new.into_par_iter().filter(fails).collect::<Vec<_>>());
    }

    /// Where it fails by luck: ties moments to what the nodes do, as long as that makes it fail more often.
    fn anchor(&mut self) {
        for path in anchor::moments(&self.plan) {
            if self.streams.len() > STREAMS.count() || !(self.judge.goes_on)() {
                return;
            }
            let candidates = anchor::candidates(self.judge.repro, &self.plan, &path);
            let stop_at_ms = self.fails_at_ms + 2 * LATER_MS;
            let stands = |plan: &Plan| -> BTreeSet<u32> {
                let all = std::iter::once(0).chain(STREAMS);
                all.filter(|&streams| self.judge.fails_at_ms(plan, streams, stop_at_ms).is_some()).collect()
            };
            let judged: Vec<(BTreeSet<u32>, Plan)> =
                candidates.into_par_iter().map(|plan| (stands(&plan), plan)).collect();
            let better = judged.into_iter().filter(|(streams, _)| streams.is_superset(&self.streams));
            // The first of the best.
            if let Some((streams, plan)) = better.rev().max_by_key(|(streams, _)| streams.len())
                && streams.len() > self.streams.len()
            {
                (self.streams, self.plan) = (streams, plan);
            }
        }
    }

    /// Ends the run soon after the violation.
    fn cut(&mut self) {
        let second_after = (self.fails_at_ms / 1_000 + 1) * 1_000;
        let mut plan = self.plan.clone();
        plan.run.at_least_ms = 0;
        let mut candidates = vec![plan.clone()];
        if second_after < plan.run.faults_end_ms {
            plan.run.faults_end_ms = second_after;
            candidates.insert(0, plan);
        }
        candidates.retain(|plan| *plan != self.plan);
        let candidates: Vec<Candidate> = candidates.into_iter().map(|plan| (String::new(), plan)).collect();
        // Where none fails, nothing is cut.
        let _ = self.take_first(&candidates);
    }
}
