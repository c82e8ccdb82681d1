//! Packets that no honest member sends: nothing panics, nothing grows without bound, and the group recovers.

use proptest::collection::vec;
use proptest::prelude::*;

use super::laws::any_claim;
use super::world::World;
use super::*;

/// Any number that CBOR can carry, and often one near a limit.
fn any_incarnation() -> impl Strategy<Value = Incarnation> {
    let number = prop_oneof![
        any::<u64>(),
        (0u64..4, 0u64..4).prop_map(|(boot, refutes)| boot << 32 | refutes),
        (0u64..4).prop_map(|off| (1 << 62) - off),
        (0u64..4).prop_map(|boot| boot << 32 | u64::from(u32::MAX)),
        ((1u64 << 20) - 2..(1 << 20) + 3).prop_map(|boot| boot << 32),
    ];
    number.prop_map(Incarnation::from_raw)
}

fn any_role() -> impl Strategy<Value = Role> {
    prop_oneof![8 => Just(Role::Gate), 1 => Just(Role::Manager), 1 => Just(Role::Worker)]
}

fn any_body() -> impl Strategy<Value = Body> {
    let node = || (0u8..12).prop_map(id);
    let place = || prop_oneof![0u32..12, any::<u32>()];
    let some_parts = || proptest::option::of(any::<u128>().prop_map(Parts::from_bits));
    let seq = any::<u32>();
    prop_oneof![
        (seq, node()).prop_map(|(seq, target)| Body::Ping { seq, target }),
        seq.prop_map(|seq| Body::Ack { seq }),
        (seq, node(), any::<u32>()).prop_map(|(seq, target, budget_ms)| Body::PingReq {
            seq,
            target,
            budget_ms
        }),
        seq.prop_map(|seq| Body::IndirectAck { seq }),
        seq.prop_map(|seq| Body::Nack { seq }),
        (place(), any::<bool>(), some_parts()).prop_map(|(from, mutual, parts)| Body::Pull {
            from,
            mutual,
            parts
        }),
        (place(), place(), any::<bool>(), some_parts()).prop_map(|(from, next, more, parts)| Body::Page {
            from,
            next,
            more,
            parts
        }),
        Just(Body::Rumours),
    ]
}

fn any_fact() -> impl Strategy<Value = Fact> {
    (0u8..12, any_incarnation(), any_claim(), any_role(), 0u8..12).prop_map(
        |(node, incarnation, claim, role, at)| Fact {
            node: id(node),
            incarnation,
            claim,
            role,
            addr: addr(at),
        },
    )
}

pub fn any_packet() -> impl Strategy<Value = Packet> {
    let header = (0u8..12, any_incarnation(), any_role(), 0u8..12);
    let digest = proptest::option::of(vec(any::<u32>(), 0..40));
    (header, any_body(), vec(any_fact(), 0..FACTS_MAX + 2), digest).prop_map(
        |((from, incarnation, role, at), body, facts, digest)| Packet {
            from: id(from),
            incarnation,
            role,
            addr: addr(at),
            body,
            facts,
            digest,
        },
    )
}

/// Packets about real members with any numbers: from an outsider with the key, or in a member's name.
fn lies() -> impl Strategy<Value = (usize, Packet)> {
    let legal = || any_incarnation().prop_filter("a legal one", |number| number.is_legal());
    let fact = (1u8..5, legal(), any_claim()).prop_map(|(node, number, claim)| fact(node, number, claim));
    let from = prop_oneof![Just(77u8), 1u8..5];
    (0usize..4, from, legal(), vec(fact, 0..4))
        .prop_map(|(to, from, number, facts)| (to, packet(from, number, Body::Rumours, &facts)))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn nothing_panics_and_incarnations_only_rise(
        steps in vec((any_packet(), 0u64..2_000), 1..120),
        seed in any::<[u8; 32]>(),
    ) {
        let mut swim = Swim::new(config(1, Role::Gate, &[1, 2, 3]), seed);
        let mut out = Effects::new();
        swim.start(at(0), &mut out);
        let mut now_ms = 0;
        for (packet, wait) in steps {
            let before = swim.incarnation();
            now_ms += wait;
            swim.wake(at(now_ms), &mut out);
            swim.receive(at(now_ms), packet.addr, packet, &mut out);
            prop_assert!(swim.incarnation() >= before);
            prop_assert!(swim.incarnation().is_legal());
            swim.check();
            swim.changes();
            out.clear();
        }
    }

    #[test]
    fn lies_about_members_pass(lies in vec((lies(), 0u64..3_000), 1..40), seed in any::<u64>()) {
        let mut world = World::gates(seed, 4);
        world.honest = false;
        world.start_all(1_000);
        for ((to, lie), wait) in lies {
            world.inject(to, addr(77), lie);
            world.run_for(wait);
        }
        world.run_for(240_000);
        prop_assert!(world.converged(), "{:?}", world.strays());
    }
}

#[test]
fn strangers_fill_the_table_and_no_more() {
    let mut swim = Swim::new(config(1, Role::Gate, &[1, 2]), [7; 32]);
    let mut out = Effects::new();
    swim.start(at(0), &mut out);
    let stranger = |n: u32| {
        let mut node = [9; 16];
        node[..4].copy_from_slice(&n.to_be_bytes());
        Fact { node: NodeId(node), ..fact(9, life(1), Claim::Alive) }
    };
    for first in (0..MEMBERS_MAX as u32 + 1_000).step_by(FACTS_MAX) {
        let facts: Vec<Fact> = (first..first + FACTS_MAX as u32).map(stranger).collect();
        swim.receive(at(u64::from(first)), addr(2), packet(2, life(1), Body::Rumours, &facts), &mut out);
        out.clear();
    }
    swim.check();
    assert_eq!(swim.members().count(), MEMBERS_MAX);
    assert_eq!(swim.status(id(2)), Some(MemberStatus::Alive), "whoever was heard stays");
    assert_eq!(swim.status(stranger(0).node), None, "the oldest made room");
}
