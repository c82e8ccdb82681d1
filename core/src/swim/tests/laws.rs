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
    (1u64..4, 0u64..4).prop_map(|(boot, refutes)| Incarnation::from_raw(boot << 32 | refutes))
}

fn known() -> impl Strategy<Value = Fact> {
    (near(), any_claim()).prop_map(|(incarnation, claim)| fact(9, incarnation, claim))
}

/// A group in which everybody asks everybody.
fn all(members: usize) -> suspicion::Group {
    suspicion::Group { members, judges: members - 1, is_judge: true }
}

fn merged(facts: &[Fact]) -> (Incarnation, u8) {
    let start = fact(9, Incarnation::NONE, Claim::Alive);
    let mut member = table::Member { fact: start, confirmed: true, seed: false };
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
        let make = |n: u64| Incarnation::from_raw(n % (1 << 62));
        let (mine, theirs) = (make(mine), make(theirs));
        if let Some(above) = mine.above(theirs) {
            prop_assert!(above > theirs && above.is_legal());
        } else {
            prop_assert!(mine.is_absurd(theirs) || theirs.boot().0 >= (1 << 30) - 1);
        }
    }

    #[test]
    fn confirmations_only_shorten_a_suspicion(members in 2usize..2_000, accusers in vec(1u8..12, 0..12)) {
        let rules = Rules::ours(Duration::from_secs(1), Duration::from_millis(500));
        let mut suspicion = Suspicion::new(life(1), id(1), Instant::ZERO, all(members), &rules);
        let periods = (1.7 * libm::log10(members as f64)).max(5.0);
        let shortest = rules.period.scale((1e6 * periods) as u64, 1_000_000);
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
    fn every_suspicion_ends_even_in_silence(
        members in 2usize..2_000,
        accusers in vec(1u8..12, 0..5),
        heard in 0u64..4_000,
    ) {
        let rules = Rules::ours(Duration::from_secs(1), Duration::from_millis(500));
        let mut suspicion = Suspicion::new(life(1), id(1), Instant::ZERO, all(members), &rules);
        accusers.iter().for_each(|by| { suspicion.confirm(id(*by)); });
        let ends_by = suspicion.ends_by(at(1_000 * heard).mono);
        let longest = rules.shortest(members).scale(6, 1);
        prop_assert!(ends_by >= suspicion.deadline());
        prop_assert!(ends_by <= suspicion.deadline() + longest.scale(8, 1));
        // With nobody heard at all, after the longest suspicion once more.
        prop_assert!(suspicion.ends_by(Instant::ZERO) <= suspicion.deadline() + longest);
    }

    #[test]
    fn one_teller_kills_nobody_in_a_group_of_more(members in 3usize..2_000, by in 1u8..9, teller in 1u8..9) {
        let rules = Rules::ours(Duration::from_secs(1), Duration::from_millis(500));
        let suspicion = Suspicion::new(life(1), id(by), Instant::ZERO, all(members), &rules);
        prop_assert_eq!(suspicion.is_proven_with(id(teller)), by != teller);
        let pair = Suspicion::new(life(1), id(by), Instant::ZERO, all(2), &rules);
        prop_assert!(pair.is_proven_with(id(by)));
    }

    #[test]
    fn every_rumour_travels_its_times_and_rests(about in vec(1u32..40, 1..60), sends_max in 1u32..20) {
        let mut gossip = Gossip::default();
        about.iter().for_each(|ix| gossip.push(*ix, id(1)));
        let mut sent = BTreeMap::<Ix, u32>::new();
        loop {
            let before = sent.clone();
            let mut packet = Vec::new();
            gossip.take(Some(99), sends_max, |rumour| {
                let fits = packet.len() < 14;
                packet.extend(fits.then_some(rumour.about));
                fits
            });
            if packet.is_empty() {
                break;
            }
            let least_left_out = before.iter().filter(|(ix, _)| !packet.contains(ix)).map(|(_, n)| *n).min();
            for ix in &packet {
                // Whoever was sent least goes first.
                let times = before.get(ix).copied().unwrap_or(0);
                prop_assert!(least_left_out.is_none_or(|least| times <= least) || times == 0);
                *sent.entry(*ix).or_default() += 1;
            }
            let distinct: alloc::collections::BTreeSet<_> = packet.iter().collect();
            prop_assert_eq!(distinct.len(), packet.len());
        }
        let distinct: alloc::collections::BTreeSet<_> = about.iter().collect();
        prop_assert_eq!(sent.len(), distinct.len());
        prop_assert!(sent.values().all(|times| *times == sends_max));
        prop_assert!(gossip.is_empty());
    }

    #[test]
    fn pages_hold_the_parts_that_differ(size in 4u32..8, one in vec(0u32..3, 128), other in vec(0u32..3, 128), node: [u8; 16]) {
        let size = 1 << size;
        let parts = Parts::differing(&one[..size], &other[..size]);
        let part = table::leaf(NodeId(node), size);
        prop_assert_eq!(parts.has(table::leaf(NodeId(node), table::LEAVES)), one[part] != other[part]);
        prop_assert_eq!(parts.is_empty(), one[..size] == other[..size]);
    }

    #[test]
    fn everyone_is_asked_once_in_a_traversal(count in 1u32..30, seed in any::<[u8; 32]>(), gone in 0u32..30) {
        let mut rng = NodeRng::new(seed, 0);
        let mut order = Order::default();
        (0..count).for_each(|ix| order.insert(ix, &mut rng));
        order.begin(&mut rng);
        let asked_before: Vec<Ix> = (0..count / 2).filter_map(|_| order.next()).collect();
        order.retain(|ix| ix != gone);
        // A newcomer displaces nobody from this traversal.
        order.insert(count, &mut rng);
        let mut asked = asked_before.clone();
        asked.extend(core::iter::from_fn(|| order.next()));
        asked.retain(|ix| *ix != gone);
        asked.sort_unstable();
        let expected: Vec<Ix> = (0..=count).filter(|ix| *ix != gone).collect();
        prop_assert_eq!(asked, expected);
    }

    #[test]
    fn a_sample_is_whoever_fits(len in 0u32..40, fits in vec(any::<bool>(), 40), count in 0usize..9, seed in any::<[u8; 32]>()) {
        let mut rng = NodeRng::new(seed, 0);
        let ok = |ix: Ix| fits[ix as usize];
        let chosen = probe::sample(|place| place as Ix, len as usize, count, &mut rng, ok);
        let there = (0..len).filter(|ix| ok(*ix)).count();
        prop_assert_eq!(chosen.len(), count.min(there));
        prop_assert!(chosen.iter().all(|ix| ok(*ix)));
        let distinct: alloc::collections::BTreeSet<_> = chosen.iter().collect();
        prop_assert_eq!(distinct.len(), chosen.len());
    }

    /// The dense table does what a map of members does.
    #[test]
    fn the_table_is_a_map(ops in vec((1u8..20, near(), any_claim(), any::<bool>(), 0u8..4, any::<bool>()), 0..120)) {
        let mut members = table::Members::new(7);
        let mut model = BTreeMap::new();
        for (n, incarnation, claim, confirmed, at, remove) in ops {
            let claim = if let Claim::Suspect { .. } = claim { Claim::Suspect { by: id(n) } } else { claim };
            // Every other address is an IPv4-mapped one.
            let mut ip = [at; 16];
            if at % 2 == 0 {
                ip[..12].copy_from_slice(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff]);
            }
            let fact = Fact { addr: Addr { ip, port: u16::from(at) }, ..fact(n, incarnation, claim) };
            let member = table::Member { fact, confirmed, seed: false };
            match (members.find(id(n)), remove) {
                (Some(ix), true) => {
                    members.remove(ix);
                    model.remove(&id(n));
                }
                (Some(ix), false) => {
                    members.set(ix, &member);
                    model.insert(id(n), member);
                }
                (None, _) => {
                    members.add(&member);
                    model.insert(id(n), member);
                }
            }
            let held: BTreeMap<NodeId, table::Member> =
                members.iter().map(|(_, member)| (member.fact.node, member)).collect();
            prop_assert_eq!(&held, &model);
            prop_assert!((0..20).all(|n| members.get(id(n)) == model.get(&id(n)).copied()));
            prop_assert_eq!(members.live(), model.values().filter(|it| it.is_live()).count());
            prop_assert_eq!(members.rumoured(), model.values().filter(|it| it.is_rumoured()).count());
            // Equal views have equal digests, whatever way they came about.
            let mut other = table::Members::new(9);
            model.values().rev().for_each(|member| { other.add(member); });
            let own = self::fact(77, life(1), Claim::Alive);
            prop_assert_eq!(members.digest(16, &own), other.digest(16, &own));
        }
    }
}

proptest! {
    /// Packed rows give back what was written, whether it fits 16 bytes or not.
    #[test]
    fn rows_hold_what_was_written(ops in vec((0usize..12, any::<u64>(), 0u8..4), 1..300)) {
        let (mut rows, mut model) = (rows::Rows::default(), BTreeMap::new());
        let mut places = BTreeMap::new();
        for (who, draw, op) in ops {
            let member = identity(who, draw);
            let flags = (draw >> 56) as u8 & 0b0111_0011;
            match (places.get(&who).copied(), op) {
                (Some(ix), 0) => {
                    rows.remove(ix);
                    places.remove(&who);
                    model.remove(&ix);
                }
                (Some(ix), _) => {
                    rows.set(ix, &member, flags);
                    model.insert(ix, (member, flags));
                }
                (None, _) => {
                    let ix = rows.add(&member, flags);
                    prop_assert!(model.insert(ix, (member, flags)).is_none(), "a place of its own");
                    places.insert(who, ix);
                }
            }
            prop_assert!(rows.used(0).eq(model.keys().copied()));
            for (ix, (member, flags)) in &model {
                prop_assert_eq!(rows.identity(*ix), *member);
                prop_assert_eq!(rows.flags(*ix) & !rows::FAR, *flags);
                prop_assert!(rows.is_of(*ix, member.node) && !rows.is_of(*ix, id(99)));
            }
        }
    }
}

/// One of few realms, networks, ports and lives, or of lives and addresses that do not fit.
fn identity(who: usize, draw: u64) -> rows::Identity {
    let part = |at: u32, count: u64| (draw >> at) % count;
    let mut ip =
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, part(0, 3) as u8, part(4, 250) as u8, who as u8];
    ip[3] = u8::from(part(12, 5) == 0);
    let boot = [1, 2, 65_535, 65_536, 1 << 20][part(16, 5) as usize];
    let refutes = [0, 0, 7, 65_535, 65_536][part(20, 5) as usize];
    rows::Identity {
        node: NodeId::of_halves([who as u8; 8], [part(24, 3) as u8; 8]),
        incarnation: Incarnation::new(BootNo(boot), refutes),
        addr: Addr { ip, port: 7_946 + part(28, 2) as u16 },
    }
}

/// Networks are numbered up to a bound; those beyond it are held otherwise, and a number that nobody uses serves again.
#[test]
fn there_is_room_for_any_number_of_networks() {
    let member = |n: u16| {
        let [high, low] = n.to_be_bytes();
        let ip = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, high, low, 0, 1];
        let node = NodeId::of_halves([high, low, 0, 0, 0, 0, 0, 0], [1; 8]);
        rows::Identity { node, incarnation: life(1), addr: Addr { ip, port: 7_946 } }
    };
    let mut rows = rows::Rows::default();
    for n in 0..400 {
        assert_eq!(rows.add(&member(n), 0), Ix::from(n));
    }
    let near = |rows: &rows::Rows, n: u16| rows.flags(n.into()) & rows::FAR == 0;
    assert_eq!((0..400).filter(|n| near(&rows, *n)).count(), 256);
    rows.remove(3);
    assert_eq!(rows.add(&member(1_000), 0), 3);
    assert!(near(&rows, 3));
    assert_eq!(rows.identity(3), member(1_000));
    assert!((0..400).filter(|n| *n != 3).all(|n| rows.identity(n.into()) == member(n)));
}

#[test]
fn the_largest_packet_fits() {
    let last = Incarnation::from_raw((1 << 62) - 1);
    let fact = |n: u8| {
        let far = Addr { ip: [n; 16], port: u16::MAX - u16::from(n) };
        let claim = Claim::Suspect { by: id(254) };
        Fact { node: id(n), incarnation: last, claim, role: Role::Worker, addr: far }
    };
    let swim = Swim::new(SwimConfig { addr: fact(253).addr, ..config(253, Role::Worker, &[]) }, [0; 32]);
    let bodies = [
        Body::PingReq { seq: u32::MAX, target: id(255), budget_ms: u32::MAX },
        Body::Page { from: u32::MAX, next: u32::MAX, more: true, parts: Some(Parts::ALL) },
        Body::Pull { from: u32::MAX, mutual: true, parts: Some(Parts::ALL) },
        Body::Pull { from: u32::MAX, mutual: true, parts: None },
    ];
    for body in bodies {
        let digests = matches!(body, Body::Pull { parts: None, .. });
        let mut load = swim.load();
        let most = if digests { 1 } else { u8::MAX };
        let full = !(0..most).all(|n| load.put(fact(n)));
        assert!(full || digests, "so many large facts do not fit");
        let mut out = Effects::new();
        swim.send_load(addr(1), body, load, digests.then(|| alloc::vec![u32::MAX; table::LEAVES]), &mut out);
        let Some(Effect::SendDatagram { packet, .. }) = out.pop() else { panic!("it is sent") };
        let bytes = encode_packet(&packet).expect("it fits");
        assert!(bytes.len() <= PACKET_BYTES_MAX, "{} bytes", bytes.len());
        assert_eq!(decode_packet(&bytes), Ok(*packet));
    }
}

proptest! {
    /// What is packed comes out again, takes as many bytes as a load counts, and as few as are promised.
    #[test]
    fn packing_loses_nothing(packet in super::hostile::any_packet(), mapped in any::<u64>(), near in any::<u64>()) {
        // Some IPv4-mapped, some of one realm, one network and one life.
        let shape = |n: usize, fact: &mut Fact| {
            if mapped >> (n % 64) & 1 == 1 {
                fact.addr.ip[..12].copy_from_slice(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff]);
            }
            if near >> (n % 64) & 1 == 1 {
                (fact.addr.ip[12], fact.addr.ip[13], fact.addr.port) = (10, 0, 7_946);
                fact.node = NodeId::of_halves(fact.node.name(), [7; 8]);
                fact.incarnation = life(1);
            }
        };
        let mut packet = packet;
        let mut own = packet.introduction();
        shape(63, &mut own);
        (packet.from, packet.incarnation, packet.addr) = (own.node, own.incarnation, own.addr);
        packet.facts.iter_mut().enumerate().for_each(|(n, fact)| shape(n, fact));
        prop_assert!(pack::size(&own, None, own.node) >= pack::LEAST_FIRST);
        let (mut bytes, mut counted, mut before) = (Vec::new(), 0, own);
        for fact in &packet.facts {
            let size = pack::size(fact, Some(&before), packet.from);
            prop_assert!(size >= pack::LEAST);
            counted += size;
            pack::put(fact, Some(&before), packet.from, &mut bytes);
            prop_assert_eq!(bytes.len(), counted);
            before = *fact;
        }
        if let Ok(bytes) = encode_packet(&packet) {
            prop_assert_eq!(decode_packet(&bytes), Ok(packet));
        }
    }

    /// A datagram with a wrong byte is refused, or is another packet: it is read to its end and no further.
    #[test]
    fn a_wrong_byte_is_another_packet_or_none(packet in super::hostile::any_packet(), at: usize, byte: u8) {
        if let Ok(mut bytes) = encode_packet(&packet) {
            let at = at % bytes.len();
            bytes[at] = byte;
            if let Ok(other) = decode_packet(&bytes) {
                prop_assert_eq!(decode_packet(&encode_packet(&other).expect("no larger")), Ok(other));
            }
        }
    }
}

#[test]
fn one_word_after_a_silence_settles_nothing() {
    let mut awareness = Awareness::new(Duration::from_secs(1));
    awareness.heard(at(500));
    assert!(!awareness.is_unsettled());
    awareness.heard(at(60_000));
    assert!(!awareness.is_wary(at(62_500).mono) && awareness.is_unsettled(), "silence may go on");
    awareness.heard(at(62_600));
    assert!(!awareness.is_unsettled());
}
