//! One owner per fence: a value of `GateEpoch`, `DcEpoch` or `Term` in its scope belongs to one node.
//!
//! Receivers refuse what carries an older fence than they know. That protects a job only if nobody else can ever carry
//! the same value: two owners with equal fences would both be obeyed.

use std::collections::BTreeMap;

use tidegate_core::api::{Answer, ClientEventKind};
use tidegate_core::id::{DcEpoch, DcId, GateEpoch, JobId, NodeId, Term};
use tidegate_core::observe::Observation;

use crate::world::{Fact, Interest, Scene, Spectator};

/// See the module.
#[derive(Default)]
pub(super) struct Owners {
    tested: u64,
    gates: BTreeMap<(JobId, GateEpoch), NodeId>,
    managers: BTreeMap<(JobId, DcId, DcEpoch), NodeId>,
    leaders: BTreeMap<(DcId, Term), NodeId>,
}

fn claim<K: Ord + std::fmt::Debug>(
    scene: &Scene,
    table: &mut BTreeMap<K, NodeId>,
    key: K,
    owner: NodeId,
) -> Result<(), String> {
    let text = format!("{key:?}");
    let known = *table.entry(key).or_insert(owner);
    if known == owner {
        return Ok(());
    }
    Err(format!("{text} belongs to {} and to {}", scene.node_name(known), scene.node_name(owner)))
}

impl Spectator for Owners {
    fn name(&self) -> &'static str {
        "one owner per fence"
    }

    fn tested(&self) -> u64 {
        self.tested
    }

    fn interest(&self) -> Interest {
        Interest::OBSERVATIONS.and(Interest::CALLS).and(Interest::PUSHES)
    }

    fn see(&mut self, scene: &Scene, fact: &Fact<'_>) -> Result<(), String> {
        match fact {
            Fact::Observed { host, observation } => match **observation {
                Observation::JobOwner { job, gate_epoch, owner } => {
                    self.tested += u64::from(gate_epoch.0 > 1);
                    claim(scene, &mut self.gates, (job, gate_epoch), owner)
                }
                Observation::DcOwner { job, dc_epoch, owner } => {
                    claim(scene, &mut self.managers, (job, scene.hosts[*host].dc, dc_epoch), owner)
                }
                Observation::BecameLeader(term) => {
                    let host = &scene.hosts[*host];
                    claim(scene, &mut self.leaders, (host.dc, term), host.node)
                }
                _ => Ok(()),
            },
            Fact::Answered { answer: Answer::Submitted(submitted), .. } => {
                claim(scene, &mut self.gates, (submitted.job, submitted.gate_epoch), submitted.owner)
            }
            Fact::Pushed { event, .. } => match event.kind {
                ClientEventKind::Owner { owner, gate_epoch } => {
                    claim(scene, &mut self.gates, (event.job, gate_epoch), owner)
                }
                ClientEventKind::DcOwner { dc, owner, dc_epoch } => {
                    claim(scene, &mut self.managers, (event.job, dc, dc_epoch), owner)
                }
                _ => Ok(()),
            },
            _ => Ok(()),
        }
    }
}
