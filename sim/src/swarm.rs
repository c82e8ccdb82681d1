//! The swarm: a plan drawn from a seed.
//!
//! Shape, workload, network and faults are drawn by name, so that one more draw changes no other. Most runs leave out
//! most kinds of faults: a fault that is always there hides what happens without it. One run in twenty is calm.

use tidegate_core::config::Timing;

use crate::plan::{
    Behaviour, CancelPlan, ClientPlan, ClusterPlan, DatacenterPlan, DatagramPlan, Direction, DiskPlan,
    Ending, Executor, FaultKind, FaultPlan, FollowerPlan, JobPlan, LinkPlan, MessageAction, MessageRule,
    NetworkPlan, OnLoss, Place, Plan, RunPlan, Scalar, Seen, Selector, When, WorkerPlan, WorkflowPlan,
};
use crate::world::{About, Draw, Fate, key};

/// Faults begin in this time, in ms.
const FAULTS_MS: u64 = 50_000;
/// Everything is healed then, in ms.
const HEALED_MS: u64 = 60_000;
/// The longest job timeout that is drawn, in ms.
const JOB_MS_MAX: u64 = 90_000;

/// Named draws.
#[derive(Clone, Copy)]
struct Dice(Fate);

impl Dice {
    fn draw(self, what: &str, number: u64) -> Draw {
        self.0.decide(About::Swarm, key(what), number)
    }
    fn below(self, what: &str, number: u64, bound: u64) -> u64 {
        self.draw(what, number).below(bound)
    }
    fn range(self, what: &str, number: u64, low: u64, high: u64) -> u64 {
        low + self.below(what, number, high - low + 1)
    }
    fn percent(self, what: &str, number: u64, percent: u16) -> bool {
        self.draw(what, number).permille(percent * 10)
    }
    fn one_of<T: Clone>(self, what: &str, number: u64, choices: &[T]) -> T {
        choices[self.below(what, number, choices.len() as u64) as usize].clone()
    }
}

/// The plan of a seed.
pub fn draw(seed: u64) -> Plan {
    let dice = Dice(Fate::new(seed));
    let cluster = cluster(dice);
    let clients = clients(dice, &cluster);
    let faults = if dice.percent("calm", 0, 5) { Vec::new() } else { faults(dice, &cluster, &clients) };
    let keeps_short = !cluster.timing_ms.is_empty();
    Plan {
        seed,
        run: RunPlan {
            faults_end_ms: HEALED_MS,
            settle_ms: settle_ms(),
            at_least_ms: if keeps_short { HEALED_MS + 30_000 } else { 0 },
            until_dropped: false,
            look_every_ms: 0,
        },
        cluster,
        network: network(dice),
        clients,
        faults,
    }
}

/// How long after the healing every job must be final: what is left of the longest job, the wait for a datacenter, a
/// stop with all its deadlines, and the leases, elections and connections that come before anything else can go on.
fn settle_ms() -> u64 {
    let timing = Timing::default();
    let waits = [
        timing.queue_deadline,
        timing.cancel_deadline,
        timing.orphan_grace,
        timing.lease_ttl,
        timing.lease_ttl,
    ];
    JOB_MS_MAX + waits.iter().map(|wait| wait.as_millis()).sum::<u64>() + 30_000
}

fn cluster(dice: Dice) -> ClusterPlan {
    let datacenters = (0..dice.one_of("datacenters", 0, &[1, 2, 2, 3])).map(|dc| {
        let workers = dice.range("workers", dc, 1, 4);
        let worker =
            |n| WorkerPlan { cores: dice.range("cores", dc * 16 + n, 2, 8) as u16, executors: Vec::new() };
        DatacenterPlan {
            name: format!("dc-{}", char::from(b'a' + dc as u8)),
            managers: dice.one_of("managers", dc, &[1, 3]),
            workers: (0..workers).map(worker).collect(),
        }
    });
    let short = |name: &str, ms: u64| (name.to_string(), ms);
    ClusterPlan {
        gates: dice.one_of("gates", 0, &[1, 3, 3, 3, 5]),
        gate_regions: Vec::new(),
        allow_two_voters: false,
        absent: Vec::new(),
        start_stagger_ms: dice.one_of("stagger", 0, &[0, 0, 50, 300]),
        timer_late_us: dice.one_of("timer late", 0, &[0, 100, 3_000]),
        timing_ms: if dice.percent("short retention", 0, 30) {
            [
                short("retain_completed", 5_000),
                short("retain_other", 8_000),
                short("retain_undelivered", 15_000),
            ]
            .into()
        } else {
            Default::default()
        },
        limits: if dice.percent("short log", 0, 30) {
            [("log_keep".to_string(), dice.range("log keep", 0, 8, 64) as u32)].into()
        } else {
            Default::default()
        },
        disk: DiskPlan {
            sync_us: dice.one_of("disk", 0, &[100, 500, 4_000]),
            jitter_us: dice.one_of("disk jitter", 0, &[0, 500, 10_000]),
        },
        datacenters: datacenters.collect(),
    }
}

fn network(dice: Dice) -> NetworkPlan {
    let lossy = dice.percent("lossy", 0, 40);
    let loss = if lossy { dice.range("loss", 0, 1, 50) as u16 } else { 0 };
    let untidy = dice.percent("untidy", 0, 40);
    NetworkPlan {
        local: LinkPlan {
            latency_us: 200,
            jitter_us: dice.one_of("local jitter", 0, &[50, 500, 3_000]),
            loss_permille: 0,
        },
        remote: LinkPlan {
            latency_us: dice.one_of("remote", 0, &[2_000, 15_000, 80_000]),
            jitter_us: dice.one_of("remote jitter", 0, &[500, 5_000, 40_000]),
            loss_permille: loss,
        },
        session_timeout_ms: dice.one_of("session timeout", 0, &[2_000, 5_000, 10_000]),
        redial_ms: dice.one_of("redial", 0, &[50, 500, 2_000]),
        wire_every: if dice.percent("wire", 0, 3) { 1 } else { 64 },
        datagrams: DatagramPlan {
            duplicate_permille: if untidy { dice.range("duplicates", 0, 1, 50) as u16 } else { 0 },
            reorder_permille: if untidy { dice.range("reorder", 0, 1, 100) as u16 } else { 0 },
            reorder_us: 50_000,
        },
        pairs: Vec::new(),
    }
}

fn clients(dice: Dice, cluster: &ClusterPlan) -> Vec<ClientPlan> {
    let count = dice.range("clients", 0, 1, 2);
    let jobs = dice.range("jobs", 0, 3, 7);
    let job_of = |client: u64| (0..jobs).filter(move |job| job % count == client);
    (0..count)
        .map(|client| {
            let first = dice.below("first gate", client, u64::from(cluster.gates)) as u16;
            ClientPlan {
                name: format!("c{}", client + 1),
                region: dice.one_of(
                    "client region",
                    client,
                    &["core".to_string(), "dc-a".to_string(), "far".to_string()],
                ),
                gates: (0..cluster.gates).map(|n| format!("g{}", (first + n) % cluster.gates + 1)).collect(),
                loss_permille: dice.one_of("client loss", client, &[0, 0, 20, 100]),
                jobs: job_of(client).map(|job| self::job(dice, job, cluster)).collect(),
            }
        })
        .collect()
}

fn job(dice: Dice, job: u64, cluster: &ClusterPlan) -> JobPlan {
    let name = format!("j{}", job + 1);
    let submitted = dice.range("submit", job, 500, 40_000);
    let place = match dice.below("place", job, 4) {
        0 | 1 => Place::Any,
        2 => Place::Count(dice.range("place count", job, 1, cluster.datacenters.len() as u64) as u16),
        _ => Place::Only(vec![dice.one_of("place dc", job, &cluster.datacenters).name]),
    };
    let cancel = dice
        .percent("cancel", job, 20)
        .then(|| CancelPlan { when: When::AtMs(submitted + dice.range("cancel after", job, 0, 15_000)) });
    let followers = dice.percent("follower", job, 20).then(|| FollowerPlan {
        when: When::AtMs(submitted + dice.range("follow after", job, 0, 8_000)),
        gates: (1..=cluster.gates).rev().map(|n| format!("g{n}")).collect(),
        after_kept: None,
    });
    JobPlan {
        when: When::AtMs(submitted),
        key: None,
        tenant: "acme".into(),
        place,
        timeout_ms: if dice.percent("short timeout", job, 15) {
            dice.range("timeout", job, 1_000, 8_000) as u32
        } else {
            JOB_MS_MAX as u32
        },
        on_worker_loss: dice.one_of(
            "worker loss",
            job,
            &[OnLoss::Replace, OnLoss::Replace, OnLoss::Degrade, OnLoss::Fail],
        ),
        partial_results: dice.percent("partial", job, 50),
        retries: dice.range("retries", job, 0, 10) as u16,
        workflow_retries: dice.range("workflow retries", job, 0, 3) as u16,
        cancel,
        asks: Vec::new(),
        followers: followers.into_iter().collect(),
        workflows: (0..dice.one_of("workflows", job, &[1, 1, 2, 3]))
            .map(|ix| workflow(dice, job, ix))
            .collect(),
        name,
    }
}

fn workflow(dice: Dice, job: u64, ix: u64) -> WorkflowPlan {
    let n = job * 16 + ix;
    let executor =
        dice.one_of("executor", n, &[Executor::Sleep, Executor::Http, Executor::Http, Executor::Command]);
    let ending = match dice.below("ending", n, 20) {
        0 => Ending::FailAfterMs(dice.range("fail after", n, 100, 3_000) as u32),
        1 => Ending::OverrunMs(dice.range("overrun", n, 100, 20_000) as u32),
        2 if dice.percent("hang", n, 40) => Ending::Hang,
        _ => Ending::Complete,
    };
    WorkflowPlan {
        name: format!("w{ix}"),
        needs: (0..ix)
            .filter(|need| dice.percent("needs", n * 4 + need, 50))
            .map(|need| format!("w{need}"))
            .collect(),
        executor,
        duration_ms: dice.range("duration", n, 300, 12_000) as u32,
        vus: dice.range("vus", n, 1, 40) as u32,
        rate_milli: if dice.percent("open model", n, 30) { dice.range("rate", n, 1_000, 200_000) } else { 0 },
        instances: dice.range("instances", n, 1, 4) as u16,
        cores: dice.one_of("shard cores", n, &[1, 1, 2]),
        behaviour: Behaviour {
            start_late_ms: dice.one_of("start late", n, &[0, 0, 30]),
            requests_per_vu_s: 10,
            error_permille: dice.one_of("errors", n, &[0, 0, 10, 300]),
            ending,
            attempts: dice.one_of("attempts", n, &[0, 1]),
            shards: Vec::new(),
            stop_takes_ms: dice.one_of("stop takes", n, &[1, 20, 2_000]),
            ignores_stop: dice.percent("ignores stop", n, 5),
        },
    }
}

/// How often each kind is in a run at all, in percent, and what it is.
type Kind = (u16, fn(Dice, u64) -> FaultKind);

const KINDS: &[Kind] = &[
    (40, |_, _| FaultKind::Crash),
    (20, |_, _| FaultKind::Freeze),
    (15, |dice, n| FaultKind::SlowUs(dice.one_of("slow", n, &[200, 2_000, 20_000]))),
    (35, |_, _| FaultKind::Cut { from: None, direction: Direction::Both }),
    (20, |dice, n| FaultKind::Cut {
        from: None,
        direction: dice.one_of("way", n, &[Direction::In, Direction::Out]),
    }),
    (15, |_, _| FaultKind::Reset { from: None }),
    (15, |dice, n| FaultKind::LossPermille(dice.one_of("node loss", n, &[50, 200, 500]))),
    (15, |dice, n| FaultKind::DelayMs(dice.one_of("delay", n, &[20, 300, 2_000]))),
    (10, |dice, n| FaultKind::WallJumpMs(dice.one_of("jump", n, &[-3_600_000, -500, 500, 86_400_000]))),
    (10, |dice, n| FaultKind::WallDriftPpm(dice.one_of("wall drift", n, &[-50_000, 500, 200_000]))),
    (15, |dice, n| FaultKind::MonoRatePpm(dice.one_of("mono", n, &[-100_000, -50_000, 50_000, 100_000]))),
    (10, |_, _| FaultKind::DiskFail),
    (10, |_, _| FaultKind::DiskStall),
    (10, |dice, n| FaultKind::DiskSlowUs(dice.one_of("disk slow", n, &[5_000, 100_000, 1_000_000]))),
    (10, |_, _| FaultKind::Drain),
    (8, |_, _| FaultKind::Garbage { from: Selector::All }),
    (15, |dice, n| {
        FaultKind::Messages(MessageRule {
            to: None,
            kind: None,
            nth: dice.range("nth", n, 1, 20) as u32,
            count: dice.range("count", n, 1, 10) as u32,
            action: dice.one_of(
                "action",
                n,
                &[MessageAction::Drop, MessageAction::HoldMs(700), MessageAction::RepeatMs(3_000)],
            ),
        })
    }),
];

fn faults(dice: Dice, cluster: &ClusterPlan, clients: &[ClientPlan]) -> Vec<FaultPlan> {
    let kinds: Vec<fn(Dice, u64) -> FaultKind> = KINDS
        .iter()
        .zip(0..)
        .filter(|((percent, _), n)| dice.percent("kind", *n, *percent))
        .map(|((_, make), _)| *make)
        .collect();
    if kinds.is_empty() {
        return Vec::new();
    }
    let count = dice.range("faults", 0, 1, 5);
    (0..count)
        .map(|n| FaultPlan {
            when: when(dice, n),
            target: target(dice, n, cluster, clients),
            kind: dice.one_of("which kind", n, &kinds)(dice, n),
            for_ms: Some(dice.one_of("lasts", n, &[300, 2_000, 6_000, 14_000, 25_000])),
        })
        .collect()
}

/// At any moment, or just after something that matters.
fn when(dice: Dice, n: u64) -> When {
    let at = dice.range("at", n, 200, FAULTS_MS);
    if !dice.percent("causal", n, 40) {
        return When::AtMs(at);
    }
    let names = [
        "JobAccepted",
        "DcJobAccepted",
        "RunStarted",
        "RunEnded",
        "BecameLeader",
        "DcFinal",
        "CancelRecorded",
        "ShardDone",
    ];
    When::Seen(Seen {
        name: dice.one_of("after what", n, &names).into(),
        by: None,
        fields: std::collections::BTreeMap::<String, Scalar>::new(),
        nth: dice.range("which", n, 1, 6) as u32,
        not_before_ms: 0,
        after_ms: dice.one_of("how long after", n, &[0, 1, 5, 50, 1_000]),
    })
}

/// Any node, or the one that matters.
fn target(dice: Dice, n: u64, cluster: &ClusterPlan, clients: &[ClientPlan]) -> Selector {
    let jobs: Vec<&str> =
        clients.iter().flat_map(|client| &client.jobs).map(|job| job.name.as_str()).collect();
    let job = dice.one_of("whose", n, &jobs).to_string();
    let dc = dice.one_of("where", n, &cluster.datacenters).name;
    match dice.below("target", n, 10) {
        0 => Selector::JobOwner(job),
        1 => Selector::DcOwner(job, dc),
        2 => Selector::RunningWorker(job, dc),
        3 => Selector::GateLeader,
        4 => Selector::DcLeader(dc),
        5 if dice.percent("whole datacenter", n, 30) => Selector::Datacenter(dc),
        _ => Selector::Node(dice.one_of("node", n, &cluster.node_names())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_seed_gives_a_sound_plan_that_survives_its_file() {
        let (mut faults, mut jobs, mut calm) = (0, 0, 0);
        for seed in 0..500 {
            let plan = draw(seed);
            plan.check().unwrap_or_else(|why| panic!("seed {seed}: {why}"));
            assert_eq!(Plan::from_toml(&plan.to_toml()).as_ref(), Ok(&plan), "seed {seed}");
            for job in plan.clients.iter().flat_map(|client| &client.jobs) {
                job.spec().map(|spec| spec.validate()).expect("names exist").expect("it is valid");
                jobs += 1;
            }
            faults += plan.faults.len();
            calm += usize::from(plan.faults.is_empty());
        }
        assert!((2_000..3_000).contains(&jobs), "{jobs} jobs in 500 plans");
        assert!((1_200..1_700).contains(&faults), "{faults} faults in 500 plans");
        assert!((15..60).contains(&calm), "{calm} of 500 plans are calm");
    }
}
