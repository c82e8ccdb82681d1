//! Nobody is told what it does not know.
//!
//! - What two nodes may use between them is what both have and the lower version knows, and all of it.
//! - What came with a minor version is sent only where that is so, and reaches only a node that has it.
//! - A gate never applies a command that came after its version: the tier proposes it only once all have run a later one,
//!   and an older node does not start from then on.
//!
//! Nodes of two versions work beside each other in every upgrade. A real older node would count such a message as unknown,
//! and be left without what the sender believes it has; of such a command it could not make the state that others have.

use std::collections::BTreeMap;

use tidegate_core::id::Role;
use tidegate_core::jobs::JobStatus;
use tidegate_core::observe::Observation;
use tidegate_core::wire::{Dialect, Feature, Features, Message};

use crate::world::{Fact, HostIx, Interest, Scene, Spectator};

/// See the module.
#[derive(Default)]
pub(super) struct Versions {
    tested: u64,
    /// What each node has said that it may use with another one.
    spoken: BTreeMap<(HostIx, HostIx), Features>,
    /// What the process of each node speaks, and what the one before it spoke.
    speaks: BTreeMap<HostIx, [Dialect; 2]>,
}

fn unknown(scene: &Scene, host: HostIx, does: &str, message: &Message) -> String {
    let (name, version) = (scene.name(host), scene.minors[host]);
    let (kind, needs) = (message.kind().as_str(), message.needs());
    format!("{name} of version {version} {does} a {kind}, which needs {needs}")
}

impl Versions {
    fn greeted(
        &mut self,
        scene: &Scene,
        [one, two]: [HostIx; 2],
        minor: u16,
        features: Features,
    ) -> Result<(), String> {
        let [ours, mut theirs] = [one, two].map(|host| scene.speaks[host]);
        // A node that stood still hears late of a connection, whose other end may have begun anew meanwhile.
        let before = self.speaks.get(&two).map_or(theirs, |[_, before]| *before);
        if ours.common(before) == (Dialect { minor, features }) {
            theirs = before;
        }
        self.tested += u64::from(ours != theirs);
        self.spoken.insert((one, two), features);
        let lower = ours.minor.min(theirs.minor);
        let should = |feature: &Feature| {
            let both = ours.features.has(*feature) && theirs.features.has(*feature);
            both && feature.since() <= lower
        };
        let wrong = Feature::ALL.into_iter().find(|feature| features.has(*feature) != should(feature));
        match wrong {
            _ if minor != lower => Err(format!(
                "{} speaks version {minor} with {}, not {lower}",
                scene.name(one),
                scene.name(two)
            )),
            Some(feature) => Err(format!(
                "{} and {} may use {:?}, as the former says: of {} the contrary is true",
                scene.name(one),
                scene.name(two),
                features.to_string(),
                feature.as_str()
            )),
            None => Ok(()),
        }
    }
}

impl Spectator for Versions {
    fn name(&self) -> &'static str {
        "nobody is told what it does not know"
    }

    fn tested(&self) -> u64 {
        self.tested
    }

    fn interest(&self) -> Interest {
        Interest::DEPARTURES.and(Interest::ARRIVALS).and(Interest::OBSERVATIONS).and(Interest::PROCESSES)
    }

    fn see(&mut self, scene: &Scene, fact: &Fact<'_>) -> Result<(), String> {
        match fact {
            Fact::Began { host, .. } => {
                let now = scene.speaks[*host];
                let [newest, before] = self.speaks.entry(*host).or_insert([now; 2]);
                *before = core::mem::replace(newest, now);
                Ok(())
            }
            Fact::Left { from, to, message } => {
                let may = self.spoken.get(&(*from, *to)).copied().unwrap_or_default();
                if message.needs().is_within(may) {
                    return Ok(());
                }
                Err(unknown(scene, *from, "sends", message))
            }
            // What was on its way to an earlier process of the receiver never comes.
            Fact::Arrived { from, to, message } => {
                self.tested += u64::from(scene.speaks[*from] != scene.speaks[*to]);
                if message.needs().is_within(scene.speaks[*to].features) {
                    return Ok(());
                }
                Err(unknown(scene, *to, "gets", message))
            }
            Fact::Observed { host, observation: Observation::Greeted { peer, minor, features } } => {
                match scene.host(*peer) {
                    Some(peer) => self.greeted(scene, [*host, peer], *minor, *features),
                    None => Err(format!("{} is connected with a stranger", scene.name(*host))),
                }
            }
            Fact::Observed {
                host,
                observation: Observation::JobStatus { job, status: JobStatus::Queued },
            } if scene.hosts[*host].role == Some(Role::Gate)
                && scene.minors[*host] < Feature::QueuedJobs.since() =>
            {
                let (gate, job) = (scene.name(*host), scene.job_name(*job));
                Err(format!("{gate} of version {} applies that {job} is queued", scene.minors[*host]))
            }
            _ => Ok(()),
        }
    }
}
