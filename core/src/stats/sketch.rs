//! A sparse HDR histogram.

use alloc::vec::Vec;
use minicbor::{Decode, Encode};

/// A histogram of microseconds, 1 us to 1 h, as a sorted list of non-empty buckets. Merging adds counts bucket by
/// bucket, so any partition of the samples, merged in any order, gives the same quantiles.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Encode, Decode)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Sketch {
    /// (bucket, count), by bucket, no count zero.
    #[n(0)]
    buckets: Vec<(u32, u64)>,
    /// Exact sum of the samples in microseconds, for the mean.
    #[n(1)]
    sum_us: u64,
}

impl Sketch {
    /// How many samples.
    pub fn count(&self) -> u64 {
        self.buckets.iter().fold(0u64, |sum, (_, count)| sum.saturating_add(*count))
    }

    /// Adds the samples of another sketch of the same precision.
    pub fn merge(&mut self, other: &Self) {
        let mut merged = Vec::with_capacity(self.buckets.len().max(other.buckets.len()));
        let (mut left, mut right) =
            (self.buckets.iter().copied().peekable(), other.buckets.iter().copied().peekable());
        while let (Some(&(a, a_count)), Some(&(b, b_count))) = (left.peek(), right.peek()) {
            match a.cmp(&b) {
                core::cmp::Ordering::Less => merged.extend(left.next()),
                core::cmp::Ordering::Greater => merged.extend(right.next()),
                core::cmp::Ordering::Equal => {
                    merged.push((a, a_count.saturating_add(b_count)));
                    left.next();
                    right.next();
                }
            }
        }
        merged.extend(left);
        merged.extend(right);
        self.buckets = merged;
        self.sum_us = self.sum_us.saturating_add(other.sum_us);
    }
}
