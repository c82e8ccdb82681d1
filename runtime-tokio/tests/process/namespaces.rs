//! Twelve nodes in network namespaces, beside the same twelve in the simulator: what goes wrong is the same, and so must
//! be what each node says of each other one, in the same order.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::rc::Rc;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tidegate_core::Observation;
use tidegate_core::swim::MemberStatus;
use tidegate_sim::plan::Plan;
use tidegate_sim::runner::{self, Extras};
use tidegate_sim::world::{Fact, Interest, Scene, Spectator};

use super::support::{Cluster, Namespaces, PATIENCE, TIDEGATE, alone};

/// Both worlds: three gates, three managers, six workers, the waits of the process tests but for
/// probes, which must not hang on how busy the machine is.
const WORLD: &str = r#"
seed = 0
run = { faults_end_ms = 60000, settle_ms = 1000, at_least_ms = 80000 }

[cluster]
gates = 3
timing_ms = { swim_period = 500, swim_probe_timeout = 240, log_tick = 200, leader_silence = 1000, lease_ttl = 3000, lease_renew = 900, dc_heartbeat = 1000, backoff_base = 200 }
datacenter = [{ name = "dc-1", managers = 3, worker = [{ cores = 2 }, { cores = 2 }, { cores = 2 }, { cores = 2 }, { cores = 2 }, { cores = 2 }] }]
"#;
/// Everybody knows everybody by then, in the simulator.
const FAULT_AT_MS: u64 = 20_000;
/// Verdicts that nobody expects would have come by then.
const QUIET: Duration = Duration::from_secs(5);
const SEEDS: u64 = 8;

/// What one node said of another, without suspicions: `dead`, `left`, and `alive` after one of these.
type Verdicts = BTreeMap<(String, String), Vec<MemberStatus>>;

/// Something that goes wrong in both worlds.
struct Case {
    name: &'static str,
    /// The target and what happens to it, in the simulator's words.
    target: &'static str,
    kinds: &'static [&'static str],
    lasts: Duration,
    begin: fn(&Namespaces, &Cluster),
    end: fn(&Namespaces, &Cluster),
}

const CASES: &[Case] = &[
    Case {
        name: "the link of a worker goes down",
        target: "dc-1/w1",
        kinds: &["{ cut = {} }"],
        lasts: Duration::from_secs(20),
        begin: |net, _| net.link(place("dc-1/w1"), "down"),
        end: |net, _| net.link(place("dc-1/w1"), "up"),
    },
    Case {
        name: "what a manager sends reaches one other only",
        target: "dc-1/m2",
        kinds: &[
            "{ cut = { from = \"dc-1/m3\", direction = \"out\" } }",
            "{ cut = { from = \"workers@dc-1\", direction = \"out\" } }",
            "{ cut = { from = \"gates\", direction = \"out\" } }",
        ],
        lasts: Duration::from_secs(20),
        begin: |net, _| net.swallow("add", place("dc-1/m2"), &all_but(&["dc-1/m1", "dc-1/m2"])),
        end: |net, _| net.swallow("del", place("dc-1/m2"), &all_but(&["dc-1/m1", "dc-1/m2"])),
    },
    Case {
        name: "a manager is frozen",
        target: "dc-1/m3",
        kinds: &["\"freeze\""],
        lasts: Duration::from_secs(20),
        begin: |_, cluster| cluster.node(folder("dc-1/m3")).signal(Signal::STOP),
        end: |_, cluster| cluster.node(folder("dc-1/m3")).signal(Signal::CONT),
    },
];

/// The nodes in the order of their addresses: as a plan names them, and their folders.
const NODES: [(&str, &str); 12] = [
    ("g1", "gate-1"),
    ("g2", "gate-2"),
    ("g3", "gate-3"),
    ("dc-1/m1", "dc-1-manager-1"),
    ("dc-1/m2", "dc-1-manager-2"),
    ("dc-1/m3", "dc-1-manager-3"),
    ("dc-1/w1", "dc-1-worker-1"),
    ("dc-1/w2", "dc-1-worker-2"),
    ("dc-1/w3", "dc-1-worker-3"),
    ("dc-1/w4", "dc-1-worker-4"),
    ("dc-1/w5", "dc-1-worker-5"),
    ("dc-1/w6", "dc-1-worker-6"),
];

fn place(name: &str) -> u8 {
    NODES.iter().position(|(known, _)| *known == name).expect("it is one of the twelve") as u8
}

fn folder(name: &str) -> &'static str {
    NODES[usize::from(place(name))].1
}

fn all_but(names: &[&str]) -> Vec<u8> {
    NODES.iter().map(|(name, _)| *name).filter(|name| !names.contains(name)).map(place).collect()
}

/// Keeps what is a verdict: a death or a leave, and the return from one.
fn judge(verdicts: &mut Verdicts, observer: &str, subject: &str, status: MemberStatus) {
    let of_pair = verdicts.entry((observer.into(), subject.into())).or_default();
    let returns = of_pair.last().is_some_and(|last| *last != MemberStatus::Alive);
    match status {
        MemberStatus::Dead | MemberStatus::Left => of_pair.push(status),
        MemberStatus::Alive if returns => of_pair.push(status),
        _ => {}
    }
}

fn without_silent_pairs(mut verdicts: Verdicts) -> Verdicts {
    verdicts.retain(|_, of_pair| !of_pair.is_empty());
    verdicts
}

/// Collects a simulated run's verdicts from the fault on.
struct Views(Rc<RefCell<Verdicts>>);

impl Spectator for Views {
    fn name(&self) -> &'static str {
        "views"
    }

    fn interest(&self) -> Interest {
        Interest::OBSERVATIONS
    }

    fn see(&mut self, scene: &Scene, fact: &Fact<'_>) -> Result<(), String> {
        if let Fact::Observed { host, observation: Observation::Member { node, status } } = fact
            && scene.ms() >= FAULT_AT_MS
        {
            judge(&mut self.0.borrow_mut(), scene.name(*host), &scene.node_name(*node), *status);
        }
        Ok(())
    }
}

fn simulated(case: &Case, seed: u64) -> Verdicts {
    let mut text = WORLD.to_owned();
    for kind in case.kinds {
        let (target, for_ms) = (case.target, case.lasts.as_millis());
        text += &format!(
            "\n[[fault]]\nwhen = {{ at_ms = {FAULT_AT_MS} }}\ntarget = {target:?}\nkind = {kind}\nfor_ms = {for_ms}\n"
        );
    }
    let mut plan = Plan::from_toml(&text).unwrap();
    plan.seed = seed;
    let seen = Rc::new(RefCell::new(Verdicts::new()));
    let spectators: Vec<Box<dyn Spectator>> = vec![Box::new(Views(Rc::clone(&seen)))];
    let verdict = runner::run(plan, Extras { spectators, ..Extras::default() }).unwrap();
    assert_eq!(verdict.violation, None, "{}", case.name);
    without_silent_pairs(seen.take())
}

/// What pairs may say: most say the same with every seed, a few hang on when a wait began.
fn expected(case: &Case) -> Vec<Verdicts> {
    (0..SEEDS).map(|seed| simulated(case, seed)).collect()
}

/// The pairs of which nothing like it was simulated, with what they say.
fn unlike<'a>(
    seen: &'a Verdicts,
    wanted: &'a [Verdicts],
) -> BTreeMap<&'a (String, String), Option<&'a Vec<MemberStatus>>> {
    let pairs = wanted.iter().chain([seen]).flat_map(Verdicts::keys);
    pairs
        .filter(|pair| !wanted.iter().any(|run| run.get(*pair) == seen.get(*pair)))
        .map(|pair| (pair, seen.get(pair)))
        .collect()
}

/// What the observers of these pairs logged.
fn said<T>(cluster: &Cluster, since: &[usize], pairs: &BTreeMap<&(String, String), T>) -> String {
    let observers: BTreeSet<&str> = pairs.keys().map(|(observer, _)| observer.as_str()).collect();
    let log = |name: &&str| cluster.node(folder(name)).log()[since[usize::from(place(name))]..].to_owned();
    observers.iter().map(|name| format!("{name}:\n{}", log(name))).collect()
}

/// What the real nodes said since their logs had these lengths.
fn observed(cluster: &Cluster, since: &[usize]) -> Verdicts {
    let mut verdicts = Verdicts::new();
    for ((observer, folder), since) in NODES.iter().zip(since) {
        for line in cluster.node(folder).log()[*since..].lines() {
            let Some((_, said)) = line.split_once("Member { node: ") else { continue };
            let (id, status) = said.split_once(", status: ").expect("an observation as it is printed");
            let subject = cluster.name_of(id.parse().expect("an id"));
            let subject = NODES.iter().find(|(_, folder)| **folder == subject).expect("one of the twelve").0;
            let status = match status.split(' ').next() {
                Some("Alive") => MemberStatus::Alive,
                Some("Suspect") => MemberStatus::Suspect,
                Some("Dead") => MemberStatus::Dead,
                Some("Left") => MemberStatus::Left,
                other => panic!("no status of a member: {other:?}"),
            };
            judge(&mut verdicts, observer, subject, status);
        }
    }
    without_silent_pairs(verdicts)
}

fn start(net: &Namespaces) -> Cluster {
    let mut cluster = Cluster::new(3, 1, 3, 6).with_short_waits();
    cluster.move_to(|node| net.address(NODES.iter().position(|(_, folder)| *folder == node).unwrap() as u8));
    for (place, (_, folder)) in NODES.iter().enumerate() {
        cluster.edit(folder, "swim_period = \"250ms\"", "swim_period = \"500ms\"");
        cluster.edit(folder, "swim_probe_timeout = \"120ms\"", "swim_probe_timeout = \"240ms\"");
        cluster.start_by(folder, net.command(place as u8, TIDEGATE));
    }
    // Of its own tier, and in a datacenter of its workers too.
    for (name, folder) in NODES {
        let others = match name.split_once('/') {
            None => 2,
            Some((_, rest)) if rest.starts_with('m') => 8,
            Some(_) => 3,
        };
        cluster.node(folder).until_times("status: Alive", others);
    }
    cluster
}

#[test]
fn real_nodes_judge_each_other_as_simulated_ones_do() {
    let net = match Namespaces::make(NODES.len() as u8) {
        Ok(net) => net,
        Err(why) => return say(&format!("skipped, this machine gives no network namespaces: {why}")),
    };
    let _alone = alone();
    let cluster = start(&net);
    for case in CASES {
        let wanted = expected(case);
        let since: Vec<usize> = NODES.iter().map(|(_, folder)| cluster.node(folder).log().len()).collect();
        (case.begin)(&net, &cluster);
        std::thread::sleep(case.lasts);
        (case.end)(&net, &cluster);
        let begun = Instant::now();
        while !unlike(&observed(&cluster, &since), &wanted).is_empty() && begun.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(200));
        }
        std::thread::sleep(QUIET);
        let seen = observed(&cluster, &since);
        let unlike = unlike(&seen, &wanted);
        assert!(unlike.is_empty(), "{}: {unlike:#?}\n{}", case.name, said(&cluster, &since, &unlike));
        say(&format!("{}: {} verdicts, the same in both worlds", case.name, seen.values().flatten().count()));
    }
}

/// Says it even where the output of tests is kept back: a skipped test must not look like one that ran.
fn say(what: &str) {
    std::io::stderr().write_all(format!("network namespaces: {what}\n").as_bytes()).unwrap();
}
