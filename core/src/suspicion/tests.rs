//! Transcripts and laws of per-job suspicion.

use proptest::prelude::*;
use std::vec::Vec;

use super::extension::{GRACE, GRANTS_MAX};
use super::*;
use std::collections::BTreeSet;

/// The silence that is allowed.
const BASE: Duration = Duration::from_secs(30);

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
    Plea { seq, done: Some(done), of: Some(1_000), ..Plea::default() }
}

fn denied(denial: Denial, before: u64, now: u64) -> Result<Grant, Denied> {
    Err(Denied { denial, before, now })
}

#[test]
fn grants_halve_and_end() {
    let mut job = JobSuspicions::default();
    let silent_at = |job: &JobSuspicions| job.silent_at(node(1), at(30_000)).as_nanos() / 1_000_000;
    let mut end_ms = 30_000;
    for (n, time_ms) in [(1, 15_000), (2, 7_500), (3, 3_750), (4, 1_875), (5, 1_000)] {
        let left = GRANTS_MAX - n as u8;
        let grant = Grant { time_ms, left, warning: left <= 1 };
        assert_eq!(job.plead(at(1_000), BASE, node(1), plea(n, n)), Ok(grant));
        assert_eq!(job.plead(at(1_500), BASE, node(1), plea(n, n + 7)), Ok(grant), "a repeat grants nothing");
        end_ms += u64::from(time_ms);
        assert_eq!(silent_at(&job), end_ms);
    }
    assert_eq!((end_ms, job.extended().collect::<Vec<_>>()), (59_125, [node(1)].to_vec()));
    assert_eq!(job.silent_at(node(2), at(7)), at(7), "nobody else has more time");
    assert_eq!(job.plead(at(58_000), BASE, node(1), plea(6, 600)), denied(Denial::AllGranted, 5, 600));
    assert_eq!(silent_at(&job), 58_000 + GRACE.as_millis());
    for seq in 7..20 {
        assert_eq!(job.plead(at(60_000), BASE, node(1), plea(seq, 700)), denied(Denial::AllGranted, 5, 700));
    }
    assert_eq!(silent_at(&job), 58_000 + GRACE.as_millis(), "the grace runs from the first");

    assert_eq!(job.heard(node(1)), None);
    assert_eq!((silent_at(&job), job.extended().count()), (30_000, 0), "progress ends it");
    assert!(job.plead(at(61_000), BASE, node(1), plea(20, 0)).is_ok(), "and begins anew");
}

#[test]
fn who_is_suspected_gets_nothing_and_a_suspicion_ends_what_was_granted() {
    let mut job = JobSuspicions::default();
    assert!(job.plead(at(0), BASE, node(1), plea(1, 1)).is_ok());
    job.accuse(at(0), window(1), node(1), node(9)).unwrap();
    assert_eq!(job.plead(at(1), BASE, node(1), plea(2, 2)), denied(Denial::TooLate, 0, 0));
    assert_eq!((job.expire(at(5_000)), job.extended().count()), (Some(node(1)), 0));
    assert_eq!(job.plead(at(6_000), BASE, node(1), plea(3, 3)), denied(Denial::TooLate, 0, 0));
}

#[test]
fn without_progress_there_is_no_grant() {
    let mut extension = Extension::default();
    assert!(extension.plead(at(0), BASE, plea(1, 400)).is_ok(), "the first needs no earlier progress");
    assert_eq!(extension.plead(at(0), BASE, plea(2, 400)), denied(Denial::NoProgress, 400, 400));
    assert_eq!(
        extension.plead(at(0), BASE, plea(1, 500)).map(|grant| grant.left),
        Err(Denied::plain(Denial::Old))
    );
    let same_share = |seq, done| Plea { permille: 400, ..plea(seq, done) };
    assert!(
        extension.plead(at(0), BASE, same_share(3, 401)).is_ok(),
        "one item more is progress, whatever the share"
    );
    let moved = extension.moved(at(0));
    for seq in 4..7 {
        let more = Plea { permille: 900, ..plea(seq, 401) };
        assert_eq!(extension.plead(at(7), BASE, more), denied(Denial::NoProgress, 401, 401), "items decide");
    }
    // Three in a row: nothing any more, even for progress, and no grace.
    assert_eq!(extension.plead(at(9), BASE, plea(8, 500)), denied(Denial::DeniedTooOften, 401, 500));
    assert_eq!(extension.moved(at(0)), moved);
}

#[test]
fn without_items_the_share_decides() {
    let share = |seq, permille| Plea { seq, permille, ..Plea::default() };
    let mut extension = Extension::default();
    assert!(extension.plead(at(0), BASE, share(1, 300)).is_ok());
    assert!(extension.plead(at(0), BASE, share(2, 600)).is_ok());
    assert_eq!(extension.plead(at(0), BASE, share(3, 600)), denied(Denial::NoProgress, 600, 600));
    let items = Plea { done: Some(9), ..share(4, 600) };
    assert_eq!(
        extension.plead(at(0), BASE, items),
        denied(Denial::NoProgress, 600, 600),
        "the earlier had none"
    );
}

#[test]
fn a_whole_that_cannot_be_is_refused_and_one_that_grows_hides_nothing() {
    let of = |seq, done, of| Plea { of: Some(of), ..plea(seq, done) };
    let mut extension = Extension::default();
    assert!(extension.plead(at(0), BASE, of(1, 400, 1_000)).is_ok());
    assert!(extension.plead(at(0), BASE, of(2, 500, 2_000)).is_ok());
    assert_eq!(extension.plead(at(0), BASE, of(3, 600, 0)), denied(Denial::BadProgress, 500, 600));
    assert_eq!(extension.plead(at(0), BASE, of(4, 600, 599)), denied(Denial::BadProgress, 500, 600));
    assert!(extension.plead(at(0), BASE, of(5, 600, 600)).is_ok());
    let over = Plea { permille: 1_001, ..plea(6, 700) };
    assert_eq!(extension.plead(at(0), BASE, over), denied(Denial::BadProgress, 600, 700));
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
                    let (before, standing) = (job.silent_at(node(ix), at(now)), job.status(node(ix)));
                    let granted = job.plead(at(now), BASE, node(ix), plea(seq, done));
                    prop_assert!(job.silent_at(node(ix), at(now)) >= before, "an answer never moves a deadline closer");
                    prop_assert_eq!(job.status(node(ix)), standing);
                    prop_assert!(standing == Status::Trusted || granted == Err(Denied::plain(Denial::TooLate)));
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
                    prop_assert!(job.next().is_some_and(|next| next <= standing.deadline()), "nobody is overlooked");
                }
            }
            prop_assert_eq!(job.index.len(), job.nodes.len());
            for (node, extension) in &job.extensions {
                prop_assert_eq!(job.status(*node), Status::Trusted);
                prop_assert!(extension.moved(at(now)) < at(now) + BASE, "29.125 s at most");
            }
        }
        for ix in 0..6 {
            job.forget(node(ix));
        }
        prop_assert!(job.nodes.is_empty() && job.next().is_none());
    }
}
