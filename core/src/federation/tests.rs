//! Transcripts of a gate's judgement: who answers, what is said, what follows.

use alloc::string::{String, ToString};
use proptest::prelude::*;
use std::{format, vec};

use super::*;
use crate::config::{Datacenter as Dc, Limits, Offer, Peer, Roster, Timing};
use crate::id::Role;
use crate::swim::Addr;
use crate::wire::Capacity;

fn dc(name: &str) -> DcId {
    DcId::new(name).expect("a name")
}

fn manager(dc: &str, ix: u16) -> NodeId {
    NodeId::derive("test", Role::Manager, dc, &format!("m{ix}"))
}

fn gate(ix: u16) -> NodeId {
    NodeId::derive("test", Role::Gate, "", &format!("g{ix}"))
}

/// Gate `g0`, what it holds, and its clock.
struct Scene {
    federation: Federation,
    links: Links,
    now_ms: u64,
    names: Vec<String>,
    said: u64,
}

impl Scene {
    /// So many datacenters `d0`, `d1`, ... of three managers, all connected; and so many gates. Every datacenter has
    /// answered and said that it is well.
    fn new(dcs: usize, gates: u16) -> Self {
        let peer = |node| Peer { node, name: String::new(), addr: Addr { ip: [0; 16], port: 1 } };
        let names: Vec<String> = (0..dcs).map(|ix| format!("d{ix}")).collect();
        let datacenter = |name: &String| Dc {
            dc: dc(name),
            managers: (0..3).map(|ix| peer(manager(name, ix))).collect(),
            region: dc("west"),
        };
        let config = NodeConfig {
            cluster: "test".to_string(),
            role: Role::Gate,
            dc: DcId::NONE,
            name: "g0".to_string(),
            node: gate(0),
            addr: Addr { ip: [0; 16], port: 1 },
            roster: Roster {
                gates: (0..gates).map(|ix| peer(gate(ix))).collect(),
                datacenters: names.iter().map(datacenter).collect(),
            },
            offer: Offer::default(),
            timing: Timing::for_role(Role::Gate),
            limits: Limits::default(),
            allow_two_voters: false,
            minor: crate::wire::MINOR,
        };
        let federation = Federation::new(&config, BootNo(1));
        let mut scene = Self { federation, links: Links::new([1; 32]), now_ms: 0, names, said: 0 };
        scene.federation.start(scene.now());
        for name in scene.names.clone() {
            for ix in 0..3 {
                let now = crate::time::Now { mono: scene.now(), ..Default::default() };
                scene.links.connected(
                    now,
                    manager(&name, ix),
                    (BootNo(1), crate::wire::Dialect::OURS),
                    &mut Effects::new(),
                );
            }
            scene.answer(&name);
            scene.say(&name, 0, 1, |_| {});
        }
        scene
    }

    fn now(&self) -> Instant {
        Instant::from_nanos(self.now_ms * 1_000_000)
    }

    /// A manager answers a ping.
    fn answer(&mut self, name: &str) -> Vec<Observation> {
        let mut out = Effects::new();
        let rtt = Duration::from_millis(20);
        self.federation.answered(self.now(), manager(name, 1), rtt, &self.links, &mut out);
        observed(out)
    }

    /// A manager says that it leads in this term.
    fn say(&mut self, name: &str, ix: u16, term: u64, change: impl Fn(&mut DcLoad)) -> Vec<Observation> {
        self.said += 1;
        let mut load = DcLoad {
            dc: dc(name),
            boot: BootNo(1),
            version: self.said,
            is_leader: true,
            term: Term(term),
            leader: Some(manager(name, ix)),
            accepting: true,
            capacity: Capacity { total_cores: 32, free_cores: 20, workers: 4 },
            queued_shards: 0,
            jobs: 0,
            known_workers: 4,
            conditions: [4, 0, 0, 0],
            extended: 0,
        };
        change(&mut load);
        let mut out = Effects::new();
        let taken = self.federation.heartbeat(self.now(), manager(name, ix), load, &self.links, &mut out);
        assert_eq!(taken, Ok(()));
        observed(out)
    }

    /// All managers of a datacenter speak.
    fn all_say(&mut self, name: &str) -> Vec<Observation> {
        let mut seen = self.say(name, 0, 1, |_| {});
        for ix in 1..3 {
            seen.extend(self.say(name, ix, 1, |load| load.is_leader = false));
        }
        seen
    }

    /// Another gate says what it reaches.
    fn view(&mut self, ix: u16, reach: impl Fn(&str) -> Reach) -> Vec<Observation> {
        self.said += 1;
        let reaches = self.names.iter().map(|name| (dc(name), reach(name))).collect();
        let view = GateView { boot: BootNo(1), version: self.said, reaches, condition: Condition::Healthy };
        let mut out = Effects::new();
        let taken = self.federation.receive_view(self.now(), gate(ix), view, &self.links, &mut out);
        assert_eq!(taken, Ok(()));
        observed(out)
    }

    /// Time passes; those in `well` answer every second and speak. What was observed, with when.
    fn pass(&mut self, ms: u64, well: impl Fn(&str) -> bool) -> Vec<(u64, Observation)> {
        let (end, mut seen) = (self.now_ms + ms, Vec::new());
        while self.now_ms < end {
            self.now_ms = (self.now_ms + 100).min(end);
            let mut out = Effects::new();
            self.federation.wake(self.now(), &self.links, &mut out);
            let mut now = observed(out);
            if self.now_ms.is_multiple_of(1_000) {
                for name in self.names.clone().iter().filter(|name| well(name)) {
                    now.extend(self.answer(name));
                    now.extend(self.all_say(name));
                }
            }
            seen.extend(now.into_iter().map(|observation| (self.now_ms, observation)));
        }
        seen
    }

    fn health(&self, name: &str) -> Health {
        self.federation.health(self.now(), dc(name), &self.links)
    }

    fn usable(&self, name: &str) -> Option<bool> {
        let candidate = self.federation.candidate(self.now(), dc(name), 1, &self.links);
        candidate.map(|candidate| !candidate.degraded)
    }
}

fn observed(out: Effects) -> Vec<Observation> {
    let observation = |effect| match effect {
        Effect::Observe(observation) => Some(observation),
        _ => None,
    };
    out.into_iter().filter_map(observation).collect()
}

fn reaches(seen: &[(u64, Observation)]) -> Vec<(u64, String, Reach)> {
    let reach = |(at, observation): &(u64, Observation)| match observation {
        Observation::DcReach { dc, reach } => Some((*at, dc.to_string(), *reach)),
        _ => None,
    };
    seen.iter().filter_map(reach).collect()
}

fn healths(seen: &[(u64, Observation)], name: &str) -> Vec<(u64, Health)> {
    let health = |(at, observation): &(u64, Observation)| match observation {
        Observation::DcHealth { dc: of, health } if *of == dc(name) => Some((*at, *health)),
        _ => None,
    };
    seen.iter().filter_map(health).collect()
}

#[test]
fn silence_escalates_by_time_and_each_step_is_told_once() {
    let mut scene = Scene::new(3, 1);
    scene.pass(60_000, |_| true);
    assert_eq!((scene.health("d0"), scene.usable("d0")), (Health::Healthy, Some(true)));

    // The last answer came at 60 s; nothing is measured, so an answer has 1.1 s.
    let seen = scene.pass(60_000, |name| name != "d0");
    let d0 = "d0".to_string();
    assert_eq!(
        reaches(&seen),
        [(72_100, d0.clone(), Reach::Suspected), (102_100, d0.clone(), Reach::Unreachable)]
    );
    assert_eq!(healths(&seen, "d0"), [(72_100, Health::Degraded), (102_100, Health::Unhealthy)]);
    assert_eq!((healths(&seen, "d1"), healths(&seen, "d2")), (vec![], vec![]), "one silence is one");
    assert_eq!(scene.usable("d0"), None);

    let seen = scene.pass(60_000, |_| true);
    assert_eq!(reaches(&seen), [(121_000, d0, Reach::Reachable)]);
    let back = [(121_000, Health::Unknown), (121_000, Health::Degraded), (151_000, Health::Healthy)];
    assert_eq!(healths(&seen, "d0"), back, "it answers, says how it is, and is last choice for a while");
}

#[test]
fn a_datacenter_that_never_answers_is_never_used() {
    let mut scene = Scene::new(2, 1);
    scene.federation.dcs.get_mut(&dc("d0")).unwrap().watch = Watch::new(Instant::ZERO);
    assert_eq!((scene.health("d0"), scene.usable("d0")), (Health::Unknown, None));
    let mut other = Scene::new(1, 1);
    other.federation.dcs.get_mut(&dc("d0")).unwrap().managers.values_mut().for_each(|fact| *fact = None);
    assert_eq!(other.health("d0"), Health::Unknown, "it answers, but nothing is known of it");
}

#[test]
fn a_gate_that_slept_blames_nobody() {
    let mut scene = Scene::new(3, 1);
    scene.pass(10_000, |_| true);
    scene.now_ms += 3_600_000;
    let seen = scene.pass(10_000, |_| false);
    assert_eq!(reaches(&seen), []);
    // Who stays silent while it is awake is noticed.
    let seen = scene.pass(10_000, |_| false);
    assert_eq!(reaches(&seen).len(), 3);
}

#[test]
fn the_leader_of_the_highest_term_stays_whatever_comes_late() {
    let mut scene = Scene::new(1, 1);
    scene.all_say("d0");
    scene.say("d0", 0, 7, |_| {});
    let now = scene.now();
    assert_eq!(scene.federation.managers(now, dc("d0"), &scene.links)[0], manager("d0", 0));
    let leads = Observation::DcLeader { dc: dc("d0"), leader: manager("d0", 1), term: Term(8) };
    assert_eq!(scene.say("d0", 1, 8, |load| load.capacity.free_cores = 7), [leads]);
    // The former leader's answer was under way: newer than what it said before, of an older term.
    assert_eq!(scene.say("d0", 0, 7, |load| load.capacity.free_cores = 1), []);
    assert_eq!(scene.federation.managers(now, dc("d0"), &scene.links)[0], manager("d0", 1));
    let figures = scene.federation.newest(now, dc("d0"), &scene.links, true).unwrap();
    assert_eq!(figures.load.capacity.free_cores, 7);
    // The change alone neither hid an answer nor counted as one.
    assert_eq!(scene.federation.dcs[&dc("d0")].watch.reach(), Reach::Reachable);
}

#[test]
fn groups_are_graded_by_their_share() {
    use Severity::{High, Low, Medium, None};
    for (whole, known, severity) in [
        (1, 1, None),
        (1, 2, None),
        (2, 2, High),
        (2, 3, Low),
        (3, 3, High),
        (1, 6, None),
        (2, 6, Low),
        (3, 6, Medium),
        (4, 6, High),
        (4, 8, High),
        (4, 10, Medium),
        (5, 10, High),
        (10, 10, High),
    ] {
        assert_eq!(grade(2 * whole, whole, known), severity, "{whole} of {known}");
    }
    assert_eq!(grade(3, 1, 6), None, "one and a blip");
    assert_eq!(grade(4, 1, 6), Low, "one and two that are not confirmed");
}

/// Four of six are cut off from this gate alone: ten deaths are one partition.
fn four_of_six(gates: u16, other_sees: Reach) -> (Scene, Vec<(u64, Observation)>) {
    let mut scene = Scene::new(6, gates);
    scene.pass(60_000, |_| true);
    let cut = |name: &str| ["d0", "d1", "d2", "d3"].contains(&name);
    let mut seen = Vec::new();
    for _ in 0..80 {
        for ix in 1..gates {
            let sees = move |name: &str| if cut(name) { other_sees } else { Reach::Reachable };
            let now = scene.now_ms;
            seen.extend(scene.view(ix, sees).into_iter().map(|observation| (now, observation)));
        }
        seen.extend(scene.pass(5_000, |name| !cut(name)));
    }
    (scene, seen)
}

fn times_held(seen: &[(u64, Observation)], name: &str) -> Vec<(u64, bool)> {
    let held = |(at, observation): &(u64, Observation)| match observation {
        Observation::EvictionHeld { dc: of, held } if *of == dc(name) => Some((*at, *held)),
        _ => None,
    };
    seen.iter().filter_map(held).collect()
}

#[test]
fn a_partition_is_held_and_the_hold_is_bounded() {
    // Without other gates: until 300 s after it began to fail, at 72.1 s.
    let (mut scene, seen) = four_of_six(1, Reach::Unknown);
    let suspected = |(at, observation): &(u64, Observation)| {
        matches!(observation, Observation::PartitionSuspected { .. }).then_some(*at)
    };
    let times: Vec<u64> = seen.iter().filter_map(suspected).collect();
    assert_eq!(times, [77_100], "once, when it is confirmed");
    assert_eq!(times_held(&seen, "d3"), [(102_100, true), (372_100, false)]);
    assert_eq!(healths(&seen, "d3"), [(72_100, Health::Degraded), (372_100, Health::Unhealthy)]);
    assert_eq!(healths(&seen, "d5"), []);

    let seen = scene.pass(60_000, |_| true);
    let healed = |(at, observation): &(u64, Observation)| {
        (*observation == Observation::PartitionHealed).then_some(*at)
    };
    assert_eq!(seen.iter().filter_map(healed).collect::<Vec<_>>(), [scene.now_ms - 29_000]);
}

#[test]
fn other_gates_decide_how_long_a_failure_is_held() {
    // All agree that they are gone: let go a minute after they began to fail.
    let (_, seen) = four_of_six(3, Reach::Unreachable);
    assert_eq!(times_held(&seen, "d0"), [(102_100, true), (132_100, false)]);
    // The others reach them: the fault is here.
    let (_, seen) = four_of_six(3, Reach::Reachable);
    assert_eq!(times_held(&seen, "d0"), [(102_100, true), (372_100, false)]);

    // Even a lone failure is held where others reach the datacenter.
    let mut scene = Scene::new(6, 3);
    scene.pass(60_000, |_| true);
    scene.pass(40_000, |name| name != "d2");
    scene.view(1, |_| Reach::Reachable);
    scene.view(2, |_| Reach::Reachable);
    let seen = scene.pass(10_000, |name| name != "d2");
    assert_eq!(times_held(&seen, "d2"), [(102_100, true)]);
    assert_eq!(scene.health("d2"), Health::Degraded);
}

/// While a partition heals its group shrinks: the last to answer are not taken for lone deaths meanwhile, and one that
/// does not come back with the others is let go a minute later.
#[test]
fn the_last_of_a_partition_that_heals_are_no_deaths() {
    let mut scene = Scene::new(6, 1);
    scene.pass(60_000, |_| true);
    scene.pass(60_000, |name| !["d0", "d1", "d2", "d3"].contains(&name));
    scene.pass(1_000, |name| name != "d2" && name != "d3");
    assert_eq!((scene.health("d2"), scene.health("d3")), (Health::Degraded, Health::Degraded));
    let seen = scene.pass(60_000, |name| name != "d3");
    assert_eq!(
        (times_held(&seen, "d2"), times_held(&seen, "d3")),
        (vec![(122_000, false)], vec![(181_000, false)])
    );
    assert_eq!((scene.health("d2"), scene.health("d3")), (Health::Healthy, Health::Unhealthy));

    // The bound counts from the failure: a group that shrinks late prolongs nothing.
    let (mut scene, _) = four_of_six(1, Reach::Unknown);
    scene.pass(10_000, |name| name != "d3");
    assert_eq!(scene.health("d3"), Health::Unhealthy);
}

#[test]
fn deaths_one_after_another_are_no_partition() {
    let mut scene = Scene::new(8, 1);
    scene.pass(60_000, |_| true);
    for dead in 1..=5usize {
        let seen = scene.pass(60_000, |name| name[1..].parse::<usize>().unwrap() >= dead);
        let name = format!("d{}", dead - 1);
        assert!(!seen.iter().any(|(_, it)| matches!(it, Observation::PartitionSuspected { .. })));
        assert_eq!(times_held(&seen, &name), []);
        assert_eq!(scene.health(&name), Health::Unhealthy, "{name}");
    }
}

#[test]
fn one_that_comes_and_goes_is_the_last_choice_until_it_is_calm() {
    let mut scene = Scene::new(3, 1);
    scene.pass(60_000, |_| true);
    for _ in 0..3 {
        scene.pass(15_000, |name| name != "d1");
        scene.pass(15_000, |_| true);
    }
    assert_eq!(scene.federation.dcs[&dc("d1")].past.state(), State::Flapping);
    let seen = scene.pass(400_000, |_| true);
    let back = healths(&seen, "d1");
    // It came back at 136 s: calm until 436 s, recovering until 466 s.
    assert_eq!(back, [(466_000, Health::Healthy)]);
    assert_eq!(healths(&seen, "d0"), []);
}

#[test]
fn health_is_the_worst_sign() {
    let figures = Figures { old: false, workers: (10, 10), free_cores: 20, overloaded: 0 };
    let fine = Signs {
        reach: Reach::Reachable,
        held: false,
        past: State::Fine,
        figures: Some(figures),
        managers: (3, 3),
        overloaded: (0, false),
    };
    let overloaded = |overloaded| Some(Figures { overloaded, ..figures });
    let with = |workers, free_cores| Some(Figures { workers, free_cores, ..figures });
    for (what, signs, health) in [
        ("all well", fine, Health::Healthy),
        ("full", Signs { figures: with((4, 4), 0), ..fine }, Health::Busy),
        ("2 of 3 managers", Signs { managers: (2, 3), ..fine }, Health::Healthy),
        ("1 of 3 managers", Signs { managers: (1, 3), ..fine }, Health::Degraded),
        ("3 of 4 workers", Signs { figures: with((3, 4), 9), ..fine }, Health::Healthy),
        ("2 of 4 workers", Signs { figures: with((2, 4), 9), ..fine }, Health::Degraded),
        ("ill and full", Signs { figures: with((2, 4), 0), ..fine }, Health::Degraded),
        ("no worker is well", Signs { figures: with((0, 4), 0), ..fine }, Health::Unhealthy),
        ("no worker has come yet", Signs { figures: with((0, 0), 0), ..fine }, Health::Unknown),
        ("old", Signs { figures: Some(Figures { old: true, ..figures }), ..fine }, Health::Degraded),
        ("nothing said", Signs { figures: None, ..fine }, Health::Unknown),
        ("suspected", Signs { reach: Reach::Suspected, ..fine }, Health::Degraded),
        ("unreachable", Signs { reach: Reach::Unreachable, ..fine }, Health::Unhealthy),
        ("held", Signs { reach: Reach::Unreachable, held: true, ..fine }, Health::Degraded),
        ("never heard", Signs { reach: Reach::Unknown, ..fine }, Health::Unknown),
        ("just back", Signs { past: State::Recovering, ..fine }, Health::Degraded),
        ("flapping", Signs { past: State::Flapping, ..fine }, Health::Degraded),
        ("2 of 10 workers overloaded", Signs { figures: overloaded(2), ..fine }, Health::Healthy),
        ("3 of 10 workers overloaded", Signs { figures: overloaded(3), ..fine }, Health::Busy),
        ("5 of 10 workers overloaded", Signs { figures: overloaded(5), ..fine }, Health::Degraded),
        ("all workers overloaded", Signs { figures: overloaded(10), ..fine }, Health::Degraded),
        ("1 of 3 managers overloaded", Signs { overloaded: (1, false), ..fine }, Health::Busy),
        ("2 of 3 managers overloaded", Signs { overloaded: (2, false), ..fine }, Health::Degraded),
        ("the leader overloaded", Signs { overloaded: (1, true), ..fine }, Health::Degraded),
        ("older version", Signs { figures: with((2, 0), 9), ..fine }, Health::Healthy),
    ] {
        assert_eq!(judge(signs), health, "{what}");
    }
}

#[test]
fn figures_grow_old_and_are_forgotten() {
    let mut scene = Scene::new(1, 1);
    scene.all_say("d0");
    let mut seen = Vec::new();
    for _ in 0..70 {
        scene.answer("d0");
        seen.extend(scene.pass(1_000, |_| false));
    }
    assert_eq!(healths(&seen, "d0"), [(30_000, Health::Degraded), (60_000, Health::Unknown)]);
}

#[test]
fn a_word_that_is_not_ones_own_or_not_new_changes_nothing() {
    let mut scene = Scene::new(2, 2);
    let load = scene.federation.dcs[&dc("d0")].managers[&manager("d0", 0)].clone().unwrap().load;
    let view = GateView {
        boot: BootNo(1),
        version: 1,
        reaches: vec![(dc("d0"), Reach::Unreachable)],
        condition: Condition::Healthy,
    };
    let (now, before) = (scene.now(), format!("{:?}", scene.federation));
    let Scene { federation, links, .. } = &mut scene;
    let mut out = Effects::new();
    let newer = DcLoad { version: 99, ..load.clone() };
    for (from, load, why) in [
        (manager("d1", 0), newer.clone(), Stale::Sender),
        (gate(1), newer.clone(), Stale::Sender),
        (manager("d0", 0), DcLoad { dc: dc("d1"), ..newer.clone() }, Stale::Sender),
        (manager("d0", 0), DcLoad { dc: dc("nowhere"), ..newer.clone() }, Stale::Sender),
        (manager("d0", 0), load.clone(), Stale::Sequence),
        (manager("d0", 0), DcLoad { boot: BootNo(0), ..newer }, Stale::Sequence),
    ] {
        assert_eq!(federation.heartbeat(now, from, load, links, &mut out), Err(why));
    }
    for from in [gate(0), gate(7), manager("d0", 0)] {
        assert_eq!(federation.receive_view(now, from, view.clone(), links, &mut out), Err(Stale::Sender));
    }
    federation.answered(now, gate(1), Duration::from_millis(20), links, &mut out);
    assert!(out.is_empty());
    assert_eq!(format!("{federation:?}"), before);
    assert_eq!(federation.receive_view(now, gate(1), view.clone(), links, &mut out), Ok(()));
    assert_eq!(federation.receive_view(now, gate(1), view, links, &mut out), Err(Stale::Sequence));
}

#[derive(Clone, Debug)]
enum Op {
    Pass(u64),
    Answer(usize),
    Say(usize, u64),
    View(u16, usize),
    Cut(usize),
}

fn op(dcs: usize) -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (1..8_000u64).prop_map(Op::Pass),
        1 => (1..400_000u64).prop_map(Op::Pass),
        4 => (0..dcs).prop_map(Op::Answer),
        3 => (0..dcs, 0..9u64).prop_map(|(ix, term)| Op::Say(ix, term)),
        1 => (1..3u16, 0..4usize).prop_map(|(gate, reach)| Op::View(gate, reach)),
        1 => (0..dcs).prop_map(Op::Cut),
    ]
}

proptest! {
    /// Whatever happens: what was told is what is, deadlines lie ahead, one that answered of late and says that it can
    /// work is not unhealthy, and no hold outlasts its bound.
    #[test]
    fn judgement_is_sound((dcs, ops) in (1..7usize).prop_flat_map(|dcs| (Just(dcs), proptest::collection::vec(op(dcs), 0..120)))) {
        let mut scene = Scene::new(dcs, 3);
        let mut answered = vec![0; dcs];
        for op in ops {
            match op {
                Op::Pass(ms) => {
                    scene.now_ms += ms;
                    let mut out = Effects::new();
                    scene.federation.wake(scene.now(), &scene.links, &mut out);
                }
                Op::Answer(ix) => {
                    answered[ix] = scene.now_ms;
                    scene.answer(&format!("d{ix}"));
                }
                Op::Say(ix, term) => drop(scene.say(&format!("d{ix}"), term as u16 % 3, term, |_| {})),
                Op::View(ix, reach) => {
                    let reach = [Reach::Unknown, Reach::Reachable, Reach::Suspected, Reach::Unreachable][reach];
                    scene.view(ix, |_| reach);
                }
                Op::Cut(ix) => {
                    let peer = manager(&format!("d{ix}"), 0);
                    scene.links.disconnected(peer);
                    let mut out = Effects::new();
                    scene.federation.connection_changed(scene.now(), peer, &scene.links, &mut out);
                }
            }
            let now = scene.now();
            prop_assert!(scene.federation.wake_at().is_some_and(|next| next > now));
            for (ix, answered_ms) in answered.iter().enumerate() {
                let name = format!("d{ix}");
                let record = &scene.federation.dcs[&dc(&name)];
                prop_assert_eq!(record.told.reach, record.watch.reach());
                prop_assert_eq!(record.told.health, scene.health(&name));
                prop_assert_eq!(record.told.held, scene.federation.is_held(now, dc(&name)));
                if scene.now_ms - answered_ms <= 11_000 {
                    prop_assert_ne!(scene.health(&name), Health::Unhealthy);
                }
                if record.told.held {
                    let failed = record.past.failed_at().expect("what is held has failed");
                    prop_assert!(now.since(failed) < HOLD_MAX);
                }
                if dcs == 1 {
                    prop_assert_eq!(scene.federation.severity(dc(&name)), Severity::None);
                }
            }
        }
    }
}
