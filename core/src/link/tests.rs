use super::*;
use crate::wire::Features;
use proptest::prelude::*;
use std::vec::Vec;

const PEER: NodeId = NodeId([7; 16]);

fn links() -> Links {
    Links::new([5; 32])
}

fn at(ms: u64) -> Now {
    Now { mono: Instant::from_nanos(ms * 1_000_000), ..Now::default() }
}

/// The tokens of the pings in `out`, which is emptied; other effects fail the test.
fn pings(out: &mut Effects) -> Vec<u64> {
    out.drain(..)
        .filter(|effect| !matches!(effect, Effect::Observe(Observation::Greeted { .. })))
        .map(|effect| match effect {
            Effect::Send { to: PEER, message } => match *message {
                Message::Ping { token } => token,
                other => panic!("not a ping: {other:?}"),
            },
            other => panic!("not a ping: {other:?}"),
        })
        .collect()
}

fn ignored(why: Stale) -> Effect {
    Effect::Observe(Observation::Ignored(why))
}

const MISSED: Effect = Effect::Observe(Observation::PingMissed(PEER));

proptest! {
    #[test]
    fn whoever_has_turns_is_pinged_once_in_each(start_ms in 0u64..10_000, phase_ms in 0u64..2_000) {
        let phase = Duration::from_millis(phase_ms);
        let mut links = links().in_turn(BTreeMap::from([(PEER, phase)]));
        let mut out = Effects::new();
        links.connected(at(start_ms), PEER, (BootNo(1), Dialect::OURS), &mut out);
        let mut last = at(start_ms).mono;
        for _ in 0..20 {
            let next = links.due.deadline(Due::Ping(PEER)).expect("there is a next one");
            let into = (next.as_nanos() + Links::PERIOD.as_nanos() - phase.as_nanos()) % Links::PERIOD.as_nanos();
            prop_assert!(into < Links::JITTER.as_nanos(), "{next:?}");
            // No further apart than silence is judged by.
            prop_assert!(next > last && next.since(last) <= Links::PERIOD + Links::JITTER);
            last = next;
            links.wake(Now { mono: next, ..Now::default() }, &mut out);
        }
    }
}

#[test]
fn the_least_recent_round_trip_counts_and_the_drivers_queue_does_not() {
    let (mut links, mut out) = (links(), Effects::new());
    links.connected(at(0), PEER, (BootNo(1), Dialect::OURS), &mut out);
    assert_eq!(pings(&mut out), [1]);
    assert_eq!((links.rtt(PEER), links.distance(at(0).mono, PEER)), (None, Rtt::Unknown));
    assert_eq!(
        links.receive_pong(at(30), PEER, (1, None, Condition::default()), &mut out),
        Some(Duration::from_millis(30))
    );
    assert_eq!(links.rtt(PEER), Some(Duration::from_millis(30)));

    links.wake(at(2_200), &mut out);
    assert_eq!(pings(&mut out), [2]);
    let late = Now { waited: Duration::from_millis(80), ..at(2_300) };
    links.receive_pong(late, PEER, (2, None, Condition::default()), &mut out);
    assert_eq!(links.rtt(PEER), Some(Duration::from_millis(20)));
    assert_eq!(links.distance(at(0).mono, PEER), Rtt::Measured(Duration::from_millis(20)));
    assert!(out.is_empty());
}

#[test]
fn each_ping_is_answered_once_and_by_its_peer() {
    let (mut links, mut out) = (links(), Effects::new());
    links.connected(at(0), PEER, (BootNo(1), Dialect::OURS), &mut out);
    assert_eq!(pings(&mut out), [1]);
    links.receive_pong(at(10), PEER, (1, None, Condition::default()), &mut out);
    links.receive_pong(at(11), PEER, (1, None, Condition::default()), &mut out);
    links.receive_pong(at(12), PEER, (9, None, Condition::default()), &mut out);
    links.receive_pong(at(13), NodeId([8; 16]), (1, None, Condition::default()), &mut out);
    assert_eq!(out.to_vec(), [ignored(Stale::Sequence), ignored(Stale::Sequence), ignored(Stale::Unknown)]);
    assert_eq!(links.rtt(PEER), Some(Duration::from_millis(10)));
}

#[test]
fn a_ping_without_an_answer_is_missed_once_and_its_late_answer_is_none() {
    let (mut links, mut out) = (links(), Effects::new());
    links.connected(at(0), PEER, (BootNo(1), Dialect::OURS), &mut out);
    assert_eq!(pings(&mut out), [1]);
    // Nothing is known: 3 x 200 ms and 500.
    links.wake(at(1_099), &mut out);
    assert!(out.is_empty());
    assert_eq!(links.wake_at(), Some(at(1_100).mono));
    links.wake(at(1_100), &mut out);
    assert_eq!(out.drain(..).collect::<Vec<_>>(), [MISSED]);
    assert_eq!(links.receive_pong(at(1_101), PEER, (1, None, Condition::default()), &mut out), None);
    assert_eq!(out.drain(..).collect::<Vec<_>>(), [ignored(Stale::Sequence)]);
    assert_eq!(links.tally(), Tally { sent: 1, missed: 1, ..Tally::default() });
}

#[test]
fn a_far_peer_has_more_time_and_answers_may_overlap() {
    let (mut links, mut out) = (links(), Effects::new());
    links.connected(at(0), PEER, (BootNo(1), Dialect::OURS), &mut out);
    links.receive_pong(at(1_000), PEER, (1, None, Condition::default()), &mut out);
    assert_eq!(links.timeout(at(1_000).mono, PEER), Links::TIMEOUT_MAX);
    links.wake(at(2_200), &mut out);
    links.wake(at(4_400), &mut out);
    assert_eq!(pings(&mut out), [1, 2, 3]);
    for (ms, token) in [(5_000, 2), (6_000, 3)] {
        assert!(links.receive_pong(at(ms), PEER, (token, None, Condition::default()), &mut out).is_some());
    }
    assert_eq!(links.tally(), Tally { sent: 3, answered: 3, ..Tally::default() });
}

#[test]
fn after_a_reconnect_the_distance_is_a_prediction_until_it_is_measured() {
    let (mut links, mut out) = (links(), Effects::new());
    let there = Some(Coordinates::new([6; 32]).own());
    links.connected(at(0), PEER, (BootNo(1), Dialect::OURS), &mut out);
    links.receive_pong(at(30), PEER, (1, there, Condition::default()), &mut out);
    links.connected(at(100), PEER, (BootNo(2), Dialect::OURS), &mut out);
    assert!(matches!(links.distance(at(100).mono, PEER), Rtt::Predicted(_)));
    links.receive_pong(at(140), PEER, (2, there, Condition::default()), &mut out);
    assert_eq!(links.distance(at(140).mono, PEER), Rtt::Measured(Duration::from_millis(40)));
    assert_eq!(pings(&mut out), [1, 2]);
}

#[test]
fn a_place_out_of_bounds_is_refused_and_the_round_trip_counts() {
    let (mut links, mut out) = (links(), Effects::new());
    let mut there = Coordinates::new([6; 32]).own();
    there.at_us[3] = i32::MIN;
    links.connected(at(0), PEER, (BootNo(1), Dialect::OURS), &mut out);
    assert_eq!(pings(&mut out), [1]);
    assert!(links.receive_pong(at(30), PEER, (1, Some(there), Condition::default()), &mut out).is_some());
    assert_eq!(out.to_vec(), [ignored(Stale::Invalid)]);
    links.disconnected(PEER);
    assert_eq!(links.distance(at(40).mono, PEER), Rtt::Unknown);
}

#[test]
fn what_is_spoken_with_a_peer_is_that_of_its_newest_connection() {
    let (mut links, mut out) = (links(), Effects::new());
    let without = Dialect { features: Features::named(["gate_views"]), ..Dialect::OURS };
    for (dialect, told) in [(Dialect::of(0), false), (Dialect::OURS, true), (without, false)] {
        out.clear();
        links.connected(at(0), PEER, (BootNo(1), dialect), &mut out);
        let Dialect { minor, features } = dialect;
        assert_eq!(out[0], Effect::Observe(Observation::Greeted { peer: PEER, minor, features }));
        out.clear();
        links.receive_ping(PEER, 9, &mut out);
        let [Effect::Send { message, .. }] = &out[..] else { panic!("{out:?}") };
        assert!(dialect.knows(message));
        assert_eq!(matches!(**message, Message::Pong { coordinate: Some(_), .. }), told);
        assert_eq!(links.may_use(PEER, Feature::GateViews), features.has(Feature::GateViews));
    }
    links.disconnected(PEER);
    assert!(Feature::ALL.iter().all(|feature| !links.may_use(PEER, *feature)));
}

#[test]
fn load_is_told_to_those_who_know_of_it_and_heard_until_the_connection_ends() {
    let (mut links, mut out) = (links(), Effects::new());
    links.take_usage(at(0), Usage { memory_permille: 990, ..Usage::default() }, &mut out);
    for (dialect, told) in [(Dialect::OURS, Condition::Overloaded), (Dialect::of(0), Condition::Healthy)] {
        links.connected(at(0), PEER, (BootNo(1), dialect), &mut out);
        out.clear();
        links.receive_ping(PEER, 9, &mut out);
        let [Effect::Send { message, .. }] = &out[..] else { panic!("{out:?}") };
        assert!(dialect.knows(message));
        assert!(matches!(**message, Message::Pong { condition, .. } if condition == told), "{message:?}");
    }
    out.clear();
    links.receive_pong(at(10), PEER, (2, None, Condition::Busy), &mut out);
    let heard = Observation::PeerCondition { node: PEER, condition: Condition::Busy };
    assert_eq!(out.to_vec(), [Effect::Observe(heard)]);
    assert_eq!(links.peer_condition(PEER), Condition::Busy);
    links.connected(at(20), PEER, (BootNo(1), Dialect::OURS), &mut out);
    assert_eq!(links.peer_condition(PEER), Condition::Healthy);
}

#[test]
fn a_lost_connection_leaves_nothing() {
    let (mut links, mut out) = (links(), Effects::new());
    links.connected(at(0), PEER, (BootNo(3), Dialect::OURS), &mut out);
    assert_eq!(links.boot(PEER), Some(BootNo(3)));
    assert!(links.disconnected(PEER) && !links.disconnected(PEER));
    assert_eq!((links.boot(PEER), links.wake_at(), links.is_connected(PEER)), (None, None, false));
    assert_eq!(links.tally(), Tally { sent: 1, lost: 1, ..Tally::default() });
}

#[derive(Clone, Debug)]
enum Op {
    Connect(u8),
    Disconnect(u8),
    Pong(u8, u64),
    Pass(u64),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        1 => (0..3u8).prop_map(Op::Connect),
        1 => (0..3u8).prop_map(Op::Disconnect),
        4 => (0..3u8, 0..40u64).prop_map(|(peer, token)| Op::Pong(peer, token)),
        4 => (0..4_000u64).prop_map(Op::Pass),
        1 => (0..100_000u64).prop_map(Op::Pass),
    ]
}

proptest! {
    /// Every ping ends once, a miss is testified in the step that finds it, and few are under way.
    #[test]
    fn every_ping_ends_once(ops in proptest::collection::vec(op(), 0..120)) {
        let (mut links, mut now, mut missed) = (links(), 0, 0);
        for op in ops {
            let mut out = Effects::new();
            let peer = |ix: u8| NodeId([ix; 16]);
            links.wake(at(now), &mut out);
            match op {
                Op::Connect(ix) => links.connected(at(now), peer(ix), (BootNo(1), Dialect::OURS), &mut out),
                Op::Disconnect(ix) => drop(links.disconnected(peer(ix))),
                Op::Pong(ix, token) => drop(links.receive_pong(at(now), peer(ix), (token, None, Condition::default()), &mut out)),
                Op::Pass(ms) => {
                    now += ms;
                    links.wake(at(now), &mut out);
                    prop_assert!(links.wake_at().is_none_or(|next| next > at(now).mono));
                }
            }
            let says_missed =
                |effect: &&Effect| matches!(effect, Effect::Observe(Observation::PingMissed(_)));
            missed += out.iter().filter(says_missed).count() as u64;
            let open: usize = links.peers.values().map(|link| link.unanswered.len()).sum();
            let Tally { sent, answered, missed: counted, lost } = links.tally();
            prop_assert_eq!(sent, answered + counted + lost + open as u64);
            prop_assert_eq!(counted, missed);
            prop_assert!(links.peers.values().all(|link| link.unanswered.len() <= 4));
        }
    }
}
