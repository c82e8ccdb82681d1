//! Cluster, configuration and network of a run.

use std::collections::BTreeMap;

use super::{Dice, Options};
use crate::plan::{
    ClusterPlan, DatacenterPlan, DatagramPlan, DiskPlan, Greets, LinkPlan, NetworkPlan, PairPlan, WorkerPlan,
};

/// What is left of a node's features where some are turned off.
const FEATURES_LEFT: &[&[&str]] = &[&["gate_views", "queued_jobs"], &["coordinates", "queued_jobs"], &[]];

/// Settings that go together, how many of 100 runs have them, and in which runs most have them: where what goes wrong in
/// a run would be over before the default comes.
type Setting = (u16, fn(&Options) -> bool, &'static [(&'static str, u64)]);
/// So many of 100 of those.
const MOST: u16 = 75;

const TIMINGS: &[Setting] = &[
    (
        40,
        Options::busy_are_absent,
        &[("retain_completed", 5_000), ("retain_other", 8_000), ("retain_undelivered", 15_000)],
    ),
    (15, |_| false, &[("lease_ttl", 4_000), ("lease_renew", 1_000)]),
    (25, Options::managers_are_absent, &[("orphan_grace", 12_000), ("reconcile", 5_000)]),
    (15, |_| false, &[("abandon_target", 4_000), ("queue_deadline", 20_000), ("request_timeout", 1_500)]),
    (10, |_| false, &[("cancel_grace", 1_000), ("cancel_deadline", 10_000)]),
    (20, Options::somebody_is_mute, &[("run_silence", 4_000)]),
];

const LIMITS: &[Setting] = &[
    (30, |_| false, &[("event_ring", 6), ("window_ring", 4)]),
    (10, |_| false, &[("worker_outbox", 4)]),
    (5, |_| false, &[("streams_per_job", 2)]),
];

fn settings(dice: Dice, options: &Options, what: &str, all: &[Setting]) -> Vec<(String, u64)> {
    let often = |percent: u16, is_apt: bool| if is_apt { percent.max(MOST) } else { percent };
    let drawn = all
        .iter()
        .zip(0..)
        .filter(|((percent, is_apt, _), n)| dice.percent(what, *n, often(*percent, is_apt(options))));
    let values = drawn.flat_map(|((_, _, some), _)| some.iter());
    values.map(|(name, value)| ((*name).to_string(), *value)).collect()
}

pub(super) fn cluster(dice: Dice, options: &Options) -> ClusterPlan {
    let datacenters = (0..dice.one_of("datacenters", 0, &[1, 2, 2, 3, 3])).map(|dc| {
        let few = if options.is_tight() { 50 } else { 25 };
        let workers = if dice.percent("few workers", 0, few) { 1 } else { dice.range("workers", dc, 1, 4) };
        let worker =
            |n| WorkerPlan { cores: dice.range("cores", dc * 16 + n, 2, 8) as u16, executors: Vec::new() };
        DatacenterPlan {
            region: None,
            name: format!("dc-{}", char::from(b'a' + dc as u8)),
            managers: dice.one_of("managers", dc, &[1, 3]),
            workers: (0..workers).map(worker).collect(),
        }
    });
    let mut limits: Vec<(String, u32)> = settings(dice, options, "limits", LIMITS)
        .into_iter()
        .map(|(name, value)| (name, value as u32))
        .collect();
    if dice.percent("short log", 0, 45) {
        limits.push(("log_keep".to_string(), dice.range("log keep", 0, 2, 40) as u32));
        // The whole state of such small clusters is a few dozen rows: a way of many messages is long enough for changes.
        if dice.percent("small parts", 0, 60) {
            limits.push(("image_rows".to_string(), dice.range("image rows", 0, 1, 3) as u32));
        }
    }
    ClusterPlan {
        gates: dice.one_of("gates", 0, &[1, 3, 3, 3, 5]),
        gate_regions: gate_regions(dice),
        allow_two_voters: false,
        absent: Vec::new(),
        old_version: Vec::new(),
        greets: Default::default(),
        start_stagger_ms: dice.one_of("stagger", 0, &[0, 0, 50, 300]),
        timer_late_us: dice.one_of("timer late", 0, &[0, 100, 3_000]),
        mono_ppm: if dice.percent("clocks", 0, 60) { 500 } else { 0 },
        timing_ms: settings(dice, options, "timings", TIMINGS).into_iter().collect(),
        limits: limits.into_iter().collect(),
        disk: DiskPlan {
            sync_us: dice.one_of("disk", 0, &[100, 500, 4_000]),
            jitter_us: dice.one_of("disk jitter", 0, &[0, 500, 10_000]),
        },
        datacenters: datacenters.collect(),
    }
}

/// Who begins as the version before this one.
pub(super) fn old_version(dice: Dice, options: &Options, cluster: &ClusterPlan) -> Vec<String> {
    let names = cluster.node_names().into_iter().zip(0..);
    names.filter(|(_, n)| dice.percent("is old", *n, options.old_version)).map(|(name, _)| name).collect()
}

/// Where versions differ, every fourth node has some of its features turned off.
pub(super) fn without_features(
    dice: Dice,
    options: &Options,
    cluster: &ClusterPlan,
) -> BTreeMap<String, Greets> {
    let off = if options.old_version > 0 { 25 } else { 0 };
    let names =
        cluster.node_names().into_iter().zip(0..).filter(|(_, n)| dice.percent("is without", *n, off));
    let greets = |n| {
        let left = dice.one_of("features left", n, FEATURES_LEFT);
        let features = Some(left.iter().map(ToString::to_string).collect());
        Greets { features, ..Greets::default() }
    };
    names.map(|(name, n)| (name, greets(n))).collect()
}

/// In two of five runs the gates stand apart.
fn gate_regions(dice: Dice) -> Vec<String> {
    let regions = ["core", "west", "dc-a"];
    if !dice.percent("gates apart", 0, 40) {
        return Vec::new();
    }
    (0..5).map(|gate| dice.one_of("gate region", gate, &regions).to_string()).collect()
}

pub(super) fn network(dice: Dice, options: &Options, cluster: &ClusterPlan) -> NetworkPlan {
    let lossy = dice.percent("lossy", 0, 40) && !options.calm;
    let loss = if lossy { dice.range("loss", 0, 1, 50) as u16 } else { 0 };
    let untidy = dice.percent("untidy", 0, 40) && !options.calm;
    let remote = LinkPlan {
        latency_us: dice.one_of("remote", 0, &[2_000, 15_000, 80_000]),
        jitter_us: dice.one_of("remote jitter", 0, &[500, 5_000, 40_000]),
        loss_permille: loss,
        ..LinkPlan::default()
    };
    let spiky = dice.percent("spiky", 0, 20) && !options.calm;
    let spikes = LinkPlan {
        spike_permille: if spiky { dice.range("spikes", 0, 1, 50) as u16 } else { 0 },
        spike_us: if spiky { dice.one_of("spike", 0, &[50_000, 400_000, 3_000_000]) } else { 0 },
        bytes_per_ms: if dice.percent("narrow", 0, 8) { dice.one_of("bytes", 0, &[250, 2_500]) } else { 0 },
        ..remote
    };
    NetworkPlan {
        local: LinkPlan {
            latency_us: 200,
            jitter_us: dice.one_of("local jitter", 0, &[50, 500, 3_000]),
            ..LinkPlan::default()
        },
        remote: spikes,
        session_timeout_ms: dice.one_of("session timeout", 0, &[2_000, 5_000, 10_000]),
        redial_ms: dice.one_of("redial", 0, &[50, 500, 2_000]),
        wire_every: if dice.percent("wire", 0, 3) { 1 } else { 64 },
        datagrams: DatagramPlan {
            duplicate_permille: if untidy { dice.range("duplicates", 0, 1, 50) as u16 } else { 0 },
            reorder_permille: if untidy { dice.range("reorder", 0, 1, 100) as u16 } else { 0 },
            reorder_us: 50_000,
        },
        pairs: pairs(dice, cluster, spikes),
    }
}

/// In two of five runs the datacenters are not equally far from the gates.
fn pairs(dice: Dice, cluster: &ClusterPlan, remote: LinkPlan) -> Vec<PairPlan> {
    if !dice.percent("pairs", 0, 40) {
        return Vec::new();
    }
    let pair = |(dc, n): (&DatacenterPlan, u64)| PairPlan {
        between: ["core".into(), dc.name.clone()],
        link: LinkPlan {
            latency_us: dice.one_of("pair", n, &[500, 10_000, 40_000, 150_000]),
            jitter_us: dice.one_of("pair jitter", n, &[100, 100, 5_000, 60_000]),
            ..remote
        },
    };
    cluster.datacenters.iter().zip(0..).map(pair).collect()
}
