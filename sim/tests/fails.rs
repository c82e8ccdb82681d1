//! What must fail, fails: the canary, and a panic wherever it is. Each failure names its seed.

use std::path::Path;
use std::process::Command;

use tidegate_core::Node;
use tidegate_core::census::Census;
use tidegate_core::config::Boot;
use tidegate_core::effect::{Effects, HaltReason};
use tidegate_core::event::Event;
use tidegate_core::id::JobId;
use tidegate_core::time::{Instant, Now};
use tidegate_sim::runner::{Extras, Sum, run_machines, run_seeds};
use tidegate_sim::swarm::draw;
use tidegate_sim::world::{Fact, HostInfo, Interest, Machine, Scene, Spectator};

#[test]
fn the_canary_fails_and_its_seeds_are_named() {
    let output = Command::new(env!("CARGO_BIN_EXE_tidegate-sim"))
        .args(["run", "--seeds", "2", "--json"])
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/canary.toml"))
        .output()
        .expect("the program runs");
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8_lossy(&output.stdout);
    let mut lines = said.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON"));
    for (id, oracle) in [("CANARY-expectation", "expectation"), ("CANARY-oracle", "counts are conserved")] {
        let line = lines.next().expect("a line for each case");
        assert_eq!((&line["id"], &line["failed"]), (&id.into(), &2.into()), "{line}");
        for (failure, seed) in line["failures"].as_array().expect("failures").iter().zip(0..) {
            assert_eq!((&failure["oracle"], &failure["seed"]), (&oracle.into(), &seed.into()), "{failure}");
        }
    }
}

/// The real node, until it has had enough.
struct Panicky {
    node: Node,
    steps: u32,
}

impl Machine for Panicky {
    fn begin(boot: Boot) -> Result<Self, HaltReason> {
        Ok(Self { node: Node::new(boot)?, steps: 0 })
    }
    fn step_into(&mut self, now: Now, event: Event, out: &mut Effects) {
        self.steps += 1;
        assert!(self.steps < 300, "a broken invariant");
        self.node.step_into(now, event, out);
    }
    fn wake_at(&self) -> Option<Instant> {
        self.node.wake_at()
    }
    fn mentions(&self, job: JobId) -> usize {
        self.node.mentions(job)
    }
    fn census(&self) -> Census {
        self.node.census()
    }
    fn connections(nodes: &[HostInfo]) -> Vec<(usize, usize)> {
        <Node as Machine>::connections(nodes)
    }
}

/// An oracle that does not survive what it sees.
struct Shaky;

impl Spectator for Shaky {
    fn name(&self) -> &'static str {
        "shaky"
    }
    fn interest(&self) -> Interest {
        Interest::PROCESSES
    }
    fn see(&mut self, _: &Scene, _: &Fact<'_>) -> Result<(), String> {
        panic!("an oracle's mistake")
    }
}

#[test]
fn a_panic_of_a_node_is_a_violation() {
    let verdict = run_machines::<Panicky>(draw(0), Extras::default()).expect("the plan is sound");
    let mut sum = Sum::default();
    sum.add(77, verdict);
    let failure = &sum.failures[0];
    assert_eq!((failure.seed, failure.violation.oracle.as_str()), (77, "no panic"));
    assert!(failure.violation.message.contains("a broken invariant"), "{}", failure.violation.message);
}

#[test]
fn a_panic_of_an_oracle_fails_its_seed_and_no_other() {
    let shaky = |seed| if seed == 1 { vec![Box::new(Shaky) as Box<dyn Spectator>] } else { Vec::new() };
    let sum = run_seeds(&[0, 1, 2], &|_| {}, |seed| (draw(0), shaky(seed))).expect("the plans are sound");
    assert_eq!(sum.seeds, 3);
    let [failure] = sum.failures.as_slice() else { panic!("{:?}", sum.failures) };
    assert_eq!((failure.seed, failure.violation.oracle.as_str()), (1, "no panic"));
    assert!(failure.violation.message.contains("an oracle's mistake"), "{}", failure.violation.message);
}

#[test]
fn a_panic_of_a_thread_fails_its_seed_and_no_other() {
    let make = |seed| {
        assert!(seed != 5, "a thread's mistake");
        (draw(0), Vec::new())
    };
    let sum = run_seeds(&[4, 5], &|_| {}, make).expect("the plans are sound");
    let [failure] = sum.failures.as_slice() else { panic!("{:?}", sum.failures) };
    assert_eq!((failure.seed, failure.violation.oracle.as_str()), (5, "no panic"));
    assert!(failure.violation.message.contains("a thread's mistake"), "{}", failure.violation.message);
}
