//! The disk of one node: what is durable, and what is on its way.

use std::collections::{BTreeMap, VecDeque};

use tidegate_core::bytes::Bytes;
use tidegate_core::id::DiskId;
use tidegate_core::store::{RowKey, StoreToken, Write};

use super::clock::Time;

/// One transaction on its way.
#[derive(Clone, Debug)]
struct Pending {
    token: StoreToken,
    writes: Vec<Write>,
    done_at: Time,
    fails: Option<Fails>,
}

/// How a transaction fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fails {
    /// Nothing of it is on the disk.
    Write,
    /// All of it is on the disk, and the sync says that it is not.
    Sync,
}

/// What a machine comes back with after it lost its power: an image can be taken and put back.
#[derive(Clone, Debug)]
struct Image {
    id: DiskId,
    boots: u32,
    rows: BTreeMap<RowKey, Bytes>,
}

/// How a transaction ended.
#[derive(Debug)]
pub enum Written {
    /// These rows are durable.
    Durable(Vec<Write>),
    /// It failed. These rows are on the disk nevertheless.
    Failed(Vec<Write>),
    /// Nothing was due.
    Nothing,
}

/// The disk. Transactions end in the order in which they were given.
#[derive(Clone, Debug)]
pub struct Disk {
    /// Its identity.
    pub id: DiskId,
    /// How often a process began on it.
    pub boots: u32,
    rows: BTreeMap<RowKey, Bytes>,
    pending: VecDeque<Pending>,
    given: u64,
    saved: Option<Box<Image>>,
    /// The next transaction fails.
    pub fails_next: Option<Fails>,
    /// A transaction has failed: nothing more is written for this process.
    failed: bool,
    /// Every transaction fails, by how many faults.
    pub full: u32,
    /// Power is lost when so many more transactions are durable; never where 0.
    pub crash_after: u32,
    /// No transaction ends.
    pub stalled: bool,
    /// Each takes this much longer, in us.
    pub slow_us: u64,
}

impl Disk {
    /// An empty one.
    pub const fn new(id: DiskId) -> Self {
        Self {
            id,
            boots: 0,
            rows: BTreeMap::new(),
            pending: VecDeque::new(),
            given: 0,
            saved: None,
            fails_next: None,
            failed: false,
            full: 0,
            crash_after: 0,
            stalled: false,
            slow_us: 0,
        }
    }

    /// How many transactions it was given in its life: the number of the next one.
    pub const fn given(&self) -> u64 {
        self.given
    }

    /// Takes a transaction that lasts `takes` ns. Tells when it ends, not before those given earlier.
    pub fn give(&mut self, now: Time, token: StoreToken, writes: Vec<Write>, takes: Time) -> Time {
        self.given += 1;
        if self.failed {
            return now;
        }
        let earliest = now + takes + self.slow_us * 1_000;
        let done_at = self.pending.back().map_or(earliest, |before| before.done_at.max(earliest));
        let fails = self.fails_next.take().or((self.full > 0).then_some(Fails::Write));
        self.pending.push_back(Pending { token, writes, done_at, fails });
        done_at
    }

    /// The first transaction ends, if it is due.
    pub fn end_first(&mut self, now: Time) -> (StoreToken, Written) {
        match self.pending.front() {
            Some(first) if !self.stalled && first.done_at <= now => {}
            _ => return (StoreToken::default(), Written::Nothing),
        }
        let Some(first) = self.pending.pop_front() else {
            return (StoreToken::default(), Written::Nothing);
        };
        if let Some(fails) = first.fails {
            self.pending.clear();
            self.failed = true;
            let kept = if fails == Fails::Sync { first.writes } else { Vec::new() };
            self.apply(&kept);
            return (first.token, Written::Failed(kept));
        }
        self.apply(&first.writes);
        (first.token, Written::Durable(first.writes))
    }

    /// The disk works again: tells when each waiting transaction ends.
    pub fn resume(&mut self, now: Time) -> Vec<Time> {
        self.stalled = false;
        for pending in &mut self.pending {
            pending.done_at = pending.done_at.max(now);
        }
        self.pending.iter().map(|pending| pending.done_at).collect()
    }

    /// A transaction is durable: whether power is lost now.
    pub const fn crashes_now(&mut self) -> bool {
        let last = self.crash_after == 1;
        self.crash_after = self.crash_after.saturating_sub(1);
        last
    }

    /// How many transactions are on their way: a crash leaves 0 to all of them.
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    /// Power is lost: the first `kept` of the waiting transactions are on the disk, the others never happened. Tells
    /// what was kept.
    pub fn crash(&mut self, kept: usize) -> Vec<Write> {
        let fates: Vec<Pending> = self.pending.drain(..).collect();
        let mut survived = Vec::new();
        for pending in fates.into_iter().take(kept).take_while(|pending| pending.fails.is_none()) {
            self.apply(&pending.writes);
            survived.extend(pending.writes);
        }
        (self.fails_next, self.crash_after) = (None, 0);
        survived
    }

    /// A process begins: counts it, durably.
    pub fn begin(&mut self) -> (u32, Vec<(RowKey, Bytes)>) {
        self.boots += 1;
        self.failed = false;
        (self.boots, self.rows.iter().map(|(key, value)| (key.clone(), value.clone())).collect())
    }

    /// Whether a durable row has these bytes in its key or value.
    pub fn has(&self, needle: &[u8]) -> bool {
        let within = |bytes: &[u8]| bytes.windows(needle.len()).any(|window| window == needle);
        self.rows.iter().any(|(key, value)| within(key) || within(value))
    }

    /// Everything on it is gone; it is another disk.
    pub fn wipe(&mut self, id: DiskId) {
        self.id = id;
        self.boots = 0;
        self.rows.clear();
    }

    /// Takes an image.
    pub fn save(&mut self) {
        self.saved = Some(Box::new(Image { id: self.id, boots: self.boots, rows: self.rows.clone() }));
    }

    /// Puts the image back; tells whether there is one.
    pub fn restore(&mut self) -> bool {
        match &self.saved {
            Some(image) => {
                (self.id, self.boots) = (image.id, image.boots);
                self.rows.clone_from(&image.rows);
                true
            }
            None => false,
        }
    }

    fn apply(&mut self, writes: &[Write]) {
        for write in writes {
            match &write.value {
                Some(value) => {
                    self.rows.insert(write.key.clone(), value.clone());
                }
                None => {
                    self.rows.remove(&write.key);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(key: u8, value: u8) -> Vec<Write> {
        vec![Write { key: Bytes(vec![key]), value: Some(Bytes(vec![value])) }]
    }

    fn disk() -> Disk {
        Disk::new(DiskId([1; 16]))
    }

    #[test]
    fn writes_end_in_order_and_a_crash_keeps_a_prefix() {
        let mut disk = disk();
        assert_eq!(disk.give(0, StoreToken(1), put(1, 1), 500), 500);
        assert_eq!(disk.give(10, StoreToken(2), put(2, 2), 100), 500, "not before the first");
        assert_eq!(disk.give(20, StoreToken(3), put(3, 3), 900), 920);
        assert!(matches!(disk.end_first(499), (_, Written::Nothing)));
        assert!(matches!(disk.end_first(500), (StoreToken(1), Written::Durable(_))));
        disk.crash(1);
        let (boot, rows) = disk.begin();
        assert_eq!(boot, 1);
        assert_eq!(rows.iter().map(|(key, _)| key.0[0]).collect::<Vec<_>>(), [1, 2]);
    }

    #[test]
    fn after_a_failure_nothing_more_is_written() {
        let mut disk = disk();
        disk.fails_next = Some(Fails::Write);
        disk.give(0, StoreToken(1), put(1, 1), 5);
        disk.give(0, StoreToken(2), put(2, 2), 5);
        assert!(matches!(disk.end_first(9), (StoreToken(1), Written::Failed(kept)) if kept.is_empty()));
        disk.give(9, StoreToken(3), put(3, 3), 5);
        assert!(matches!(disk.end_first(19), (_, Written::Nothing)), "given before the process knew of it");
        disk.crash(1);
        assert!(disk.begin().1.is_empty());
        disk.give(20, StoreToken(1), put(1, 1), 5);
        assert!(matches!(disk.end_first(29), (StoreToken(1), Written::Durable(_))), "a new process");
    }

    #[test]
    fn a_failed_sync_leaves_the_writes_and_a_full_disk_takes_none() {
        let mut disk = disk();
        disk.fails_next = Some(Fails::Sync);
        disk.give(0, StoreToken(1), put(1, 1), 5);
        assert!(matches!(disk.end_first(9), (StoreToken(1), Written::Failed(kept)) if kept.len() == 1));
        assert_eq!(disk.begin().1.len(), 1);
        disk.full = 1;
        for token in [2, 3] {
            disk.give(10, StoreToken(token), put(2, 2), 5);
            assert!(matches!(disk.end_first(19), (_, Written::Failed(kept)) if kept.is_empty()));
            disk.begin();
        }
        disk.full = 0;
        disk.give(20, StoreToken(4), put(3, 3), 5);
        assert!(matches!(disk.end_first(29), (StoreToken(4), Written::Durable(_))));
        assert_eq!(disk.begin().1.len(), 2);
    }

    #[test]
    fn power_is_lost_when_the_nth_write_is_durable() {
        let mut disk = disk();
        disk.crash_after = 2;
        assert!(!disk.crashes_now());
        assert!(disk.crashes_now());
        assert!(!disk.crashes_now(), "once");
    }

    #[test]
    fn a_stalled_disk_ends_its_writes_later() {
        let mut disk = disk();
        disk.stalled = true;
        disk.give(0, StoreToken(1), put(1, 1), 5);
        assert!(matches!(disk.end_first(5), (_, Written::Nothing)));
        assert_eq!(disk.resume(70), [70]);
        assert!(matches!(disk.end_first(70), (StoreToken(1), Written::Durable(_))));
    }

    #[test]
    fn an_image_brings_back_the_old_identity() {
        let mut disk = disk();
        disk.begin();
        disk.save();
        disk.wipe(DiskId([2; 16]));
        disk.begin();
        disk.begin();
        assert!(disk.restore());
        assert_eq!((disk.id, disk.boots), (DiskId([1; 16]), 1));
    }
}
