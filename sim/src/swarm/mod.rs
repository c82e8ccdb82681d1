//! The swarm: a plan drawn from a seed, on two levels.
//!
//! First the [`Options`] of the run: which kinds of faults it has at all, and for each kind how often, how long at
//! least, at whom and on what; which points of the drivers are on; how it ends. Most runs leave out most kinds, for a
//! fault that is always there hides what happens without it, and one run in twenty is calm. Then the plan: shape,
//! workload, network, and the faults that the options stand for.
//!
//! Everything is drawn by name, so that one more draw changes no other.

mod dice;
mod ending;
mod faults;
mod options;
mod shape;
mod workload;

pub use options::Options;

use self::dice::Dice;
use crate::plan::{FaultKind, FaultPlan, Plan, RunPlan, When};

/// Faults begin in this time, in ms.
const FAULTS_MS: u64 = 50_000;
/// Everything, or the core, is healed then, in ms.
const HEALED_MS: u64 = 60_000;
/// Oracles look at what every node holds this often, in ms.
const LOOK_MS: u64 = 5_000;
/// The longest job timeout that is drawn, in ms.
const JOB_MS_MAX: u64 = 90_000;

/// The plan of a seed.
pub fn draw(seed: u64) -> Plan {
    let dice = Dice::new(seed);
    let options = Options::draw(seed);
    let mut cluster = shape::cluster(dice, &options);
    cluster.old_version = shape::old_version(dice, &options, &cluster);
    cluster.greets = shape::without_features(dice, &options, &cluster);
    let clients = workload::clients(dice, &options, &cluster);
    let mut faults = faults::faults(dice, &options, &cluster, &clients);
    let core = ending::core(dice, &options, &cluster, &faults);
    faults.extend(ending::rest(dice, &core, &cluster));
    let keeps_short = cluster.timing_ms.contains_key("retain_completed");
    let has_old_disk = faults.iter().any(|fault| matches!(fault.kind, FaultKind::DiskRestore));
    Plan {
        seed,
        run: RunPlan {
            faults_end_ms: HEALED_MS,
            settle_ms: ending::settle_ms(&cluster),
            core,
            at_least_ms: if keeps_short || has_old_disk { HEALED_MS + 30_000 } else { 0 },
            until_dropped: false,
            look_every_ms: LOOK_MS,
        },
        network: shape::network(dice, &options, &cluster),
        driver: options.points.clone(),
        cluster,
        clients,
        faults,
    }
}

/// The run of a plan up to a moment, and then other faults: those of another seed, pressed into the time that is left.
/// Faults that wait for an observation stay, since they may have been part of what came before.
pub fn branch(plan: &Plan, from_ms: u64, seed: u64) -> Plan {
    let mut options = Options::draw(seed);
    options.old_disk = false;
    let dice = Dice::new(seed);
    let from_ms = from_ms.min(FAULTS_MS);
    let is_kept = |fault: &&FaultPlan| match fault.when {
        When::AtMs(at) => at < from_ms || fault.for_ms.is_none(),
        When::Seen(_) => true,
    };
    let fresh = faults::faults(dice, &options, &plan.cluster, &plan.clients).into_iter().map(|mut fault| {
        match &mut fault.when {
            When::AtMs(at) => *at = from_ms + *at * (HEALED_MS - from_ms) / HEALED_MS,
            When::Seen(seen) => seen.not_before_ms = seen.not_before_ms.max(from_ms),
        }
        fault
    });
    Plan { faults: plan.faults.iter().filter(is_kept).cloned().chain(fresh).collect(), ..plan.clone() }
}

/// The same run with another chance: messages, disks and timers go another way, and half of the faults that end come
/// at another time, or last longer or shorter.
pub fn vary(plan: &Plan, seed: u64) -> Plan {
    let dice = Dice::new(seed);
    let varied = |(fault, n): (&FaultPlan, u64)| {
        let mut fault = fault.clone();
        let Some(lasts) = &mut fault.for_ms else { return fault };
        if !dice.percent("varied", n, 50) {
            return fault;
        }
        *lasts = *lasts * dice.range("varied lasts", n, 50, 200) / 100;
        match &mut fault.when {
            When::AtMs(at) => *at = (*at * dice.range("varied at", n, 75, 125) / 100).min(FAULTS_MS),
            When::Seen(seen) => seen.nth = dice.range("varied which", n, 1, 8) as u32,
        }
        fault
    };
    Plan { seed, faults: plan.faults.iter().zip(0..).map(varied).collect(), ..plan.clone() }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::plan::{MessageAction, MessageRule};

    #[test]
    fn every_seed_gives_a_sound_plan_that_survives_its_file() {
        let (mut faults, mut jobs, mut calm, mut cores, mut pointed) = (0, 0, 0, 0, 0);
        let mut kinds: BTreeMap<&str, u32> = BTreeMap::new();
        for seed in 0..500 {
            let plan = draw(seed);
            plan.check().unwrap_or_else(|why| panic!("seed {seed}: {why}"));
            assert_eq!(Plan::from_toml(&plan.to_toml()).as_ref(), Ok(&plan), "seed {seed}");
            for job in plan.clients.iter().flat_map(|client| &client.jobs) {
                job.spec().map(|spec| spec.validate()).expect("names exist").expect("it is valid");
                jobs += 1;
            }
            faults += plan.faults.len();
            for fault in &plan.faults {
                let kind = match &fault.kind {
                    FaultKind::Cut { from: Some(_), .. } => "half_connected",
                    FaultKind::Messages(MessageRule {
                        nth: 1,
                        count: 0,
                        action: MessageAction::Drop,
                        ..
                    }) => options::MUTE,
                    kind => kind.name(),
                };
                *kinds.entry(kind).or_insert(0) += 1;
            }
            calm += usize::from(plan.faults.is_empty() && plan.driver.is_empty());
            cores += usize::from(!plan.run.core.is_empty());
            pointed += usize::from(!plan.driver.is_empty());
        }
        assert!((2_000..3_000).contains(&jobs), "{jobs} jobs in 500 plans");
        assert!((1_500..4_500).contains(&faults), "{faults} faults in 500 plans");
        assert!((15..90).contains(&calm), "{calm} of 500 plans are calm");
        assert!((100..300).contains(&cores), "{cores} of 500 plans heal a core");
        assert!((100..400).contains(&pointed), "{pointed} of 500 plans have points");
        for (_, kind, _) in faults::KINDS {
            assert!(kinds.contains_key(kind), "{kind} is never drawn: {kinds:?}");
        }
    }
}
