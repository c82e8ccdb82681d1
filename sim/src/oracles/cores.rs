//! A worker without work has all its cores again.
//!
//! Cores are kept for a run from its reservation to its end. Those that are never given back are lost to the cluster for
//! as long as the process lives: it says that it is full, and nobody sees why.

use crate::world::{Fact, Interest, Scene, Spectator};

/// See the module.
#[derive(Default)]
pub(super) struct Cores;

impl Spectator for Cores {
    fn name(&self) -> &'static str {
        "cores come back"
    }

    fn interest(&self) -> Interest {
        Interest::LOOKS
    }

    fn see(&mut self, scene: &Scene, fact: &Fact<'_>) -> Result<(), String> {
        match fact {
            Fact::Looked { host, holds } if holds.jobs == 0 && holds.cores > 0 => {
                Err(format!("{} has no job, and keeps {} cores", scene.name(*host), holds.cores))
            }
            _ => Ok(()),
        }
    }
}
