//! Nobody is told what it does not know.
//!
//! - What came with a minor version is sent only by a node of that version, and reaches only one that knows it.
//! - A gate never applies a command that came after its version: the tier proposes it only once all have run a later one,
//!   and an older node does not start from then on.
//!
//! Nodes of two versions work beside each other in every upgrade. A real older node would count such a message as unknown,
//! and be left without what the sender believes it has; of such a command it could not make the state that others have.

use tidegate_core::id::Role;
use tidegate_core::jobs::JobStatus;
use tidegate_core::observe::Observation;
use tidegate_core::wire::{Message, version};

use crate::world::{Fact, HostIx, Interest, Scene, Spectator};

/// See the module.
#[derive(Default)]
pub(super) struct Versions {
    tested: u64,
}

fn unknown(scene: &Scene, host: HostIx, does: &str, message: &Message) -> String {
    let (name, version) = (scene.name(host), scene.minors[host]);
    let (kind, since) = (message.kind().as_str(), message.since());
    format!("{name} of version {version} {does} a {kind} as version {since} has it")
}

impl Spectator for Versions {
    fn name(&self) -> &'static str {
        "nobody is told what it does not know"
    }

    fn tested(&self) -> u64 {
        self.tested
    }

    fn interest(&self) -> Interest {
        Interest::DEPARTURES.and(Interest::ARRIVALS).and(Interest::OBSERVATIONS)
    }

    fn see(&mut self, scene: &Scene, fact: &Fact<'_>) -> Result<(), String> {
        match fact {
            Fact::Left { from, message, .. } if message.since() > scene.minors[*from] => {
                Err(unknown(scene, *from, "sends", message))
            }
            // What was on its way to an earlier process of the receiver never comes.
            Fact::Arrived { from, to, message } => {
                self.tested += u64::from(scene.minors[*from] != scene.minors[*to]);
                match message.since() > scene.minors[*to] {
                    true => Err(unknown(scene, *to, "gets", message)),
                    false => Ok(()),
                }
            }
            Fact::Observed {
                host,
                observation: Observation::JobStatus { job, status: JobStatus::Queued },
            } if scene.hosts[*host].role == Some(Role::Gate) && scene.minors[*host] < version::JOB_QUEUED => {
                let (gate, job) = (scene.name(*host), scene.job_name(*job));
                Err(format!("{gate} of version {} applies that {job} is queued", scene.minors[*host]))
            }
            _ => Ok(()),
        }
    }
}
