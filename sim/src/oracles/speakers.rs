//! What a fence says, on the wire: one owner speaks under each, and nobody obeys an older one.
//!
//! - Messages of an owner that carry a `GateEpoch` or `DcEpoch` come from one node for each value.
//! - A worker that has taken a run from an owner takes none, and starts none, from an owner with a lower fence, as long
//!   as it knows the job.
//!
//! Observations say which fence a node believes to have; only messages show which one it uses.

use std::collections::{BTreeMap, BTreeSet};

use tidegate_core::fault::FaultCode;
use tidegate_core::id::{DcEpoch, DcId, GateEpoch, JobId, RunId};
use tidegate_core::observe::{Observation, RunKey};
use tidegate_core::wire::Message;

use crate::plan::Point;
use crate::world::{Fact, HostIx, Interest, Scene, Spectator, Time};

/// Whether drivers hand over at once what arrives.
fn is_prompt(scene: &Scene) -> bool {
    !scene.plan.driver.keys().any(|point| matches!(point, Point::Hiccup | Point::Reorder))
}

/// See the module.
#[derive(Default)]
pub(super) struct Speakers {
    tested: u64,
    gates: BTreeMap<(JobId, GateEpoch), HostIx>,
    managers: BTreeMap<(JobId, DcId, DcEpoch), HostIx>,
    /// The fence under which a worker last took something of a job, in this process.
    taken: BTreeMap<(HostIx, JobId), DcEpoch>,
    /// What a worker is being asked at this moment.
    asked: Option<(Time, HostIx, RunId, DcEpoch)>,
    /// A worker was asked under an older fence than it obeys: it must refuse in this very step.
    stale: Option<(Time, HostIx, JobId)>,
    /// Hosts that may be late with it.
    slow: BTreeSet<HostIx>,
}

impl Speakers {
    fn arrived(&mut self, scene: &Scene, from: HostIx, to: HostIx, message: &Message) -> Result<(), String> {
        match message {
            Message::Dispatch { job, gate_epoch, .. }
            | Message::StopInDc { job, gate_epoch, .. }
            | Message::GateOwnerChanged { job, gate_epoch, .. } => {
                let known = *self.gates.entry((*job, *gate_epoch)).or_insert(from);
                Self::one(scene, known, from, *job, gate_epoch.0)
            }
            Message::DcProgress { job, dc_epoch, .. }
            | Message::WorkflowResult { job, dc_epoch, .. }
            | Message::DcFinal { job, dc_epoch, .. }
            | Message::DcOwnerChanged { job, dc_epoch, .. } => self.manager(scene, from, *job, *dc_epoch),
            Message::StopShard { run, dc_epoch, .. } => {
                self.asks(scene, to, run.shard.job, *dc_epoch);
                Ok(())
            }
            Message::OwnerChanged { job, dc_epoch, .. } => {
                self.asks(scene, to, *job, *dc_epoch);
                if let Some(taken) = self.taken.get_mut(&(to, *job)) {
                    *taken = (*dc_epoch).max(*taken);
                }
                Ok(())
            }
            Message::ReserveShard(reserve) => {
                self.asks(scene, to, reserve.run.shard.job, reserve.dc_epoch);
                self.asked = Some((scene.now, to, reserve.run, reserve.dc_epoch));
                self.manager(scene, from, reserve.run.shard.job, reserve.dc_epoch)
            }
            Message::StartShard { run, dc_epoch, .. } => {
                self.asks(scene, to, run.shard.job, *dc_epoch);
                self.asked = Some((scene.now, to, *run, *dc_epoch));
                self.manager(scene, from, run.shard.job, *dc_epoch)
            }
            _ => Ok(()),
        }
    }

    fn asks(&mut self, scene: &Scene, to: HostIx, job: JobId, epoch: DcEpoch) {
        let prompt = !self.slow.contains(&to) && is_prompt(scene);
        if prompt && self.taken.get(&(to, job)).is_some_and(|taken| epoch < *taken) {
            self.stale = Some((scene.now, to, job));
        }
    }

    /// Time goes on: what was asked under an old fence should have been refused.
    fn refused(&self, scene: &Scene) -> Result<(), String> {
        match self.stale {
            Some((at, worker, job)) if at < scene.now => Err(format!(
                "{} does not refuse an owner of {} whose fence is old",
                scene.name(worker),
                scene.job_name(job)
            )),
            _ => Ok(()),
        }
    }

    fn manager(&mut self, scene: &Scene, from: HostIx, job: JobId, epoch: DcEpoch) -> Result<(), String> {
        self.tested += 1;
        let known = *self.managers.entry((job, scene.hosts[from].dc, epoch)).or_insert(from);
        Self::one(scene, known, from, job, epoch.0)
    }

    fn one(scene: &Scene, known: HostIx, from: HostIx, job: JobId, epoch: u64) -> Result<(), String> {
        // A puppet speaks in another's name.
        if known == from || scene.plan.has_puppets() {
            return Ok(());
        }
        Err(format!(
            "{} and {} both speak as the owner of {} with fence {epoch}",
            scene.name(known),
            scene.name(from),
            scene.job_name(job)
        ))
    }

    /// A worker takes, or starts, what it was asked in this step.
    fn obeys(&mut self, scene: &Scene, host: HostIx, key: RunKey) -> Result<(), String> {
        let Some((at, asked, run, epoch)) = self.asked else { return Ok(()) };
        if at != scene.now || asked != host || RunKey::from(run) != key {
            return Ok(());
        }
        let taken = self.taken.entry((host, key.job)).or_insert(epoch);
        self.tested += u64::from(epoch > *taken);
        if epoch < *taken {
            return Err(format!(
                "{} obeys an owner of {} with fence {}, and has obeyed {} before",
                scene.name(host),
                scene.job_name(key.job),
                epoch.0,
                taken.0
            ));
        }
        *taken = epoch;
        Ok(())
    }
}

impl Spectator for Speakers {
    fn name(&self) -> &'static str {
        "one owner speaks under a fence"
    }

    fn tested(&self) -> u64 {
        self.tested
    }

    fn interest(&self) -> Interest {
        Interest::ARRIVALS.and(Interest::OBSERVATIONS).and(Interest::PROCESSES).and(Interest::FAULTS)
    }

    fn see(&mut self, scene: &Scene, fact: &Fact<'_>) -> Result<(), String> {
        self.refused(scene)?;
        match fact {
            Fact::Fault { host, kind: "freeze" | "slow", .. } => {
                self.slow.insert(*host);
                Ok(())
            }
            Fact::Arrived { from, to, message } => self.arrived(scene, *from, *to, message),
            Fact::Began { host, .. } => {
                self.taken.retain(|(of, _), _| of != host);
                Ok(())
            }
            Fact::Observed { host, observation } => match **observation {
                Observation::RunReserved(key) | Observation::RunStarted(key) => self.obeys(scene, *host, key),
                Observation::Refused(FaultCode::StaleEpoch) | Observation::Ignored(_) => {
                    self.stale = self.stale.filter(|(_, worker, _)| worker != host);
                    Ok(())
                }
                Observation::JobDropped(job) => {
                    self.taken.remove(&(*host, job));
                    Ok(())
                }
                _ => Ok(()),
            },
            _ => Ok(()),
        }
    }
}
