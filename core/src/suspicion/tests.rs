//! Transcripts and laws of per-job suspicion.

use proptest::prelude::*;
use std::vec::Vec;

use super::extension::{BASE, GRACE, GRANTS_MAX};
use super::*;
use std::collections::BTreeSet;

fn node(ix: u8) -> NodeId {
    NodeId([ix; 16])
}

fn at(ms: u64) -> Instant {
    Instant::from_nanos(ms * 1_000_000)
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// 5 s to 30 s in a group of so many.
fn window(members: usize) -> Window {
    Window::new(ms(5_000), ms(30_000), members)
}

#[test]
fn the_timeout_follows_from_the_group_and_its_confirmations() {
    let table = |members| (0..5).map(|c| window(members).after(c).as_millis()).collect::<Vec<_>>();
    assert_eq!(table(1), [5_000; 5], "nobody could confirm");
    assert_eq!(table(2), [5_000; 5]);
    assert_eq!(table(3), [30_000, 5_000, 5_000, 5_000, 5_000]);
    assert_eq!(table(4), [30_000, 14_226, 5_000, 5_000, 5_000]);
    assert_eq!(table(9), [30_000, 17_500, 10_187, 5_000, 5_000]);
    for members in 3..6 {
        let k = window(members).needed();
        for c in 0..=k {
            let share = libm::log(c as f64 + 1.0) / libm::log(k as f64 + 1.0);
            let exact = 30_000.0 - 25_000.0 * share;
            assert!((window(members).after(c).as_millis() as f64 - exact).abs() <= 1.0);
        }
    }
}

#[test]
fn confirmations_only_ever_shorten_and_each_accuser_counts_once() {
    let mut job = JobSuspicions::default();
    assert_eq!(job.accuse(at(0), window(9), node(1), node(1)), Err(Refused::Own));
    assert_eq!(job.accuse(at(0), window(9), node(1), node(2)), Ok(Accused::Opened));
    assert_eq!(job.status(node(1)), Status::Suspected(at(30_000)));
    assert_eq!(job.accuse(at(100), window(9), node(1), node(2)), Ok(Accused::Known));
    assert_eq!(job.accuse(at(100), window(9), node(1), node(1)), Err(Refused::Own));
    for (by, deadline) in [(3, 17_500), (4, 10_187), (5, 5_000)] {
        assert_eq!(job.accuse(at(2_000), window(9), node(1), node(by)), Ok(Accused::Confirmed));
        let Status::Suspected(ends) = job.status(node(1)) else { panic!("not suspected") };
        assert_eq!(ends.as_nanos() / 1_000_000, deadline, "from when it was opened");
    }
    // However many go on confirming.
    for by in 6..31 {
        assert_eq!(job.accuse(at(4_000), window(9), node(1), node(by)), Ok(Accused::Known));
    }
    assert_eq!(job.expire(at(4_999)), None);
    assert_eq!((job.expire(at(5_000)), job.expire(at(5_000))), (Some(node(1)), None));
}

#[test]
fn a_verdict_stands_until_progress_or_oblivion() {
    let mut job = JobSuspicions::default();
    job.accuse(at(0), window(1), node(1), node(9)).unwrap();
    assert_eq!(job.expire(at(60_000)), Some(node(1)));
    assert_eq!((job.status(node(1)), job.next()), (Status::Dead, None));
    assert_eq!(job.accuse(at(61_000), window(1), node(1), node(9)), Ok(Accused::Known), "dead once");
    assert_eq!(job.heard(node(1)), Some(Ended::Death));
    assert_eq!((job.status(node(1)), job.heard(node(1))), (Status::Trusted, None));
    // A new episode.
    assert_eq!(job.accuse(at(70_000), window(1), node(1), node(9)), Ok(Accused::Opened));
    assert_eq!(job.tally(), (Tally { opened: 2, expired: 1, ..Tally::default() }, 1));
}

/// A refutation in the very tick of the expiry: whichever comes first decides, and both ends are clean.
#[test]
fn a_refutation_races_the_expiry() {
    let open = || {
        let mut job = JobSuspicions::default();
        job.accuse(at(0), window(1), node(1), node(9)).unwrap();
        job
    };
    let mut job = open();
    assert_eq!(job.heard(node(1)), Some(Ended::Suspicion));
    assert_eq!((job.expire(at(5_000)), job.status(node(1))), (None, Status::Trusted));
    let mut job = open();
    assert_eq!(job.expire(at(5_000)), Some(node(1)));
    assert_eq!((job.heard(node(1)), job.status(node(1))), (Some(Ended::Death), Status::Trusted));
}

/// The machine dies: its record goes at once and no verdict follows, in whichever order the two are noticed.
#[test]
fn global_death_clears_what_is_held_for_the_job() {
    let mut job = JobSuspicions::default();
    for ix in 1..=3 {
        job.accuse(at(0), window(1), node(ix), node(9)).unwrap();
    }
    assert_eq!(job.forget(node(2)), Some(Ended::Suspicion));
    assert_eq!(job.expire(at(5_000)), Some(node(1)));
    assert_eq!(job.forget(node(1)), Some(Ended::Death));
    assert_eq!((job.expire(at(5_000)), job.expire(at(5_000))), (Some(node(3)), None));
    assert_eq!(job.forget(node(3)), Some(Ended::Death));
    assert!(job.nodes.is_empty() && job.next().is_none(), "nothing is left");
    assert_eq!(job.tally(), (Tally { opened: 3, expired: 2, cleared: 1, ..Tally::default() }, 0));
}

#[test]
fn a_full_table_refuses_and_keeps_what_it_has() {
    let mut job = JobSuspicions::default();
    let numbered = |ix: usize| {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&(ix as u64 + 1).to_be_bytes());
        NodeId(id)
    };
    for ix in 0..NODES_MAX {
        assert_eq!(job.accuse(at(0), window(5), numbered(ix), node(0xff)), Ok(Accused::Opened));
    }
    assert_eq!(job.accuse(at(0), window(5), numbered(NODES_MAX), node(0xff)), Err(Refused::Full));
    assert_eq!(job.accuse(at(0), window(5), numbered(3), node(0xfe)), Ok(Accused::Confirmed));
    job.heard(numbered(3));
    assert_eq!(job.accuse(at(0), window(5), numbered(NODES_MAX), node(0xff)), Ok(Accused::Opened));
}

fn plea(seq: u64, done: u64) -> Plea {
    Plea { seq, done, of: Some(1_000) }
}

#[test]
fn grants_halve_and_end() {
    let mut job = JobSuspicions::default();
    assert_eq!(job.extend(at(0), node(1), plea(1, 1)), Err(Denial::NotSuspected));
    job.accuse(at(0), window(9), node(1), node(9)).unwrap();
    let mut end_ms = 30_000;
    for (n, time_ms) in [(1, 15_000), (2, 7_500), (3, 3_750), (4, 1_875), (5, 1_000)] {
        let left = GRANTS_MAX - n as u32;
        let grant = Grant { time: ms(time_ms), left, warning: left <= 1 };
        assert_eq!(job.extend(at(1_000), node(1), plea(n, n)), Ok(grant));
        assert_eq!(job.extend(at(1_500), node(1), plea(n, n + 7)), Ok(grant), "a repeat grants nothing");
        end_ms += time_ms;
        assert_eq!(job.status(node(1)), Status::Suspected(at(end_ms)));
    }
    let exhausted = Err(Denial::Exhausted { grace_ends: at(2_000) + GRACE });
    assert_eq!(job.extend(at(2_000), node(1), plea(6, 600)), exhausted);
    assert_eq!(job.extend(at(9_000), node(1), plea(7, 700)), exhausted, "the grace runs from the first");
    // A confirmation shortens the suspicion and leaves the grants.
    job.accuse(at(2_000), window(9), node(1), node(8)).unwrap();
    let Status::Suspected(ends) = job.status(node(1)) else { panic!("not suspected") };
    assert_eq!(ends, at(17_500 + 29_125));
}

#[test]
fn without_progress_there_is_no_grant() {
    let mut extension = Extension::default();
    assert!(extension.plead(at(0), plea(1, 0)).is_ok(), "the first needs no earlier progress");
    assert_eq!(extension.plead(at(0), plea(2, 0)), Err(Denial::NoProgress { before: 0 }));
    let bad = Plea { seq: 3, done: 9, of: Some(8) };
    assert_eq!(extension.plead(at(0), bad), Err(Denial::BadProgress));
    assert_eq!(extension.plead(at(0), plea(1, 5)), Err(Denial::Old));
    assert!(extension.plead(at(0), Plea { seq: 4, done: 1, of: None }).is_ok(), "one more is progress");
    let total = extension.total();
    for seq in 5..8 {
        assert_eq!(extension.plead(at(7), plea(seq, 1)), Err(Denial::NoProgress { before: 1 }));
    }
    // Three in a row: no more credit, even with progress.
    let exhausted = Err(Denial::Exhausted { grace_ends: at(7) + GRACE });
    assert_eq!(extension.plead(at(9), plea(8, 500)), exhausted);
    assert_eq!(extension.total(), total);
}

#[derive(Clone, Debug)]
enum Op {
    Accuse(u8, u8, usize),
    Heard(u8),
    Forget(u8),
    Extend(u8, u64, u64),
    Pass(u64),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (0..6u8, 0..9u8, 1..9usize).prop_map(|(node, by, members)| Op::Accuse(node, by, members)),
        1 => (0..6u8).prop_map(Op::Heard),
        1 => (0..6u8).prop_map(Op::Forget),
        2 => (0..6u8, 0..20u64, 0..9u64).prop_map(|(node, seq, done)| Op::Extend(node, seq, done)),
        3 => (0..12_000u64).prop_map(Op::Pass),
    ]
}

proptest! {
    /// Every suspicion ends once; deadlines keep inside their bounds; nothing that was due stays; a table whose nodes are
    /// all forgotten is empty.
    #[test]
    fn every_suspicion_ends_once(ops in proptest::collection::vec(op(), 0..200)) {
        let (mut job, mut now) = (JobSuspicions::default(), 0);
        let mut dead = BTreeSet::new();
        for op in ops {
            match op {
                Op::Accuse(ix, by, members) => {
                    let before = job.status(node(ix));
                    let accused = job.accuse(at(now), window(members), node(ix), node(by));
                    prop_assert_eq!(accused == Ok(Accused::Opened), before == Status::Trusted && ix != by);
                    if let (Status::Suspected(before), Status::Suspected(after)) = (before, job.status(node(ix))) {
                        prop_assert!(after <= before, "a confirmation never postpones");
                    }
                }
                Op::Heard(ix) => {
                    let ended = job.heard(node(ix));
                    prop_assert_eq!(ended == Some(Ended::Death), dead.remove(&ix));
                }
                Op::Forget(ix) => {
                    job.forget(node(ix));
                    dead.remove(&ix);
                }
                Op::Extend(ix, seq, done) => {
                    let before = job.status(node(ix));
                    let granted = job.extend(at(now), node(ix), plea(seq, done));
                    match (before, job.status(node(ix))) {
                        (Status::Suspected(before), Status::Suspected(after)) => prop_assert!(after >= before),
                        (before, after) => prop_assert!(before == after && granted == Err(Denial::NotSuspected)),
                    }
                }
                Op::Pass(ms) => {
                    now += ms;
                    while let Some(verdict) = job.expire(at(now)) {
                        prop_assert!(dead.insert(verdict.0[0]), "dead once in each episode");
                    }
                    prop_assert!(job.next().is_none_or(|next| next > at(now)));
                }
            }
            let (_, open) = job.tally();
            prop_assert_eq!(open, job.nodes.iter().filter(|it| !it.dead).count() as u64);
            for standing in &job.nodes {
                prop_assert_eq!(job.find(standing.node).map(|ix| job.nodes[ix as usize].node), Some(standing.node));
                if !standing.dead {
                    prop_assert!(job.next().is_some_and(|next| next <= standing.deadline(&job.extensions)), "nobody is overlooked");
                    prop_assert!(granted(&job.extensions, standing.node) < BASE, "29.125 s at most");
                }
            }
            prop_assert_eq!(job.index.len(), job.nodes.len());
            prop_assert!(job.extensions.keys().all(|node| job.find(*node).is_some_and(|ix| job.nodes[ix as usize].pleads)));
        }
        for ix in 0..6 {
            job.forget(node(ix));
        }
        prop_assert!(job.nodes.is_empty() && job.next().is_none());
    }
}
