//! Nothing mentions a job after its cleanup.
//!
//! A node that says `JobDropped` has one record less, and no other table, timer, index or queue that still names the
//! job. Eight of the eleven known defects of the earlier implementation were such a rest.

use crate::world::{Fact, Interest, Scene, Spectator};

/// See the module.
#[derive(Default)]
pub(super) struct Drops {
    tested: u64,
}

impl Spectator for Drops {
    fn name(&self) -> &'static str {
        "nothing mentions a dropped job"
    }

    fn tested(&self) -> u64 {
        self.tested
    }

    fn interest(&self) -> Interest {
        Interest::DROPS
    }

    fn see(&mut self, scene: &Scene, fact: &Fact<'_>) -> Result<(), String> {
        self.tested += u64::from(matches!(fact, Fact::Dropped { .. }));
        match fact {
            Fact::Dropped { host, job, mentions } if *mentions > 0 => Err(format!(
                "{} dropped {} and mentions it {mentions} times",
                scene.name(*host),
                scene.job_name(*job)
            )),
            _ => Ok(()),
        }
    }
}
