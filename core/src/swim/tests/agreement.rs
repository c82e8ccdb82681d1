//! Laws of a whole group, under drawn histories of crashes, restarts, cuts and loss. [`World`] holds after every step
//! of every machine that nobody knows an incarnation that its subject has not made, that no record goes back, and that
//! nobody returns from the dead at the incarnation at which it died; `Swim::check`, that whatever was begun ends.

use proptest::collection::vec;
use proptest::prelude::*;

use super::world::World;
use super::*;

/// What may happen to a group.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Crash(usize),
    Start(usize),
    /// Members by bits against the others.
    Cut(u8),
    OneWay(usize, usize),
    Mend,
    Loss(u64),
    /// A member hears that another is suspected, or dead.
    Slander(usize, usize, bool),
    Wait(u64),
}

fn any_fate(members: usize) -> impl Strategy<Value = Fate> {
    let one = 0..members;
    prop_oneof![
        2 => one.clone().prop_map(Fate::Crash),
        3 => one.clone().prop_map(Fate::Start),
        1 => any::<u8>().prop_map(Fate::Cut),
        1 => (one.clone(), one.clone()).prop_map(|(from, to)| Fate::OneWay(from, to)),
        2 => Just(Fate::Mend),
        1 => (0u64..300).prop_map(Fate::Loss),
        2 => (one.clone(), one, any::<bool>()).prop_map(|(at, about, dead)| Fate::Slander(at, about, dead)),
        6 => (500u64..40_000).prop_map(Fate::Wait),
    ]
}

/// Members of the drawn groups.
const MEMBERS: u8 = 6;

fn slander(world: &mut World, at: usize, about: usize, dead: bool) {
    let by = (0..world.len()).find(|n| *n != at && *n != about && world.is_up(*n));
    if let Some(by) = by.filter(|_| at != about && world.is_up(at) && world.is_up(about)) {
        let subject = world.swim(about).incarnation();
        let teller = world.swim(by).incarnation();
        let claim = if dead { Claim::Dead } else { Claim::Suspect { by: id(by as u8 + 1) } };
        let fact = fact(about as u8 + 1, subject, claim);
        let packet = packet(by as u8 + 1, teller, Body::Rumours, &[fact]);
        world.inject(at, addr(by as u8 + 1), packet);
    }
}

fn befall(world: &mut World, fate: Fate) {
    match fate {
        Fate::Crash(n) if world.is_up(n) => world.crash(n),
        Fate::Start(n) if !world.is_up(n) => world.start(n),
        Fate::Crash(_) | Fate::Start(_) => {}
        Fate::Cut(side) => {
            let side: Vec<usize> = (0..world.len()).filter(|n| side >> n & 1 == 1).collect();
            world.partition(&side);
        }
        Fate::OneWay(from, to) => {
            world.cut.insert((from, to));
        }
        Fate::Mend => world.cut.clear(),
        Fate::Loss(permille) => world.loss_permille = permille,
        Fate::Slander(at, about, dead) => slander(world, at, about, dead),
        Fate::Wait(millis) => world.run_for(millis),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happened_all_agree_in_the_end(seed: u64, fates in vec(any_fate(MEMBERS.into()), 1..24)) {
        let mut world = World::gates(seed, MEMBERS);
        world.start_all(3_000);
        fates.into_iter().for_each(|fate| befall(&mut world, fate));
        world.cut.clear();
        world.loss_permille = 0;
        (0..world.len()).filter(|n| !world.is_up(*n)).collect::<Vec<_>>().into_iter().for_each(|n| world.start(n));
        world.run_for(180_000);
        prop_assert!(world.converged(), "{:?}", world.strays());
        // And on the very incarnations that the members have.
        for (observer, subject, _) in world.beliefs().collect::<Vec<_>>() {
            let known = world.swim(observer).members.get(id(subject as u8 + 1)).map(|it| it.fact.incarnation);
            prop_assert_eq!(known, Some(world.swim(subject).incarnation()), "{} of {}", observer, subject);
        }
    }

    #[test]
    fn the_slandered_refute_in_time(
        seed: u64,
        members in 4u8..20,
        (at, about) in (0usize..20, 0usize..20),
        dead: bool,
        loss_permille in 0u64..200,
    ) {
        let mut world = World::gates(seed, members);
        world.start_all(3_000);
        world.run_for(40_000);
        prop_assert!(world.converged(), "{:?}", world.strays());
        let (at, about) = (at % world.len(), about % world.len());
        world.loss_permille = loss_permille;
        let (before, past) = (world.swim(about).incarnation(), world.history.len());
        slander(&mut world, at, about, dead);
        world.run_for(60_000);
        prop_assert_eq!(world.count_all(MemberStatus::Dead), 0);
        let doubted = world.history[past..].iter().any(|it| it.3 == MemberStatus::Suspect);
        prop_assert!(at == about || doubted, "the word was taken in");
        prop_assert!(at == about || world.swim(about).incarnation() > before, "it was refuted");
    }
}
