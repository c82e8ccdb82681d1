//! Laws: merging is a join, incarnations only rise, deadlines only fall, packets fit.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::wire::{decode_packet, encode_packet};

pub fn any_claim() -> impl Strategy<Value = Claim> {
    prop_oneof![
        Just(Claim::Alive),
        (1u8..6).prop_map(|by| Claim::Suspect { by: id(by) }),
        Just(Claim::Dead),
        Just(Claim::Left),
    ]
}

/// Incarnations as members make them, close together.
fn near() -> impl Strategy<Value = Incarnation> {
    (1u64..4, 0u64..4).prop_map(|(boot, refutes)| {
        minicbor::decode(&minicbor::to_vec(boot << 32 | refutes).unwrap()).unwrap()
    })
}

fn known() -> impl Strategy<Value = Fact> {
    (near(), any_claim()).prop_map(|(incarnation, claim)| fact(9, incarnation, claim))
}

fn merged(facts: &[Fact]) -> (Incarnation, u8) {
    let start = fact(9, Incarnation::NONE, Claim::Alive);
    let mut member = Member { fact: start, confirmed: true, seed: false, since: Instant::ZERO };
    facts.iter().for_each(|fact| {
        member.merge(fact);
    });
    member.fact.key()
}

proptest! {
    #[test]
    fn merging_is_commutative_and_idempotent(facts in vec(known(), 1..6), seed in any::<[u8; 32]>()) {
        let mut shuffled = facts.clone();
        shuffled.extend_from_slice(&facts);
        NodeRng::new(seed, 0).shuffle(&mut shuffled);
        prop_assert_eq!(merged(&facts), merged(&shuffled));
    }

    #[test]
    fn merging_is_associative(a in vec(known(), 1..4), b in vec(known(), 1..4), c in vec(known(), 1..4)) {
        // (a + b) + c and a + (b + c), each side as the one fact that it amounts to.
        let one = |facts: &[Fact]| {
            *facts.iter().max_by_key(|fact| fact.key()).expect("not empty")
        };
        let left = merged(&[one(&[a.clone(), b.clone()].concat()), one(&c)]);
        let right = merged(&[one(&a), one(&[b.clone(), c.clone()].concat())]);
        prop_assert_eq!(left, right);
        prop_assert_eq!(left, merged(&[a, b, c].concat()));
    }

    #[test]
    fn a_refutation_outranks_and_stays_legal(mine in any::<u64>(), theirs in any::<u64>()) {
        let make = |n: u64| -> Incarnation {
            minicbor::decode(&minicbor::to_vec(n % (1 << 62)).unwrap()).unwrap()
        };
        let (mine, theirs) = (make(mine), make(theirs));
        if let Some(above) = mine.above(theirs) {
            prop_assert!(above > theirs && above.is_legal());
        } else {
            prop_assert!(mine.is_absurd(theirs) || theirs.boot().0 >= (1 << 30) - 1);
        }
    }

    #[test]
    fn confirmations_only_shorten_a_suspicion(members in 2usize..2_000, accusers in vec(1u8..12, 0..12)) {
        let period = Duration::from_secs(1);
        let mut suspicion = Suspicion::new(life(1), id(1), Instant::ZERO, members, period);
        let shortest = period.scale((5e6 * libm::log10(members as f64).max(1.0)) as u64, 1_000_000);
        let mut last = suspicion.deadline();
        let alone = members < 3;
        prop_assert_eq!(last, Instant::ZERO + if alone { shortest } else { shortest.scale(6, 1) });
        for by in accusers {
            let counted = suspicion.confirm(id(by));
            let next = suspicion.deadline();
            prop_assert_eq!(counted, next < last);
            prop_assert!(next >= Instant::ZERO + shortest);
            last = next;
        }
    }

    #[test]
    fn every_rumour_travels_its_times_and_rests(facts in vec(1u8..40, 1..60), members in 1usize..200) {
        let mut gossip = Gossip::default();
        facts.iter().for_each(|n| gossip.push(fact(*n, life(1), Claim::Alive)));
        let mut sent = BTreeMap::<NodeId, u32>::new();
        loop {
            let mut out = Vec::new();
            gossip.fill(&mut out, FACTS_MAX, id(99), members);
            prop_assert!(out.len() <= FACTS_MAX);
            if out.is_empty() {
                break;
            }
            out.iter().for_each(|fact| *sent.entry(fact.node).or_default() += 1);
        }
        let distinct: alloc::collections::BTreeSet<_> = facts.iter().map(|n| id(*n)).collect();
        prop_assert_eq!(sent.len(), distinct.len());
        prop_assert!(sent.values().all(|times| *times == gossip::sends_max(members)));
    }

    #[test]
    fn everyone_is_asked_once_in_a_traversal(count in 1u8..30, seed in any::<[u8; 32]>(), gone in 1u8..30) {
        let mut rng = NodeRng::new(seed, 0);
        let mut order = Order::default();
        (1..=count).for_each(|n| order.insert(id(n), &mut rng));
        let mut left = usize::from(count);
        // The first traversal may have begun anywhere: end it.
        (0..count).for_each(|_| { order.next(&mut rng); });
        if gone <= count && count > 1 {
            order.remove(id(gone));
            left -= 1;
        }
        let asked: Vec<NodeId> = (0..2 * left).filter_map(|_| order.next(&mut rng)).collect();
        prop_assert_eq!(asked.len(), 2 * left);
        for n in (1..=count).filter(|n| *n != gone || count == 1) {
            prop_assert!(asked.contains(&id(n)), "{} is not asked within 2n - 1 rounds", n);
        }
    }
}

#[test]
fn the_largest_packet_fits() {
    let last: Incarnation = minicbor::decode(&minicbor::to_vec((1u64 << 62) - 1).unwrap()).unwrap();
    let far = Addr { ip: [255; 16], port: u16::MAX };
    let fact = Fact {
        node: id(255),
        incarnation: last,
        claim: Claim::Suspect { by: id(254) },
        role: Role::Worker,
        addr: far,
    };
    let bodies = [
        Body::PingReq { seq: u32::MAX, target: id(255), budget_ms: u32::MAX },
        Body::Page { after: Some(id(254)), next: Some(id(255)) },
        Body::Pull { after: Some(id(255)), mutual: true },
    ];
    for body in bodies {
        let packet = Packet {
            from: id(253),
            incarnation: last,
            role: Role::Worker,
            addr: far,
            body,
            facts: alloc::vec![fact; FACTS_MAX],
        };
        let bytes = encode_packet(&packet).expect("it fits");
        assert!(bytes.len() <= PACKET_BYTES_MAX, "{} bytes", bytes.len());
        assert_eq!(decode_packet(&bytes), Ok(packet));
    }
}
