//! A sparse HDR histogram: how samples travel and are kept.
//!
//! Made by a [`super::Recorder`], or by merging others. Merging adds counts bucket by bucket and keeps the exact sum,
//! least and greatest value, so any partition of the samples, merged in any order, gives an identical sketch. Never
//! holds single samples; never mixes precisions: that is a type error.

use alloc::vec::Vec;
use minicbor::{Decode, Decoder, Encode, Encoder, decode, encode};

use super::layout::Layout;

/// A histogram of microseconds, 1 us to 1 h, with so many decimal digits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Sketch<const DIGITS: u8 = 3> {
    /// (bucket, count), by bucket, no count zero.
    buckets: Vec<(u32, u64)>,
    /// Exact sum of the samples.
    sum_us: u64,
    /// The least sample; 0 without samples.
    min_us: u64,
    /// The greatest sample; 0 without samples.
    max_us: u64,
    /// How many samples lay outside 1 us .. 1 h and were moved to its edge.
    clamped: u64,
}

/// The sketch of one window: 2 digits are enough for a graph.
pub type WindowSketch = Sketch<2>;

impl<const DIGITS: u8> Sketch<DIGITS> {
    const LAYOUT: Layout = Layout::new(DIGITS);

    /// From what a recorder has seen; `buckets` in order, without zeros.
    pub(super) fn from_parts(
        buckets: Vec<(u32, u64)>,
        sum_us: u64,
        range_us: (u64, u64),
        clamped: u64,
    ) -> Self {
        let sketch = Self { buckets, sum_us, min_us: range_us.0, max_us: range_us.1, clamped };
        debug_assert_eq!(sketch.check(), Ok(()));
        sketch
    }

    /// So many samples of one value, which is clamped as a recorded one is.
    pub fn of(us: u64, count: u64) -> Self {
        if count == 0 {
            return Self::default();
        }
        let value = us.clamp(Layout::LOWEST_US, Layout::HIGHEST_US);
        let clamped = if value == us { 0 } else { count };
        let buckets = alloc::vec![(Self::LAYOUT.bucket(value), count)];
        Self::from_parts(buckets, value.saturating_mul(count), (value, value), clamped)
    }

    /// How many samples.
    pub fn count(&self) -> u64 {
        self.buckets.iter().fold(0u64, |sum, (_, count)| sum.saturating_add(*count))
    }

    /// Whether there is no sample.
    pub fn is_empty(&self) -> bool {
        self.buckets.is_empty()
    }

    /// How many samples were outside the range and count as its nearest value.
    pub const fn clamped(&self) -> u64 {
        self.clamped
    }

    /// The least sample, in microseconds.
    pub fn min_us(&self) -> Option<u64> {
        (!self.is_empty()).then_some(self.min_us)
    }

    /// The greatest sample, in microseconds.
    pub fn max_us(&self) -> Option<u64> {
        (!self.is_empty()).then_some(self.max_us)
    }

    /// The mean in nanoseconds, rounded down.
    pub fn mean_ns(&self) -> Option<u64> {
        let mean = (u128::from(self.sum_us) * 1_000).checked_div(u128::from(self.count()))?;
        Some(u64::try_from(mean).unwrap_or(u64::MAX))
    }

    /// The value in microseconds that `ppm` millionths of the samples do not exceed: the upper edge of the bucket of
    /// sample number ceil(count x ppm / 10^6), at least the first, but never more than the greatest sample.
    pub fn value_at_quantile_micro(&self, ppm: u32) -> Option<u64> {
        let rank = (u128::from(self.count()) * u128::from(ppm.min(1_000_000))).div_ceil(1_000_000).max(1);
        let mut seen = 0u128;
        self.buckets.iter().find_map(|&(bucket, count)| {
            seen += u128::from(count);
            (seen >= rank).then(|| Self::LAYOUT.highest(bucket).min(self.max_us))
        })
    }

    /// Adds the samples of another sketch. Exact, commutative and associative; counts saturate.
    pub fn merge(&mut self, other: &Self) {
        if other.is_empty() {
            return;
        }
        self.min_us = if self.is_empty() { other.min_us } else { self.min_us.min(other.min_us) };
        self.max_us = self.max_us.max(other.max_us);
        self.sum_us = self.sum_us.saturating_add(other.sum_us);
        self.clamped = self.clamped.saturating_add(other.clamped);
        self.buckets = merged(&self.buckets, &other.buckets);
    }

    /// What every sketch satisfies.
    fn check(&self) -> Result<(), &'static str> {
        let (Some(first), Some(last)) = (self.buckets.first(), self.buckets.last()) else {
            let empty = (self.sum_us, self.min_us, self.max_us, self.clamped) == (0, 0, 0, 0);
            return if empty { Ok(()) } else { Err("sums without samples") };
        };
        let rule = |holds: bool, why| if holds { Ok(()) } else { Err(why) };
        rule(self.buckets.is_sorted_by(|a, b| a.0 < b.0), "buckets out of order")?;
        rule(self.buckets.iter().all(|(_, count)| *count > 0), "empty bucket")?;
        rule(self.min_us >= Layout::LOWEST_US && self.max_us <= Layout::HIGHEST_US, "value out of range")?;
        rule(Self::LAYOUT.bucket(self.min_us) == first.0, "least value is not in the first bucket")?;
        rule(Self::LAYOUT.bucket(self.max_us) == last.0, "greatest value is not in the last bucket")?;
        rule(self.clamped <= self.count(), "more clamped than samples")
    }
}

/// JSON comes from elsewhere too: it is held to the same rules.
#[cfg(feature = "serde")]
impl<'de, const DIGITS: u8> serde::Deserialize<'de> for Sketch<DIGITS> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(serde::Deserialize)]
        struct Parts {
            buckets: Vec<(u32, u64)>,
            sum_us: u64,
            min_us: u64,
            max_us: u64,
            clamped: u64,
        }
        let Parts { buckets, sum_us, min_us, max_us, clamped } = Parts::deserialize(deserializer)?;
        let sketch = Self { buckets, sum_us, min_us, max_us, clamped };
        sketch.check().map(|()| sketch).map_err(serde::de::Error::custom)
    }
}

fn merged(left: &[(u32, u64)], right: &[(u32, u64)]) -> Vec<(u32, u64)> {
    let mut out = Vec::with_capacity(left.len() + right.len());
    let (mut left, mut right) = (left.iter().copied().peekable(), right.iter().copied().peekable());
    loop {
        match (left.peek(), right.peek()) {
            (Some(&(a, a_count)), Some(&(b, b_count))) if a == b => {
                out.push((a, a_count.saturating_add(b_count)));
                left.next();
                right.next();
            }
            (Some((a, _)), Some((b, _))) if a > b => out.extend(right.next()),
            (Some(_), _) => out.extend(left.next()),
            (None, Some(_)) => out.extend(right.next()),
            (None, None) => break,
        }
    }
    out.shrink_to_fit();
    out
}

/// `[]` without samples, else `[clamped, sum, min, max, buckets]` where `buckets` is a byte string of pairs (distance
/// from the bucket before, count), each as LEB128: two bytes for most buckets.
impl<C, const DIGITS: u8> Encode<C> for Sketch<DIGITS> {
    fn encode<W: encode::Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), encode::Error<W::Error>> {
        if self.is_empty() {
            return e.array(0)?.ok();
        }
        let mut bytes = Vec::with_capacity(self.buckets.len() * 3);
        let mut before = 0;
        for &(bucket, count) in &self.buckets {
            put_leb128(u64::from(bucket - before), &mut bytes);
            put_leb128(count, &mut bytes);
            before = bucket;
        }
        e.array(5)?
            .u64(self.clamped)?
            .u64(self.sum_us)?
            .u64(self.min_us)?
            .u64(self.max_us)?
            .bytes(&bytes)?
            .ok()
    }
}

impl<'b, C, const DIGITS: u8> Decode<'b, C> for Sketch<DIGITS> {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
        let at = d.position();
        let fields = d.array()?.ok_or_else(|| decode::Error::message("sketch of unstated length").at(at))?;
        if fields == 0 {
            return Ok(Self::default());
        }
        let (clamped, sum_us, min_us, max_us) = (d.u64()?, d.u64()?, d.u64()?, d.u64()?);
        let buckets = buckets_from(d.bytes()?, Self::LAYOUT.last());
        let buckets = buckets.ok_or_else(|| decode::Error::message("bad buckets").at(at))?;
        for _ in 5..fields {
            d.skip()?;
        }
        let sketch = Self { buckets, sum_us, min_us, max_us, clamped };
        match sketch.check() {
            Ok(()) if !sketch.is_empty() => Ok(sketch),
            Ok(()) => Err(decode::Error::message("empty sketch in long form").at(at)),
            Err(why) => Err(decode::Error::message(why).at(at)),
        }
    }
}

/// The pairs of an encoded sketch; `None` where they are cut, too large or out of range.
fn buckets_from(mut bytes: &[u8], last: u32) -> Option<Vec<(u32, u64)>> {
    // Each pair has at least two bytes, and there are no more pairs than buckets.
    let mut buckets = Vec::with_capacity((bytes.len() / 2).min(last as usize + 1));
    let mut bucket = 0u64;
    while !bytes.is_empty() {
        bucket = bucket.checked_add(take_leb128(&mut bytes)?)?;
        let count = take_leb128(&mut bytes)?;
        if bucket > u64::from(last) || buckets.len() > last as usize {
            return None;
        }
        buckets.push((bucket as u32, count));
    }
    Some(buckets)
}

fn put_leb128(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Takes a LEB128 number off the front: at most ten bytes, nothing beyond 64 bits, no superfluous byte, so that equal
/// sketches are equal bytes.
fn take_leb128(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for place in 0..10 {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        let bits = u64::from(byte & 0x7f);
        if place == 9 && bits > 1 {
            return None;
        }
        value |= bits << (7 * place);
        if byte & 0x80 == 0 {
            return (byte != 0 || place == 0).then_some(value);
        }
    }
    None
}
