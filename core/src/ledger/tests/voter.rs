//! One voter of three, spoken to by hand: what it grants, what it keeps, what it refuses.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::state::{Add, Numbers, boot, voter};
use crate::bytes::Bytes;
use crate::effect::{Effect, Effects};
use crate::id::{BootNo, DiskId, Term};
use crate::ledger::proposals::{Command, Proposal};
use crate::ledger::{Ledger, LogBody, LogMessage, LogPos, LogRecord, ProposalId, rows};
use crate::observe::{Observation, Stale};
use crate::store::Store;
use crate::time::{Instant, Now};
use crate::wire::Message;

/// Voter 0, whose disk is at once.
struct Voter {
    ledger: Ledger<Numbers>,
    store: Store,
    disk: BTreeMap<Bytes, Bytes>,
    ms: u64,
}

impl Voter {
    fn start(boot_no: u32, disk: BTreeMap<Bytes, Bytes>) -> Self {
        let mut boot = boot(0, boot_no, 0);
        boot.rows = disk.clone().into_iter().collect();
        let voters = (0..3).map(voter).collect();
        let ledger = Ledger::new(&boot, voters, Numbers::default()).expect("good rows");
        let mut started = Self { ledger, store: Store::default(), disk, ms: 0 };
        started.step(|ledger, now, store, out| ledger.start(now, store, out));
        started
    }

    /// Performs a step and all that the disk does then; what the voter says and notices.
    fn step(
        &mut self,
        act: impl FnOnce(&mut Ledger<Numbers>, Now, &mut Store, &mut Effects),
    ) -> (Vec<LogBody>, Vec<Observation>) {
        let now = Now { mono: Instant::from_nanos(self.ms * 1_000_000), ..Now::default() };
        let mut out = Effects::new();
        act(&mut self.ledger, now, &mut self.store, &mut out);
        self.ledger.settle(&mut self.store, &mut out);
        self.store.flush(&mut out);
        let (mut said, mut noticed) = (Vec::new(), Vec::new());
        while !out.is_empty() {
            for effect in core::mem::take(&mut out) {
                match effect {
                    Effect::Store { token, writes } => {
                        for write in writes {
                            match write.value {
                                Some(value) => drop(self.disk.insert(write.key, value)),
                                None => drop(self.disk.remove(&write.key)),
                            }
                        }
                        self.store.stored(token, &mut out);
                        self.ledger.stored(now, &mut self.store, &mut out);
                        self.ledger.settle(&mut self.store, &mut out);
                        self.store.flush(&mut out);
                    }
                    Effect::Send { message, .. } => match *message {
                        Message::Log(message) => said.push(message.body),
                        other => panic!("{other:?}"),
                    },
                    Effect::Observe(observation) => noticed.push(observation),
                    other => panic!("{other:?}"),
                }
            }
        }
        (said, noticed)
    }

    fn hear(&mut self, from: usize, body: LogBody) -> (Vec<LogBody>, Vec<Observation>) {
        let message = LogMessage { boot: BootNo(1), disk: DiskId([from as u8; 16]), body };
        self.step(|ledger, now, store, out| ledger.receive(now, voter(from), message, store, out))
    }

    /// Voter 1 leads in this term and says that everything is committed.
    fn append(
        &mut self,
        term: u64,
        prev: LogPos,
        entries: Vec<LogRecord>,
    ) -> (Vec<LogBody>, Vec<Observation>) {
        let commit = prev.index + entries.len() as u64;
        self.hear(1, LogBody::Append { term: Term(term), commit, prev, entries, checkpoint: None })
    }
}

fn at(term: u64, index: u64) -> LogPos {
    LogPos { term: Term(term), index }
}

fn opens(term: u64) -> LogRecord {
    LogRecord { term: Term(term), payload: None }
}

fn adds(term: u64, n: u64, number: u64) -> LogRecord {
    let id = ProposalId { node: voter(1), boot: BootNo(1), n };
    let proposal = Proposal { id, command: Command::Tier(Add(number)) };
    LogRecord { term: Term(term), payload: Some(Bytes(rows::encode(&proposal))) }
}

const REFUSED: Observation = Observation::Ignored(Stale::Invalid);

#[test]
fn a_vote_outlives_the_process() {
    let vote = LogBody::Vote { term: Term(5), last: at(4, 9) };
    let granted = [LogBody::VoteReply { term: Term(5), granted: true }];
    let mut first = Voter::start(1, BTreeMap::new());
    assert_eq!(first.hear(1, vote.clone()).0, granted);
    let mut again = Voter::start(2, first.disk);
    assert_eq!(again.hear(2, vote.clone()).0, [], "it has voted for another in this term");
    assert_eq!(again.hear(1, vote).0, granted, "the same answer to the same candidate");
}

#[test]
fn who_hears_a_leader_helps_nobody_against_it() {
    let mut here = Voter::start(1, BTreeMap::new());
    here.append(1, at(0, 0), alloc::vec![opens(1)]);
    let ask = LogBody::PreVote { term: Term(2), last: at(1, 1) };
    let answer = |granted| [LogBody::PreVoteReply { asked: Term(2), term: Term(1), granted }].to_vec();
    here.ms = 400;
    assert_eq!(here.hear(2, ask.clone()).0, answer(false));
    here.ms = 600;
    assert_eq!(here.hear(2, ask.clone()).0, answer(true), "the leader is silent");
    here.append(1, at(1, 1), Vec::new());
    assert_eq!(here.hear(2, ask.clone()).0, answer(false), "and is back");
    here.ledger.peer_alive(voter(1), false);
    assert_eq!(here.hear(2, ask).0, answer(true), "membership says that it is dead");
    let behind = LogBody::PreVote { term: Term(2), last: at(0, 0) };
    assert_eq!(here.hear(2, behind).0, answer(false), "a candidate that lacks entries");
    assert_eq!(here.ledger.term(), Term(1), "questions change nothing");
}

#[test]
fn a_rumour_about_a_leader_that_is_heard_starts_no_campaign() {
    for boot_no in 1..=20 {
        let mut here = Voter::start(boot_no, BTreeMap::new());
        here.ms = 1_000;
        here.append(1, at(0, 0), alloc::vec![opens(1)]);
        for _ in 0..100 {
            // Just after a heartbeat, so that the next one is a whole tick away.
            here.ledger.peer_alive(voter(1), false);
            for _ in 0..10 {
                here.ms += 10;
                let (said, _) = here.step(|ledger, now, store, out| ledger.wake(now, store, out));
                assert!(!said.iter().any(|body| matches!(body, LogBody::PreVote { .. })), "boot {boot_no}");
            }
            here.append(1, at(1, 1), Vec::new());
        }
        here.ledger.peer_alive(voter(1), false);
        let mut campaigns = false;
        for _ in 0..66 {
            here.ms += 10;
            let (said, _) = here.step(|ledger, now, store, out| ledger.wake(now, store, out));
            campaigns |= said.iter().any(|body| matches!(body, LogBody::PreVote { .. }));
        }
        assert!(campaigns, "the leader is silent, and its silence is not waited for, boot {boot_no}");
    }
}

#[test]
fn a_proposal_that_is_in_the_log_twice_is_applied_once() {
    let mut here = Voter::start(1, BTreeMap::new());
    here.append(1, at(0, 0), alloc::vec![opens(1), adds(1, 1, 7), adds(1, 1, 7), adds(1, 3, 8)]);
    assert_eq!(here.ledger.applied(), 4);
    here.append(1, at(1, 4), alloc::vec![adds(1, 2, 9), adds(1, 3, 8), adds(1, 1, 7)]);
    assert_eq!(here.ledger.state().all(), [7, 8, 9].into());
    assert_eq!(here.ledger.applied(), 7);
}

#[test]
fn what_is_committed_here_is_not_talked_away() {
    let mut here = Voter::start(1, BTreeMap::new());
    here.append(3, at(0, 0), alloc::vec![opens(1), adds(1, 1, 7), adds(1, 2, 8)]);
    assert_eq!(here.ledger.applied(), 3);
    for (prev, entries) in [
        (at(2, 3), Vec::new()),
        (at(2, 2), alloc::vec![opens(3)]),
        (at(1, 1), alloc::vec![opens(3), adds(3, 3, 9)]),
        (at(0, 0), alloc::vec![opens(2)]),
    ] {
        let (said, noticed) = here.append(3, prev, entries);
        assert_eq!((said, noticed), (Vec::new(), alloc::vec![REFUSED]), "{prev:?}");
    }
    assert_eq!(here.ledger.last(), at(1, 3));
    let (said, _) = here.append(3, at(1, 3), alloc::vec![opens(3)]);
    assert_eq!(said, [LogBody::AppendReply { term: Term(3), last: at(3, 4) }]);
}

#[test]
fn entries_that_no_leader_could_send_are_refused() {
    let mut here = Voter::start(1, BTreeMap::new());
    let junk = LogRecord { term: Term(1), payload: Some(Bytes(alloc::vec![1, 2, 3])) };
    let large = LogRecord { term: Term(1), payload: Some(Bytes(alloc::vec![0; 70_000])) };
    for (term, prev, entries) in [
        (1, at(0, 0), alloc::vec![adds(1, 1, 7)]),
        (1, at(0, 0), alloc::vec![opens(1), opens(1)]),
        (1, at(0, 0), alloc::vec![opens(1), adds(0, 1, 7)]),
        (1, at(0, 0), alloc::vec![opens(2)]),
        (1, at(2, 1), Vec::new()),
        (1, at(1, u64::MAX), Vec::new()),
        (u64::MAX, at(0, 0), Vec::new()),
        (1, at(0, 0), alloc::vec![opens(1), junk]),
        (1, at(0, 0), alloc::vec![opens(1), large]),
    ] {
        let commit = prev.index;
        let append = LogBody::Append { term: Term(term), commit, prev, entries, checkpoint: None };
        assert_eq!(here.hear(1, append).1, [REFUSED], "{term} {prev:?}");
    }
    assert_eq!((here.ledger.term(), here.ledger.last()), (Term(0), at(0, 0)));
}
