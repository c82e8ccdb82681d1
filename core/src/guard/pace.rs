//! Whether the runs of a worker get on: how much of their time they have told of, against how much has passed.
//!
//! Every run tells twice a second how long it has run. Over one interval that adds up to the time that passed, for each
//! run; a worker of which less is heard is slow, degraded or stuck. Worse comes by one step an interval, better at once:
//! a single bad interval takes no worker out. Nothing asked for, nothing expected.

use minicbor::{Decode, Encode};

use super::Condition;
use crate::time::Duration;

/// How the runs of a worker get on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cbor(index_only)]
pub enum Pace {
    /// At least 80 % of what was expected, or nothing was.
    #[default]
    #[n(0)]
    Normal,
    /// At least 30 %.
    #[n(1)]
    Slow,
    /// Something.
    #[n(2)]
    Degraded,
    /// Nothing.
    #[n(3)]
    Stuck,
}

impl Pace {
    const ALL: [Self; 4] = [Self::Normal, Self::Slow, Self::Degraded, Self::Stuck];

    /// What it means for new work: like a load of that grade.
    pub const fn as_condition(self) -> Condition {
        Condition::ALL[self as usize]
    }

    /// After an interval in which so much was told of so much that passed.
    #[must_use]
    pub fn after(self, done: Duration, due: Duration) -> Self {
        let told = match (done.as_millis().saturating_mul(100), due.as_millis()) {
            (_, 0) => Self::Normal,
            (0, _) => Self::Stuck,
            (done, due) if done < due.saturating_mul(30) => Self::Degraded,
            (done, due) if done < due.saturating_mul(80) => Self::Slow,
            _ => Self::Normal,
        };
        let one_worse = Self::ALL[(self as usize + 1).min(Self::ALL.len() - 1)];
        told.min(one_worse)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    /// The paces after intervals in which these parts of 100 s were told of, in per cent.
    fn paces(told: &[u64]) -> Vec<Pace> {
        let mut pace = Pace::default();
        let after = |percent: &u64| {
            pace = pace.after(Duration::from_secs(*percent), Duration::from_secs(100));
            pace
        };
        told.iter().map(after).collect()
    }

    #[test]
    fn health_decays_by_steps_and_comes_back_at_once() {
        use Pace::*;
        assert_eq!(paces(&[100, 70, 40, 10, 0, 80]), [Normal, Slow, Slow, Degraded, Stuck, Normal]);
        assert_eq!(paces(&[79, 80, 29, 30, 29, 29]), [Slow, Normal, Slow, Slow, Degraded, Degraded]);
        assert_eq!(paces(&[100, 0, 0, 0, 0]), [Normal, Slow, Degraded, Stuck, Stuck], "not out at once");
        assert_eq!(Stuck.after(Duration::ZERO, Duration::ZERO), Normal, "nothing was asked of it");
    }
}
