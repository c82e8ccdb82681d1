//! Clients and jobs of a run.

use std::collections::BTreeMap;

use super::{Dice, JOB_MS_MAX, Options};
use crate::plan::{
    AskPlan, Behaviour, CancelPlan, ClientPlan, ClusterPlan, Ending, Executor, FollowerPlan, JobPlan, OnLoss,
    Place, Question, Scalar, Seen, When, WorkflowPlan,
};

/// Moments in a job's life at which a cancel, a question or a follower may come.
const MOMENTS: &[&str] = &[
    "JobAccepted",
    "Dispatched",
    "DcJobAccepted",
    "ShardReserved",
    "RunStarted",
    "RunEnded",
    "ShardDone",
    "DcJobFinal",
    "DcFinal",
    "JobFinal",
];

pub(super) fn clients(dice: Dice, options: &Options, cluster: &ClusterPlan) -> Vec<ClientPlan> {
    let count = dice.range("clients", 0, 1, 2);
    let jobs = dice.range("jobs", 0, 3, 7);
    let job_of = |client: u64| (0..jobs).filter(move |job| job % count == client);
    let regions = ["core".to_string(), "dc-a".to_string(), "far".to_string()];
    let crowd = dice.percent("crowd", 0, if options.is_tight() { 60 } else { 25 });
    let long =
        if dice.percent("long runs", 0, if options.has_trouble() { 75 } else { 25 }) { 70 } else { 10 };
    let shape = Shape {
        long,
        longest_ms: if options.has_trouble() { 70_000 } else { 45_000 },
        crowd,
        losses: options.busy_are_absent(),
    };
    (0..count)
        .map(|client| ClientPlan {
            name: format!("c{}", client + 1),
            region: dice.one_of("client region", client, &regions),
            gates: gates_from(dice.below("first gate", client, u64::from(cluster.gates)) as u16, cluster),
            loss_permille: dice.one_of("client loss", client, &[0, 0, 20, 100]),
            jobs: job_of(client).map(|job| self::job(dice, job, cluster, &shape)).collect(),
        })
        .collect()
}

/// All gates, beginning with this one.
fn gates_from(first: u16, cluster: &ClusterPlan) -> Vec<String> {
    (0..cluster.gates).map(|n| format!("g{}", (first + n) % cluster.gates + 1)).collect()
}

/// Just after something that happens to the job, or at any time in `ms` from its submission on.
fn moment(dice: Dice, what: &str, n: u64, job: &str, submitted: u64, ms: u64) -> When {
    let draw = |part: &str| format!("{what} {part}");
    if !dice.percent(&draw("moment"), n, 50) {
        return When::AtMs(submitted + dice.range(&draw("after"), n, 0, ms));
    }
    When::Seen(Seen {
        name: dice.one_of(&draw("at"), n, MOMENTS).into(),
        by: None,
        fields: BTreeMap::from([("job".to_string(), Scalar::Text(job.to_string()))]),
        nth: dice.one_of(&draw("nth"), n, &[1, 1, 2]),
        not_before_ms: 0,
        after_ms: dice.one_of(&draw("delay"), n, &[0, 0, 1, 5, 50]),
    })
}

/// What the jobs of a run have in common.
struct Shape {
    /// So many of 100 workflows are long.
    long: u16,
    /// And at most this long, in ms.
    longest_ms: u64,
    /// Jobs come at nearly the same time and want more cores than there are.
    crowd: bool,
    /// Workers are lost: it matters what the jobs make of it.
    losses: bool,
}

fn job(dice: Dice, job: u64, cluster: &ClusterPlan, shape: &Shape) -> JobPlan {
    let name = format!("j{}", job + 1);
    let submitted = if shape.crowd {
        let within = dice.one_of("crowd within", 0, &[400, 8_000]);
        dice.range("crowd at", 0, 500, 25_000) + dice.range("crowded", job, 0, within)
    } else {
        dice.range("submit", job, 500, 40_000)
    };
    let place = match dice.below("place", job, 4) {
        0 | 1 => Place::Any,
        2 => Place::Count(dice.range("place count", job, 1, cluster.datacenters.len() as u64) as u16),
        _ => Place::Only(vec![dice.one_of("place dc", job, &cluster.datacenters).name]),
    };
    let timeout_ms = if dice.percent("short timeout", job, 15) {
        dice.range("timeout", job, 1_000, 8_000) as u32
    } else {
        JOB_MS_MAX as u32
    };
    // A cancel races with a deadline, or comes at some moment of the job's life.
    let races = timeout_ms < JOB_MS_MAX as u32 && dice.percent("cancel races", job, 40);
    let just_before = submitted + u64::from(timeout_ms) - dice.range("races", job, 1, 900);
    let cancel = (races || dice.percent("cancel", job, 20)).then(|| CancelPlan {
        when: if races {
            When::AtMs(just_before)
        } else {
            moment(dice, "cancel", job, &name, submitted, 15_000)
        },
    });
    let tenants: &[&str] = if dice.percent("tenants", 0, 20) { &["acme", "umbrella"] } else { &["acme"] };
    JobPlan {
        when: When::AtMs(submitted),
        // A key that was used for another specification is refused, by the same tenant.
        key: (job > 0 && dice.percent("key", job, 4)).then(|| format!("key-j{job}")),
        tenant: dice.one_of("tenant", job, tenants).into(),
        place,
        timeout_ms,
        on_worker_loss: dice.one_of(
            "worker loss",
            job,
            if shape.losses {
                &[OnLoss::Replace, OnLoss::Degrade, OnLoss::Fail]
            } else {
                &[OnLoss::Replace, OnLoss::Replace, OnLoss::Degrade, OnLoss::Fail]
            },
        ),
        partial_results: dice.percent("partial", job, 50),
        retries: dice.range("retries", job, 0, 10) as u16,
        workflow_retries: dice.range("workflow retries", job, 0, 3) as u16,
        cancel,
        asks: asks(dice, job, &name, submitted, cluster),
        followers: followers(dice, job, &name, submitted, cluster),
        workflows: (0..dice.one_of("workflows", job, &[1, 1, 2, 3]))
            .map(|ix| workflow(dice, job, ix, shape))
            .collect(),
        name,
    }
}

/// Whoever comes later may have seen the first events already.
fn followers(dice: Dice, job: u64, name: &str, submitted: u64, cluster: &ClusterPlan) -> Vec<FollowerPlan> {
    let count = if dice.percent("follower", job, 25) { dice.one_of("followers", job, &[1, 1, 3]) } else { 0 };
    (0..count)
        .map(|n| {
            let n = job * 8 + n;
            FollowerPlan {
                when: moment(dice, "follow", n, name, submitted, 15_000),
                gates: gates_from(dice.below("follower gate", n, u64::from(cluster.gates)) as u16, cluster),
                after_kept: dice.percent("resumes", n, 30).then(|| dice.range("kept", n, 0, 2)),
            }
        })
        .collect()
}

/// Single calls beside the job's own: the same submission at another gate, questions, a cancel by somebody else.
fn asks(dice: Dice, job: u64, name: &str, submitted: u64, cluster: &ClusterPlan) -> Vec<AskPlan> {
    let mut asks = Vec::new();
    let gate = |n: u64| format!("g{}", dice.range("ask gate", n, 1, u64::from(cluster.gates)));
    if dice.percent("resubmit", job, 30) {
        asks.push(AskPlan {
            when: When::AtMs(
                submitted + dice.one_of("resubmit after", job, &[0, 0, 1, 5, 30, 300, 4_000, 30_000, 45_000]),
            ),
            gate: gate(job * 8),
            ask: Question::Submit,
            times: dice.one_of("resubmits", job, &[1, 1, 3]),
            unknown_job: false,
        });
    }
    if dice.percent("ask", job, 25) {
        asks.push(AskPlan {
            when: moment(dice, "ask", job, name, submitted, 20_000),
            gate: gate(job * 8 + 1),
            ask: dice.one_of(
                "question",
                job,
                &[
                    Question::Status,
                    Question::Result,
                    Question::Cancel,
                    Question::Datacenters,
                    Question::Members,
                ],
            ),
            times: dice.one_of("asks", job, &[1, 2]),
            unknown_job: dice.percent("nobody's", job, 10),
        });
    }
    asks
}

fn workflow(dice: Dice, job: u64, ix: u64, shape: &Shape) -> WorkflowPlan {
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
        duration_ms: if dice.percent("long", n, shape.long) {
            dice.range("long duration", n, 15_000, shape.longest_ms) as u32
        } else {
            dice.range("duration", n, 300, 12_000) as u32
        },
        vus: dice.range("vus", n, 1, 40) as u32,
        rate_milli: if dice.percent("open model", n, 30) { dice.range("rate", n, 1_000, 200_000) } else { 0 },
        instances: dice.range("instances", n, 1, 4) as u16,
        cores: dice.one_of("shard cores", n, &[1, 1, 2]),
        behaviour: Behaviour {
            start_late_ms: dice.one_of("start late", n, &[0, 0, 30]),
            requests_per_vu_s: 10,
            error_permille: dice.one_of("errors", n, &[0, 0, 10, 300]),
            silent_ms: Vec::new(),
            ending,
            attempts: dice.one_of("attempts", n, &[0, 1]),
            shards: Vec::new(),
            stop_takes_ms: dice.one_of("stop takes", n, &[1, 20, 2_000, 6_000]),
            ignores_stop: dice.percent("ignores stop", n, 8),
            kill_takes_ms: dice.one_of("kill takes", n, &[1, 1, 100, 1_000, 5_000]),
        },
    }
}
