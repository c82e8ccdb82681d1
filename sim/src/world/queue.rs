//! The event queue: entries come out by (time, order of insertion).
//!
//! Near entries lie in buckets of a ring, one bit each tells whether a bucket has any; far ones in a heap until the ring
//! reaches them. The bucket that is being emptied is kept sorted, so an entry costs one insertion and one sort of a
//! handful of neighbours, whatever the number of nodes.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Width of a bucket: 2^17 ns, about 131 us: less than most latencies, so that what is sent goes to a later bucket.
const WIDTH_BITS: u32 = 17;
/// Buckets in the ring: they cover about 0.54 s.
const BUCKETS: usize = 4096;
const WORDS: usize = BUCKETS / 64;

struct Entry<T> {
    at: u64,
    order: u64,
    item: T,
}

impl<T> PartialEq for Entry<T> {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}
impl<T> Eq for Entry<T> {}
impl<T> PartialOrd for Entry<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl<T> Ord for Entry<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}
impl<T> Entry<T> {
    const fn key(&self) -> (u64, u64) {
        (self.at, self.order)
    }
}

/// The queue. Times are nanoseconds of the world.
pub struct Queue<T> {
    /// The bucket that is being emptied, last entry first.
    current: Vec<Entry<T>>,
    /// Which bucket `current` was, counted from time 0.
    bucket: u64,
    ring: Vec<Vec<Entry<T>>>,
    filled: [u64; WORDS],
    near: usize,
    far: BinaryHeap<Reverse<Entry<T>>>,
    order: u64,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self {
            current: Vec::new(),
            bucket: 0,
            ring: (0..BUCKETS).map(|_| Vec::new()).collect(),
            filled: [0; WORDS],
            near: 0,
            far: BinaryHeap::new(),
            order: 0,
        }
    }
}

impl<T> Queue<T> {
    /// Adds an entry. One in the past comes out next, at its own time.
    pub fn push(&mut self, at: u64, item: T) {
        self.order += 1;
        let entry = Entry { at, order: self.order, item };
        let bucket = at >> WIDTH_BITS;
        if bucket <= self.bucket {
            let place = self.current.partition_point(|other| other.key() > entry.key());
            self.current.insert(place, entry);
        } else if bucket - self.bucket < BUCKETS as u64 {
            self.put_near(bucket, entry);
        } else {
            self.far.push(Reverse(entry));
        }
    }

    fn put_near(&mut self, bucket: u64, entry: Entry<T>) {
        let slot = bucket as usize % BUCKETS;
        self.ring[slot].push(entry);
        self.filled[slot / 64] |= 1 << (slot % 64);
        self.near += 1;
    }

    /// Takes the first entry.
    pub fn pop(&mut self) -> Option<(u64, T)> {
        if self.current.is_empty() && !self.advance() {
            return None;
        }
        self.current.pop().map(|entry| (entry.at, entry.item))
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
        let far = self.far.peek().map(|Reverse(entry)| entry.at >> WIDTH_BITS);
        let next = match (self.next_filled(), far) {
            (None, None) => return false,
            (Some(near), Some(far)) => near.min(far),
            (Some(bucket), None) | (None, Some(bucket)) => bucket,
        };
        self.bucket = next;
        while let Some(Reverse(entry)) = self.far.peek() {
            let bucket = entry.at >> WIDTH_BITS;
            if bucket - next >= BUCKETS as u64 {
                break;
            }
            if let Some(Reverse(entry)) = self.far.pop() {
                self.put_near(bucket, entry);
            }
        }
        let slot = next as usize % BUCKETS;
        self.filled[slot / 64] &= !(1 << (slot % 64));
        std::mem::swap(&mut self.current, &mut self.ring[slot]);
        self.near -= self.current.len();
        self.current.sort_unstable_by_key(|entry| Reverse(entry.key()));
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
