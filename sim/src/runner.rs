//! Runs plans, many at once, and puts the outcomes together.
//!
//! Worlds share nothing, so every thread runs its own. Outcomes are put together in the order of the seeds, whatever
//! the threads did.

use std::any::Any;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use rayon::prelude::*;
use tidegate_core::Node;

use crate::oracles;
use crate::plan::{BadPlan, Plan};
use crate::world::{Machine, NO_PANIC, Spectator, Trace, Verdict, Violation, World, panic_text};

thread_local! {
    /// Where the last panic of this thread was: the world knows only its words.
    static PANIC_AT: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Keeps panics of nodes from being printed: they are violations, and are reported as such. One of the simulator in a
/// run is a violation as well, and printed; any other ends the program.
pub fn catch_panics_quietly() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        let place = info.location().map(ToString::to_string);
        let core = place.as_deref().is_some_and(|place| !place.contains("sim/src"));
        PANIC_AT.with(|at| at.replace(place));
        if !core {
            before(info);
        }
    }));
}

/// What one run is made of, beside its plan.
#[derive(Default)]
pub struct Extras {
    /// Spectators beside the oracles.
    pub spectators: Vec<Box<dyn Spectator>>,
    /// Tells the story.
    pub trace: Option<Trace>,
    /// Called with the running digest after each step.
    pub each_step: Option<Box<dyn FnMut(u64)>>,
    /// Sees every fact before the oracles do, the one at which they fail too.
    pub first: Option<Box<dyn Spectator>>,
    /// Which random streams the nodes have; 0 is the plan's own.
    pub streams: u32,
    /// From this instant on, in ms, chance is another.
    pub reroll: Option<(u64, u64)>,
    /// The run is cut off at this instant, in ms.
    pub stop_at_ms: Option<u64>,
}

/// Runs a plan with all oracles.
pub fn run(plan: Plan, extras: Extras) -> Result<Verdict, BadPlan> {
    run_machines::<Node>(plan, extras)
}

/// The same, with other machines in the place of the nodes. A panic, wherever it is, is a violation.
pub fn run_machines<M: Machine>(plan: Plan, extras: Extras) -> Result<Verdict, BadPlan> {
    let run = catch_unwind(AssertUnwindSafe(|| run_world::<M>(plan, extras)));
    let mut verdict = run.unwrap_or_else(|panic| Ok(panicked(panic.as_ref())))?;
    if let Some(violation) = verdict.violation.as_mut().filter(|violation| violation.oracle == NO_PANIC)
        && let Some(place) = PANIC_AT.with(RefCell::take)
    {
        violation.message.push_str(&format!(" (at {place})"));
    }
    Ok(verdict)
}

/// Of a run that the simulator itself did not survive nothing is known but that.
fn panicked(panic: &(dyn Any + Send)) -> Verdict {
    let message = format!("the simulator panicked: {}", panic_text(panic));
    Verdict {
        digest: 0,
        steps: 0,
        simulated_ms: 0,
        fired: BTreeMap::new(),
        wired: 0,
        tested: BTreeMap::new(),
        violation: Some(Violation { oracle: NO_PANIC.into(), at_ms: 0, message }),
    }
}

fn run_world<M: Machine>(plan: Plan, extras: Extras) -> Result<Verdict, BadPlan> {
    let mut spectators: Vec<_> = extras.first.into_iter().chain(oracles::all()).collect();
    spectators.extend(extras.spectators);
    let mut world = World::<M>::new(plan, spectators)?;
    world.perturb_streams(extras.streams);
    if let Some((ms, salt)) = extras.reroll {
        world.reroll_at(ms * 1_000_000, salt);
    }
    if let Some(ms) = extras.stop_at_ms {
        world.stop_at(ms * 1_000_000);
    }
    if let Some(trace) = extras.trace {
        world.trace(trace);
    }
    if let Some(each_step) = extras.each_step {
        world.each_step(each_step);
    }
    Ok(world.run())
}

/// One seed that failed.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The seed.
    pub seed: u64,
    /// What an oracle found.
    pub violation: Violation,
}

/// Many runs put together.
#[derive(Clone, Debug, Default)]
pub struct Sum {
    /// Runs.
    pub seeds: u64,
    /// Runs that failed.
    pub failures: Vec<Failure>,
    /// Steps of all.
    pub steps: u64,
    /// Simulated time of all.
    pub simulated_ms: u64,
    /// Faults of all, by kind.
    pub fired: BTreeMap<&'static str, u64>,
    /// Messages of all that went through the codec.
    pub wired: u64,
    /// Over the digests of all, in the order of the seeds.
    pub digest: u64,
}

impl Sum {
    /// Adds a run.
    pub fn add(&mut self, seed: u64, verdict: Verdict) {
        self.seeds += 1;
        self.steps += verdict.steps;
        self.simulated_ms += verdict.simulated_ms;
        self.wired += verdict.wired;
        self.digest = self.digest.rotate_left(7).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ verdict.digest;
        for (kind, count) in verdict.fired {
            *self.fired.entry(kind).or_insert(0) += count;
        }
        self.failures.extend(verdict.violation.map(|violation| Failure { seed, violation }));
    }

    /// Runs that passed.
    pub fn passed(&self) -> u64 {
        self.seeds - self.failures.len() as u64
    }
}

/// Runs a plan for each seed, on all threads of the pool. Shows each verdict to `seen`, in no order.
pub fn run_seeds<F>(seeds: &[u64], seen: &(dyn Fn(&Verdict) + Sync), make: F) -> Result<Sum, BadPlan>
where
    F: Fn(u64) -> (Plan, Vec<Box<dyn Spectator>>) + Sync,
{
    let one = |&seed: &u64| {
        let verdict = match catch_unwind(AssertUnwindSafe(|| make(seed))) {
            Ok((plan, spectators)) => run(plan, Extras { spectators, ..Extras::default() })?,
            Err(panic) => panicked(panic.as_ref()),
        };
        seen(&verdict);
        Ok((seed, verdict))
    };
    let verdicts: Result<Vec<(u64, Verdict)>, BadPlan> = seeds.par_iter().map(one).collect();
    let mut sum = Sum::default();
    for (seed, verdict) in verdicts? {
        sum.add(seed, verdict);
    }
    Ok(sum)
}
