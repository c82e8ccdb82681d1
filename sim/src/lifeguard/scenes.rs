//! What a membership has to stand beside the paper: a crash, a member that is half connected, a cut that heals, mass
//! restarts, everybody joining through one seed, and churn.

#[path = "../../../benches/cpu.rs"]
mod cpu;

use rayon::prelude::*;
use tidegate_core::swim::Rules;

use super::Config;
use super::tables::quantile;
use super::world::{Anomaly, SECOND, World, mix};

/// Longest wait for full views, in seconds.
const PATIENCE: u64 = 600;

/// Which trial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scene {
    /// One crash.
    Crash,
    /// One crash while everybody still tells of everybody.
    CrashCrowded,
    /// A member that reaches one other only.
    HalfConnected,
    /// Halves cut from each other.
    Heal,
    /// Everybody restarts.
    Restart,
    /// Everybody joins through one seed.
    Join,
    /// Members restart one after the other.
    Churn,
}

/// Named figures, in the order in which they are shown.
#[derive(Debug)]
pub struct Found {
    scene: Scene,
    runs: u64,
    figures: Vec<(&'static str, f64)>,
}

impl Found {
    /// One JSON object; a figure that does not exist is null.
    pub fn json(&self, config: Config, nodes: u32, wall_s: f64) -> String {
        let figures: String = self
            .figures
            .iter()
            .map(|(name, value)| match value.is_finite() {
                true => format!(",\"{name}\":{value:.3}"),
                false => format!(",\"{name}\":null"),
            })
            .collect();
        format!(
            "{{\"experiment\":\"{}\",\"config\":\"{}\",\"nodes\":{nodes},\"runs\":{}{figures},\"wall_s\":{wall_s:.1}}}",
            self.scene.name(),
            config.name(),
            self.runs,
        )
    }

    /// One line.
    pub fn text(&self, config: Config, nodes: u32, wall_s: f64) -> String {
        let figures: String =
            self.figures.iter().map(|(name, value)| format!("  {name} {value:.2}")).collect();
        format!(
            "{} {} n={nodes} runs={}{figures}  wall_s {wall_s:.1}",
            self.scene.name(),
            config.name(),
            self.runs
        )
    }
}

impl Scene {
    /// How many members are tried where nothing else is asked for.
    pub fn sizes(self) -> &'static [u32] {
        match self {
            Self::Crash | Self::CrashCrowded => &[128, 1_000],
            Self::HalfConnected => &[16, 128, 1_000],
            Self::Heal => &[128],
            Self::Restart | Self::Join => &[1_000],
            Self::Churn => &[10_000],
        }
    }

    /// Seconds that it lasts, likewise; one zero where that is not for the caller to say.
    pub fn spans(self) -> &'static [u64] {
        match self {
            Self::Heal => &[60, 3_600],
            Self::Churn => &[600],
            _ => &[0],
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Crash => "crash",
            Self::CrashCrowded => "crash-crowded",
            Self::HalfConnected => "half-connected",
            Self::Heal => "heal",
            Self::Restart => "restart",
            Self::Join => "join",
            Self::Churn => "churn",
        }
    }
}

/// Runs a trial so many times. `span` is its length in seconds where it has one.
pub fn run(scene: Scene, rules: Rules, nodes: u32, span: u64, runs: u64, seed: u64) -> Found {
    let one = |n: u64| {
        let seed = mix(seed ^ mix(n + 77));
        match scene {
            Scene::Crash => crash(World::acquainted(rules, nodes, seed, Anomaly::Loops)),
            Scene::CrashCrowded => crash(World::crowded(rules, nodes, seed, Anomaly::Loops)),
            Scene::HalfConnected => half_connected(rules, nodes, seed),
            Scene::Heal => heal(rules, nodes, span, seed),
            Scene::Restart => restart(rules, nodes, seed),
            Scene::Join => join(rules, nodes, seed),
            Scene::Churn => churn(rules, nodes, span, seed),
        }
    };
    let all: Vec<Vec<(&'static str, Figure)>> = (0..runs).into_par_iter().map(one).collect();
    let names = all.first().map_or(0, Vec::len);
    let figures = (0..names).flat_map(|place| {
        let values: Vec<f64> = all.iter().map(|figures| figures[place].1.value()).collect();
        let (name, figure) = all[0][place];
        let sum: f64 = values.iter().sum();
        let median = quantile(&values, 0.5).unwrap_or(f64::NAN);
        let most = values.iter().copied().fold(f64::NAN, f64::max);
        match figure {
            Figure::Sum(_) => vec![(name, sum)],
            Figure::Mean(_) => vec![(name, sum / values.len() as f64)],
            Figure::Time(_, names) => vec![(names[0], median), (names[1], most)],
        }
    });
    Found { scene, runs, figures: figures.collect() }
}

#[derive(Clone, Copy)]
enum Figure {
    /// Added up over the runs.
    Sum(f64),
    /// Their mean.
    Mean(f64),
    /// Shown by its median and its largest, under these names.
    Time(f64, [&'static str; 2]),
}

impl Figure {
    fn value(self) -> f64 {
        match self {
            Self::Sum(value) | Self::Mean(value) | Self::Time(value, _) => value,
        }
    }
}

type Figures = Vec<(&'static str, Figure)>;

fn seconds(span: u64) -> f64 {
    span as f64 / SECOND as f64
}

fn crash(mut world: World) -> Figures {
    let nodes = world.members();
    let wait = world.below(10 * SECOND);
    world.run_for(wait);
    let (begin, victim) = (world.now(), world.choose(1)[0]);
    world.crash(victim);
    world.run_for(60 * SECOND);
    let mut at = vec![u64::MAX; nodes as usize];
    let mut wrong = 0;
    for death in &world.deaths {
        match death.subject == victim {
            true => at[death.observer as usize] = at[death.observer as usize].min(death.at),
            false => wrong += 1,
        }
    }
    at.remove(victim as usize);
    let first = at.iter().min().copied().unwrap_or(u64::MAX);
    let knowing = at.iter().filter(|at| **at != u64::MAX);
    let last = knowing.clone().max().copied().unwrap_or(u64::MAX);
    let missed = nodes as usize - 1 - knowing.count();
    vec![
        ("first", Figure::Time(seconds(first.saturating_sub(begin)), ["first_median_s", "first_max_s"])),
        ("all", Figure::Time(seconds(last.saturating_sub(first)), ["all_after_median_s", "all_after_max_s"])),
        ("missed", Figure::Sum(missed as f64)),
        ("false_deaths", Figure::Sum(f64::from(wrong))),
        ("messages_per_node_s", Figure::Mean(world.messages as f64 / f64::from(nodes) / 60.0)),
    ]
}

/// The member 0 and the member 1 reach each other; nobody else and the member 0 do.
fn half_connected(rules: Rules, nodes: u32, seed: u64) -> Figures {
    let mut world = World::acquainted(rules, nodes, seed, Anomaly::Loops);
    world.cut = |from, to| from == 0 && to != 1 || to == 0 && from != 1;
    world.run_for(300 * SECOND);
    let count = |fits: &dyn Fn(u32, u32) -> bool| {
        let deaths = world.deaths.iter().filter(|death| fits(death.observer, death.subject));
        Figure::Sum(deaths.count() as f64)
    };
    vec![
        ("false_deaths_of_others", count(&|_, subject| subject != 0)),
        ("at_others", count(&|observer, subject| observer != 0 && subject != 0)),
        ("deaths_of_the_island", count(&|_, subject| subject == 0)),
        ("returns", Figure::Sum(world.returns as f64)),
    ]
}

fn heal(rules: Rules, nodes: u32, span: u64, seed: u64) -> Figures {
    let mut world = World::acquainted(rules, nodes, seed, Anomaly::Loops);
    world.cut = |from, to| from % 2 != to % 2;
    world.run_for(span * SECOND);
    let listed: usize = (0..nodes).map(|n| world.swim(n).listed()).sum();
    world.cut = |_, _| false;
    let healed = until_full(&mut world);
    vec![
        ("cut_s", Figure::Mean(span as f64)),
        ("mean_view_at_heal", Figure::Mean(listed as f64 / f64::from(nodes))),
        ("full_after", Figure::Time(healed, ["full_views_median_s", "full_views_max_s"])),
    ]
}

fn restart(rules: Rules, nodes: u32, seed: u64) -> Figures {
    let mut world = World::acquainted(rules, nodes, seed, Anomaly::Loops);
    world.loss_permille = 50;
    let mut order = world.choose(nodes as usize);
    let (begin, step) = (world.now(), 10 * SECOND / u64::from(nodes));
    for n in order.drain(..) {
        world.crash(n);
        let pause = step / 2;
        world.run_for(pause);
        world.start(n);
        world.run_for(step - pause);
    }
    let last = world.now();
    let full = until_full(&mut world);
    vec![
        ("took", Figure::Mean(seconds(last - begin))),
        ("full_after", Figure::Time(full, ["full_views_median_s", "full_views_max_s"])),
    ]
}

/// Members start within a second and know the member 0 alone.
fn join(rules: Rules, nodes: u32, seed: u64) -> Figures {
    let mut world = World::new(rules, nodes, 1, seed, Anomaly::Loops);
    world.weigh = true;
    world.start(0);
    let step = SECOND / u64::from(nodes);
    for n in 1..nodes {
        world.run_for(step);
        world.start(n);
    }
    let full = until_full(&mut world);
    vec![
        ("full_after", Figure::Time(full + 1.0, ["full_views_median_s", "full_views_max_s"])),
        ("messages", Figure::Mean(world.messages as f64)),
        ("megabytes", Figure::Mean(world.bytes as f64 / 1e6)),
    ]
}

/// Every second one member crashes and comes back 20 s later. Times are those of the processor: the world is one thread.
fn churn(rules: Rules, nodes: u32, span: u64, seed: u64) -> Figures {
    let mut world = World::acquainted(rules, nodes, seed, Anomaly::Loops);
    let mut down = std::collections::VecDeque::new();
    let mut wrong = 0;
    let (took, ()) = cpu::seconds(|| {
        for _ in 0..span {
            let victim = world.choose(1)[0];
            if !down.contains(&victim) {
                world.crash(victim);
                down.push_back(victim);
            }
            if down.len() > 20
                && let Some(back) = down.pop_front()
            {
                world.start(back);
            }
            world.run_for(SECOND);
            wrong += world.deaths.drain(..).filter(|death| !down.contains(&death.subject)).count();
        }
    });
    let bytes: usize = (0..nodes).map(|n| world.swim(n).member_bytes()).sum();
    let node_s = f64::from(nodes) * span as f64;
    vec![
        ("span_s", Figure::Mean(span as f64)),
        ("real_time_factor", Figure::Mean(span as f64 / took)),
        ("million_steps_s", Figure::Mean(world.steps as f64 / took / 1e6)),
        ("us_per_node_s", Figure::Mean(took * 1e6 / node_s)),
        ("steps_per_node_s", Figure::Mean(world.steps as f64 / node_s)),
        ("messages_per_node_s", Figure::Mean(world.messages as f64 / node_s)),
        ("bytes_per_member", Figure::Mean(bytes as f64 / f64::from(nodes) / f64::from(nodes - 1))),
        ("deaths_of_the_living", Figure::Sum(wrong as f64)),
    ]
}

/// Seconds until everyone who is up lists exactly the others who are up; not a number if that never comes.
fn until_full(world: &mut World) -> f64 {
    let begin = world.now();
    let up = world.up();
    while world.now() < begin + PATIENCE * SECOND {
        world.run_for(SECOND / 2);
        if world.full_views() == up {
            return seconds(world.now() - begin);
        }
    }
    f64::NAN
}
