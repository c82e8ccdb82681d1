//! Fences only rise: who has accepted a word under a fence accepts none under a lower one.
//!
//! A fence that its receiver forgets protects nothing: the owner of yesterday would be obeyed after the owner of today.
//! A manager remembers the fence of a job in its log, across restarts and owners; a worker remembers it as long as its
//! process lives and it has the job.

use std::collections::BTreeMap;

use tidegate_core::id::{DcEpoch, DcId, GateEpoch, JobId};
use tidegate_core::observe::Observation;
use tidegate_core::wire::Message;

use crate::world::{Fact, HostIx, Interest, Scene, Spectator};

/// See the module.
#[derive(Default)]
pub(super) struct Answers {
    /// Words under a higher fence than the one before.
    tested: u64,
    /// The highest fence of a job under which a manager has said yes.
    gates: BTreeMap<(HostIx, JobId), GateEpoch>,
    /// The same of a worker.
    managers: BTreeMap<(HostIx, JobId), DcEpoch>,
    /// The highest fence under which a gate has taken a datacenter's owner.
    owners: BTreeMap<(HostIx, JobId, DcId), DcEpoch>,
}

/// Takes a word under a fence; tells whether the fence has risen.
fn rises<K: Ord, F: Ord + Copy + std::fmt::Display>(
    scene: &Scene,
    table: &mut BTreeMap<K, F>,
    key: K,
    (who, job, fence): (HostIx, JobId, F),
) -> Result<bool, String> {
    let known = table.entry(key).or_insert(fence);
    if *known <= fence {
        return Ok(std::mem::replace(known, fence) < fence);
    }
    let (who, job) = (scene.name(who), scene.job_name(job));
    Err(format!("{who} accepts a word about {job} under fence {fence}, after one under {known}"))
}

impl Answers {
    fn left(&mut self, scene: &Scene, from: HostIx, message: &Message) -> Result<bool, String> {
        match *message {
            Message::DispatchReply { job, gate_epoch, reply: Ok(_) }
            | Message::GateOwnerChangedReply { job, gate_epoch, reply: Ok(_) }
            | Message::StopInDcReply { job, gate_epoch, recorded: Ok(_) } => {
                rises(scene, &mut self.gates, (from, job), (from, job, gate_epoch))
            }
            Message::ReserveShardReply { run, dc_epoch, reserved: Ok(()) } => {
                let job = run.shard.job;
                rises(scene, &mut self.managers, (from, job), (from, job, dc_epoch))
            }
            Message::OwnerChangedReply { job, dc_epoch, held: Ok(_) } => {
                rises(scene, &mut self.managers, (from, job), (from, job, dc_epoch))
            }
            _ => Ok(false),
        }
    }
}

impl Spectator for Answers {
    fn name(&self) -> &'static str {
        "fences only rise"
    }

    fn tested(&self) -> u64 {
        self.tested
    }

    fn interest(&self) -> Interest {
        Interest::DEPARTURES.and(Interest::PROCESSES).and(Interest::OBSERVATIONS)
    }

    fn see(&mut self, scene: &Scene, fact: &Fact<'_>) -> Result<(), String> {
        match fact {
            Fact::Left { from, message, .. } => self.tested += u64::from(self.left(scene, *from, message)?),
            Fact::Began { host, .. } => {
                self.managers.retain(|(who, _), _| who != host);
                self.owners.retain(|(who, ..), _| who != host);
            }
            Fact::Observed { host, observation } => match **observation {
                Observation::JobDropped(job) => {
                    self.managers.remove(&(*host, job));
                    self.gates.remove(&(*host, job));
                }
                Observation::DcAccepted { job, dc, dc_epoch } => {
                    let word = (*host, job, dc_epoch);
                    self.tested += u64::from(rises(scene, &mut self.owners, (*host, job, dc), word)?);
                }
                _ => {}
            },
            _ => {}
        }
        Ok(())
    }
}
