//! Where a value falls: the bucket layout of HDR histograms (G. Tene, HdrHistogram), for 1 us to 1 h.
//!
//! Values below the number of sub-buckets have a bucket each; above it every doubling of the value has half that many,
//! so a bucket is never wider than 10^-digits of its values. The same layout as the `hdrhistogram` crate's, which the
//! tests hold it against.

/// The layout for a number of decimal digits (2 or 3).
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    /// log2 of the number of sub-buckets.
    magnitude: u32,
}

impl Layout {
    /// Least and greatest value: 1 us and 1 h.
    pub(super) const LOWEST_US: u64 = 1;
    pub(super) const HIGHEST_US: u64 = 3_600_000_000;

    pub(super) const fn new(digits: u8) -> Self {
        assert!(digits >= 1 && digits <= 4);
        let distinct = 2 * 10u64.pow(digits as u32);
        Self { magnitude: distinct.next_power_of_two().trailing_zeros() }
    }

    const fn half(self) -> u64 {
        1 << (self.magnitude - 1)
    }

    /// The bucket of a value in range.
    pub(super) const fn bucket(self, value: u64) -> u32 {
        let bits = u64::BITS - value.leading_zeros();
        let shift = bits.saturating_sub(self.magnitude);
        ((shift as u64) * self.half() + (value >> shift)) as u32
    }

    /// The least value of a bucket.
    pub(super) const fn lowest(self, bucket: u32) -> u64 {
        let shift = self.shift(bucket);
        (bucket as u64 - shift as u64 * self.half()) << shift
    }

    /// The greatest value of a bucket.
    pub(super) const fn highest(self, bucket: u32) -> u64 {
        self.lowest(bucket) + ((1 << self.shift(bucket)) - 1)
    }

    /// The greatest bucket of all.
    pub(super) const fn last(self) -> u32 {
        self.bucket(Self::HIGHEST_US)
    }

    /// log2 of the bucket's width.
    const fn shift(self, bucket: u32) -> u32 {
        (bucket / self.half() as u32).saturating_sub(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn buckets_lie_side_by_side_without_gap() {
        for digits in [2, 3] {
            let layout = Layout::new(digits);
            for bucket in 1..layout.last() {
                assert_eq!(layout.highest(bucket) + 1, layout.lowest(bucket + 1), "{digits} {bucket}");
            }
        }
    }

    proptest! {
        #[test]
        fn it_is_the_layout_of_hdrhistogram(value in 1..=Layout::HIGHEST_US) {
            for digits in [2, 3] {
                let reference =
                    hdrhistogram::Histogram::<u64>::new_with_bounds(1, Layout::HIGHEST_US, digits).unwrap();
                let layout = Layout::new(digits);
                let bucket = layout.bucket(value);
                prop_assert_eq!(layout.lowest(bucket), reference.lowest_equivalent(value));
                prop_assert_eq!(layout.highest(bucket), reference.highest_equivalent(value));
            }
        }
    }
}
