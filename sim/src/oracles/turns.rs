//! Who waits for cores longer gets them first: no job is overtaken by a younger one that needs as much or more.
//!
//! Otherwise a tenant that submits without end keeps the jobs of another waiting for ever. Age is the order of job ids.
//! Judged where the order is beyond doubt: at an owner that has led its log for a while, of workflows that waited there
//! meanwhile and were never given a core. Whoever is smaller fits wherever the other did.

use std::collections::{BTreeMap, BTreeSet};

use tidegate_core::id::{DcId, JobId, WorkflowIx};
use tidegate_core::jobs::{ExecutorKind, JobSpec, WorkflowStatus};
use tidegate_core::observe::Observation;
use tidegate_core::wire::Message;

use crate::world::{Fact, HostIx, Interest, Scene, Spectator, Time};

/// An owner that has led for less may have proposals of an earlier term under way, in another order.
const LED_FOR: Time = 10_000_000_000;
/// What has waited for less may not have been looked at.
const WAITED_FOR: Time = 2_000_000_000;

/// See the module.
#[derive(Default)]
pub(super) struct Turns {
    tested: u64,
    /// What a datacenter was asked to run: each workflow's needs.
    asked: BTreeMap<(DcId, JobId), Vec<Need>>,
    stopped: BTreeSet<(DcId, JobId)>,
    /// Since when a manager leads its log, and owns a job.
    leads: BTreeMap<HostIx, Time>,
    owns: BTreeMap<(HostIx, JobId), Time>,
    /// Since when a workflow waits, as that manager sees it.
    waits: BTreeMap<(HostIx, JobId, WorkflowIx), Time>,
}

/// What a workflow needs to begin.
#[derive(Clone, Copy)]
struct Need {
    executor: ExecutorKind,
    cores: u16,
    shards: u16,
    follows: bool,
}

impl Need {
    fn is_within(self, other: Self) -> bool {
        self.executor == other.executor && self.cores <= other.cores && self.shards <= other.shards
    }
}

fn needs(spec: &JobSpec, slot: u16, slots: u16) -> Vec<Need> {
    let need = |workflow: &tidegate_core::jobs::WorkflowSpec| Need {
        executor: workflow.executor,
        cores: workflow.cores,
        // One shard is enough for a load test.
        shards: match workflow.executor {
            ExecutorKind::Http => 1,
            ExecutorKind::Sleep | ExecutorKind::Command => workflow.load.part(slot, slots).instances,
        },
        follows: !workflow.needs.is_empty(),
    };
    spec.workflows.iter().map(need).collect()
}

impl Turns {
    fn observed(&mut self, scene: &Scene, host: HostIx, observation: &Observation) -> Result<(), String> {
        let now = scene.now;
        match *observation {
            Observation::BecameLeader(_) => drop(self.leads.insert(host, now)),
            Observation::LostLeadership(_) => drop(self.leads.remove(&host)),
            Observation::DcOwner { job, owner, .. } => {
                self.owns.remove(&(host, job));
                if scene.hosts[host].node == owner {
                    self.owns.insert((host, job), now);
                }
            }
            Observation::DcJobAccepted(job) => {
                let all = self.asked.get(&(scene.hosts[host].dc, job)).into_iter().flatten();
                let first = all.zip(0..).filter(|(need, _)| !need.follows && need.shards > 0);
                for (_, ix) in first {
                    self.waits.insert((host, job, WorkflowIx(ix)), now);
                }
            }
            Observation::Workflow { job, workflow, status } => {
                self.waits.remove(&(host, job, workflow));
                if status == WorkflowStatus::Ready {
                    self.waits.insert((host, job, workflow), now);
                }
            }
            Observation::ShardReserved { job, workflow, attempt, .. } => {
                self.waits.remove(&(host, job, workflow));
                if attempt.0 == 1 && self.owns.contains_key(&(host, job)) {
                    return self.given(scene, host, job, workflow);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// A workflow was given cores by this manager: who waits there?
    fn given(&mut self, scene: &Scene, host: HostIx, job: JobId, workflow: WorkflowIx) -> Result<(), String> {
        let (now, dc) = (scene.now, scene.hosts[host].dc);
        let for_long = |since: Option<&Time>, span: Time| since.is_some_and(|since| now - since >= span);
        let need = |job: JobId, workflow: WorkflowIx| {
            self.asked.get(&(dc, job)).and_then(|all| all.get(usize::from(workflow.0))).copied()
        };
        let Some(given) = need(job, workflow) else { return Ok(()) };
        if !for_long(self.leads.get(&host), LED_FOR) {
            return Ok(());
        }
        let older = self.waits.range((host, JobId([0; 16]), WorkflowIx(0))..(host, job, WorkflowIx(0)));
        for (&(_, waiting, its), since) in older {
            let smaller = need(waiting, its).is_some_and(|need| need.is_within(given));
            let is_owned = for_long(self.owns.get(&(host, waiting)), WAITED_FOR);
            if !smaller || !is_owned || self.stopped.contains(&(dc, waiting)) {
                continue;
            }
            self.tested += 1;
            if for_long(Some(since), WAITED_FOR) {
                return Err(format!(
                    "{} gives cores to {}, and {}, which is older and needs no more, has waited for {} ms",
                    scene.name(host),
                    scene.job_name(job),
                    scene.job_name(waiting),
                    (now - since) / 1_000_000
                ));
            }
        }
        Ok(())
    }

    /// What a manager was told before its end it may not tell again.
    fn forget(&mut self, host: HostIx) {
        self.leads.remove(&host);
        self.owns.retain(|(of, _), _| *of != host);
        self.waits.retain(|(of, ..), _| *of != host);
    }
}

impl Spectator for Turns {
    fn name(&self) -> &'static str {
        "older jobs go first"
    }

    fn tested(&self) -> u64 {
        self.tested
    }

    fn interest(&self) -> Interest {
        Interest::OBSERVATIONS.and(Interest::ARRIVALS).and(Interest::PROCESSES)
    }

    fn see(&mut self, scene: &Scene, fact: &Fact<'_>) -> Result<(), String> {
        match fact {
            Fact::Arrived { to, message: Message::Dispatch { job, spec, slot, slots, .. }, .. } => {
                let dc = scene.hosts[*to].dc;
                self.asked.entry((dc, *job)).or_insert_with(|| needs(spec, *slot, *slots));
            }
            Fact::Arrived { to, message: Message::StopInDc { job, .. }, .. } => {
                self.stopped.insert((scene.hosts[*to].dc, *job));
            }
            Fact::Observed { host, observation } => return self.observed(scene, *host, observation),
            Fact::Ended { host, .. } => self.forget(*host),
            _ => {}
        }
        Ok(())
    }
}
