//! Laws of coordinates: how well they predict, and what a liar can do.

use proptest::prelude::*;
use std::vec::Vec;

use super::*;

/// Nodes with a true round trip between each two, in milliseconds.
struct World {
    truth: Vec<Vec<f64>>,
    nodes: Vec<Coordinates>,
    rng: NodeRng,
    now: Instant,
}

fn node(ix: usize) -> NodeId {
    NodeId([ix as u8 + 1; 16])
}

fn seed(ix: usize, salt: u64) -> [u8; 32] {
    let mut seed = [ix as u8; 32];
    seed[..8].copy_from_slice(&salt.to_be_bytes());
    seed
}

impl World {
    fn new(count: usize, salt: u64, rtt_ms: impl Fn(usize, usize) -> f64) -> Self {
        let row = |one: usize| (0..count).map(|other| rtt_ms(one, other)).collect();
        Self {
            truth: (0..count).map(row).collect(),
            nodes: (0..count).map(|ix| Coordinates::new(seed(ix, salt))).collect(),
            rng: NodeRng::new(seed(99, salt), 1),
            now: Instant::ZERO,
        }
    }

    /// 16 nodes in a plane of 100 ms, each behind an access link of 1 to 8 ms.
    fn plane(salt: u64) -> Self {
        let mut rng = NodeRng::new(seed(77, salt), 2);
        let mut below = |bound: u64| rng.below(bound * 1_000) as f64 / 1e3;
        let places: Vec<(f64, f64, f64)> =
            (0..16).map(|_| (below(100), below(100), 1.0 + below(7))).collect();
        Self::new(16, salt, |one, other| {
            let (a, b) = (places[one], places[other]);
            libm::sqrt((a.0 - b.0) * (a.0 - b.0) + (a.1 - b.1) * (a.1 - b.1)) + a.2 + b.2
        })
    }

    /// 12 nodes in 3 datacenters: 1 ms inside, 100 ms between any two.
    fn three_datacenters(salt: u64) -> Self {
        Self::new(12, salt, |one, other| if one % 3 == other % 3 { 1.0 } else { 100.0 })
    }

    /// A measurement: the truth, 5 % less to 10 % more.
    fn measure(&mut self, one: usize, other: usize) -> Duration {
        let noise = 0.95 + self.rng.below(150) as f64 / 1e3;
        Duration::from_micros((self.truth[one][other] * noise * 1e3) as u64)
    }

    /// Each honest node measures this many others at random; the `liars` first say `lie` of themselves.
    fn run(&mut self, samples: usize, liars: usize, lie: impl Fn(&mut NodeRng) -> Coordinate) {
        let count = self.nodes.len();
        for _ in 0..samples {
            self.now += Duration::from_secs(2);
            for one in liars..count {
                let other = (one + 1 + self.rng.below(count as u64 - 1) as usize) % count;
                let says = if other < liars { lie(&mut self.rng) } else { self.nodes[other].own() };
                let rtt = self.measure(one, other);
                // A refused sample is the answer to some lies.
                let _ = self.nodes[one].sample(self.now, node(other), rtt, says);
            }
        }
    }

    /// The median relative error of predictions between honest nodes.
    fn median_error(&self, liars: usize) -> f64 {
        let mut errors = Vec::new();
        for one in liars..self.nodes.len() {
            for other in (liars..self.nodes.len()).filter(|other| *other != one) {
                let truth = self.truth[one][other] / 1e3;
                let place = Point::from_wire(self.nodes[other].own());
                errors.push((self.nodes[one].own.round_trip(&place) - truth).abs() / truth);
            }
        }
        errors.sort_by(f64::total_cmp);
        errors[errors.len() / 2]
    }
}

fn honest(_: &mut NodeRng) -> Coordinate {
    unreachable!("nobody lies")
}

/// The paper's figure of its own: a median relative error of 0.11 on the round trips of the King data (section 5.4).
#[test]
fn predictions_converge_to_the_papers_error() {
    for (name, world) in
        [("plane", World::plane as fn(u64) -> World), ("datacenters", World::three_datacenters)]
    {
        for salt in 0..20 {
            let mut world = world(salt);
            world.run(40, 0, honest);
            let early = world.median_error(0);
            assert!(early < 0.2, "{name} {salt}: {early} after 40 samples");
            world.run(60, 0, honest);
            let late = world.median_error(0);
            assert!(late < 0.11, "{name} {salt}: {late} after 100 samples");
        }
    }
}

#[test]
fn the_same_samples_give_the_same_bits() {
    let places = |salt| {
        let mut world = World::plane(salt);
        world.run(50, 0, honest);
        world.nodes.iter().map(Coordinates::own).collect::<Vec<_>>()
    };
    assert_eq!(places(3), places(3));
    assert_ne!(places(3), places(4));
}

/// Equidistant places cannot lie on a line: the nodes, which all start at the origin, part in more than one direction.
#[test]
fn more_than_one_dimension_is_used() {
    let mut world = World::three_datacenters(5);
    world.run(100, 0, honest);
    let used = |axis: usize| {
        let parts = world.nodes.iter().map(|node| node.own().at_us[axis]);
        parts.clone().max().unwrap() - parts.min().unwrap() > 10_000
    };
    assert!((0..DIMENSIONS).filter(|axis| used(*axis)).count() >= 2);
}

#[test]
fn what_is_out_of_bounds_is_refused_and_changes_nothing() {
    let mut node_0 = Coordinates::new(seed(0, 1));
    let fine = Coordinates::new(seed(1, 1)).own();
    let (now, rtt) = (Instant::ZERO, Duration::from_millis(20));
    node_0.sample(now, node(1), rtt, fine).unwrap();
    let (before, predicted) = (node_0.own(), node_0.predict(now, node(1)));

    let with = |change: fn(&mut Coordinate)| {
        let mut bad = fine;
        change(&mut bad);
        bad
    };
    for bad in [
        with(|it| it.at_us[7] = 10_000_001),
        with(|it| it.at_us[0] = i32::MIN),
        with(|it| it.height_us = 9),
        with(|it| it.height_us = u32::MAX),
        with(|it| it.adjustment_us = -10_000_001),
        with(|it| it.error_permille = 1_501),
    ] {
        assert_eq!(node_0.sample(now, node(1), rtt, bad), Err(Refused::Coordinate), "{bad:?}");
    }
    for rtt in [Duration::ZERO, RTT_MAX + Duration::from_nanos(1), Duration::MAX] {
        assert_eq!(node_0.sample(now, node(1), rtt, fine), Err(Refused::Rtt));
    }
    assert_eq!((node_0.own(), node_0.predict(now, node(1))), (before, predicted));
}

#[test]
fn an_old_word_predicts_nothing_and_the_oldest_peer_goes_first() {
    let mut coordinates = Coordinates::new(seed(0, 1));
    let fine = Coordinates::new(seed(1, 1)).own();
    let mut now = Instant::ZERO;
    let peer = |ix: usize| {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&(ix as u64).to_be_bytes());
        NodeId(id)
    };
    coordinates.sample(now, peer(0), Duration::from_millis(3), fine).unwrap();
    assert!(coordinates.predict(now + TTL, peer(0)).is_some());
    assert_eq!(coordinates.predict(now + TTL + Duration::from_nanos(1), peer(0)), None);
    assert_eq!(coordinates.predict(now, peer(1)), None, "never heard");
    for ix in 1..=PEERS_MAX {
        now += Duration::from_millis(1);
        coordinates.sample(now, peer(ix), Duration::from_millis(3), fine).unwrap();
    }
    assert_eq!(coordinates.peers.len(), PEERS_MAX);
    assert!(coordinates.predict(now, peer(0)).is_none() && coordinates.predict(now, peer(1)).is_some());
}

#[test]
fn one_late_answer_of_three_is_no_distance() {
    let mut world = World::three_datacenters(8);
    world.run(100, 0, honest);
    let before = world.nodes[0].predict(world.now, node(1)).unwrap();
    let says = world.nodes[1].own();
    for rtt_ms in [100, 100, 2_000, 100, 100] {
        world.nodes[0].sample(world.now, node(1), Duration::from_millis(rtt_ms), says).unwrap();
    }
    let after = world.nodes[0].predict(world.now, node(1)).unwrap();
    let moved = after.as_micros().abs_diff(before.as_micros());
    assert!(moved < 10_000, "{before:?} became {after:?}");
}

/// Lies of every kind.
fn lie() -> impl Strategy<Value = [i32; 4]> {
    let reach = 10_000_000;
    prop_oneof![
        Just([reach, 10, 0, 0]),
        Just([-reach, reach, reach, 0]),
        Just([0, 10, -reach, 0]),
        (-reach..=reach, 10..=reach, -reach..=reach, 0..=1_500).prop_map(|(a, b, c, d)| [a, b, c, d]),
        any::<[i32; 4]>(),
    ]
}

fn told([at, height, adjustment, error]: [i32; 4], rng: &mut NodeRng) -> Coordinate {
    let mut at_us = [at / 4; DIMENSIONS];
    // Somewhere else each time.
    at_us[rng.below(DIMENSIONS as u64) as usize] = at;
    let (height_us, error_permille) = (height as u32, error as u16);
    Coordinate { at_us, height_us, adjustment_us: adjustment, error_permille }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// One in eight lies as it likes: the others still find each other.
    #[test]
    fn liars_do_not_poison_the_honest(lie in lie(), salt in any::<u64>()) {
        let mut world = World::plane(salt);
        world.run(200, 2, |rng| told(lie, rng));
        for node in &world.nodes {
            prop_assert!(node.own().is_legal());
            prop_assert!(node.error().is_finite());
        }
        let error = world.median_error(2);
        prop_assert!(error < 0.35, "median relative error {error}");
    }

    /// Whatever is said, one sample moves a node by no more than its share of the measured round trip.
    #[test]
    fn one_sample_moves_no_further_than_measured(
        lies in proptest::collection::vec((lie(), 1u64..RTT_MAX.as_micros()), 1..40),
        salt in any::<u64>(),
    ) {
        let mut coordinates = Coordinates::new(seed(1, salt));
        let mut rng = NodeRng::new(seed(2, salt), 3);
        for (lie, rtt_us) in lies {
            let before = coordinates.own;
            // Each time another peer: no median over several round trips.
            let peer = NodeId(rng.u64().to_be_bytes().repeat(2).try_into().unwrap());
            let rtt = Duration::from_micros(rtt_us);
            let taken = coordinates.sample(Instant::ZERO, peer, rtt, told(lie, &mut rng));
            let after = coordinates.own;
            if taken.is_err() {
                prop_assert_eq!(before, after);
            }
            let mut moved = before;
            moved.height = after.height;
            let distance = moved.raw_round_trip(&after) - 2.0 * after.height;
            let gravity = 0.03;
            prop_assert!(distance <= GAIN * seconds(rtt) + gravity, "{distance} s for {rtt:?}");
            prop_assert!((after.height - before.height).abs() <= GAIN * seconds(rtt) + 1e-9);
            prop_assert!(after.to_wire().is_legal() && (0.0..=ERROR_MAX).contains(&after.error));
            let wire = after.to_wire();
            prop_assert_eq!(Point::from_wire(wire).to_wire(), wire, "what is told is what is meant");
            let (predicted, bound) =
                (coordinates.predict(Instant::ZERO, peer), coordinates.upper_bound(Instant::ZERO, peer));
            prop_assert!(bound >= predicted);
        }
    }
}
