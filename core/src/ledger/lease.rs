//! Leases: which nodes may act as owners, by log entry, and what this node's own clock says of its own.
//!
//! A holder counts the time to live from the moment it *proposed* its newest committed renewal. Everybody else may
//! propose an end after one and a half times as long since they *applied* it, or since their own start. A proposal
//! comes before its application, so with clock rates up to 20 % apart on each side (1.0 / 0.8 = 1.5 / 1.2) the holder
//! has stopped, by its own clock, before an end can be in the log.
//!
//! The others see only that a lease is renewed, and not that each renewal comes too late to be of any use. So a holder
//! that is too far away, or too slow, to act gives its lease back and rests, and others take what it owns.

use alloc::collections::{BTreeMap, BTreeSet};
use minicbor::{Decode, Encode};

use crate::id::{BootNo, DiskId, NodeId};
use crate::time::{Duration, Instant};

/// So many renewals in a row that came too late, and the node's lease is of no use to anybody.
const LATE_MAX: u32 = 3;
/// Then it is not renewed for so many times the time to live.
const RESTS: u64 = 4;

/// A node as the log knows it. One row each, for ever: it is also what refuses an old disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub(super) struct Lease {
    /// The disk that the node first came with.
    #[n(0)]
    pub disk: DiskId,
    /// The highest boot.
    #[n(1)]
    pub boot: BootNo,
    /// The newest renewal of that boot, from 1.
    #[n(2)]
    pub renew_no: u64,
    /// Whether it is over by log entry.
    #[n(3)]
    pub ended: bool,
    /// The highest minor version that the node ever came with.
    #[n(4)]
    pub minor: u16,
}

/// What an entry did to the leases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LeaseChange {
    /// It no longer fits.
    Nothing,
    /// A lease goes on.
    Renewed,
    /// A lease begins.
    Began,
    /// A lease begins and takes the place of one of an earlier boot, which has ended.
    Replaced,
    /// A lease ended.
    Ended,
    /// The node runs on another disk, or on an old image of its disk.
    Refused,
}

/// All nodes that the log knows. Replicated.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Leases(pub BTreeMap<NodeId, Lease>);

impl Leases {
    /// Whether a node that says so runs on an old disk.
    pub fn is_old_disk(&self, node: NodeId, boot: BootNo, disk: DiskId) -> bool {
        self.0.get(&node).is_some_and(|known| known.disk != disk || known.boot > boot)
    }

    /// Applies a renewal.
    pub fn renew(
        &mut self,
        node: NodeId,
        (boot, minor): (BootNo, u16),
        disk: DiskId,
        renew_no: u64,
    ) -> LeaseChange {
        if self.is_old_disk(node, boot, disk) {
            return LeaseChange::Refused;
        }
        let known = self.0.get(&node).copied();
        let change = match known {
            None => LeaseChange::Began,
            Some(known) if boot > known.boot && !known.ended => LeaseChange::Replaced,
            Some(known) if boot > known.boot => LeaseChange::Began,
            Some(known) if renew_no <= known.renew_no => return LeaseChange::Nothing,
            Some(known) if known.ended => LeaseChange::Began,
            Some(_) => LeaseChange::Renewed,
        };
        let minor = known.map_or(minor, |known| known.minor.max(minor));
        self.0.insert(node, Lease { disk, boot, renew_no, ended: false, minor });
        change
    }

    /// Applies an end: it counts only where the renewal that it speaks of is still the newest.
    pub fn end(&mut self, node: NodeId, boot: BootNo, renew_no: u64) -> LeaseChange {
        match self.0.get_mut(&node) {
            Some(known) if (known.boot, known.renew_no) == (boot, renew_no) && !known.ended => {
                known.ended = true;
                LeaseChange::Ended
            }
            _ => LeaseChange::Nothing,
        }
    }

    /// The minor version that all of these have run. It never falls.
    pub fn minor(&self, voters: impl Iterator<Item = NodeId>) -> u16 {
        let run = |voter| self.0.get(&voter).map_or(0, |known| known.minor);
        voters.map(run).min().unwrap_or(0)
    }

    /// Nodes whose lease is not ended by log entry.
    pub fn holders(&self) -> impl Iterator<Item = NodeId> {
        self.0.iter().filter(|(_, lease)| !lease.ended).map(|(node, _)| *node)
    }
}

/// This node's own lease by its own clock, and its watch over the others'. Volatile.
#[derive(Clone, Debug)]
pub(super) struct LeaseClock {
    ttl: Duration,
    /// The number of the last renewal that was proposed, and when.
    proposed: Option<(u64, Instant)>,
    /// When the newest committed renewal was proposed, while it is not ended.
    held_from: Option<Instant>,
    /// Whether the lease was given up for good; a renewal that was under way does not bring it back.
    given_up: bool,
    /// When the renewal was proposed that was applied since the last known moment.
    renewed: Option<Instant>,
    /// Renewals in a row that left less than a quarter of the time to live.
    late: u32,
    /// It is not renewed before.
    rests_until: Instant,
    /// When this node last saw each other's lease renewed.
    seen: BTreeMap<NodeId, Instant>,
    /// Renewals that were applied since the last known moment: they count as seen at the next one, since an earlier
    /// time than the true one would end a lease too soon.
    unseen: BTreeSet<NodeId>,
}

impl LeaseClock {
    pub fn new(ttl: Duration) -> Self {
        Self {
            ttl,
            proposed: None,
            held_from: None,
            given_up: false,
            renewed: None,
            late: 0,
            rests_until: Instant::ZERO,
            seen: BTreeMap::new(),
            unseen: BTreeSet::new(),
        }
    }

    /// How long a lease lasts without a renewal.
    pub const fn ttl(&self) -> Duration {
        self.ttl
    }

    /// The node proposes its next renewal, and only while none is undecided; returns its number.
    pub fn propose(&mut self, now: Instant) -> u64 {
        let renew_no = self.proposed.map_or(0, |(last, _)| last) + 1;
        self.proposed = Some((renew_no, now));
        renew_no
    }

    /// The log's newest word on this node's own lease.
    pub fn own(&mut self, boot: BootNo, lease: &Lease) {
        let newest =
            self.proposed.filter(|(no, _)| lease.boot == boot && lease.renew_no == *no && !lease.ended);
        match newest {
            Some((_, at)) if !self.given_up => {
                self.held_from = Some(at);
                self.renewed = Some(at);
            }
            _ if lease.ended => self.held_from = None,
            _ => {}
        }
    }

    /// Gives the lease up: from now on this node does not act on it.
    pub fn give_up(&mut self) {
        self.held_from = None;
        self.given_up = true;
    }

    /// Whether its renewals come too late, again and again.
    pub fn is_late(&self) -> bool {
        self.late >= LATE_MAX
    }

    /// From now on this node does not act on its lease, and does not renew it for a while.
    pub fn rest(&mut self, now: Instant) {
        self.held_from = None;
        self.late = 0;
        self.rests_until = now + self.ttl.scale(RESTS, 1);
    }

    /// When a renewal may be proposed, `wait` after the last.
    pub fn next_renewal(&self, wait: Duration) -> Option<Instant> {
        self.proposed.filter(|_| !self.given_up).map(|(_, at)| (at + wait).max(self.rests_until))
    }

    /// Whether it was given up.
    pub fn is_given_up(&self) -> bool {
        self.given_up
    }

    /// When this node's right to act ends, unless it is renewed.
    pub fn ends_at(&self) -> Option<Instant> {
        self.held_from.map(|from| from + self.ttl)
    }

    /// Whether this node may act as an owner.
    pub fn holds(&self, now: Instant) -> bool {
        self.ends_at().is_some_and(|end| now < end)
    }

    /// Another node's lease was renewed, or this node has just started and knows no better.
    pub fn saw(&mut self, node: NodeId) {
        self.seen.remove(&node);
        self.unseen.insert(node);
    }

    /// Time has come this far.
    pub fn now(&mut self, now: Instant) {
        if let Some(proposed) = self.renewed.take() {
            let left = (proposed + self.ttl).since(now);
            self.late = if left < self.ttl.scale(1, 4) { self.late + 1 } else { 0 };
        }
        while let Some(node) = self.unseen.pop_first() {
            self.seen.insert(node, now);
        }
    }

    /// When this node may propose the end of another's lease.
    pub fn may_end_at(&self, node: NodeId) -> Option<Instant> {
        self.seen.get(&node).map(|seen| *seen + self.ttl.scale(3, 2))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Renewals that are applied so many milliseconds after they were proposed, one every 3 s.
    fn renewed_after(waits: &[u64]) -> LeaseClock {
        let ms = |ms: u64| Instant::from_nanos(ms * 1_000_000);
        let mut clock = LeaseClock::new(Duration::from_secs(10));
        for (start, wait) in (0..).step_by(20_000).zip(waits) {
            let renew_no = clock.propose(ms(start));
            let lease = Lease { disk: DiskId([1; 16]), boot: BootNo(1), renew_no, ended: false, minor: 1 };
            clock.own(BootNo(1), &lease);
            clock.now(ms(start + wait));
        }
        clock
    }

    #[test]
    fn renewals_that_come_too_late_in_a_row_are_noticed() {
        for (waits, is_late) in [
            (&[7_600, 7_600, 7_600][..], true),
            (&[7_600, 30_000, 9_999], true),
            (&[7_600, 7_600], false),
            (&[7_600, 7_600, 7_400, 7_600, 7_600], false),
            (&[7_400; 9], false),
        ] {
            assert_eq!(renewed_after(waits).is_late(), is_late, "{waits:?}");
        }
    }

    #[test]
    fn a_lease_that_rests_does_not_hold_and_is_not_renewed() {
        let mut clock = renewed_after(&[7_600; 3]);
        let (now, wait) = (Instant::from_nanos(47_600_000_000), Duration::from_secs(3));
        assert!(clock.holds(now));
        clock.rest(now);
        assert!(!clock.holds(now) && !clock.is_late());
        assert_eq!(clock.next_renewal(wait), Some(now + Duration::from_secs(40)));
    }

    #[test]
    fn the_version_in_force_is_what_every_voter_has_run_and_never_falls() {
        let (mut leases, disk) = (Leases::default(), DiskId([1; 16]));
        let voters = || [1, 2, 3].map(|n| NodeId([n; 16])).into_iter();
        let mut start = |n: u8, boot, minor| {
            leases.renew(NodeId([n; 16]), (BootNo(boot), minor), disk, 1);
            leases.minor(voters())
        };
        assert_eq!(start(1, 1, 1), 0);
        assert_eq!(start(2, 1, 1), 0, "the third was never seen");
        assert_eq!(start(3, 1, 0), 0);
        assert_eq!(start(2, 2, 0), 0, "a downgrade");
        assert_eq!(start(3, 2, 1), 1, "the second has run it");
        assert_eq!(start(3, 3, 0), 1);
    }
}
