//! A dense histogram: where samples are recorded, one array index each.
//!
//! Takes single samples, gives a [`Sketch`]. About 180 KiB with 3 digits: executors have one for each shard, nobody
//! sends or keeps it.

use alloc::vec::Vec;
use hdrhistogram::Histogram;

use super::layout::Layout;
use super::sketch::Sketch;

/// Records microseconds, 1 us to 1 h, with so many decimal digits.
#[derive(Clone, Debug)]
pub struct Recorder<const DIGITS: u8 = 3> {
    counts: Histogram<u64>,
    sum_us: u64,
    min_us: u64,
    max_us: u64,
    clamped: u64,
}

/// Records one window.
pub type WindowRecorder = Recorder<2>;

impl<const DIGITS: u8> Default for Recorder<DIGITS> {
    fn default() -> Self {
        let counts = Histogram::new_with_bounds(Layout::LOWEST_US, Layout::HIGHEST_US, DIGITS)
            .expect("the bounds of the layout are valid");
        Self { counts, sum_us: 0, min_us: u64::MAX, max_us: 0, clamped: 0 }
    }
}

impl<const DIGITS: u8> Recorder<DIGITS> {
    /// Records a sample; one outside the range counts as the nearest value in it and as clamped.
    pub fn record(&mut self, us: u64) {
        let value = us.clamp(Layout::LOWEST_US, Layout::HIGHEST_US);
        self.clamped += u64::from(value != us);
        self.sum_us = self.sum_us.saturating_add(value);
        self.min_us = self.min_us.min(value);
        self.max_us = self.max_us.max(value);
        self.counts.saturating_record(value);
    }

    /// How many samples.
    pub fn count(&self) -> u64 {
        self.counts.len()
    }

    /// What was recorded so far.
    pub fn sketch(&self) -> Sketch<DIGITS> {
        if self.counts.is_empty() {
            return Sketch::default();
        }
        let layout = Layout::new(DIGITS);
        let buckets: Vec<(u32, u64)> = self
            .counts
            .iter_recorded()
            .map(|step| (layout.bucket(step.value_iterated_to()), step.count_at_value()))
            .collect();
        Sketch::from_parts(buckets, self.sum_us, (self.min_us, self.max_us), self.clamped)
    }

    /// What was recorded so far, and begins anew: how a window is cut.
    pub fn take(&mut self) -> Sketch<DIGITS> {
        let sketch = self.sketch();
        self.counts.reset();
        (self.sum_us, self.min_us, self.max_us, self.clamped) = (0, u64::MAX, 0, 0);
        sketch
    }
}
