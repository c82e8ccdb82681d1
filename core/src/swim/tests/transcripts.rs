//! One machine, step by step: what goes in, and exactly what comes out.

use alloc::string::String;
use core::fmt::Write as _;

use expect_test::{Expect, expect};

use super::*;

/// A machine and what it said so far. Lines that begin with `<` went in, with `>` came out.
struct Script {
    swim: Swim,
    text: String,
    /// Numbers of questions as the transcript shows them: in order of appearance.
    seqs: Vec<u32>,
}

impl Swim {
    fn forget_rumours(&mut self) {
        self.gossip = Gossip::default();
        self.timers.disarm(Timer::Gossip);
        self.gossiping = false;
    }
}

impl Script {
    /// Gate 1, which has heard the gates `known` and has been told all.
    fn new(known: &[u8]) -> Self {
        let mut swim = Swim::new(config(1, Role::Gate, &[1, 2]), [3; 32]);
        let mut out = Effects::new();
        swim.start(at(0), &mut out);
        for n in known {
            swim.receive(at(0), addr(*n), packet(*n, life(1), Body::Rumours, &[]), &mut out);
        }
        let page = Body::Page { from: 0, next: 0, more: false, parts: None };
        swim.receive(at(0), addr(2), packet(2, life(1), page, &[]), &mut out);
        swim.forget_rumours();
        swim.changes();
        Self { swim, text: String::new(), seqs: Vec::new() }
    }

    /// Lets time pass, with every wake on the way.
    fn wait_until(&mut self, millis: u64) {
        while let Some(due) = self.swim.wake_at().filter(|due| *due <= at(millis).mono) {
            let now = Now { mono: due, ..at(0) };
            let mut out = Effects::new();
            self.swim.wake(now, &mut out);
            self.show(due, out);
        }
    }

    fn receive(&mut self, millis: u64, packet: Packet) {
        let (from, body) = (name(packet.from), self.body(packet.body));
        writeln!(self.text, "{:<5} < {from} {body}{}", millis, facts(&packet.facts)).unwrap();
        let mut out = Effects::new();
        self.swim.receive(at(millis), packet.addr, packet, &mut out);
        self.show(at(millis).mono, out);
    }

    fn leave(&mut self, millis: u64) {
        writeln!(self.text, "{millis:<5} < leave").unwrap();
        let mut out = Effects::new();
        self.swim.leave(at(millis), &mut out);
        self.show(at(millis).mono, out);
    }

    /// The number of the last question that was sent.
    fn last_seq(&self) -> u32 {
        self.swim.next_seq
    }

    fn show(&mut self, due: Instant, out: Effects) {
        self.swim.check();
        for effect in out {
            let line = match effect {
                Effect::SendDatagram { to, packet } => {
                    let body = self.body(packet.body);
                    std::format!("to n{} {body}{}", to.port - 7_000, facts(&packet.facts))
                }
                Effect::Observe(Observation::Member { node, status }) => {
                    std::format!("{} is {status:?}", name(node))
                }
                Effect::Observe(other) => std::format!("{other:?}"),
                other => panic!("{other:?}"),
            };
            writeln!(self.text, "{:<5} > {line}", due.as_nanos() / 1_000_000).unwrap();
        }
    }

    fn body(&mut self, body: Body) -> String {
        let mut q = |seq: u32| {
            let place = self.seqs.iter().position(|known| *known == seq).unwrap_or(self.seqs.len());
            if place == self.seqs.len() {
                self.seqs.push(seq);
            }
            std::format!("q{}", place + 1)
        };
        match body {
            Body::Ping { seq, target } => std::format!("ping {} of {}", q(seq), name(target)),
            Body::Ack { seq } => std::format!("ack {}", q(seq)),
            Body::PingReq { seq, target, budget_ms } => {
                std::format!("ping-req {} of {} within {budget_ms} ms", q(seq), name(target))
            }
            Body::IndirectAck { seq } => std::format!("indirect ack {}", q(seq)),
            Body::Nack { seq } => std::format!("nack {}", q(seq)),
            Body::Pull { mutual, .. } => std::format!("pull{}", if mutual { " both ways" } else { "" }),
            Body::Page { more, .. } => {
                std::format!("page{}", if more { ", more" } else { ", last" })
            }
            Body::Rumours => "rumours".into(),
        }
    }

    fn expect(&self, expected: Expect) {
        expected.assert_eq(&self.text);
    }
}

fn name(node: NodeId) -> String {
    std::format!("n{}", node.0[0])
}

fn facts(facts: &[Fact]) -> String {
    facts.iter().fold(String::new(), |mut text, fact| {
        let claim = match fact.claim {
            Claim::Suspect { by } => std::format!("suspect by {}", name(by)),
            claim => std::format!("{claim:?}").to_lowercase(),
        };
        let number = fact.incarnation.raw();
        write!(text, " [{} {}.{} {claim}]", name(fact.node), number >> 32, number as u32).unwrap();
        text
    })
}

#[test]
fn an_answered_round_says_nothing() {
    let mut script = Script::new(&[2]);
    script.wait_until(1_000);
    let seq = script.last_seq();
    script.receive(1_000, packet(2, life(1), Body::Ack { seq }, &[]));
    script.wait_until(2_000);
    script.expect(expect![[r#"
        558   > to n2 ping q1 of n2
        722   > to n2 pull
        1000  < n2 ack q1
        1558  > to n2 ping q2 of n2
        1722  > to n2 pull
    "#]]);
}

/// Of two nobody else can judge: the accused itself is asked, once a period while its suspicion lasts, however long rounds
/// have grown.
#[test]
fn silence_becomes_suspicion_and_death() {
    let mut script = Script::new(&[2]);
    script.wait_until(14_000);
    script.expect(expect![[r#"
        558   > to n2 ping q1 of n2
        722   > to n2 pull
        1558  > n2 is Suspect
        1558  > to n2 ping q2 of n2 [n2 1.0 suspect by n1]
        1646  > to n2 rumours [n2 1.0 suspect by n1]
        1722  > to n2 pull [n2 1.0 suspect by n1]
        1846  > to n2 rumours [n2 1.0 suspect by n1]
        2558  > to n2 ping q3 of n2 [n2 1.0 suspect by n1]
        2722  > to n2 pull [n2 1.0 suspect by n1]
        3558  > to n2 ping q4 of n2 [n2 1.0 suspect by n1]
        3558  > to n2 ping q5 of n2 [n2 1.0 suspect by n1]
        4558  > to n2 ping q6 of n2 [n2 1.0 suspect by n1]
        5558  > to n2 ping q7 of n2 [n2 1.0 suspect by n1]
        6558  > to n2 ping q8 of n2 [n2 1.0 suspect by n1]
        6558  > to n2 ping q9 of n2 [n2 1.0 suspect by n1]
        7558  > to n2 ping q10 of n2 [n2 1.0 suspect by n1]
        8558  > to n2 ping q11 of n2 [n2 1.0 suspect by n1]
        9558  > to n2 ping q12 of n2 [n2 1.0 suspect by n1]
        10558 > to n2 ping q13 of n2 [n2 1.0 suspect by n1]
        10558 > to n2 ping q14 of n2 [n2 1.0 suspect by n1]
        11558 > Unheard
        11558 > n2 is Dead
        11585 > to n2 rumours [n2 1.0 dead]
        11785 > to n2 rumours [n2 1.0 dead]
    "#]]);
}

#[test]
fn an_answer_through_a_proxy_counts() {
    let mut script = Script::new(&[2, 3]);
    script.wait_until(1_500);
    let seq = script.last_seq();
    script.receive(1_500, packet(3, life(1), Body::IndirectAck { seq }, &[]));
    script.wait_until(2_000);
    script.expect(expect![[r#"
        558   > to n2 ping q1 of n2
        722   > to n2 pull
        1058  > to n3 ping-req q1 of n2 within 500 ms
        1500  < n3 indirect ack q1
        1558  > to n3 ping q2 of n3
        1722  > to n2 pull
    "#]]);
}

#[test]
fn a_question_for_another_is_nacked_and_still_answered() {
    let mut script = Script::new(&[2, 3]);
    let question = Body::PingReq { seq: 70, target: id(3), budget_ms: 500 };
    script.receive(10, packet(2, life(1), question, &[]));
    let seq = script.last_seq();
    script.wait_until(410);
    script.receive(420, packet(3, life(1), Body::Ack { seq }, &[]));
    let unknown = Body::PingReq { seq: 71, target: id(9), budget_ms: 500 };
    script.receive(430, packet(2, life(1), unknown, &[]));
    script.expect(expect![[r#"
        10    < n2 ping-req q1 of n3 within 500 ms
        10    > to n3 ping q2 of n3
        410   > to n2 nack q1
        420   < n3 ack q2
        420   > to n2 indirect ack q1
        430   < n2 ping-req q3 of n9 within 500 ms
        430   > to n2 nack q3
    "#]]);
}

/// Many ask about the same member at once: it is asked twice, and all are told.
#[test]
fn questions_about_one_member_are_shared() {
    let mut script = Script::new(&[2, 3, 4, 5, 6]);
    for asker in [2, 4, 5, 6] {
        let question = Body::PingReq { seq: 70 + u32::from(asker), target: id(3), budget_ms: 500 };
        script.receive(10, packet(asker, life(1), question, &[]));
    }
    let seq = script.last_seq();
    script.receive(20, packet(3, life(1), Body::Ack { seq: seq - 3 }, &[]));
    script.receive(30, packet(3, life(1), Body::Ack { seq: seq - 2 }, &[]));
    script.wait_until(500);
    script.expect(expect![[r#"
        10    < n2 ping-req q1 of n3 within 500 ms
        10    > to n3 ping q2 of n3
        10    < n4 ping-req q3 of n3 within 500 ms
        10    > to n3 ping q4 of n3
        10    < n5 ping-req q5 of n3 within 500 ms
        10    < n6 ping-req q6 of n3 within 500 ms
        20    < n3 ack q2
        20    > to n2 indirect ack q1
        20    > to n4 indirect ack q3
        20    > to n5 indirect ack q5
        20    > to n6 indirect ack q6
        30    < n3 ack q4
    "#]]);
}

#[test]
fn an_accused_node_answers_with_a_higher_incarnation() {
    let mut script = Script::new(&[2]);
    let accusation = fact(1, life(1), Claim::Suspect { by: id(2) });
    script.receive(10, packet(2, life(1), Body::Ping { seq: 70, target: id(1) }, &[accusation]));
    script.receive(20, packet(2, life(1), Body::Ping { seq: 71, target: id(1) }, &[accusation]));
    script.expect(expect![[r#"
        10    < n2 ping q1 of n1 [n1 1.0 suspect by n2]
        10    > Refuted
        10    > to n2 ack q1 [n1 1.1 alive]
        20    < n2 ping q2 of n1 [n1 1.0 suspect by n2]
        20    > to n2 ack q2 [n1 1.1 alive]
    "#]]);
}

#[test]
fn the_dead_come_back_only_by_their_own_word() {
    let mut script = Script::new(&[2, 3, 4]);
    script.receive(10, packet(2, life(1), Body::Rumours, &[fact(3, life(1), Claim::Dead)]));
    script.receive(15, packet(4, life(1), Body::Rumours, &[fact(3, life(1), Claim::Dead)]));
    script.receive(20, packet(3, life(1), Body::Ping { seq: 70, target: id(1) }, &[]));
    let again: Incarnation = life(1).above(life(1)).expect("there is a next one");
    script.receive(30, packet(3, again, Body::Ping { seq: 71, target: id(1) }, &[]));
    script.expect(expect![[r#"
        10    < n2 rumours [n3 1.0 dead]
        10    > n3 is Suspect
        15    < n4 rumours [n3 1.0 dead]
        15    > n3 is Dead
        20    < n3 ping q1 of n1
        20    > to n3 ack q1 [n3 1.0 dead]
        30    < n3 ping q2 of n1
        30    > n3 is Alive
        30    > to n3 pull both ways
        30    > to n3 ack q2
    "#]]);
}

#[test]
fn bad_packets_change_nothing() {
    let mut script = Script::new(&[2]);
    script.receive(10, packet(2, life(1), Body::Ping { seq: 70, target: id(9) }, &[]));
    script.receive(11, packet(1, life(1), Body::Ping { seq: 70, target: id(1) }, &[]));
    script.receive(12, packet(2, Incarnation::LIMIT, Body::Rumours, &[]));
    script.receive(13, Packet { role: Role::Worker, ..packet(2, life(1), Body::Rumours, &[]) });
    script.receive(14, packet(2, life(1), Body::Rumours, &[fact(2, life(900), Claim::Dead)]));
    script.receive(15, packet(2, life(1), Body::Rumours, &[fact(1, life(1 << 29), Claim::Dead)]));
    let outsider = fact(2, life(1), Claim::Suspect { by: id(66) });
    script.receive(16, packet(2, life(1), Body::Rumours, &[outsider]));
    script.expect(expect![[r#"
        10    < n2 ping q1 of n9
        10    > Ignored(Unknown)
        11    < n1 ping q1 of n1
        11    > Ignored(Sender)
        12    < n2 rumours
        12    > Malformed(Bounds)
        13    < n2 rumours
        13    > Malformed(Role)
        14    < n2 rumours [n2 900.0 dead]
        14    > Ignored(Invalid)
        15    < n2 rumours [n1 536870912.0 dead]
        15    > Ignored(Invalid)
        16    < n2 rumours [n2 1.0 suspect by n66]
        16    > Ignored(Sender)
    "#]]);
}

#[test]
fn a_new_member_is_told_and_asked() {
    let mut script = Script::new(&[2, 3]);
    script.receive(10, packet(4, life(1), Body::Pull { from: 0, mutual: true, parts: None }, &[]));
    let page = Body::Page { from: 0, next: 0, more: false, parts: None };
    script.receive(
        20,
        packet(4, life(1), page, &[fact(3, life(1), Claim::Dead), fact(5, life(1), Claim::Alive)]),
    );
    script.expect(expect![[r#"
        10    < n4 pull both ways
        10    > n4 is Alive
        10    > to n4 page, last [n2 1.0 alive] [n3 1.0 alive]
        10    > to n4 pull
        20    < n4 page, last [n3 1.0 dead] [n5 1.0 alive]
        20    > n3 is Suspect
    "#]]);
}

#[test]
fn whoever_is_behind_is_told_with_the_answer() {
    let mut script = Script::new(&[2, 3]);
    script.receive(10, packet(3, life(4), Body::Rumours, &[]));
    script.swim.forget_rumours();
    let old = fact(3, life(1), Claim::Suspect { by: id(2) });
    script.receive(20, packet(2, life(1), Body::Ping { seq: 70, target: id(1) }, &[old]));
    script.expect(expect![[r#"
        10    < n3 rumours
        20    < n2 ping q1 of n1 [n3 1.0 suspect by n2]
        20    > to n2 ack q1 [n3 4.0 alive]
    "#]]);
}

#[test]
fn whoever_leaves_says_so_and_still_answers() {
    let mut script = Script::new(&[2, 3]);
    script.leave(10);
    let accusation = fact(1, life(1), Claim::Suspect { by: id(2) });
    script.receive(20, packet(2, life(1), Body::Ping { seq: 70, target: id(1) }, &[accusation]));
    script.wait_until(3_000);
    script.expect(expect![[r#"
        10    < leave
        10    > to n3 rumours [n1 1.0 left]
        10    > to n2 rumours [n1 1.0 left]
        20    < n2 ping q1 of n1 [n1 1.0 suspect by n2]
        20    > to n2 ack q1 [n1 1.0 left]
        119   > to n2 rumours [n1 1.0 left]
    "#]]);
}

#[test]
fn refutations_beyond_the_window_are_deferred_and_not_lost() {
    let mut script = Script::new(&[2]);
    for n in 0..7 {
        let accused = script.swim.incarnation();
        script.receive(10 + n, packet(2, life(1), Body::Rumours, &[fact(1, accused, Claim::Dead)]));
    }
    let before = script.swim.incarnation();
    let mut out = Effects::new();
    script.swim.wake(at(10_010), &mut out);
    assert!(script.swim.incarnation() > before);
    script.expect(expect![[r#"
        10    < n2 rumours [n1 1.0 dead]
        10    > Refuted
        11    < n2 rumours [n1 1.1 dead]
        11    > Refuted
        12    < n2 rumours [n1 1.2 dead]
        12    > Refuted
        13    < n2 rumours [n1 1.3 dead]
        13    > Refuted
        14    < n2 rumours [n1 1.4 dead]
        14    > Refuted
        15    < n2 rumours [n1 1.5 dead]
        16    < n2 rumours [n1 1.5 dead]
    "#]]);
}

/// Gate 3 is accused by all at 100 ms, so that its suspicion ends at 5,100. Its refutation comes in that very tick, before
/// or after the suspicion is looked at. How often its status changed, and what it is.
fn refuted_in_the_last_tick(refutation_first: bool) -> (Vec<MemberStatus>, Option<MemberStatus>) {
    let mut script = Script::new(&[2, 3, 4, 5]);
    let swim = &mut script.swim;
    let mut out = Effects::new();
    for by in [2, 4, 5] {
        let accused = fact(3, life(1), Claim::Suspect { by: id(by) });
        swim.receive(at(100), addr(by), packet(by, life(1), Body::Rumours, &[accused]), &mut out);
    }
    for tick in 1..100 {
        let now = at(100 + 50 * tick);
        out.clear();
        swim.wake(now, &mut out);
        for (from, to, body) in questions(&mut out) {
            if let (true, Body::Ping { seq, .. }) = (from != 3, body) {
                swim.receive(now, to, packet(from, life(1), Body::Ack { seq }, &[]), &mut out);
            }
        }
    }
    swim.changes();
    let again: Incarnation = life(1).above(life(1)).expect("there is a next one");
    let refutation = || packet(2, life(1), Body::Rumours, &[fact(3, again, Claim::Alive)]);
    if refutation_first {
        swim.receive(at(5_100), addr(2), refutation(), &mut out);
    }
    swim.wake(at(5_100), &mut out);
    if !refutation_first {
        swim.receive(at(5_100), addr(2), refutation(), &mut out);
    }
    swim.check();
    let changes = swim.changes().into_iter().filter(|(node, _)| *node == id(3));
    (changes.map(|(_, status)| status).collect(), swim.status(id(3)))
}

#[test]
fn a_refutation_races_the_end_of_its_suspicion() {
    let alive = Some(MemberStatus::Alive);
    assert_eq!(refuted_in_the_last_tick(true), (alloc::vec![MemberStatus::Alive], alive));
    let both = alloc::vec![MemberStatus::Dead, MemberStatus::Alive];
    assert_eq!(refuted_in_the_last_tick(false), (both, alive));
}

/// What these effects send: to whom, where, and what.
fn questions(out: &mut Effects) -> Vec<(u8, Addr, Body)> {
    let sent = core::mem::take(out).into_iter().filter_map(|effect| match effect {
        Effect::SendDatagram { to, packet } => Some(((to.port - 7_000) as u8, to, packet.body)),
        _ => None,
    });
    sent.collect()
}

/// Gate 3 speaks every five seconds until then, and answers nobody; the others say that they could not reach it
/// either, but do not accuse it.
fn buried_at(silent_from_s: u64) -> u64 {
    let mut script = Script::new(&[2, 3, 4]);
    let swim = &mut script.swim;
    for half in 1.. {
        let now = at(500 * half);
        let mut out = Effects::new();
        swim.wake(now, &mut out);
        for (from, to, body) in questions(&mut out) {
            let body = match body {
                Body::Ping { seq, .. } => Body::Ack { seq },
                Body::PingReq { seq, .. } => Body::Nack { seq },
                _ => continue,
            };
            if from != 3 {
                swim.receive(now, to, packet(from, life(1), body, &[]), &mut out);
            }
        }
        if half % 10 == 0 && half / 2 < silent_from_s {
            swim.receive(now, addr(3), packet(3, life(1), Body::Rumours, &[]), &mut out);
        }
        swim.check();
        if swim.status(id(3)) == Some(MemberStatus::Dead) {
            return half / 2;
        }
    }
    unreachable!("it dies in the end")
}

#[test]
fn whoever_is_heard_is_not_buried_on_one_word() {
    // The longest suspicion of four is 30 s; rounds find it unreachable within a few.
    assert!((30..40).contains(&buried_at(0)));
    assert!((125..=130).contains(&buried_at(100)));
    // It may be deaf, and nobody else be there to find out: nine spans and the wait for the round.
    assert!((270..280).contains(&buried_at(u64::MAX)));
}

/// Everybody speaks and answers until 20 s, and gate 2 says one more word, which lay somewhere, at 60 s.
#[test]
fn one_late_word_does_not_end_a_silence() {
    let mut script = Script::new(&[2, 3, 4]);
    let swim = &mut script.swim;
    let mut first_death_s = None;
    for half in 1..300 {
        let now = at(500 * half);
        let mut out = Effects::new();
        swim.wake(now, &mut out);
        for (from, to, body) in questions(&mut out) {
            if let Body::Ping { seq, .. } = body
                && half < 40
            {
                swim.receive(now, to, packet(from, life(1), Body::Ack { seq }, &[]), &mut out);
            }
        }
        if half == 120 {
            swim.receive(now, addr(2), packet(2, life(1), Body::Rumours, &[]), &mut out);
        }
        swim.check();
        if [2, 3, 4].iter().any(|n| swim.status(id(*n)) == Some(MemberStatus::Dead)) {
            first_death_s = first_death_s.or(Some(half / 2));
        }
    }
    // The longest suspicion of four is 30 s: the word buys all of that, and then it must end.
    let first = first_death_s.expect("it concludes in the end");
    assert!((90..=92).contains(&first), "{first} s");
}

/// Gate 3 is accused by 2, 4 and 5 at 100 ms while so many strangers are told of. When it is asked in the last period of
/// its suspicion, and when it dies.
fn asked_and_buried_at(strangers: u8) -> (Vec<u64>, u64) {
    let mut script = Script::new(&[2, 3, 4, 5]);
    let swim = &mut script.swim;
    let mut out = Effects::new();
    for by in [2, 4, 5] {
        let accused = fact(3, life(1), Claim::Suspect { by: id(by) });
        swim.receive(at(100), addr(by), packet(by, life(1), Body::Rumours, &[accused]), &mut out);
    }
    let mut asked = Vec::new();
    for tick in 1..200 {
        let now = at(100 + 50 * tick);
        out.clear();
        if tick == 70 {
            for first in (10..10 + strangers).step_by(FACTS_MAX) {
                let facts = (first..first.saturating_add(FACTS_MAX as u8).min(10 + strangers))
                    .map(|n| fact(n, life(1), Claim::Alive))
                    .collect::<Vec<_>>();
                swim.receive(now, addr(2), packet(2, life(1), Body::Rumours, &facts), &mut out);
            }
        }
        swim.wake(now, &mut out);
        for effect in core::mem::take(&mut out) {
            let Effect::SendDatagram { to, packet: question } = effect else { continue };
            let Body::Ping { seq, target } = question.body else { continue };
            if target == id(3) {
                asked.push(100 + 50 * tick);
            } else if to.port < 7_010 {
                let from = (to.port - 7_000) as u8;
                swim.receive(now, to, packet(from, life(1), Body::Ack { seq }, &[]), &mut out);
            }
        }
        swim.check();
        if swim.status(id(3)) == Some(MemberStatus::Dead) {
            return (asked, 100 + 50 * tick);
        }
    }
    unreachable!("it dies in the end")
}

#[test]
fn the_accused_is_asked_where_rumours_are_slow() {
    // The shortest suspicion of five is 5 s; a refutation may lie in a queue.
    let (asked, buried) = asked_and_buried_at(230);
    assert_eq!(buried, 5_100);
    assert!(asked.contains(&4_100), "{asked:?}");
    let (asked, buried) = asked_and_buried_at(5);
    assert_eq!(buried, 5_100);
    assert!(!asked.contains(&4_100), "{asked:?}");
}

/// Who learns of a death when rumours of it rest does not wait for its own suspicion to end: with one member's word it
/// asks two others, and the first that knows it too is enough.
#[test]
fn one_word_of_a_death_is_followed_by_a_question() {
    let mut script = Script::new(&[2, 3, 4, 5, 6]);
    let dead = fact(6, life(1), Claim::Dead);
    script.receive(2_000, packet(2, life(1), Body::Rumours, &[dead]));
    // Once a period, however often it is said.
    script.receive(2_010, packet(2, life(1), Body::Rumours, &[dead]));
    script.receive(2_020, packet(3, life(1), Body::Ack { seq: 0 }, &[dead]));
    assert_eq!(script.swim.status(id(6)), Some(MemberStatus::Dead));
    script.expect(expect![[r#"
        2000  < n2 rumours [n6 1.0 dead]
        2000  > n6 is Suspect
        2000  > to n3 ping q1 of n3 [n6 1.0 suspect by n2]
        2000  > to n5 ping q2 of n5 [n6 1.0 suspect by n2]
        2010  < n2 rumours [n6 1.0 dead]
        2020  < n3 ack q3 [n6 1.0 dead]
        2020  > n6 is Dead
    "#]]);
}
