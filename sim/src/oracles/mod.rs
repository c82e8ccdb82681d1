//! What must hold in every run, whatever the plan.
//!
//! Each oracle is a spectator with one rule and its reason. They judge what really happened (executions, answers that
//! reached clients, durable writes) and use what nodes say only to know what they meant to do. A rule is never weakened
//! to let a run pass: either the nodes or the rule is wrong, and the reason tells which.
//!
//! Four rules have no file here, since the world itself sees them broken: a node never panics, a call has one answer, a
//! message is the same after the codec, and a gate asks only managers to run a job that it is connected to. Liveness is
//! judged where a run ends: `world::check_end`.

mod accepted;
mod answers;
mod bounds;
mod calm;
mod cancels;
mod cores;
mod counts;
mod drops;
mod leases;
mod logs;
mod losses;
mod members;
mod old_disks;
mod owners;
mod promises;
mod receipts;
mod refusals;
mod replicas;
mod reported;
mod results;
mod retention;
mod speakers;
mod starts;
mod streams;
mod suspicions;
#[cfg(test)]
mod tests;
mod turns;
mod versions;

use crate::world::Spectator;

/// Every oracle, before a run.
pub fn all() -> Vec<Box<dyn Spectator>> {
    vec![
        Box::<owners::Owners>::default(),
        Box::<results::Results>::default(),
        Box::<starts::Starts>::default(),
        Box::<accepted::Accepted>::default(),
        Box::<cancels::Cancels>::default(),
        Box::<counts::Counts>::default(),
        Box::<cores::Cores>::default(),
        Box::<streams::Streams>::default(),
        Box::<bounds::Bounds>::default(),
        Box::<drops::Drops>::default(),
        Box::<reported::Reported>::default(),
        Box::<speakers::Speakers>::default(),
        Box::<receipts::Receipts>::default(),
        Box::<losses::Losses>::default(),
        Box::<suspicions::Suspicions>::default(),
        Box::<old_disks::OldDisks>::default(),
        Box::<retention::Retention>::default(),
        Box::<calm::Calm>::default(),
        Box::<replicas::Replicas>::default(),
        Box::<promises::Promises>::default(),
        Box::<logs::Logs>::default(),
        Box::<answers::Answers>::default(),
        Box::<leases::Leases>::default(),
        Box::<members::Members>::default(),
        Box::<refusals::Refusals>::default(),
        Box::<versions::Versions>::default(),
        Box::<turns::Turns>::default(),
    ]
}
