//! How fit a region is: what its datacenters are together.

use super::{Federation, Health};
use crate::effect::{Effect, Effects};
use crate::id::DcId;
use crate::link::Links;
use crate::observe::Observation;
use crate::time::Instant;

/// A region of datacenters that are this fit. It is unhealthy where all are, degraded where most are, and otherwise as
/// fit as the fittest. Those of which nothing is known do not count. One more that is healthy never makes it worse.
pub fn roll_up(healths: impl Iterator<Item = Health>) -> Health {
    let (mut known, mut unhealthy, mut best) = (0, 0, Health::Unhealthy);
    for health in healths.filter(|health| *health != Health::Unknown) {
        known += 1;
        unhealthy += usize::from(health == Health::Unhealthy);
        best = best.min(health);
    }
    match (known, unhealthy) {
        (0, _) => Health::Unknown,
        (known, unhealthy) if unhealthy < known && 2 * unhealthy > known => Health::Degraded,
        _ => best,
    }
}

impl Federation {
    pub(super) fn of_region(&self, region: DcId) -> impl Iterator<Item = DcId> + '_ {
        self.dcs.iter().filter(move |(_, record)| record.region == region).map(|(dc, _)| *dc)
    }

    /// The region of a datacenter.
    pub(super) fn region(&self, dc: DcId) -> DcId {
        self.dcs.get(&dc).map_or(dc, |record| record.region)
    }

    /// How fit a region is.
    pub fn region_health(&self, now: Instant, region: DcId, links: &Links) -> Health {
        roll_up(self.of_region(region).map(|dc| self.health(now, dc, links)))
    }

    /// After a datacenter's health was told: tells its region's, where that has changed.
    pub(super) fn testify_region(&mut self, dc: DcId, out: &mut Effects) {
        let region = self.region(dc);
        let told = self.of_region(region).filter_map(|dc| self.dcs.get(&dc)).map(|record| record.told.health);
        let health = roll_up(told);
        if let Some(last) = self.regions.get_mut(&region).filter(|last| **last != health) {
            *last = health;
            out.push(Effect::Observe(Observation::RegionHealth { region, health }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    const ALL: [Health; 5] =
        [Health::Healthy, Health::Busy, Health::Degraded, Health::Unhealthy, Health::Unknown];

    fn of(healths: &[Health]) -> Health {
        roll_up(healths.iter().copied())
    }

    /// How bad it is; of what is unknown nothing is worse.
    fn badness(health: Health) -> Option<Health> {
        Some(health).filter(|health| *health != Health::Unknown)
    }

    #[test]
    fn a_region_is_what_most_of_it_is() {
        use Health::{Busy, Degraded, Healthy, Unhealthy, Unknown};
        for (healths, whole) in [
            (&[Healthy, Busy, Degraded][..], Healthy),
            (&[Healthy, Unhealthy, Unhealthy], Degraded),
            (&[Healthy, Unhealthy], Healthy),
            (&[Busy, Unhealthy], Busy),
            (&[Degraded, Degraded], Degraded),
            (&[Unhealthy, Unhealthy, Unhealthy], Unhealthy),
            (&[Unknown, Unhealthy], Unhealthy),
            (&[Unknown, Unknown], Unknown),
            (&[], Unknown),
        ] {
            assert_eq!(of(healths), whole, "{healths:?}");
        }
    }

    proptest! {
        #[test]
        fn a_healthy_datacenter_more_never_makes_a_region_worse(
            healths in prop::collection::vec(prop::sample::select(&ALL[..]), 0..9),
        ) {
            let before = badness(of(&healths));
            let more: Vec<Health> = healths.iter().copied().chain([Health::Healthy]).collect();
            let after = of(&more);
            prop_assert_ne!(after, Health::Unknown);
            prop_assert!(before.is_none_or(|before| after <= before), "{healths:?}: {before:?}, {after:?}");
        }

        #[test]
        fn order_says_nothing(
            healths in prop::collection::vec(prop::sample::select(&ALL[..]), 0..9),
        ) {
            let mut turned = healths.clone();
            turned.reverse();
            prop_assert_eq!(of(&healths), of(&turned));
        }
    }
}
