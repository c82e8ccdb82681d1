//! Every fault and every point of a driver really happens, and the nodes live with it.

use tidegate_sim::plan::{Plan, Point};
use tidegate_sim::runner::{Extras, run};
use tidegate_sim::world::Verdict;

const CLUSTER: &str = r#"
seed = 5

[cluster]
gates = 3

[[cluster.datacenter]]
name = "dc-a"
managers = 3
worker = [{ cores = 4 }, { cores = 4 }]

[[client]]
name = "c1"

[[client.job]]
name = "j1"
when = { at_ms = 6000 }
workflow = [{ name = "load", executor = "http", vus = 4, duration_ms = 20000 }]

[[client.job]]
name = "j2"
when = { at_ms = 9000 }
workflow = [{ name = "nap", duration_ms = 3000 }]
"#;

fn verdict(top: &str, more: &str) -> Verdict {
    // Keys of the document itself come before its first table.
    let plan = Plan::from_toml(&format!("{top}\n{CLUSTER}\n{more}")).expect("the plan is sound");
    run(plan, Extras::default()).expect("the plan is sound")
}

fn happens(fault: &str, target: &str, kind: &str) {
    let more = format!(
        "[[fault]]\nwhen = {{ at_ms = 10000 }}\ntarget = \"{target}\"\nkind = {fault}\nfor_ms = 8000\n"
    );
    let verdict = verdict("", &more);
    assert_eq!(verdict.violation, None, "{kind}");
    assert!(verdict.fired.get(kind).is_some_and(|count| *count > 0), "{kind}: {:?}", verdict.fired);
}

#[test]
fn faults_of_disks_and_readers_happen() {
    happens("\"disk_full\"", "g2", "disk_full");
    happens("\"disk_sync_fail\"", "dc-a/m1", "disk_sync_fail");
    happens("{ crash_when_stored = 2 }", "g1", "crash_when_stored");
    happens("{ slow_reader_ms = 2000 }", "client:c1", "slow_reader");
    happens(
        "{ messages = { kind = \"ShardProgress\", count = 3, action = \"corrupt\" } }",
        "dc-a/w1",
        "message_corrupt",
    );
}

#[test]
fn every_point_of_a_driver_fires() {
    for point in Point::ALL {
        let often = match point {
            Point::ResetAfterSend => 20,
            // There are only a few calls.
            Point::CallClosed => 900,
            _ => 300,
        };
        // Events wait only where something keeps a node busy.
        let beside = if point == Point::Reorder { ", hiccup = 100" } else { "" };
        let beside = if point == Point::Redeliver { ", reset_after_send = 20" } else { beside };
        let verdict = verdict(&format!("driver = {{ {} = {often}{beside} }}", point.name()), "");
        assert_eq!(verdict.violation, None, "{}", point.name());
        assert!(verdict.fired.contains_key(point.name()), "{}: {:?}", point.name(), verdict.fired);
    }
}

#[test]
fn links_have_spikes_and_bandwidth() {
    let slow = "[network]\nremote = { latency_us = 15000, spike_permille = 200, spike_us = 400000, bytes_per_ms = 250 }\n";
    let (plain, slow) = (verdict("", ""), verdict("", slow));
    assert_eq!((&plain.violation, &slow.violation), (&None, &None));
    assert_ne!(plain.digest, slow.digest);
}

const CORE: &str = r#"
[run]
core = ["g1", "g2", "dc-a/m1", "dc-a/m3", "dc-a/w2"]

[[fault]]
when = { at_ms = 12000 }
target = "g3"
kind = "freeze"
for_ms = 1000000

[[fault]]
when = { at_ms = 13000 }
target = "dc-a/w1"
kind = "crash"

[[fault]]
when = { at_ms = 14000 }
target = "g2"
kind = "crash"
"#;

#[test]
fn a_core_is_enough_and_the_rest_stays_broken() {
    assert_eq!(verdict("", CORE).violation, None);
}

#[test]
fn without_a_quorum_in_the_core_it_is_told_who_waits_for_whom() {
    let small = CORE.replace("\"g1\", \"g2\", ", "\"g1\", ");
    let violation = verdict("", &small).violation.expect("nothing can be decided");
    assert_eq!(violation.oracle, "liveness");
    for word in ["waits for its owner", "g3 (frozen, outside the core)", "g2 (down, outside the core)"] {
        assert!(violation.message.contains(word), "{word}: {}", violation.message);
    }
}
