//! How fit a datacenter is for jobs: the worst row that applies (`jobs-routing-stats` 10).

use minicbor::{Decode, Encode};

use super::reach::Reach;
use super::trouble::State;

/// How fit a datacenter is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cbor(index_only)]
pub enum Health {
    /// Nothing is known yet: it has not answered, or none of its managers has said how it stands.
    #[default]
    #[n(0)]
    Unknown,
    /// It has room.
    #[n(1)]
    Healthy,
    /// It has no free core, or three of ten workers or managers are overloaded; jobs wait there.
    #[n(2)]
    Busy,
    /// Something is wrong: it is the last choice.
    #[n(3)]
    Degraded,
    /// It gets no job.
    #[n(4)]
    Unhealthy,
}

/// What health follows from. Counts of free cores alone never make it worse than busy.
#[derive(Clone, Copy, Debug)]
pub(super) struct Signs {
    pub reach: Reach,
    /// It is unreachable and held.
    pub held: bool,
    pub past: State,
    /// What its managers say, if they have said anything.
    pub figures: Option<Figures>,
    /// Managers that are connected and have been heard of late, and how many are configured.
    pub managers: (usize, usize),
    /// Of the connected ones, those that say they are overloaded; and whether the leader is one of them.
    pub overloaded: (usize, bool),
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Figures {
    /// They are older than they should be.
    pub old: bool,
    /// Workers that can work, and all that are known.
    pub workers: (u32, u32),
    pub free_cores: u32,
    /// Workers that are overloaded.
    pub overloaded: u32,
}

pub(super) fn judge(signs: Signs) -> Health {
    let most = |part: usize, all: usize| part > all / 2;
    let (overloaded_managers, leader_overloaded) = signs.overloaded;
    let tenths = |part: usize, all: usize| 10 * part / all.max(1);
    match signs.reach {
        Reach::Unknown => return Health::Unknown,
        Reach::Unreachable if !signs.held => return Health::Unhealthy,
        Reach::Unreachable | Reach::Suspected => return Health::Degraded,
        Reach::Reachable => {}
    }
    let Some(figures) = signs.figures else { return Health::Unknown };
    let (healthy, known) = figures.workers;
    let overloaded = tenths(figures.overloaded as usize, healthy as usize)
        .max(tenths(overloaded_managers, signs.managers.0));
    if (healthy, known) == (0, 0) {
        // No worker has come yet: it has not begun, and is not ill.
        Health::Unknown
    } else if healthy == 0 {
        Health::Unhealthy
    } else if figures.old
        || !most(healthy as usize, known as usize)
        || !most(signs.managers.0, signs.managers.1)
        || matches!(signs.past, State::Recovering | State::Flapping)
        || overloaded >= 5
        || leader_overloaded
    {
        Health::Degraded
    } else if figures.free_cores == 0 || overloaded >= 3 {
        Health::Busy
    } else {
        Health::Healthy
    }
}
