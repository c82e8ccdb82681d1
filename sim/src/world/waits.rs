//! Who waits for whom: what is told when a job does not end.
//!
//! The chain of a job is client, owner among the gates, owner in each datacenter, workers. It is put together from what
//! nodes said last and from what is really so: which process runs, which execution goes on.

use std::collections::BTreeMap;

use tidegate_core::id::{DcId, JobId};
use tidegate_core::observe::Observation;

use super::facts::HostIx;
use super::{Machine, World};

/// How far a job is in one datacenter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Leg {
    #[default]
    Asked,
    Accepted,
    /// By the managers' log.
    Ended,
    /// By the gates' log: nobody waits for it.
    Known,
}

impl Leg {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Asked => "has not taken it",
            Self::Accepted => "has not ended it",
            Self::Ended => "has ended it, and the gates do not know",
            Self::Known => "has ended it",
        }
    }
}

/// The ways of all jobs that are not final.
#[derive(Clone, Debug, Default)]
pub struct Waits(BTreeMap<JobId, BTreeMap<DcId, Leg>>);

impl Waits {
    /// Learns from an observation of a node of this datacenter (or gate).
    pub(super) fn learn(&mut self, own: DcId, observation: &Observation) {
        let (job, dc, leg) = match *observation {
            Observation::Dispatched { job, dc } => (job, dc, Leg::Asked),
            Observation::DcAccepted { job, dc, .. } => (job, dc, Leg::Accepted),
            Observation::DcJobFinal { job, .. } => (job, own, Leg::Ended),
            Observation::DcFinal { job, dc, .. }
            | Observation::TargetCleared { job, dc }
            | Observation::TargetReplaced { job, dc } => (job, dc, Leg::Known),
            _ => return,
        };
        let known = self.0.entry(job).or_default().entry(dc).or_default();
        *known = leg.max(*known);
    }

    fn open(&self, job: JobId) -> impl Iterator<Item = (DcId, Leg)> {
        let legs = self.0.get(&job).into_iter().flatten();
        legs.map(|(dc, leg)| (*dc, *leg)).filter(|(_, leg)| *leg != Leg::Known)
    }
}

impl<M: Machine> World<M> {
    /// The chain of every job that a client still waits for, one line a link.
    pub(super) fn who_waits(&self) -> Vec<String> {
        let mut lines: Vec<String> = Vec::new();
        let open = self.open();
        let about = |text: &str, name: &str| text.split_whitespace().any(|word| word == name);
        let is_open = |name: &str| open.iter().any(|text| about(text, name) && !text.contains("answered"));
        for (name, job) in self.scene.known_jobs().filter(|(name, _)| is_open(name)) {
            let owner = self.scene.owner(job);
            lines.push(format!("{name} waits for its owner {}", self.state(owner)));
            for (dc, leg) in self.scene.waits.open(job) {
                let manager = self.state(self.scene.dc_owner(job, dc));
                lines.push(format!("{name} in {dc}, which {}: its owner there is {manager}", leg.as_str()));
                let runs =
                    self.scene.runs.iter().filter(|(run, _)| run.shard.job == job && run.shard.dc == dc);
                for (run, host) in runs {
                    let (workflow, shard) = (run.shard.workflow, run.shard.shard);
                    let worker = self.state(Some(*host));
                    lines.push(format!("{name} in {dc}: workflow {workflow} shard {shard} runs on {worker}"));
                }
            }
        }
        let dcs = self.scene.plan.cluster.datacenters.iter().filter_map(|dc| DcId::new(&dc.name).ok());
        for dc in std::iter::once(DcId::NONE).chain(dcs) {
            let tier = if dc == DcId::NONE { "the gates" } else { dc.as_str() };
            lines.push(format!("the last leader of {tier} was {}", self.state(self.scene.leader(dc))));
        }
        let nodes = 0..self.scene.nodes;
        let broken = nodes.filter(|&host| self.trouble(host) != "runs").map(|host| self.state(Some(host)));
        lines.push(format!("not well: {}", broken.collect::<Vec<_>>().join(", ")));
        lines
    }

    fn state(&self, host: Option<HostIx>) -> String {
        match host {
            Some(host) => format!("{} ({})", self.scene.name(host), self.trouble(host)),
            None => "nobody".into(),
        }
    }

    /// What is the matter with a node.
    fn trouble(&self, host: HostIx) -> String {
        let this = &self.hosts[host];
        let mut words = vec![match (this.runs(), this.frozen > 0) {
            (false, _) => "down",
            (true, true) => "frozen",
            (true, false) => "runs",
        }];
        if self.cuts.keys().any(|&(a, b)| a as usize == host || b as usize == host) {
            words.push("cut");
        }
        if this.disk.stalled {
            words.push("its disk stalls");
        }
        if this.slow_us > 0 || this.delay_us > 0 || this.loss_permille > 0 {
            words.push("slow");
        }
        if !self.scene.is_healed(host) {
            words.push("outside the core");
        }
        words.join(", ")
    }
}
