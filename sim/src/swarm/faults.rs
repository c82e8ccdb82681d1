//! The faults that the options of a run stand for.

use std::collections::BTreeMap;

use super::options::{Aim, MUTE, Options, Strain};
use super::{Dice, FAULTS_MS};
use crate::plan::{
    ClientPlan, ClusterPlan, Direction, FaultKind, FaultPlan, LoadPlan, MessageAction, MessageRule, Seen,
    Selector, When,
};

/// How often a kind is in a run at all, in percent; its name; what it is.
type Kind = (u16, &'static str, fn(&Aimed<'_>) -> FaultKind);

/// What a fault is drawn from.
pub(super) struct Aimed<'a> {
    dice: Dice,
    n: u64,
    cluster: &'a ClusterPlan,
    jobs: &'a [String],
}

impl Aimed<'_> {
    fn one_of<T: Clone>(&self, what: &str, choices: &[T]) -> T {
        self.dice.one_of(what, self.n, choices)
    }

    fn node(&self, what: &str) -> Selector {
        Selector::Node(self.one_of(what, &self.cluster.node_names()))
    }

    /// The other side of a link: one node, those of a tier, or whoever decides there.
    fn others(&self, what: &str) -> Selector {
        let dc = self.one_of("half where", &self.cluster.datacenters).name;
        let job = self.one_of("half whose", self.jobs);
        let owner = Selector::DcOwner(job, dc.clone());
        let leader = Selector::DcLeader(dc.clone());
        let node = self.node("half of");
        let tiers = [Selector::Gates, Selector::Managers(dc), Selector::GateLeader];
        self.one_of(what, &[&[node.clone(), node, owner, leader], &tiers[..]].concat())
    }

    fn messages(&self, action: MessageAction) -> FaultKind {
        // Any messages of the target, a few; or those of one kind, from the first or the second on.
        let any = self.dice.percent("any message", self.n, 40);
        let kind = (!any).then(|| self.one_of("of kind", MESSAGES).to_string());
        let (nth, count) = if any { (20, [1, 3, 10]) } else { (2, [1, 3, 0]) };
        FaultKind::Messages(MessageRule {
            to: None,
            kind,
            nth: self.dice.range("nth", self.n, 1, nth) as u32,
            count: self.one_of("messages", &count),
            action,
        })
    }
}

/// Messages that carry decisions.
const MESSAGES: &[&str] = &[
    "Dispatch",
    "DispatchReply",
    "StopInDc",
    "StopInDcReply",
    "GateOwnerChanged",
    "WorkflowResult",
    "WorkflowResultAck",
    "DcFinal",
    "DcFinalAck",
    "DcOwnerChanged",
    "ReserveShard",
    "StartShard",
    "StopShard",
    "OwnerChanged",
    "ShardResult",
    "ShardResultAck",
    "ShardProgress",
    "DcProgress",
    "WorkerHeartbeat",
    "DcHeartbeat",
    "Log",
    "ReconcileReply",
    "ShardStarted",
    "ReserveShardReply",
    "OwnerChangedReply",
];

/// Messages that say how things stand.
const REPORTS: &[&str] =
    &["ShardProgress", "ShardProgress", "ShardProgress", "WorkerHeartbeat", "DcProgress"];

pub(super) const KINDS: &[Kind] = &[
    (30, "crash", |_| FaultKind::Crash),
    (12, "crash_when_stored", |a| FaultKind::CrashWhenStored(a.dice.range("stored", a.n, 1, 12) as u32)),
    (18, "freeze", |_| FaultKind::Freeze),
    (10, "slow", |a| FaultKind::SlowUs(a.one_of("slow", &[200, 2_000, 20_000]))),
    (25, "cut", |_| FaultKind::Cut { from: None, direction: Direction::Both }),
    (12, "one_way_cut", |a| FaultKind::Cut {
        from: None,
        direction: a.one_of("way", &[Direction::In, Direction::Out]),
    }),
    // Half-connected: two nodes do not reach each other, and everybody else reaches both.
    (12, "half_connected", |a| FaultKind::Cut {
        from: Some(a.others("half")),
        direction: a.one_of("half way", &[Direction::Both, Direction::Both, Direction::In, Direction::Out]),
    }),
    (12, "reset", |_| FaultKind::Reset { from: None }),
    (10, "loss", |a| FaultKind::LossPermille(a.one_of("node loss", &[50, 200, 500]))),
    (10, "delay", |a| FaultKind::DelayMs(a.one_of("delay", &[20, 300, 2_000]))),
    (8, "slow_reader", |a| FaultKind::SlowReaderMs(a.one_of("reads", &[100, 1_000, 10_000]))),
    (8, "wall_jump", |a| {
        FaultKind::WallJumpMs(a.one_of("jump", &[-3_600_000, -500, 500, 1_000, 86_400_000]))
    }),
    (8, "wall_drift", |a| FaultKind::WallDriftPpm(a.one_of("wall drift", &[-50_000, 500, 200_000]))),
    (12, "mono_rate", |a| FaultKind::MonoRatePpm(a.one_of("mono", &[-100_000, -50_000, 50_000, 100_000]))),
    (7, "disk_fail", |_| FaultKind::DiskFail),
    (5, "disk_sync_fail", |_| FaultKind::DiskSyncFail),
    (5, "disk_full", |_| FaultKind::DiskFull),
    (8, "disk_stall", |_| FaultKind::DiskStall),
    (8, "disk_slow", |a| FaultKind::DiskSlowUs(a.one_of("disk slow", &[5_000, 100_000, 1_000_000]))),
    (8, "drain", |_| FaultKind::Drain),
    (5, "garbage", |_| FaultKind::Garbage { from: Selector::All }),
    (8, "message_drop", |a| a.messages(MessageAction::Drop)),
    (8, "message_hold", |a| a.messages(MessageAction::HoldMs(a.one_of("hold", &[100, 700, 5_000, 20_000])))),
    (8, "message_repeat", |a| a.messages(MessageAction::RepeatMs(a.one_of("again", &[10, 3_000, 15_000])))),
    (5, "message_corrupt", |a| a.messages(MessageAction::Corrupt)),
    // It lives, and says nothing of some kind any more.
    (4, MUTE, |a| {
        FaultKind::Messages(MessageRule {
            to: None,
            kind: Some(a.one_of("mute of", REPORTS).to_string()),
            nth: 1,
            count: 0,
            action: MessageAction::Drop,
        })
    }),
    (6, "old_version", |_| FaultKind::OldVersion),
    (6, "new_version", |_| FaultKind::NewVersion),
    (10, "load", |a| {
        let cpu_permille = a.one_of("cpu", &[720, 900, 990]);
        FaultKind::Load(LoadPlan { cpu_permille, memory_permille: a.one_of("memory", &[300, 300, 990]) })
    }),
];

/// Faults of one kind are numbered from its place times this.
const PER_KIND: u64 = 64;

pub(super) fn faults(
    dice: Dice,
    options: &Options,
    cluster: &ClusterPlan,
    clients: &[ClientPlan],
) -> Vec<FaultPlan> {
    let jobs: Vec<String> =
        clients.iter().flat_map(|client| &client.jobs).map(|job| job.name.clone()).collect();
    let mut faults = Vec::new();
    for strain in &options.strains {
        for nth in 0..strain.count {
            let n = strain.kind as u64 * PER_KIND + strain.first + nth;
            let aimed = Aimed { dice, n, cluster, jobs: &jobs };
            faults.push(fault(&aimed, strain, clients));
        }
    }
    faults.extend(upgrades(dice, cluster));
    if options.old_disk
        && let Some(victim) = old_disk_of(dice, cluster)
    {
        let tier = victim.rsplit_once("/m").map(|(dc, _)| dc);
        faults.retain(|fault| spares_voters(&fault.target, tier));
        faults.extend(old_disk(dice, victim));
    }
    faults
}

/// Whether a fault there leaves all voters of the tier alone: of a datacenter, or else of the gates.
fn spares_voters(target: &Selector, tier: Option<&str>) -> bool {
    match target {
        Selector::All | Selector::Observer => false,
        Selector::Workers(_) | Selector::RunningWorker(..) | Selector::Client(_) => true,
        Selector::Gates | Selector::GateLeader | Selector::GateFollower(_) | Selector::JobOwner(_) => {
            tier.is_some()
        }
        Selector::Managers(dc)
        | Selector::Datacenter(dc)
        | Selector::DcLeader(dc)
        | Selector::DcFollower(_, dc)
        | Selector::DcOwner(_, dc) => tier != Some(dc),
        Selector::Node(name) => match name.split_once("/m") {
            Some((dc, _)) => tier != Some(dc),
            None => tier.is_some() || name.contains('/'),
        },
    }
}

fn fault(aimed: &Aimed<'_>, strain: &Strain, clients: &[ClientPlan]) -> FaultPlan {
    let kind = KINDS[strain.kind].2(aimed);
    let target = match &kind {
        FaultKind::SlowReaderMs(_) => {
            let names: Vec<&str> = clients.iter().map(|client| client.name.as_str()).collect();
            Selector::Client(aimed.one_of("reader", &names).to_string())
        }
        FaultKind::Cut { .. } | FaultKind::Reset { .. } | FaultKind::DelayMs(_)
            if aimed.dice.percent("at a client", aimed.n, 10) =>
        {
            let names: Vec<&str> = clients.iter().map(|client| client.name.as_str()).collect();
            Selector::Client(aimed.one_of("client", &names).to_string())
        }
        _ => target(aimed, strain),
    };
    let lasts = strain.least_ms + aimed.dice.below("lasts", aimed.n, strain.least_ms);
    FaultPlan { when: when(aimed, strain), target, kind, for_ms: Some(lasts) }
}

/// At any moment, or just after something that matters.
fn when(aimed: &Aimed<'_>, strain: &Strain) -> When {
    let Some(name) = strain.spark else {
        return When::AtMs(aimed.dice.range("at", aimed.n, 200, FAULTS_MS));
    };
    When::Seen(Seen {
        name: name.into(),
        by: None,
        fields: BTreeMap::new(),
        nth: aimed.dice.range("which", aimed.n, 1, 8) as u32,
        not_before_ms: aimed.one_of("not before", &[0, 0, 10_000, 25_000]),
        after_ms: aimed.one_of("how long after", &[0, 0, 1, 5, 50, 1_000]),
    })
}

/// Whom it hits.
fn target(aimed: &Aimed<'_>, strain: &Strain) -> Selector {
    let dc = aimed.one_of("where", &aimed.cluster.datacenters).name;
    let job = aimed.one_of("whose", aimed.jobs);
    match strain.aim {
        Aim::Anyone => aimed.node("node"),
        Aim::Victim => {
            let names = aimed.cluster.node_names();
            Selector::Node(aimed.dice.one_of("victim", strain.kind as u64, &names))
        }
        Aim::Leaders => aimed.one_of("leads", &[Selector::GateLeader, Selector::DcLeader(dc)]),
        Aim::Owners => aimed.one_of("owns", &[Selector::JobOwner(job.clone()), Selector::DcOwner(job, dc)]),
        Aim::Workers => Selector::RunningWorker(job, dc),
        Aim::Observer => Selector::Observer,
        Aim::Datacenter => Selector::Datacenter(dc),
    }
}

/// Most older nodes are upgraded in mid-run, one by one and in any order.
fn upgrades(dice: Dice, cluster: &ClusterPlan) -> Vec<FaultPlan> {
    let upgrade = |(name, n): (&String, u64)| FaultPlan {
        when: When::AtMs(dice.range("upgrade", n, 2_000, FAULTS_MS)),
        target: Selector::Node(name.clone()),
        kind: FaultKind::NewVersion,
        for_ms: None,
    };
    cluster
        .old_version
        .iter()
        .zip(0..)
        .filter(|(_, n)| dice.percent("is upgraded", *n, 80))
        .map(upgrade)
        .collect()
}

/// Whose disk becomes an old one: a voter's of a tier that can do without it.
fn old_disk_of(dice: Dice, cluster: &ClusterPlan) -> Option<String> {
    let gates = (1..=cluster.gates).filter(|_| cluster.gates > 2).map(|n| format!("g{n}"));
    let tiers = cluster.datacenters.iter().filter(|dc| dc.managers > 2);
    let managers = tiers.flat_map(|dc| (1..=dc.managers).map(|n| format!("{}/m{n}", dc.name)));
    let names: Vec<String> = gates.chain(managers).collect();
    (!names.is_empty()).then(|| dice.one_of("old disk of", 0, &names))
}

/// An image of a voter's disk is taken, and put back later: what was written meanwhile is gone. A voter that has forgotten
/// what it confirmed is a whole failure of its tier, and those who know better must be there to tell: nothing else breaks
/// among them.
fn old_disk(dice: Dice, victim: String) -> Vec<FaultPlan> {
    let victim = Selector::Node(victim);
    // Between them it starts anew, so that the tier knows higher starts than the image has.
    let saved = dice.range("saved", 0, 5_000, 15_000);
    let restored = saved + dice.range("restored", 0, 25_000, 40_000);
    let fault = |ms: u64, kind: FaultKind| FaultPlan {
        when: When::AtMs(ms),
        target: victim.clone(),
        kind,
        for_ms: None,
    };
    vec![
        fault(saved, FaultKind::DiskSave),
        fault(saved + 1_000, FaultKind::Restart),
        fault(saved + 9_000, FaultKind::Restart),
        fault(restored, FaultKind::DiskRestore),
    ]
}
