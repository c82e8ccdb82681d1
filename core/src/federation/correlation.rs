//! Which failures belong together: a partition is not ten deaths.
//!
//! Failures that began within [`WINDOW`] of one another are one group, and a group is graded by how many of the known
//! datacenters it holds. Grouping by when a failure *began* keeps an old, lone death out of it: five datacenters that
//! die a minute apart are five deaths.
//!
//! While a datacenter is *held* it counts as degraded although it is unreachable, because the fault is probably in this
//! gate's own network. What other gates see decides: most of them reach it, and it is held; most of them do not, and it
//! is let go after [`BACKOFF`]. Without their word a hold of a large group ends after [`HOLD_MAX`], and [`BACKOFF`] after
//! so many have come back that it is large no more: the last of a partition that heals are no deaths. All are deadlines.

use crate::time::{Duration, Instant};

/// Failures that began this close to one another belong together.
pub const WINDOW: Duration = Duration::from_secs(30);
/// A large group is held at least this long, from when the failure began.
pub const BACKOFF: Duration = Duration::from_secs(60);
/// Nothing is held longer.
pub const HOLD_MAX: Duration = Duration::from_secs(300);

/// How likely it is that failures have one cause.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// A failure by itself.
    #[default]
    None,
    /// Two together.
    Low,
    /// Three, or as many as there are.
    Medium,
    /// Four, or as many as there are, and at least half of all.
    High,
}

/// What the other gates see of a datacenter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Others {
    /// None has said anything of late, or they are divided.
    #[default]
    Undecided,
    /// Most of them reach it.
    Reach,
    /// Most of them do not.
    Miss,
}

/// The grade of a group that weighs so many `halves` (a failure that is not confirmed weighs one, others two), of which
/// `whole` are confirmed, among `known` datacenters.
pub fn grade(halves: usize, whole: usize, known: usize) -> Severity {
    if known < 2 {
        return Severity::None;
    }
    if whole >= known.min(4) && 2 * whole >= known {
        Severity::High
    } else if whole >= known.min(3) {
        Severity::Medium
    } else if halves >= 4 {
        Severity::Low
    } else {
        Severity::None
    }
}

/// Until when an unreachable datacenter is held, whose failure began at `failed_at`, and whose group was large until
/// `relieved` if it ever was and is no more; `None` where it is not held at all.
pub fn held_until(
    failed_at: Instant,
    severity: Severity,
    others: Others,
    relieved: Option<Instant>,
) -> Option<Instant> {
    let at_most = failed_at + HOLD_MAX;
    match (severity >= Severity::Medium, others) {
        (_, Others::Reach) | (true, Others::Undecided) => Some(at_most),
        (true, Others::Miss) => Some(failed_at + BACKOFF),
        (false, Others::Undecided) => relieved.map(|at| at_most.min(at + BACKOFF)),
        (false, Others::Miss) => None,
    }
}
