//! The event queue: entries come out by (time, order of insertion).
//!
//! Items lie in a slab from their insertion to their end; what is sorted and moved are their times and places. Near
//! entries are chained in buckets of a ring, one bit each tells whether a bucket has any; far ones lie in a heap until
//! the ring reaches them. A chain runs from the newest entry to the oldest, and everything far reaches a bucket before
//! anything near is added to it: so a stable sort by time alone is the order. The bucket that is being emptied is kept
//! sorted, and an entry costs one insertion and one sort of a handful of neighbours, whatever the number of nodes.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Width of a bucket: 2^17 ns, about 131 us: less than most latencies, so that what is sent goes to a later bucket.
const WIDTH_BITS: u32 = 17;
/// Buckets in the ring: they cover about 0.54 s.
const BUCKETS: usize = 4096;
const WORDS: usize = BUCKETS / 64;
/// The end of a chain.
const NONE: u32 = u32::MAX;

/// A place of the slab.
struct Slot<T> {
    at: u64,
    /// The next one in its chain: of its bucket, or of the free places.
    next: u32,
    /// Empty where it is free.
    item: Option<T>,
}

/// The queue. Times are nanoseconds of the world.
pub struct Queue<T> {
    slots: Vec<Slot<T>>,
    /// The first free place.
    free: u32,
    /// Times and places of the bucket that is being emptied, last entry first.
    current: Vec<(u64, u32)>,
    /// Which bucket `current` was, counted from time 0.
    bucket: u64,
    /// The newest entry of each bucket.
    ring: Vec<u32>,
    filled: [u64; WORDS],
    near: usize,
    /// Time, order of insertion, place.
    far: BinaryHeap<Reverse<(u64, u64, u32)>>,
    /// Numbers what goes into `far`.
    order: u64,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self {
            slots: Vec::new(),
            free: NONE,
            current: Vec::new(),
            bucket: 0,
            ring: vec![NONE; BUCKETS],
            filled: [0; WORDS],
            near: 0,
            far: BinaryHeap::new(),
            order: 0,
        }
    }
}

impl<T> Queue<T> {
    /// Adds an entry. One in the past comes out next, at its own time.
    #[inline]
    pub fn push(&mut self, at: u64, item: T) {
        let place = self.keep(at, item);
        let bucket = at >> WIDTH_BITS;
        if bucket <= self.bucket {
            let before = self.current.partition_point(|&(other, _)| other > at);
            self.current.insert(before, (at, place));
        } else if bucket - self.bucket < BUCKETS as u64 {
            self.chain(bucket, place);
        } else {
            self.order += 1;
            self.far.push(Reverse((at, self.order, place)));
        }
    }

    /// Lays an item into a free place.
    #[inline]
    fn keep(&mut self, at: u64, item: T) -> u32 {
        let place = self.free;
        if let Some(slot) = self.slots.get_mut(place as usize) {
            self.free = slot.next;
            slot.at = at;
            slot.item = Some(item);
            return place;
        }
        let place = u32::try_from(self.slots.len()).ok().filter(|&place| place != NONE);
        self.slots.push(Slot { at, next: NONE, item: Some(item) });
        place.expect("4 G entries do not fit into memory")
    }

    /// Puts a place before its bucket's chain.
    #[inline]
    fn chain(&mut self, bucket: u64, place: u32) {
        let slot = bucket as usize % BUCKETS;
        self.slots[place as usize].next = std::mem::replace(&mut self.ring[slot], place);
        self.filled[slot / 64] |= 1 << (slot % 64);
        self.near += 1;
    }

    /// Takes the first entry.
    #[inline]
    pub fn pop(&mut self) -> Option<(u64, T)> {
        if self.current.is_empty() && !self.advance() {
            return None;
        }
        let (at, place) = self.current.pop()?;
        let slot = &mut self.slots[place as usize];
        slot.next = std::mem::replace(&mut self.free, place);
        slot.item.take().map(|item| (at, item))
    }

    /// How many entries wait.
    pub fn len(&self) -> usize {
        self.current.len() + self.near + self.far.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Goes to the next bucket that has entries.
    fn advance(&mut self) -> bool {
        let far = self.far.peek().map(|&Reverse((at, ..))| at >> WIDTH_BITS);
        let next = match (self.next_filled(), far) {
            (None, None) => return false,
            (Some(near), Some(far)) => near.min(far),
            (Some(bucket), None) | (None, Some(bucket)) => bucket,
        };
        self.bucket = next;
        while let Some(&Reverse((at, _, place))) = self.far.peek() {
            let bucket = at >> WIDTH_BITS;
            if bucket - next >= BUCKETS as u64 {
                break;
            }
            self.far.pop();
            self.chain(bucket, place);
        }
        let slot = next as usize % BUCKETS;
        self.filled[slot / 64] &= !(1 << (slot % 64));
        let mut place = std::mem::replace(&mut self.ring[slot], NONE);
        while let Some(entry) = self.slots.get(place as usize) {
            self.current.push((entry.at, place));
            place = entry.next;
        }
        self.near -= self.current.len();
        self.current.sort_by_key(|&(at, _)| Reverse(at));
        true
    }

    /// The next bucket of the ring that has entries, counted from time 0.
    fn next_filled(&self) -> Option<u64> {
        if self.near == 0 {
            return None;
        }
        let start = (self.bucket as usize + 1) % BUCKETS;
        let first = self.filled[start / 64] & (u64::MAX << (start % 64));
        let words = (1..=WORDS).map(|step| (start / 64 + step) % WORDS);
        let slot = std::iter::once((start / 64, first))
            .chain(words.map(|word| (word, self.filled[word])))
            .find(|(_, bits)| *bits != 0)
            .map(|(word, bits)| word * 64 + bits.trailing_zeros() as usize)?;
        let ahead = (slot + BUCKETS - start) % BUCKETS;
        Some(self.bucket + 1 + ahead as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The reference: a sorted list.
    #[test]
    fn entries_come_out_by_time_then_insertion() {
        let mut queue = Queue::default();
        let mut expected = Vec::new();
        let mut x = 0x1234_5678_9abc_def1u64;
        let mut draw = |bound: u64| {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            x % bound
        };
        let (mut now, mut order) = (0u64, 0u64);
        let mut taken = 0;
        for round in 0..20_000 {
            for _ in 0..draw(4) {
                let span = [1_000, 200_000, 40_000_000, 2_000_000_000, 90_000_000_000][draw(5) as usize];
                // Coarse steps make equal times.
                let at = now + draw(span) / 500 * 500;
                order += 1;
                queue.push(at, order);
                expected.push((at, order));
            }
            if round % 2 == 0 {
                expected.sort_unstable();
                match queue.pop() {
                    Some(first) => {
                        assert_eq!(first, expected.remove(0));
                        now = first.0;
                        taken += 1;
                    }
                    None => assert!(expected.is_empty()),
                }
            }
            assert_eq!(queue.len(), expected.len());
        }
        assert!(taken > 9_000);
        expected.sort_unstable();
        for first in expected {
            assert_eq!(queue.pop(), Some(first));
        }
        assert!(queue.is_empty() && queue.pop().is_none());
    }

    #[test]
    fn what_is_late_comes_out_at_once() {
        let mut queue = Queue::default();
        queue.push(5_000_000_000, 'a');
        assert_eq!(queue.pop(), Some((5_000_000_000, 'a')));
        queue.push(6_000_000_000, 'b');
        queue.push(1, 'c');
        assert_eq!(queue.pop(), Some((1, 'c')));
        assert_eq!(queue.pop(), Some((6_000_000_000, 'b')));
    }
}
