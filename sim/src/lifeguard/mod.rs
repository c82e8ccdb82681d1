//! The evaluation of the Lifeguard paper (Dadgar, Phillips, Currey, arXiv 1707.00788), repeated on our machine, and
//! what else a membership has to stand.
//!
//! 128 members on a local network; C of them block for D, in step. *Threshold*: once, then up to 120 s: how soon a
//! blocked member is held dead by anybody, and by everybody healthy. *Interval*: again and again, with I between: who
//! else is held dead (a false positive; FP- where the observer was healthy, too) and how many messages that took.
//!
//! Each repetition quiesces one group and gives every point of the grid a copy of it with draws of its own.

pub mod plot;
mod queue;
pub mod scenes;
pub mod tables;
pub mod world;

use rayon::prelude::*;
use tidegate_core::Duration;
use tidegate_core::swim::Rules;

use world::{Anomaly, SECOND, World, mix};

/// Members of a group (section V).
const MEMBERS: u32 = 128;
/// Blocked members (tables II and III).
const BLOCKED: [usize; 9] = [1, 4, 8, 12, 16, 20, 24, 28, 32];
/// Milliseconds that they block.
const SPANS_MS: [u64; 6] = [128, 512, 2_048, 8_192, 16_384, 32_768];
/// Milliseconds between.
const PAUSES_MS: [u64; 8] = [1, 4, 16, 64, 256, 1_024, 4_096, 16_384];
/// From the begin of a run (15 s of it quiet) to its end.
const RUN: u64 = 105 * SECOND;

/// A configuration by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Config {
    /// SWIM with suspicion, no part of Lifeguard.
    Swim,
    /// SWIM and LHA-Probe.
    LhaProbe,
    /// SWIM and LHA-Suspicion.
    LhaSuspicion,
    /// SWIM and the buddy system.
    Buddy,
    /// SWIM and all three.
    Lifeguard,
    /// Lifeguard at memberlist's defaults of today.
    Memberlist,
    /// Ours with the paper's shortest suspicion, to be compared.
    Ours,
    /// What nodes run with.
    Node,
}

impl Config {
    /// The paper's table I, and ours.
    pub const ALL: [Self; 7] = [
        Self::Swim,
        Self::LhaProbe,
        Self::LhaSuspicion,
        Self::Buddy,
        Self::Lifeguard,
        Self::Ours,
        Self::Node,
    ];

    /// Its rules, with other shortest and longest suspicions where they are given and apply.
    pub fn rules(self, alpha: Option<f64>, beta: Option<f64>) -> Rules {
        let (swim, lifeguard) = (Rules::swim(), Rules::lifeguard());
        let node = Rules::ours(Duration::from_secs(1), Duration::from_millis(500));
        let mut rules = match self {
            Self::Swim => swim,
            Self::LhaProbe => Rules { local_health: true, ..swim },
            Self::LhaSuspicion => {
                Rules { beta: lifeguard.beta, confirmations: lifeguard.confirmations, ..swim }
            }
            Self::Buddy => Rules { buddy: true, ..swim },
            Self::Lifeguard => lifeguard,
            Self::Memberlist => Rules::memberlist(),
            Self::Ours => Rules { alpha: swim.alpha, floor: 0.0, ..node },
            Self::Node => node,
        };
        rules.alpha = alpha.unwrap_or(rules.alpha);
        if rules.confirmations > 0 {
            rules.beta = beta.unwrap_or(rules.beta);
        }
        rules
    }

    /// As on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Swim => "swim",
            Self::LhaProbe => "lha-probe",
            Self::LhaSuspicion => "lha-suspicion",
            Self::Buddy => "buddy",
            Self::Lifeguard => "lifeguard",
            Self::Memberlist => "memberlist",
            Self::Ours => "ours",
            Self::Node => "node",
        }
    }
}

/// What is run.
#[derive(Clone, Copy, Debug)]
pub struct Task {
    /// The configuration.
    pub rules: Rules,
    /// How members are blocked.
    pub anomaly: Anomaly,
    /// Groups, each with the whole grid.
    pub repetitions: u64,
    /// Only every so manieth run.
    pub sample: u64,
    /// Moves every draw.
    pub seed: u64,
}

/// What came of some runs.
#[derive(Clone, Debug, Default)]
pub struct Sum {
    /// Runs.
    pub runs: u64,
    /// False positives at anybody.
    pub fp: u64,
    /// False positives at healthy members.
    pub fp_healthy: u64,
    /// False positives of each run, to show the spread.
    pub fp_of_runs: Vec<u32>,
    /// Seconds to the first detection, of each detected member.
    pub first_s: Vec<f64>,
    /// Seconds until everyone healthy knew, where they all came to know.
    pub full_s: Vec<f64>,
    /// Datagrams.
    pub messages: u64,
}

impl Sum {
    fn add(mut self, other: Self) -> Self {
        self.runs += other.runs;
        self.fp += other.fp;
        self.fp_healthy += other.fp_healthy;
        self.fp_of_runs.extend(other.fp_of_runs);
        self.first_s.extend(other.first_s);
        self.full_s.extend(other.full_s);
        self.messages += other.messages;
        self
    }

    fn count(&mut self, world: &World, blocked: &[u32]) {
        let mut fp = 0;
        for death in world.deaths.iter().filter(|death| !blocked.contains(&death.subject)) {
            fp += 1;
            self.fp_healthy += u64::from(!blocked.contains(&death.observer));
        }
        self.runs = 1;
        self.fp = fp;
        self.fp_of_runs.push(fp as u32);
        self.messages = world.messages;
    }
}

/// One anomaly a run: how soon it is found.
pub fn threshold(task: &Task) -> Sum {
    let points = BLOCKED.iter().flat_map(|count| SPANS_MS.iter().map(|span| (*count, *span)));
    on_grid(task, points.collect(), |mut world, (count, span_ms)| {
        let blocked = world.choose(count);
        let begin = world.now();
        world.block(&blocked, begin + span_ms * 1_000_000);
        world.run_for(span_ms * 1_000_000);
        world.release(&blocked);
        world.run_until(begin + RUN);
        let mut sum = Sum::default();
        sum.count(&world, &blocked);
        for subject in &blocked {
            let found: Vec<_> = world.deaths.iter().filter(|death| death.subject == *subject).collect();
            let seconds = |at: u64| (at - begin) as f64 / SECOND as f64;
            sum.first_s.extend(found.iter().map(|death| seconds(death.at)).reduce(f64::min));
            let mut healthy: Vec<(u32, u64)> = found
                .iter()
                .filter(|death| !blocked.contains(&death.observer))
                .map(|death| (death.observer, death.at))
                .collect();
            healthy.sort_unstable();
            healthy.dedup_by_key(|(observer, _)| *observer);
            if healthy.len() == MEMBERS as usize - count {
                sum.full_s.extend(healthy.iter().map(|(_, at)| seconds(*at)).reduce(f64::max));
            }
        }
        sum
    })
}

/// Anomalies that come again and again: who else is held dead, and how many messages it took.
pub fn interval(task: &Task) -> Sum {
    let pauses = |count: usize, span: u64| PAUSES_MS.iter().map(move |pause| (count, span, *pause));
    let spans = |count: usize| SPANS_MS.iter().flat_map(move |span| pauses(count, *span));
    let points = BLOCKED.iter().flat_map(|count| spans(*count)).collect();
    on_grid(task, points, |mut world, (count, span_ms, pause_ms)| {
        let blocked = world.choose(count);
        let end = world.now() + RUN;
        loop {
            let until = world.now() + span_ms * 1_000_000;
            world.block(&blocked, until);
            world.run_until(until);
            world.release(&blocked);
            if world.now() >= end {
                break;
            }
            world.run_for(pause_ms * 1_000_000);
        }
        let mut sum = Sum::default();
        sum.count(&world, &blocked);
        sum
    })
}

/// Runs all points of all repetitions, sums them in a fixed order.
fn on_grid<P: Copy + Send + Sync>(task: &Task, points: Vec<P>, run: impl Fn(World, P) -> Sum + Sync) -> Sum {
    let repetition = |n: u64| {
        let seed = mix(task.seed ^ mix(n + 1));
        let taken = |point: usize| (mix(seed ^ point as u64) >> 16).is_multiple_of(task.sample);
        let chosen: Vec<usize> = (0..points.len()).filter(|point| taken(*point)).collect();
        if chosen.is_empty() {
            return Sum::default();
        }
        let group = World::acquainted(task.rules, MEMBERS, seed, task.anomaly);
        let sums: Vec<Sum> = chosen
            .into_par_iter()
            .map(|point| {
                let mut world = group.clone();
                world.reseed(seed ^ mix(1_000 + point as u64));
                let phase = world.below(2 * SECOND);
                world.run_for(phase);
                world.messages = 0;
                run(world, points[point])
            })
            .collect();
        sums.into_iter().fold(Sum::default(), Sum::add)
    };
    let sums: Vec<Sum> = (0..task.repetitions).into_par_iter().map(repetition).collect();
    sums.into_iter().fold(Sum::default(), Sum::add)
}
