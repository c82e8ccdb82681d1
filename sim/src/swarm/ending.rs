//! How a run ends: who is healed, and by when everything must be over.

use tidegate_core::config::Timing;
use tidegate_core::id::Role;

use super::{Dice, HEALED_MS, JOB_MS_MAX, Options};
use crate::plan::{ClusterPlan, Direction, FaultKind, FaultPlan, Selector, When};

/// How long after the healing every job must be final: what is left of the longest job, the wait for a datacenter, a
/// stop with all its deadlines, and the leases, elections and connections that come before anything else can go on.
/// What is outside of a core needs no more: a gate that owns a job waits for a silent datacenter no longer than that.
pub(super) fn settle_ms(cluster: &ClusterPlan) -> u64 {
    let plain = Timing::default();
    let drawn = cluster.timing(Role::Gate);
    let of = |timing: &Timing| {
        let waits = [
            timing.queue_deadline,
            timing.cancel_deadline,
            timing.orphan_grace,
            timing.lease_ttl,
            timing.lease_ttl,
        ];
        waits.iter().map(|wait| wait.as_millis()).sum::<u64>()
    };
    JOB_MS_MAX + of(&plain).max(of(&drawn)) + 30_000
}

/// The names of the nodes that are healed, where that is not all of them: a quorum of the gates and, of some
/// datacenters, a quorum of the managers and a worker.
pub(super) fn core(
    dice: Dice,
    options: &Options,
    cluster: &ClusterPlan,
    faults: &[FaultPlan],
) -> Vec<String> {
    if !options.core {
        return Vec::new();
    }
    // Whoever got an old disk is out of it for good, and counts as a part that may break.
    let old: Vec<&Selector> = faults
        .iter()
        .filter(|fault| matches!(fault.kind, FaultKind::DiskRestore))
        .map(|fault| &fault.target)
        .collect();
    let is_old = |name: &String| old.iter().any(|target| **target == Selector::Node(name.clone()));
    let quorum = |what: &str, n: u64, names: Vec<String>| {
        let enough = names.len() / 2 + 1;
        let sound: Vec<String> = names.into_iter().filter(|name| !is_old(name)).collect();
        let keep = dice.range(what, n, enough.min(sound.len()) as u64, sound.len() as u64) as usize;
        let first = dice.below(what, n + 100, sound.len() as u64) as usize;
        sound.iter().cycle().skip(first).take(keep).cloned().collect::<Vec<_>>()
    };
    let mut core = quorum("core gates", 0, (1..=cluster.gates).map(|n| format!("g{n}")).collect());
    let whole = dice.below("core datacenter", 0, cluster.datacenters.len() as u64);
    for (dc, n) in cluster.datacenters.iter().zip(0..) {
        if n != whole && dice.percent("lost datacenter", n, 30) {
            continue;
        }
        core.extend(quorum(
            "core managers",
            n,
            (1..=dc.managers).map(|m| format!("{}/m{m}", dc.name)).collect(),
        ));
        let workers: Vec<String> = (1..=dc.workers.len()).map(|w| format!("{}/w{w}", dc.name)).collect();
        let first = dice.below("core worker", n, workers.len() as u64);
        let kept = |place: &u64| *place == first || dice.percent("core workers", n * 16 + place, 50);
        core.extend(workers.into_iter().zip(0..).filter(|(_, place)| kept(place)).map(|(name, _)| name));
    }
    core
}

/// What is the matter with the rest, for ever.
pub(super) fn rest(dice: Dice, core: &[String], cluster: &ClusterPlan) -> Vec<FaultPlan> {
    let names = cluster.node_names();
    let rest = names.iter().zip(0..).filter(|(name, _)| !core.is_empty() && !core.contains(*name));
    rest.filter_map(|(name, n)| {
        let kind = match dice.below("broken", n, 7) {
            0 | 1 => FaultKind::Crash,
            2 => FaultKind::Freeze,
            3 => FaultKind::Cut { from: None, direction: Direction::Both },
            4 => FaultKind::Cut {
                from: None,
                direction: dice.one_of("broken way", n, &[Direction::In, Direction::Out]),
            },
            5 => FaultKind::DiskStall,
            // It stays as it is by then.
            _ => return None,
        };
        Some(FaultPlan {
            when: When::AtMs(HEALED_MS - dice.range("broken at", n, 1, 10_000)),
            target: Selector::Node(name.clone()),
            kind,
            for_ms: None,
        })
    })
    .collect()
}
