//! Transcripts of a tier of one voter: what it writes, when it applies, what a restart finds.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use expect_test::expect;

use super::state::{Add, Numbers, boot, voter};
use crate::bytes::Bytes;
use crate::effect::{Effect, Effects, HaltReason};
use crate::fault::FaultCode;
use crate::id::DiskId;
use crate::ledger::{Applied, Ledger, MAX_UNDECIDED};
use crate::store::{Store, StoreToken};
use crate::time::{Instant, Now};
use crate::wire::MINOR;

/// One voter with a disk that confirms when it is told to.
struct Alone {
    ledger: Ledger<Numbers>,
    store: Store,
    disk: BTreeMap<Bytes, Bytes>,
    writing: Vec<(StoreToken, Vec<crate::store::Write>)>,
    transcript: String,
    ms: u64,
}

impl Alone {
    fn start(boot_no: u32, disk: BTreeMap<Bytes, Bytes>) -> Self {
        Self::start_as(MINOR, boot_no, disk)
    }

    fn start_as(minor: u16, boot_no: u32, disk: BTreeMap<Bytes, Bytes>) -> Self {
        let mut boot = boot(0, boot_no, 0);
        boot.config.minor = minor;
        boot.rows = disk.clone().into_iter().collect();
        let ledger = Ledger::new(&boot, [voter(0)].into(), Numbers::default()).expect("good rows");
        let store = Store::default();
        let mut alone = Self { ledger, store, disk, writing: Vec::new(), transcript: String::new(), ms: 0 };
        alone.step("start", |ledger, now, store, out| ledger.start(now, store, out));
        alone
    }

    fn step(
        &mut self,
        what: &str,
        act: impl FnOnce(&mut Ledger<Numbers>, Now, &mut Store, &mut Effects),
    ) -> Applied {
        let now = Now { mono: Instant::from_nanos(self.ms * 1_000_000), ..Now::default() };
        let mut out = Effects::new();
        act(&mut self.ledger, now, &mut self.store, &mut out);
        let applied = self.ledger.settle(&mut self.store, &mut out);
        self.store.flush(&mut out);
        self.transcript += &format!("{what}\n");
        for effect in out {
            match effect {
                Effect::Store { token, writes } => {
                    let keys: Vec<String> = writes.iter().map(|write| key(&write.key)).collect();
                    self.transcript += &format!("  store {}: {}\n", token.0, keys.join(" "));
                    self.writing.push((token, writes));
                }
                Effect::Observe(observation) => self.transcript += &format!("  {observation:?}\n"),
                other => self.transcript += &format!("  {other:?}\n"),
            }
        }
        for (n, _) in &applied.decided {
            self.transcript += &format!("  decided {n}\n");
        }
        applied
    }

    fn propose(&mut self, number: u64) {
        self.step(&format!("propose {number}"), |ledger, now, store, out| {
            ledger.propose(now, Add(number), store, out).expect("there is room");
        });
    }

    fn stored(&mut self) {
        let (token, writes) = self.writing.remove(0);
        for write in writes {
            match write.value {
                Some(value) => drop(self.disk.insert(write.key, value)),
                None => drop(self.disk.remove(&write.key)),
            }
        }
        self.step(&format!("stored {}", token.0), |ledger, now, store, out| {
            store.stored(token, out);
            ledger.stored(now, store, out);
        });
    }

    fn holds(&self) -> bool {
        self.ledger.lease_holds(Now { mono: Instant::from_nanos(self.ms * 1_000_000), ..Now::default() })
    }
}

/// A row's key for people.
fn key(key: &[u8]) -> String {
    match key {
        [1, kind, ..] => String::from(char::from(*kind)),
        [2, index @ ..] => format!("log{}", u64::from_be_bytes(index.try_into().expect("an index"))),
        [3, rest @ ..] => format!("state{rest:?}"),
        other => format!("{other:?}"),
    }
}

#[test]
fn what_is_proposed_is_written_then_applied() {
    let mut alone = Alone::start(1, BTreeMap::new());
    alone.propose(7);
    assert!(!alone.holds(), "the renewal is not on disk");
    alone.stored();
    assert!(alone.holds());
    alone.stored();
    assert_eq!(alone.ledger.state().all(), [7].into());
    expect![[r#"
        start
          BecameLeader(Term(1))
          store 1: h h log1 log2
        propose 7
          store 2: log3
        stored 1
          store 3: d l p
        stored 2
          store 4: d state[7] p
          decided 2
    "#]]
    .assert_eq(&alone.transcript);
}

#[test]
fn a_restart_goes_on_from_the_rows() {
    let mut alone = Alone::start(1, BTreeMap::new());
    alone.propose(7);
    while !alone.writing.is_empty() {
        alone.stored();
    }
    let mut again = Alone::start(2, alone.disk);
    assert_eq!(again.ledger.state().all(), [7].into());
    assert_eq!(again.ledger.applied(), 3);
    again.propose(8);
    while !again.writing.is_empty() {
        again.stored();
    }
    assert_eq!(again.ledger.state().all(), [7, 8].into());
    assert!(again.holds(), "the new boot has a lease of its own");
    assert!(again.transcript.contains("LeaseEnded"), "and the old boot's is over");
}

#[test]
fn what_was_not_stored_never_happened() {
    let mut alone = Alone::start(1, BTreeMap::new());
    alone.stored();
    alone.propose(7);
    assert!(alone.ledger.state().all().is_empty(), "not applied before it is stored");
    let mut again = Alone::start(2, alone.disk);
    while !again.writing.is_empty() {
        again.stored();
    }
    assert!(again.ledger.state().all().is_empty());
}

#[test]
fn what_was_stored_and_not_applied_is_applied_after_the_restart() {
    let mut alone = Alone::start(1, BTreeMap::new());
    alone.propose(7);
    alone.stored();
    let (_, writes) = alone.writing.remove(0);
    for write in writes {
        alone.disk.insert(write.key, write.value.expect("an entry"));
    }
    let again = Alone::start(2, alone.disk);
    assert_eq!(again.ledger.state().all(), [7].into());
}

#[test]
fn a_disk_that_hangs_ends_the_lease_and_refuses_proposals() {
    let mut alone = Alone::start(1, BTreeMap::new());
    while !alone.writing.is_empty() {
        alone.stored();
    }
    assert!(alone.holds());
    for ms in (100..2_000).step_by(100) {
        alone.ms = ms;
        alone.step("wake", |ledger, now, store, out| ledger.wake(now, store, out));
    }
    assert!(!alone.holds(), "no renewal is on disk");
    let mut refused = None;
    for number in 0..=MAX_UNDECIDED as u64 {
        alone.step("propose", |ledger, now, store, out| {
            refused = ledger.propose(now, Add(number), store, out).err();
        });
    }
    assert_eq!(refused.map(|fault| fault.code), Some(FaultCode::NoQuorum));
    assert!(alone.ledger.undecided() <= MAX_UNDECIDED);
}

#[test]
fn a_lease_that_was_given_up_stays_so() {
    let mut alone = Alone::start(1, BTreeMap::new());
    while !alone.writing.is_empty() {
        alone.stored();
    }
    alone.ms = 300;
    alone.step("wake", |ledger, now, store, out| ledger.wake(now, store, out));
    alone.step("release", |ledger, now, store, out| ledger.release_lease(now, store, out));
    assert!(!alone.holds());
    while !alone.writing.is_empty() {
        alone.stored();
    }
    assert!(!alone.holds(), "a renewal that was under way does not bring it back");
    assert_eq!(alone.ledger.holders().count(), 0);
}

#[test]
fn the_log_is_cut_when_its_effects_are_rows() {
    let mut alone = Alone::start(1, BTreeMap::new());
    for number in 0..200 {
        alone.propose(number);
        while !alone.writing.is_empty() {
            alone.stored();
        }
    }
    let entries = alone.disk.keys().filter(|key| key[0] == crate::store::table::LOG).count();
    assert!(entries <= 17, "{entries} entries are kept");
    let again = Alone::start(2, alone.disk);
    assert_eq!(again.ledger.state().all().len(), 200);
}

#[test]
fn rows_that_do_not_fit_are_refused() {
    let mut alone = Alone::start(1, BTreeMap::new());
    alone.propose(7);
    while !alone.writing.is_empty() {
        alone.stored();
    }
    let halt = |rows: BTreeMap<Bytes, Bytes>, disk: u8| {
        let mut boot = boot(0, 2, 0);
        boot.rows = rows.into_iter().collect();
        boot.disk = DiskId([disk; 16]);
        Ledger::new(&boot, [voter(0)].into(), Numbers::default()).err()
    };
    assert_eq!(halt(alone.disk.clone(), 0), None);
    assert_eq!(halt(alone.disk.clone(), 1), Some(HaltReason::OldDisk));
    for key in alone.disk.keys() {
        let mut torn = alone.disk.clone();
        torn.insert(key.clone(), Bytes(alloc::vec![0xff, 0x00]));
        assert_eq!(halt(torn, 0), Some(HaltReason::BadRows), "{key:?} {key:02x?}");
    }
    for gone in [&[2, 0, 0, 0, 0, 0, 0, 0, 1][..], &[2, 0, 0, 0, 0, 0, 0, 0, 3], b"\x01h"] {
        let mut torn = alone.disk.clone();
        torn.remove(&Bytes(gone.to_vec())).expect("it was there");
        assert_eq!(halt(torn, 0), Some(HaltReason::BadRows), "without {gone:?}");
    }
}

#[test]
fn a_version_that_all_voters_have_run_stays_in_force() {
    let run = |minor, boot_no, disk| {
        let mut alone = Alone::start_as(minor, boot_no, disk);
        while !alone.writing.is_empty() {
            alone.stored();
        }
        alone
    };
    let old = run(MINOR - 1, 1, BTreeMap::new());
    assert_eq!(old.ledger.minor_in_force(), MINOR - 1);
    let new = run(MINOR, 2, old.disk);
    assert_eq!(new.ledger.minor_in_force(), MINOR);
    let again = run(MINOR, 3, new.disk);
    assert_eq!(again.ledger.minor_in_force(), MINOR);
    let mut older = boot(0, 4, 0);
    older.config.minor = MINOR - 1;
    older.rows = again.disk.into_iter().collect();
    let refused = Ledger::new(&older, [voter(0)].into(), Numbers::default());
    assert_eq!(refused.err(), Some(HaltReason::OldVersion));
}
