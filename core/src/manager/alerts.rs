//! A tier or a pool in trouble, said once (`jobs-routing-stats` 41).
//!
//! Of all that could be said of a crowd only the gravest is, when it begins, and again when it is over or something else
//! has become the gravest. Heartbeats that change nothing say nothing. This node is one of its tier and counts.

use minicbor::{Decode, Encode};

use crate::effect::{Effect, Effects};
use crate::guard::Condition;
use crate::observe::Observation;

/// Whose trouble it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cbor(index_only)]
pub enum Crowd {
    /// The managers of this datacenter.
    #[n(0)]
    Managers,
    /// Its workers.
    #[n(1)]
    Workers,
}

/// What is wrong, from the gravest on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cbor(index_only)]
pub enum Alert {
    /// The leader of the log is overloaded.
    #[n(0)]
    LeaderOverloaded,
    /// Not one is healthy, of two or more.
    #[n(1)]
    NoneHealthy,
    /// Half of them or more are overloaded.
    #[n(2)]
    ManyOverloaded,
    /// Four of five or more are not healthy.
    #[n(3)]
    FewHealthy,
}

/// How many nodes of a crowd are in which condition ([`Condition::ALL`]).
pub type Counts = [u32; 4];

/// What was said last of a crowd and is not over.
#[derive(Clone, Copy, Debug, Default)]
pub struct Watch(Option<Alert>);

impl Watch {
    /// Looks at a crowd and says what has changed. `leader` is the condition of the one who leads, where one does.
    pub fn look(&mut self, of: Crowd, counts: Counts, leader: Option<Condition>, out: &mut Effects) {
        let gravest = gravest(counts, leader);
        let alert = gravest.map(|(alert, _)| alert);
        if alert == self.0 {
            return;
        }
        if let Some(alert) = core::mem::replace(&mut self.0, alert) {
            out.push(Effect::Observe(Observation::AlertOver { of, alert }));
        }
        if let Some((alert, nodes)) = gravest {
            let small = |count: u32| u16::try_from(count).unwrap_or(u16::MAX);
            let all = small(counts.iter().sum());
            out.push(Effect::Observe(Observation::Alert { of, alert, nodes: small(nodes), all }));
        }
    }
}

/// What was said of the managers and of the workers.
#[derive(Clone, Copy, Debug, Default)]
pub struct Alerts {
    /// Of the tier.
    pub managers: Watch,
    /// Of the pool.
    pub workers: Watch,
}

/// The gravest thing to say, and of how many nodes.
fn gravest(counts: Counts, leader: Option<Condition>) -> Option<(Alert, u32)> {
    let [healthy, .., overloaded] = counts;
    let all: u32 = counts.iter().sum();
    let others = all - healthy;
    if leader == Some(Condition::Overloaded) {
        Some((Alert::LeaderOverloaded, 1))
    } else if all < 2 {
        None
    } else if healthy == 0 {
        Some((Alert::NoneHealthy, others))
    } else if 2 * overloaded >= all {
        Some((Alert::ManyOverloaded, overloaded))
    } else if 5 * others >= 4 * all {
        Some((Alert::FewHealthy, others))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn look(watch: &mut Watch, counts: Counts, leader: Condition) -> Vec<Observation> {
        let mut out = Effects::new();
        watch.look(Crowd::Managers, counts, Some(leader), &mut out);
        let said = |effect| if let Effect::Observe(said) = effect { Some(said) } else { None };
        out.drain(..).filter_map(said).collect()
    }

    fn alert(alert: Alert, nodes: u16, all: u16) -> Observation {
        Observation::Alert { of: Crowd::Managers, alert, nodes, all }
    }

    fn over(alert: Alert) -> Observation {
        Observation::AlertOver { of: Crowd::Managers, alert }
    }

    const FINE: Condition = Condition::Healthy;

    #[test]
    fn an_overloaded_leader_is_told_once_each_time() {
        let mut watch = Watch::default();
        for _ in 0..2 {
            let first = look(&mut watch, [2, 0, 0, 1], Condition::Overloaded);
            assert_eq!(first, [alert(Alert::LeaderOverloaded, 1, 3)]);
            for _ in 0..12 {
                assert_eq!(look(&mut watch, [2, 0, 0, 1], Condition::Overloaded), []);
            }
            assert_eq!(look(&mut watch, [3, 0, 0, 0], FINE), [over(Alert::LeaderOverloaded)]);
            assert_eq!(look(&mut watch, [3, 0, 0, 0], FINE), []);
        }
    }

    #[test]
    fn half_overloaded_and_not_less() {
        let mut watch = Watch::default();
        assert_eq!(look(&mut watch, [3, 0, 0, 1], FINE), []);
        assert_eq!(look(&mut watch, [2, 0, 0, 2], FINE), [alert(Alert::ManyOverloaded, 2, 4)]);
    }

    #[test]
    fn few_healthy_then_none() {
        let mut watch = Watch::default();
        assert_eq!(look(&mut watch, [2, 2, 1, 0], FINE), []);
        assert_eq!(look(&mut watch, [1, 2, 2, 0], FINE), [alert(Alert::FewHealthy, 4, 5)]);
        let worse = look(&mut watch, [0, 3, 2, 0], Condition::Busy);
        assert_eq!(worse, [over(Alert::FewHealthy), alert(Alert::NoneHealthy, 5, 5)]);
    }

    #[test]
    fn one_alone_is_no_crowd() {
        let mut watch = Watch::default();
        for counts in [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]] {
            assert_eq!(look(&mut watch, counts, FINE), []);
        }
    }
}
